"""`CNN` and `VGGFER`, ferkit's own networks for small faces."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class ConvBlock(nn.Sequential):
    """Convolution, batch normalization and ReLU."""

    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1):
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class CNN(nn.Module):
    """Small VGG-like network for small faces.

    A 5×5 convolution with stride 2 reduces the number of pixels to a quarter. It is followed by one stage of 3×3
    convolutions for each value of ``widths``, with max-pooling between stages, and by global average pooling, dropout
    and a linear layer. Images of any size work.

    Parameters
    ----------
    num_classes : int
        Number of logits to return.
    in_channels : int, default=1
        Number of channels of the images: 1 for gray images, 3 for RGB.
    widths : sequence of int, default=(48, 96, 192, 256)
        Number of channels of each stage.
    depth : int, default=2
        Number of convolutions per stage. In the first stage, the 5×5 convolution is one of them.
    dropout : float, default=0.3
        Probability of dropping a feature before the linear layer.

    Examples
    --------
    >>> import torch
    >>> from ferkit.backbones import CNN
    >>> CNN(num_classes=7, widths=(16, 32))(torch.zeros(2, 1, 48, 48)).shape
    torch.Size([2, 7])
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        *,
        widths: Sequence[int] = (48, 96, 192, 256),
        depth: int = 2,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(ConvBlock(in_channels, widths[0], kernel_size=5, stride=2))
        self.features.extend(ConvBlock(widths[0], widths[0]) for _ in range(depth - 1))
        for channels, width in pairwise(widths):
            self.features.append(nn.MaxPool2d(2, ceil_mode=True))
            self.features.extend(ConvBlock(width if conv else channels, width) for conv in range(depth))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], num_classes)
        _init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x).mean(dim=(2, 3))))


class VGGFER(nn.Module):
    """Four-stage VGG for 48×48 faces, published with 73.28 % accuracy on FER2013 without additional training data.

    Four stages, each with two 3×3 convolutions and a max-pooling [1]_, reduce a 48×48 image to 3×3. Three linear layers
    follow. Images of other sizes, from 16×16, are pooled to 3×3 before the linear layers.

    Parameters
    ----------
    num_classes : int
        Number of logits to return.
    in_channels : int, default=1
        Number of channels of the images: 1 for gray images, 3 for RGB.
    widths : sequence of int, default=(64, 128, 256, 512)
        Number of channels of each stage.
    hidden : int, default=4096
        Number of features of each hidden linear layer.
    dropout : float, default=0.2
        Probability of dropping a feature after each hidden linear layer.

    References
    ----------
    .. [1] Y. Khaireddin, Z. Chen, "Facial Emotion Recognition: State of the Art Performance on FER2013", 2021,
       arXiv:2105.03588.

    Examples
    --------
    >>> import torch
    >>> from ferkit.backbones import VGGFER
    >>> VGGFER(num_classes=7, hidden=256)(torch.zeros(2, 1, 48, 48)).shape
    torch.Size([2, 7])
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        hidden: int = 4096,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        layers = []
        for channels, width in pairwise((in_channels, *widths)):
            layers += [ConvBlock(channels, width), ConvBlock(width, width), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten())
        self.classifier = nn.Sequential(
            *(nn.Linear(9 * widths[-1], hidden), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(hidden, num_classes),
        )
        _init_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def _init_convolutions(network):
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
