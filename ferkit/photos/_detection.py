"""Detectors of faces: YuNet through OpenCV, functions of others, and given boxes."""

from collections.abc import Callable
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from threading import Lock, local
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from ._sources import import_cv2, to_photo

__all__ = ["Faces", "detect_faces"]

YUNET = Path(__file__).with_name("yunet.onnx")
MAX_OVERLAP = 0.3  # intersection over union of two boxes, above which YuNet keeps only the better one
MIN_SIDE = 64  # pixels; OpenCV 4 finds random boxes in images that are 32 pixels high or less
OPTIONS = {
    "min_score": [Interval(Real, 0, 1, closed="both")],
    "max_side": [Interval(Integral, 1, None, closed="left")],
    "threshold": [Interval(Real, 0, 1, closed="both")],
    "smoothing": [Interval(Real, 0, None, closed="left")],
    "max_frames": [Interval(Integral, 1, None, closed="left"), None],
    "verbose": ["verbose"],
}
_cache = local()  # because a cv2.FaceDetectorYN can't be used by two threads at a time
_log_level_lock = Lock()


class Faces(NamedTuple):
    """Faces of one image, sorted by decreasing score.

    Attributes
    ----------
    boxes : ndarray of shape (n, 4) and dtype float32
        Left, top, width and height in pixels of the upright image. Boxes may reach beyond the image.
    landmarks : ndarray of shape (n, 5, 2) and dtype float32
        x and y of the right eye, the left eye, the tip of the nose, and the right and left corner of the mouth. Right
        and left are the person's. NaN if the detector has none.
    scores : ndarray of shape (n,) and dtype float32
        Confidence from 0 to 1. NaN if the detector has none.

    Examples
    --------
    >>> import numpy as np
    >>> from ferkit.photos import Faces, crop_faces
    >>> faces = Faces(np.float32([[9, 8, 30, 40]]), np.zeros((1, 5, 2), np.float32), np.float32([0.9]))
    >>> crop_faces(np.zeros((60, 60), np.uint8), faces).shape
    (1, 48, 48)
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray


Detector = Callable[[np.ndarray], Any]


def detect_faces(image: Any, *, min_score: float = 0.7, max_side: int = 640) -> Faces:
    """Find the faces in an image with YuNet [1]_, which ships with ferkit.

    It needs OpenCV: ``pip install "ferkit[photos]"``.

    Parameters
    ----------
    image : path, bytes, stream, PIL image or ndarray
        Arrays are RGB or gray: uint8 of shape (height, width, 3) or (height, width). Files are turned upright as their
        EXIF data say.
    min_score : float, default=0.7
        Only return faces with at least this confidence, from 0 to 1.
    max_side : int, default=640
        A larger image is shrunk to this size of its longer side for the detection. YuNet finds faces of about 10 to 300
        pixels in the shrunk image. Increase it to find small faces in large photos; time and memory grow with its
        square.

    Returns
    -------
    Faces
        Boxes, landmarks and scores in pixels of the upright image. Without a face, they are empty.

    Raises
    ------
    ImportError
        If OpenCV is not installed.
    ValueError
        If the image cannot be read.

    References
    ----------
    .. [1] Wei Wu, Hanyang Peng, Shiqi Yu. "YuNet: A tiny millisecond-level face detector". Machine Intelligence
       Research, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.photos import detect_faces
    >>> photo = Image.new("RGB", (640, 480), "gray")
    >>> face = Image.fromarray(make_faces(1, random_state=0).images[0])
    >>> photo.paste(face.resize((200, 200)), (300, 150))
    >>> faces = detect_faces(photo)
    >>> len(faces.boxes), faces.landmarks.shape
    (1, (1, 5, 2))
    """
    check_options("detect_faces", min_score=min_score, max_side=max_side)
    photo = to_photo(image)
    height, width = photo.shape[:2]
    scale = min(1, max_side / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    if scale < 1:
        photo = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR, reducing_gap=2))
    missing = [max(0, MIN_SIDE - side) for side in size[::-1]]
    photo = np.pad(photo[:, :, ::-1], [(0, missing[0]), (0, missing[1]), (0, 0)])
    yunet = _yunet()
    yunet.setInputSize(photo.shape[1::-1])
    yunet.setScoreThreshold(min_score)
    found = yunet.detect(np.ascontiguousarray(photo))[1]
    if found is None:
        found = np.empty((0, 15), np.float32)
    found = found[np.argsort(-found[:, 14], kind="stable")]
    points = found[:, :14].reshape(-1, 7, 2) * np.array([width / size[0], height / size[1]], np.float32)
    return Faces(points[:, :2].reshape(-1, 4), points[:, 2:], found[:, 14])


def check_options(function: str, **options: Any) -> None:
    """Check the values of options that several functions share."""
    validate_parameter_constraints(OPTIONS, options, caller_name=function)


def _yunet():
    if not hasattr(_cache, "yunet"):
        cv2 = import_cv2()
        with _quiet(cv2):
            _cache.yunet = cv2.FaceDetectorYN.create(str(YUNET), "", (320, 320), 0.7, MAX_OVERLAP, 5000)
    return _cache.yunet


@contextmanager
def _quiet(cv2):
    """Let OpenCV 5 not warn of its own default. OpenCV 4.8 has no logging that could be changed."""
    logging = getattr(cv2.utils, "logging", None)
    if logging is None:
        yield
        return
    with _log_level_lock:
        level = logging.setLogLevel(logging.LOG_LEVEL_ERROR)
        try:
            yield
        finally:
            logging.setLogLevel(level)


def resolve_detector(detector: Any, min_score: float, max_side: int) -> Detector:
    """Return a function that takes an RGB image and returns `Faces`."""
    if detector is None:
        return _whole_image
    if isinstance(detector, str) and detector == "yunet":
        return lambda photo: detect_faces(photo, min_score=min_score, max_side=max_side)
    if not callable(detector):
        raise ValueError(
            f'Expected detector="yunet", None or a function that takes an image and returns boxes, got {detector!r}.'
        )
    return lambda photo: check_faces(detector(photo), photo.shape, "the detector to return boxes")


def _whole_image(photo):
    height, width = photo.shape[:2]
    return check_faces([[0, 0, width, height]], photo.shape, "")


def check_faces(found, shape, what):
    """Return boxes or `Faces` from outside of ferkit as `Faces`. ``shape`` is the image's, ``what`` is for errors."""
    if isinstance(found, Faces):
        boxes, landmarks, scores = found
    else:
        boxes, landmarks, scores = found, None, None
    try:
        boxes = np.asarray(boxes, np.float32)
        boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
        n_faces = len(boxes)
        landmarks = np.full((n_faces, 5, 2), np.nan) if landmarks is None else landmarks
        scores = np.full(n_faces, np.nan) if scores is None else scores
        landmarks, scores = np.asarray(landmarks, np.float32), np.asarray(scores, np.float32)
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected {what}, an array (n, 4) of left, top, width and height, got a {type(found).__name__}."
        ) from None
    if boxes.shape != (n_faces, 4) or landmarks.shape != (n_faces, 5, 2) or scores.shape != (n_faces,):
        raise ValueError(
            f"Expected {what} (n, 4), landmarks (n, 5, 2) and scores (n,), got shapes {boxes.shape}, "
            f"{landmarks.shape} and {scores.shape}."
        )
    left, top, width, height = boxes.T
    is_good = (np.abs(boxes) < 1e6).all(axis=1) & (width > 0) & (height > 0)  # false for NaN
    is_good &= (left < shape[1]) & (top < shape[0]) & (left + width > 0) & (top + height > 0)
    if not is_good.all():
        raise ValueError(
            f"Expected {what} of left, top, width and height that overlap with the image of "
            f"{shape[1]}×{shape[0]} pixels, got {boxes[~is_good][0].tolist()}: the order may be another, or the image."
        )
    return Faces(boxes, landmarks, scores)
