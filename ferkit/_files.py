"""Image files: decoding them, and sets of them that are larger than memory."""

from functools import partial
from itertools import chain
from os import PathLike, fspath
from os.path import isfile

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["IMAGE_SUFFIXES", "ImageFiles", "decode_images", "find_paths", "read_image"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".tif", ".tiff", ".webp")
BLOCK = 64  # decoded by a thread at a time
LARGE = 5000  # bytes; of 48×48 there are 1 to 3 kB


class ImageFiles:
    """Rows of pixels that are decoded when they are asked for.

    Parameters
    ----------
    paths : list of str or path-like
        The files.
    shape : tuple of int
        (height, width, channels) that every image is brought to.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, paths, shape):
        self.paths = paths
        self.image_shape = shape

    @property
    def shape(self):
        return len(self.paths), int(np.prod(self.image_shape))

    def __len__(self):
        return len(self.paths)

    def take(self, rows, axis=0):
        """Some of the files, as NumPy's method of that name."""
        return ImageFiles([self.paths[row] for row in rows], self.image_shape)

    def __getitem__(self, rows):
        paths = self.paths[rows] if isinstance(rows, slice) else [self.paths[row] for row in rows]
        pixels = np.empty((len(paths), self.shape[1]), np.uint8)
        decoded = decode_images([partial(open, path, "rb") for path in paths], self.image_shape)
        for row, path, image in zip(pixels, paths, decoded, strict=True):
            if isinstance(image, Exception):
                raise ValueError(f"{path} can't be read as an image ({image}): leave it out.") from image
            row[:] = image
        return pixels


def find_paths(X):
    """The paths in a list, a column or a frame of one column; None if it holds anything else."""
    if isinstance(X, (str, PathLike)):
        raise ValueError(f"Expected images or a list of files, got the one file {X}: put it in a list.")
    if hasattr(X, "columns") and len(X.columns) != 1:
        return None  # before a frame of pixels is copied
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        if X.dtype.kind not in "OUT" or X.ndim > 2 or (X.ndim == 2 and X.shape[1] != 1):
            return None
        X = X.ravel().tolist()
    if not isinstance(X, (list, tuple)) or not len(X) or not all(map(_is_path, X)):
        return None
    return list(map(fspath, X))


def _is_path(value):
    return isinstance(value, PathLike) or (isinstance(value, str) and value.lower().endswith(IMAGE_SUFFIXES))


def check_paths(paths, shape=None):
    """Sees that all files are there; ``shape`` is that of the first where it is not given.

    Returns
    -------
    ImageFiles
    """
    missing = [path for path in paths if not isfile(path)]
    if missing:
        raise FileNotFoundError(f"{len(missing):,} of {len(paths):,} files are not there, the first is {missing[0]}.")
    if shape is None:
        with open(paths[0], "rb") as file, _open_image(file) as image:
            shape = (image.height, image.width, 1 if image.mode in ("1", "L", "LA") else 3)
    return ImageFiles(paths, shape)


def decode_images(open_files, shape):
    """Yield what `read_image` returns or raises, for each file; large images are decoded by all cores."""
    blocks = (open_files[start : start + BLOCK] for start in range(0, len(open_files), BLOCK))
    n_jobs = -1 if open_files and _is_large(open_files[0]) else 1
    yield from chain.from_iterable(
        Parallel(n_jobs, prefer="threads", return_as="generator")(
            delayed(_try_images)(block, shape) for block in blocks
        )
    )


def _is_large(open_file):
    """Whether decoding such images takes longer than what Python does around it, for which threads would only queue."""
    try:
        with open_file() as file:
            return len(file.read(LARGE)) == LARGE
    except Exception:  # read_image says what is wrong
        return False


def _try_images(files, shape):
    results = []
    for open_file in files:
        try:
            results.append(read_image(open_file, shape))
        except Exception as error:  # Pillow raises all sorts of them on damaged files
            results.append(error)
    return results


def read_image(open_file, shape):
    """Pixels of an image file in a row, turned upright, gray or RGB and resized to (height, width, channels)."""
    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    with open_file() as file, _open_image(file) as image:
        if image.mode[0] in "IF":  # Pillow would clip their values at 255
            raise ValueError(f"its pixels are of mode {image.mode}, expected 8 bits")
        if (image.mode, image.size) != (mode, (width, height)):
            image.draft(mode, (2 * width, 2 * height))  # lets a large JPEG shrink and turn gray while it is decoded
            image = ImageOps.exif_transpose(image).convert(mode).resize((width, height), Image.Resampling.BILINEAR)
        return np.frombuffer(image.tobytes(), np.uint8)


def _open_image(file):
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        raise ValueError("it is no image, or a damaged one") from None
