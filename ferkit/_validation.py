"""Checks of classifiers, labels and probabilities."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils.validation import check_consistent_length, column_or_1d

__all__ = ["check_classifier", "check_labels", "check_proba"]


def check_classifier(model: BaseEstimator) -> None:
    """Raise an error if the model is a regressor, because emotions are scored."""
    if isinstance(model, BaseEstimator) and is_regressor(model):  # others have no tags that say so
        raise TypeError(f"Expected a classifier, got the regressor {type(model).__name__}: call model.score(X, y).")


def check_labels(y: ArrayLike, labels: Any, *same_length: Any) -> np.ndarray:
    """Return ``y`` as an array. Check its length against the others and its type against ``labels``."""
    y = np.asarray(column_or_1d(np.asarray(y)))
    check_consistent_length(y, *same_length)
    if len(y) and len(labels) and isinstance(y[0], str) != isinstance(labels[0], str):
        expected, got = (np.asarray(some)[:1].tolist()[0] for some in (labels, y))
        raise ValueError(f"Expected labels like {expected!r}, got {got!r}: use names or numbers in both places.")
    return y


def check_proba(y_proba: ArrayLike, labels: Any) -> np.ndarray:
    """Return probabilities as an array with one column per label."""
    y_proba = np.asarray(y_proba)
    if y_proba.shape[1:] != (len(labels),):
        raise ValueError(
            f"Expected probabilities of shape (n, {len(labels)}), one column per label, got {y_proba.shape}: "
            "pass the output of predict_proba and its classes."
        )
    if not ((y_proba >= 0) & (y_proba <= 1 + 1e-6)).all():  # rounding lets float32 exceed 1
        raise ValueError("Expected probabilities from 0 to 1, got other values: pass the output of predict_proba.")
    return y_proba
