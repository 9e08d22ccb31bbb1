"""Checkpoints: save the complete state of a training after an epoch, and continue the training from it.

A checkpoint is one safetensors file. Its metadata hold as JSON everything that is not a tensor, so that reading a
checkpoint cannot run code. skorch's own callbacks write pickles, and neither random streams nor their own state.
"""

import json
import re
import time
import warnings
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from importlib.metadata import version
from os import stat
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    InputShapeSetter,
    LRScheduler,
    PassthroughScoring,
)

from .._files import ImageFiles, make_directory, write_atomically
from ._devices import get_stream, resolve_precision, set_stream
from ._module import load_state, with_layer_versions
from ._progress import ProgressBar, TrainingTimer
from ._selection import KeepBest, KeepEpoch

NAME = "checkpoint.safetensors"
_FORMAT, _FORMAT_VERSION = "ferkit checkpoint", "1"
_CALLBACK_STATE = (
    "misses_", "dynamic_threshold_", "best_model_weights_", "best_epoch_", "best_score_", "batch_idx_",
)  # fmt: skip
_SCALARS = (bool, int, float, str, np.generic)
_NOT_COMPARED = ("checkpoint", "checkpoint_every", "device", "precision", "verbose")
# callbacks that continue exactly: the state of some is saved, the others have none that matters
_CONTINUED = (
    EarlyStopping, EpochScoring, EpochTimer, GradientNormClipping, InputShapeSetter, KeepBest, KeepEpoch, LRScheduler,
    PassthroughScoring, ProgressBar, TrainingTimer,
)  # fmt: skip


class Checkpoint(Callback):
    """Callback that saves the state of a training, and restores it when the training is started again.

    Parameters
    ----------
    path : Path
        The file.
    every : int or timedelta
        Number of epochs, or the time, between two checkpoints.
    head : dict
        What identifies the training: ``seed``, ``facts`` and ``versions``.
    state : dict, default=None
        State of the training that continues.
    """

    def __init__(self, path, every, head, state=None):
        self.path, self.every, self.head, self.state = path, every, head, state
        self.pending, self.saved_at = None, time.monotonic()

    @property
    def is_finished(self):
        """Whether the checkpoint holds the result of a complete training."""
        return self.state is not None and self.state["finished"]

    def count_epochs(self, net):
        """Restore the history of the checkpoint, if there is one, and return its number of epochs."""
        if self.state is None:
            return 0
        with _reading(self.path):
            for row in self.state["history"]:
                net.history.new_epoch()
                for name, value in row.items():
                    net.history.record(name, value)
        return len(net.history)

    def begin(self, net):
        """Restore the state when a training continues; otherwise try to save it.

        A full disk, or a state that cannot be saved, should raise before hours of training and not after an epoch.
        """
        if self.state is None:
            if not net.history:
                self.pending = self._collect(net)
                self._write()
                self.path.unlink()  # nothing is trained yet that could be lost
            return
        unknown = sorted({type(callback).__name__ for _, callback in net.callbacks_ if not _is_continued(callback)})
        if unknown:
            warnings.warn(
                f"The callbacks {', '.join(unknown)} start anew, because checkpoints do not contain their state. The "
                "result only equals an undisturbed training if they do not change the training.",
                stacklevel=2,
            )
        state, self.state = self.state, None
        with _reading(self.path):
            _restore(net, state)

    def on_epoch_end(self, net, **kwargs):
        self.pending = self._collect(net)
        if isinstance(self.every, timedelta):
            is_due = time.monotonic() - self.saved_at >= self.every.total_seconds()
        else:
            is_due = len(net.history) % self.every == 0
        if is_due:
            self.flush()

    def flush(self):
        """Write the state of the last complete epoch, if it is not written yet.

        If this fails, the training goes on: its result is still in memory, the last good checkpoint still exists, and
        the disk may have space again after the next epoch.
        """
        try:
            self._write()
        except OSError as error:
            warnings.warn(f"The training goes on without a new checkpoint. {error}", stacklevel=2)

    def finish(self, net):
        """Write the result of a complete training, from which a later fit takes it."""
        state = {
            "finished": True,
            "weights": net.module_.state_dict(),
            "criterion": net.criterion_.state_dict(),
            "best_epoch": net.best_epoch_,
        }
        self.pending = self._pack(net, state)
        self.flush()

    def take_result(self, net):
        """Restore the result of a complete training."""
        state, self.state = self.state, None
        with _reading(self.path):
            load_state(net.module_, state["weights"])
            net.criterion_.load_state_dict(state["criterion"])
            net.best_epoch_ = state["best_epoch"]

    def explain(self):
        """Return a sentence that says how to continue the training."""
        return f"To continue it from {self.path}, call fit again with the same parameters and data."

    def _collect(self, net):
        average = net.average_
        state = {
            "finished": False,
            "weights": (average.trained if average else net.module_).state_dict(),
            "average": average and {"weights": average.average.state_dict(), "steps": average.steps},
            "criterion": net.criterion_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "scaler": net.scaler_ and net.scaler_.state_dict(),
            "callbacks": {name: _callback_state(callback) for name, callback in net.callbacks_},
            "random": _random_state(net),
        }
        return self._pack(net, state)

    def _pack(self, net, state):
        # without the scores of single batches, which would soon take more space than the weights
        state["history"] = [
            {name: value for name, value in row.items() if isinstance(value, _SCALARS)} for row in net.history
        ]
        tensors: dict[str, torch.Tensor] = {}
        return _to_json(state, "state", tensors), tensors

    def _write(self):
        if self.pending is None:
            return
        state, tensors = self.pending
        content = json.dumps({"head": self.head, "state": state})
        metadata = {"format": _FORMAT, "version": _FORMAT_VERSION, "content": content}
        data = save(tensors, metadata | {"sha256": _digest(content, tensors)})
        write_atomically(self.path, data)
        self.pending, self.saved_at = None, time.monotonic()


