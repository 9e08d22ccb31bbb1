"""Functions that inspect untrained networks: the image sizes that they accept, their layers and their cost.

They use PyTorch's meta device, where tensors have shapes but no values. They therefore need almost no memory and time.
"""

import warnings
from collections.abc import Callable
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

SIZES = (16, 24, 32, 48, 64, 75, 80, 96, 112, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512)


@dataclass(frozen=True)
class Layer:
    """A layer in a :class:`Summary`.

    Attributes
    ----------
    name : str
        Name of the layer in the network, as in ``named_modules()``; "(itself)" for the network.
    kind : str
        Name of its class.
    shape : tuple of int
        Shape of its output for one image, without the batch dimension. Empty if the layer is not called with a tensor
        in evaluation mode.
    parameters : int
        Number of its own parameters, without those of its submodules.
    flops : int
        Number of floating-point operations per image. A multiply-add counts as two.

    Examples
    --------
    >>> from ferkit.backbones import CNN, summarize
    >>> summarize(CNN(num_classes=7), (1, 48, 48)).layers[-1]
    Layer(name='head', kind='Linear', shape=(7,), parameters=1799, flops=3584)
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    flops: int


@dataclass(frozen=True)
class Summary:
    """Layers and cost of a network. ``str()`` returns a table.

    Attributes
    ----------
    layers : list of Layer
        The layers that have parameters, cost operations or change the shape, in the order in which an image passes
        them. Layers with an empty shape come last.
    parameters : int
        Number of parameters of the network.
    flops : int
        Number of floating-point operations per image. A multiply-add counts as two.

    Examples
    --------
    >>> from ferkit.backbones import CNN, summarize
    >>> summarize(CNN(num_classes=7), (1, 48, 48)).parameters
    1680375
    """

    layers: list[Layer]
    parameters: int
    flops: int

    def __str__(self) -> str:
        from tabulate import SEPARATING_LINE, tabulate

        rows = [
            (
                layer.name,
                layer.kind,
                "×".join(map(str, layer.shape)),
                f"{layer.parameters:,}",
                *((f"{layer.flops / 1e6:,.2f}", f"{layer.flops / self.flops:.1%}") if layer.flops else ("", "")),
            )
            for layer in self.layers
        ]
        total = ("total", "", "", f"{self.parameters:,}", f"{self.flops / 1e6:,.2f}", "100.0%")
        columns = ("layer", "kind", "output", "parameters", "MFLOP", "share")
        alignment = ("left", "left", "right", "right", "right", "right")
        return tabulate([*rows, SEPARATING_LINE, total], columns, colalign=alignment, disable_numparse=True)


def build_meta(build, **arguments):
    """Build a network on the meta device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                return build(**arguments)
        except Exception:  # some constructors compute with values, which the meta device does not have
            return build(**arguments).to("meta")


def find_sizes(build: Callable[..., nn.Module], *, in_channels: int = 1, **arguments: Any) -> list[int]:
    """Find the common image sizes that a network accepts.

    Only shapes are computed, so the search is fast.

    Parameters
    ----------
    build : callable
        The builder of the network, called as ``build(num_classes=2, in_channels=in_channels, **arguments)``.
    in_channels : int, default=1
        Number of channels of the images.
    **arguments : dict
        Further arguments of the builder.

    Returns
    -------
    sizes : list of int
        Heights, which are also the widths, of the square images that the network accepts. Sizes from 16 to 512 are
        tried.

    Examples
    --------
    >>> from ferkit.backbones import find_sizes, resolve_backbone
    >>> find_sizes(resolve_backbone("vgg16").build, in_channels=1)
    [32, 48, 64, 75, 80, 96, 112, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512]
    """
    network = build_meta(build, num_classes=2, in_channels=in_channels, **arguments)
    return [size for size in SIZES if _takes(network, size, in_channels)]


def _takes(network, size, channels):
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network(torch.empty(2, channels, size, size, device="meta"))
    except Exception:  # networks refuse a size with different kinds of errors
        return False
    return True


def summarize(network: nn.Module, image_shape: tuple[int, int, int]) -> Summary:
    """Count the parameters and the floating-point operations of each layer.

    Parameters
    ----------
    network : nn.Module
        The network. It is not changed.
    image_shape : tuple of int
        (channels, height, width) of an image.

    Returns
    -------
    Summary
        The layers and the totals.

    Examples
    --------
    >>> from ferkit.backbones import CNN, summarize
    >>> summary = summarize(CNN(num_classes=7), (1, 48, 48))
    >>> summary.parameters, summary.layers[0].shape
    (1680375, (48, 24, 24))
    """
    from torch.utils.flop_counter import FlopCounterMode  # takes long to import

    network = deepcopy(network).to("meta").eval()
    image = torch.empty(1, *image_shape, device="meta")
    with FlopCounterMode(display=False) as counter, _shapes_of(network) as shapes, torch.no_grad():
        network(image)
    counted = {name.partition(".")[2]: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    modules = dict(network.named_modules())
    layers = []
    for name in [*shapes, *(name for name in modules if name not in shapes)]:  # the latter were not called with tensors
        module, (before, after) = modules[name], shapes.get(name, ((), ()))
        children = [f"{name}.{child}".lstrip(".") for child, _ in module.named_children()]
        flops = counted.get(name, 0) - sum(counted.get(child, 0) for child in children)
        parameters = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if parameters or flops or (after != before and not children):
            layers.append(Layer(name or "(itself)", type(module).__name__, after, parameters, flops))
    total = sum(parameter.numel() for parameter in network.parameters())
    return Summary(layers, total, counter.get_total_flops())


def try_summarize(build, size):
    """Return the summary of a network for 7 classes and gray images of a size, None if they are too small for it."""
    try:
        return summarize(build_meta(build, num_classes=7, in_channels=1), (1, size, size))
    except ImportError:
        raise
    except Exception:  # each network has its own error for images that are too small
        return None


def find_last_maps(network, image_shape):
    """Return the name of the last convolution whose output is larger than 1×1 in both directions.

    If blocks around it have outputs of the same size, return the outermost of these blocks instead: its output also
    contains the features of its shortcut and of its other branches.
    """
    network = deepcopy(network).to("meta").eval()
    with _shapes_of(network) as shapes, torch.no_grad():
        network(torch.empty(1, *image_shape, device="meta"))
    sizes = {name: shape[1:] for name, (_, shape) in shapes.items() if len(shape) == 3 and min(shape[1:]) > 1}
    convolutions = [name for name in sizes if isinstance(network.get_submodule(name), torch.nn.Conv2d)]
    if not convolutions:
        raise ValueError(
            "Expected a network with a convolution whose output is larger than 1×1, got "
            f"{type(network).__name__} with no convolution of this kind: train with a larger input_size or another "
            "backbone."
        )
    last = convolutions[-1]
    return min((name for name in sizes if f"{last}.".startswith(f"{name}.") and sizes[name] == sizes[last]), key=len)


@contextmanager
def _shapes_of(network):
    """Record the shapes (input, output) of each module that is called, by name, in the order of the calls."""
    shapes, handles = {}, []

    def remember(name):
        def hook(module, inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            if inputs and isinstance(inputs[0], torch.Tensor) and isinstance(output, torch.Tensor):
                shapes[name] = (tuple(inputs[0].shape[1:]), tuple(output.shape[1:]))

        return hook

    for name, module in network.named_modules():
        handles.append(module.register_forward_hook(remember(name)))
    try:
        yield shapes
    finally:
        for handle in handles:
            handle.remove()
