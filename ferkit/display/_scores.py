"""Displays of predictions: confusion, scores per class, ROC, precision and recall, calibration, heat maps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    auc,
    average_precision_score,
    confusion_matrix,
    precision_recall_curve,
    roc_curve,
)
from sklearn.utils.multiclass import unique_labels

from .._images import Images
from .._metrics import bin_confidence, calibration_error, rank_confusions
from .._validation import check_classifier, check_labels, check_proba, extend_labels
from ._base import COLORS, DASHES, new_axes, predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ClassScoresDisplay",
    "ConfusionDisplay",
    "GroupScoresDisplay",
    "HeatmapDisplay",
    "PrecisionRecallDisplay",
    "ReliabilityDisplay",
    "RocDisplay",
]


class ConfusionDisplay:
    """Confusion matrix: counts, shares of each true label, or the difference between two models.

    Parameters
    ----------
    confusion : array of shape (n_labels, n_labels)
        Counts. Rows are true labels, columns predicted labels.
    labels : sequence
        Labels of the rows and columns.
    normalize : {"true"}, default=None
        Show shares of each row instead of counts.
    baseline : array of shape (n_labels, n_labels), default=None
        Counts of another model on the same images, to subtract.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    text_ : ndarray of shape (n_labels, n_labels) of matplotlib Text

    Examples
    --------
    >>> from ferkit.display import ConfusionDisplay
    >>> y_true, y_pred = ["happy", "sad", "sad", "sad"], ["happy", "sad", "happy", "happy"]
    >>> display = ConfusionDisplay.from_predictions(y_true, y_pred, normalize="true")
    >>> [text.get_text() for text in display.text_[1]]
    ['67%', '33%']
    >>> display.most_confused(1)
    [('sad', 'happy', 0.666...)]
    """

    def __init__(
        self,
        confusion: ArrayLike,
        labels: Sequence,
        *,
        normalize: Literal["true"] | None = None,
        baseline: ArrayLike | None = None,
    ):
        self.confusion = confusion
        self.labels = labels
        self.normalize = normalize
        self.baseline = baseline

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Images,
        y: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        normalize: Literal["true"] | None = None,
        baseline: BaseEstimator | None = None,
        ax: "Axes | None" = None,
        name: str | None = None,
    ) -> Self:
        """Predict and draw.

        Parameters
        ----------
        estimator : classifier
            Fitted classifier.
        X : array-like
            Input of the classifier.
        y : array-like of shape (n,)
            True labels.
        baseline : classifier, default=None
            Another fitted classifier whose confusion matrix is subtracted.
        labels, normalize, ax, name
            See :meth:`from_predictions`.

        Returns
        -------
        ConfusionDisplay
        """
        check_classifier(estimator)
        return cls.from_predictions(
            y,
            estimator.predict(X),
            labels=labels,
            normalize=normalize,
            baseline=None if baseline is None else baseline.predict(X),
            ax=ax,
            name=name,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        normalize: Literal["true"] | None = None,
        baseline: ArrayLike | None = None,
        ax: "Axes | None" = None,
        name: str | None = None,
    ) -> Self:
        """Count and draw.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n,)
            True and predicted labels.
        labels : array-like, default=None
            Labels to show first, in this order. All other labels that occur come after them, sorted.
        normalize : {"true"}, default=None
            Show shares of each true label instead of counts.
        baseline : array-like of shape (n,), default=None
            Predictions of another model, whose confusion matrix is subtracted.
        ax : matplotlib Axes, default=None
            Axes to draw in. By default, those of a new figure.
        name : str, default=None
            Name of the model or the images, for the title.

        Returns
        -------
        ConfusionDisplay
        """
        predicted = [y_pred] if baseline is None else [y_pred, baseline]
        y_true = check_labels(y_true, () if labels is None else labels, *predicted)
        predicted = [check_labels(given, y_true) for given in predicted]
        occurring = unique_labels(y_true, *predicted)
        labels = list(extend_labels(labels, occurring))
        confusion = confusion_matrix(y_true, y_pred, labels=labels)
        if baseline is not None:
            baseline = confusion_matrix(y_true, baseline, labels=labels)
        return cls(confusion, labels, normalize=normalize, baseline=baseline).plot(ax, name=name)

    @property
    def values(self) -> np.ndarray:
        """Values of the cells, an array of shape (n_labels, n_labels)."""
        if self.normalize not in (None, "true"):
            raise ValueError(f'Expected normalize=None or normalize="true", got normalize={self.normalize!r}.')
        matrices = [np.asarray(counts) for counts in (self.confusion, self.baseline) if counts is not None]
        if self.normalize:
            matrices = [counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) for counts in matrices]
        return matrices[0] if self.baseline is None else matrices[0] - matrices[1]

    def most_confused(self, n: int = 10) -> list[tuple]:
        """Return the most confused pairs of labels; with a baseline, the pairs whose confusion increased most.

        Parameters
        ----------
        n : int, default=10
            Maximum number of pairs.

        Returns
        -------
        list of tuple
            (true label, predicted label, value of the cell), the greatest value first.
        """
        labels, values = np.asarray(self.labels).tolist(), self.values
        return [
            (labels[true], labels[predicted], values[true, predicted].item())
            for true, predicted in rank_confusions(values, n)
        ]

    def plot(self, ax: "Axes | None" = None, *, name: str | None = None) -> Self:
        """Draw and return the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. By default, those of a new figure.
        name : str, default=None
            Name of the model or the images, for the title.
        """
        values, counts = self.values, np.asarray(self.confusion)
        if ax is None:
            longest = max(len(str(label)) for label in self.labels)
            _, ((ax,),) = new_axes(1, 1, max(4.6, 2.4 + 0.6 * len(counts) + 0.08 * longest), 2 + 0.55 * len(counts))
        cells, top, colors = (".0%", 1, "Blues") if self.normalize else (",", values.max(), "Blues")
        title = f"accuracy {counts.trace() / counts.sum():.1%}"
        if self.baseline is not None:
            cells, top, colors = f"+{cells}", np.abs(values).max() or 1, "PuOr_r"
            title += f" against {np.trace(self.baseline) / np.sum(self.baseline):.1%}"
        title += f", n = {counts.sum():,}"
        display = ConfusionMatrixDisplay(values, display_labels=self.labels).plot(
            ax=ax,
            values_format=cells,
            cmap=colors,
            im_kw={"vmin": 0 if self.baseline is None else -top, "vmax": top},
            colorbar=False,
        )
        for text, value in zip(display.text_.flat, values.flat, strict=True):
            # scikit-learn writes in colors of the colormap, which cannot be read on a diverging one
            text.set_color(_text_color(display.im_, value))
            if not value or text.get_text() in ("+0%", "-0%"):
                text.set_text("")
        rows = [f"{label} ({count:,})" for label, count in zip(self.labels, counts.sum(axis=1), strict=True)]
        ax.set_yticks(ax.get_yticks(), rows)
        ax.set_xticks(ax.get_xticks(), self.labels, rotation=45, ha="right", rotation_mode="anchor")
        if self.baseline is not None:
            title += "\norange: more than the baseline, purple: less"
        ax.set_title(title if name is None else f"{name}: {title}", fontsize=10)
        ax.set(xlabel="predicted", ylabel="true")
        self.figure_, self.ax_, self.text_ = ax.figure, ax, display.text_
        return self


class ClassScoresDisplay:
    """Bar chart of the precision and recall of each class.

    Parameters
    ----------
    scores : DataFrame
        One row per label, as returned by :meth:`ferkit.report.Report.to_frame`.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes

    Examples
    --------
    >>> from ferkit.display import ClassScoresDisplay
    >>> from ferkit.report import Report
    >>> report = Report.from_predictions(["happy", "sad", "sad", "sad"], ["happy", "sad", "happy", "happy"])
    >>> display = ClassScoresDisplay(report.to_frame()).plot()
    >>> [tick.get_text() for tick in display.ax_.get_yticklabels()]
    ['happy (1)', 'sad (3)']
    """

    def __init__(self, scores: pd.DataFrame):
        self.scores = scores

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw and return the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. By default, those of a new figure.
        """
        from matplotlib.ticker import PercentFormatter

        scores, places = self.scores, np.arange(len(self.scores))
        if ax is None:
            longest = max(len(str(label)) for label in scores.index)
            _, ((ax,),) = new_axes(1, 1, 5.5 + 0.08 * longest, 1.2 + 0.5 * len(scores))
        for score, offset, color in zip(("precision", "recall"), (-0.2, 0.2), COLORS, strict=False):
            bars = ax.barh(places + offset, scores[score], 0.38, color=color, label=score)
            ax.bar_label(bars, [f"{value:.0%}" for value in scores[score]], padding=2, fontsize=8)
        ax.set_yticks(places, [f"{label} ({count:,})" for label, count in scores["support"].items()])
        ax.margins(y=0.02)
        ax.invert_yaxis()
        ax.set_xlim(0, 1.08)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        self.figure_, self.ax_ = ax.figure, ax
        return self


