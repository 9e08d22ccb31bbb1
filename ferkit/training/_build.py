"""Build a net that is ready to train from the parameters of an estimator."""

from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from math import inf
from numbers import Integral
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from skorch.callbacks import InputShapeSetter
from skorch.helper import predefined_split

from .._images import check_size
from ..backbones import find_sizes, resolve_backbone
from ..backbones._optimizers import OPTIMIZERS
from ._data import count_steps
from ._devices import Processes, resolve_device
from ._module import FERModule
from ._net import CALLBACK_NAMES, ClassifierNet
from ._progress import ProgressBar
from ._schedules import build_schedule
from ._selection import KeepEpoch, keep_best, record_score
from ._transfer import (
    NetworkBuilder,
    choose_head,
    find_head,
    find_output,
    load_weights,
    match_channels,
    read_start,
    scale_rates,
)
from ._views import check_views

MIXUP_EPOCHS = 40  # mixup="auto" mixes in trainings of at least this many epochs
_PATIENCE = 10  # epochs, of early_stopping=True

_NET_SETTINGS = (
    "max_epochs", "batch_size", "micro_batch_size", "lr", "frozen_epochs", "cache_features", "precision", "augment",
    "mixup", "ema_decay", "tta", "pixel_range",
)  # fmt: skip
# parameters that net_params cannot set, because ferkit's batches stay on the device
_RESERVED = ("dataset", "iterator_train", "iterator_valid", "predict_nonlinearity")
_ADVICE = {"callbacks": "`callbacks` to the estimator", "train_split": "`validation_fraction`, or X_val and y_val"}


def resolve_settings(params):
    """Return the parameters of an estimator as a namespace in which "auto" and "all" are resolved.

    ``augment`` must be resolved already: training calls it and does not know what it is. ``pixel_range``, and ``net``,
    which is ClassifierNet or RegressorNet, must be added.
    """
    settings = SimpleNamespace(**params)
    check_views(settings.tta, settings.augment)
    settings.backbone_name, settings.backbone = settings.backbone, resolve_backbone(settings.backbone)
    settings.max_epochs = int(settings.max_epochs)  # PyTorch takes no NumPy integers
    if settings.mixup == "auto":
        settings.mixup = 0.2 if settings.max_epochs >= MIXUP_EPOCHS else 0.0
    recommended = settings.backbone
    if settings.optimizer == "auto":
        settings.optimizer = recommended.optimizer
    optimizer = OPTIMIZERS[settings.optimizer]
    if settings.micro_batch_size and settings.device == "accelerate":  # shares may have different numbers of parts
        raise ValueError(
            f'Expected micro_batch_size=None with device="accelerate", got {settings.micro_batch_size}: reduce '
            "batch_size, because each process only gets its share of a batch."
        )
    if settings.lr == "auto":
        settings.lr = recommended.lr / OPTIMIZERS[recommended.optimizer].lr_scale * optimizer.lr_scale
        if settings.weights is not None and settings.frozen_epochs != "all":
            settings.lr *= 0.1
    settings.lr = float(settings.lr)
    if settings.weight_decay == "auto" and "optimizer" not in (settings.net_params or {}):
        settings.weight_decay = optimizer.weight_decay
    if not all(isinstance(size, Integral) and int(size) > 0 for size in settings.head):
        raise ValueError(f"Expected positive sizes of hidden layers in head, got {settings.head}: pass such as (256,).")
    if settings.frozen_epochs == "all":
        settings.frozen_epochs = inf
    return settings


