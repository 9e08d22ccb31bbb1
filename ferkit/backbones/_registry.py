"""The registry of backbones: their names, their builders and the settings with which they train well."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ._cnn import CNN, VGGFER
from ._optimizers import OPTIMIZERS
from ._published import timm_weights, torchvision_weights


@dataclass(frozen=True)
class Backbone:
    """A builder of networks and the settings with which they train well from scratch.

    Attributes
    ----------
    build : callable
        The builder. It is called as ``build(num_classes=…, in_channels=…, **backbone_params)`` and returns an
        ``nn.Module``.
    optimizer : {"sgd", "adam", "adamw", "muon"}
        The optimizer that ``optimizer="auto"`` selects.
    lr : float
        The learning rate that ``lr="auto"`` selects: the peak rate for training from scratch with batches of 256.
    reference : str
        The paper or the library that the network comes from.
    input_size : int
        Height and width of the images for which the network was designed.
    pretrained : callable or None
        Function that returns published weights as (state dict, mean, standard deviation). It is called with the name of
        the weights, or with "imagenet" for the best ones. The mean and the standard deviation belong to RGB pixels from
        0 to 1.

    See Also
    --------
    register_backbone : Register a builder under a name.
    resolve_backbone : Return the backbone with a name.

    Examples
    --------
    >>> from ferkit.backbones import resolve_backbone
    >>> resolve_backbone("vgg_fer").optimizer
    'sgd'
    """

    build: Callable[..., nn.Module]
    optimizer: Literal["sgd", "adam", "adamw", "muon"] = "adamw"
    lr: float = 1e-3
    reference: str = "the user's own"
    input_size: int = 48
    pretrained: Callable[[str], tuple] | None = None


def _torchvision(name, *, num_classes, in_channels, **params):
    import torchvision

    if name in ("googlenet", "inception_v3"):
        params = {"init_weights": True, **params}
    network = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **params)
    return replace_stem(network, in_channels)


def _timm(name, *, num_classes, in_channels, **params):
    return _import_timm(name).create_model(name, num_classes=num_classes, in_chans=in_channels, **params)


def _import_timm(name):
    try:
        import timm
    except ImportError:
        raise ImportError(f'The backbone timm/{name} needs timm: pip install "ferkit[timm]"') from None
    return timm


def _resnet18_fer(*, num_classes, in_channels, **params):
    network = _torchvision("resnet18", num_classes=num_classes, in_channels=in_channels, **params)
    network.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    return network


def replace_stem(network, in_channels):
    """Replace the first convolution by one with ``in_channels`` inputs. Gray images then need no conversion to RGB."""
    name, stem = next((name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    if stem.in_channels != in_channels:
        geometry: dict[str, Any] = {key: getattr(stem, key) for key in ("kernel_size", "stride", "padding")}
        network.set_submodule(name, nn.Conv2d(in_channels, stem.out_channels, **geometry, bias=stem.bias is not None))
    return network


class DropoutLinear(nn.Linear):
    """Linear layer with dropout before it. Its parameters have the same names as those of ``nn.Linear``."""

    def __init__(self, linear, p):
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None)
        self.weight, self.bias, self.dropout = linear.weight, linear.bias, nn.Dropout(p)

    def forward(self, x):
        return super().forward(self.dropout(x))


def set_dropout(network, p):
    """Set the probability of every dropout layer. If there are none, add one before the last linear layer."""
    layers = [layer for layer in network.modules() if isinstance(layer, _DropoutNd)]
    for layer in layers:
        layer.p = p
    if not layers:
        linear = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
        if not linear:
            raise ValueError(
                f"Expected a backbone with a dropout layer or a linear layer for dropout={p}, got "
                f"{type(network).__name__} with neither: pass dropout=None."
            )
        network.set_submodule(linear[-1], DropoutLinear(network.get_submodule(linear[-1]), p))


BACKBONES = {
    "cnn_small": Backbone(partial(CNN, widths=(32, 64, 96, 128)), "adamw", 1e-2, "ferkit"),
    "cnn": Backbone(CNN, "adamw", 1e-2, "ferkit"),
    "cnn_large": Backbone(partial(CNN, widths=(64, 128, 256, 512), depth=3), "adamw", 5e-3, "ferkit"),
    "vgg_fer": Backbone(VGGFER, "sgd", 1e-2, "Khaireddin and Chen, 2021, arXiv:2105.03588"),
    "resnet18_fer": Backbone(_resnet18_fer, "adamw", 3e-3, "He et al., CVPR 2016, with the stem of its section 4.2"),
    "resnet50v2": Backbone(
        partial(_timm, "resnetv2_50"), "adamw", 1e-3, "He et al., ECCV 2016", 224, partial(timm_weights, "resnetv2_50")
    ),
}

# The peak learning rate and the paper of torchvision's networks, by patterns for the start of their names. If several
# match, the longest one is used.
_FAMILIES = {
    "alexnet": (1e-4, "Krizhevsky, 2014, arXiv:1404.5997"),
    "convnext": (5e-4, "Liu et al., CVPR 2022"),
    "densenet": (1e-3, "Huang et al., CVPR 2017"),
    "efficientnet": (1e-3, "Tan and Le, ICML 2019"),
    "efficientnet_v2": (1e-3, "Tan and Le, ICML 2021"),
    "googlenet": (1e-3, "Szegedy et al., CVPR 2015"),
    "inception": (1e-3, "Szegedy et al., CVPR 2016"),
    "maxvit": (5e-4, "Tu et al., ECCV 2022"),
    "mnasnet": (1e-3, "Tan et al., CVPR 2019"),
    "mobilenet_v2": (1e-3, "Sandler et al., CVPR 2018"),
    "mobilenet_v3": (1e-3, "Howard et al., ICCV 2019"),
    "regnet": (1e-3, "Radosavovic et al., CVPR 2020"),
    "resnet": (1e-3, "He et al., CVPR 2016"),
    "resnext": (1e-3, "Xie et al., CVPR 2017"),
    "shufflenet": (1e-3, "Ma et al., ECCV 2018"),
    "squeezenet": (5e-4, "Iandola et al., 2016, arXiv:1602.07360"),
    "swin": (5e-4, "Liu et al., ICCV 2021"),
    "swin_v2": (5e-4, "Liu et al., CVPR 2022"),
    "vgg": (1e-4, "Simonyan and Zisserman, ICLR 2015"),
    "vgg.._bn": (1e-3, "Simonyan and Zisserman, ICLR 2015"),
    "vit": (5e-4, "Dosovitskiy et al., ICLR 2021"),
    "wide_resnet": (1e-3, "Zagoruyko and Komodakis, BMVC 2016"),
}


def _torchvision_backbone(name):
    family = max((family for family in _FAMILIES if re.match(family, name)), key=len, default=None)
    lr, reference = _FAMILIES.get(family or "", (1e-3, "torchvision"))
    size = 299 if name == "inception_v3" else 224
    return Backbone(partial(_torchvision, name), "adamw", lr, reference, size, partial(torchvision_weights, name))


def _timm_backbone(name):
    timm = _import_timm(name)
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {_list(close)}?" if close else "timm.list_models() lists the names."
        raise ValueError(f"Expected the name of a network of timm, got {name!r}: {hint}")
    size = timm.get_pretrained_cfg(name, allow_unregistered=True).input_size[-1]
    return Backbone(partial(_timm, name), "adamw", 1e-3, "timm", size, partial(timm_weights, name))


def _published_backbone(build):
    """The backbone that has the name of a function of torchvision or timm, such as ``torchvision.models.resnet18``."""
    name, library = getattr(build, "__name__", ""), str(getattr(build, "__module__", "")).partition(".")[0]
    if library == "torchvision" and name in _torchvision_names():
        import torchvision

        return _torchvision_backbone(name) if torchvision.models.get_model_builder(name) is build else None
    if library == "timm" and _import_timm(name).is_model(name):
        return _timm_backbone(name)
    return None


def _list(names):
    return " or ".join(map(repr, names))


def _torchvision_names():
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def list_backbones() -> list[str]:
    """List the names for ``FERClassifier(backbone=…)``.

    The list does not contain the networks of timm. Their names are ``"timm/<name>"``.

    Returns
    -------
    list of str
        The names of ferkit's own and registered backbones, followed by those of torchvision.

    Examples
    --------
    >>> from ferkit.backbones import list_backbones
    >>> list_backbones()[:6]
    ['cnn_small', 'cnn', 'cnn_large', 'vgg_fer', 'resnet18_fer', 'resnet50v2']
    >>> "mobilenet_v3_small" in list_backbones()
    True
    """
    return list(dict.fromkeys([*BACKBONES, *_torchvision_names()]))


def is_backbone(name: str) -> bool:
    """Return whether a backbone other than timm's has this name. torchvision is only imported if ferkit's have not."""
    return name in BACKBONES or name in _torchvision_names()


def register_backbone(
    name: str,
    build: Callable[..., nn.Module],
    *,
    optimizer: Literal["sgd", "adam", "adamw", "muon"] = "adamw",
    lr: float = 1e-3,
    reference: str = "the user's own",
    input_size: int = 48,
) -> None:
    """Register a network under a name for ``FERClassifier(backbone=…)``, searches and the command line.

    Parameters
    ----------
    name : str
        A name that no other backbone has.
    build : callable
        An ``nn.Module`` class or a function. It is called as
        ``build(num_classes=…, in_channels=…, **backbone_params)``. A fitted model can only be saved if `build` can be
        imported.
    optimizer : {"sgd", "adam", "adamw", "muon"}, default="adamw"
        The optimizer that ``optimizer="auto"`` selects.
    lr : float, default=1e-3
        The learning rate that ``lr="auto"`` selects: the peak rate for training from scratch with batches of 256.
    reference : str, default="the user's own"
        The paper or the library that the network comes from.
    input_size : int, default=48
        Height and width of the images for which the network was designed.

    Raises
    ------
    ValueError
        If another backbone has this name, or `optimizer` is unknown.
    TypeError
        If `build` is a network instead of a class or function.

    Examples
    --------
    >>> from functools import partial
    >>> from ferkit.backbones import CNN, list_backbones, register_backbone
    >>> register_backbone("cnn_tiny", partial(CNN, widths=(8, 16)), lr=1e-2)
    >>> "cnn_tiny" in list_backbones()
    True
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"Expected `optimizer` to be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}.")
    if name.startswith("timm/") or is_backbone(name):
        raise ValueError(f"Expected a new name, got {name!r}, which is already a backbone: choose another name.")
    BACKBONES[name] = Backbone(_check_builder(build), optimizer, lr, reference, input_size)


