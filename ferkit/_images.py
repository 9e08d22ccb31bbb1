"""Shapes and pixel ranges of images. No other module reshapes them.

Between steps images are rows, ``(n_samples, height * width * channels)``, because scikit-learn and imbalanced-learn
accept little else. Stacks of images are flattened on the way in. Networks get ``(n, channels, height, width)`` views of
the rows.
"""

import warnings
from collections.abc import Sequence
from hashlib import blake2b
from math import isqrt
from numbers import Integral
from os import PathLike
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from ._files import check_paths, find_paths

__all__ = [
    "Images",
    "as_rows",
    "check_images",
    "check_shape",
    "check_size",
    "match_range",
    "number_rows",
    "pixel_range",
    "pixel_statistics",
    "read_images",
    "resolve_shape",
    "to_rows",
    "to_stack",
    "to_tensor",
]

Images = ArrayLike | Sequence[str | PathLike]  # rows, a stack or files

CHUNK = 1024  # rows converted at a time wherever a float copy of the whole set would be wasteful
UNIT, BYTES = (0.0, 1.0), (0.0, 255.0)
OVERSHOOT = 0.25  # of a range: bicubic resizing leaves it by less


def check_images(estimator, X, *, reset, lazy=False):
    """Validate ``X`` on behalf of ``estimator``; return ``(rows, (height, width, channels))``.

    Like `read_images`, but the estimator learns ``n_features_in_``, ``feature_names_in_`` and ``image_shape_`` with
    ``reset=True``; otherwise ``X`` must agree with them.
    """
    if not reset and _is_checked(estimator, X):
        return X, estimator.image_shape_
    image_shape = estimator.image_shape if reset else estimator.image_shape_
    shape = getattr(X, "shape", ())
    if not reset and shape == image_shape[:2] != (1, estimator.n_features_in_):
        raise ValueError(f"Expected a stack of images, got one image of shape {_text(shape)}: pass image[None].")

    def check(rows, **options):
        return validate_data(estimator, rows, reset=reset, **options)

    rows, image_shape = read_images(X, image_shape, lazy=lazy, check=check)
    if reset:
        estimator.image_shape_ = image_shape
        if not isinstance(rows, np.ndarray) or find_paths(X) is not None:  # files have no column names
            estimator.n_features_in_ = rows.shape[1]
            vars(estimator).pop("feature_names_in_", None)
    return rows, image_shape


def _is_checked(estimator, X):
    """Return whether `X` needs no validation. scikit-learn's takes a tenth of the time that one prediction takes."""
    return (
        type(X) is np.ndarray
        and X.dtype == np.uint8
        and X.flags.c_contiguous
        and len(X) > 0
        and X.shape[1:] == (estimator.n_features_in_,)
        and not hasattr(estimator, "feature_names_in_")
    )


def read_images(X, image_shape=None, *, lazy=False, check=check_array):
    """Return images in any accepted form as ``(rows, (height, width, channels))``.

    ``rows`` is (n_samples, n_pixels), uint8 if ``X`` is uint8 and float32 otherwise. Files are decoded; with ``lazy``
    they stay :class:`ferkit._files.ImageFiles`. ``check`` validates the rows like scikit-learn's ``check_array``.
    """
    paths = find_paths(X)
    if paths is not None:
        files = check_paths(paths, None if image_shape is None else check_shape(image_shape))
        if -1 in files.image_shape:
            raise ValueError(
                f"Expected an image_shape without -1 for image files, got {_text(image_shape)}: replace the -1."
            )
        return files if lazy else files[:], files.image_shape
    if _holds_strings(X):
        raise ValueError(
            "Expected images, got strings. If they hold pixel values, put a PixelParser before this step; if they are "
            "paths, make them pathlib.Path objects."
        )
    rows, shape = as_rows(X, image_shape)
    rows = check(rows, dtype=[np.float32, np.uint8], order="C")
    return rows, shape or resolve_shape(rows.shape[1], image_shape)


def _holds_strings(X):
    is_column = isinstance(X, (list, tuple)) or getattr(X, "ndim", 2) == 1
    return is_column and isinstance(next(iter(X), None), str)


