"""Learning rate schedules: from the parameter ``lr_schedule`` to skorch's callback."""

from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

from skorch.callbacks import LRScheduler
from torch.optim import lr_scheduler


@dataclass(frozen=True)
class _Schedule:
    """A schedule of PyTorch, how often it steps, and its arguments that cannot be chosen because ferkit sets them."""

    policy: Any
    step_every: str
    reserved: tuple[str, ...] = ()


SCHEDULES = {
    "onecycle": _Schedule(lr_scheduler.OneCycleLR, "batch", ("max_lr", "total_steps", "epochs", "steps_per_epoch")),
    "cosine": _Schedule(lr_scheduler.CosineAnnealingLR, "batch", ("T_max",)),
    "step": _Schedule(lr_scheduler.StepLR, "epoch"),
    "exponential": _Schedule(lr_scheduler.ExponentialLR, "epoch"),
    "warm_restarts": _Schedule(lr_scheduler.CosineAnnealingWarmRestarts, "epoch"),
    "plateau": _Schedule(lr_scheduler.ReduceLROnPlateau, "epoch", ("mode",)),
}


def build_schedule(lr_schedule, *, epochs, steps, scores):
    """Build the callback that changes the learning rate.

    Parameters
    ----------
    lr_schedule : str, dict or callable
        The parameter of the classifier.
    epochs, steps : int
        Length of the training in epochs and in batches.
    scores : list of str
        Scores in the history, which "plateau" can monitor.
    """
    if callable(lr_schedule):
        return LRScheduler(partial(_call_factory, lr_schedule))
    name, given = _check_schedule({"name": lr_schedule} if isinstance(lr_schedule, str) else lr_schedule)
    third = -(-epochs // 3)
    defaults = {
        "onecycle": {"total_steps": steps, "cycle_momentum": False},
        "cosine": {"T_max": steps},
        "step": {"step_size": third},
        "exponential": {"gamma": 0.01 ** (1 / epochs)},
        "warm_restarts": {"T_0": third, "T_mult": 2},
        "plateau": {"patience": 5, "monitor": "valid_loss" if "valid_loss" in scores else "train_loss"},
    }
    arguments = {**defaults[name], **given}
    if name == "plateau":
        arguments["mode"] = "min" if _check_monitor(arguments["monitor"], scores).endswith("_loss") else "max"
    schedule = SCHEDULES[name]
    policy = _one_cycle if name == "onecycle" else schedule.policy
    return LRScheduler(policy, step_every=schedule.step_every, **arguments)


def _check_schedule(options):
    """Return the name and the other items of a dict, or raise if it has others than that schedule takes."""
    given = dict(options)
    name = given.pop("name", None)
    if name not in SCHEDULES:
        raise ValueError(
            f'Expected "name" in the dict lr_schedule to be one of {", ".join(SCHEDULES)}, got {name!r}: choose one, '
            "or pass a function that returns a PyTorch scheduler for an optimizer."
        )
    excluded = ("optimizer", "last_epoch", "verbose", *SCHEDULES[name].reserved)
    keys = [key for key in signature(SCHEDULES[name].policy).parameters if key not in excluded]
    keys += ["monitor"] * (name == "plateau")
    if wrong := [key for key in given if key not in keys]:
        raise ValueError(
            f'Expected the keys of lr_schedule={{"name": "{name}", …}} among {", ".join(keys)}, got '
            f"{', '.join(map(str, wrong))}: remove or rename it."
        )
    return name, given


def _check_monitor(monitor, scores):
    if monitor not in scores:
        advice = "choose one of them"
        if str(monitor).startswith("valid_") and "valid_loss" not in scores:
            advice = "pass validation_fraction=0.1, or X_val and y_val to fit"
        raise ValueError(f"Expected `monitor` of lr_schedule among {', '.join(scores)}, got {monitor!r}: {advice}.")
    return monitor


def _call_factory(factory, optimizer, last_epoch):
    schedule = factory(optimizer)
    if not isinstance(schedule, lr_scheduler.LRScheduler) or isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
        raise TypeError(
            f"Expected lr_schedule to return a PyTorch scheduler that needs no score, got {type(schedule).__name__}: "
            'build one of torch.optim.lr_scheduler; for ReduceLROnPlateau pass {"name": "plateau", …}.'
        )
    return schedule


def _one_cycle(optimizer, **params):
    """Return a OneCycleLR that uses the rate of each parameter group as its peak."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    return lr_scheduler.OneCycleLR(optimizer, peaks, **params)
