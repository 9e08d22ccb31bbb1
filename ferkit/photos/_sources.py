"""Photos, directories, arrays, videos and cameras as frames: RGB images with a name or a time."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._files import find_images, is_file, read_photo

__all__ = ["VIDEO_SUFFIXES", "Frame", "is_video", "read_photos", "to_photo"]

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv")


class Frame(NamedTuple):
    """An image of a source."""

    name: Any  # the path of a photo or its position in a list; the number of a frame of a video
    time: float  # seconds since the start of a video
    image: np.ndarray  # RGB


def is_video(source: Any) -> bool:
    """Return whether a source is a video file, the index of a camera, or a `cv2.VideoCapture`."""
    if isinstance(source, (str, PathLike)):
        return str(source).lower().endswith(VIDEO_SUFFIXES)
    is_index = isinstance(source, (int, np.integer)) and not isinstance(source, bool)
    return is_index or (hasattr(source, "grab") and hasattr(source, "retrieve"))


def list_photos(source: Any) -> tuple[list, list]:
    """Return the photos of a source that is not a video, and their names."""
    if isinstance(source, (str, PathLike)):
        if not Path(source).exists():
            raise FileNotFoundError(f"Expected a photo, a directory or a video, got {source}, which does not exist.")
        paths = find_images(Path(source))
        return paths, [str(path) for path in paths]
    if isinstance(source, np.ndarray) and source.dtype != object:
        is_one = source.ndim == 2 or (source.ndim == 3 and source.shape[2] in (1, 3, 4))
        source = [source] if is_one else list(source)
    elif isinstance(source, dict) or hasattr(source, "getbands") or is_file(source):
        source = [source]
    photos = list(source)
    return photos, [str(each) if isinstance(each, (str, PathLike)) else place for place, each in enumerate(photos)]


def read_photos(source: Any, errors: str, skipped: dict) -> Iterator[Frame]:
    """Yield the photos of a source. With ``errors="drop"``, the errors of others are added to ``skipped``."""
    for photo, name in zip(*list_photos(source), strict=True):
        try:
            image = to_photo(photo)
        except (ValueError, OSError) as error:
            if errors == "raise":
                raise
            skipped[name] = error
        else:
            yield Frame(name, 0.0, image)


def to_photo(image: Any) -> np.ndarray:
    """Return an image in any accepted form as RGB, uint8 (height, width, 3), turned upright."""
    if not isinstance(image, np.ndarray):
        if not (hasattr(image, "getbands") or isinstance(image, str) or is_file(image)):
            raise ValueError(
                f"Expected an image, got a {type(image).__name__}: pass a path, bytes, a PIL image or an array."
            )
        return read_photo(image)
    shape = image.shape
    if (
        image.dtype != np.uint8
        or image.size == 0
        or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)))
    ):
        raise ValueError(
            f"Expected an image as uint8 of shape (height, width) or (height, width, 3), got {image.dtype} of shape "
            f"{shape}: convert it, or pass several as a list."
        )
    if len(shape) == 2:
        image = image[:, :, None]
    return np.ascontiguousarray(np.broadcast_to(image[:, :, :3], (*shape[:2], 3)))