def as_rows(X, image_shape=None):
    """Flatten a stack of images; return ``(X as rows, shape)``, where ``shape`` is None if ``X`` was 2-D already."""
    X = _as_list(X)
    if isinstance(X, (list, tuple)) and len(X) and (np.ndim(X[0]) >= 2 or isinstance(X[0], np.ndarray)):
        odd = next((row for row, image in enumerate(X) if np.shape(image) != np.shape(X[0])), None)
        if odd is not None:
            raise ValueError(
                f"Expected images of one size: image 0 is of shape {np.shape(X[0])}, image {odd} of {np.shape(X[odd])}."
            )
        X = np.stack([_as_array(image) for image in X])
    if getattr(X, "ndim", 2) <= 2:
        return _as_array(X) if hasattr(X, "detach") else X, None
    shape, images = _stack_shape(_as_array(X))
    n_pixels = int(np.prod(shape))
    if image_shape is not None:
        expected = check_shape(image_shape)
        if any(side not in (-1, given) for side, given in zip(expected, shape, strict=True)):
            raise ValueError(f"Expected images of image_shape={_text(image_shape)}, got shape {_text(shape)}.")
    return images.reshape(len(X), n_pixels), shape


def _as_list(X):
    """Return the images in the cells of a column, or of a frame with one column, as a list; otherwise ``X`` itself."""
    column = X
    if hasattr(X, "columns"):
        if len(X.columns) != 1:
            return X
        column = X[X.columns[0]]
    column = column.to_numpy() if hasattr(column, "to_numpy") else column
    if not isinstance(column, np.ndarray) or (column is X and column.dtype != object):
        return X
    if column.ndim > 1:  # polars: a column of arrays
        return column
    is_image = column.dtype == object and len(column) and (np.ndim(column[0]) or hasattr(column[0], "getbands"))
    return [_as_array(image) for image in column] if is_image else X


def _as_array(X):
    """Return a NumPy array, also for a PyTorch tensor with gradients or on a GPU, and for a PIL image of any mode."""
    if hasattr(X, "getbands") and X.mode not in ("L", "RGB"):
        X = X.convert("L" if X.mode in ("1", "LA") else "RGB")
    return X.detach().cpu().numpy() if hasattr(X, "detach") else np.asarray(X)


def _stack_shape(X):
    """Return (height, width, channels) of a 3-D or 4-D stack, and the stack with its channels last."""
    if X.ndim == 3:
        return (*X.shape[1:], 1), X
    if X.ndim == 4:
        first, last = X.shape[1] in (1, 3), X.shape[3] in (1, 3)
        if first and last:
            raise ValueError(
                f"A stack of shape {X.shape} could have its channels in axis 1 or in axis 3: pass rows, as "
                "X.reshape(len(X), -1) with the channels last, and image_shape=(height, width, channels)."
            )
        if last:
            return X.shape[1:], X
        if first:
            return (*X.shape[2:], X.shape[1]), X.transpose(0, 2, 3, 1)
    raise ValueError(
        "Expected images as (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width), "
        f"got an array of shape {X.shape}."
    )


# rows, stacks and tensors


def to_tensor(rows, shape):
    """View rows of (height, width, channels) as a tensor (n, channels, height, width) that shares their memory."""
    height, width, channels = shape
    tensor = torch.from_numpy(rows if rows.flags.writeable else _writeable(rows))
    return tensor.view(-1, height, width, channels).permute(0, 3, 1, 2)


def to_rows(images):
    """Turn a tensor (n, channels, height, width) into rows, a NumPy array (n, pixels)."""
    return images.permute(0, 2, 3, 1).flatten(1).cpu().numpy()


def to_stack(rows, shape):
    """View rows of (height, width, channels) or (height, width) as a stack of images, a NumPy array (n, *shape)."""
    return rows.reshape(len(rows), *shape)


def _writeable(rows):
    """Return the same memory as a writeable array, which PyTorch accepts without a warning. Nothing writes to it.

    Suppressing the warning with ``warnings.catch_warnings`` would affect all threads.
    """
    interface = rows.__array_interface__
    interface = {**interface, "data": (interface["data"][0], False)}
    return np.asarray(SimpleNamespace(__array_interface__=interface, owner=rows))


# shapes


