"""What a model is worth: one report object with intervals, and a test of whether one model beats another."""

import json
from base64 import b64encode
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm
from sklearn.metrics import classification_report, confusion_matrix, f1_score
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_consistent_length, column_or_1d

from ._files import find_paths
from ._images import as_rows
from ._validation import bin_confidence, check_labels, check_proba
from .classifier import FERClassifier

__all__ = ["Comparison", "Report", "compare_reports", "evaluate"]

_BINS = 15  # of the calibration error, as in its source


def evaluate(model, X, y, *, labels=None, X_train=None):
    """Score a fitted classifier on images that it has not seen.

    Parameters
    ----------
    model : estimator
        Any fitted classifier or pipeline. Without ``predict_proba``, the scores that need it are None.
    X : array-like
        What ``model.predict`` takes.
    y : array-like of shape (n,)
        True labels.
    labels : array-like, default=None
        Labels in the order in which to report them, by default those of the model; any others that occur follow.
    X_train : array-like, default=None
        What the model was trained on. With it, the report also says how many of the images stand in there too, to the
        pixel (files: to the byte), and how accurate the model is on the others.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If ``X`` and ``y`` differ in length, labels are numbers here and strings there, or the images of ``X_train``
        are not of the size of those in ``X``.

    Examples
    --------
    >>> from ferkit import evaluate
    >>> from ferkit.datasets import make_faces
    >>> from sklearn.svm import SVC
    >>> faces = make_faces(1000, random_state=0)
    >>> X, y = faces.data, faces.target_names[faces.target]
    >>> report = evaluate(SVC().fit(X[:800], y[:800]), X[800:], y[800:])
    >>> round(report.accuracy, 3), [round(bound, 3) for bound in report.interval]
    (0.25, [0.195, 0.314])
    >>> report.confused_pairs[0]["true"], report.confused_pairs[0]["predicted"]
    ('neutral', 'disgust')
    """
    in_training = None if X_train is None else _find_in_training(X, X_train)
    classes, last = getattr(model, "classes_", None), model[-1] if hasattr(model, "steps") else model
    y_proba, start = None, perf_counter()
    if isinstance(last, FERClassifier):  # whose prediction is the most probable class: once through the network will do
        y_proba = model.predict_proba(X)
        y_pred = classes[y_proba.argmax(axis=1)]
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
    """Which images stand in the training set too, bool of shape (n,)."""
    if (find_paths(X) is None) != (find_paths(X_train) is None):
        raise ValueError("Expected X and X_train in one form, got paths and pixels.")
    rows, others = _comparable_rows(X), _comparable_rows(X_train)
    if rows.shape[1] != others.shape[1]:
        raise ValueError(
            f"X_train must hold images as X does: expected rows of {rows.shape[1]:,} values, got {others.shape[1]:,}."
        )
    return np.isin(_hash_rows(rows), _hash_rows(others))


def _comparable_rows(X):
    paths = find_paths(X)
    if paths is not None:
        return np.array([Path(path).read_bytes() for path in paths], dtype=object)[:, None]
    rows = np.asarray(as_rows(X)[0])
    return rows.reshape(len(rows), -1)


