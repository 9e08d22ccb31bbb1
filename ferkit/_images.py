"""Shapes and pixel ranges of images. No other module reshapes them.

Between steps images are rows, ``(n_samples, height * width * channels)``, because scikit-learn and imbalanced-learn
accept little else. Stacks of images are flattened on the way in. Networks get ``(n, channels, height, width)`` views of
the rows.

Functions import PyTorch by themselves, because data sets and predictions with ONNX files need not wait for it.
"""

import sys
import warnings
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import isqrt, prod
from numbers import Integral, Number
from os import PathLike
from reprlib import repr as short_repr
from types import SimpleNamespace
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from scipy.sparse import issparse
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from ._files import ImageFiles, check_files, convert_image, find_files, image_shape_of, is_file

__all__ = [
    "Images",
    "as_rows",
    "check_images",
    "check_shape",
    "check_size",
    "chunks",
    "from_bytes",
    "match_range",
    "number_rows",
    "pixel_range",
    "pixel_statistics",
    "read_images",
    "resolve_shape",
    "to_bytes",
    "to_rows",
    "to_stack",
    "to_tensor",
    "unpack",
]

Images = ArrayLike | Sequence[str | PathLike | bytes | BinaryIO | Image.Image]  # rows, a stack, or a list of images

_CHUNK = 1024 * 48 * 48  # pixels converted at a time wherever a float copy of the whole set would be wasteful
UNIT, BYTES = (0.0, 1.0), (0.0, 255.0)
OVERSHOOT = 0.25  # of a range: bicubic resizing leaves it by less
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Pillow's weights of red, green and blue


def check_images(estimator, X, *, reset, lazy=False):
    """Validate ``X`` on behalf of ``estimator``; return ``(rows, (height, width, channels))``.

    Like `read_images`, but the estimator learns ``n_features_in_``, ``feature_names_in_`` and ``image_shape_`` with
    ``reset=True``. Otherwise images are brought to ``image_shape_``, and rows must have as many values.
    """
    if not reset and _is_checked(estimator, X):
        return X, estimator.image_shape_

    def check(rows, **options):
        if not reset:
            _check_width(estimator, rows)
        return validate_data(estimator, rows, reset=reset, **options)

    image_shape = estimator.image_shape if reset else estimator.image_shape_
    rows, image_shape = read_images(X, image_shape, lazy=lazy, check=check, resize=not reset)
    if reset:
        estimator.image_shape_ = image_shape
        if isinstance(rows, ImageFiles):
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


def _check_width(estimator, rows):
    """Say what to do with rows of another length. In a frame, scikit-learn names the columns that are missing."""
    n_pixels, shape = estimator.n_features_in_, tuple(getattr(rows, "shape", ()))
    if shape == estimator.image_shape_[:2] != (1, n_pixels):
        raise ValueError(f"Expected a stack of images, got one image of shape {_text(shape)}: pass image[None].")
    if len(shape) == 2 and shape[0] and shape[1] != n_pixels and not hasattr(rows, "columns"):
        raise ValueError(
            f"X has {shape[1]} features, but {type(estimator).__name__} is expecting {n_pixels} features as input, the "
            f"pixels of images of shape {_text(estimator.image_shape_)}. If X is one gray image, pass X[None]. If its "
            "rows are images of another size, pass X.reshape(-1, height, width, channels), which is resized."
        )


def read_images(X, image_shape=None, *, lazy=False, check=check_array, resize=False):
    """Return images in any accepted form as ``(rows, (height, width, channels))``.

    ``rows`` is (n_samples, n_pixels), uint8 if ``X`` is uint8 and float32 otherwise. Image files are decoded; with
    ``lazy`` they stay :class:`ferkit._files.ImageFiles`. ``check`` validates the rows like scikit-learn's
    ``check_array``. With ``resize``, arrays are brought to ``image_shape`` as image files are.
    """
    X = unpack(X)
    files = find_files(X)
    if files is not None:
        files = check_files(files, None if image_shape is None else check_shape(image_shape))
        if -1 in files.image_shape:
            raise ValueError(
                f"Expected an image_shape without -1 for image files, got {_text(image_shape)}: replace the -1."
            )
        return files if lazy else check(files[:], dtype=np.uint8), files.image_shape
    rows, shape = as_rows(X, image_shape, resize=resize)
    _check_dimensions(rows)
    dtypes = getattr(rows, "dtypes", None)  # polars gives a list; scikit-learn only looks at its first entry
    is_uint8 = isinstance(dtypes, list) and {str(dtype) for dtype in dtypes} == {"UInt8"}
    try:
        rows = check(rows, dtype=np.uint8 if is_uint8 else [np.float32, np.uint8], order="C")
    except (TypeError, ValueError) as error:
        _raise_without_data(error, X)
    return rows, shape or resolve_shape(rows.shape[1], image_shape)