def resolve_shape(n_pixels, image_shape=None):
    """Return (height, width, channels) of rows of ``n_pixels`` values.

    Without ``image_shape``, k² values are a gray k×k image and 3k² values an RGB one. ``image_shape`` is (height,
    width) or (height, width, channels); one of them may be −1.
    """
    if image_shape is None:
        for channels in (1, 3):
            side = isqrt(n_pixels // channels)
            if side * side * channels == n_pixels:
                return side, side, channels
        raise ValueError(
            f"Rows of {n_pixels:,} values are neither square gray images (k²) nor square RGB ones (3k²): "
            "pass image_shape=(height, width) or (height, width, channels)."
        )
    shape = check_shape(image_shape)
    known = -np.prod(shape) if -1 in shape else np.prod(shape)
    resolved = tuple(n_pixels // int(known) if side == -1 else side for side in shape)
    if np.prod(resolved) != n_pixels or 0 in resolved:
        raise ValueError(
            f"Rows of {n_pixels:,} values do not fit image_shape={_text(image_shape)}"
            + ("." if -1 in shape else f", which holds {np.prod(shape):,}.")
        )
    return resolved


def check_shape(image_shape):
    """Return (height, width, channels) of a parameter ``image_shape``, where one may be −1."""
    shape = tuple(image_shape) if np.iterable(image_shape) else ()
    valid = all(isinstance(side, (int, np.integer)) and (side > 0 or side == -1) for side in shape)
    if len(shape) not in (2, 3) or not valid or shape.count(-1) > 1:
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), positive integers where one may be "
            f"-1, got {image_shape!r}."
        )
    return tuple(int(side) for side in (*shape, 1)[:3])


def check_size(size, name):
    """Return (height, width) of a parameter that is a pair, or an int for a square."""
    pair = (size, size) if isinstance(size, Integral) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, Integral) and side > 0 for side in pair):
        raise ValueError(f"{name} must be a positive int or (height, width), got {size!r}.")
    return tuple(map(int, pair))


def _text(shape):
    return "(" + ", ".join(map(str, shape)) + ")"


# pixels


def pixel_range(rows):
    """Return the range of pixels: (0, 1), (0, 255), or their lowest and highest value."""
    if not isinstance(rows, np.ndarray):  # files
        return BYTES
    low, high = float(rows.min()), float(rows.max())
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return UNIT
    # floats with a maximum below 32 are probably on another scale, because a face has brighter pixels
    if rows.dtype == np.uint8 or (low >= -255 * OVERSHOOT and 32 <= high <= 255 * (1 + OVERSHOOT)):
        return BYTES
    return low, high


def match_range(rows, expected):
    """Convert pixels to the range of the training images. Warn if they do not match and the conversion is not certain.

    ``expected`` is the `pixel_range` of the training images.
    """
    if expected == BYTES and (not isinstance(rows, np.ndarray) or rows.dtype == np.uint8):
        return rows
    rows = rows[:]  # decodes files
    given = pixel_range(rows)
    if given == expected:
        return rows
    is_bytes = given == BYTES and (rows.dtype == np.uint8 or bool((rows == np.rint(rows)).all()))
    if (given, expected) == (UNIT, BYTES) and rows.min() >= 0:  # centered images of little contrast look alike
        return rows * np.float32(255)
    if is_bytes and expected == UNIT:
        return rows / np.float32(255)
    span = expected[1] - expected[0]
    is_outside = rows.min() < expected[0] - span * OVERSHOOT or rows.max() > expected[1] + span * OVERSHOOT
    loses_sign = expected[0] < 0 <= rows.min() and given in (UNIT, BYTES)
    gains_sign = expected == BYTES and rows.min() < 0
    if is_outside or loses_sign or gains_sign:
        warnings.warn(
            f"Expected pixels on the scale of the training images, from {expected[0]:g} to {expected[1]:g}, got "
            f"{rows.min():g} to {rows.max():g}: scale these images as the training images were, or the predictions "
            "are wrong.",
            stacklevel=3,
        )
    return rows


def pixel_statistics(rows, channels, weight=None):
    """Return mean and standard deviation of each channel, float64 (channels,); the deviation of a flat channel is 1.

    ``weight`` is the weight of each row. An integer weight w counts like w copies of the row.
    """
    scaler, n_pixels = StandardScaler(), rows.shape[1] // channels
    for start in range(0, len(rows), CHUNK):
        chunk = slice(start, start + CHUNK)
        pixel_weight = None if weight is None else np.repeat(weight[chunk], n_pixels)
        if weight is None or weight[chunk].any():  # the scaler refuses a chunk without weight
            scaler.partial_fit(rows[chunk].reshape(-1, channels), sample_weight=pixel_weight)
    return scaler.mean_, scaler.scale_


def number_rows(rows):
    """Number rows in order of appearance; rows with the same bytes share a number.

    Parameters
    ----------
    rows : iterable of bytes or C-contiguous arrays
        Pixels, or the contents of files. Only a digest of each is kept.

    Returns
    -------
    numbers : ndarray of shape (n,) and dtype int64
    """
    numbers = {}
    digests = (blake2b(row, digest_size=16).digest() for row in rows)
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], dtype=np.int64)
