"""Scores of a fitted classifier with intervals, and a test of whether two models differ."""

import json
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import binomtest, norm
from sklearn.base import BaseEstimator
from sklearn.metrics import (
    classification_report,
    confusion_matrix,
    precision_recall_fscore_support,
    recall_score,
)
from sklearn.utils.multiclass import unique_labels
from tabulate import tabulate

from ._files import find_files
from ._images import BYTES, UNIT, Images, as_rows, number_rows, pixel_range, unpack
from ._metrics import bin_confidence, calibration_error, rank_confusions
from ._targets import most_probable
from ._validation import check_labels, check_proba
from .classifier import FERClassifier

__all__ = ["Comparison", "Report", "compare_reports", "evaluate"]

_BINS = 15  # of the calibration error, as in its source
_VERSION = 1  # of the JSON that a report is saved as


def evaluate(
    model: BaseEstimator, X: Images, y: ArrayLike, *, labels: ArrayLike | None = None, X_train: Images | None = None
) -> "Report":
    """Score a fitted classifier on held-out images.

    Parameters
    ----------
    model : estimator
        A fitted classifier or pipeline. Scores that need ``predict_proba`` are None if it has none.
    X : array-like
        Input of ``model.predict``.
    y : array-like of shape (n,) or (n, n_classes)
        True labels. Or soft targets, as in :meth:`ferkit.FERClassifier.fit`: their most probable class is the true
        label.
    labels : array-like, default=None
        Labels in the order of the report. By default, the classes of the model. Other labels that occur come after
        them, sorted.
    X_train : array-like, default=None
        The training images. If given, the report also counts test images that are identical to a training image (all
        pixels, or all bytes of a file) and states the accuracy on the other images.

    Returns
    -------
    Report

    Examples
    --------
    >>> from ferkit import evaluate
    >>> from ferkit.datasets import make_faces
    >>> from sklearn.svm import SVC
    >>> faces = make_faces(1000, random_state=0)
    >>> X, y = faces.data, faces.target_names[faces.target]
    >>> report = evaluate(SVC().fit(X[:800], y[:800]), X[800:], y[800:])
    >>> round(report.accuracy, 3), [round(bound, 3) for bound in report.interval]
    (0.235, [0.182, 0.298])
    >>> report.confused_pairs[0]["true"], report.confused_pairs[0]["predicted"]
    ('neutral', 'disgust')
    """
    in_training = None if X_train is None else _find_in_training(X, X_train)
    classes, last = getattr(model, "classes_", None), model[-1] if hasattr(model, "steps") else model
    y_proba, start = None, perf_counter()
    if isinstance(last, FERClassifier):  # predicts the most probable class, so one pass through the network is enough
        y_proba = model.predict_proba(X)
        y_pred = model.classes_[y_proba.argmax(axis=1)]
    else:
        y_pred = model.predict(X)
    seconds = perf_counter() - start
    if y_proba is None and hasattr(model, "predict_proba"):
        y_proba = model.predict_proba(X)
    return Report.from_predictions(
        y,
        y_pred,
        labels=classes if labels is None else labels,
        y_proba=y_proba,
        classes=classes,
        seconds_per_face=seconds / len(y_pred),
        in_training=in_training,
    )


