"""Describe a trained net by plain values and tensors, and build it again from them."""

import threading
from contextlib import contextmanager
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import torch
from skorch.history import History
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from ..backbones import resolve_backbone
from ..backbones._optimizers import OPTIMIZERS
from ._devices import find_device, uncompiled
from ._module import FERModule, load_state
from ._net import ClassifierNet, FERNet
from ._transfer import NetworkBuilder

_SETTINGS = (
    "max_epochs", "batch_size", "micro_batch_size", "lr", "frozen_epochs", "cache_features", "precision", "mixup",
    "ema_decay", "tta", "pixel_range", "rate_scales", "image_shape", "device",
)  # fmt: skip


def describe_module(net: FERNet) -> dict[str, Any]:
    """Return the arguments from which `rebuild_module` builds the module of a net."""
    arguments = net.get_params_for("module")
    build = arguments.pop("build")
    return {
        "backbone": build.name,
        "backbone_params": build.params,
        "output": build.output,
        "hidden": build.head,
        "arguments": arguments,
    }


def describe_net(net: FERNet) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a trained net as plain values and tensors, without the state of its optimizer."""
    module = uncompiled(net.module_)
    names = {optimizer.build: name for name, optimizer in OPTIMIZERS.items()}
    return {
        "module": describe_module(net),
        "head": module.head,
        "frozen": module.frozen_names,
        "settings": {name: getattr(net, name) for name in _SETTINGS},
        "optimizer": names.get(net.optimizer, net.optimizer),
        "criterion": None if net.criterion is net.default_criterion else net.criterion,
        "arguments": {
            name: value for name, value in vars(net).items() if name.startswith(("optimizer__", "criterion__"))
        },
    }, module.state_dict()


def describe_history(net: FERNet) -> list[dict[str, Any]]:
    """Return the history of a net as one dict of numbers per epoch: ``history_`` of an estimator."""
    scores = [f"{prefix}_{name}" for prefix in ("train", "valid") for name in net.score_names]
    keys = ("epoch", *scores, "lr", "dur")
    skorchs = {*keys, "train_batch_count", "valid_batch_count"}
    history = []
    for row in net.history:
        known = {"seconds" if key == "dur" else key: float(row.get(key, np.nan)) for key in keys}
        recorded = {
            key: float(value)
            for key, value in row.items()
            if not isinstance(value, bool) and isinstance(value, Real) and key not in skorchs and key[:6] != "event_"
        }
        history.append(known | {"epoch": row["epoch"]} | recorded)
    return history


def rebuild_module(described: dict[str, Any], tensors: dict[str, Tensor], without: str | None = None) -> FERModule:
    """Build a module from its description, and load its weights.

    Nothing larger than the given tensors is allocated, because the description may come from a stranger.

    Parameters
    ----------
    described : dict
        Output of `describe_module`.
    tensors : dict of Tensor
        The state dict.
    without : str, default=None
        Name of the layer of the backbone to leave out.

    Raises
    ------
    ValueError
        If the tensors do not fit, or are not finite.
    """

    def make():
        module = FERModule(_builder(described), **described["arguments"])
        if without is not None:
            module.head = without
            module.backbone.set_submodule(without, nn.Identity())
        return module.eval()

    _check_tensors(make, tensors)
    module = make()
    _load(module, tensors)
    return module


def rebuild_net(
    kind: type[FERNet], described: dict[str, Any], tensors: dict[str, Tensor], augment: Any, history: list
) -> FERNet:
    """Build a trained net from the output of `describe_net` and `describe_history`, as `rebuild_module` its module."""
    module = described["module"]
    optimizer = described["optimizer"]
    # files of earlier versions do not contain all
    settings = {name: described["settings"][name] for name in _SETTINGS if name in described["settings"]}
    if settings["precision"] not in ("auto", "float32", "bfloat16", "float16"):
        raise ValueError(f"Expected the name of a precision, got {settings['precision']!r}.")
    if any(not name.startswith(("optimizer__", "criterion__")) for name in described["arguments"]):
        raise ValueError(f"Expected arguments of the optimizer and the loss, got {[*described['arguments']]}.")
    classes = {"classes": np.arange(module["arguments"]["num_classes"])} if kind is ClassifierNet else {}
    net = kind(
        FERModule,
        module__build=_builder(module),
        **{f"module__{name}": value for name, value in module["arguments"].items()},
        optimizer=OPTIMIZERS[optimizer].build if isinstance(optimizer, str) else optimizer,
        criterion=described["criterion"] or kind.default_criterion,
        augment=augment,
        train_split=None,
        callbacks=[],
        **classes,
        **described["arguments"],
        **{**settings, "device": find_device(settings["device"])},
    )
    _check_tensors(partial(FERModule, _builder(module), **module["arguments"]), tensors)
    with torch.random.fork_rng([]):  # the network's random start must not change what follows
        net.initialize()
    _load(net.module_, tensors)
    net.module_.head = described["head"]
    for name in described["frozen"]:
        net.module_.get_parameter(name).requires_grad_(False)
    net.history_ = History(
        {"batches": [], **{"dur" if name == "seconds" else name: value for name, value in row.items()}}
        for row in history
    )
    net.stopped_by_, net.best_epoch_ = None, None
    return net.release()


def _builder(described):
    backbone = described["backbone"]
    return NetworkBuilder(
        backbone,
        resolve_backbone(backbone).build,
        described["backbone_params"],
        described["output"],
        tuple(described["hidden"]),
    )


def _check_tensors(make, tensors):
    with torch.device("meta"), _WithoutRandomStart(), _limited_parameters(100 + 4 * len(tensors)):
        try:
            module = make()
        except (NotImplementedError, RuntimeError) as error:
            if "meta tensor" not in str(error):
                raise
            with _RangesOnCPU():
                module = make()
    expected = module.state_dict()
    # tables that are not among the weights can be large, such as the attention masks of an image of any size
    if sum(part.nbytes for part in module.buffers()) > 2**28 + sum(part.nbytes for part in tensors.values()):
        raise ValueError("Expected a network that is not much larger than its weights.")
    if wrong := sorted(expected.keys() ^ tensors.keys()):
        raise ValueError(f"Expected weights named {', '.join(expected)[:100]}, got a difference in {wrong[:3]}.")
    for name, tensor in tensors.items():
        own = expected[name]
        if tensor.shape != own.shape or tensor.is_floating_point() != own.is_floating_point():
            raise ValueError(
                f"Expected weights {name} of shape {tuple(own.shape)} and type {own.dtype}, got {tuple(tensor.shape)} "
                f"and {tensor.dtype}."
            )
        if tensor.isnan().any():
            raise ValueError(f"Expected finite weights, got nan in {name}.")


class _WithoutRandomStart(TorchFunctionMode):
    """Do not draw weights on the meta device, where PyTorch imports its compiler for it, which takes a second."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return args[0] if func in (Tensor.normal_, Tensor.uniform_) else func(*args, **(kwargs or {}))


class _RangesOnCPU(TorchFunctionMode):
    """Within the meta device, compute ranges and lists on the CPU, because RegNet reads the widths of its layers."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        here = {"device": "cpu"} if func in (torch.arange, torch.tensor) else {}
        return func(*args, **(here | (kwargs or {})))


@contextmanager
def _limited_parameters(limit):
    """Raise ValueError if this thread builds networks with more parameters, whose loops would not end."""
    thread, count = threading.get_ident(), 0

    def check(module, name, parameter):
        nonlocal count
        count += threading.get_ident() == thread
        if count > limit:
            raise ValueError(f"Expected a network with at most {limit} parameters, as many as the weights.")

    handle = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        handle.remove()


def _load(module, tensors):
    load_state(module, tensors)
    if not all(parameter.isfinite().all() for parameter in module.parameters()):
        raise ValueError("Expected finite weights, got infinite ones.")
