"""Tables of the expressions of all faces in photos and videos."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._files import show_progress
from .._validation import check_columns, check_errors, check_proba
from ..models import list_models
from ..models._predict import find_shape
from ..models._read import read_model, read_predictor
from ._crops import cut, resize
from ._detection import Detector, Faces, check_faces, check_options, resolve_detector
from ._sources import Frame, count_frames, is_camera, is_video, list_photos, parse_every, read_photos, read_video
from ._tracks import Smoother, Tracker

__all__ = ["analyze", "analyze_video", "watch"]

THRESHOLD = 0.5
SMOOTHING = 0.5
N_FACES, N_FRAMES = 256, 8  # a batch ends with the first of the two; larger ones need more memory and are little faster
COLUMNS = ("face", "left", "top", "width", "height", "score")

TAKEN = {"file", "frame", "time", "track", "emotion", "unsure", *COLUMNS}  # not names of classes


def analyze(
    source: Any,
    model: str | PathLike | BaseEstimator = "fer2013-small",
    *,
    detector: Literal["yunet"] | Detector | None = "yunet",
    boxes: ArrayLike | list[ArrayLike] | None = None,
    threshold: float = THRESHOLD,
    min_score: float = 0.7,
    max_side: int = 640,
    errors: Literal["raise", "drop"] = "raise",
    every: int | str = 1,
    max_frames: int | None = None,
    smoothing: float = SMOOTHING,
    verbose: int = 0,
) -> pd.DataFrame:
    """Find the faces in photos or a video and recognize their expressions.

    It needs OpenCV: ``pip install "ferkit[photos]"``. Nothing is downloaded or stored.

    Parameters
    ----------
    source : path, array, PIL image, bytes, stream, list of these, or int
        A photo, several photos, a directory of photos, a video file (by its suffix), or the index of a camera. Arrays
        are RGB or gray, uint8; a stack of them is several photos. A ``cv2.VideoCapture`` is a video too.
    model : str, path or classifier, default="fer2013-small"
        A name from :func:`ferkit.models.list_models`, the path of a .ferkit or .onnx file or of the directory of a run,
        or a fitted classifier or pipeline with ``predict_proba``. Load a joblib file with ``joblib.load``: it can run
        code.
    detector : {"yunet"}, callable or None, default="yunet"
        "yunet" is :func:`detect_faces`. A callable takes an RGB image, uint8 (height, width, 3), and returns boxes (n,
        4) of left, top, width and height, or `Faces`. With None, each image is one face already: it is resized, as
        ``model.predict`` does.
    boxes : array-like of shape (n, 4), or list of these, default=None
        Boxes of the faces in a photo, or in each photo of a list, in place of a detector.
    threshold : float, default=0.5
        A face whose highest probability is lower is marked as ``unsure``. On FER2013's PublicTest, fer2013-small is
        right for 79 % of the faces above 0.5, which are 76 % of all, and for 43 % of the others.
    min_score, max_side
        See :func:`detect_faces`.
    errors : {"raise", "drop"}, default="raise"
        What to do with photos that cannot be read: raise an error that names the file, or skip them. Skipped ones are
        in ``table.attrs["skipped"]``, with the reason.
    every, max_frames, smoothing
        For videos, see :func:`analyze_video`. A camera needs ``max_frames``.
    verbose : int, default=0
        With 1, show a progress bar in terminals.

    Returns
    -------
    DataFrame
        One row per face; no rows without faces. Columns:

        - ``file``: the path of a photo, or its position in the list. For videos instead ``frame``, its number, and
          ``time`` in seconds
        - ``face``: number of the face in its image, from 0, and for videos ``track``, which stays the same as long as a
          face is followed
        - ``left``, ``top``, ``width`` and ``height`` of its box, in pixels of the upright image
        - ``score`` of the detector
        - ``emotion``: the class with the highest probability
        - a column per class with its probability
        - ``unsure``: whether the highest probability is below ``threshold``

        ``table.attrs`` contains what was skipped, or for videos the value of ``every``.

    See Also
    --------
    analyze_video : The same for videos of any length, in parts.
    ferkit.display.PhotoDisplay : Draws the result.

    Examples
    --------
    >>> from PIL import Image
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.photos import analyze
    >>> photo = Image.new("RGB", (640, 480), "gray")
    >>> for left, face in zip((50, 350), make_faces(2, random_state=0).images):
    ...     photo.paste(Image.fromarray(face).resize((200, 200)), (left, 150))
    >>> table = analyze(photo)
    >>> len(table), table.columns[:7].tolist()
    (2, ['file', 'face', 'left', 'top', 'width', 'height', 'score'])
    """
    check_errors(errors)
    check_options(
        "analyze",
        threshold=threshold,
        min_score=min_score,
        max_side=max_side,
        max_frames=max_frames,
        smoothing=smoothing,
        verbose=verbose,
    )
    parse_every(every)
    if is_video(source):
        if boxes is not None:
            raise ValueError("Expected boxes only for photos, got a video: pass a function as `detector`.")
        if is_camera(source) and max_frames is None:
            raise ValueError(
                "Expected max_frames=n for a camera, which has no end: pass it, or use analyze_video or watch."
            )
        parts = analyze_video(
            source,
            model,
            detector=detector,
            threshold=threshold,
            min_score=min_score,
            max_side=max_side,
            every=every,
            max_frames=max_frames,
            smoothing=smoothing,
            verbose=verbose,
        )
        table = pd.concat([*parts], ignore_index=True)
        table.attrs["every"] = every
        return table
    classifier = Classifier(model, threshold)
    find = resolve_detector(detector, min_score, max_side)
    photos, names = list_photos(source)
    skipped: list[tuple[Any, Exception]] = []
    if boxes is not None:
        find = _give(boxes, len(photos), skipped)
    frames = read_photos(photos, names, errors, skipped)
    if verbose:
        frames = show_progress(frames, "Analyzing", lambda: len(photos))
    tables = [table for _, table in classifier.classify(frames, find, as_given=detector is None and boxes is None)]
    table = pd.concat(tables or [classifier.to_table([], [], [])], ignore_index=True)
    table.attrs["skipped"] = {name: str(error) for name, error in skipped}
    return table


def analyze_video(
    source: Any,
    model: str | PathLike | BaseEstimator = "fer2013-small",
    *,
    detector: Literal["yunet"] | Detector | None = "yunet",
    threshold: float = THRESHOLD,
    min_score: float = 0.7,
    max_side: int = 640,
    every: int | str = 1,
    max_frames: int | None = None,
    smoothing: float = SMOOTHING,
    verbose: int = 0,
) -> Iterator[pd.DataFrame]:
    """Yield the faces of a video with their expressions, some frames at a time.

    Memory does not grow with the length of the video. Faces of up to 8 frames are classified together, those of a
    camera frame by frame.

    Parameters
    ----------
    source : path, int or cv2.VideoCapture
        A video file or the index of a camera.
    model, detector, threshold, min_score, max_side, verbose
        See :func:`analyze`.
    every : int or str, default=1
        Analyze each n-th frame, or one frame per interval such as "0.5s".
    max_frames : int, default=None
        Stop after this many analyzed frames.
    smoothing : float, default=0.5
        Probabilities are averaged over the earlier frames of a track, with weights that fall by a factor of e in this
        many seconds. 0 switches it off. ``emotion`` and ``unsure`` follow the average.

    Yields
    ------
    DataFrame
        The columns of :func:`analyze` for videos. Faces with the same ``track`` overlap from frame to frame; a track
        ends if its face is missing for more than a second and in at least one analyzed frame. Damaged frames are left
        out.

    See Also
    --------
    annotate_video : Writes a video with the boxes and emotions.
    ferkit.display.TimelineDisplay : Draws the probabilities over time.

    Examples
    --------
    >>> from ferkit.photos import analyze_video
    >>> for part, table in enumerate(analyze_video("talk.mp4", every="1s")):  # doctest: +SKIP
    ...     table.to_csv("talk.csv", mode="a" if part else "w", header=part == 0, index=False)
    """
    check_options(
        "analyze_video",
        threshold=threshold,
        min_score=min_score,
        max_side=max_side,
        max_frames=max_frames,
        smoothing=smoothing,
        verbose=verbose,
    )
    parse_every(every)
    if isinstance(model, (str, PathLike)) and not is_camera(source):
        model = read_model(model)  # PyTorch is faster with the faces of many frames, and uses a GPU
    classifier = Classifier(model, threshold)
    find = resolve_detector(detector, min_score, max_side)
    frames = read_video(source, every, max_frames)
    if verbose:
        frames = show_progress(frames, "Analyzing", lambda: _count(source, every, max_frames))
    batches = classifier.classify(
        frames,
        find,
        as_given=detector is None,
        smoothing=smoothing,
        n_frames=1 if is_camera(source) else N_FRAMES,
    )

    def tables():
        for _, table in batches:
            table.attrs["every"] = every  # for annotate_video
            yield table

    return tables()


def watch(
    camera: Any = 0,
    model: str | PathLike | BaseEstimator = "fer2013-small",
    *,
    detector: Literal["yunet"] | Detector | None = "yunet",
    threshold: float = THRESHOLD,
    min_score: float = 0.7,
    max_side: int = 640,
    smoothing: float = SMOOTHING,
) -> Iterator[tuple[np.ndarray, pd.DataFrame]]:
    """Yield each picture of a camera with its faces, as soon as it is analyzed.

    Parameters
    ----------
    camera : int or cv2.VideoCapture, default=0
        Index of the camera.
    model, detector, threshold, min_score, max_side
        See :func:`analyze`.
    smoothing
        See :func:`analyze_video`.

    Yields
    ------
    image : ndarray of shape (height, width, 3) and dtype uint8
        The picture, RGB.
    table : DataFrame
        Its faces, as :func:`analyze_video` returns them.

    Examples
    --------
    >>> from ferkit.photos import watch
    >>> for image, table in watch():  # doctest: +SKIP
    ...     print(table[["track", "emotion"]])
    """
    check_options("watch", threshold=threshold, min_score=min_score, max_side=max_side, smoothing=smoothing)
    classifier = Classifier(model, threshold)
    find = resolve_detector(detector, min_score, max_side)
    batches = classifier.classify(
        read_video(camera), find, as_given=detector is None, smoothing=smoothing, n_frames=1, keep_images=True
    )
    return ((image, table) for (image,), table in batches)


def _give(boxes, n_photos, skipped):
    """Return a detector that returns the given boxes, photo by photo, without those of photos that were skipped."""
    if not isinstance(boxes, Faces):
        boxes = boxes.to_numpy() if hasattr(boxes, "to_numpy") else list(boxes)
    is_list = not isinstance(boxes, Faces) and len(boxes) and (isinstance(boxes[0], Faces) or np.ndim(boxes[0]) == 2)
    given = list(boxes) if is_list or n_photos != 1 else [boxes]
    if len(given) != n_photos:
        raise ValueError(
            f"Expected boxes (n, 4) for each photo, got {len(given)} for {n_photos} photos: pass a list of arrays."
        )
    number = itertools.count()
    return lambda photo: check_faces(given[next(number) + len(skipped)], photo.shape, "boxes")


class Classifier:
    """A fitted classifier that turns the faces of frames into tables."""

    def __init__(self, model: Any, threshold: float):
        self.model = _load(model)
        self.threshold = threshold
        self.shape = find_shape(self.model)
        self.names = [str(label) for label in self.model.classes_]
        check_columns(self.names, TAKEN)

    def classify(
        self,
        frames: Iterable[Frame],
        find: Callable[[np.ndarray], Faces],
        *,
        as_given: bool = False,
        smoothing: float | None = None,
        n_frames: int = 10**9,
        keep_images: bool = False,
    ) -> Iterator[tuple[list[np.ndarray], pd.DataFrame]]:
        """Yield the images, if they are kept, and the table of some frames at a time. Videos have ``smoothing``."""
        is_video = smoothing is not None
        tracker, smoother = Tracker(), Smoother(smoothing or 0)
        images: list[np.ndarray] = []
        keys: list[tuple] = []
        faces: list[Faces] = []
        crops: list[np.ndarray] = []

        def finish():
            return images, self.to_table(keys, faces, crops, smoother if is_video else None)

        for frame in frames:
            found = find(frame.image)
            crops.extend([resize(frame.image, self.shape)] if as_given else cut(frame.image, found.boxes, self.shape))
            faces.append(found)
            tracks = tracker.update(found.boxes, frame.time) if is_video else [None] * len(found.boxes)
            keys += [(frame.name, frame.time, track, face) for face, track in enumerate(tracks)]
            images += [frame.image] if keep_images else []
            if len(faces) >= n_frames or len(crops) >= N_FACES:
                yield finish()
                images, keys, faces, crops = [], [], [], []
        if faces:
            yield finish()

    def to_table(self, keys, faces, crops, smoother=None):
        """Return the table of faces; ``keys`` are their frame, time, track and number in the frame."""
        names, times, tracks, numbers = zip(*keys, strict=True) if keys else ((),) * 4
        if smoother is None:
            columns = {"file": pd.Series(names, dtype=None if names else object)}
        else:
            columns = {"frame": np.array(names, np.int64), "time": np.array(times), "track": np.array(tracks, np.int64)}
        boxes = np.concatenate([np.empty((0, 4), np.float32), *(each.boxes for each in faces)])
        scores = np.concatenate([np.empty(0, np.float32), *(each.scores for each in faces)])
        columns |= dict(zip(COLUMNS, (np.array(numbers, np.int64), *boxes.T, scores), strict=True))
        proba = np.empty((0, len(self.names)))
        if len(crops):
            proba = check_proba(self.model.predict_proba(np.stack(crops).reshape(len(crops), -1)), self.names)
        if smoother is not None:
            proba = smoother.update(tracks, times, proba)
        best, is_unsure = self.decide(proba)
        columns["emotion"] = np.asarray(self.model.classes_)[best]
        columns |= dict(zip(self.names, proba.T, strict=True))
        columns["unsure"] = is_unsure
        return pd.DataFrame(columns)

    def decide(self, proba):
        """Return the position of the highest probability of each face, and whether it is below the threshold."""
        return proba.argmax(axis=-1), proba.max(axis=-1, initial=0) < self.threshold


def classes_of(table):
    """Return the columns of a table that hold the probabilities of classes."""
    return [name for name in table.columns if name not in TAKEN]


def _load(model):
    if isinstance(model, (str, PathLike)):
        model = read_predictor(model)
    if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
        raise ValueError(
            f"Expected a fitted classifier with predict_proba, got a {type(model).__name__}: fit one, or pass the path "
            f"of a .ferkit file or one of {list_models()}."
        )
    if not hasattr(model, "steps"):
        return model
    from ..transformers import PixelParser  # imports PyTorch

    return model[1:] if isinstance(model[0], PixelParser) else model  # crops need no parsing


def _count(source, every, max_frames):
    n_frames = count_frames(source) if isinstance(source, (str, PathLike)) else None
    if n_frames is not None and not isinstance(every, str):
        n_frames = -(-n_frames // every)
        return n_frames if max_frames is None else min(n_frames, max_frames)
    return max_frames
