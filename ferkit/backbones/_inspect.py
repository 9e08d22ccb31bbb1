"""What can be known of a network without training it: the sizes it takes, its layers and their cost.

Everything is computed on PyTorch's meta device, where tensors have shapes and no values, so that it takes no memory
and hardly any time.
"""

import warnings
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from tabulate import SEPARATING_LINE, tabulate
from torch.utils.flop_counter import FlopCounterMode

SIZES = (16, 24, 32, 48, 64, 75, 80, 96, 112, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512)


@dataclass(frozen=True)
class Layer:
    """A row of a :class:`Summary`.

    Attributes
    ----------
    name, kind : str
        Its place in the network and its class.
    shape : tuple of int
        Of its output for one image, without the batch; empty where nothing calls it when predicting.
    parameters, flops : int
        Its own parameters, and its floating-point operations for one image: two per multiply-add.
    """

    name: str
    kind: str
    shape: tuple
    parameters: int
    flops: int


@dataclass(frozen=True)
class Summary:
    """A network layer by layer; ``str()`` is a table.

    Attributes
    ----------
    layers : list of Layer
        Those that have parameters or change the shape, in the order in which an image passes them.
    parameters, flops : int
        Parameters of the whole network, and its floating-point operations for one image.
    """

    layers: list
    parameters: int
    flops: int

    def __str__(self):
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
    """The network on the meta device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                return build(**arguments)
        except Exception:  # it computes with values while it is built
            return build(**arguments).to("meta")


def find_sizes(build, **arguments):
    """Those of some common sizes that a network takes.

    Only shapes are computed for it.

    Parameters
    ----------
    build : callable
        A builder, called as ``build(num_classes=2, **arguments)``.
    **arguments : dict
        ``in_channels``, and what else it is to be called with.

    Returns
    -------
    sizes : list of int
        Heights and widths in pixels, of square images.

    Examples
    --------
    >>> from ferkit.backbones import find_sizes, resolve_backbone
    >>> find_sizes(resolve_backbone("vgg16").build, in_channels=1)
    [32, 48, 64, 75, 80, 96, 112, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512]
    """
    network = build_meta(build, num_classes=2, **arguments)
    return [size for size in SIZES if _takes(network, size, arguments["in_channels"])]


def _takes(network, size, channels):
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network(torch.empty(2, channels, size, size, device="meta"))
    except Exception:  # each network has its own way to say no
        return False
    return True


def summarize(network, image_shape):
    """Layer by layer what one image costs.

    Parameters
    ----------
    network : nn.Module
        A network; it is not changed.
    image_shape : tuple of int
        (channels, height, width).

    Returns
    -------
    Summary

    Examples
    --------
    >>> from ferkit.backbones import CNN, summarize
    >>> summary = summarize(CNN(num_classes=7), (1, 48, 48))
    >>> summary.parameters, summary.layers[0].shape
    (1680375, (48, 24, 24))
    """
    network = deepcopy(network).to("meta").eval()
    image = torch.empty(1, *image_shape, device="meta")
    with FlopCounterMode(display=False) as counter, _shapes_of(network) as shapes, torch.no_grad():
        network(image)
    counted = {name.partition(".")[2]: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    modules = dict(network.named_modules())
    layers = []
    for name in [*shapes, *(name for name in modules if name not in shapes)]:  # the latter are called in no usual way
        module, (before, after) = modules[name], shapes.get(name, ((), ()))
        children = [f"{name}.{child}".lstrip(".") for child, _ in module.named_children()]
        flops = counted.get(name, 0) - sum(counted.get(child, 0) for child in children)
        parameters = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if parameters or flops or (after != before and not children):
            layers.append(Layer(name or "(itself)", type(module).__name__, after, parameters, flops))
    total = sum(parameter.numel() for parameter in network.parameters())
    return Summary(layers, total, counter.get_total_flops())


def find_last_maps(network, image_shape):
    """Name of the last convolution whose maps have an extent, or of the widest block around it with maps as large.

    A block adds what its shortcut and its other branches found.
    """
    network = deepcopy(network).to("meta").eval()
    with _shapes_of(network) as shapes, torch.no_grad():
        network(torch.empty(1, *image_shape, device="meta"))
    sizes = {name: shape[1:] for name, (_, shape) in shapes.items() if len(shape) == 3 and min(shape[1:]) > 1}
    convolutions = [name for name in sizes if isinstance(network.get_submodule(name), torch.nn.Conv2d)]
    if not convolutions:
        raise ValueError(f"{type(network).__name__} has no convolution that returns maps of more than one value.")
    last = convolutions[-1]
    return min((name for name in sizes if f"{last}.".startswith(f"{name}.") and sizes[name] == sizes[last]), key=len)


@contextmanager
def _shapes_of(network):
    """Shapes (input, output) of each module that is called, by name, in order."""
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