def _check_builder(backbone):
    if isinstance(backbone, nn.Module):
        raise TypeError(
            f"Expected an nn.Module class or a function that builds a network, got a {type(backbone).__name__} object, "
            "which every fit would train further: pass the class or a function, and its arguments as `backbone_params`."
        )
    if not callable(backbone):
        raise TypeError(
            f"Expected an nn.Module class or a function that builds a network, got {backbone!r}: pass one of these, or "
            "a name from list_backbones()."
        )
    return backbone


def resolve_backbone(backbone: str | Callable[..., nn.Module]) -> Backbone:
    """Turn a name, an ``nn.Module`` class or another builder into a :class:`Backbone`.

    Parameters
    ----------
    backbone : str, nn.Module class or callable
        A value of the parameter ``backbone`` of :class:`ferkit.FERClassifier`.

    Returns
    -------
    Backbone
        The builder and its settings.

    Raises
    ------
    ImportError
        If `backbone` is ``"timm/<name>"`` and timm is not installed.
    TypeError
        If `backbone` is neither a name nor a builder.
    ValueError
        If no network has this name.

    Examples
    --------
    >>> from ferkit.backbones import resolve_backbone
    >>> backbone = resolve_backbone("resnet18")
    >>> backbone.input_size, backbone.reference
    (224, 'He et al., CVPR 2016')
    """
    if not isinstance(backbone, str):
        return _published_backbone(backbone) or Backbone(_check_builder(backbone))
    if backbone in BACKBONES:
        return BACKBONES[backbone]
    if backbone.startswith("timm/"):
        return _timm_backbone(backbone.removeprefix("timm/"))
    if backbone in _torchvision_names():
        return _torchvision_backbone(backbone)
    close = get_close_matches(backbone, list_backbones(), n=3)
    raise ValueError(
        f"Expected the name of a backbone, got {backbone!r}: "
        + (f"did you mean {_list(close)}? " if close else "")
        + "list_backbones() and `ferkit backbones` list the names. For networks of timm, pass 'timm/<name>'; for your "
        "own networks, an nn.Module class."
    )
