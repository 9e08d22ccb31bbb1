"""Cut faces out as those of FER2013 are framed."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from .._files import convert_image, cut_square
from ._detection import check_faces
from ._sources import to_photo

__all__ = ["crop_faces"]

MARGIN = -0.05  # of the height of the box on each side, measured by benchmarks/crops.py


def crop_faces(
    image: Any, boxes: ArrayLike, *, size: int = 48, margin: float = MARGIN, color: bool = False
) -> np.ndarray:
    """Cut faces out of an image with the framing of FER2013.

    A crop is a square around the center of the box. Outside of the image, the pixels of its edge are repeated.

    Parameters
    ----------
    image : path, bytes, stream, PIL image or ndarray
        See :func:`detect_faces`.
    boxes : array-like of shape (n, 4), or Faces
        Left, top, width and height of each face, as :func:`detect_faces` returns them.
    size : int, default=48
        Height and width of the crops.
    margin : float, default=-0.05
        Space around the box on each side, as a share of its height: the side of the square is the height times
        1 + 2 × ``margin``. The default suits YuNet's boxes, which are slightly higher than the faces of FER2013.
    color : bool, default=False
        Return RGB instead of gray.

    Returns
    -------
    crops : ndarray of shape (n, size, size) or (n, size, size, 3) and dtype uint8

    Examples
    --------
    >>> import numpy as np
    >>> from ferkit.photos import crop_faces
    >>> photo = np.zeros((480, 640, 3), np.uint8)
    >>> crop_faces(photo, [[300, 100, 80, 100], [50, 60, 40, 50]]).shape
    (2, 48, 48)
    """
    photo = to_photo(image)
    boxes = check_faces(boxes, photo.shape, "boxes").boxes
    return cut(photo, boxes, (size, size, 3 if color else 1), margin)


def cut(photo, boxes, shape, margin=MARGIN):
    """Return the crops of an RGB image as (n, height, width) or (n, height, width, 3)."""
    height, width, channels = shape
    crops = np.empty((len(boxes), height, width) if channels == 1 else (len(boxes), *shape), np.uint8)
    for crop, box in zip(crops, boxes, strict=True):
        center, side = box[:2] + box[2:] / 2, box[3] * (1 + 2 * margin)
        crop[:] = cut_square(photo, center - side / 2, side, shape)
    return crops


def resize(photo, shape):
    """Return a whole RGB image in a shape, as image files are resized for `predict`."""
    return convert_image(Image.fromarray(photo), shape).reshape(shape[:2] if shape[2] == 1 else shape)
