"""ferkit's own networks, for small faces."""

from itertools import pairwise

from torch import nn


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1):
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class CNN(nn.Module):
    """A small network in the manner of VGG, for small faces.

    A 5×5 stem of stride 2, which leaves a quarter of the pixels to work on; then one stage for each width, of 3×3
    convolutions behind a max-pooling; global average pooling, dropout and a linear layer. Any image size works.

    Parameters
    ----------
    num_classes : int
        Logits to return.
    in_channels : int, default=1
        1 for gray images, 3 for RGB.
    widths : sequence of int, default=(48, 96, 192, 256)
        Channels of each stage.
    depth : int, default=2
        Convolutions in each stage; the stem is one of the first stage's.
    dropout : float, default=0.3
        Probability of dropping a feature before the linear layer.

    Examples
    --------
    >>> import torch
    >>> from ferkit.backbones import CNN
    >>> CNN(num_classes=7, widths=(16, 32))(torch.zeros(2, 1, 48, 48)).shape
    torch.Size([2, 7])
    """

    def __init__(self, num_classes, in_channels=1, *, widths=(48, 96, 192, 256), depth=2, dropout=0.3):
        super().__init__()
        layers = [ConvBlock(in_channels, widths[0], kernel_size=5, stride=2)]
        layers += [ConvBlock(widths[0], widths[0]) for _ in range(depth - 1)]
        for channels, width in pairwise(widths):
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
            layers += [ConvBlock(width if conv else channels, width) for conv in range(depth)]
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], num_classes)
        _init_convolutions(self)

    def forward(self, x):
        return self.head(self.dropout(self.features(x).mean(dim=(2, 3))))


class VGGFER(nn.Module):
    """The four-stage VGG for 48×48 faces, published with 73.28 % on FER2013 without further training data.

    Four stages of two 3×3 convolutions and a max-pooling [1]_, then three linear layers over the 3×3 that is left of a
    48×48 image. What other sizes from 16×16 on leave is pooled to 3×3.

    Parameters
    ----------
    num_classes : int
        Logits to return.
    in_channels : int, default=1
        1 for gray images, 3 for RGB.
    widths : sequence of int, default=(64, 128, 256, 512)
        Channels of each stage.
    hidden : int, default=4096
        Features of each hidden linear layer.
    dropout : float, default=0.2
        Probability of dropping a feature of a hidden layer.

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

    def __init__(self, num_classes, in_channels=1, *, widths=(64, 128, 256, 512), hidden=4096, dropout=0.2):
        super().__init__()
        layers = []
        for channels, width in pairwise((in_channels, *widths)):
            layers += [ConvBlock(channels, width), ConvBlock(width, width), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten())
        self.classifier = nn.Sequential(
            *(nn.Linear(9 * widths[-1], hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)),
            *(nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)),
            nn.Linear(hidden, num_classes),
        )
        _init_convolutions(self)

    def forward(self, x):
        return self.classifier(self.features(x))


def _init_convolutions(network):
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
