"""The transformers `PixelParser`, `ImageResizer`, `ImageNormalizer` and `NetworkFeatures`.

The first three return images as rows, see :mod:`ferkit._images`.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from math import prod
from numbers import Integral
from os import PathLike
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    _clone_parametrized,
    _fit_context,
)
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ._documentation import DocumentedMixin
from ._images import (
    Images,
    check_images,
    check_shape,
    check_size,
    chunks,
    match_range,
    pixel_range,
    pixel_statistics,
    resolve_shape,
    to_rows,
    to_tensor,
)
from ._pixels import common_count, parse_pixels
from .classifier import FERClassifier
from .models import list_models, load_model
from .regressor import FERRegressor
from .training import (
    Batches,
    ClassifierNet,
    FERNet,
    ImageSet,
    build_net,
    describe_module,
    remove_head,
    resolve_device,
    resolve_precision,
    resolve_settings,
    seeded,
)

__all__ = ["ImageNormalizer", "ImageResizer", "NetworkFeatures", "PixelParser"]


class PixelParser(DocumentedMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Convert strings of pixel values to rows of uint8.

    Values are whole numbers from 0 to 255 in ASCII digits, separated by blanks. Every value is checked, and a bad row
    raises an error. Rows are never dropped, because ``y`` would no longer match. Use
    ``ferkit.datasets.load_fer2013(…, errors="drop")`` to drop bad rows together with their labels.

    Parameters
    ----------
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of the images. One value may be −1. By default, images are square,
        and their size is the most common one in the first 100 rows.

    Attributes
    ----------
    image_shape_ : tuple of int
        (height, width, channels) of the images.

    Examples
    --------
    >>> from ferkit import PixelParser
    >>> PixelParser().fit_transform(["0 64 128 255", " 1  2  3  4 "])
    array([[  0,  64, 128, 255],
           [  1,   2,   3,   4]], dtype=uint8)
    """

    _parameter_constraints = {"image_shape": [tuple, list, None]}  # noqa: RUF012

    def __init__(self, *, image_shape: Sequence[int] | None = None) -> None:
        self.image_shape = image_shape

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn the number of values per row.

        Parameters
        ----------
        X : Series, list, array of shape (n,) or (n, 1), or frame of one column
            Strings of pixel values.
        y : None
            Ignored.

        Returns
        -------
        self : PixelParser
            The fitted transformer.

        Raises
        ------
        ValueError
            If none of the first 100 rows holds an image of ``image_shape``.
        """
        rows = _strings(X)
        if self.image_shape is None or -1 in self.image_shape:
            n_pixels = common_count(rows, self.image_shape)
        else:
            n_pixels = prod(check_shape(self.image_shape))
        self.image_shape_ = resolve_shape(n_pixels, self.image_shape)
        self._n_features_out = n_pixels
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Convert strings to pixels.

        Parameters
        ----------
        X : Series, list, array of shape (n,) or (n, 1), or frame of one column
            Strings of pixel values.

        Returns
        -------
        ndarray of shape (n, pixels) and dtype uint8
            The images.

        Raises
        ------
        ValueError
            If a row does not hold the expected number of values from 0 to 255. The error gives the 0-based position of
            the first such row.
        """
        check_is_fitted(self)
        return parse_pixels(_strings(X), self._n_features_out, image_shape=self.image_shape_)[0]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def _strings(X):
    """Return a column of strings, in any of its forms, as something whose slices are lists."""
    if isinstance(X, str):
        raise ValueError("Expected a list or column of pixel strings, got a single string: put it in a list.")
    if not hasattr(X, "__len__"):
        raise ValueError(f"Expected a list or column of pixel strings, got a {type(X).__name__}: put it in a list.")
    names = list(getattr(X, "column_names", getattr(X, "columns", [])))  # the former is PyArrow's
    if len(names) == 1:
        X = X[names[0]]
    if not hasattr(X, "__array__"):
        return list(X)
    shape = tuple(X.shape) if hasattr(X, "shape") else (len(X),)
    if shape[1:] not in ((), (1,)) or not shape:
        raise ValueError(
            f"Expected one column of pixel strings, got an array of shape {shape}: pass only the column with the "
            "strings. Images that are already numbers do not need PixelParser."
        )
    return _Column(X)


