"""Steps before the network: text to pixels, sizes and scales. Images stay rows, see :mod:`ferkit._images`."""

from numbers import Integral

import numpy as np
import torch.nn.functional as F
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._images import (
    CHUNK,
    check_images,
    check_shape,
    check_size,
    match_range,
    pixel_range,
    pixel_statistics,
    resolve_shape,
    to_rows,
    to_tensor,
)
from ._pixels import common_count, parse_pixels

__all__ = ["ImageNormalizer", "ImageResizer", "PixelParser"]


class PixelParser(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn strings of pixel values into rows of uint8.

    A value is ASCII digits, 0 to 255, between blanks; every value is checked. No row is ever dropped, as ``y`` would no
    longer match: :func:`ferkit.datasets.load_fer2013` can leave bad rows out of both.

    Parameters
    ----------
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of the images, of which one may be −1. By default images are
        square, and most of the first 100 rows say of what size.

    Attributes
    ----------
    image_shape_ : tuple of int
        (height, width, channels).

    Examples
    --------
    >>> from ferkit import PixelParser
    >>> PixelParser().fit_transform(["0 64 128 255", " 1  2  3  4 "])
    array([[  0,  64, 128, 255],
           [  1,   2,   3,   4]], dtype=uint8)
    """

    _parameter_constraints = {"image_shape": [tuple, list, None]}  # noqa: RUF012

    def __init__(self, *, image_shape=None):
        self.image_shape = image_shape

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn how many values a row holds.

        Parameters
        ----------
        X : Series, list, array of shape (n,) or (n, 1), or frame of one column
            Strings of pixel values.
        y : None
            Ignored.

        Returns
        -------
        self : PixelParser

        Raises
        ------
        ValueError
            If no row of the first 100 makes an image of ``image_shape``.
        """
        rows = _strings(X)
        if self.image_shape is None or -1 in self.image_shape:
            n_pixels = common_count(rows, self.image_shape)
        else:
            n_pixels = int(np.prod(check_shape(self.image_shape)))
        self.image_shape_ = resolve_shape(n_pixels, self.image_shape)
        self._n_features_out = n_pixels
        return self

    def transform(self, X):
        """Parse.

        Parameters
        ----------
        X : Series, list, array of shape (n,) or (n, 1), or frame of one column
            Strings of pixel values.

        Returns
        -------
        ndarray of shape (n, pixels), uint8

        Raises
        ------
        ValueError
            Naming the first row that does not hold the expected number of values from 0 to 255, by its position.
        """
        check_is_fitted(self)
        return parse_pixels(_strings(X), self._n_features_out)[0]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def _strings(X):
    """List of the strings in any of the forms that a column of strings comes in."""
    if isinstance(X, str):
        raise ValueError("Expected a list or column of pixel strings, got a single string: put it into a list.")
    if not hasattr(X, "__len__"):
        raise ValueError(f"Expected a list or column of pixel strings, got a {type(X).__name__}: put it into a list.")
    if hasattr(X, "columns") or isinstance(X, np.ndarray):
        X = np.asarray(X, dtype=object)
        if X.ndim not in (1, 2) or (X.ndim == 2 and X.shape[1] != 1):
            raise ValueError(
                f"Expected one column of pixel strings, got an array of shape {X.shape}: pass the column alone. "
                "Images that are numbers already need no PixelParser."
            )
        X = X.ravel()
    return list(X)


class _ImageTransformer(TransformerMixin, BaseEstimator):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # uint8 and float32 are all that comes out
        return tags


class ImageResizer(ClassNamePrefixFeaturesOutMixin, _ImageTransformer):
    """Change the size of images.

    For data that should really change size; ``FERClassifier(input_size=…)`` enlarges on the device instead, without
    the memory.

    Parameters
    ----------
    size : int or tuple of (height, width), default=48
        Size to return; an int for a square.
    interpolation : {"bilinear", "bicubic", "nearest"}, default="bilinear"
        How pixels in between are found.
    antialias : bool, default=True
        Average when images shrink. Nearest-neighbour interpolation never does.
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of a row, of which one may be −1. By default rows are square,
        gray for k² values and RGB for 3k².

    Attributes
    ----------
    image_shape_ : tuple of int
        (height, width, channels) of the images that come.
    n_features_in_ : int
        Values in a row.

    Examples
    --------
    >>> from ferkit import ImageResizer
    >>> from ferkit.datasets import make_faces
    >>> ImageResizer(24).fit_transform(make_faces(10, random_state=0).data).shape
    (10, 576)
    """

    _parameter_constraints = {  # noqa: RUF012
        "size": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "interpolation": [StrOptions({"bilinear", "bicubic", "nearest"})],
        "antialias": ["boolean"],
        "image_shape": [tuple, list, None],
    }

    def __init__(self, size=48, *, interpolation="bilinear", antialias=True, image_shape=None):
        self.size = size
        self.interpolation = interpolation
        self.antialias = antialias
        self.image_shape = image_shape

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the shape of the images.

        Parameters
        ----------
        X : array-like of shape (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width)
            Images.
        y : None
            Ignored.

        Returns
        -------
        self : ImageResizer

        Raises
        ------
        ValueError
            If these are no images, or a parameter is out of its range.
        """
        _, shape = check_images(self, X, reset=True)
        self._size = check_size(self.size, "size")
        self._n_features_out = self._size[0] * self._size[1] * shape[2]
        return self

    def transform(self, X):
        """Resize.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in `fit`.

        Returns
        -------
        ndarray of shape (n, new_height * new_width * channels)
            uint8 where ``X`` was, else float32.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If these are no images, or not of the shape seen in `fit`.
        """
        check_is_fitted(self)
        X, shape = check_images(self, X, reset=False)
        out = np.empty((len(X), self._n_features_out), dtype=X.dtype)
        antialias = self.antialias and self.interpolation != "nearest"
        mode = "nearest-exact" if self.interpolation == "nearest" else self.interpolation
        for start in range(0, len(X), CHUNK):
            images = to_tensor(X[start : start + CHUNK], shape).float()
            images = F.interpolate(images, self._size, mode=mode, antialias=antialias)
            if X.dtype == np.uint8:
                images = images.round_().clamp_(0, 255)  # bicubic overshoots
            out[start : start + CHUNK] = to_rows(images)
        return out


class ImageNormalizer(OneToOneFeatureMixin, _ImageTransformer):
    """Bring pixels to a common scale, as float32.

    A classifier of ferkit standardises by itself; this is for other estimators, samplers such as SMOTE, and for taking
    the light out of each image.

    Parameters
    ----------
    method : {"dataset", "image", "minmax", "equalize"}, default="dataset"
        - "dataset": subtract the mean of the training pixels of each channel and divide by their standard deviation;
        - "image": the same with each image's own mean and deviation;
        - "minmax": 0 to 1, from 0–255 for uint8 and from the training pixels' range otherwise;
        - "equalize": 0 to 1, each image's histogram made flat.
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of a row, of which one may be −1. By default rows are square,
        gray for k² values and RGB for 3k².

    Attributes
    ----------
    offset_, scale_ : ndarray of shape (channels,)
        ``(X - offset_) / scale_`` is what "dataset" and "minmax" return.
    pixel_range_ : tuple of float
        Range of the training pixels: (0, 255), (0, 1), or their lowest and highest value. "dataset" and "minmax"
        convert images between the first two, and warn about another range that cannot match.
    image_shape_ : tuple of int
        (height, width, channels).
    n_features_in_ : int
        Values in a row.

    Examples
    --------
    >>> from ferkit import ImageNormalizer
    >>> from ferkit.datasets import make_faces
    >>> X = ImageNormalizer().fit_transform(make_faces(10, random_state=0).data)
    >>> X.dtype, abs(float(X.mean())) < 1e-5, round(float(X.std()), 3)
    (dtype('float32'), True, 1.0)
    """

    _parameter_constraints = {  # noqa: RUF012
        "method": [StrOptions({"dataset", "image", "minmax", "equalize"})],
        "image_shape": [tuple, list, None],
    }

    def __init__(self, *, method="dataset", image_shape=None):
        self.method = method
        self.image_shape = image_shape

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the scale of the pixels.

        Parameters
        ----------
        X : array-like of shape (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width)
            Images.
        y : None
            Ignored.

        Returns
        -------
        self : ImageNormalizer

        Raises
        ------
        ValueError
            If these are no images, or a parameter is out of its range.
        """
        X, (_, _, channels) = check_images(self, X, reset=True)
        self.pixel_range_ = pixel_range(X)
        if self.method == "dataset":
            self.offset_, self.scale_ = pixel_statistics(X, channels)
        elif self.method == "minmax":
            low, high = (0, 255) if X.dtype == np.uint8 else (float(X.min()), float(X.max()))
            self.offset_, self.scale_ = np.full(channels, low, float), np.full(channels, (high - low) or 1.0)
        return self

    def transform(self, X):
        """Normalise.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in `fit`.

        Returns
        -------
        ndarray of shape (n, pixels), float32

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If these are no images, or not of the shape seen in `fit`.
        """
        check_is_fitted(self)
        X, (_, _, channels) = check_images(self, X, reset=False)
        if self.method in ("dataset", "minmax"):
            X = match_range(X, self.pixel_range_)
            pixels = X.reshape(len(X), -1, channels) - self.offset_.astype(np.float32)
            pixels /= self.scale_.astype(np.float32)
            return pixels.reshape(len(X), -1)
        out = np.empty(X.shape, dtype=np.float32)
        change = _standardize if self.method == "image" else _equalize
        for start in range(0, len(X), CHUNK):
            out[start : start + CHUNK] = change(X[start : start + CHUNK])
        return out

    @available_if(lambda self: self.method in ("dataset", "minmax"))
    def inverse_transform(self, X):
        """Undo "dataset" or "minmax"; the other methods forget what each image was, and have no inverse.

        Parameters
        ----------
        X : array-like of shape (n, pixels)
            What `transform` returned.

        Returns
        -------
        ndarray of shape (n, pixels), float32

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the rows are not as long as those seen in `fit`.
        """
        check_is_fitted(self)
        X, (_, _, channels) = check_images(self, X, reset=False)
        pixels = X.reshape(len(X), -1, channels) * self.scale_.astype(np.float32) + self.offset_.astype(np.float32)
        return pixels.reshape(len(X), -1)


def _standardize(rows):
    mean, std = rows.mean(axis=1, keepdims=True), rows.std(axis=1, keepdims=True)
    return (rows - mean) / np.where(std > 0, std, 1)


def _equalize(rows):
    """The share of an image's pixels that are not brighter than each pixel, at 256 levels of brightness."""
    if rows.dtype != np.uint8:
        low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
        rows = np.rint((rows - low) * (255 / np.where(high > low, high - low, 1))).astype(np.uint8)
    levels = rows + 256 * np.arange(len(rows))[:, None]
    share = np.bincount(levels.ravel(), minlength=256 * len(rows)).reshape(-1, 256).cumsum(axis=1) / rows.shape[1]
    return share.ravel()[levels]