def _find_in_training(X, X_train):
    """Return a mask of the images that are identical to a training image."""
    X, X_train = unpack(X), unpack(X_train)
    files, train_files = find_files(X), find_files(X_train)
    if (files is None) != (train_files is None):
        raise ValueError("Expected X and X_train in one form, got files and pixels: pass files or pixels for both.")
    if files is not None:
        contents = (file if isinstance(file, bytes) else Path(file).read_bytes() for file in [*train_files, *files])
        numbers = number_rows(contents)
        return np.isin(numbers[len(train_files) :], numbers[: len(train_files)])
    rows, train_rows = (np.ascontiguousarray(as_rows(images)[0]) for images in (X, X_train))
    rows, train_rows = (images.reshape(len(images), -1) for images in (rows, train_rows))
    if rows.shape[1] != train_rows.shape[1]:
        raise ValueError(
            f"Expected X_train with images of the size of X, rows of {rows.shape[1]:,} values, got rows of "
            f"{train_rows.shape[1]:,}: pass the images that the model was trained on."
        )
    if rows.dtype.kind in "OUT":  # pixels as text
        rows, train_rows = (
            np.array(["\0".join(map(str, row)).encode() for row in images], dtype=object)
            for images in (rows, train_rows)
        )
    elif rows.dtype != train_rows.dtype:
        if {pixel_range(rows), pixel_range(train_rows)} == {UNIT, BYTES}:
            rows, train_rows = (
                np.rint(images * 255.0) if pixel_range(images) == UNIT else images for images in (rows, train_rows)
            )
        rows, train_rows = rows.astype(np.float32), train_rows.astype(np.float32)
    numbers = number_rows([*train_rows, *rows])
    return np.isin(numbers[len(train_rows) :], numbers[: len(train_rows)])


