"""Predictions for image files."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator

from .._files import decode_images
from .._vocabulary import EMOTIONS

__all__ = ["predict_files"]


def predict_files(
    model: BaseEstimator, paths: Iterable[Path], errors: Literal["raise", "drop"] = "raise"
) -> tuple[list[dict[str, Any]], dict[str, Exception]]:
    """Return the image, its emotion and the probability of each for all files, and the errors of skipped ones."""
    first = model[0] if hasattr(model, "steps") else model
    # a PixelParser has no n_features_in_
    if not hasattr(first, "image_shape_") or not hasattr(first, "n_features_in_"):
        kind = type(first).__name__
        raise ValueError(f"Expected a model for images, got one that begins with a {kind}: save its last step.")
    names = [*dict.fromkeys(map(str, paths))]
    images: dict[str, np.ndarray] = {}
    skipped: dict[str, Exception] = {}
    decoded = decode_images([partial(open, path, "rb") for path in names], first.image_shape_)
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
    for path, probabilities in zip(images, model.predict_proba(np.stack([*images.values()])).tolist(), strict=True):
        row = dict(zip(classes, probabilities, strict=True))
        ordered = {name: row[name] for name in order}
        rows.append({"image": path, "emotion": max(ordered, key=ordered.__getitem__), **ordered})
    return rows, skipped
