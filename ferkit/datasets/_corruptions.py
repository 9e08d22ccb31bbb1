"""Degrade images as cameras, compression and light do, to measure how much accuracy a model loses."""

from io import BytesIO
from numbers import Integral
from typing import Literal

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._images import Images, as_rows, chunks, resolve_shape, to_stack

__all__ = ["corrupt"]

MCU = 8  # pixels of a side of JPEG's blocks
TALLEST_JPEG = 65_500  # pixels


@validate_params(
    {
        "kind": [StrOptions({"blur", "jpeg", "light", "occlusion", "noise"})],
        "severity": [Interval(Integral, 1, 5, closed="both")],
        "image_shape": [tuple, list, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def corrupt(
    X: Images,
    kind: Literal["blur", "jpeg", "light", "occlusion", "noise"],
    severity: Literal[1, 2, 3, 4, 5] = 3,
    *,
    image_shape: tuple[int, ...] | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> np.ndarray:
    """Degrade images in one of five ways, each in five severities.

    ========= ================================== ========================== ==================================
    kind      what happens                       unit of the strength       strengths of the severities 1 to 5
    ========= ================================== ========================== ==================================
    blur      Gaussian blur                      standard deviation, pixels 0.5, 0.8, 1.2, 1.7, 2.4
    jpeg      JPEG compression                   quality                    40, 25, 15, 10, 6
    light     light from one side                loss on the dark side      0.5, 0.7, 0.8, 0.9, 0.97
    occlusion one square of one random gray tone side, share of the image's 0.2, 0.3, 0.4, 0.5, 0.6
    noise     Gaussian noise                     standard deviation         8, 16, 26, 38, 54
    ========= ================================== ========================== ==================================

    Blur is given in pixels of a 48-pixel image and grows with the height of larger images. Gray levels of
    noise go from 0 to 255. The other strengths are relative to the image. The direction of the light, the place and the
    tone of the square and the noise are drawn for each image. With an integer `random_state`, the draws are the same in
    each severity.

    The idea comes from ImageNet-C [1]_. Its own corruptions are made for photos of 224 pixels.

    Parameters
    ----------
    X : array-like of uint8, or list of images
        Images in any form that :class:`ferkit.FERClassifier` accepts, with pixels from 0 to 255.
    kind : {"blur", "jpeg", "light", "occlusion", "noise"}
        The corruption.
    severity : {1, 2, 3, 4, 5}, default=3
        How strong it is.
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of each row. By default, images are square: a row of k² values is
        gray, a row of 3k² values is RGB.
    random_state : int, RandomState instance or None, default=None
        Seed of the random draws.

    Returns
    -------
    corrupted : ndarray of shape (n, pixels) and dtype uint8

    Raises
    ------
    ValueError
        If `X` does not hold uint8 images, or `kind` or `severity` is none of the above.

    See Also
    --------
    ferkit.report.evaluate_corruptions : Scores of a model under each corruption.

    References
    ----------
    .. [1] D. Hendrycks and T. Dietterich, "Benchmarking neural network robustness to common corruptions and
       perturbations", ICLR 2019, https://arxiv.org/abs/1903.12261

    Examples
    --------
    >>> from ferkit.datasets import corrupt, make_faces
    >>> faces = make_faces(100, random_state=0)
    >>> noisy = corrupt(faces.data, "noise", severity=5, random_state=0)
    >>> noisy.shape, noisy.dtype, round(float(abs(noisy - faces.data.astype(float)).mean()))
    ((100, 2304), dtype('uint8'), 40)
    """
    rows, shape = as_rows(X, image_shape)
    rows = np.asarray(rows)
    if rows.dtype != np.uint8:
        raise ValueError(
            f"Expected uint8 pixels from 0 to 255, got {rows.dtype}: pass the images before they are normalized."
        )
    images = to_stack(rows, shape or resolve_shape(rows.shape[1], image_shape))
    rng = check_random_state(random_state)
    function, strengths = KINDS[kind]
    changed = np.empty_like(images)
    for chunk in chunks(images):
        changed[chunk] = function(images[chunk], strengths[severity - 1], rng)
    return to_stack(changed, rows.shape[1:])


def _blur(images, deviation, rng):
    deviation = deviation * images.shape[1] / 48
    return _to_bytes(gaussian_filter(images.astype(np.float32), (0, deviation, deviation, 0), mode="nearest"))


def _compress(images, quality, rng):
    """Compress many images as one tall one: without subsampling, JPEG handles each block of 8×8 pixels on its own."""
    n, height, width, channels = images.shape
    padding = ((0, 0), (0, -height % MCU), (0, -width % MCU), (0, 0))
    padded = np.pad(images, padding, mode="edge")  # as the encoder fills a block at the edge
    changed = np.empty_like(padded)
    step = max(1, TALLEST_JPEG // padded.shape[1])
    for start in range(0, n, step):
        some = padded[start : start + step]
        tall = some.reshape(-1, *some.shape[2:])
        file = BytesIO()
        Image.fromarray(tall[..., 0] if channels == 1 else tall).save(file, "JPEG", quality=quality, subsampling=0)
        changed[start : start + step] = np.asarray(Image.open(file)).reshape(some.shape)
    return changed[:, :height, :width]


def _light(images, loss, rng):
    """Darken images from full light on one side, in a random direction, to `loss` on the other side."""
    n, height, width, _ = images.shape
    angle = rng.uniform(0, 2 * np.pi, (n, 1, 1, 1))
    y, x = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[:, None]
    along = x * np.cos(angle) + y * np.sin(angle)
    shade = (1 + along / (np.abs(np.cos(angle)) + np.abs(np.sin(angle)))) / 2  # 0 to 1 from corner to corner
    return _to_bytes(images * (1 - loss * shade))


def _occlude(images, side, rng):
    n, height, width, _ = images.shape
    top, left = rng.uniform(0, 1 - side, (2, n, 1))
    tone = rng.randint(0, 256, (n, 1, 1, 1))
    rows, columns = ((np.arange(length) + 0.5) / length for length in (height, width))
    inside = ((rows >= top) & (rows < top + side))[:, :, None] & ((columns >= left) & (columns < left + side))[:, None]
    return np.where(inside[..., None], tone, images)


def _add_noise(images, deviation, rng):
    return _to_bytes(images + deviation * rng.standard_normal(images.shape))


def _to_bytes(images):
    return np.rint(images).clip(0, 255)


KINDS = {
    "blur": (_blur, (0.5, 0.8, 1.2, 1.7, 2.4)),
    "jpeg": (_compress, (40, 25, 15, 10, 6)),
    "light": (_light, (0.5, 0.7, 0.8, 0.9, 0.97)),
    "occlusion": (_occlude, (0.2, 0.3, 0.4, 0.5, 0.6)),
    "noise": (_add_noise, (8, 16, 26, 38, 54)),
}