def open_checkpoint(params, data, *, seed, device):
    """Return the Checkpoint of a training, with the state in its directory if there is one.

    Parameters
    ----------
    params : dict
        The parameters of an estimator, and other settings such as its classes. They must be the same when the training
        continues, except those that do not change its result. Objects are compared by their text.
    data : dict
        Images, labels and weights by name, which must be the same, as ndarrays, ImageFiles or None.
    seed : int
        Seed of the training. A training that continues has the seed of its checkpoint.
    device : str
        The device that the parameters resolve to.

    Raises
    ------
    OSError
        If the directory cannot be written to.
    ValueError
        If the checkpoint in the directory is damaged, or has other settings or data.
    """
    if params["device"] == "accelerate":
        raise ValueError(
            'Expected a training in one process for `checkpoint`, got device="accelerate": pass checkpoint=None or '
            'device="auto".'
        )
    settings = {name: value for name, value in params.items() if name not in _NOT_COMPARED}
    settings["device"] = torch.device(device).type
    settings["precision"] = str(resolve_precision(params["precision"], device)).removeprefix("torch.")
    directory, every = Path(params["checkpoint"]).expanduser(), params["checkpoint_every"]
    make_directory(directory)
    path = directory / NAME
    for part in directory.glob(f".{NAME}.*.part"):  # of a process that was killed
        part.unlink(missing_ok=True)
    facts = describe_settings(settings)
    facts |= {name: _fingerprint(value) for name, value in data.items()}
    versions: dict[str, str | int] = {"ferkit": version("ferkit"), "torch": torch.__version__}
    if settings["device"] == "cpu":
        versions["threads"] = torch.get_num_threads()  # sums are rounded differently by another number
    if not path.exists():
        return Checkpoint(path, every, {"seed": seed, "facts": facts, "versions": versions})
    with _reading(path):
        head, state = _read(path)
    _compare(path, head["facts"], facts)
    if head["versions"] != versions:
        warnings.warn(
            f"The training in {path} continues with {_join(versions)}, instead of {_join(head['versions'])}. Its "
            "result may differ in the last digits.",
            stacklevel=3,
        )
    return Checkpoint(path, every, {"seed": head["seed"], "facts": facts, "versions": versions}, state)


def _compare(path, then, now):
    names = [name for name in {**now, **then} if then.get(name) != now.get(name)]
    if names:
        lines = [f"  {name}: {then.get(name)!r} then, {now.get(name)!r} now" for name in names]
        raise ValueError(
            "\n".join([f"Expected the settings and data of the training in {path}, got others:", *lines])
            + "\nPass the same ones to continue it. To start anew, delete this file or choose another `checkpoint`."
        )


def _join(versions):
    return ", ".join(f"{name} {value}" for name, value in versions.items())


# the parts of a state


def _restore(net, state):
    weights, average, steps = state["weights"], state["average"], 0
    if average:
        if len(net.history) == net.frozen_epochs:  # the next epoch starts from the average of the frozen ones
            weights = average["weights"]
        else:
            steps = average["steps"]
        load_state(net.average_.average, average["weights"])
        net.average_.steps = steps
    load_state(net.module_, weights)
    net.criterion_.load_state_dict(state["criterion"])
    net.load_optimizer(state["optimizer"])
    if net.scaler_:
        net.scaler_.load_state_dict(state["scaler"])
    _restore_callbacks(net, state["callbacks"])
    _restore_random(net, state["random"])