class GroupScoresDisplay:
    """Accuracy and balanced accuracy of each group, with their intervals.

    Parameters
    ----------
    per_group : dict of dict
        Scores of each group: ``per_group`` of a :class:`~ferkit.report.Report`.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes

    Examples
    --------
    >>> from ferkit.display import GroupScoresDisplay
    >>> from ferkit.report import Report
    >>> y_true, y_pred = ["happy", "sad", "sad", "sad"], ["happy", "sad", "happy", "happy"]
    >>> report = Report.from_predictions(y_true, y_pred, groups=["young", "young", "old", "old"])
    >>> display = GroupScoresDisplay(report.per_group).plot()
    >>> [tick.get_text() for tick in display.ax_.get_yticklabels()]
    ['old (2)', 'young (2)']
    """

    def __init__(self, per_group: dict[str, dict[str, Any]]):
        self.per_group = per_group

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw and return the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. By default, those of a new figure.
        """
        from matplotlib.ticker import PercentFormatter

        groups, places = self.per_group, np.arange(len(self.per_group))
        if ax is None:
            _, ((ax,),) = new_axes(1, 1, 5.5 + 0.08 * max(map(len, groups)), 1.4 + 0.5 * len(groups))
        names = [name for name in ("accuracy", "balanced_accuracy") if name in next(iter(groups.values()))]
        for name, offset, color, marker in zip(names, (-0.13, 0.13), COLORS, "os", strict=False):
            values = np.array([row[name] for row in groups.values()])
            low, high = np.transpose([row[f"{name}_interval_95"] for row in groups.values()])
            ax.errorbar(
                values,
                places + offset,
                xerr=[values - low, high - values],
                fmt=marker,
                color=color,
                capsize=3,
                label=name.replace("_", " "),
            )
        ax.set_yticks(places, [f"{group} ({row['n']:,})" for group, row in groups.items()])
        ax.set_ylim(len(groups) - 0.5, -0.5)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(axis="x", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlabel("score, with 95 % interval")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        self.figure_, self.ax_ = ax.figure, ax
        return self


class _OneVsRestDisplay:
    """Curve of each label against all others."""

    _labels: tuple[str, str]
    _score: str
    _drawstyle: Literal["default", "steps-post"]
    _chance: tuple[list, list]

    @staticmethod
    def _compute(is_label: np.ndarray, score: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], float]:
        """Return the curve, x and y, and its score."""
        raise NotImplementedError

    def __init__(self, curves: dict[Any, tuple[np.ndarray, np.ndarray]], scores: dict[Any, float]):
        self.curves = curves
        self.scores = scores

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator, X: Images, y: ArrayLike, *, ax: "Axes | None" = None) -> Self:
        """Predict and draw.

        Parameters
        ----------
        estimator : classifier
            Fitted classifier with ``predict_proba``.
        X : array-like
            Input of the classifier.
        y : array-like of shape (n,)
            True labels.
        ax : matplotlib Axes, default=None
            Axes to draw in. By default, those of a new figure.

        Returns
        -------
        RocDisplay or PrecisionRecallDisplay
        """
        check_classifier(estimator)
        return cls.from_predictions(y, estimator.predict_proba(X), labels=estimator.classes_, ax=ax)

    @classmethod
    def from_predictions(
        cls, y_true: ArrayLike, y_proba: ArrayLike, *, labels: Sequence, ax: "Axes | None" = None
    ) -> Self:
        """Compute the curves and draw.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            True labels.
        y_proba : array-like of shape (n, n_labels)
            Probabilities, or other scores that increase with the confidence in a label.
        labels : sequence
            Labels of the columns of ``y_proba``, which are ``model.classes_``.
        ax : matplotlib Axes, default=None
            Axes to draw in. By default, those of a new figure.

        Returns
        -------
        RocDisplay or PrecisionRecallDisplay
        """
        y_true, curves, scores = check_labels(y_true, labels, y_proba), {}, {}
        for label, score in zip(labels, np.asarray(y_proba).T, strict=True):
            is_label = y_true == label
            if is_label.any() and not is_label.all():  # otherwise, there is nothing to tell apart
                curves[label], scores[label] = cls._compute(is_label, score)
        if not curves:
            raise ValueError(f"Expected images of at least two labels, got {len(y_true):,} images of {y_true[0]}.")
        return cls(curves, scores).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw and return the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. By default, those of a new figure.
        """
        if ax is None:
            longest = max(len(str(label)) for label in self.curves)
            _, ((ax,),) = new_axes(1, 1, 5.8 + 0.09 * longest, max(4.4, 1.4 + 0.27 * len(self.curves)))
        for number, (label, (x, y)) in enumerate(self.curves.items()):
            color, dashes = COLORS[number % len(COLORS)], DASHES[number % len(DASHES)]
            text = f"{label} {self.scores[label]:.2f}"
            ax.plot(x, y, dashes, color=color, drawstyle=self._drawstyle, label=text, clip_on=False)
        ax.plot(*self._chance, color="0.6", linewidth=0.8, zorder=0)
        ax.set(xlabel=self._labels[0], ylabel=self._labels[1], xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.grid(alpha=0.3)
        mean = np.mean(list(self.scores.values()))
        ax.legend(
            title=f"{self._score}\n(mean {mean:.2f})", loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0
        )
        self.figure_, self.ax_ = ax.figure, ax
        return self


class RocDisplay(_OneVsRestDisplay):
    """Receiver operating characteristic of each label against all others.

    Labels without images are left out.

    Parameters
    ----------
    curves : dict of label to pair of arrays
        False and true positive rates at each threshold.
    scores : dict of label to float
        Area under each curve.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes

    See Also
    --------
    PrecisionRecallDisplay : Shows more detail for rare labels.

    Examples
    --------
    >>> import numpy as np
    >>> from ferkit.display import RocDisplay
    >>> rng = np.random.default_rng(0)
    >>> y = rng.choice(["happy", "sad"], 200)
    >>> happy = rng.normal(np.where(y == "happy", 0.6, 0.4), 0.15).clip(0, 1)
    >>> display = RocDisplay.from_predictions(y, np.c_[happy, 1 - happy], labels=["happy", "sad"])
    >>> round(display.scores["sad"], 2)
    0.81
    """

    _labels, _score, _drawstyle = ("false positive rate", "true positive rate"), "area under curve", "default"
    _chance = ([0, 1], [0, 1])

    @staticmethod
    def _compute(is_label, score):
        x, y, _ = roc_curve(is_label, score)
        return (x, y), float(auc(x, y))


class PrecisionRecallDisplay(_OneVsRestDisplay):
    """Precision against recall of each label against all others.

    Labels without images are left out. The average precision of random guesses is the share of images with the label.

    Parameters
    ----------
    curves : dict of label to pair of arrays
        Recall and precision at each threshold.
    scores : dict of label to float
        Average precision of each label.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes

    See Also
    --------
    RocDisplay : Does not depend on the share of images with a label.

    Examples
    --------
    >>> import numpy as np
    >>> from ferkit.display import PrecisionRecallDisplay
    >>> rng = np.random.default_rng(0)
    >>> y = rng.choice(["happy", "sad"], 200)
    >>> happy = rng.normal(np.where(y == "happy", 0.6, 0.4), 0.15).clip(0, 1)
    >>> display = PrecisionRecallDisplay.from_predictions(y, np.c_[happy, 1 - happy], labels=["happy", "sad"])
    >>> round(display.scores["happy"], 2)
    0.79
    """

    _labels, _score, _drawstyle = ("recall", "precision"), "average precision", "steps-post"
    _chance = ([], [])  # it differs between labels

    @staticmethod
    def _compute(is_label, score):
        precision, recall, _ = precision_recall_curve(is_label, score)
        return (recall, precision), float(average_precision_score(is_label, score))


class ReliabilityDisplay:
    """Accuracy against confidence, and the share of images at each confidence.

    Confidence is the probability of the predicted label. If a model is well calibrated, 70 % of the predictions with a
    confidence of 70 % are right.

    Parameters
    ----------
    accuracy, confidence : array of shape (n_filled_bins,)
        Means of each bin that contains images.
    counts : array of shape (n_bins,)
        Number of images in each bin. Bins have equal width, from 0 to 1.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of two matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from ferkit.display import ReliabilityDisplay
    >>> rng = np.random.default_rng(0)
    >>> happy = rng.uniform(size=500)
    >>> y = np.where(rng.uniform(size=500) < 0.2 + 0.6 * happy, "happy", "sad")  # less often than the model says
    >>> display = ReliabilityDisplay.from_predictions(y, np.c_[happy, 1 - happy], labels=["happy", "sad"], n_bins=10)
    >>> display.counts[5:]
    array([105,  97,  85, 108, 105])
    """

    def __init__(self, accuracy: np.ndarray, confidence: np.ndarray, counts: np.ndarray):
        self.accuracy = accuracy
        self.confidence = confidence
        self.counts = counts

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator, X: Images, y: ArrayLike, *, n_bins: int = 15) -> Self:
        """Predict and draw.

        Parameters
        ----------
        estimator : classifier
            Fitted classifier with ``predict_proba``.
        X : array-like
            Input of the classifier.
        y : array-like of shape (n,)
            True labels.
        n_bins : int, default=15
            Number of confidence bins.

        Returns
        -------
        ReliabilityDisplay
        """
        check_classifier(estimator)
        y_pred, y_proba = predict(estimator, X)
        return cls.from_predictions(y, y_proba, labels=estimator.classes_, y_pred=y_pred, n_bins=n_bins)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_proba: ArrayLike,
        *,
        labels: ArrayLike,
        y_pred: ArrayLike | None = None,
        n_bins: int = 15,
    ) -> Self:
        """Sort predictions into bins and draw.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            True labels.
        y_proba : array-like of shape (n, n_labels)
            Probability of each label.
        labels : array-like
            Labels of the columns of ``y_proba``, which are ``model.classes_``.
        y_pred : array-like of shape (n,), default=None
            Predicted labels. By default, the most probable ones.
        n_bins : int, default=15
            Number of confidence bins.

        Returns
        -------
        ReliabilityDisplay
        """
        y_proba = check_proba(y_proba, labels)
        y_pred = np.asarray(labels)[y_proba.argmax(axis=1)] if y_pred is None else y_pred
        y_true, y_pred = (check_labels(y, labels, y_proba) for y in (y_true, y_pred))
        return cls(*bin_confidence(y_true, y_pred, y_proba, labels, n_bins)).plot()

    @property
    def expected_calibration_error(self) -> float:
        """Mean difference between accuracy and confidence over all images, a float."""
        return calibration_error(self.accuracy, self.confidence, self.counts)

    def plot(self, axes: "Sequence[Axes] | None" = None) -> Self:
        """Draw and return the display.

        Parameters
        ----------
        axes : array of two matplotlib Axes, default=None
            Axes to draw in, the first for the curve. By default, those of a new figure.
        """
        from matplotlib.ticker import PercentFormatter

        if axes is None:
            axes = new_axes(2, 1, 4.8, 5.6, height_ratios=[3, 1], sharex=True)[1][:, 0]
        self.figure_, self.axes_ = axes[0].figure, axes
        curve, shares = self.axes_
        curve.plot([0, 1], [0, 1], "--", color="0.4", linewidth=1, label="perfectly calibrated")
        curve.plot(self.confidence, self.accuracy, "o-", color=COLORS[0], label="model", clip_on=False)
        curve.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        curve.set_title(f"expected calibration error {self.expected_calibration_error:.1%}", fontsize=10)
        curve.legend(loc="upper left")
        edges = np.linspace(0, 1, len(self.counts) + 1)
        share = self.counts / self.counts.sum()
        shares.bar(edges[:-1], share, np.diff(edges), align="edge", color=COLORS[0], edgecolor="white")
        shares.set(xlabel="confidence", ylabel="share of images", xlim=(0, 1))
        for axis in (curve.xaxis, curve.yaxis, shares.xaxis, shares.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
        for ax in self.axes_:
            ax.grid(alpha=0.3)
            ax.set_axisbelow(True)
        return self


class HeatmapDisplay:
    """Table of accuracies with their intervals, colored by value: models by test sets, corruptions by severity.

    Parameters
    ----------
    scores : DataFrame
        One line per cell, as returned by :func:`ferkit.report.evaluate_sets` or
        :func:`ferkit.report.evaluate_corruptions`. Required columns: `rows`, `columns`, ``accuracy``, ``accuracy_low``
        and ``accuracy_high``.
    rows, columns : str
        The columns of ``scores`` that name the row and the column of each cell.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes
    text_ : list of matplotlib Text
        One per line of ``scores``.

    Examples
    --------
    >>> import pandas as pd
    >>> from ferkit.display import HeatmapDisplay
    >>> accuracy = {"accuracy": [0.70, 0.55], "accuracy_low": [0.68, 0.53], "accuracy_high": [0.72, 0.57]}
    >>> scores = pd.DataFrame({"model": ["cnn", "cnn"], "tested_on": ["FER2013", "CK+"], **accuracy})
    >>> display = HeatmapDisplay(scores, rows="model", columns="tested_on").plot()
    >>> display.text_[0].get_text().split()
    ['70.0%', '68.0–72.0']
    """

    def __init__(self, scores: pd.DataFrame, *, rows: str, columns: str):
        self.scores = scores
        self.rows = rows
        self.columns = columns

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw and return the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. By default, those of a new figure.
        """
        row_codes, rows = pd.factorize(self.scores[self.rows])
        column_codes, columns = pd.factorize(self.scores[self.columns])
        values = np.full((len(rows), len(columns)), np.nan)
        values[row_codes, column_codes] = self.scores["accuracy"]
        if ax is None:
            longest = max(len(str(row)) for row in rows)
            _, ((ax,),) = new_axes(1, 1, 1.2 + 0.08 * longest + 1.05 * len(columns), 1 + 0.55 * len(rows))
        image = ax.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        self.text_ = []
        for row, column, score in zip(row_codes, column_codes, self.scores.itertuples(), strict=True):
            text = f"{score.accuracy:.1%}\n{100 * score.accuracy_low:.1f}–{100 * score.accuracy_high:.1f}"
            color = _text_color(image, score.accuracy)
            self.text_.append(ax.text(column, row, text, ha="center", va="center", fontsize=8, color=color))
        ax.set_yticks(range(len(rows)), rows)
        ax.set_xticks(range(len(columns)), columns)
        ax.set(xlabel=self.columns.replace("_", " "), ylabel=self.rows.replace("_", " "))
        ax.set_title("accuracy with 95 % interval", fontsize=10)
        ax.spines[:].set_visible(False)
        self.figure_, self.ax_ = ax.figure, ax
        return self


def _text_color(image, value):
    """Return black or white, whichever can be read on the color of a value."""
    red, green, blue, _ = image.cmap(image.norm(value))
    return "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