def build_net(settings, rows, image_shape, n_outputs, *, weight=None, valid=None, score=None, checkpoint=None):
    """Build a net for these images, with its starting weights, optimizer, schedule and callbacks.

    Parameters
    ----------
    settings : SimpleNamespace
        Output of `resolve_settings`.
    rows : ndarray or ImageFiles
        The training images. Their pixels give the mean and standard deviation.
    image_shape : tuple of int
        (height, width, channels).
    n_outputs : int
        Number of classes, or of targets of a regression.
    weight : ndarray, default=None
        Weight of each image.
    valid : ImageSet, default=None
        Images to score after every epoch.
    score : callable, default=None
        Function from the predictions of these images to a score, the higher the better, other than accuracy and loss.
    checkpoint : Checkpoint, default=None
        Callback that saves the training and continues it.

    Returns
    -------
    FERNet
        The initialized net.
    """
    net_params = _check_net_params(settings.net_params or {})
    state, mean, std = read_start(settings, rows, image_shape[2], weight)
    build_params = {"in_channels": len(mean), **(settings.backbone_params or {})}
    mean, std = match_channels(mean, std, build_params["in_channels"])
    build = NetworkBuilder(settings.backbone_name, settings.backbone.build, build_params)
    input_size = None if settings.input_size is None else check_size(settings.input_size, "input_size")
    fine_tunes = state is not None or settings.frozen_epochs or settings.backbone_lr_scale != 1
    with _explained(settings.backbone_name):
        output = find_output(build, (len(mean), *(input_size or image_shape[:2]))) if settings.head else None
        head = find_head(build) if fine_tunes else set()
    if output is not None:
        build = replace(build, output=output, head=tuple(map(int, settings.head)))
    params = {
        "module": FERModule,
        "module__build": build,
        "module__num_classes": n_outputs,
        "module__mean": mean,
        "module__std": std,
        "module__input_size": input_size,
        "module__dropout": settings.dropout,
        "module__frozen_layers": settings.frozen_layers,
        "image_shape": image_shape,
        "train_split": valid and predefined_split(valid),
        "device": resolve_device(settings.device),
        **{name: vars(settings)[name] for name in _NET_SETTINGS},
        **_optimizer_params(settings, net_params),
        **_loss_params(settings, net_params, n_outputs),
        **net_params,
    }
    steps = count_steps(params["max_epochs"], params["batch_size"], len(rows))
    callbacks = _callbacks(settings, params["max_epochs"], steps, image_shape[1], valid, score, checkpoint)
    with _explained(settings.backbone_name):
        net = settings.net(**{"callbacks": callbacks, **params}).initialize()
    network = net.module_.backbone
    if output is not None:
        net.module_.head = output
        head = head | {name for name, _ in network.named_parameters() if name.startswith(f"{output}.")}
    if state is not None:
        load_weights(network, head, state)
    if settings.backbone_lr_scale != 1 or settings.layer_decay != 1:
        net.rate_scales = scale_rates(network, head, settings.backbone_lr_scale, settings.layer_decay)
        net.initialize_optimizer()
    images = _check_network(net, settings.backbone_name, build, image_shape, n_outputs)
    if settings.frozen_epochs:
        with torch.random.fork_rng([]), net.autocast():
            choose_head(net.module_, head, images, with_hidden=state is None)
    return net


@contextmanager
def _explained(backbone):
    """Say what is missing in a backbone of the user's that cannot be built."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        name = getattr(backbone, "__name__", str(backbone))
        if "unexpected keyword argument 'in_channels'" in str(error):
            remedy = (
                f"add it, or pass build, where\ndef build(num_classes, in_channels):\n    return {name}(num_classes)"
            )
            raise TypeError(
                f"Expected the parameter in_channels in a backbone, got {name} without it: {remedy}"
            ) from error
        if "unexpected keyword argument 'num_classes'" in str(error):
            raise TypeError(
                f"Expected the parameter num_classes in a backbone, got {name} without it: add it, and return as many "
                "logits per image."
            ) from error
        if "uninitialized parameter" in str(error):
            raise ValueError(
                f"Expected a backbone whose layers know their size, got {name} with lazy layers such as nn.LazyLinear: "
                "write nn.Linear(n_inputs, n_outputs). After nn.AdaptiveAvgPool2d(1) and nn.Flatten(), n_inputs is the "
                "number of channels."
            ) from error
        raise


def _callback_of(entry):
    """Return a callback, which skorch also accepts as a pair with its name."""
    return entry[1] if isinstance(entry, (tuple, list)) else entry


def _check_callbacks(callbacks):
    for item in callbacks:
        callback = _callback_of(item)
        if callback is not item and item[0] in CALLBACK_NAMES:
            raise ValueError(
                f"Expected other names in `callbacks` than {', '.join(CALLBACK_NAMES)}, which ferkit uses, got "
                f"{item[0]!r}: choose another."
            )
        if callback is not None and not hasattr(callback, "on_epoch_end"):
            name = getattr(callback, "__name__", type(callback).__name__)
            raise TypeError(
                f"Expected skorch callbacks, got {name} in `callbacks`: pass Each(), where\n"
                "class Each(skorch.callbacks.Callback):\n"
                "    def on_epoch_end(self, net, **kwargs):\n"
                f"        {'function' if name == '<lambda>' else name}(net)"
            )
    return callbacks


def _check_net_params(net_params):
    for name, advice in _ADVICE.items():
        if name in net_params:
            raise ValueError(f"net_params can't set {name}, because ferkit has its own: pass {advice}.")
    refused = [name for name in net_params if name.split("__")[0] in _RESERVED or name == "optimizer__param_groups"]
    if refused:
        raise ValueError(
            f"net_params can't set {', '.join(refused)}: ferkit's batches stay on the device, and its groups of "
            "parameters come from weight_decay, backbone_lr_scale and layer_decay."
        )
    return net_params


def _optimizer_params(settings, net_params):
    """Return skorch's parameters for the optimizer, except those that ``net_params`` sets."""
    params: dict[str, Any] = {}
    takes_decay = "optimizer" not in net_params or "weight_decay" in signature(net_params["optimizer"]).parameters
    if settings.weight_decay != "auto" and takes_decay:
        params["optimizer__weight_decay"] = settings.weight_decay
    elif settings.weight_decay not in ("auto", 0):
        raise ValueError(
            "Expected weight_decay='auto' for an optimizer without weight decay, got "
            f"weight_decay={settings.weight_decay}: leave it out."
        )
    if "optimizer" not in net_params:
        optimizer = OPTIMIZERS[settings.optimizer]
        params["optimizer"] = optimizer.build
        params |= {f"optimizer__{name}": value for name, value in optimizer.arguments.items()}
    return params


