"""What a batch of images is: the one place that knows shapes.

Between steps images are rows, ``(n_samples, height * width * channels)``, which is what scikit-learn and
imbalanced-learn take. Stacks of images are flattened on the way in, and networks get ``(n, channels, height, width)``
views of the rows.
"""

from math import isqrt
from numbers import Integral

import numpy as np
from sklearn.utils.validation import validate_data

from ._files import check_paths, find_paths

__all__ = ["as_rows", "check_images", "check_shape", "check_size", "pixel_statistics", "resolve_shape"]

CHUNK = 1024  # rows converted at a time wherever a float copy of the whole set would be wasteful


def check_images(estimator, X, *, reset, lazy=False):
    """Validate ``X`` on behalf of ``estimator``; return ``(rows, (height, width, channels))``.

    ``rows`` is (n_samples, n_pixels), uint8 where ``X`` was uint8 and float32 otherwise. With ``reset=True`` the
    estimator learns ``n_features_in_``, ``feature_names_in_`` and ``image_shape_``; otherwise ``X`` must agree. Files
    are decoded at once, or stay :class:`ferkit._files.ImageFiles` with ``lazy``.
    """
    if not reset and _is_checked(estimator, X):
        return X, estimator.image_shape_
    paths = find_paths(X)
    if paths is not None:
        return _check_files(estimator, paths, reset, lazy), estimator.image_shape_
    if _holds_strings(X):
        raise ValueError(
            "Expected images, got strings. If they hold pixel values, put a PixelParser before this step; if they are "
            "paths, make them pathlib.Path objects."
        )
    shape = getattr(X, "shape", ())
    if not reset and shape == estimator.image_shape_[:2] != (1, estimator.n_features_in_):
        raise ValueError(f"One image of shape {_text(shape)} came, expected a stack of them: pass image[None].")
    rows, shape = as_rows(X, estimator.image_shape if reset else estimator.image_shape_)
    rows = validate_data(estimator, rows, reset=reset, dtype=[np.float32, np.uint8], order="C")
    if reset:
        estimator.image_shape_ = shape or resolve_shape(rows.shape[1], estimator.image_shape)
    return rows, estimator.image_shape_


def _check_files(estimator, paths, reset, lazy):
    shape = estimator.image_shape if reset else estimator.image_shape_
    files = check_paths(paths, None if shape is None else check_shape(shape))
    if -1 in files.image_shape:
        raise ValueError(f"Files are brought to image_shape, which must say their size, got {_text(shape)}.")
    if reset:
        estimator.image_shape_, estimator.n_features_in_ = files.image_shape, files.shape[1]
        vars(estimator).pop("feature_names_in_", None)
    return files if lazy else files[:]


def _is_checked(estimator, X):
    """Whether `X` is what comes out of a check: scikit-learn's takes a tenth of the time that one face needs."""
    return (
        type(X) is np.ndarray
        and X.dtype == np.uint8
        and X.flags.c_contiguous
        and len(X) > 0
        and X.shape[1:] == (estimator.n_features_in_,)
        and not hasattr(estimator, "feature_names_in_")
    )


def _holds_strings(X):
    is_column = isinstance(X, (list, tuple)) or getattr(X, "ndim", 2) == 1
    return is_column and isinstance(next(iter(X), None), str)


def as_rows(X, image_shape=None):
    """Flatten a stack of images; return ``(X as rows, shape)``, ``shape`` None where ``X`` was 2-D already."""
    if isinstance(X, (list, tuple)) and len(X) and np.ndim(X[0]) >= 2:
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
        if any(side not in (-1, came) for side, came in zip(expected, shape, strict=True)):
            raise ValueError(f"Images of shape {_text(shape)} came, expected image_shape={_text(image_shape)}.")
    return images.reshape(len(X), n_pixels), shape


def _as_array(X):
    """A NumPy array, also of a PyTorch tensor that has gradients or lies on a GPU, or of a PIL image of any mode."""
    if hasattr(X, "getbands") and X.mode not in ("L", "RGB"):
        X = X.convert("L" if X.mode in ("1", "LA") else "RGB")
    return X.detach().cpu().numpy() if hasattr(X, "detach") else np.asarray(X)


def _stack_shape(X):
    """The (height, width, channels) of a 3-D or 4-D stack, and the stack with its channels last."""
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


def resolve_shape(n_pixels, image_shape=None):
    """(height, width, channels) of rows of ``n_pixels`` values.

    Without ``image_shape``, k² values are a gray k×k image and 3k² values an RGB one. ``image_shape`` is (height,
    width) or (height, width, channels), of which one may be −1.
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
    """(height, width, channels) of a parameter ``image_shape``, of which one may be −1."""
    shape = tuple(image_shape) if np.iterable(image_shape) else ()
    valid = all(isinstance(side, (int, np.integer)) and (side > 0 or side == -1) for side in shape)
    if len(shape) not in (2, 3) or not valid or shape.count(-1) > 1:
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), positive integers of which one may be "
            f"-1, got {image_shape!r}."
        )
    return tuple(int(side) for side in (*shape, 1)[:3])


def check_size(size, name):
    """(height, width) of a parameter that is an int, for a square, or a pair."""
    pair = (size, size) if isinstance(size, Integral) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, Integral) and side > 0 for side in pair):
        raise ValueError(f"{name} must be a positive int or (height, width), got {size!r}.")
    return tuple(map(int, pair))


def pixel_statistics(rows, channels, weight=None):
    """Mean and standard deviation of the pixels of each channel, float64 (channels,); a flat channel's is 1.

    ``weight`` is that of each row; an integer stands for so many of it.
    """
    shift = rows[0].reshape(-1, channels).mean(axis=0, dtype=np.float64)
    total, squares = np.zeros(channels), np.zeros(channels)
    for start in range(0, len(rows), CHUNK):
        chunk = slice(start, start + CHUNK)
        pixels = rows[chunk].reshape(-1, rows.shape[1] // channels, channels) - shift
        weighted = pixels if weight is None else pixels * weight[chunk, None, None]
        total += weighted.sum(axis=(0, 1))
        squares += np.einsum("rpc,rpc->c", weighted, pixels)
    n = (len(rows) if weight is None else weight.sum(dtype=np.float64)) * (rows.shape[1] // channels)
    std = np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0))
    return shift + total / n, np.where(std > 0, std, 1.0)


def _text(shape):
    return "(" + ", ".join(map(str, shape)) + ")"
