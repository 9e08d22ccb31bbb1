"""Training of a network: settings, data, devices and the skorch net. Start reading at ``build_net``."""

from ._build import build_net, resolve_settings
from ._checkpoint import describe_settings, open_checkpoint
from ._data import Batches, ImageSet, count_steps, resolve_batch_size
from ._devices import Processes, resolve_device, resolve_precision, seeded
from ._net import DIVERGED, ClassifierNet, FERNet, RegressorNet
from ._rebuild import describe_history, describe_module, describe_net, rebuild_module, rebuild_net
from ._schedules import SCHEDULES
from ._transfer import remove_head

__all__ = [
    "DIVERGED",
    "SCHEDULES",
    "Batches",
    "ClassifierNet",
    "FERNet",
    "ImageSet",
    "Processes",
    "RegressorNet",
    "build_net",
    "count_steps",
    "describe_history",
    "describe_module",
    "describe_net",
    "describe_settings",
    "open_checkpoint",
    "rebuild_module",
    "rebuild_net",
    "remove_head",
    "resolve_batch_size",
    "resolve_device",
    "resolve_precision",
    "resolve_settings",
    "seeded",
]
