"""Functions that find and decode image files, and `ImageFiles`, which decodes one batch at a time."""

from functools import partial
from itertools import chain
from os import PathLike, fspath
from os.path import isfile

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["IMAGE_SUFFIXES", "ImageFiles", "decode_images", "find_images", "find_paths", "read_image"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".tif", ".tiff", ".webp")
BLOCK = 64  # number of files that a thread decodes at a time
LARGE = 5000  # bytes; images of 48×48 have 1 to 3 kB


class ImageFiles:
    """Lazy stand-in for an array of images: indexing a batch decodes its files.

    Parameters
    ----------
    paths : list of str or path-like
        The files.
    shape : tuple of int
        (height, width, channels) to which every image is converted.
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
        """Select some of the files, like `numpy.ndarray.take`."""
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
    """Return the paths in a list, a column or a frame with one column; None if `X` contains anything else."""
    if isinstance(X, (str, PathLike)):
        raise ValueError(f"Expected images or a list of files, got the file {X}: put it in a list.")
    if hasattr(X, "columns") and len(X.columns) != 1:
        return None  # avoids copying a frame of pixels
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
    """Check that all files exist and return them as `ImageFiles`. By default, they get the shape of the first."""
    missing = [path for path in paths if not isfile(path)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing):,} of {len(paths):,} files do not exist, the first is {missing[0]}: check the paths."
        )
    if shape is None:
        with open(paths[0], "rb") as file, _open_image(file) as image:
            shape = (image.height, image.width, 1 if image.mode in ("1", "L", "LA") else 3)
    return ImageFiles(paths, shape)


def find_images(path):
    """Return the image files in a directory and below it, sorted, or the path itself if it is not a directory."""
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.rglob("*") if each.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise ValueError(f"Expected images in {path}, got none.")
    return found


def decode_images(open_files, shape):
    """Yield the result or the exception of `read_image` for each file. Large images are decoded on all cores."""
    blocks = (open_files[start : start + BLOCK] for start in range(0, len(open_files), BLOCK))
    n_jobs = -1 if open_files and _is_large(open_files[0]) else 1
    yield from chain.from_iterable(
        Parallel(n_jobs, prefer="threads", return_as="generator")(
            delayed(_try_images)(block, shape) for block in blocks
        )
    )


def _is_large(open_file):
    """Return whether files are large enough for threads to pay off. Small ones spend most of the time under the GIL."""
    try:
        with open_file() as file:
            return len(file.read(LARGE)) == LARGE
    except Exception:  # read_image will raise it again, with its reason
        return False


def _try_images(files, shape):
    results = []
    for open_file in files:
        try:
            results.append(read_image(open_file, shape))
        except Exception as error:  # Pillow raises many kinds of errors for damaged files
            results.append(error)
    return results


def read_image(open_file, shape):
    """Return the pixels of an image file as a row, turned upright, as gray or RGB and resized to ``shape``."""
    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    with open_file() as file, _open_image(file) as image:
        if image.mode[0] in "IF":  # Pillow would clip values above 255
            raise ValueError(f"expected 8-bit pixels, got mode {image.mode}")
        if (image.mode, image.size) != (mode, (width, height)):
            image.draft(mode, (2 * width, 2 * height))  # shrinks a large JPEG and makes it gray during decoding
            image = ImageOps.exif_transpose(image).convert(mode).resize((width, height), Image.Resampling.BILINEAR)
        return np.frombuffer(image.tobytes(), np.uint8)


def _open_image(file):
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        raise ValueError("it is not an image, or it is damaged") from None