def unpack(X):
    """Return images in any container as a list, an array or a tensor. A frame of pixels stays as it is."""
    if isinstance(X, (str, bytes, bytearray, PathLike)) or hasattr(X, "getbands") or hasattr(X, "read"):
        shown = f"the string {short_repr(X)}" if isinstance(X, str) else f"one {type(X).__name__}"
        raise ValueError(f"Expected a list of images, got {shown}: put it in a list, as in predict([image]).")
    if _is_from("torch.utils.data", ("Dataset", "DataLoader"), X):
        raise ValueError(
            f"Expected images, got a {type(X).__name__}, which also holds labels: {_unpacking_code(X)}, and pass X "
            "and y."
        )
    names = getattr(X, "column_names", getattr(X, "columns", None))  # the former is PyArrow's and Hugging Face's
    if names is not None:
        return _unpack_table(X, list(names))
    if isinstance(X, Sequence):
        return list(X)
    if str(getattr(X, "dtype", "")).startswith("Struct"):  # polars makes two columns of Hugging Face's dicts
        return X.to_list()
    if not isinstance(X, np.ndarray) and not hasattr(X, "detach") and not issparse(X):
        if hasattr(X, "__array__"):
            X = np.asarray(X)
        elif hasattr(X, "shape"):
            X = np.asarray(X[:])
        elif isinstance(X, Iterable):
            raise ValueError(f"Expected images in a list or an array, got a {type(X).__name__}: pass list(X).")
    is_column = isinstance(X, np.ndarray) and X.dtype.kind in "OSTU" and X.ndim and 0 < X.size == len(X)
    return X if not is_column or isinstance(X.flat[0], (Number, type(None))) else list(X.ravel())


def _is_from(module, classes, X):
    """Return whether `X` is an object of one of these classes, without importing their module."""
    found = sys.modules.get(module)
    return found is not None and isinstance(X, tuple(getattr(found, name) for name in classes))


def _unpack_table(X, names):
    column = unpack(X[names[0]]) if len(names) == 1 else None
    if isinstance(column, list) or (column is not None and np.ndim(column) > 1):
        return column
    if hasattr(X, "columns") and not hasattr(X, "column_names"):
        return X
    if not hasattr(X, "__array__"):
        raise ValueError(
            f"Expected images, got a table of the columns {short_repr(names)}: pass one, as X[{names[0]!r}]."
        )
    return np.asarray(X)


def _unpacking_code(dataset):
    """Return the code that turns a data set or a loader of PyTorch into X and y."""
    if _is_from("torch.utils.data", ("DataLoader",), dataset):
        return "run `X, y = map(torch.cat, zip(*loader))`"
    if hasattr(dataset, "samples") and hasattr(dataset, "classes"):  # ImageFolder
        return "run `X, y = zip(*[(path, dataset.classes[code]) for path, code in dataset.samples])`"
    if hasattr(dataset, "tensors"):
        return "run `X, y = dataset.tensors`"
    return "run `X, y = zip(*[dataset[row] for row in range(len(dataset))])`"


_STRINGS = (
    "Expected images, got strings. If they hold pixel values, put a PixelParser before this step, as in "
    'Pipeline([("parse", PixelParser()), ("classify", FERClassifier())]). If they are paths, make them pathlib.Path '
    "objects: [Path(path) for path in X]."
)


def _check_dimensions(rows):
    """Raise if ``rows`` has one dimension, where scikit-learn's error would print it."""
    if isinstance(rows, list) and rows and np.ndim(rows[0]) == 0 and not isinstance(rows[0], Number):
        if isinstance(rows[0], str):
            raise ValueError(_STRINGS)
        raise ValueError(
            f"Expected images, got a list of {type(rows[0]).__name__}: pass arrays, PIL images, paths or bytes."
        )
    if getattr(rows, "ndim", 2) == 1 or (isinstance(rows, list) and rows and np.ndim(rows[0]) == 0):
        raise ValueError(
            f"Expected several images, got one row of {len(rows):,} values. Reshape your data: pass X.reshape(1, -1), "
            "or image[None] if X is one image."
        )


_NO_NUMBERS = ("could not convert string", "float() argument", "setting an array element")


def _raise_without_data(error, X):
    """Raise an error of scikit-learn or NumPy without the data in its message."""
    message = str(error)
    if hasattr(X, "columns") and any(reason in message for reason in _NO_NUMBERS):
        raise ValueError(
            f"Expected columns of pixels, got other values in the columns {short_repr(list(X.columns))}: pass the one "
            f"that holds the images, such as X[{X.columns[0]!r}]."
        ) from None
    if _NO_NUMBERS[0] in message:
        raise ValueError(_STRINGS) from None
    if len(message) > 400:
        raise type(error)(message.splitlines()[0][:300]) from None
    raise error


