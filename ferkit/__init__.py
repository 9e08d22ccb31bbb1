"""Facial expression recognition as an ordinary scikit-learn problem."""

from imblearn.pipeline import Pipeline

from .augmentation import ImageAugmenter
from .classifier import FERClassifier
from .report import evaluate
from .transformers import ImageNormalizer, ImageResizer, NetworkFeatures, PixelParser

__version__ = "0.1.0"
__all__ = [
    "FERClassifier",
    "ImageAugmenter",
    "ImageNormalizer",
    "ImageResizer",
    "NetworkFeatures",
    "Pipeline",
    "PixelParser",
    "evaluate",
]