@dataclass(frozen=True, eq=False)
class Report:
    """Scores of predictions. ``str()`` returns a table.

    Attributes
    ----------
    n : int
        Number of scored predictions.
    accuracy : float
        Share of correct predictions.
    interval : tuple of float
        Wilson's 95 % confidence interval of the accuracy. It only covers the sampling of the ``n`` images.
    balanced_accuracy : float
        Mean recall of the classes that occur.
    macro_f1 : float
        Mean F1 of the classes that occur or are predicted.
    top_2_accuracy : float or None
        Share of images whose label is one of the two most probable classes. None without probabilities.
    calibration_error : float or None
        Expected calibration error [1]_: the difference between the probability of the predicted class and the share of
        correct predictions, averaged over 15 bins of equal width. None without probabilities.
    n_in_training : int or None
        Number of images that are identical to a training image. None if the training images were not given.
    unseen_accuracy, unseen_interval : float and tuple of float, or None
        Accuracy on the other images, and its interval. None if there are no other images.
    seconds_per_face : float or None
        Wall-clock time of one call that predicts all images on this machine, divided by ``n``.
    confused_pairs : list of dict
        The ten most frequent mistakes: ``true``, ``predicted``, ``count``, and ``share`` of the true class.
    per_class : dict of dict
        Precision, recall, f1-score and support of each label, and their "macro avg" and "weighted avg".
    confusion : ndarray of shape (n_labels, n_labels)
        Confusion matrix. Rows are true labels, columns predicted labels.
    labels : list
        Labels in the order of ``confusion``.
    y_true, y_pred : ndarray of shape (n,)
        True and predicted labels.
    y_proba : ndarray of shape (n, n_classes) or None
        Probability of each of the ``classes``.
    classes : ndarray of shape (n_classes,) or None
        Labels of the columns of ``y_proba``.
    in_training : ndarray of bool, of shape (n,), or None
        Whether each image is identical to a training image. None if the training images were not given.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> from ferkit.report import Report
    >>> report = Report.from_predictions(["sad", "sad", "fear", "fear"], ["sad", "fear", "fear", "fear"])
    >>> report.accuracy, report.confused_pairs
    (0.75, [{'true': 'sad', 'predicted': 'fear', 'count': 1, 'share': 0.5}])
    """

    n: int
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    top_2_accuracy: float | None
    calibration_error: float | None
    n_in_training: int | None
    unseen_accuracy: float | None
    unseen_interval: tuple[float, float] | None
    seconds_per_face: float | None
    confused_pairs: list[dict[str, Any]] = field(repr=False)
    per_class: dict[str, dict[str, float]] = field(repr=False)
    confusion: np.ndarray = field(repr=False)
    labels: list = field(repr=False)
    y_true: np.ndarray = field(repr=False)
    y_pred: np.ndarray = field(repr=False)
    y_proba: np.ndarray | None = field(repr=False)
    classes: np.ndarray | None = field(repr=False)
    in_training: np.ndarray | None = field(repr=False)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        y_proba: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        seconds_per_face: float | None = None,
        in_training: ArrayLike | None = None,
    ) -> Self:
        """Score predictions.

        Parameters
        ----------
        y_true : array-like of shape (n,) or (n, n_classes)
            True labels. Or soft targets, as in :meth:`ferkit.FERClassifier.fit`: their most probable class is the true
            label.
        y_pred : array-like of shape (n,)
            Predicted labels.
        labels : array-like, default=None
            Labels in the order of the report. Other labels that occur come after them, sorted.
        y_proba : array-like of shape (n, n_classes), default=None
            Probability of each class.
        classes : array-like of shape (n_classes,), default=None
            Labels of the columns of ``y_proba``, which are ``model.classes_``. Required with ``y_proba``.
        seconds_per_face : float, default=None
            Time per prediction.
        in_training : array-like of bool, of shape (n,), default=None
            Whether each image is identical to a training image.

        Returns
        -------
        Report
        """
        y_true = check_labels(most_probable(y_true), (), y_pred, y_proba, in_training)
        y_pred = check_labels(y_pred, ())
        if not len(y_true):
            raise ValueError("Expected at least one image to score, got none.")
        occurring = unique_labels(y_true, y_pred)
        check_labels(occurring, () if labels is None else labels)
        labels = occurring if labels is None else np.concatenate([labels, np.setdiff1d(occurring, labels)])
        right = y_true == y_pred
        confusion = confusion_matrix(y_true, y_pred, labels=labels)
        per_class = classification_report(y_true, y_pred, labels=labels, output_dict=True, zero_division=0)
        balanced_accuracy = recall_score(y_true, y_pred, labels=np.unique(y_true), average="macro", zero_division=0)
        precision, _, macro_f1, _ = precision_recall_fscore_support(y_true, y_pred, average="macro", zero_division=0)
        per_class["macro avg"] |= {  # classification_report counts labels that do not occur as 0
            "precision": float(precision),
            "recall": float(balanced_accuracy),
            "f1-score": float(macro_f1),
        }
        top_2 = calibration = None
        classes = None if classes is None else np.asarray(classes)
        if y_proba is not None:
            known = np.atleast_1d(np.asarray(classes))
            y_proba = check_proba(y_proba, known)
            best = y_proba.argmax(axis=1)
            if not np.array_equal(known[best], y_pred) and np.array_equal(np.sort(known)[best], y_pred):
                raise ValueError(
                    f"Expected `classes` in the order of the columns of y_proba, got {known.tolist()}, with which the "
                    "most probable class is not the predicted one: pass classes=model.classes_, which is sorted."
                )
            # top_k_accuracy_score refuses labels that the model does not know
            best_2 = known[np.argsort(-y_proba, axis=1, kind="stable")[:, :2]]
            top_2 = float((best_2 == y_true[:, None]).any(axis=1).mean())
            calibration = calibration_error(*bin_confidence(y_true, y_proba, known, _BINS))
        in_training = None if in_training is None else np.asarray(in_training, dtype=bool)
        unseen = right if in_training is None else right[~in_training]
        any_unseen = in_training is not None and len(unseen) > 0
        names = np.asarray(labels).tolist()
        return cls(
            n=len(y_true),
            accuracy=float(right.mean()),
            interval=_wilson_interval(right),
            balanced_accuracy=float(balanced_accuracy),
            macro_f1=float(macro_f1),
            top_2_accuracy=top_2,
            calibration_error=calibration,
            n_in_training=None if in_training is None else len(right) - len(unseen),
            unseen_accuracy=float(unseen.mean()) if any_unseen else None,
            unseen_interval=_wilson_interval(unseen) if any_unseen else None,
            seconds_per_face=seconds_per_face,
            confused_pairs=[
                {
                    "true": names[true],
                    "predicted": names[predicted],
                    "count": int(confusion[true, predicted]),
                    "share": float(confusion[true, predicted] / confusion[true].sum()),
                }
                for true, predicted in rank_confusions(confusion, 10)
            ],
            per_class={name: scores for name, scores in per_class.items() if isinstance(scores, dict)},
            confusion=confusion,
            labels=names,
            y_true=y_true,
            y_pred=y_pred,
            y_proba=y_proba,
            classes=classes,
            in_training=in_training,
        )

    @classmethod
    def from_json(cls, source: str | PathLike) -> Self:
        """Read a report that `to_json` has written. The scores are computed from its predictions.

        Parameters
        ----------
        source : str or path-like
            The file, or its text, which starts with a brace.

        Returns
        -------
        Report

        Examples
        --------
        >>> from ferkit.report import Report
        >>> report = Report.from_predictions(["sad", "sad", "fear", "fear"], ["sad", "fear", "fear", "fear"])
        >>> Report.from_json(report.to_json()).accuracy
        0.75
        """
        is_text = isinstance(source, str) and source.lstrip().startswith("{")
        content = json.loads(str(source) if is_text else Path(source).read_text(encoding="utf-8"))
        version = content.get("ferkit_report") if isinstance(content, dict) else None
        if version != _VERSION:
            raise ValueError(
                f"Expected a report that Report.to_json has written in version {_VERSION} of its format, got "
                + ("another file." if version is None else f"version {version}: update ferkit.")
            )
        arrays = {
            name: array and np.array(array["values"], array["dtype"]) for name, array in content["arrays"].items()
        }
        return cls.from_predictions(**arrays, labels=content["labels"], seconds_per_face=content["seconds_per_face"])

    def to_frame(self) -> pd.DataFrame:
        """Return the scores of each label.

        Returns
        -------
        DataFrame
            One row per label, with columns precision, recall, f1-score and support.
        """
        rows = [self.per_class[str(label)] for label in self.labels]
        return pd.DataFrame(rows, index=pd.Index(self.labels, name="label")).astype({"support": int})

    def to_dict(self) -> dict[str, Any]:
        """Return all scores as JSON types: numbers, strings, lists and dicts.

        Returns
        -------
        dict
        """
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "accuracy_interval_95": list(self.interval),
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "top_2_accuracy": self.top_2_accuracy,
            "calibration_error": self.calibration_error,
            "n_in_training": self.n_in_training,
            "unseen_accuracy": self.unseen_accuracy,
            "unseen_accuracy_interval_95": self.unseen_interval and list(self.unseen_interval),
            "seconds_per_face": self.seconds_per_face,
            "confused_pairs": self.confused_pairs,
            "per_class": {name: {**row, "support": int(row["support"])} for name, row in self.per_class.items()},
            "labels": self.labels,
            "confusion_matrix": self.confusion.tolist(),
        }

    def to_json(self, path: str | PathLike | None = None) -> str:
        """Return the predictions as JSON, from which `from_json` makes the same report.

        The scores are not part of it. ``json.dumps(report.to_dict())`` returns these.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write the JSON to.

        Returns
        -------
        str
        """
        arrays = {name: getattr(self, name) for name in ("y_true", "y_pred", "y_proba", "classes", "in_training")}
        content = {
            "ferkit_report": _VERSION,
            "labels": self.labels,
            "seconds_per_face": self.seconds_per_face,
            "arrays": {
                name: None if array is None else {"dtype": array.dtype.str, "values": array.tolist()}
                for name, array in arrays.items()
            },
        }
        text = json.dumps(content) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_html(self, path: str | PathLike, *, title: str = "Report") -> None:
        """Write one self-contained page with all scores and figures.

        Parameters
        ----------
        path : str or path-like
            File to write.
        title : str, default="Report"
            Heading of the page.
        """
        from .display import ClassScoresDisplay, ConfusionDisplay, ReliabilityDisplay
        from .display._base import encode_figure, offscreen

        with offscreen():
            displays: dict[str, Any] = {
                "classes": ClassScoresDisplay(self.to_frame()).plot(),
                "confusion": ConfusionDisplay(self.confusion, self.labels, normalize="true").plot(),
            }
            if self.y_proba is not None and self.classes is not None:
                displays["calibration"] = ReliabilityDisplay.from_predictions(
                    self.y_true, self.y_proba, labels=self.classes, n_bins=_BINS
                )
        figures = {name: encode_figure(display.figure_) for name, display in displays.items()}
        Path(path).write_text(self._render("report.html", title=title, figures=figures), encoding="utf-8")

    def _repr_html_(self):
        return self._render("scores.html", figures={})

    def _render(self, template, **values):
        from jinja2 import Environment, PackageLoader

        loader = PackageLoader("ferkit", "_templates")
        environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        return environment.get_template(template).render(report=self, scores=self._scores(), **values)

    def _scores(self):
        """Return name, value and remark of each available score."""
        rows = [
            ("accuracy", f"{self.accuracy:.2%}", f"{_describe_interval(self.interval)}, n = {self.n:,}"),
            ("balanced accuracy", f"{self.balanced_accuracy:.2%}", ""),
            ("macro F1", f"{self.macro_f1:.2%}", ""),
        ]
        if self.y_proba is not None:
            rows.append(("top-2 accuracy", f"{self.top_2_accuracy:.2%}", ""))
            rows.append(("calibration error", f"{self.calibration_error:.2%}", f"expected, {_BINS} bins"))
        if self.n_in_training is not None:
            rows.append(("also in training", f"{self.n_in_training:,}", "images identical to a training image"))
        if self.unseen_accuracy is not None:
            remark = f"{_describe_interval(self.unseen_interval)}, n = {self.n - (self.n_in_training or 0):,}"
            rows.append(("accuracy on the rest", f"{self.unseen_accuracy:.2%}", remark))
        if self.seconds_per_face is not None:
            rows.append(("time per image", f"{1000 * self.seconds_per_face:,.2f} ms", ""))
        return rows

    def __str__(self) -> str:
        classes = [
            (name, *(f"{row[score]:.2%}" for score in ("precision", "recall", "f1-score")), f"{row['support']:,.0f}")
            for name, row in self.per_class.items()
        ]
        pairs = [
            (pair["true"], pair["predicted"], f"{pair['count']:,}", f"{pair['share']:.2%}")
            for pair in self.confused_pairs[:5]
        ]
        tables = [
            _format_table(self._scores(), (), "lrl"),
            _format_table(classes, ("", "precision", "recall", "f1", "support"), "lrrrr"),
            _format_table(pairs, ("confused", "taken for", "count", "share"), "llrr"),
        ]
        return "\n\n".join(tables[: 3 if pairs else 2])