def _callback_state(callback):
    state = {name: vars(callback)[name] for name in _CALLBACK_STATE if name in vars(callback)}
    schedule = getattr(callback, "lr_scheduler_", None)
    return state | ({"schedule": schedule.state_dict()} if schedule else {})


def _restore_callbacks(net, states):
    for name, callback in net.callbacks_:
        state = dict(states.get(name, {}))
        if schedule := state.pop("schedule", None):
            callback.lr_scheduler_.load_state_dict(schedule)
        for attribute, value in state.items():
            if attribute == "best_model_weights_" and value is not None:
                value = with_layer_versions(net.module_, value)
            setattr(callback, attribute, value)


def _is_continued(callback):
    return type(callback) in (*_CONTINUED, Checkpoint)


def _random_state(net):
    device = torch.device(net.device)
    state = {"torch": torch.get_rng_state(), "batches": net.generator.get_state()}
    if device.type != "cpu":
        state["device"] = get_stream(device)
    return state | {"mixup": net.mixup_rng_.bit_generator.state}


def _restore_random(net, state):
    torch.set_rng_state(state["torch"])
    if "device" in state:
        set_stream(torch.device(net.device), state["device"])
    net.generator.set_state(state["batches"])
    net.mixup_rng_.bit_generator.state = state["mixup"]


# settings and data


def describe_settings(value):
    """Return settings as JSON types that are the same in another process."""
    if isinstance(value, dict):  # the keys of class_weight may be NumPy integers
        value = {
            key.item() if isinstance(key, np.generic) else key: describe_settings(item) for key, item in value.items()
        }
    return json.loads(json.dumps(value, default=_describe_object))


def _describe_object(value):
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    name = getattr(value, "__qualname__", None)
    return f"{value.__module__}.{name}" if name else re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _fingerprint(data):
    """Return a short text that is different for other data."""
    if data is None:
        return None
    digest = sha256()
    if isinstance(data, ImageFiles):
        for file, identity in zip(data.files, data.identities(), strict=True):
            size = len(file) if isinstance(file, bytes) else stat(file).st_size
            digest.update(f"{len(identity)} {size} ".encode() + identity)
    else:
        digest.update(np.ascontiguousarray(data).data)
    return f"{'×'.join(map(str, data.shape))} {data.dtype}, SHA-256 {digest.hexdigest()[:16]}"


# the file


def _read(path):
    """Return (head, state) of a checkpoint."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if metadata["format"] != _FORMAT or metadata["version"] != _FORMAT_VERSION:
        raise ValueError(f"it has format {metadata['format']!r}, version {metadata['version']!r}")
    content = metadata["content"]
    if metadata["sha256"] != _digest(content, tensors):
        raise ValueError("its checksum is wrong")
    content = json.loads(content)
    head, state = content["head"], _from_json(content["state"], tensors)
    head = {"seed": int(head["seed"]), "facts": dict(head["facts"]), "versions": dict(head["versions"])}
    return head, {"finished": bool(state["finished"]), **state}


@contextmanager
def _reading(path):
    """Say which file is damaged or foreign. Its content may raise any kind of error."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"Expected a checkpoint of this version of ferkit, got {path}, which is damaged or another file "
            f"({type(error).__name__}: {error}): delete it to start anew, or choose another `checkpoint`."
        ) from error


def _digest(content, tensors):
    digest = sha256(content.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _to_json(value, name, tensors):
    """Return a value as JSON types. Tensors in it are copied to ``tensors``, and replaced by their names there."""
    if isinstance(value, torch.Tensor):
        tensors[name] = torch.empty(value.shape, dtype=value.dtype).copy_(value.detach())
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _to_json(part, f"{name}/{key}", tensors)] for key, part in value.items()]}
    if isinstance(value, (list, tuple)):
        parts = [_to_json(part, f"{name}/{number}", tensors) for number, part in enumerate(value)]
        return {"tuple": parts} if isinstance(value, tuple) else parts
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"Expected a state of tensors, numbers and texts, got {type(value).__name__} in {name}: pass checkpoint=None."
    )


def _from_json(value, tensors):
    if isinstance(value, list):
        return [_from_json(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_from_json(part, tensors) for part in content)
    return {key: _from_json(part, tensors) for key, part in content}
