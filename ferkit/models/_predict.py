"""Predictions for image files."""

from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator

from .._files import decode_images
from .._images import resolve_shape
from .._validation import check_columns
from .._vocabulary import EMOTIONS

__all__ = ["find_shape", "predict_files"]


def find_shape(model: BaseEstimator) -> tuple[int, int, int]:
    """Return (height, width, channels) of the images that a classifier takes."""
    if shape := _stored_shape(model):
        return shape
    if not hasattr(model, "n_features_in_"):
        raise ValueError(
            f"Expected a classifier of images with n_features_in_, got a {type(model).__name__} without: fit it on "
            "rows of pixels."
        )
    return resolve_shape(model.n_features_in_)


def _stored_shape(model):
    """Return the shape that a network or transformer inside of a model has learned, or None."""
    if hasattr(model, "image_shape_"):
        return model.image_shape_
    parts = [step for _, step in getattr(model, "steps", ())]
    for name in ("estimators_", "calibrated_classifiers_"):
        parts += [*getattr(model, name, ())]
    parts += [getattr(model, name) for name in ("best_estimator_", "estimator_", "estimator") if hasattr(model, name)]
    return next(filter(None, map(_stored_shape, parts)), None)


def predict_files(
    model: BaseEstimator, paths: Iterable[Path], errors: Literal["raise", "drop"] = "raise"
) -> tuple[list[dict[str, Any]], dict[str, Exception]]:
    """Return the image, its emotion and the probability of each for all files, and the errors of skipped ones."""
    first = model[0] if hasattr(model, "steps") else model
    if not hasattr(first, "n_features_in_"):
        kind = type(first).__name__  # such as a PixelParser, which takes strings
        raise ValueError(f"Expected a model for images, got one that begins with a {kind}: save its last step.")
    check_columns(map(str, model.classes_), {"image", "emotion"})
    shape = find_shape(model)
    names = [*dict.fromkeys(map(str, paths))]
    images: dict[str, np.ndarray] = {}
    skipped: dict[str, Exception] = {}
    decoded = decode_images([partial(open, path, "rb") for path in names], shape)
    with closing(decoded):
        for path, image in zip(names, decoded, strict=True):
            if not isinstance(image, Exception):
                images[path] = image
            elif errors == "raise":
                raise ValueError(f'Expected an image, got {path} ({image}): pass errors="drop" to skip it.') from image
            else:
                skipped[path] = image
    if not images:
        raise ValueError("Expected at least one readable image, got none.")
    classes = [*map(str, model.classes_)]
    order = [name for name in EMOTIONS if name in classes] + [name for name in classes if name not in EMOTIONS]
    rows = []
    X = np.stack([*images.values()]).reshape(len(images), -1)
    for path, probabilities in zip(images, model.predict_proba(X).tolist(), strict=True):
        row = dict(zip(classes, probabilities, strict=True))
        ordered = {name: row[name] for name in order}
        rows.append({"image": path, "emotion": max(ordered, key=ordered.__getitem__), **ordered})
    return rows, skipped
