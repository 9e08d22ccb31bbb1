"""Figures as scikit-learn displays: the object holds the data, ``plot`` draws it, ``figure_`` is the result."""

import warnings
from typing import Any

from ._faces import (
    AugmentationDisplay,
    ClassDistributionDisplay,
    FacesDisplay,
    LabelErrorsDisplay,
    PredictionsDisplay,
)
from ._networks import BackboneDisplay, ExplanationDisplay, FilterDisplay
from ._photos import PhotoDisplay, TimelineDisplay
from ._runs import ComparisonDisplay, HistoryDisplay
from ._scores import (
    ClassScoresDisplay,
    ConfusionDisplay,
    GroupScoresDisplay,
    HeatmapDisplay,
    PrecisionRecallDisplay,
    ReliabilityDisplay,
    RocDisplay,
)

__all__ = [
    "AugmentationDisplay",
    "BackboneDisplay",
    "ClassDistributionDisplay",
    "ClassScoresDisplay",
    "ComparisonDisplay",
    "ConfusionDisplay",
    "ExplanationDisplay",
    "FacesDisplay",
    "FilterDisplay",
    "GroupScoresDisplay",
    "HeatmapDisplay",
    "HistoryDisplay",
    "LabelErrorsDisplay",
    "PhotoDisplay",
    "PrecisionRecallDisplay",
    "PredictionsDisplay",
    "ReliabilityDisplay",
    "RocDisplay",
    "TimelineDisplay",
]


def __getattr__(name: str) -> Any:
    if name == "GradCAMDisplay":
        message = "`GradCAMDisplay` is deprecated and will be removed in 0.3: use `ExplanationDisplay`."
        warnings.warn(message, FutureWarning, stacklevel=2)
        return ExplanationDisplay
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
