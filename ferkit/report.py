"""What a model is worth: one report object with intervals."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import classification_report, confusion_matrix

__all__ = ["Report", "evaluate"]


def evaluate(model, X, y, *, labels=None):
    """Score a fitted classifier on images that it has not seen.

    Parameters
    ----------
    model : estimator
        Any fitted classifier or pipeline.
    X : array-like
        What ``model.predict`` takes.
    y : array-like of shape (n,)
        True labels.
    labels : array-like, default=None
        Labels in the order in which to report them, by default those of the model; any others that occur follow.

    Returns
    -------
    Report

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.report import evaluate
    >>> faces = make_faces(700, random_state=0)
    >>> report = evaluate(DummyClassifier().fit(faces.data, faces.target), faces.data, faces.target)
    >>> round(report.accuracy, 3), [round(bound, 3) for bound in report.interval]
    (0.143, [0.119, 0.171])
    """
    return Report.from_predictions(y, model.predict(X), labels=model.classes_ if labels is None else labels)


@dataclass(frozen=True, eq=False)
class Report:
    """Scores of predictions; ``str()`` is a table.

    Attributes
    ----------
    n : int
        Predictions scored.
    accuracy : float
        Share of right ones.
    interval : tuple of float
        Wilson's 95 % interval of the accuracy, for sampling the ``n`` faces alone.
    balanced_accuracy : float
        Mean recall of the classes that occur.
    per_class : dict of dict
        For each label precision, recall, f1-score and support, and their "macro avg" and "weighted avg".
    confusion : ndarray of shape (n_labels, n_labels)
        Counts; rows are true, columns predicted.
    labels : list
        Labels in the order of ``confusion``.
    """

    n: int
    accuracy: float
    interval: tuple
    balanced_accuracy: float
    per_class: dict
    confusion: np.ndarray
    labels: list

    @classmethod
    def from_predictions(cls, y_true, y_pred, *, labels=None):
        """Score predictions.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n,)
            True and predicted labels.
        labels : array-like, default=None
            Labels in the order in which to report them; any others that occur follow, sorted.

        Returns
        -------
        Report
        """
        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        occurring = np.union1d(y_true, y_pred)
        labels = occurring if labels is None else np.concatenate([labels, np.setdiff1d(occurring, labels)])
        right = int((y_true == y_pred).sum())
        interval = binomtest(right, len(y_true)).proportion_ci(method="wilson")
        confusion = confusion_matrix(y_true, y_pred, labels=labels)
        support = confusion.sum(axis=1)
        per_class = classification_report(y_true, y_pred, labels=labels, output_dict=True, zero_division=0)
        return cls(
            n=len(y_true),
            accuracy=right / len(y_true),
            interval=(float(interval.low), float(interval.high)),
            balanced_accuracy=float(np.mean(confusion.diagonal()[support > 0] / support[support > 0])),
            per_class={name: scores for name, scores in per_class.items() if isinstance(scores, dict)},
            confusion=confusion,
            labels=labels.tolist(),
        )

    def to_dict(self):
        """Everything in it as plain numbers, strings, lists and dicts, as JSON takes them.

        Returns
        -------
        dict
        """
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "accuracy_interval_95": list(self.interval),
            "balanced_accuracy": self.balanced_accuracy,
            "per_class": {name: {**row, "support": int(row["support"])} for name, row in self.per_class.items()},
            "labels": self.labels,
            "confusion_matrix": self.confusion.tolist(),
        }

    def __str__(self):
        low, high = self.interval
        width = max(len(name) for name in self.per_class)
        lines = [
            f"accuracy           {self.accuracy:7.2%}   95 % interval {low:.2%} to {high:.2%}, n = {self.n:,}",
            f"balanced accuracy  {self.balanced_accuracy:7.2%}",
            "",
            f"{'':{width}}  precision   recall       f1   support",
        ]
        for name, scores in self.per_class.items():
            lines.append(
                f"{name:{width}}  {scores['precision']:9.2%}  {scores['recall']:7.2%}  {scores['f1-score']:7.2%}"
                f"  {int(scores['support']):8,}"
            )
        return "\n".join(lines)