def _loss_params(settings, net_params, n_outputs):
    """Return skorch's parameters for the classes and the loss, except those that ``net_params`` sets."""
    params: dict[str, Any] = {}
    if "criterion" not in net_params:
        params |= {"criterion": settings.net.default_criterion, "criterion__reduction": "none"}
    if settings.net is ClassifierNet:
        params["classes"] = np.arange(n_outputs)
        if "criterion" not in net_params:
            params["criterion__label_smoothing"] = settings.label_smoothing
    return params


def _callbacks(settings, epochs, steps, width, valid, score, checkpoint):
    callbacks, sets = [], ["train"] if valid is None else ["train", "valid"]
    scores = [f"{prefix}_{name}" for prefix in sets for name in settings.net.score_names]
    if score is not None:
        scores.append("valid_score")
        callbacks.append(("valid_score", record_score(score)))
    if settings.lr_schedule:
        schedule = build_schedule(settings.lr_schedule, epochs=epochs, steps=steps, scores=scores)
        callbacks.append(("schedule", schedule))
    if settings.verbose and (settings.device != "accelerate" or Processes().is_main):
        callbacks.append(("progress", ProgressBar()))
    callbacks.append(("last_epoch", KeepEpoch()))  # after all scores of the epoch, and before callbacks that may end it
    own = _check_callbacks(settings.callbacks or [])
    # these build the network again, with an optimizer that the schedule must know
    first = [entry for entry in own if isinstance(_callback_of(entry), InputShapeSetter)]
    lost = next((name for name in ("weights", "frozen_epochs") if getattr(settings, name)), None)
    if first and lost:
        name = _callback_of(first[0]).param_name
        raise ValueError(
            f"Expected no InputShapeSetter with {lost}=, got one in `callbacks`: it builds the network again without "
            f'{lost}. Pass the size yourself, as in backbone_params={{"{name}": {width}}}, and leave the callback out.'
        )
    callbacks = [*first, *callbacks, *(entry for entry in own if entry not in first)]
    if settings.early_stopping or settings.keep_best:  # after all others, because it may end the epoch for them
        is_switch = isinstance(settings.early_stopping, (bool, np.bool_))
        patience = int(settings.early_stopping) * (_PATIENCE if is_switch else 1)
        callbacks.append(("best_epoch", keep_best(settings.scoring, patience)))
    if checkpoint is not None:
        callbacks.append(("checkpoint", checkpoint))
    return callbacks


def _check_network(net, name, build, image_shape, n_outputs):
    """Check that the network accepts images of this size. Return the two images of the check.

    Many networks are too deep for small faces. Others return another number of values per image than ``n_outputs``.
    """
    module, (height, width, channels) = net.module_, image_shape
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        with torch.random.fork_rng([]), torch.no_grad(), net.autocast():
            images = torch.rand(2, channels, height, width, device=net.device) * module.std.mean()
            logits = module.train()(images)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        sizes = find_sizes(build, in_channels=len(module.mean))
        size = module.input_size or (height, width)
        if size[0] == size[1] and size[0] in sizes:
            raise
        needed = f"pass input_size={sizes[0]}{' or more' * (len(sizes) > 1)}." if sizes else "it accepts no other size."
        raise ValueError(
            f"The backbone {name!r} can't take images of {size[0]}×{size[1]} ({error}): {needed}"
        ) from error
    finally:
        for buffer_name, buffer in module.named_buffers():
            buffer.copy_(buffers[buffer_name])
    shape = tuple((logits[0] if isinstance(logits, tuple) else logits).shape)
    if shape != (2, n_outputs):
        raise ValueError(
            f"Expected logits of shape {(2, n_outputs)} for two images, got {shape} from the backbone {name!r}: it "
            "must use num_classes."
        )
    return images
