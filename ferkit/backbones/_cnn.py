"""ferkit's own network."""

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
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        return self.head(self.dropout(self.features(x).mean(dim=(2, 3))))
