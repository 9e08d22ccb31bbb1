"""Photos, directories, arrays, videos and cameras as frames: RGB images with a name and a time."""

import os
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._files import IMAGE_SUFFIXES, find_images, is_file, read_photo

__all__ = [
    "Frame",
    "count_frames",
    "import_cv2",
    "is_video",
    "list_photos",
    "open_video",
    "parse_every",
    "read_photos",
    "read_video",
    "to_photo",
    "walk_video",
]

PLAYLISTS = (b"ffconcat", b"#EXTM3U")  # their first bytes
MAX_DAMAGED = 100  # frames in a row that cannot be read, after which a video ends
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv")


class Frame(NamedTuple):
    """An image of a source."""

    name: Any  # the path of a photo or its position in a list; the number of a frame of a video
    time: float  # seconds since the start of a video
    image: np.ndarray  # RGB


def import_cv2():
    """Return the module cv2."""
    try:
        import cv2
    except ImportError:
        raise ImportError('OpenCV finds faces and reads videos: pip install "ferkit[photos]"') from None
    return cv2


# photos


def list_photos(source: Any) -> tuple[list, list]:
    """Return the photos of a source that is not a video, and their names."""
    if isinstance(source, (str, PathLike)):
        paths = find_images(Path(source))
        return paths, [str(path) for path in paths]
    if isinstance(source, np.ndarray) and source.dtype != object:
        is_one = source.ndim == 2 or (source.ndim == 3 and source.shape[2] in (1, 3, 4))
        source = [source] if is_one else list(source)
    elif isinstance(source, dict) or hasattr(source, "getbands") or is_file(source):
        source = [source]
    try:
        if hasattr(source, "columns"):  # a DataFrame, whose list contains the names of its columns
            raise TypeError
        photos = list(source)
    except TypeError:
        raise ValueError(
            f"Expected a photo, a list of photos or a video, got a {type(source).__name__}: pass a path, an array, a "
            "PIL image, a list of them (such as one column of a table), or the index of a camera."
        ) from None
    return photos, [str(each) if isinstance(each, (str, PathLike)) else place for place, each in enumerate(photos)]


def read_photos(photos: list, names: list, errors: str, skipped: list) -> Iterator[Frame]:
    """Yield the photos of a list. With ``errors="drop"``, names and errors of others are added to ``skipped``."""
    for position, (photo, name) in enumerate(zip(photos, names, strict=True)):
        try:
            image = to_photo(photo, position)
        except (ValueError, OSError) as error:
            if errors == "raise":
                raise
            skipped.append((name, error))
        else:
            yield Frame(name, 0.0, image)


def to_photo(image: Any, position: int = 0) -> np.ndarray:
    """Return an image in any accepted form as RGB, uint8 (height, width, 3), turned upright."""
    if not isinstance(image, np.ndarray):
        if isinstance(image, (str, PathLike)) and is_video(image):
            raise ValueError(
                f"Expected a photo, got the video {image}: pass each video by itself to analyze, or to `ferkit video`."
            )
        if not (hasattr(image, "getbands") or isinstance(image, str) or is_file(image)):
            raise ValueError(
                f"Expected an image, got a {type(image).__name__}: pass a path, bytes, a PIL image or an array."
            )
        return read_photo(image, position)
    shape = image.shape
    is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if image.dtype != np.uint8 or image.size == 0 or not is_image:
        raise ValueError(
            f"Expected an image as uint8 of shape (height, width) or (height, width, 3), got {image.dtype} of shape "
            f"{shape}: convert it, or pass several as a list."
        )
    if len(shape) == 2:
        image = image[:, :, None]
    return np.ascontiguousarray(np.broadcast_to(image[:, :, :3], (*shape[:2], 3)))


# videos


def is_camera(source: Any) -> bool:
    """Return whether a source is the index of a camera."""
    return isinstance(source, (int, np.integer)) and not isinstance(source, bool)


def is_video(source: Any) -> bool:
    """Return whether a source is a video file, the index of a camera, or a `cv2.VideoCapture`."""
    if isinstance(source, (str, PathLike)):
        return str(source).lower().endswith(VIDEO_SUFFIXES)
    return is_camera(source) or hasattr(source, "retrieve")


