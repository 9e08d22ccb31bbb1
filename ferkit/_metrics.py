"""Scores that scikit-learn does not have, for reports and figures."""

import numpy as np
from sklearn.calibration import calibration_curve

__all__ = ["bin_confidence", "calibration_error", "rank_confusions"]


def bin_confidence(y_true, y_proba, labels, n_bins):
    """Return accuracy and mean confidence of the bins that hold predictions, and the counts of all bins.

    The bins have equal width. The confidence of a prediction is the probability of the predicted label.
    """
    right = np.asarray(labels)[y_proba.argmax(axis=1)] == y_true
    confidence = y_proba.max(axis=1).clip(max=1)
    # calibration_curve returns no counts; like it, this puts a value on an edge into the lower bin
    counts = np.bincount(np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], confidence), minlength=n_bins)
    return *calibration_curve(right, confidence, n_bins=n_bins), counts


def calibration_error(accuracy, confidence, counts):
    """Return the expected calibration error, from the output of `bin_confidence`."""
    return float(np.average(np.abs(accuracy - confidence), weights=counts[counts > 0]))


def rank_confusions(values, n):
    """Return (row, column) of the ``n`` greatest positive values off the diagonal, the greatest first."""
    values = values * ~np.eye(len(values), dtype=bool)
    order = np.argsort(-values, axis=None, kind="stable")[:n]
    pairs = zip(*np.unravel_index(order, values.shape), strict=True)
    return [(row, column) for row, column in pairs if values[row, column] > 0]
