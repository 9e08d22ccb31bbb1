"""`ImageAugmenter`: random changes that keep the expression, and adapters for the transforms of other libraries."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from imblearn.base import BaseSampler
from imblearn.utils import check_target_type
from numpy.typing import ArrayLike
from pandas.api.types import is_integer_dtype
from sklearn.base import clone
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval

from ._documentation import DocumentedMixin
from ._images import check_images, chunks, from_bytes, to_bytes, to_rows, to_tensor
from ._validation import check_known

__all__ = ["ImageAugmenter"]

Augmentation = Callable[[torch.Tensor], torch.Tensor]


class ImageAugmenter(DocumentedMixin, BaseSampler):
    """Change images at random.

    The same object works in two places. As a step of :class:`ferkit.Pipeline`, it is a sampler: it only acts in
    ``fit``, where it adds ``n_copies`` changed copies of each image to the training set. As
    ``FERClassifier(augment=ImageAugmenter(...))``, it changes every batch anew, on the device of the batch.

    Every amount is relative to the image, so pixels may be 0–255, 0–1 or standardized. Areas that enter the frame are
    filled with the reflection of the image.

    Parameters
    ----------
    horizontal_flip : float, default=0.5
        Probability of a left-right flip.
    rotation : float, default=10
        Largest rotation in either direction, in degrees.
    translation : float, default=0.1
        Largest shift along each axis, as a fraction of the height or width.
    scale : float, default=0.1
        Largest change of size. The factor is drawn from ``[1 - scale, 1 + scale]``.
    shear : float, default=0
        Largest horizontal shear in either direction, in degrees.
    brightness : float, default=0
        Largest shift of all pixels, in standard deviations of the image.
    contrast : float, default=0.2
        Largest change of contrast around the mean of the image. The factor is drawn from
        ``[1 - contrast, 1 + contrast]``.
    erasing : float, default=0
        Probability of random erasing [1]_: a rectangle with 2 % to 25 % of the area is filled with the mean of the
        image.
    crop : float or int, default=0
        Random crop. A float is the largest fraction of the height and width that is cut away; the rest is resized to
        the size of the image. An int is a number of pixels: images are padded by it on all sides and cropped to their
        size, which shifts them by whole pixels.
    blur : float, default=0
        Largest standard deviation of a Gaussian blur, in pixels. It must not exceed the shorter side of the images.
    noise : float, default=0
        Largest standard deviation of Gaussian noise, in standard deviations of the image.
    probability : float, default=1
        Probability that an image is changed at all.
    n_copies : int, default=1
        Number of copies of each image that `fit_resample` appends. ``FERClassifier(augment=…)`` ignores it.
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of each row. One value may be −1. By default, images are square: a
        row of k² values is gray, a row of 3k² values is RGB.
    random_state : int, RandomState instance or None, default=None
        Seed of the copies that `fit_resample` draws. ``FERClassifier(augment=…)`` uses its own ``random_state``.

    Attributes
    ----------
    image_shape_ : tuple of int
        (height, width, channels) of the images seen in `fit_resample`.
    n_features_in_ : int
        Number of values in a row.

    References
    ----------
    .. [1] Z. Zhong, L. Zheng, G. Kang, S. Li, Y. Yang, "Random Erasing Data Augmentation", AAAI 2020.

    Examples
    --------
    >>> from ferkit import ImageAugmenter
    >>> from ferkit.datasets import make_faces
    >>> faces = make_faces(100, random_state=0)
    >>> y = faces.target_names[faces.target]
    >>> X_more, y_more = ImageAugmenter(n_copies=2, random_state=0).fit_resample(faces.data, y)
    >>> X_more.shape, X_more.dtype, y_more.shape
    ((300, 2304), dtype('uint8'), (300,))
    """

    _sampling_type = "bypass"
    sampling_strategy = "auto"  # imbalanced-learn's checks read it; it has no effect here

    _parameter_constraints = {  # noqa: RUF012
        "horizontal_flip": [Interval(Real, 0, 1, closed="both")],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "translation": [Interval(Real, 0, 1, closed="both")],
        "scale": [Interval(Real, 0, 1, closed="left")],
        "shear": [Interval(Real, 0, 90, closed="left")],
        "brightness": [Interval(Real, 0, None, closed="left")],
        "contrast": [Interval(Real, 0, 1, closed="both")],
        "erasing": [Interval(Real, 0, 1, closed="both")],
        "crop": [Interval(Integral, 0, None, closed="left"), Interval(Real, 0, 1, closed="left")],
        "blur": [Interval(Real, 0, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "probability": [Interval(Real, 0, 1, closed="both")],
        "n_copies": [Interval(Integral, 0, None, closed="left")],
        "image_shape": [tuple, list, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        horizontal_flip: float = 0.5,
        rotation: float = 10,
        translation: float = 0.1,
        scale: float = 0.1,
        shear: float = 0,
        brightness: float = 0,
        contrast: float = 0.2,
        erasing: float = 0,
        crop: float = 0,
        blur: float = 0,
        noise: float = 0,
        probability: float = 1,
        n_copies: int = 1,
        image_shape: Sequence[int] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.horizontal_flip = horizontal_flip
        self.rotation = rotation
        self.translation = translation
        self.scale = scale
        self.shear = shear
        self.brightness = brightness
        self.contrast = contrast
        self.erasing = erasing
        self.crop = crop
        self.blur = blur
        self.noise = noise
        self.probability = probability
        self.n_copies = n_copies
        self.image_shape = image_shape
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags

    def fit_resample(self, X: ArrayLike, y: ArrayLike, **params: Any) -> tuple[Any, Any]:
        """Append changed copies of the images.

        Parameters
        ----------
        X : array-like of shape (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width)
            Images.
        y : array-like of shape (n,)
            Labels.
        **params : dict
            Further arguments from imbalanced-learn's pipeline. Not supported.

        Returns
        -------
        X_resampled : ndarray or frame of shape ((1 + n_copies) * n, pixels)
            The images, followed by the copies: uint8 if the images are uint8, otherwise float32 or float64.
        y_resampled : array-like of shape ((1 + n_copies) * n,)
            The labels of all rows.

        Raises
        ------
        ValueError
            If `X` does not hold images, or `y` does not hold one label per image.
        """
        check_known(y)
        return super().fit_resample(X, y, **params)

    def _check_X_y(self, X, y):
        if hasattr(X, "sparse"):  # a sparse frame; imbalanced-learn converts the result back
            X = X.sparse.to_dense()
        is_integer_frame = hasattr(X, "columns") and all(map(is_integer_dtype, X.dtypes))
        X, _ = check_images(self, X, reset=True)
        self._rounds = X.dtype == np.uint8 or is_integer_frame  # imbalanced-learn's cast to integers would truncate
        y, binarize_y = check_target_type(y, indicate_one_vs_all=True)
        y = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"))
        check_consistent_length(X, y)
        return X, y, binarize_y

    def _fit_resample(self, X, y):
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        generator = torch.Generator().manual_seed(seed)
        n, low, high = len(X), float(X.min()), float(X.max())
        out = np.empty(((1 + self.n_copies) * n, X.shape[1]), dtype=X.dtype)
        out[:n] = X
        for copy in range(1, 1 + self.n_copies):
            for chunk in chunks(X):
                images = to_tensor(X[chunk], self.image_shape_).float()
                drawn = to_rows(self(images, generator=generator).clamp_(low, high))
                out[copy * n : (copy + 1) * n][chunk] = np.rint(drawn) if self._rounds else drawn
        return out, np.tile(y, 1 + self.n_copies)

    def __call__(
        self, images: torch.Tensor, *, generator: torch.Generator | None = None, same: bool = False
    ) -> torch.Tensor:
        """Change a batch of images.

        Parameters
        ----------
        images : tensor of shape (n, channels, height, width)
            Images of a floating-point dtype, on any device. The tensor is not modified.
        generator : torch.Generator, default=None
            Source of randomness, on the device of the images. By default, PyTorch's global generator.
        same : bool, default=False
            Draw once, and change all images in the same way.

        Returns
        -------
        tensor of shape (n, channels, height, width)
            The changed images.
        """
        n_draws = 1 if same else len(images)

        def uniform(low=-1.0, high=1.0):
            draws = torch.empty(n_draws, device=images.device).uniform_(low, high, generator=generator)
            return draws.expand(len(images))

        original, images = images, self._move(images, uniform)
        if self.contrast or self.brightness:
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            gain = (1 + self.contrast * uniform()).view(-1, 1, 1, 1)
            shift = mean * (1 - gain)
            if self.brightness:
                shift = shift + images.std(dim=(1, 2, 3), keepdim=True) * self.brightness * uniform().view(-1, 1, 1, 1)
            images = torch.addcmul(shift, images, gain)
        if self.blur:
            images = self._blur(images, uniform)
        if self.noise:
            draws = torch.empty(n_draws, *images.shape[1:], device=images.device).normal_(generator=generator)
            amount = images.std(dim=(1, 2, 3), keepdim=True) * self.noise * uniform(0.0).view(-1, 1, 1, 1)
            images = torch.addcmul(images, draws, amount)
        if self.erasing:
            images = self._erase(images, uniform)
        if self.probability < 1:
            images = torch.where((uniform(0.0) < self.probability).view(-1, 1, 1, 1), images, original)
        return images

    def _move(self, images, uniform):
        """Apply flip, rotation, shear, scale, translation and crop in one resampling."""
        height, width = images.shape[2:]
        if not (self.rotation or self.translation or self.scale or self.shear or self.crop):
            flip = uniform(0.0) < self.horizontal_flip
            return torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
        angle = torch.deg2rad(self.rotation * uniform())
        shear = torch.tan(torch.deg2rad(self.shear * uniform()))
        factor = 1 / (1 + self.scale * uniform())
        mirror = torch.where(uniform(0.0) < self.horizontal_flip, -1.0, 1.0)
        cos, sin = factor * angle.cos(), factor * angle.sin()
        aspect = height / width  # grid_sample's coordinates run from -1 to 1 along both sides
        # The result equals F.affine_grid, which takes ten times as long: it multiplies thousands of tiny matrices
        x = (2 * torch.arange(width, device=images.device) + 1) / width - 1
        y = ((2 * torch.arange(height, device=images.device) + 1) / height - 1)[:, None]
        rows = (
            (mirror * cos, mirror * (shear * cos - sin) * aspect, self.translation * 2 * uniform()),
            (sin / aspect, shear * sin + cos, self.translation * 2 * uniform()),
        )
        factors = [[part.view(-1, 1, 1) for part in row] for row in rows]
        if self.crop:
            x, y = self._crop(x, y, uniform)
        grid = torch.stack([by_x * x + (by_y * y + shift) for by_x, by_y, shift in factors], -1)
        return F.grid_sample(images, grid.to(images.dtype), padding_mode="reflection", align_corners=False)

    def _crop(self, x, y, uniform):
        """Coordinates of the pixels of a random crop, one set per image."""
        if self.crop >= 1:  # pixels
            steps = 2 * self.crop + 1
            x, y = (
                side + ((uniform(0.0) * steps).floor() - self.crop).view(-1, 1, 1) * 2 / side.numel() for side in (x, y)
            )
            return x, y
        size = 1 - self.crop * uniform(0.0)
        x, y = (side * size.view(-1, 1, 1) + ((1 - size) * uniform()).view(-1, 1, 1) for side in (x, y))
        return x, y

    def _blur(self, images, uniform):
        """Blur each image by its own kernel, along one side after the other."""
        n, channels, height, width = images.shape
        if self.blur > min(height, width):  # it would leave one gray, and the margins could fill the memory
            raise ValueError(
                f"Expected a blur of at most the shorter side of the images, {min(height, width)} pixels, got "
                f"blur={self.blur:g}: pass a smaller one, such as blur=1."
            )
        radius = max(1, int(np.ceil(3 * self.blur)))
        offsets = torch.arange(-radius, radius + 1, device=images.device)
        sigma = (self.blur * uniform(0.0)).clamp(min=1e-2)[:, None]
        kernel = torch.softmax(-((offsets / sigma) ** 2) / 2, 1).repeat_interleave(channels, 0).to(images.dtype)
        images = images.reshape(1, n * channels, height, width)
        images = F.pad(images, (0, 0, radius, radius), mode="replicate")
        images = F.conv2d(images, kernel[:, None, :, None], groups=n * channels)
        images = F.pad(images, (radius, radius, 0, 0), mode="replicate")
        images = F.conv2d(images, kernel[:, None, None, :], groups=n * channels)
        return images.view(n, channels, height, width)

    def _erase(self, images, uniform):
        height, width = images.shape[2:]
        area, ratio = uniform(0.02, 0.25), torch.exp(uniform() * np.log(3.0))
        high, wide = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        top, left = uniform(0.0) * (1 - high), uniform(0.0) * (1 - wide)
        rows = (torch.arange(height, device=images.device) + 0.5) / height
        columns = (torch.arange(width, device=images.device) + 0.5) / width
        inside_rows = (rows > top[:, None]) & (rows < (top + high)[:, None])
        inside_columns = (columns > left[:, None]) & (columns < (left + wide)[:, None])
        inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
        inside &= (uniform(0.0) < self.erasing).view(-1, 1, 1, 1)
        return torch.where(inside, images.mean(dim=(1, 2, 3), keepdim=True), images)


class AugmentationSteps:
    """Apply several augmentations in order, with the interface of `ImageAugmenter`.

    Callables of other libraries get uint8 images and return uint8, or floats from 0 to 1. Transforms of torchvision
    draw once per call, so they are called once per image.
    """

    def __init__(self, steps: Sequence[Augmentation], pixel_range: tuple[float, float]) -> None:
        self.steps = steps
        self.pixel_range = pixel_range

    def __repr__(self):
        return repr(list(self.steps))

    @property
    def horizontal_flip(self):
        """Whether a step may mirror images. Steps that are not an `ImageAugmenter` count as mirroring."""
        return any(getattr(step, "horizontal_flip", True) for step in self.steps)

    def __call__(self, images, *, generator=None, same=False):
        for step in self.steps:
            if isinstance(step, ImageAugmenter):
                images = step(images, generator=generator, same=same)
                continue
            given = to_bytes(images, self.pixel_range)
            per_image = _draws_once(step) and not same
            changed = torch.stack([step(image) for image in given]) if per_image else step(given)
            if getattr(changed, "shape", None) != images.shape:
                shape = f"shape {tuple(changed.shape)}" if hasattr(changed, "shape") else type(changed).__name__
                raise ValueError(f"Expected augment to return a tensor of shape {tuple(images.shape)}, got {shape}.")
            images = from_bytes(changed, self.pixel_range, "augment")
        return images


def resolve_augment(augment, pixel_range):
    """Return the callable that training on pixels of this range applies to batches, or None without augmentation."""
    if augment is None:
        return None
    if isinstance(augment, str):  # "auto"
        return ImageAugmenter()
    steps = list(augment) if isinstance(augment, (list, tuple)) else [augment]
    for step in steps:
        if not callable(step):
            raise ValueError(f"Expected callables in augment, got {step!r}: pass such as [ImageAugmenter(), …].")
    steps = [clone(step) if isinstance(step, ImageAugmenter) else deepcopy(step) for step in steps]
    for step in steps:
        if isinstance(step, ImageAugmenter):
            step._validate_params()
    if len(steps) == 1 and isinstance(steps[0], ImageAugmenter):
        return steps[0]
    return AugmentationSteps(steps, pixel_range) if steps else None


def _draws_once(step):
    """Whether a callable is a transform of torchvision, whose random values hold for all images of a call."""
    parts = step if type(step) is torch.nn.Sequential else [step]
    kinds = [kind for part in parts for kind in type(part).__mro__]
    return any(kind.__module__.startswith("torchvision.transforms") for kind in kinds)
