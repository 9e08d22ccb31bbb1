"""Test-time views of images, whose predictions are averaged."""

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import torch
import torch.nn.functional as F

from .._images import from_bytes, to_bytes
from ._devices import seeded

_CROP = 7 / 8  # side of the ten crops relative to the image, as in the usual 224 of 256 pixels


def check_views(tta, augment):
    """Raise if there is no augmentation to draw random views with."""
    if isinstance(tta, Integral) and augment is None:
        raise ValueError(
            f'tta={tta} draws random views with `augment`, got augment=None: pass tta="flip", or an augmentation.'
        )


def make_views(
    images: torch.Tensor, tta: Any, augment: Any, pixel_range: tuple[float, float]
) -> Iterator[torch.Tensor]:
    """Yield the views of a batch, as batches, for FERClassifier's parameter ``tta``.

    Random views change all images of a batch alike, and in the same way in each batch, so that the prediction for an
    image does not depend on the other images.
    """
    if isinstance(tta, str) and tta == "auto":  # a network that saw no mirror images may know left from right
        tta = "flip" if augment is not None and getattr(augment, "horizontal_flip", True) else None
    if callable(tta):
        given = tta(to_bytes(images, pixel_range).clone())  # it may change them in place
        views = list(given) if isinstance(given, (list, tuple)) or getattr(given, "ndim", 0) == 5 else []
        if not views or any(getattr(view, "ndim", 0) != 4 or len(view) != len(images) for view in views):
            raise ValueError(
                f"Expected tta to return a list of batches of {len(images)} images, or a tensor (views, n, channels, "
                f"height, width), got {_describe(given)}."
            )
        yield from (from_bytes(view, pixel_range, "tta") for view in views)
        return
    if tta == "ten_crop":
        from torchvision.transforms.v2.functional import ten_crop  # takes long to import

        size = [max(1, round(side * _CROP)) for side in images.shape[2:]]
        for view in ten_crop(images, size):
            yield F.interpolate(view.float(), images.shape[2:], mode="bilinear")
        return
    yield images
    if tta == "flip":
        yield images.flip(3)
    elif tta is not None:
        check_views(tta, augment)
        for number in range(tta):
            generator = torch.Generator(images.device).manual_seed(number)
            with seeded(number, images.device):  # for augmentations of others
                view = augment(images.float(), generator=generator, same=True)
            yield view


def join_views(views: Iterator[torch.Tensor], size: int) -> Iterator[torch.Tensor]:
    """Join consecutive views of one shape into batches of up to ``size`` images.

    Reading the weights dominates the cost of a small batch, so they should be read once.
    """
    joined: list[torch.Tensor] = []
    for view in views:
        if joined and (len(view) * (len(joined) + 1) > size or view.shape != joined[0].shape):
            yield torch.cat(joined)
            joined = []
        joined.append(view)
    yield torch.cat(joined)


def _describe(given):
    if isinstance(given, (list, tuple)):
        return f"a {type(given).__name__} of {len(given)} elements"
    return f"shape {tuple(given.shape)}" if hasattr(given, "shape") else repr(type(given).__name__)
