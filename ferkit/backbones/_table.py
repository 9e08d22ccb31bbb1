"""The table of backbones."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial

from torch import nn

from ._cnn import CNN


@dataclass(frozen=True)
class Backbone:
    """What a name stands for: how to build the network and how it trains well from scratch.

    Attributes
    ----------
    build : callable
        Called as ``build(num_classes=…, in_channels=…, **backbone_params)``, returns an ``nn.Module``.
    optimizer : {"sgd", "adam", "adamw"}
        What ``optimizer="auto"`` means.
    lr : float
        What ``lr="auto"`` means: the peak learning rate, for batches of 256.
    reference : str
        Where the network comes from.
    """

    build: Callable[..., nn.Module]
    optimizer: str = "adamw"
    lr: float = 1e-3
    reference: str = "the user's own"


def _torchvision(name, *, num_classes, in_channels, **params):
    import torchvision

    network = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **params)
    _replace_stem(network, in_channels)
    return network


def _replace_stem(network, in_channels):
    """Give the first convolution ``in_channels`` inputs, so that gray images need not be repeated to RGB."""
    name, stem = next((name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    if stem.in_channels == in_channels:
        return
    fresh = nn.Conv2d(
        in_channels,
        stem.out_channels,
        stem.kernel_size,
        stem.stride,
        stem.padding,
        bias=stem.bias is not None,
    )
    network.set_submodule(name, fresh)


def set_dropout(network, p):
    """Set the probability of every dropout layer; without any, put one before the last linear layer."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
    for layer in layers:
        layer.p = p
    if not layers:
        linear = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
        if not linear:
            raise ValueError("dropout was asked for, but the backbone has no dropout and no linear layer to put it to.")
        network.set_submodule(linear[-1], nn.Sequential(nn.Dropout(p), network.get_submodule(linear[-1])))


BACKBONES = {
    "cnn": Backbone(CNN, "adamw", 1e-2, "ferkit"),
    "resnet18": Backbone(partial(_torchvision, "resnet18"), "adamw", 1e-3, "He et al., CVPR 2016"),
    "resnet50": Backbone(partial(_torchvision, "resnet50"), "adamw", 1e-3, "He et al., CVPR 2016"),
    "vgg16": Backbone(partial(_torchvision, "vgg16"), "adamw", 1e-4, "Simonyan and Zisserman, ICLR 2015"),
    "googlenet": Backbone(
        partial(_torchvision, "googlenet", init_weights=True), "adamw", 1e-3, "Szegedy et al., CVPR 2015"
    ),
}


def list_backbones():
    """Names that ``FERClassifier(backbone=…)`` takes.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from ferkit.backbones import list_backbones
    >>> list_backbones()
    ['cnn', 'googlenet', 'resnet18', 'resnet50', 'vgg16']
    """
    return sorted(BACKBONES)


def resolve_backbone(backbone):
    """Turn a name, an ``nn.Module`` class or another builder into a :class:`Backbone`."""
    if isinstance(backbone, nn.Module):
        raise TypeError(
            f"backbone is a network that exists already ({type(backbone).__name__}), and a second fit would go on "
            "from the first: pass the class, or a function that builds it, and its arguments as backbone_params."
        )
    if callable(backbone):
        return Backbone(backbone)
    if backbone in BACKBONES:
        return BACKBONES[backbone]
    close = get_close_matches(str(backbone), BACKBONES, n=1)
    raise ValueError(
        f"Unknown backbone {backbone!r}"
        + (f": did you mean {close[0]!r}? " if close else ". ")
        + f"There are {', '.join(list_backbones())}, or pass an nn.Module class."
    )