class _Column:
    """A column that converts only slices to Python strings. All strings would take four times the memory of the pixels.

    NumPy's arrays of strings and Arrow, which pandas and polars use, keep strings outside of Python.
    """

    def __init__(self, column):
        self._column = getattr(column, "iloc", column)  # slices of a Series are by label
        self._length = len(column)

    def __len__(self):
        return self._length

    def __getitem__(self, rows):
        return np.asarray(self._column[rows], dtype=object).ravel().tolist()


class _ImageTransformer(DocumentedMixin, TransformerMixin, BaseEstimator):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # the output is always uint8 or float32
        return tags


class ImageResizer(ClassNamePrefixFeaturesOutMixin, _ImageTransformer):
    """Resize images.

    Use it to change the size of the data. If only the network needs another size, use
    ``FERClassifier(input_size=…)``: it resizes each batch on the device, so no resized data set is kept in memory.

    Parameters
    ----------
    size : int or tuple of (height, width), default=48
        Size of the returned images. An int means a square.
    interpolation : {"bilinear", "bicubic", "nearest"}, default="bilinear"
        Interpolation between pixels.
    antialias : bool, default=True
        Whether to average pixels when images shrink. Ignored with ``interpolation="nearest"``.
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of each row. One value may be −1. By default, images are square: a
        row of k² values is gray, a row of 3k² values is RGB.

    Attributes
    ----------
    image_shape_ : tuple of int
        (height, width, channels) of the images seen in `fit`.
    n_features_in_ : int
        Number of values in a row.

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

    def __init__(
        self,
        size: int | Sequence[int] = 48,
        *,
        interpolation: str = "bilinear",
        antialias: bool = True,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        self.size = size
        self.interpolation = interpolation
        self.antialias = antialias
        self.image_shape = image_shape

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Images, y: ArrayLike | None = None) -> Self:
        """Learn the shape of the images.

        Parameters
        ----------
        X : array-like of shape (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width)
            Images. Or a list or column of n images: arrays of one shape, PIL images, or image files as paths, bytes
            or streams.
        y : None
            Ignored.

        Returns
        -------
        self : ImageResizer
            The fitted transformer.

        Raises
        ------
        ValueError
            If `X` does not hold images, or a parameter is out of range.
        """
        _, shape = check_images(self, X, reset=True)
        self._size = check_size(self.size, "size")
        self._n_features_out = self._size[0] * self._size[1] * shape[2]
        return self

    def transform(self, X: Images) -> np.ndarray:
        """Resize images.

        Parameters
        ----------
        X : array-like
            Images in any form that `fit` accepts. Stacks, PIL images and image files of another shape are brought to
            ``image_shape_``; rows must have ``n_features_in_`` values.

        Returns
        -------
        ndarray of shape (n, new_height * new_width * channels)
            The resized images: uint8 if `X` is uint8, otherwise float32.
        """
        check_is_fitted(self)
        rows, shape = check_images(self, X, reset=False)
        out = np.empty((len(rows), self._n_features_out), dtype=rows.dtype)
        antialias = self.antialias and self.interpolation != "nearest"
        mode = "nearest-exact" if self.interpolation == "nearest" else self.interpolation
        for chunk in chunks(rows):
            images = to_tensor(rows[chunk], shape).float()
            images = F.interpolate(images, self._size, mode=mode, antialias=antialias)
            if rows.dtype == np.uint8:
                images = images.round_().clamp_(0, 255)  # bicubic interpolation overshoots
            out[chunk] = to_rows(images)
        return out


class ImageNormalizer(OneToOneFeatureMixin, _ImageTransformer):
    """Bring pixels to a common scale, as float32.

    :class:`ferkit.FERClassifier` standardizes its input by itself. Use this transformer for other estimators, for
    samplers such as SMOTE, or to remove differences in lighting between images.

    If the training images have pixels from 0 to 255 and later images have pixels from 0 to 1, or the reverse,
    "dataset" and "minmax" convert the later images. "image" and "equalize" use the range of each image instead.

    Parameters
    ----------
    method : {"dataset", "image", "minmax", "equalize"}, default="dataset"
        - "dataset": subtract the mean of the training pixels and divide by their standard deviation, per channel;
        - "image": subtract the mean of the image and divide by its standard deviation;
        - "minmax": scale to 0–1, from 0–255 if the training images are uint8, otherwise from their range;
        - "equalize": scale to 0–1 and equalize the histogram of each image.
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of each row. One value may be −1. By default, images are square: a
        row of k² values is gray, a row of 3k² values is RGB.

    Attributes
    ----------
    offset_, scale_ : ndarray of shape (channels,)
        "dataset" and "minmax" compute ``(X - offset_) / scale_``. The other methods do not set these attributes.
    pixel_range_ : tuple of float
        Range of the training pixels: (0, 255), (0, 1), or their lowest and highest value. "dataset" and "minmax"
        convert 0–255 and 0–1 into one another, and warn about images whose range cannot match.
    image_shape_ : tuple of int
        (height, width, channels) of the images seen in `fit`.
    n_features_in_ : int
        Number of values in a row.

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

    def __init__(self, *, method: str = "dataset", image_shape: Sequence[int] | None = None) -> None:
        self.method = method
        self.image_shape = image_shape

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Images, y: ArrayLike | None = None) -> Self:
        """Learn the scale of the pixels.

        Parameters
        ----------
        X : array-like of shape (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width)
            Images. Or a list or column of n images: arrays of one shape, PIL images, or image files as paths, bytes
            or streams.
        y : None
            Ignored.

        Returns
        -------
        self : ImageNormalizer
            The fitted transformer.

        Raises
        ------
        ValueError
            If `X` does not hold images, or a parameter is out of range.
        """
        rows, (_, _, channels) = check_images(self, X, reset=True)
        self.pixel_range_ = pixel_range(rows)
        if self.method == "dataset":
            self.offset_, self.scale_ = pixel_statistics(rows, channels)
        elif self.method == "minmax":
            low, high = (0, 255) if rows.dtype == np.uint8 else (float(rows.min()), float(rows.max()))
            self.offset_, self.scale_ = np.full(channels, low, float), np.full(channels, (high - low) or 1.0)
        return self

    def transform(self, X: Images) -> np.ndarray:
        """Normalize images.

        Parameters
        ----------
        X : array-like
            Images in any form that `fit` accepts. Stacks, PIL images and image files of another shape are brought to
            ``image_shape_``; rows must have ``n_features_in_`` values.

        Returns
        -------
        ndarray of shape (n, pixels) and dtype float32
            The normalized images.
        """
        check_is_fitted(self)
        rows, (_, _, channels) = check_images(self, X, reset=False)
        if self.method in ("dataset", "minmax"):
            rows = match_range(rows, self.pixel_range_)
            pixels = rows.reshape(len(rows), -1, channels) - self.offset_.astype(np.float32)
            pixels /= self.scale_.astype(np.float32)
            return pixels.reshape(len(rows), -1)
        out = np.empty(rows.shape, dtype=np.float32)
        change = _standardize if self.method == "image" else _equalize
        for chunk in chunks(rows):
            out[chunk] = change(rows[chunk])
        return out

    @available_if(lambda self: self.method in ("dataset", "minmax"))
    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Undo "dataset" or "minmax". The other methods have no inverse, because they discard the scale of each image.

        Parameters
        ----------
        X : array-like of shape (n, pixels)
            Output of `transform`.

        Returns
        -------
        ndarray of shape (n, pixels) and dtype float32
            The images, in the range of the training images.
        """
        check_is_fitted(self)
        rows, (_, _, channels) = check_images(self, X, reset=False)
        scale, offset = self.scale_.astype(np.float32), self.offset_.astype(np.float32)
        pixels = rows.reshape(len(rows), -1, channels) * scale + offset
        return pixels.reshape(len(rows), -1)


def _standardize(rows):
    mean, std = rows.mean(axis=1, keepdims=True), rows.std(axis=1, keepdims=True)
    is_flat = np.ptp(rows, axis=1, keepdims=True) == 0  # rounding keeps the deviation of equal floats above 0
    return (rows - mean) / np.where(is_flat | (std == 0), 1, std)


def _equalize(rows):
    """Return, for each pixel, the share of pixels in its image that are not brighter, at 256 levels of brightness."""
    if rows.dtype != np.uint8:
        low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
        rows = np.rint((rows - low) * (255 / np.where(high > low, high - low, 1))).astype(np.uint8)
    levels = rows + 256 * np.arange(len(rows))[:, None]
    share = np.bincount(levels.ravel(), minlength=256 * len(rows)).reshape(-1, 256).cumsum(axis=1) / rows.shape[1]
    return share.ravel()[levels]


class NetworkFeatures(ClassNamePrefixFeaturesOutMixin, _ImageTransformer):
    """Compute features of images with a trained network, for classifiers and clustering of scikit-learn.

    The features are the values that reach the head of the network. The head is the last layer, together with the hidden
    layers that a fitted model has in its ``head``.

    Parameters
    ----------
    backbone : str, nn.Module class, callable, FERClassifier or FERRegressor, default="cnn"
        A backbone as for :class:`ferkit.FERClassifier`, together with ``weights``. Or a fitted FERClassifier or
        FERRegressor, whose network and input preparation are used. ``fit`` copies them, so training the model further
        does not change the features, and :func:`sklearn.base.clone` keeps it fitted. Or the name of a model that ships
        with ferkit, such as "fer2013-small".
    weights : str or path, default=None
        The weights, required unless ``backbone`` is a trained model: "imagenet" for the best that torchvision or timm
        publish for the backbone, the name of others such as "IMAGENET1K_V1", or the path of a state dict, .pth or
        .safetensors. Published weights are taken from torchvision's cache or downloaded, and images are standardized as
        they expect. With a file, images are standardized by the mean and standard deviation of the pixels seen in
        `fit`.
    backbone_params : dict, default=None
        More arguments for the backbone, as for :class:`ferkit.FERClassifier`.
    input_size : int or tuple of (height, width), default=None
        Size at which the network sees the images. None keeps their own size.
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of each row. One value may be −1. By default, images are square: a
        row of k² values is gray, a row of 3k² values is RGB.
    batch_size : int, default=64
        Maximum number of images per batch. Image files are decoded one batch at a time.
    device : str, default="auto"
        A PyTorch device. "auto" is the accelerator of the machine (CUDA, Apple's MPS, …), otherwise the CPU.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Type of convolutions and matrix products. "auto" is bfloat16 if the hardware multiplies in it, float16 on other
        NVIDIA GPUs with tensor cores, and otherwise float32.

    Attributes
    ----------
    network_ : torch.nn.Module
        The PyTorch module without its head. It takes a tensor of pixels of shape (n, channels, height, width).
    pixel_range_ : tuple of float
        Range of the training pixels: (0, 255), (0, 1), or their lowest and highest value. Later images are converted
        between the first two; another range that cannot match gives a warning.
    image_shape_ : tuple of int
        (height, width, channels) of the images seen in `fit`, or of the fitted model.
    n_features_in_ : int
        Number of values in a row.

    See Also
    --------
    FERClassifier : Trains a network, also from ``weights``.

    Examples
    --------
    >>> from ferkit import NetworkFeatures, load_model
    >>> from ferkit.datasets import make_faces
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import SVC
    >>> faces = make_faces(300, random_state=0)
    >>> expert = load_model("fer2013-small")
    >>> NetworkFeatures(expert).fit_transform(faces.data[:10]).shape
    (10, 256)
    >>> is_surprised = faces.target_names[faces.target] == "surprise"
    >>> model = make_pipeline(NetworkFeatures(expert), SVC()).fit(faces.data[:200], is_surprised[:200])
    >>> model.score(faces.data[200:], is_surprised[200:]) > 0.9
    True
    """

    _parameter_constraints = {  # noqa: RUF012
        **{
            name: FERClassifier._parameter_constraints[name]
            for name in ("backbone_params", "input_size", "weights", "image_shape", "device", "precision")
        },
        "backbone": [str, callable, FERClassifier, FERRegressor],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        backbone: str | Callable[..., torch.nn.Module] | FERClassifier | FERRegressor = "cnn",
        *,
        weights: str | PathLike | None = None,
        backbone_params: dict | None = None,
        input_size: int | Sequence[int] | None = None,
        image_shape: Sequence[int] | None = None,
        batch_size: int = 64,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.backbone_params = backbone_params
        self.input_size = input_size
        self.image_shape = image_shape
        self.batch_size = batch_size
        self.device = device
        self.precision = precision

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Images, y: ArrayLike | None = None) -> Self:
        """Load the network, and learn the shape and range of the images. Nothing is trained.

        Parameters
        ----------
        X : array-like of shape (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width)
            Images, or a list or column of n PIL images, paths, or contents of image files.
        y : None
            Ignored.

        Returns
        -------
        self : NetworkFeatures
            The fitted transformer.

        Raises
        ------
        ValueError
            If there are neither `weights` nor a fitted model, or `X` does not hold images that the network takes.
        """
        if isinstance(self.backbone, FERClassifier | FERRegressor):
            net, rows = self._take_net(self.backbone, X)
        elif isinstance(self.backbone, str) and self.backbone in list_models():
            net, rows = self._take_net(load_model(self.backbone), X)
        else:
            net, rows = self._build_net(X)
        images = to_tensor(rows[:2], self.image_shape_).to(net.device)
        self.network_, self._n_features_out = remove_head(net, images)
        self._described = describe_module(net)
        return self

    def _take_net(self, model: FERClassifier | FERRegressor, X: Images) -> tuple[FERNet, Any]:
        """Return the net of a fitted model, and the rows, which must be like those that it was trained on."""
        check_is_fitted(
            model,
            msg="Expected a fitted %(name)s, got one that is not fitted: fit it first. A search over `backbone` clones "
            "its values, which makes them unfitted: search over whole NetworkFeatures.",
        )
        names = ("weights", "backbone_params", "input_size", "image_shape")
        if given := [name for name in names if getattr(self, name) is not None]:
            raise ValueError(
                f"Expected a name of a backbone with {', '.join(given)}, got a fitted {type(model).__name__}, which "
                "determines these: leave them out."
            )
        for name in ("image_shape_", "pixel_range_", "n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        return model.net_, check_images(self, X, reset=False, lazy=True)[0]

    def _build_net(self, X: Images) -> tuple[FERNet, Any]:
        """Return a net with the weights, and the rows."""
        if self.weights is None:
            raise ValueError(
                "Expected weights of a trained network, got weights=None: pass NetworkFeatures(classifier) with a "
                'fitted FERClassifier, the path of a .pth or .safetensors file, or weights="imagenet".'
            )
        rows, shape = check_images(self, X, reset=True, lazy=True)
        self.pixel_range_ = pixel_range(rows)
        classifier = FERClassifier(augment=None, **self.get_params(deep=False))
        params = classifier.get_params(deep=False)
        settings = resolve_settings({**params, "pixel_range": self.pixel_range_, "net": ClassifierNet})
        with seeded(0, resolve_device(self.device)):  # building a network draws weights, though these are replaced
            return build_net(settings, rows, shape, n_outputs=2), rows

    def transform(self, X: Images) -> np.ndarray:
        """Compute the features.

        Parameters
        ----------
        X : array-like
            Images in any form that `fit` accepts. Stacks, PIL images and image files of another shape are resized to
            ``image_shape_``. Rows must have ``n_features_in_`` values.

        Returns
        -------
        ndarray of shape (n, n_features) and dtype float32
            The values that reach the head of the network.
        """
        check_is_fitted(self)
        rows, shape = check_images(self, X, reset=False, lazy=True)
        rows, device = match_range(rows, self.pixel_range_), resolve_device(self.device)
        dtype, network = resolve_precision(self.precision, device), self.network_.to(device)
        images = ImageSet.from_rows(rows, shape, device=device, resident=False)
        out = np.empty((len(rows), self._n_features_out), dtype=np.float32)
        autocast = torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32)
        with torch.inference_mode(), autocast:
            for part, (batch, _) in zip(
                gen_batches(len(rows), self.batch_size), Batches(images, self.batch_size), strict=True
            ):
                out[part] = network(batch).flatten(1).float().numpy(force=True)
        return out

    def __sklearn_clone__(self) -> Self:
        copy = _clone_parametrized(self)
        copy.backbone = self.backbone  # scikit-learn clones a fitted model to one that is not fitted
        return copy

    def __getstate__(self) -> dict:
        state = super().__getstate__()
        if "network_" in state:  # so that a file written on a GPU can be read without one
            state = {**state, "network_": deepcopy(state["network_"]).cpu()}
        return state
