"""Scores of a fitted classifier with intervals, and a test of whether two models differ."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
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
from sklearn.utils import Bunch, _safe_indexing, check_consistent_length
from sklearn.utils.multiclass import unique_labels
from tabulate import tabulate

from ._files import find_files, read_content
from ._groups import check_groups, score_groups
from ._images import BYTES, UNIT, Images, as_rows, number_rows, pixel_range, to_stack, unpack
from ._metrics import bin_confidence, calibration_error, find_confidence, rank_confusions, wilson_interval
from ._targets import most_probable
from ._validation import check_classifier, check_labels, check_proba, extend_labels
from ._vocabulary import find_emotion
from .classifier import predicts_best
from .datasets import corrupt

__all__ = ["Comparison", "Report", "compare_reports", "evaluate", "evaluate_corruptions", "evaluate_sets"]

_BINS = 15  # of the calibration error, as in its source
_VERSION = 1  # of the JSON that a report is saved as
_MISTAKES = 24  # that a page shows


def evaluate(
    model: BaseEstimator,
    X: Images,
    y: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    X_train: Images | None = None,
    groups: ArrayLike | None = None,
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
    groups : array-like of shape (n,), default=None
        The group of each image, such as an age group of the people. If given, the report also contains the scores of
        each group and the gaps between groups.

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
    check_classifier(model)
    in_training = None if X_train is None else _find_in_training(X, X_train)
    classes = getattr(model, "classes_", None)
    y_proba, start = None, perf_counter()
    if predicts_best(model):  # one pass through the network is enough
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
        groups=groups,
    )


def _find_in_training(X, X_train):
    """Return a mask of the images that are identical to a training image."""
    X, X_train = unpack(X), unpack(X_train)
    files, train_files = find_files(X), find_files(X_train)
    if (files is None) != (train_files is None):
        raise ValueError("Expected X and X_train in one form, got files and pixels: pass files or pixels for both.")
    if files is not None:
        numbers = number_rows(map(read_content, [*train_files, *files]))
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
    per_group : dict of dict
        Scores of each group: ``n``, ``accuracy``, ``balanced_accuracy``, their 95 % intervals, and the ``recall`` of
        each label. The balanced accuracy is the mean recall of the labels that occur in all groups; its interval is
        computed from those of the recalls [2]_. Empty without groups.
    gaps : dict of dict
        Largest gap between two groups in ``accuracy`` and in ``balanced_accuracy``: the ``lowest`` and the ``highest``
        group, the ``difference`` between their scores and the ``ratio`` of the lowest to the highest one, with 95 %
        intervals [2]_. These account for the choice of the two groups from all pairs (Bonferroni). An interval of the
        difference that contains 0 means that the gap could be sampling noise. Empty without two groups.
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
    groups : ndarray of str, of shape (n,), or None
        The group of each image.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
    .. [2] G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures: a general approach",
       Statistics in Medicine 27 (2008), from Wilson's intervals. With two groups, the interval of the difference in
       accuracy is Newcombe's.

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
    per_group: dict[str, dict[str, Any]] = field(repr=False)
    gaps: dict[str, dict[str, Any]] = field(repr=False)
    confusion: np.ndarray = field(repr=False)
    labels: list = field(repr=False)
    y_true: np.ndarray = field(repr=False)
    y_pred: np.ndarray = field(repr=False)
    y_proba: np.ndarray | None = field(repr=False)
    classes: np.ndarray | None = field(repr=False)
    in_training: np.ndarray | None = field(repr=False)
    groups: np.ndarray | None = field(repr=False)

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
        groups: ArrayLike | None = None,
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
        groups : array-like of shape (n,), default=None
            The group of each image, such as an age group of the people.

        Returns
        -------
        Report
        """
        groups = None if groups is None else check_groups(groups)
        y_true = check_labels(most_probable(y_true), (), y_pred, y_proba, in_training, groups)
        y_pred = check_labels(y_pred, ())
        if not len(y_true):
            raise ValueError("Expected at least one image to score, got none.")
        check_labels(y_true, y_pred)
        occurring = unique_labels(y_true, y_pred)
        check_labels(occurring, () if labels is None else labels)
        labels = extend_labels(labels, occurring)
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
            if classes is None:
                raise ValueError("Expected `classes` with y_proba, got None: pass classes=model.classes_.")
            y_proba = check_proba(y_proba, classes)
            best = y_proba.argmax(axis=1)
            if not np.array_equal(classes[best], y_pred) and np.array_equal(np.sort(classes)[best], y_pred):
                raise ValueError(
                    f"Expected `classes` in the order of the columns of y_proba, got {classes.tolist()}, with which "
                    "the most probable class is not the predicted one: pass classes=model.classes_, which is sorted."
                )
            # top_k_accuracy_score refuses labels that the model does not know
            best_2 = classes[np.argsort(-y_proba, axis=1, kind="stable")[:, :2]]
            top_2 = float((best_2 == y_true[:, None]).any(axis=1).mean())
            calibration = calibration_error(*bin_confidence(y_true, y_pred, y_proba, classes, _BINS))
        in_training = None if in_training is None else np.asarray(in_training, dtype=bool)
        unseen = right if in_training is None else right[~in_training]
        any_unseen = in_training is not None and len(unseen) > 0
        names = np.asarray(labels).tolist()
        per_group, gaps = ({}, {}) if groups is None else score_groups(y_true, y_pred, groups)
        return cls(
            n=len(y_true),
            accuracy=float(right.mean()),
            interval=wilson_interval(right.sum(), len(right)),
            balanced_accuracy=float(balanced_accuracy),
            macro_f1=float(macro_f1),
            top_2_accuracy=top_2,
            calibration_error=calibration,
            n_in_training=None if in_training is None else len(right) - len(unseen),
            unseen_accuracy=float(unseen.mean()) if any_unseen else None,
            unseen_interval=wilson_interval(unseen.sum(), len(unseen)) if any_unseen else None,
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
            per_group=per_group,
            gaps=gaps,
            confusion=confusion,
            labels=names,
            y_true=y_true,
            y_pred=y_pred,
            y_proba=y_proba,
            classes=classes,
            in_training=in_training,
            groups=groups,
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
        try:
            content = json.loads(str(source) if is_text else Path(source).read_text(encoding="utf-8"))
        except ValueError:
            content = None
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
            "per_group": self.per_group,
            "gaps": self.gaps,
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
        if self.groups is not None:  # reports without them can also be read by versions that know no groups
            arrays["groups"] = self.groups
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

    def to_html(
        self,
        path: str | PathLike,
        *,
        title: str = "Report",
        images: ArrayLike | None = None,
        history: list[dict[str, Any]] | None = None,
        details: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Write one self-contained page with all scores and figures, the date and the version of ferkit.

        Parameters
        ----------
        path : str or path-like
            File to write.
        title : str, default="Report"
            Heading of the page.
        images : array-like, default=None
            The scored images, in the order of the predictions and in any form that :class:`ferkit.FERClassifier`
            accepts. If given, the page contains the 24 mistakes with the highest probability as pictures. Only share it
            if you may share these images.
        history : list of dict, default=None
            ``history_`` of the :class:`~ferkit.FERClassifier`, for the learning curve.
        details : dict of dict, default=None
            Tables to add at the end, such as settings and versions: heading, then name and value.
        """
        from .display import (
            ClassScoresDisplay,
            ConfusionDisplay,
            GroupScoresDisplay,
            HistoryDisplay,
            ReliabilityDisplay,
        )
        from .display._base import encode_figure, offscreen

        with offscreen():
            displays: dict[str, Any] = {
                "classes": ClassScoresDisplay(self.to_frame()).plot(),
                "confusion": ConfusionDisplay(self.confusion, self.labels, normalize="true").plot(),
            }
            if self.y_proba is not None and self.classes is not None:
                displays["calibration"] = ReliabilityDisplay.from_predictions(
                    self.y_true, self.y_proba, y_pred=self.y_pred, labels=self.classes, n_bins=_BINS
                )
            if self.per_group:
                displays["groups"] = GroupScoresDisplay(self.per_group).plot()
            if history:  # two figures, because side by side they are too small for a phone
                displays |= {score: HistoryDisplay(history).plot(scores=[score]) for score in ("loss", "accuracy")}
        page = self._render(
            "report.html",
            title=title,
            date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            version=version("ferkit"),
            figures={name: encode_figure(display.figure_) for name, display in displays.items()},
            mistakes=[] if images is None else self._list_mistakes(images),
            details=details or {},
        )
        Path(path).write_text(page, encoding="utf-8", errors="backslashreplace")  # file names may be other bytes

    def _list_mistakes(self, images):
        """Return the picture, labels and probability of the mistakes with the highest probability."""
        from .display._base import encode_image, to_images

        check_consistent_length(images, self.y_true)
        if self.y_proba is None:
            return []
        wrong = np.flatnonzero(self.y_true != self.y_pred)
        probability = find_confidence(self.y_pred, self.y_proba, self.classes)
        worst = wrong[np.argsort(-probability[wrong], kind="stable")][:_MISTAKES]
        if not len(worst):
            return []
        images = to_images(_safe_indexing(images, worst))
        return [
            {
                "image": encode_image(image, like=images),
                "true": self.y_true[row],
                "predicted": self.y_pred[row],
                "probability": probability[row],
            }
            for row, image in zip(worst, images, strict=True)
        ]

    def _repr_html_(self):
        return self._render("scores.html", figures={}, mistakes=[])

    def _render(self, template, **values):
        from jinja2 import Environment, PackageLoader

        loader = PackageLoader("ferkit", "_templates")
        environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        group_tables = self._group_tables() if self.per_group else []
        return environment.get_template(template).render(
            report=self, scores=self._scores(), group_tables=group_tables, **values
        )

    def _scores(self):
        """Return name, value and remark of each available score."""
        rows = [
            ("accuracy", f"{self.accuracy:.2%}", f"{_describe_interval(self.interval)}, {self.n:,} images"),
            ("balanced accuracy", f"{self.balanced_accuracy:.2%}", "mean recall of the classes"),
            ("macro F1", f"{self.macro_f1:.2%}", "mean F1 of the classes"),
        ]
        if self.y_proba is not None:
            rows += [
                ("top-2 accuracy", f"{self.top_2_accuracy:.2%}", "the label is one of the two most probable ones"),
                ("calibration error", f"{self.calibration_error:.2%}", "mean gap between probability and accuracy"),
            ]
        if self.n_in_training is not None:
            rows.append(("also in training", f"{self.n_in_training:,}", "images identical to a training image"))
        if self.n_in_training and self.unseen_accuracy is not None:
            remark = f"{_describe_interval(self.unseen_interval)}, {self.n - self.n_in_training:,} images"
            rows.append(("accuracy without them", f"{self.unseen_accuracy:.2%}", remark))
        if self.seconds_per_face is not None:
            rows.append(("time per image", f"{1000 * self.seconds_per_face:,.2f} ms", ""))
        return rows

    def _group_tables(self):
        """Return the scores of the groups, and the gaps if there are several groups, as rows of text."""
        names = [name for name in ("accuracy", "balanced_accuracy") if name in next(iter(self.per_group.values()))]
        scores = [("group", "images", *(f"{name.replace('_', ' ')} (95 % interval)" for name in names))]
        for group, row in self.per_group.items():
            texts = (f"{row[name]:.2%} ({_describe_range(row[f'{name}_interval_95'])})" for name in names)
            scores.append((group, f"{row['n']:,}", *texts))
        gaps = [("largest gap", "between", "points (95 % interval)", "ratio (95 % interval)")]
        for name, gap in self.gaps.items():
            points = [100 * value for value in (gap["difference"], *gap["difference_interval_95"])]
            ratio = [] if gap["ratio"] is None else [gap["ratio"], *gap["ratio_interval_95"]]
            cells = ["{:.2f} ({:.2f} to {:.2f})".format(*values) if values else "" for values in (points, ratio)]
            gaps.append((name.replace("_", " "), f"{gap['lowest']} and {gap['highest']}", cells[0], cells[1]))
        return [scores, gaps] if self.gaps else [scores]

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
        ]
        if pairs:
            tables.append(_format_table(pairs, ("confused", "taken for", "count", "share"), "llrr"))
        if self.per_group:
            for headers, *rows in self._group_tables():
                tables.append(_format_table(rows, headers, "lrrr"[: len(headers)]))
        return "\n\n".join(tables)


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


def evaluate_sets(models: Mapping[str, BaseEstimator], sets: Mapping[str, Bunch]) -> pd.DataFrame:
    """Score models on several data sets, such as each model on the data that the others were trained on.

    Emotions are matched by name, and synonyms are one emotion, see :func:`ferkit.datasets.harmonize`. Only emotions
    that both the model and the data set know are scored: faces with other labels are left out and counted, and a model
    with ``predict_proba`` chooses the most probable of the common emotions.

    Parameters
    ----------
    models : dict of str to estimator
        Fitted classifiers or pipelines by name. Their labels are names of emotions.
    sets : dict of str to Bunch
        Test sets by name, as the loaders of :mod:`ferkit.datasets` return them.

    Returns
    -------
    scores : DataFrame
        One row per model and data set, with the columns

        - model, tested_on : the names
        - n, n_dropped : number of faces that were scored and left out
        - n_classes : number of emotions that both know
        - accuracy, accuracy_low, accuracy_high : share of correct predictions and Wilson's 95 % confidence interval,
          which covers the sampling of the ``n`` faces and takes them for independent
        - balanced_accuracy, macro_f1 : as in :class:`Report`

    Raises
    ------
    ValueError
        If a model does not predict names, or a model and a data set have no emotion in common.

    See Also
    --------
    ferkit.display.HeatmapDisplay : Draws this table.

    Examples
    --------
    >>> from ferkit.datasets import corrupt, make_faces
    >>> from ferkit.report import evaluate_sets
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> faces, test = make_faces(700, random_state=0), make_faces(300, random_state=1)
    >>> model = KNeighborsClassifier(5).fit(faces.data, faces.target_names[faces.target])
    >>> dark = test | {"data": corrupt(test.data, "light", random_state=0)}
    >>> scores = evaluate_sets({"neighbors": model}, {"drawn": test, "darker": dark})
    >>> scores[["tested_on", "n", "n_classes"]].to_dict("list")
    {'tested_on': ['drawn', 'darker'], 'n': [300, 300], 'n_classes': [7, 7]}
    """
    rows = []
    for name, model in models.items():
        check_classifier(model)
        if np.asarray(model.classes_).dtype.kind not in "OSTU":
            raise ValueError(
                f"Expected models that predict names, got the labels {model.classes_[:8]} in {name}: train with "
                "faces.target_names[faces.target]."
            )
        classes = np.array([find_emotion(label) for label in model.classes_])
        for tested_on, faces in sets.items():
            if faces["target"] is None:
                raise ValueError(f"Expected labeled images to score on, got images with no labels in {tested_on}.")
            target = np.asarray(faces["target"])
            known = np.array([find_emotion(label) for label in faces["target_names"]])
            labels = known[target.argmax(axis=1) if target.ndim == 2 else target]
            common = np.intersect1d(classes, known)
            kept = np.isin(labels, common)
            if not kept.any():
                raise ValueError(
                    f"Expected emotions that {name} and {tested_on} share, got {', '.join(classes)} and "
                    f"{', '.join(known)}: rename the labels of one of them."
                )
            images = faces.get("images")
            fits = images is None or np.shape(faces["data"])[1] == getattr(model, "n_features_in_", None)
            X = (faces["data"] if fits else images)[kept]  # a classifier of images resizes a stack
            if hasattr(model, "predict_proba"):
                y_proba = model.predict_proba(X) @ (classes[:, None] == common)  # adds the probabilities of synonyms
                y_pred = common[y_proba.argmax(axis=1)]
            else:
                y_pred = np.array([find_emotion(label) for label in model.predict(X)])
            report = Report.from_predictions(labels[kept], y_pred)
            counts = {"n": report.n, "n_dropped": len(labels) - report.n, "n_classes": len(common)}
            scores = {"balanced_accuracy": report.balanced_accuracy, "macro_f1": report.macro_f1}
            rows.append({"model": name, "tested_on": tested_on, **counts, **_describe_accuracy(report), **scores})
    return pd.DataFrame(rows)


def evaluate_corruptions(
    model: BaseEstimator,
    X: Images,
    y: ArrayLike,
    *,
    kinds: Sequence[str] = ("blur", "jpeg", "light", "occlusion", "noise"),
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    random_state: int = 0,
) -> pd.DataFrame:
    """Score a model on images that are degraded more and more.

    Parameters
    ----------
    model : estimator
        A fitted classifier or pipeline on uint8 pixels.
    X : array-like of uint8, or list of images
        Test images, as :func:`ferkit.datasets.corrupt` takes them.
    y : array-like of shape (n,)
        True labels.
    kinds : sequence of str, default=("blur", "jpeg", "light", "occlusion", "noise")
        Corruptions, see :func:`ferkit.datasets.corrupt`.
    severities : sequence of int, default=(1, 2, 3, 4, 5)
        Severities of each corruption.
    random_state : int, default=0
        Seed of the corruptions.

    Returns
    -------
    scores : DataFrame
        One row per corruption and severity, and before them one for the images as they are, with the corruption "none"
        and the severity 0. The columns are

        - corruption, severity, n
        - accuracy, accuracy_low, accuracy_high : share of correct predictions and Wilson's 95 % confidence interval
        - relative_loss : 1 minus accuracy divided by the accuracy on the images as they are

        ``scores.groupby("corruption").relative_loss.mean()`` is the loss per corruption.

    See Also
    --------
    ferkit.display.HeatmapDisplay : Draws this table.

    Examples
    --------
    >>> from ferkit import load_model
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.report import evaluate_corruptions
    >>> faces = make_faces(70, random_state=0)
    >>> y = faces.target_names[faces.target]
    >>> scores = evaluate_corruptions(load_model(), faces.data, y, kinds=["noise"], severities=[1, 5])
    >>> scores[["corruption", "severity", "n"]].values.tolist()
    [['none', 0, 70], ['noise', 1, 70], ['noise', 5, 70]]
    """
    plain, (images, shape) = evaluate(model, X, y), as_rows(X)
    rows = [{"corruption": "none", "severity": 0, "n": plain.n, **_describe_accuracy(plain), "relative_loss": 0.0}]
    for kind in kinds:
        for severity in severities:
            degraded = corrupt(images, kind, severity, image_shape=shape, random_state=random_state)
            report = evaluate(model, degraded if shape is None else to_stack(degraded, shape), y)
            loss = 1 - report.accuracy / plain.accuracy if plain.accuracy else float("nan")
            scores = {**_describe_accuracy(report), "relative_loss": loss}
            rows.append({"corruption": kind, "severity": severity, "n": report.n, **scores})
    return pd.DataFrame(rows)


def _describe_accuracy(report):
    low, high = report.interval
    return {"accuracy": report.accuracy, "accuracy_low": low, "accuracy_high": high}


def _describe_range(interval):
    return f"{interval[0]:.2%} to {interval[1]:.2%}"


def _describe_interval(interval):
    return f"95 % interval {_describe_range(interval)}"


def _format_table(rows, headers, alignment):
    """Return a text table; ``alignment`` has one letter per column, l or r."""
    alignment = [{"l": "left", "r": "right"}[letter] for letter in alignment]
    return tabulate(rows, headers, tablefmt="plain", colalign=alignment, disable_numparse=True)
