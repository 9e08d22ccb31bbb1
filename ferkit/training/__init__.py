"""How a network is trained. Nothing here imports an estimator; ``build_net`` is the way in."""

from ._build import build_net, resolve_settings
from ._data import ImageSet
from ._devices import Processes, resolve_device, resolve_precision, seeded
from ._net import FERNet
from ._schedules import SCHEDULES

__all__ = [
    "SCHEDULES",
    "FERNet",
    "ImageSet",
    "Processes",
    "build_net",
    "resolve_device",
    "resolve_precision",
    "resolve_settings",
    "seeded",
]
