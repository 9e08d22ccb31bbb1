"""ferkit's own network."""

from torch import nn
from torch.nn import functional as F


class ConvBlock(nn.Sequential):
    """Convolution, batch norm and, unless told otherwise, ReLU."""

    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, *, activation=True):
        layers = [
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if activation else []))


class Residual(nn.Module):
    """Two 3×3 convolutions beside an identity."""

    def __init__(self, channels):
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = ConvBlock(channels, channels, activation=False)
        nn.init.zeros_(self.second[1].weight)  # each block starts as an identity

    def forward(self, x):
        return F.relu(x + self.second(self.first(x)), inplace=True)


class CNN(nn.Module):
    """A small residual network for small faces.

    A 5×5 stem of stride 2, then one stage for each width: a 3×3 convolution (of stride 2 but in the first stage) and
    ``depth`` residual blocks; global average pooling, dropout and a linear layer. Any image size works.

    Parameters
    ----------
    num_classes : int
        Logits to return.
    in_channels : int, default=1
        1 for gray images, 3 for RGB.
    widths : sequence of int, default=(32, 64, 128, 256)
        Channels of each stage.
    depth : int, default=1
        Residual blocks in each stage.
    dropout : float, default=0.3
        Probability of dropping a feature before the linear layer.
    """

    def __init__(self, num_classes, in_channels=1, *, widths=(32, 64, 128, 256), depth=1, dropout=0.3):
        super().__init__()
        stages, channels = [ConvBlock(in_channels, widths[0], kernel_size=5, stride=2)], widths[0]
        for stage, width in enumerate(widths):
            if stage:
                stages.append(ConvBlock(channels, width, stride=2))
            stages += [Residual(width) for _ in range(depth)]
            channels = width
        self.features = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        return self.head(self.dropout(self.features(x).mean(dim=(2, 3))))
