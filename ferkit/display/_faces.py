"""Displays of images: class counts, samples, augmentation, predictions."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils import _safe_indexing

from .._images import Images, pixel_range, to_rows, to_stack, to_tensor
from .._metrics import find_confidence
from .._validation import check_classifier, check_labels, check_proba
from ..augmentation import Augmentation, ImageAugmenter, resolve_augment
from ..datasets import LabelErrors
from ..training import seeded
from ._base import (
    COLORS,
    TEXT,
    new_axes,
    new_grid,
    predict,
    seen_images,
    show,
    show_prediction,
    show_rows,
    to_images,
    to_rows_and_shape,
)

__all__ = [
    "AugmentationDisplay",
    "ClassDistributionDisplay",
    "FacesDisplay",
    "LabelErrorsDisplay",
    "PredictionsDisplay",
]

_NO_CHANGES = ("image_shape", "n_copies", "probability", "random_state")  # parameters that do not change an image


class ClassDistributionDisplay:
    """Bar chart of the number of images per class, in one or several splits.

    Parameters
    ----------
    counts : dict of str to array of shape (n_labels,)
        Number of images of each label, by split.
    labels : sequence of str
        Labels in the order of the counts.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes

    Examples
    --------
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.display import ClassDistributionDisplay
    >>> faces = make_faces(700, size=16, proportions="fer2013", random_state=0)
    >>> y = faces.target_names[faces.target]
    >>> splits = {usage: y[faces.usage == usage] for usage in ("Training", "PublicTest")}
    >>> display = ClassDistributionDisplay.from_targets(splits, labels=faces.target_names)
    >>> int(display.counts["Training"].sum())
    560
    """

    def __init__(self, counts: Mapping[str, np.ndarray], labels: Sequence[str]):
        self.counts = counts
        self.labels = labels

    @classmethod
    def from_targets(cls, targets: Mapping[str, ArrayLike], *, labels: ArrayLike) -> Self:
        """Count labels and draw.

        Parameters
        ----------
        targets : dict of str to array-like of shape (n,)
            Labels of the images, by split.
        labels : array-like
            Labels to show, in order.

        Returns
        -------
        ClassDistributionDisplay
        """
        labels = np.asarray(labels)
        targets = {split: check_labels(y, labels) for split, y in targets.items()}
        counts = {split: np.array([(y == label).sum() for label in labels]) for split, y in targets.items()}
        return cls(counts, [str(label) for label in labels]).plot()

    def plot(self) -> Self:
        """Draw and return the display."""
        from matplotlib.ticker import MaxNLocator

        if not self.counts:
            raise ValueError("Expected at least one split, got none.")
        group = max(0.9, 0.45 * len(self.counts))  # inches
        self.figure_, ((self.ax_,),) = new_axes(1, 1, 2 + group * len(self.labels), 3.6)
        places, width = np.arange(len(self.labels)), 0.8 / len(self.counts)
        for number, (split, counts) in enumerate(self.counts.items()):
            offset = (number - (len(self.counts) - 1) / 2) * width
            bars = self.ax_.bar(
                places + offset, counts, width, color=COLORS[number % len(COLORS)], label=f"{split}, {sum(counts):,}"
            )
            self.ax_.bar_label(bars, [f"{count:,}" for count in counts], fontsize=7, padding=1)
        slanted = 0.1 * max(map(len, self.labels)) > group
        self.ax_.set_xticks(
            places,
            self.labels,
            rotation=45 if slanted else 0,
            ha="right" if slanted else "center",
            rotation_mode="anchor",
        )
        self.ax_.set_ylabel("images")
        self.ax_.yaxis.set_major_locator(MaxNLocator(integer=True))
        self.ax_.yaxis.set_major_formatter("{x:,.0f}")
        self.ax_.margins(y=0.1)
        self.ax_.spines[["top", "right"]].set_visible(False)
        self.figure_.legend(loc="outside upper center", ncols=3, frameon=False)
        return self


class FacesDisplay:
    """Grid of images, one row per class.

    Parameters
    ----------
    images : list of arrays of shape (n, height, width) or (n, height, width, channels)
        Images to show, one array per label.
    labels : sequence of str
        Labels in the order of the images.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes

    Examples
    --------
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.display import FacesDisplay
    >>> faces = make_faces(70, random_state=0)
    >>> FacesDisplay.from_data(faces.images, faces.target_names[faces.target], n_columns=5).axes_.shape
    (7, 5)
    """

    def __init__(self, images: Sequence[np.ndarray], labels: Sequence[str]):
        self.images = images
        self.labels = labels

    @classmethod
    def from_data(
        cls,
        images: ArrayLike,
        y: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        n_columns: int = 8,
        random_state: int = 0,
    ) -> Self:
        """Draw a random sample of each class.

        Parameters
        ----------
        images : array-like
            Images in any form that :class:`ferkit.FERClassifier` accepts. Rows must be square images. Only the images
            that are shown are decoded.
        y : array-like of shape (n,)
            Labels of the images.
        labels : array-like, default=None
            Labels to show, in order. By default, all labels in ``y``, sorted.
        n_columns : int, default=8
            Maximum number of images per class.
        random_state : int, default=0
            Seed of the sample.

        Returns
        -------
        FacesDisplay
        """
        y, rng = check_labels(y, () if labels is None else labels, images), np.random.default_rng(random_state)
        labels = np.unique(y) if labels is None else np.asarray(labels)
        if not len(labels):
            raise ValueError("Expected images of at least one label, got none.")
        chosen = [rng.permutation(np.flatnonzero(y == label))[:n_columns] for label in labels]
        shown = to_images(_safe_indexing(images, np.concatenate(chosen)))
        ends = np.cumsum([len(rows) for rows in chosen])
        return cls(np.split(shown, ends[:-1]), [str(label) for label in labels]).plot()

    def plot(self) -> Self:
        """Draw and return the display."""
        self.figure_, self.axes_ = show_rows(self.images, self.labels)
        return self


class AugmentationDisplay:
    """Effect of an augmentation on one image: one row of draws per change, and one row with all of them.

    Parameters
    ----------
    images : list of arrays of shape (1 + n_draws, height, width, channels)
        The original image and its augmented versions, one array per row.
    labels : sequence of str
        What changes the images of each row: a parameter, or the name of a callable.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes

    Examples
    --------
    >>> from ferkit import ImageAugmenter
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.display import AugmentationDisplay
    >>> face = make_faces(7, random_state=0).images[0]
    >>> AugmentationDisplay.from_estimator(ImageAugmenter(scale=0), face, n_draws=3).labels
    ['contrast=0.2', 'horizontal_flip=0.5', 'rotation=10', 'translation=0.1', 'all together']
    """

    def __init__(self, images: Sequence[np.ndarray], labels: Sequence[str]):
        self.images = images
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        augmenter: Augmentation | Sequence[Augmentation],
        image: np.ndarray,
        *,
        n_draws: int = 7,
        random_state: int = 0,
    ) -> Self:
        """Apply each change by itself, then all together, and draw.

        The changes are the parameters of an ImageAugmenter that are not 0, or the elements of a list.

        Parameters
        ----------
        augmenter : ImageAugmenter, callable or list of these
            Augmentation to show, as for ``FERClassifier(augment=…)``. It is not changed.
        image : array of shape (n_pixels,), (height, width) or (height, width, channels)
            One image.
        n_draws : int, default=7
            Number of augmented images per row.
        random_state : int, default=0
            Seed of the augmentation.

        Returns
        -------
        AugmentationDisplay
        """
        changes = _list_changes(augmenter)
        if len(changes) > 1 or isinstance(augmenter, ImageAugmenter):
            changes.append(("all together", augmenter))
        original, shape = to_rows_and_shape(image[None], getattr(augmenter, "image_shape", None))
        batch = to_tensor(original, shape).float().repeat(n_draws, 1, 1, 1)
        generator = torch.Generator().manual_seed(random_state)
        images = []
        with seeded(random_state, "cpu"):  # transforms of other libraries draw from PyTorch's stream
            for _, change in changes:
                augment = resolve_augment(change, pixel_range(original))
                drawn = (augment(batch, generator=generator) if augment else batch).clamp(batch.min(), batch.max())
                drawn = to_rows(drawn if original.dtype.kind == "f" else drawn.round())
                rows = np.concatenate([original, drawn.astype(original.dtype)])
                images.append(to_stack(rows, shape))
        return cls(images, [label for label, _ in changes]).plot()

    def plot(self) -> Self:
        """Draw and return the display."""
        self.figure_, self.axes_ = show_rows(self.images, self.labels, like=self.images[0][0])
        self.axes_[0, 0].set_title("original", fontsize=10)
        return self


def _list_changes(augmenter):
    """Pairs of (label, augmentation) for each change that an augmentation makes."""
    if isinstance(augmenter, ImageAugmenter):
        amounts = {name: value for name, value in augmenter.get_params().items() if value and name not in _NO_CHANGES}
        singles = [(name, amount, {**dict.fromkeys(amounts, 0), name: amount}) for name, amount in amounts.items()]
        return [(f"{name}={amount:g}", clone(augmenter).set_params(**only)) for name, amount, only in singles]
    steps = augmenter if isinstance(augmenter, (list, tuple)) else [augmenter]
    return [(getattr(step, "__name__", type(step).__name__), step) for step in steps]


class LabelErrorsDisplay:
    """Grid of faces with suspect labels: the label, and below it the suggestion with its probability.

    Parameters
    ----------
    images : array of shape (n, height, width, channels)
        Faces, most probably wrong first.
    label, suggested : array-like of shape (n,)
        Their labels and the suggested ones.
    suggested_probability : array-like of shape (n,)
        Probability of the suggested label.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes

    Examples
    --------
    >>> from ferkit.datasets import find_label_errors, make_faces
    >>> from ferkit.display import LabelErrorsDisplay
    >>> faces = make_faces(5, random_state=0)
    >>> y = ["happy", "happy", "sad", "sad", "happy"]
    >>> errors = find_label_errors(y, [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9]])
    >>> print(LabelErrorsDisplay.from_errors(errors, faces.images).axes_[0, 0].get_title())
    happy?
    sad 90%
    """

    def __init__(
        self,
        images: np.ndarray,
        label: Sequence | np.ndarray,
        suggested: Sequence | np.ndarray,
        suggested_probability: Sequence | np.ndarray,
    ):
        self.images = images
        self.label = label
        self.suggested = suggested
        self.suggested_probability = suggested_probability

    @classmethod
    def from_errors(cls, errors: LabelErrors, images: ArrayLike, *, n_images: int = 32) -> Self:
        """Draw the first suspects.

        Parameters
        ----------
        errors : ferkit.datasets.LabelErrors
            Result of :func:`ferkit.datasets.find_label_errors`.
        images : array-like of shape (n, height, width), (n, height, width, channels) or (n, pixels)
            All images that were checked. Rows must be square images.
        n_images : int, default=32
            Maximum number of images.

        Returns
        -------
        LabelErrorsDisplay
        """
        images = to_images(images)
        if len(images) != errors.n:
            raise ValueError(f"Expected the {errors.n} images that were checked, got {len(images)}: pass all of them.")
        shown = errors.to_frame()[:n_images]
        values = (shown[name].to_numpy() for name in ("label", "suggested", "suggested_probability"))
        return cls(images[shown["row"]], *values).plot()

    def plot(self) -> Self:
        """Draw and return the display."""
        self.figure_, self.axes_ = new_grid(len(self.images), 1.8, [*self.label, *self.suggested])
        faces = zip(self.images, self.label, self.suggested, self.suggested_probability, strict=True)
        for ax, (image, label, suggested, probability) in zip(self.axes_.flat, faces, strict=False):
            show(ax, image)
            ax.set_title(f"{label}?\n{suggested} {probability:.0%}", fontsize=TEXT)
        return self


class PredictionsDisplay:
    """Grid of images with their predictions: green and ✓ if right, red and ✗ if wrong.

    Parameters
    ----------
    images : array of shape (n, height, width) or (n, height, width, channels)
        Images.
    y_true, y_pred : array-like of shape (n,)
        True and predicted labels.
    probability : array-like of shape (n,)
        Probability of the predicted label.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.display import PredictionsDisplay
    >>> images, happy = make_faces(3, random_state=0).images, np.array([0.9, 0.2, 0.6])
    >>> display = PredictionsDisplay.from_predictions(
    ...     images, ["sad"] * 3, np.c_[happy, 1 - happy], labels=["happy", "sad"], order="mistakes"
    ... )
    >>> display.axes_[0, 0].get_title()
    '✗ happy 90%\\n(is sad)'
    """

    def __init__(
        self,
        images: np.ndarray,
        y_true: Sequence | np.ndarray,
        y_pred: Sequence | np.ndarray,
        probability: Sequence | np.ndarray,
    ):
        self.images = images
        self.y_true = y_true
        self.y_pred = y_pred
        self.probability = probability

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Images,
        y: ArrayLike,
        *,
        images: ArrayLike | None = None,
        n_images: int = 32,
        order: Literal["random", "mistakes"] = "random",
        random_state: int = 0,
    ) -> Self:
        """Predict and draw some of the images.

        Parameters
        ----------
        estimator : classifier
            Fitted classifier with ``predict_proba``.
        X : array-like
            Input of the classifier.
        y : array-like of shape (n,)
            True labels.
        images : array of shape (n, height, width) or (n, height, width, channels), default=None
            Images to show. By default, the images that the classifier sees.
        n_images, order, random_state
            See :meth:`from_predictions`.

        Returns
        -------
        PredictionsDisplay
        """
        check_classifier(estimator)
        y = check_labels(y, estimator.classes_, X, images)
        if order == "random":  # only the shown images need a prediction
            rows = np.random.default_rng(random_state).permutation(len(y))[:n_images]
            X, y, images = _safe_indexing(X, rows), y[rows], None if images is None else _safe_indexing(images, rows)
        y_pred, y_proba = predict(estimator, X)
        confidence = find_confidence(y_pred, y_proba, estimator.classes_)
        rows = _choose(y, y_pred, confidence, n_images, order, random_state)
        if images is None:
            shown = seen_images(estimator, _safe_indexing(X, rows))
        else:
            shown = to_images(_safe_indexing(images, rows))
        return cls(shown, y[rows], y_pred[rows], confidence[rows]).plot()

    @classmethod
    def from_predictions(
        cls,
        images: ArrayLike,
        y_true: ArrayLike,
        y_proba: ArrayLike,
        *,
        labels: ArrayLike,
        n_images: int = 32,
        order: Literal["random", "mistakes"] = "random",
        random_state: int = 0,
    ) -> Self:
        """Draw some of the images.

        Parameters
        ----------
        images : array-like
            Images in any form that :class:`ferkit.FERClassifier` accepts. Rows must be square images. Only the images
            that are shown are decoded.
        y_true : array-like of shape (n,)
            True labels.
        y_proba : array-like of shape (n, n_labels)
            Probability of each label.
        labels : array-like
            Labels of the columns of ``y_proba``, which are ``model.classes_``.
        n_images : int, default=32
            Maximum number of images.
        order : {"random", "mistakes"}, default="random"
            Show a random sample, or mistakes first, sorted by decreasing confidence.
        random_state : int, default=0
            Seed of the sample.

        Returns
        -------
        PredictionsDisplay
        """
        y_proba = check_proba(y_proba, labels)
        y_true = check_labels(y_true, labels, images, y_proba)
        y_pred, confidence = np.asarray(labels)[y_proba.argmax(axis=1)], y_proba.max(axis=1)
        rows = _choose(y_true, y_pred, confidence, n_images, order, random_state)
        return cls(to_images(_safe_indexing(images, rows)), y_true[rows], y_pred[rows], confidence[rows]).plot()

    def plot(self) -> Self:
        """Draw and return the display."""
        self.figure_, self.axes_ = new_grid(len(self.images), 1.8, [*self.y_true, *self.y_pred])
        faces = zip(self.images, self.y_pred, self.probability, self.y_true, strict=True)
        for ax, face in zip(self.axes_.flat, faces, strict=False):
            show_prediction(ax, *face)
        return self


def _choose(y_true, y_pred, confidence, n_images, order, random_state):
    """Return the rows to show."""
    if order == "random":
        rows = np.random.default_rng(random_state).permutation(len(y_true))
    elif order == "mistakes":
        rows = np.lexsort((-confidence, y_pred == y_true))
    else:
        raise ValueError(f'Expected order="random" or order="mistakes", got order={order!r}.')
    return rows[:n_images]