def as_rows(X, image_shape=None, *, resize=False):
    """Flatten images; return ``(X as rows, shape)``, where ``shape`` is None if ``X`` was rows already.

    PIL images and files are brought to ``image_shape``, and with ``resize`` arrays are too.
    """
    X = unpack(X)
    if isinstance(X, list) and X and (is_file(X[0]) or hasattr(X[0], "getbands")):
        return _decode(X, image_shape)
    if isinstance(X, list) and X and (np.ndim(X[0]) >= 2 or hasattr(X[0], "shape")):
        X = [_as_array(image) for image in X]
        odd = next((row for row, image in enumerate(X) if image.shape != X[0].shape), None)
        if odd is None:
            X = np.stack(X)
            X = X[..., None] if resize and X.ndim == 3 else X  # three gray images are not one RGB image
        elif resize and min(image.ndim for image in X) >= 2:
            return np.concatenate([as_rows(image[None], image_shape, resize=True)[0] for image in X]), image_shape
        else:
            raise ValueError(
                f"Expected images of one size: image 0 is of shape {X[0].shape}, image {odd} of {X[odd].shape}. Pass "
                "PIL images, which are resized: [PIL.Image.fromarray(image) for image in X]."
            )
    if getattr(X, "ndim", 2) <= 2:
        return _as_array(X) if hasattr(X, "detach") else X, None
    X = _as_array(X)
    shape, images = _stack_shape(X)
    if image_shape is not None:
        expected = check_shape(image_shape)
        if any(side not in (-1, given) for side, given in zip(expected, shape, strict=True)):
            if resize and 1 not in expected[:2]:  # rows that are no images may have the shape (1, n)
                _refuse_one_image(X, expected)
                return _convert(images, expected), expected
            raise ValueError(
                f"Expected images of image_shape={_text(image_shape)}, got shape {_text(shape)}: pass "
                f"image_shape={_text(shape)}, or resize them with ImageResizer({_text(expected[:2])})."
            )
    return images.reshape(len(X), prod(shape)), shape


def _decode(images, image_shape):
    """Return PIL images and image files as rows, by default of the shape of the first one, and their shape."""
    for row, image in enumerate(images):
        if not (is_file(image) or hasattr(image, "getbands")):
            raise ValueError(
                f"Expected PIL images, paths or bytes, got a {type(image).__name__} at position {row}: leave it out."
            )
    first = images[0]
    shape = image_shape_of(first) if hasattr(first, "getbands") else check_files(find_files([first])).image_shape
    if image_shape is not None:
        shape = tuple(own if side == -1 else side for side, own in zip(check_shape(image_shape), shape, strict=True))
    rows = np.empty((len(images), prod(shape)), np.uint8)
    for row, image in enumerate(images):
        if not hasattr(image, "getbands"):
            rows[row] = ImageFiles(find_files([image]), shape, np.array([row]))[:]
            continue
        try:
            rows[row] = convert_image(image.copy(), shape)
        except Exception as error:  # Pillow raises many kinds of errors for damaged images
            raise ValueError(f"Image {row} can't be converted ({error}): leave it out.") from error
    return rows, shape


def _as_array(X):
    """Return a NumPy array, also for a PyTorch tensor with gradients or on a GPU."""
    return X.detach().cpu().numpy() if hasattr(X, "detach") else np.asarray(X)


def _stack_shape(X):
    """Return (height, width, channels) of a 3-D or 4-D stack, and the stack as (n, height, width, channels)."""
    if X.ndim == 3:
        return (*X.shape[1:], 1), X[..., None]
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
    remedy = "X[..., :3], without the alpha channel" if X.ndim == 4 and X.shape[3] == 4 else "one of these"
    raise ValueError(
        "Expected images as (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width), "
        f"got an array of shape {X.shape}: pass {remedy}."
    )


def _refuse_one_image(X, expected):
    """Raise if a 3-D array, which is to be resized, may be one image with its channels."""
    if X.ndim == 3 and X.shape[2] in (1, 3, 4):
        raise ValueError(f"Expected a stack of images, got one image of shape {X.shape}: pass image[None].")
    if X.ndim == 3 and X.shape[0] == 3:
        raise ValueError(
            f"An array of shape {X.shape} could be one RGB image or three gray ones of another shape than "
            f"{_text(expected)}: pass X[None] for one RGB image, X[:, None] for three gray ones."
        )


