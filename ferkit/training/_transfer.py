"""Transfer learning: starting weights, the head, frozen layers and epochs, and learning rates by layer."""

from collections.abc import Callable
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import pairwise, takewhile
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file
from skorch.helper import predefined_split
from torch import nn
from torch.nn.modules.conv import _ConvNd

from .._files import ImageFiles, find_shipped_model, read_stored_zip
from .._images import BYTES, UNIT, pixel_range, pixel_statistics
from ..backbones._inspect import build_meta
from ._data import Batches, resolve_batch_size
from ._devices import uncompiled

_LAYERS = (_ConvNd, nn.Linear, nn.MultiheadAttention, nn.RNNBase)
_STATISTICS_FILES = 4096  # number of files that is enough for the mean and standard deviation of the pixels

# starting weights


def read_start(settings, rows, channels, row_weight):
    """Return (state dict or None, mean, standard deviation): initial weights, and statistics to standardize images."""
    if isinstance(rows, ImageFiles):
        some = np.arange(0, len(rows), -(-len(rows) // _STATISTICS_FILES))
        rows, row_weight = rows.take(some), None if row_weight is None else row_weight[some]
    own, weights, backbone = pixel_statistics(rows, channels, row_weight), settings.weights, settings.backbone
    if weights is None:
        return None, *own
    if isinstance(weights, PathLike) or "." in weights:
        return read_weights(weights), *own
    if shipped := find_shipped_model(weights):
        return read_weights(shipped), *own
    if backbone.pretrained is None:
        raise ValueError(
            f"There are no published weights for the backbone {settings.backbone_name!r}, got weights={weights!r}: "
            "pass the path of a .pth or .safetensors file, or a backbone of torchvision or timm."
        )
    state, mean, std = backbone.pretrained(weights)
    scale = {BYTES: 255.0, UNIT: 1.0}.get(pixel_range(rows))
    if scale is None:  # images that are standardized already
        return state, *(np.resize(part, 3) for part in own)
    return state, np.multiply(mean, scale), np.multiply(std, scale)


def match_channels(mean, std, channels):
    """Convert pixel statistics to another number of channels: gray to RGB or the other way round."""
    if len(mean) == channels:
        return mean, std
    if (len(mean), channels) == (1, 3):
        return np.repeat(mean, 3), np.repeat(std, 3)
    if (len(mean), channels) == (3, 1):
        return np.mean(mean, keepdims=True), np.mean(std, keepdims=True)
    raise ValueError(f"in_channels must be 1 or 3, got {channels}.")


def load_weights(network, head, state):
    """Copy a state dict into a network. Parameters named in ``head`` are skipped if they are for other classes.

    A stem for RGB images becomes one for gray images by summing its filters. That is what the RGB stem computes for an
    image with three equal channels.

    Raises
    ------
    ValueError
        If the state dict belongs to another network.
    """
    own = network.state_dict()
    # prefixes of nn.DataParallel and of FERModule
    state = {name.removeprefix("module.").removeprefix("backbone."): tensor for name, tensor in state.items()}
    fitting, wrong = {}, []
    for name, tensor in state.items():
        if name not in own:
            if name in head:  # the output layer of a network without the hidden layers that are put before this one's
                continue
            if name.partition(".")[0] in {part.partition(".")[0] for part in own}:
                wrong.append(f"{name} is unknown")  # a whole additional part, such as auxiliary heads, is not needed
            continue
        expected = own[name].shape
        if tensor.shape == expected:
            fitting[name] = tensor
        elif tensor.ndim == 4 and tensor.shape[1] == 3 and expected == (len(tensor), 1, *tensor.shape[2:]):
            fitting[name] = tensor.sum(dim=1, keepdim=True)
        elif name not in head:
            wrong.append(f"{name} is of shape {tuple(tensor.shape)}, expected {tuple(expected)}")
    given = state.keys() | head | {name for name in own if name.endswith("num_batches_tracked")}
    wrong += [f"{name} is missing" for name in own if name not in given]
    if wrong:
        raise ValueError(
            f"Expected weights of a {type(network).__name__}, got those of another network: {', '.join(wrong[:3])}"
            + (f" and {len(wrong) - 3:,} more" if len(wrong) > 3 else "")
        )
    own.update(fitting)  # keeps the version that each layer's state dict has
    network.load_state_dict(own)


def read_weights(path):
    """Read the state dict in a .pth, .pt, .safetensors or .ferkit file, without running anything in it."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file of weights at {path.absolute()}, got none: check the path.")
    readers = {".safetensors": load_file, ".ferkit": _read_ferkit}
    read = readers.get(path.suffix.lower(), partial(torch.load, map_location="cpu", weights_only=True))
    try:
        state = read(path)
    except Exception as error:  # each format has its own; torch's message advises an unsafe way to load
        raise ValueError(
            f"Expected a state dict that can be read safely, got {path}, which is damaged or holds other objects: save "
            "torch.save(network.state_dict(), path)."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"Expected a state dict in {path}, got other objects: save network.state_dict().")
    return state


def _read_ferkit(path):
    """Return the weights of the only network in a file of `ferkit.save`."""
    state = load_tensors(read_stored_zip(path.read_bytes())["weights.safetensors"])
    networks = {name.partition(".network_.")[0] for name in state if ".network_." in name}
    if len(networks) != 1:
        raise ValueError(f"Expected one network, got {len(networks)}.")
    return {name.partition(".network_.")[2]: tensor for name, tensor in state.items() if ".network_." in name}


# the head


def find_head(build, **arguments):
    """Return the names of the parameters whose shape depends on the number of classes, as a set in their order."""
    two, three = (
        {name: parameter.shape for name, parameter in build_meta(build, num_classes=n, **arguments).named_parameters()}
        for n in (2, 3)
    )
    return {name: shape for name, shape in two.items() if three[name] != shape}.keys()


def find_output(build, image_shape, **arguments):
    """Name of the layer that computes the logits, before which hidden layers can be put.

    ``image_shape`` is (channels, height, width) of the images that the network gets.
    """
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in find_head(build, **arguments)))
    network = build_meta(build, num_classes=2, **arguments).eval()
    if len(layers) > 1:  # auxiliary heads are not called in evaluation mode
        called = []
        for layer in layers:
            network.get_submodule(layer).register_forward_hook(lambda *_, layer=layer: called.append(layer))
        with torch.no_grad():
            network(torch.empty(2, *image_shape, device="meta"))
        layers = called
    if len(layers) != 1 or not isinstance(network.get_submodule(layers[0]), (nn.Linear, nn.Conv2d)):
        raise ValueError(
            "Expected a backbone whose only class-dependent layer is its last one, a linear layer or 1×1 convolution, "
            f"to put hidden layers before it, got {', '.join(map(repr, layers)) or 'none'}: pass head=(), or another "
            "backbone."
        )
    return layers[0]


@dataclass(frozen=True)
class NetworkBuilder:
    """Builder of a backbone with hidden layers of the sizes ``head`` before its layer ``output``.

    ``name`` is the backbone as the user named it. Files without code contain it in place of ``build``.
    """

    name: str | Callable[..., nn.Module]
    build: Callable[..., nn.Module]
    params: dict[str, Any]
    output: str | None = None
    head: tuple[int, ...] = ()

    def __call__(self, *, num_classes: int, **more: Any) -> nn.Module:
        network = self.build(num_classes=num_classes, **{**self.params, **more})
        if self.output is None:
            return network
        last: Any = network.get_submodule(self.output)
        is_linear = isinstance(last, nn.Linear)
        make: Callable[..., nn.Module] = nn.Linear if is_linear else partial(nn.Conv2d, kernel_size=1)
        widths = [last.in_features if is_linear else last.in_channels, *self.head]
        hidden = [part for pair in pairwise(widths) for part in (make(*pair), nn.ReLU(), nn.Dropout(0.0))]
        network.set_submodule(self.output, nn.Sequential(*hidden, make(widths[-1], num_classes)))
        return network


@torch.no_grad()
def choose_head(module, head, images, *, with_hidden):
    """Choose the part of a backbone that frozen epochs train: it must compute the logits from its input by itself.

    The head is the last layer, or ``module.head`` if it is already known. With ``with_hidden``, it is the module around
    that layer, such as an ``nn.Sequential``, if this module has linear layers directly before it. These would otherwise
    stay at their random start. The choice is checked on two ``images``.
    """
    module.eval()
    layers = [module.head] if module.head else list(dict.fromkeys(name.rpartition(".")[0] for name in head))
    for layer in reversed(layers):  # auxiliary heads come before the one that predicts
        module.head, hidden = layer, _find_hidden(module, layer, images) if with_hidden else None
        if hidden and hidden not in layers:  # and not another head
            module.head = layer.rpartition(".")[0]
            if not module.head:
                raise ValueError(
                    f"frozen_epochs would leave {hidden!r}, a hidden layer of the head, at its random start: put the "
                    "layers of the head in one nn.Sequential, or pass frozen_epochs=0."
                )
        with suppress(Exception):  # some parts are not called, or need more than one input
            features, logits = compute_features(module, images)
            if torch.allclose(module(features).float(), logits.float(), atol=1e-4, rtol=1e-2):
                break
    else:
        raise ValueError(
            "Expected a backbone whose only class-dependent layer is its last one, a linear layer or 1×1 convolution, "
            f"got {type(module.backbone).__name__}: pass another backbone. FERClassifier also takes it with "
            "frozen_epochs=0."
        )
    if not any(parameter.requires_grad for parameter in module.get_head().parameters()):
        raise ValueError(
            f"frozen_epochs trains only the head, {module.head!r}, and frozen_layers freezes it: leave it out of "
            "frozen_layers."
        )


def _find_hidden(module, layer, images):
    """Return the name of the linear layer in the same module that is called directly before ``layer``, or None.

    Layers without parameters and batch norm may come between.
    """
    called, handles = [], []
    for name, part in module.backbone.named_modules():
        if any(True for _ in part.parameters(recurse=False)) and not isinstance(part, nn.BatchNorm1d):
            note = partial(lambda name, part, inputs: called.append((name, part, inputs[0].ndim)), name)
            handles.append(part.register_forward_pre_hook(note))
    try:
        module(images)
    finally:
        for handle in handles:
            handle.remove()
    before = list(takewhile(lambda call: not f"{call[0]}.".startswith(f"{layer}."), called))
    if not before or len(before) == len(called):
        return None
    name, part, n_dims = before[-1]
    parent = layer.rpartition(".")[0]
    is_near = name.startswith(f"{parent}.") if parent else "." not in name
    return name if isinstance(part, nn.Linear) and n_dims == 2 and is_near else None


# frozen layers and epochs


def find_frozen(network, layers):
    """Names of the (parameters, modules) that ``frozen_layers`` freezes: a count of layers, or names of modules."""
    if isinstance(layers, Integral):
        parameters = [name for name, depth in _number_layers(network).items() if depth < layers]
        owners = dict.fromkeys(name.rpartition(".")[0] for name in parameters)
        modules = [name for name in owners if not any(network.get_submodule(name).children())]  # not those around them
    else:
        modules = list(dict.fromkeys(layers or ()))
        known = [name for name, _ in network.named_modules() if name]
        for name in modules:
            if name not in known:
                close = get_close_matches(str(name), known, n=3) or known[:3]
                raise ValueError(
                    f"Expected names of modules of the backbone in frozen_layers, got {name!r}: did you mean "
                    f"{' or '.join(map(repr, close))}? `network.named_modules()` lists the names."
                )
        parameters = [
            name for name, _ in network.named_parameters() if name.startswith(tuple(f"{m}." for m in modules))
        ]
    if parameters and len(parameters) == len(list(network.parameters())):
        raise ValueError(f"frozen_layers={layers!r} leaves no layer to train: leave at least the head out.")
    return parameters, modules


def remove_head(net, images):
    """Copy a net's module without its head: return (the copy, number of values that reach the head).

    ``images`` are a few that the network is tried on.
    """
    module = deepcopy(uncompiled(net.module_))
    choose_head(module, find_head(net.module__build), images, with_hidden=False)
    module.backbone.set_submodule(module.head, nn.Identity())
    with torch.no_grad():
        return module, module(images).flatten(1).shape[1]


def compute_features(module, images):
    """Return (features, logits): the input of the head for these images, as rows, and the output of the module."""
    inputs = []
    handle = module.get_head().register_forward_pre_hook(lambda head, given: inputs.append(given[0]))
    try:
        logits = module(images)
    finally:
        handle.remove()
    return inputs[0].flatten(1), logits


@contextmanager
def cached_features(net, images):
    """Yield a set of images as features for the head. Meanwhile the net's validation set consists of features too."""
    split = net.train_split
    _, valid = net.get_split_datasets(images)
    if valid is not None:
        net.train_split = predefined_split(valid.with_features(_compute_all(net, valid)))
    try:
        yield images.with_features(_compute_all(net, images))
    finally:
        net.train_split = split


def _compute_all(net, images):
    net._set_training(False)
    features, batches = [], Batches(images, resolve_batch_size(net.batch_size))
    progress = dict(net.callbacks_).get("progress")
    for batch, _ in progress.track(batches) if progress else batches:
        with torch.no_grad(), net.autocast():
            features.append(compute_features(net.module_, batch["images"] if isinstance(batch, dict) else batch)[0])
    return torch.cat(features).float()


# learning rates


def scale_rates(network, head, backbone_lr_scale, layer_decay):
    """Return the factor on the learning rate of each parameter, by name; ``head`` holds the names in the head."""
    depths = _number_layers(network)
    last = max(depths.values())
    return {
        name: layer_decay ** (last - depth) * (1.0 if name in head else backbone_lr_scale)
        for name, depth in depths.items()
    }


def _number_layers(network):
    """Return the number of the layer (convolution or linear, from 0) that each parameter belongs to, by name."""
    depths, depth, last = {}, -1, None
    for name, _ in network.named_parameters():
        owner = name.rpartition(".")[0].partition(".parametrizations.")[0]  # of weights with a parametrization
        is_layer = isinstance(network.get_submodule(owner), _LAYERS)
        if is_layer and owner != last:  # norms, scales and tokens behind it belong to it
            depth, last = depth + 1, owner
        depths[name] = max(depth, 0)
    return depths