@dataclass(frozen=True)
class Comparison:
    """Result of comparing two trained models. ``str()`` says which is better and whether that can be sampling noise.

    Attributes
    ----------
    names : tuple of str
        Names of the two models.
    n : int
        Number of images.
    accuracies : tuple of float
        Accuracies of the two models.
    difference : float
        The second accuracy minus the first.
    interval : tuple of float
        95 % confidence interval of the difference for paired samples, by Bonett and Price [1]_.
    p_value : float
        Two-sided p-value of McNemar's exact test [2]_: the probability of a difference at least this large between
        models of equal accuracy.
    n_only : tuple of int
        Number of images that only the first model gets right, and that only the second model gets right.

    References
    ----------
    .. [1] D. G. Bonett, R. M. Price, "Adjusted Wald confidence interval for a difference of binomial proportions based
       on paired data", Journal of Educational and Behavioral Statistics 37 (2012).
    .. [2] Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
       Psychometrika 12 (1947).

    Examples
    --------
    >>> from ferkit.report import Report, compare_reports
    >>> y = ["happy", "sad"] * 50
    >>> compare_reports(Report.from_predictions(y, ["happy"] * 100), Report.from_predictions(y, y)).n_only
    (0, 50)
    """

    names: tuple[str, str]
    n: int
    accuracies: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    p_value: float
    n_only: tuple[int, int]

    @property
    def is_noise(self) -> bool:
        """Whether the difference could be sampling noise, that is p >= 0.05."""
        return self.p_value >= 0.05

    def __str__(self) -> str:
        scores = [f"{name} {accuracy:.2%}" for name, accuracy in zip(self.names, self.accuracies, strict=True)]
        names, difference, (low, high) = self.names, self.difference, self.interval
        n_only = self.n_only
        if difference < 0:
            names, difference, low, high, n_only = names[::-1], -difference, -high, -low, n_only[::-1]
        lead = f"{names[1]} is better by {100 * difference:.2f} points" if difference else "no difference"
        verdict = "can be sampling noise" if self.is_noise else "is more than sampling noise"
        return (
            f"{', '.join(scores)}, on the same {self.n:,} images\n"
            f"{lead}, 95 % interval {100 * low:.2f} to {100 * high:.2f}\n"
            f"only {names[1]} is right on {n_only[1]:,}, only {names[0]} on {n_only[0]:,}: "
            f"McNemar's exact test gives p = {self.p_value:.2g}\n"
            f"The difference between these two trained models {verdict}.\n"
            "It does not rank their settings: another seed changes the accuracy too. "
            "To compare settings, train each with several seeds."
        )


