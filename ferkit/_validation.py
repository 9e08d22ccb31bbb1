"""Labels and probabilities: checks and their errors, and how sure is how right."""

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.utils.validation import check_consistent_length, column_or_1d

__all__ = ["bin_confidence", "check_labels", "check_proba"]


def check_labels(y, labels, *same_length):
    """True labels as an array: as many as there are of all else, and of the same type as ``labels``."""
    y = column_or_1d(np.asarray(y))
    check_consistent_length(y, *same_length)
    if len(y) and len(labels) and isinstance(y[0], str) != isinstance(labels[0], str):
        raise ValueError(f"Labels are numbers here and strings there: {y[0]!r} came, expected such as {labels[0]!r}.")
    return y


def check_proba(y_proba, labels):
    """Probabilities as an array with a column for each label."""
    y_proba = np.asarray(y_proba)
    if y_proba.shape[1:] != (len(labels),):
        raise ValueError(f"Expected probabilities of shape (n, {len(labels)}), for each label; got {y_proba.shape}.")
    if not ((y_proba >= 0) & (y_proba <= 1 + 1e-6)).all():  # rounding lets float32 exceed 1
        raise ValueError("Expected probabilities from 0 to 1, got others: pass what predict_proba returns.")
    return y_proba


def bin_confidence(y_true, y_proba, labels, n_bins):
    """(accuracy, mean confidence) of each of the equally wide bins that hold predictions, and the counts of all."""
    right = np.asarray(labels)[y_proba.argmax(axis=1)] == y_true
    confidence = y_proba.max(axis=1).clip(max=1)
    # as calibration_curve sorts them, with the upper edge in the bin
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], confidence), minlength=n_bins)
    return *calibration_curve(right, confidence, n_bins=n_bins), counts
