"""Facial expression recognition as an ordinary scikit-learn problem."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imblearn.pipeline import Pipeline

    from . import backbones as backbones
    from . import comparison as comparison
    from . import datasets as datasets
    from . import display as display
    from . import hub as hub
    from . import models as models
    from . import onnx as onnx
    from . import persistence as persistence
    from . import photos as photos
    from . import recipes as recipes
    from . import regressor as regressor
    from . import report as report
    from . import runs as runs
    from . import serving as serving
    from . import training as training
    from .augmentation import ImageAugmenter
    from .classifier import FERClassifier
    from .models import load_model
    from .onnx import export
    from .persistence import load, read_card, save
    from .regressor import FERRegressor
    from .report import evaluate
    from .transformers import ImageNormalizer, ImageResizer, NetworkFeatures, PixelParser

__version__ = "0.2.0"
__all__ = [
    "FERClassifier",
    "FERRegressor",
    "ImageAugmenter",
    "ImageNormalizer",
    "ImageResizer",
    "NetworkFeatures",
    "Pipeline",
    "PixelParser",
    "evaluate",
    "export",
    "load",
    "load_model",
    "read_card",
    "save",
]

_HOMES = {
    "FERClassifier": "ferkit.classifier",
    "FERRegressor": "ferkit.regressor",
    "ImageAugmenter": "ferkit.augmentation",
    "ImageNormalizer": "ferkit.transformers",
    "ImageResizer": "ferkit.transformers",
    "NetworkFeatures": "ferkit.transformers",
    "Pipeline": "imblearn.pipeline",
    "PixelParser": "ferkit.transformers",
    "evaluate": "ferkit.report",
    "export": "ferkit.onnx",
    "load": "ferkit.persistence",
    "load_model": "ferkit.models",
    "read_card": "ferkit.persistence",
    "save": "ferkit.persistence",
}
_MODULES = (
    "augmentation", "backbones", "classifier", "comparison", "datasets", "display", "hub", "models", "onnx",
    "persistence",
    "photos", "recipes", "regressor", "report", "runs", "serving", "training", "transformers",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, so that ``ferkit --help`` does not wait for PyTorch."""
    if name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
    elif name in _MODULES:
        found = import_module(f"ferkit.{name}")
    else:
        raise AttributeError(f"module 'ferkit' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