def compare_reports(a: Report, b: Report, *, names: tuple[str, str] = ("a", "b")) -> Comparison:
    """Test whether two trained models differ by more than sampling noise.

    The verdict holds for these two trained models only. It does not say that one configuration is better than the
    other: training again with another seed changes the accuracy too, and the test cannot see that. To compare
    configurations, train each with several seeds and compare the means.

    Parameters
    ----------
    a, b : Report
        Reports of two models on the same images in the same order.
    names : tuple of str, default=("a", "b")
        Names of the two models.

    Returns
    -------
    Comparison

    Examples
    --------
    >>> from ferkit.report import Report, compare_reports
    >>> y = ["happy", "sad"] * 50
    >>> a, b = Report.from_predictions(y, ["happy"] * 100), Report.from_predictions(y, y[:99] + ["happy"])
    >>> print(compare_reports(a, b))
    a 50.00%, b 99.00%, on the same 100 images
    b is better by 49.00 points, 95 % interval 37.97 to 58.11
    only b is right on 49, only a on 0: McNemar's exact test gives p = 3.6e-15
    The difference between these two trained models is more than sampling noise.
    It does not rank their settings: another seed changes the accuracy too. To compare settings, train each with
    several seeds.
    """
    if len(names) != 2:
        raise ValueError(f"Expected two names, got {names!r}: pass one per report.")
    if not np.array_equal(a.y_true, b.y_true):
        raise ValueError(
            "Expected reports on the same images in the same order, got different true labels: evaluate both models on "
            "the same X and y."
        )
    right_a, right_b = a.y_true == a.y_pred, b.y_true == b.y_pred
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    share_a, share_b = (only_a + 1) / (a.n + 2), (only_b + 1) / (a.n + 2)
    middle = share_b - share_a
    margin = norm.ppf(0.975) * np.sqrt((share_a + share_b - middle**2) / (a.n + 2))
    return Comparison(
        names=(names[0], names[1]),
        n=a.n,
        accuracies=(a.accuracy, b.accuracy),
        difference=(only_b - only_a) / a.n,
        interval=(float(middle - margin), float(middle + margin)),
        p_value=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
        n_only=(only_a, only_b),
    )


def _wilson_interval(right):
    interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _describe_interval(interval):
    return f"95 % interval {interval[0]:.2%} to {interval[1]:.2%}"


def _format_table(rows, headers, alignment):
    """Return a text table; ``alignment`` has one letter per column, l or r."""
    alignment = [{"l": "left", "r": "right"}[letter] for letter in alignment]
    return tabulate(rows, headers, tablefmt="plain", colalign=alignment, disable_numparse=True)
