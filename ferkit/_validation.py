"""Checks of classifiers, labels and probabilities."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils.validation import check_consistent_length, column_or_1d

__all__ = [
    "check_classifier",
    "check_columns",
    "check_errors",
    "check_known",
    "check_label_names",
    "check_labels",
    "check_proba",
    "extend_labels",
]


def check_classifier(model: BaseEstimator) -> None:
    """Raise an error if the model is a regressor, because emotions are scored."""
    if isinstance(model, BaseEstimator) and is_regressor(model):  # others have no tags that say so
        raise TypeError(f"Expected a classifier, got the regressor {type(model).__name__}: call model.score(X, y).")


def check_columns(names, taken):
    """Raise an error if a class has the name of another column of the table of predictions."""
    if found := sorted(taken.intersection(names)):
        raise ValueError(f"Expected classes whose names are not those of other columns, got {found}.")


def check_errors(errors):
    """Raise an error if the parameter ``errors`` is invalid."""
    if errors not in ("raise", "drop"):
        raise ValueError(f'Expected errors="raise" or errors="drop", got errors={errors!r}.')


def check_known(y: ArrayLike, name: str = "label") -> None:
    """Raise an error if the label or group of an image is missing.

    NumPy would turn a missing value in a list of strings into the text "nan".
    """
    values = np.asarray(y, dtype=object)
    if values.ndim and (missing := int(pd.isna(values).sum())):  # scikit-learn has an error for y=None
        raise ValueError(
            f"Expected a {name} for each image, got {missing:,} missing values: leave these images out, as in X[known] "
            f'where known = pd.notna({name}s), or name the missing {name}s, such as "unknown".'
        )


def check_label_names(labels: ArrayLike) -> np.ndarray:
    """Return an order of labels as an array. Raise an error if a label is repeated."""
    labels = np.asarray(column_or_1d(labels))
    if len(np.unique(labels)) < len(labels):
        raise ValueError(f"Expected different labels, got {labels.tolist()}: pass each label once.")
    return labels


def extend_labels(labels: ArrayLike | None, occurring: np.ndarray) -> np.ndarray:
    """Return ``labels`` and, after them, the other labels that occur."""
    if labels is None:
        return occurring
    labels = check_label_names(labels)
    return np.concatenate([labels, np.setdiff1d(occurring, labels)])


def check_labels(y: ArrayLike, labels: Any, *same_length: Any) -> np.ndarray:
    """Return ``y`` as an array. Check its length against the others and its type against ``labels``."""
    check_known(y)
    y, labels = np.asarray(column_or_1d(y)), np.asarray(labels)
    check_consistent_length(y, *same_length)
    if len(y) and len(labels) and isinstance(y[0], str) != isinstance(labels[0], str):
        expected, got = (some[:1].tolist()[0] for some in (labels, y))
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