def _convert(images, shape):
    """Bring a stack (n, height, width, channels) to gray or RGB and to a size, as rows.

    `ferkit._files.convert_image` does the same with one image; when images shrink, pixels can differ by 1.
    """
    from torch.nn.functional import interpolate

    height, width, channels = shape
    rows = np.empty((len(images), height * width * channels), np.uint8 if images.dtype == np.uint8 else np.float32)
    for chunk in chunks(images):
        some = images[chunk].astype(rows.dtype, copy=False)
        n, *size, _ = some.shape
        if some.shape[3] == 1 or channels == 3:
            some = np.broadcast_to(some, (n, *size, channels))
        elif rows.dtype == np.uint8:  # Pillow takes the stack as one tall image
            some = np.asarray(Image.fromarray(some.reshape(-1, *some.shape[2:])).convert("L"))
        else:
            some = some @ _LUMA
        tensor = to_tensor(np.ascontiguousarray(some).reshape(n, -1), (*size, channels))
        rows[chunk] = to_rows(interpolate(tensor, (height, width), mode="bilinear", antialias=True))
    return rows


# rows, stacks and tensors


def to_tensor(rows, shape):
    """View rows of (height, width, channels) as a tensor (n, channels, height, width) that shares their memory."""
    import torch

    height, width, channels = shape
    tensor = torch.from_numpy(rows if rows.flags.writeable else _writeable(rows))
    return tensor.view(-1, height, width, channels).permute(0, 3, 1, 2)


def to_rows(images):
    """Turn a tensor (n, channels, height, width) into rows, a NumPy array (n, pixels)."""
    return images.permute(0, 2, 3, 1).flatten(1).cpu().numpy()


def to_stack(rows, shape):
    """View rows of (height, width, channels) or (height, width) as a stack of images, a NumPy array (n, *shape)."""
    return rows.reshape(len(rows), *shape)


def to_bytes(images, pixel_range):
    """Turn a batch (tensor) of images on a scale that `pixel_range` returned into uint8, for functions of others."""
    import torch

    if images.dtype == torch.uint8:
        return images
    if pixel_range not in (UNIT, BYTES):
        raise ValueError(
            "Expected pixels from 0 to 255 or from 0 to 1, which functions on uint8 images need, got a range of "
            f"{pixel_range[0]:g} to {pixel_range[1]:g}: pass images that are not standardized, which the network does."
        )
    return (images * (255 / pixel_range[1])).round().clamp(0, 255).to(torch.uint8)


def from_bytes(images, pixel_range, name):
    """Turn images that the function in parameter ``name`` returned into floats on the scale of ``pixel_range``."""
    import torch

    if images.dtype == torch.uint8:
        return images.float() * (pixel_range[1] / 255)
    if not images.is_floating_point() or images.min() < -OVERSHOOT or images.max() > 1 + OVERSHOOT:
        raise ValueError(
            f"Expected {name} to return uint8 images or floats from 0 to 1, got {images.dtype} from {images.min():g} "
            f"to {images.max():g}: leave out Normalize, because the network standardizes images, and divide floats "
            "from 0 to 255 by 255."
        )
    return images.float() * pixel_range[1]


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
    known = abs(prod(shape))
    resolved = tuple(n_pixels // known if side == -1 else side for side in shape)
    if prod(resolved) != n_pixels or 0 in resolved:
        raise ValueError(
            f"Rows of {n_pixels:,} values do not fit image_shape={_text(image_shape)}"
            + ("." if -1 in shape else f", which holds {known:,}.")
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
    if len(pair) != 2 or not all(isinstance(side, Integral) and int(side) > 0 for side in pair):
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


def chunks(images, factor=1):
    """Yield slices of an array of images, or of `ImageFiles`, whose copies in float fit into memory."""
    step = max(1, factor * _CHUNK // prod(images.shape[1:]))
    return (slice(start, start + step) for start in range(0, len(images), step))


def pixel_statistics(rows, channels, weight=None):
    """Return mean and standard deviation of each channel, float64 (channels,); the deviation of a flat channel is 1.

    ``weight`` is the weight of each row. An integer weight w counts like w copies of the row.
    """
    from sklearn.preprocessing import StandardScaler

    scaler, n_pixels = StandardScaler(), rows.shape[1] // channels
    for block in chunks(rows, 16):
        pixels = rows[block]  # decodes files, on all cores if they are many
        for chunk in chunks(pixels):
            row_weight = None if weight is None else weight[block][chunk]
            pixel_weight = None if row_weight is None else np.repeat(row_weight, n_pixels)
            if row_weight is None or row_weight.any():  # the scaler refuses a chunk without weight
                scaler.partial_fit(pixels[chunk].reshape(-1, channels), sample_weight=pixel_weight)
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
    numbers: dict[bytes, int] = {}
    digests = (blake2b(row, digest_size=16).digest() for row in rows)
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], dtype=np.int64)