def _hash_rows(rows):
    if rows.dtype.kind in "OUT":  # bytes of files, or pixels as text
        return np.array([hash(tuple(row)) for row in rows])
    return np.array([hash(row.astype(np.float32).tobytes()) for row in rows])


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
    macro_f1 : float
        Mean F1 of the classes that occur or are predicted.
    top_2_accuracy : float or None
        Share of faces whose label is one of the two most probable; None without probabilities.
    calibration_error : float or None
        Expected calibration error [1]_: how far the probability of the most probable class is from the share of faces
        on which that class is right, averaged over 15 bins of equal width; None without probabilities.
    n_in_training : int or None
        Faces that stand in the training set too; None where that was not given.
    unseen_accuracy, unseen_interval : float and tuple of float, or None
        Accuracy without those faces, and its interval; None where none is left too.
    seconds_per_face : float or None
        Wall-clock time of predicting all faces at once, on the machine at hand, divided by their number.
    confused_pairs : list of dict
        The ten most frequent mistakes: ``true``, ``predicted``, ``count``, and ``share`` of the true class.
    per_class : dict of dict
        For each label precision, recall, f1-score and support, and their "macro avg" and "weighted avg".
    confusion : ndarray of shape (n_labels, n_labels)
        Counts; rows are true, columns predicted.
    labels : list
        Labels in the order of ``confusion``.
    y_true, y_pred : ndarray of shape (n,)
        True and predicted labels.
    y_proba : ndarray of shape (n, n_classes) or None
        Probability of each of ``classes``.
    classes : ndarray of shape (n_classes,) or None
        Labels of the columns of ``y_proba``.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
    """

    n: int
    accuracy: float
    interval: tuple
    balanced_accuracy: float
    macro_f1: float
    top_2_accuracy: float | None
    calibration_error: float | None
    n_in_training: int | None
    unseen_accuracy: float | None
    unseen_interval: tuple | None
    seconds_per_face: float | None
    confused_pairs: list = field(repr=False)
    per_class: dict = field(repr=False)
    confusion: np.ndarray = field(repr=False)
    labels: list = field(repr=False)
    y_true: np.ndarray = field(repr=False)
    y_pred: np.ndarray = field(repr=False)
    y_proba: np.ndarray | None = field(repr=False)
    classes: np.ndarray | None = field(repr=False)

    @classmethod
    def from_predictions(
        cls, y_true, y_pred, *, labels=None, y_proba=None, classes=None, seconds_per_face=None, in_training=None
    ):
        """Score predictions.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n,)
            True and predicted labels.
        labels : array-like, default=None
            Labels in the order in which to report them; any others that occur follow, sorted.
        y_proba : array-like of shape (n, n_classes), default=None
            Probability of each class.
        classes : array-like of shape (n_classes,), default=None
            Labels of the columns of ``y_proba``, which needs them.
        seconds_per_face : float, default=None
            What predicting took.
        in_training : array-like of bool, of shape (n,), default=None
            Which faces stand in the training set too.

        Returns
        -------
        Report

        Examples
        --------
        >>> from ferkit.report import Report
        >>> report = Report.from_predictions(["sad", "sad", "fear", "fear"], ["sad", "fear", "fear", "fear"])
        >>> report.accuracy, report.confused_pairs
        (0.75, [{'true': 'sad', 'predicted': 'fear', 'count': 1, 'share': 0.5}])
        """
        y_true, y_pred = (column_or_1d(np.asarray(y)) for y in (y_true, y_pred))
        check_consistent_length(y_true, y_pred, y_proba, in_training)
        if not len(y_true):
            raise ValueError("Expected at least one face to score, got none.")
        occurring = unique_labels(y_true, y_pred)
        check_labels(occurring, () if labels is None else labels)
        labels = occurring if labels is None else np.concatenate([labels, np.setdiff1d(occurring, labels)])
        right = y_true == y_pred
        confusion = confusion_matrix(y_true, y_pred, labels=labels)
        support = confusion.sum(axis=1)
        per_class = classification_report(y_true, y_pred, labels=labels, output_dict=True, zero_division=0)
        balanced_accuracy = float(np.mean(confusion.diagonal()[support > 0] / support[support > 0]))
        macro_f1 = float(f1_score(y_true, y_pred, average="macro", zero_division=0))
        per_class["macro avg"] |= {  # scikit-learn's counts classes that do not occur as 0
            "precision": float(np.mean([per_class[str(label)]["precision"] for label in occurring])),
            "recall": balanced_accuracy,
            "f1-score": macro_f1,
        }
        top_2 = calibration_error = n_in_training = unseen = None
        if y_proba is not None:
            classes = np.asarray(classes)
            y_proba = check_proba(y_proba, np.atleast_1d(classes))
            best_2 = classes[np.argsort(-y_proba, axis=1, kind="stable")[:, :2]]
            top_2 = float((best_2 == y_true[:, None]).any(axis=1).mean())
            accuracy, confidence, counts = bin_confidence(y_true, y_proba, classes, _BINS)
            calibration_error = float(np.average(np.abs(accuracy - confidence), weights=counts[counts > 0]))
        if in_training is not None:
            in_training = np.asarray(in_training, dtype=bool)
            n_in_training, unseen = int(in_training.sum()), right[~in_training]
        any_unseen = unseen is not None and len(unseen) > 0
        return cls(
            n=len(y_true),
            accuracy=float(right.mean()),
            interval=_wilson_interval(right),
            balanced_accuracy=balanced_accuracy,
            macro_f1=macro_f1,
            top_2_accuracy=top_2,
            calibration_error=calibration_error,
            n_in_training=n_in_training,
            unseen_accuracy=float(unseen.mean()) if any_unseen else None,
            unseen_interval=_wilson_interval(unseen) if any_unseen else None,
            seconds_per_face=seconds_per_face,
            confused_pairs=_find_confused_pairs(confusion, labels.tolist()),
            per_class={name: scores for name, scores in per_class.items() if isinstance(scores, dict)},
            confusion=confusion,
            labels=labels.tolist(),
            y_true=y_true,
            y_pred=y_pred,
            y_proba=y_proba,
            classes=classes,
        )

    def to_frame(self):
        """The scores of each class.

        Returns
        -------
        DataFrame
            A row for each label, with columns precision, recall, f1-score and support.
        """
        rows = [self.per_class[str(label)] for label in self.labels]
        return pd.DataFrame(rows, index=pd.Index(self.labels, name="label")).astype({"support": int})

    def to_dict(self):
        """Every score as plain numbers, strings, lists and dicts, as JSON takes them.

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

    def to_json(self, path=None):
        """What `to_dict` returns, as JSON.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write it to.

        Returns
        -------
        str
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_html(self, path, *, title="Report"):
        """Write one page with all scores and figures, which needs no other file.

        Parameters
        ----------
        path : str or path-like
            File to write it to.
        title : str, default="Report"
            Its heading.
        """
        scores, classes, *pairs = self._html_tables()
        side = max(4, 1.8 + 0.5 * len(self.labels))
        blocks = [
            scores,
            "<h2>Classes</h2>",
            classes,
            _draw_image(self._draw_classes, 6, 1.2 + 0.5 * len(self.labels), "Precision and recall of each class"),
            "<h2>Mistakes</h2>",
            _draw_image(self._draw_confusion, side + 0.4, side, "Confusion matrix"),
            *pairs,
        ]
        if self.y_proba is not None:
            blocks.append("<h2>Calibration</h2>")
            blocks.append(_draw_image(self._draw_reliability, 6, 5, "Reliability diagram"))
        page = _PAGE.format(title=escape(title), body="\n".join(blocks))
        Path(path).write_text(page, encoding="utf-8")

    def _score_rows(self):
        """Name, value and remark of each score that there is."""
        rows = [
            ("accuracy", f"{self.accuracy:.2%}", f"{_interval_text(self.interval)}, n = {self.n:,}"),
            ("balanced accuracy", f"{self.balanced_accuracy:.2%}", ""),
            ("macro F1", f"{self.macro_f1:.2%}", ""),
        ]
        if self.y_proba is not None:
            rows.append(("top-2 accuracy", f"{self.top_2_accuracy:.2%}", ""))
            rows.append(("calibration error", f"{self.calibration_error:.2%}", f"expected, {_BINS} bins"))
        if self.n_in_training is not None:
            n_unseen = self.n - self.n_in_training
            value = f"{self.unseen_accuracy:.2%}" if n_unseen else "–"
            remark = f"{_interval_text(self.unseen_interval)}, n = {n_unseen:,}; " if n_unseen else ""
            rows.append(("unseen accuracy", value, f"{remark}without {self.n_in_training:,} that training has too"))
        if self.seconds_per_face is not None:
            rows.append(("time a face", f"{1000 * self.seconds_per_face:,.2f} ms", ""))
        return rows

    def __str__(self):
        width = max(len(name) for name in self.per_class)
        lines = [f"{name:18} {value:>8}   {remark}".rstrip() for name, value, remark in self._score_rows()]
        lines += ["", f"{'':{width}}  precision   recall       f1   support"]
        for name, scores in self.per_class.items():
            lines.append(
                f"{name:{width}}  {scores['precision']:9.2%}  {scores['recall']:7.2%}  {scores['f1-score']:7.2%}"
                f"  {int(scores['support']):8,}"
            )
        if self.confused_pairs:
            lines += ["", f"{'confused':{width}}  {'taken for':{width}}    count    share"]
        for pair in self.confused_pairs[:5]:
            true, predicted = str(pair["true"]), str(pair["predicted"])
            lines.append(f"{true:{width}}  {predicted:{width}}  {pair['count']:7,}  {pair['share']:7.2%}")
        return "\n".join(lines)

    def _repr_html_(self):
        return "\n".join(self._html_tables())

    def _html_tables(self):
        """The scores, those of each class, and the confused pairs if there are any."""
        scores = pd.DataFrame(self._score_rows())
        classes = pd.DataFrame(self.per_class).T.rename(columns={"f1-score": "f1"})
        pairs = pd.DataFrame(self.confused_pairs, columns=["true", "predicted", "count", "share"])
        share, count = "{:.2%}".format, "{:,.0f}".format
        formats = {"precision": share, "recall": share, "f1": share, "support": count, "count": count, "share": share}
        tables = [
            scores.to_html(classes="scores", header=False, index=False, border=0),
            classes.to_html(formatters=formats, border=0),
            pairs.to_html(classes="pairs", formatters=formats, index=False, border=0),
        ]
        return [f"<div>{table}</div>" for table in tables[: 3 if len(pairs) else 2]]

    def _draw_confusion(self, figure):
        from .display import ConfusionDisplay

        ConfusionDisplay(self.confusion, self.labels, normalize="true").plot(figure.subplots())

    def _draw_reliability(self, figure):
        from .display import ReliabilityDisplay

        axes = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
        ReliabilityDisplay(*bin_confidence(self.y_true, self.y_proba, self.classes, _BINS)).plot(axes)

    def _draw_classes(self, figure):
        from matplotlib.ticker import PercentFormatter

        from .display._base import COLORS

        frame, ax = self.to_frame(), figure.subplots()
        places = np.arange(len(frame))
        for score, offset, color in zip(("precision", "recall"), (-0.2, 0.2), COLORS[:2], strict=True):
            bars = ax.barh(places + offset, frame[score], 0.38, color=color, label=score)
            ax.bar_label(bars, [f"{value:.0%}" for value in frame[score]], padding=2, fontsize=8)
        ax.set_yticks(places, self._counted_labels())
        ax.margins(y=0.02)
        ax.invert_yaxis()
        ax.set_xlim(0, 1.08)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper center", ncols=2, frameon=False)

    def _counted_labels(self):
        return [f"{label} ({count:,})" for label, count in zip(self.labels, self.confusion.sum(axis=1), strict=True)]


@dataclass(frozen=True)
class Comparison:
    """Compare two trained models on the same faces; ``str()`` says which is better and whether that can be noise.

    Attributes
    ----------
    names : tuple of str
        What the two are called.
    n : int
        Faces.
    accuracies : tuple of float
        Of both.
    difference : float
        The second accuracy minus the first.
    interval : tuple of float
        Its 95 % interval for paired faces, Bonett and Price's [1]_.
    p_value : float
        Of McNemar's exact test [2]_, two-sided: how often models of the same accuracy would differ as much.
    n_only : tuple of int
        Faces that the first alone gets right, and that the second alone does.

    References
    ----------
    .. [1] D. G. Bonett, R. M. Price, "Adjusted Wald confidence interval for a difference of binomial proportions based
       on paired data", Journal of Educational and Behavioral Statistics 37 (2012).
    .. [2] Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
       Psychometrika 12 (1947).
    """

    names: tuple
    n: int
    accuracies: tuple
    difference: float
    interval: tuple
    p_value: float
    n_only: tuple

    @property
    def is_noise(self):
        """Whether the difference could be sampling noise, that is p >= 0.05."""
        return self.p_value >= 0.05

    def __str__(self):
        scores = [f"{name} {accuracy:.2%}" for name, accuracy in zip(self.names, self.accuracies, strict=True)]
        names, difference, (low, high) = self.names, self.difference, self.interval
        n_only = self.n_only
        if difference < 0:
            names, difference, low, high, n_only = names[::-1], -difference, -high, -low, n_only[::-1]
        lead = f"{names[1]} is better by {100 * difference:.2f} points" if difference else "no difference"
        verdict = "can be sampling noise" if self.is_noise else "is more than sampling noise"
        return (
            f"{', '.join(scores)}, on the same {self.n:,} faces\n"
            f"{lead}, 95 % interval {100 * low:.2f} to {100 * high:.2f}\n"
            f"{names[1]} alone is right on {n_only[1]:,}, {names[0]} alone on {n_only[0]:,}: "
            f"McNemar's exact test gives p = {self.p_value:.2g}\n"
            f"The difference between these two trained models {verdict}.\n"
            "It does not rank their settings: another seed changes the accuracy too. "
            "To compare settings, train each with several seeds."
        )


def compare_reports(a, b, *, names=("a", "b")):
    """Test whether two trained models differ by more than sampling noise.

    The verdict holds for these two trained models only. It does not say that one configuration is better than the
    other: training again with another seed changes the accuracy too, and the test cannot see that. To compare
    configurations, train each with several seeds and compare the means.

    Parameters
    ----------
    a, b : Report
        Of two models on the same faces in the same order.
    names : tuple of str, default=("a", "b")
        What to call them.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If the true labels differ, so that the faces can't be the same.

    Examples
    --------
    >>> from ferkit.report import Report, compare_reports
    >>> y = ["happy", "sad"] * 50
    >>> a, b = Report.from_predictions(y, ["happy"] * 100), Report.from_predictions(y, y[:99] + ["happy"])
    >>> print(compare_reports(a, b))
    a 50.00%, b 99.00%, on the same 100 faces
    b is better by 49.00 points, 95 % interval 37.97 to 58.11
    b alone is right on 49, a alone on 0: McNemar's exact test gives p = 3.6e-15
    The difference between these two trained models is more than sampling noise.
    It does not rank their settings: another seed changes the accuracy too. To compare settings, train each with
    several seeds.
    """
    if len(names) != 2:
        raise ValueError(f"Expected two names, got {names!r}.")
    if not np.array_equal(a.y_true, b.y_true):
        raise ValueError("Reports on the same faces in the same order are compared: these differ in their true labels.")
    right_a, right_b = a.y_true == a.y_pred, b.y_true == b.y_pred
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    share_a, share_b = (only_a + 1) / (a.n + 2), (only_b + 1) / (a.n + 2)
    middle = share_b - share_a
    margin = norm.ppf(0.975) * np.sqrt((share_a + share_b - middle**2) / (a.n + 2))
    return Comparison(
        names=tuple(names),
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


def _interval_text(interval):
    return f"95 % interval {interval[0]:.2%} to {interval[1]:.2%}"


def _find_confused_pairs(confusion, labels):
    wrong = confusion - np.diag(confusion.diagonal())
    most = np.argsort(-wrong, axis=None, kind="stable")[:10]
    return [
        {
            "true": labels[true],
            "predicted": labels[predicted],
            "count": int(wrong[true, predicted]),
            "share": float(wrong[true, predicted] / confusion[true].sum()),
        }
        for true, predicted in zip(*np.unravel_index(most, wrong.shape), strict=True)
        if wrong[true, predicted]
    ]


def _draw_image(draw, width, height, name):
    """An HTML image of what ``draw`` draws on a figure of that many inches."""
    from matplotlib.figure import Figure

    figure, file = Figure(figsize=(width, height), layout="constrained"), BytesIO()
    draw(figure)
    figure.savefig(file, format="png", dpi=150)
    return f'<img alt="{name}" src="data:image/png;base64,{b64encode(file.getvalue()).decode()}">'


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ max-width: 44rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222; }}
h1, h2 {{ line-height: 1.2; overflow-wrap: anywhere; }}
h2 {{ margin-top: 2.5rem; }}
div {{ overflow-x: auto; margin: 1.5rem 0; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.25rem 1rem 0.25rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child, .pairs :nth-child(2), .scores td:last-child {{ text-align: left; }}
.scores td:last-child {{ white-space: normal; }}
img {{ max-width: 100%; height: auto; }}
@media (max-width: 30rem) {{ table {{ font-size: 13px; }} th, td {{ padding-right: 0.4rem; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
