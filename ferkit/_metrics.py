"""Scores that scikit-learn does not have, for reports and figures, and its own scores of known probabilities."""

import numpy as np
from scipy.stats import binomtest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.calibration import calibration_curve
from sklearn.metrics import check_scoring

__all__ = [
    "bin_confidence",
    "calibration_error",
    "find_confidence",
    "rank_confusions",
    "score_predictions",
    "score_probabilities",
    "wilson_interval",
]


def wilson_interval(n_right, n, level=0.95):
    """Return Wilson's confidence interval of a share."""
    interval = binomtest(int(n_right), int(n)).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def find_confidence(y_pred, y_proba, labels):
    """Return the probability of each predicted label, which is not the highest one if a threshold was tuned."""
    return np.where(np.asarray(labels) == y_pred[:, None], y_proba, 0).sum(axis=1)


def bin_confidence(y_true, y_pred, y_proba, labels, n_bins):
    """Return accuracy and mean confidence of the bins that hold predictions, and the counts of all bins.

    The bins have equal width. The confidence of a prediction is the probability of the predicted label.
    """
    right, confidence = y_pred == y_true, find_confidence(y_pred, y_proba, labels).clip(max=1)
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


def score_probabilities(scoring, images, y, sample_weight, classes, y_proba):
    """Return the score of probabilities by a scikit-learn scorer, which asks a classifier for them."""
    return _score(scoring, _KnownClassifier(images, y_proba, classes), y, sample_weight)


def score_predictions(scoring, images, y, sample_weight, y_pred):
    """Return the score of predicted numbers by a scikit-learn scorer, which asks a regressor for them."""
    return _score(scoring, _KnownRegressor(images, y_pred), y, sample_weight)


def _score(scoring, estimator, y, sample_weight):
    weight = {} if sample_weight is None else {"sample_weight": sample_weight}
    return check_scoring(estimator, scoring)(estimator, estimator.images, y, **weight)


class _Known(BaseEstimator):
    """An estimator that knows the predictions of some images."""

    def fit(self, X, y):
        """Do nothing; scikit-learn takes no estimator without it."""
        return self

    def _recall(self, X):
        if X is not self.images:
            raise ValueError(
                "Expected `scoring` to predict the images it is called with, got others: pass X unchanged."
            )
        return self.known


class _KnownClassifier(ClassifierMixin, _Known):
    def __init__(self, images, known, classes):
        self.images, self.known, self.classes_ = images, known, classes

    def predict_proba(self, X):
        return self._recall(X)

    def predict(self, X):
        return self.classes_[self._recall(X).argmax(axis=1)]


class _KnownRegressor(RegressorMixin, _Known):
    def __init__(self, images, known):
        self.images, self.known = images, known

    def predict(self, X):
        return self._recall(X)
