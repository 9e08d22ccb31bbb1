"""Figures as scikit-learn displays: the object holds the data, ``plot`` draws it, ``figure_`` is the result."""

from ._faces import (
    AugmentationDisplay,
    ClassDistributionDisplay,
    FacesDisplay,
    LabelErrorsDisplay,
    PredictionsDisplay,
)
from ._networks import BackboneDisplay, FilterDisplay, GradCAMDisplay
from ._photos import PhotoDisplay, TimelineDisplay
from ._runs import ComparisonDisplay, HistoryDisplay
from ._scores import ClassScoresDisplay, ConfusionDisplay, PrecisionRecallDisplay, ReliabilityDisplay, RocDisplay

__all__ = [
    "AugmentationDisplay",
    "BackboneDisplay",
    "ClassDistributionDisplay",
    "ClassScoresDisplay",
    "ComparisonDisplay",
    "ConfusionDisplay",
    "FacesDisplay",
    "FilterDisplay",
    "GradCAMDisplay",
    "HistoryDisplay",
    "LabelErrorsDisplay",
    "PhotoDisplay",
    "PrecisionRecallDisplay",
    "PredictionsDisplay",
    "ReliabilityDisplay",
    "RocDisplay",
    "TimelineDisplay",
]
