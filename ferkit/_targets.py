"""Targets of a classifier, labels or soft targets: their checks, their classes and their weights."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, compute_sample_weight
from sklearn.utils.validation import _check_sample_weight

__all__ = [
    "check_soft_targets",
    "encode_labels",
    "is_soft",
    "keep_weighted",
    "match_labels",
    "most_probable",
    "weigh_rows",
]

_MULTI_LABEL = (
    "Expected one label per image or the share of each class, got several labels per image: train one network per "
    "class with sklearn.multiclass.OneVsRestClassifier(FERClassifier()), or divide each row of 0 and 1 by its sum."
)


def is_soft(y):
    """Return whether targets have one column per class."""
    try:
        shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
    except ValueError as error:  # lists of different lengths
        raise ValueError(_MULTI_LABEL) from error
    return len(shape) == 2 and shape[1] > 1


def encode_labels(y):
    """Return (classes, index of each label in classes)."""
    try:
        return np.unique(y, return_inverse=True)
    except TypeError as error:
        raise ValueError(
            f"Expected labels of one type in y, got several ({error}): use only strings or only numbers."
        ) from error


def check_soft_targets(y):
    """Return (classes, shares as float32) of soft targets."""
    classes = np.asarray(y.columns) if hasattr(y, "columns") else np.arange(np.shape(y)[1])
    y = check_array(y, dtype=np.float32, input_name="y")
    if np.isin(y, (0, 1)).all() and (y.sum(axis=1) != 1).any():
        raise ValueError(_MULTI_LABEL)
    if y.min() < 0 or np.abs(y.sum(axis=1) - 1).max() > 1e-3:
        row = int(np.argmax((y.min(axis=1) < 0) | (np.abs(y.sum(axis=1) - 1) > 1e-3)))
        raise ValueError(
            f"Expected soft targets from 0 to 1 with a sum of 1 in each row, got {y[row]} in row {row}: divide each "
            "row by its sum."
        )
    return classes, y


def most_probable(y: ArrayLike) -> ArrayLike:
    """Return the labels: ``y`` itself, or the first of the most probable classes of each soft target."""
    if not is_soft(y):
        return y
    classes, shares = check_soft_targets(y)
    return classes[shares.argmax(axis=1)]


def match_labels(names, target, classes):
    """Return ``target``, positions in ``names`` or a share for each of them, as positions in or shares of ``classes``.

    Names are those of validation labels, and all of them must be among ``classes``.
    """
    position = {label: column for column, label in enumerate(classes.tolist())}
    if unknown := [name for name in names.tolist() if name not in position]:
        raise ValueError(
            f"Expected labels in y_val that are in y too, {classes.tolist()}, got {unknown}: use the same names in "
            "both, and leave out images of other classes."
        )
    columns = np.array([position[name] for name in names.tolist()])
    if target.ndim == 1:
        return columns[target]
    shares = np.zeros((len(target), len(classes)), dtype=target.dtype)
    shares[:, columns] = target
    return shares


def keep_weighted(rows, y, sample_weight):
    """Check sample weights. Return rows, targets and weights without the images of weight 0."""
    sample_weight = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
    used = sample_weight > 0
    if not used.any():  # scikit-learn before 1.9 accepts this
        raise ValueError("Expected a non-zero weight in `sample_weight`, got zeros: pass None for equal ones.")
    if used.all():
        return rows, y, sample_weight
    return rows.take(np.flatnonzero(used), axis=0), y[used], sample_weight[used]


def weigh_rows(y, classes=None, class_weight=None, sample_weight=None):
    """Return sample and class weights as one weight per row, float32, or None."""
    if class_weight is None and sample_weight is None:
        return None
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    if class_weight is not None:
        weight = weight * _class_weights(y, classes, class_weight)
    if not weight.any():
        raise ValueError("Expected a class_weight above 0 for a class in y, got 0 for all: pass None.")
    if not weight.max() < np.finfo(np.float32).max:
        raise ValueError(f"Expected weights that float32 can hold, got {weight.max():g}: divide them by their mean.")
    return weight.astype(np.float32)


def _class_weights(y, classes, class_weight):
    """Return the weight of each row by its class, or by the classes of its soft target."""
    if class_weight == "balanced" and y.ndim == 1:
        return compute_sample_weight(class_weight, classes[y])
    if class_weight == "balanced":
        counts = y.sum(axis=0, dtype=np.float64)
        occurs = counts > 0
        return y[:, occurs] @ (len(y) / (occurs.sum() * counts[occurs]))
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    if unknown and not all(label in class_weight for label in labels):  # probably a misspelled label
        raise ValueError(f"Expected labels in class_weight among the classes {labels}, got {unknown}.")
    weights = np.array([class_weight.get(label, 1) for label in labels])
    return weights[y] if y.ndim == 1 else y @ weights