def open_video(source: Any) -> Any:
    """Return a `cv2.VideoCapture` of a video file or a camera."""
    if hasattr(source, "retrieve"):
        return source
    if isinstance(source, (str, PathLike)) and str(source).lower().endswith(IMAGE_SUFFIXES):
        raise ValueError(f"Expected a video, got the photo {source}: pass it to analyze, or to `ferkit photo`.")
    cv2 = import_cv2()
    if is_camera(source):
        capture = cv2.VideoCapture(int(source))
        if not capture.isOpened():
            raise ValueError(f"Expected the index of a camera, got {source}: connect one, or close what uses it.")
        return capture
    if not Path(source).is_file():
        raise FileNotFoundError(f"Expected a video, got {source}, which is not a file: check the path.")
    with open(source, "rb") as file:
        if file.read(8).startswith(PLAYLISTS):
            raise ValueError(f"Expected a video, got {source}, a playlist that names other files: pass one of these.")
    capture = cv2.VideoCapture(os.path.abspath(source))  # FFmpeg takes the start of a name with a colon as a protocol
    if not capture.isOpened():
        raise ValueError(f"Expected a video, got {source}, which OpenCV can't read: it may be damaged.")
    return capture


def count_frames(source: Any) -> int | None:
    """Return how many frames a video file says it has; None if it does not say so."""
    cv2 = import_cv2()
    capture = open_video(source)
    n_frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if capture is not source:
        capture.release()
    return n_frames if n_frames > 0 else None


def read_video(source: Any, every: int | str = 1, max_frames: int | None = None) -> Iterator[Frame]:
    """Yield the frames of a video file or camera: each n-th one, or one per interval such as "0.5s"."""
    cv2 = import_cv2()
    capture = open_video(source)
    n_read = n_failed = 0
    try:
        is_live = not isinstance(source, (str, PathLike)) and capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0
        for index, time, is_due in walk_video(capture, every, is_live):
            if not is_due:
                continue
            success, image = capture.retrieve()
            if not success:
                n_failed += 1
                if n_failed > MAX_DAMAGED:
                    break
                continue
            n_failed, n_read = 0, n_read + 1
            yield Frame(index, time, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            if n_read == max_frames:
                break
    finally:
        if capture is not source:
            capture.release()
    if not n_read:
        raise ValueError(f"Expected a video with at least one frame, got {source}, which has none that can be read.")


def walk_video(capture: Any, every: int | str, is_live: bool = False) -> Iterator[tuple[int, float, bool]]:
    """Grab each frame of a video; yield its number, its time, and whether it is to be analyzed.

    Unreadable frames of a file are skipped. The other frames keep their numbers.
    """
    cv2 = import_cv2()
    step, interval = parse_every(every)
    fps = capture.get(cv2.CAP_PROP_FPS)
    n_frames = 0 if is_live else capture.get(cv2.CAP_PROP_FRAME_COUNT)
    start, due, index, last, failures = monotonic(), 0.0, -1, -1.0, 0
    while True:
        index += 1
        if not capture.grab():
            failures += 1
            if index >= n_frames or failures > MAX_DAMAGED:
                return
            continue
        failures = 0
        # times are those of the file if they increase, as they should
        time = monotonic() - start if is_live else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if not is_live and not time > last:
            time = max(index / fps, last) if fps > 0 else last + 0.04
        last = time
        is_due = index % step == 0 and (not interval or time >= due - 1e-6)
        if is_due and interval:  # after a pause, no frames are caught up on
            due = interval * ((time + 1e-6) // interval + 1)
        yield index, time, is_due


def parse_every(every: Any) -> tuple[int, float]:
    """Return the step in frames and in seconds from one analyzed frame to the next; a step of 0 s sets no limit."""
    if isinstance(every, str):
        try:
            seconds = pd.Timedelta(every).total_seconds()
        except ValueError:
            seconds = 0.0
        if seconds > 0 and not every.strip().lstrip("+").isdigit():  # which would be nanoseconds
            return 1, seconds
    elif is_camera(every) and every > 0:
        return every, 0.0
    raise ValueError(f'Expected every=n frames or a time such as every="0.5s", got every={every!r}.')
