"""Recognize the expressions of all faces in photos or videos."""

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from .._images import resolve_shape
from ..models import list_models, load_model
from ..persistence import load
from ..transformers import PixelParser
from ._crops import cut
from ._detection import Detector, check_faces, resolve_detector
from ._sources import Frame, list_photos, read_photos

__all__ = ["analyze"]

THRESHOLD = 0.5
BATCH = 256  # faces that are classified at a time
BOX = ["left", "top", "width", "height"]


def analyze(
    source: Any,
    model: Any = "fer2013-small",
    *,
    detector: Any = "yunet",
    boxes: Any = None,
    threshold: float = THRESHOLD,
    min_score: float = 0.7,
    max_side: int = 640,
    errors: Literal["raise", "drop"] = "raise",
) -> pd.DataFrame:
    """Find the faces in photos and recognize their expressions."""
    classifier = Classifier(model, threshold)
    if errors not in ("raise", "drop"):
        raise ValueError(f'Expected errors="raise" or errors="drop", got errors={errors!r}.')
    find = resolve_detector(detector, min_score, max_side)
    skipped: dict[Any, Exception] = {}
    if boxes is not None:
        photos, _ = list_photos(source)
        given = [boxes] if len(photos) == 1 and np.ndim(boxes[0]) == 1 else list(boxes)
        if len(given) != len(photos):
            raise ValueError(
                f"Expected one array of boxes per photo, got {len(given)} for {len(photos)} photos: pass a list."
            )
        left = iter(given)

        def find(photo):
            return check_faces(next(left), photo.shape, "boxes to be")

    frames = read_photos(source, errors, skipped)
    table = classifier.concatenate(classifier.classify(frames, find, "file"), "file")
    table.attrs["skipped"] = {name: str(error) for name, error in skipped.items()}
    return table


class Classifier:
    """A fitted classifier of faces, which makes tables of them."""

    def __init__(self, model: Any, threshold: float):
        self.model = _load(model)
        self.threshold = threshold
        self.shape = _face_shape(self.model)
        self.names = [str(label) for label in self.model.classes_]

    def concatenate(self, tables, key):
        """Return tables as one, which may have no rows."""
        return pd.concat([*tables] or [self.to_table([], np.empty((0, len(self.names))), key)], ignore_index=True)

    def classify(self, frames: Iterable[Frame], find: Detector, key: str) -> Iterator[pd.DataFrame]:
        """Yield tables of the faces in frames."""
        rows: list[tuple] = []
        crops: list[np.ndarray] = []
        for frame in frames:
            faces = find(frame.image)
            crops.extend(cut(frame.image, faces.boxes, self.shape))
            for face, (box, score) in enumerate(zip(faces.boxes.tolist(), faces.scores.tolist(), strict=True)):
                rows.append((frame.name, face, *box, score))
            if len(rows) >= BATCH:
                yield self.to_table(rows, self.predict(crops), key)
                rows, crops = [], []
        if rows:
            yield self.to_table(rows, self.predict(crops), key)

    def predict(self, crops):
        return np.asarray(self.model.predict_proba(np.stack(crops).reshape(len(crops), -1)))

    def to_table(self, rows, proba, key):
        table = pd.DataFrame(rows, columns=[key, "face", *BOX, "score"])
        table = table.astype({"face": np.int64, **dict.fromkeys([*BOX, "score"], np.float32)})
        table["emotion"] = self.model.classes_[proba.argmax(axis=1)]
        table[self.names] = proba
        table["unsure"] = proba.max(axis=1) < self.threshold
        return table


def _load(model):
    if isinstance(model, (str, PathLike)):
        return load_model(str(model)) if model in list_models() else load(model)
    if not hasattr(model, "predict_proba"):
        raise ValueError(
            f"Expected a model with predict_proba, got a {type(model).__name__}: pass a fitted classifier, the path "
            f"of a .ferkit file, or one of {list_models()}."
        )
    check_is_fitted(model)
    if isinstance(getattr(model, "steps", [("", None)])[0][1], PixelParser):  # crops are pixels already
        return model[1:]
    return model


def _face_shape(model):
    """Return (height, width, channels) of the faces that a classifier takes."""
    steps = [step for _, step in getattr(model, "steps", [("", model)])]
    shaped = next((step for step in steps if hasattr(step, "image_shape_")), None)
    return resolve_shape(model.n_features_in_) if shaped is None else shaped.image_shape_
