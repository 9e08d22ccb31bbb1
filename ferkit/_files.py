"""Image files, which `ImageFiles` decodes one batch at a time, and the storage of model files."""

import os
import re
import shutil
import zipfile
from collections import deque
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import chain
from math import prod
from os import PathLike, fspath
from os.path import isfile
from pathlib import Path
from tempfile import TemporaryFile
from uuid import uuid4

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, UnidentifiedImageError

__all__ = [
    "IMAGE_SUFFIXES",
    "FaceFile",
    "ImageFiles",
    "check_files",
    "convert_image",
    "cut_square",
    "decode_images",
    "find_files",
    "find_images",
    "find_shipped_model",
    "image_shape_of",
    "is_file",
    "list_shipped_models",
    "make_directory",
    "read_content",
    "read_image",
    "read_photo",
    "read_stored_zip",
    "show_progress",
    "write_atomically",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".tif", ".tiff", ".webp")
BLOCK = 64  # number of files that a thread decodes at a time
_MODELS = Path(__file__).parent / "models"
LARGE = 5000  # bytes; images of 48×48 have 1 to 3 kB
PROGRAMS = ("EPS", "WMF")  # Pillow runs Ghostscript or Windows for them, whatever the suffix of the file
ORIENTATION = 0x0112  # EXIF's tag
# How to turn an image upright, by EXIF's orientation. `PIL.ImageOps.exif_transpose` fails for damaged EXIF.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class DepthError(ValueError):
    """An image with more than 8 bits per channel."""


@dataclass(frozen=True)
class FaceFile(PathLike):
    """The path of an image file, and the box of one of the faces in it: left, top, right and bottom.

    It is no str, because NumPy and pandas turn subclasses of str into plain strings, which have no box.
    """

    path: str
    box: tuple[float, float, float, float]

    def __fspath__(self):
        return self.path

    def __str__(self):
        return f"{self.path}, box {', '.join(f'{side:g}' for side in self.box)}"


class ImageFiles:
    """Lazy stand-in for an array of images: indexing a batch decodes its files.

    Parameters
    ----------
    files : list of str, FaceFile or bytes
        The path or the content of each file.
    shape : tuple of int
        (height, width, channels) to which every image is converted.
    positions : ndarray of int, default=None
        Position of each file in the user's list, for errors. By default, the files are the whole list.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, files, shape, positions=None):
        self.files = files
        self.image_shape = shape
        self.positions = np.arange(len(files)) if positions is None else positions

    @property
    def shape(self):
        return len(self.files), prod(self.image_shape)

    def __len__(self):
        return len(self.files)

    def identities(self):
        """Return bytes for each file that are equal if two files are the same one."""
        return [file if isinstance(file, bytes) else str(file).encode() for file in self.files]

    def take(self, rows, axis=0):
        """Select some of the files, like `numpy.ndarray.take`."""
        return ImageFiles([self.files[row] for row in rows], self.image_shape, self.positions[rows])

    def __getitem__(self, rows):
        some = self.take(range(len(self))[rows] if isinstance(rows, slice) else rows)
        pixels = np.empty(some.shape, np.uint8)
        boxes = [getattr(file, "box", None) for file in some.files]
        with closing(decode_images(list(map(_opener, some.files)), self.image_shape, boxes)) as decoded:
            for row, file, position, image in zip(pixels, some.files, some.positions, decoded, strict=True):
                if isinstance(image, Exception):
                    raise _unreadable(file, position, image) from image
                row[:] = image
        return pixels


def _unreadable(file, position, error):
    name = f"Image {position}" if file is None or isinstance(file, bytes) else file
    advice = "leave it out" + ", or convert it to 8 bits" * isinstance(error, DepthError)
    return ValueError(f"{name} can't be read as an image ({error}): {advice}.")


def _opener(file):
    return partial(BytesIO, file) if isinstance(file, bytes) else partial(open, file, "rb")


def read_content(file):
    """Return bytes that are equal if two files show the same pixels of the same image file."""
    if isinstance(file, bytes):
        return file
    box = file.box if isinstance(file, FaceFile) else ""
    return Path(file).read_bytes() + str(box).encode()


def find_files(X):
    """Return the path or the content of each image file in a list or array; None if `X` contains anything else."""
    if isinstance(X, np.ndarray):
        if X.dtype.kind not in "OSTU" or X.size != len(X):
            return None
        X = X.ravel().tolist()
    if not isinstance(X, list) or not X or not all(map(is_file, X)):
        return None
    return list(map(_as_file, X))


def is_file(value):
    """Whether a value is the path of an image file or its content.

    The content may be bytes, a stream, or a dict of "bytes" and "path", which Hugging Face's tables contain.
    """
    if isinstance(value, str):
        return value.lower().endswith(IMAGE_SUFFIXES)
    is_content = isinstance(value, (bytes, bytearray, memoryview)) or hasattr(value, "read")
    return is_content or isinstance(value, PathLike) or (isinstance(value, dict) and value.keys() == {"bytes", "path"})


def _as_file(value):
    if isinstance(value, dict):
        value = value["path"] if value["bytes"] is None else value["bytes"]
    if isinstance(value, (str, PathLike)):
        return value if isinstance(value, FaceFile) else fspath(value)
    if hasattr(value, "read"):
        with suppress(AttributeError, OSError):  # some streams can only be read forwards
            value.seek(0)
        value = value.read()
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise ValueError(
            f"Expected streams of bytes, got one whose read() returns a {type(value).__name__}: pass open(path, 'rb'), "
            "or the result of `await upload.read()`."
        )
    return bytes(value)


def check_files(files, shape=None):
    """Check that all files exist and return them as `ImageFiles`. By default, they get the shape of the first."""
    missing = [file for file in files if not isinstance(file, bytes) and not isfile(file)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing):,} of {len(files):,} files do not exist, the first is {missing[0]}: check the paths."
        )
    if shape is None:
        try:
            with _opener(files[0])() as file, _open_image(file) as image:
                shape = image_shape_of(image)
            if isinstance(files[0], FaceFile):
                shape = (*2 * (max(1, round(_side(files[0].box))),), shape[2])
        except Exception as error:  # Pillow raises many kinds of errors for damaged files
            raise _unreadable(files[0], 0, error) from error
    return ImageFiles(files, shape)


def image_shape_of(image):
    """Return (height, width, channels) of a PIL image, turned upright, as gray or RGB."""
    lies = _orientation(image) > 4
    height, width = image.size if lies else image.size[::-1]
    return height, width, 1 if image.mode in ("1", "L", "LA") else 3


def _orientation(image):
    """Return EXIF's orientation, 1 to 8; 1 means upright."""
    if image.format == "TIFF":  # Pillow turns it upright
        return 1
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # damaged EXIF, which is common in good images
        return 1
    return orientation if orientation in TURNS else 1


def find_images(path):
    """Return the image files in a directory and below it, sorted, or the path itself if it is not a directory."""
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.rglob("*") if each.suffix.lower() in IMAGE_SUFFIXES and not each.is_dir())
    found = [each for each in found if not any(part.startswith(".") for part in each.relative_to(path).parts)]
    if not found:
        raise ValueError(f"Expected images in {path}, got none.")
    return found


def decode_images(open_files, shape, boxes=None):
    """Yield the result or the exception of `read_image` for each file. Large images are decoded on all cores.

    Close the generator if not all images are needed.
    """
    files = list(zip(open_files, [None] * len(open_files) if boxes is None else boxes, strict=True))
    starts = iter(range(0, len(files), BLOCK))
    n_jobs = -1 if open_files and _is_large(open_files[0]) else 1
    # a backend of the caller's, such as Dask's, would wait for workers that wait for this fit
    decoded = Parallel(n_jobs, backend="threading", return_as="generator")(
        delayed(_try_images)(files[start : start + BLOCK], shape) for start in starts
    )
    try:
        yield from chain.from_iterable(decoded)
    finally:
        deque(starts, maxlen=0)
        deque(decoded, maxlen=0)  # joblib warns about results that nobody takes


def _is_large(open_file):
    """Return whether files are large enough for threads to pay off. Small ones spend most of the time under the GIL."""
    try:
        with open_file() as file:
            return len(file.read(LARGE)) == LARGE
    except Exception:  # read_image will raise it again, with its reason
        return False


def _try_images(files, shape):
    results = []
    for open_file, box in files:
        try:
            results.append(read_image(open_file, shape, box))
        except Exception as error:  # Pillow raises many kinds of errors for damaged files
            results.append(error)
    return results


def read_image(open_file, shape, box=None):
    """Return the pixels of an image file as a row, turned upright, as gray or RGB and resized to ``shape``.

    With a ``box`` (left, top, right, bottom), only the square around its center is read.
    """
    with open_file() as file, _open_image(file) as image:
        return convert_image(image, shape, box)


def read_photo(photo, position=0):
    """Return an image in its own size, turned upright, as RGB: uint8 (height, width, 3).

    It may be a path, bytes, a stream or a PIL image. Errors give the path or the position.
    """
    is_image = hasattr(photo, "getbands")
    file = None if is_image else _as_file(photo)
    try:
        with nullcontext(photo) if is_image else _opener(file)() as opened:
            image = photo.copy() if is_image else _open_image(opened)
            shape = (*image_shape_of(image)[:2], 3)
            return convert_image(image, shape).reshape(shape)
    except FileNotFoundError:
        raise FileNotFoundError(f"Expected an image, got {file}, which does not exist: check the path.") from None
    except Exception as error:  # Pillow raises many kinds of errors for damaged files
        raise _unreadable(file, position, error) from error


def convert_image(image, shape, box=None):
    """Return the pixels of a PIL image as `read_image` does. The image may be changed."""
    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    if image.mode[0] in "IF":  # Pillow would clip values above 255
        raise DepthError(f"expected 8-bit pixels, got mode {image.mode}")
    if box is None:
        side = 2 * max(height, width)
        image.draft(mode, (side, side))  # shrinks a large JPEG and makes it gray during decoding
    image.load()  # here, because _orientation ignores errors
    if (orientation := _orientation(image)) != 1:
        image = image.transpose(TURNS[orientation])
    if image.mode != mode:
        image.info.pop("transparency", None)  # it is ignored, and Pillow would warn
        image = image.convert(mode)
    if box is not None:
        side = _side(box)
        if not side > 0:
            raise ValueError(f"expected a box with a positive width and height, got {box}")
        center = np.array([box[0] + box[2], box[1] + box[3]]) / 2
        return cut_square(np.asarray(image), center - side / 2, side, shape).ravel()
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.frombuffer(image.tobytes(), np.uint8)


def _side(box):
    """Return the side of the square that contains a box."""
    left, top, right, bottom = box
    return max(right - left, bottom - top) if right > left and bottom > top else 0


def cut_square(pixels, corner, side, shape):
    """Return a square of an image as gray or RGB and resized to ``shape``. ``corner`` is its left and top.

    Outside of the image, the pixels of its edge are repeated.
    """
    first = np.floor(corner).astype(int)
    last = np.ceil(corner + side).astype(int) + 1
    step = int(side // (8 * max(shape[:2]))) or 1  # enough pixels for an average; the box may be huge
    columns, rows = (
        np.arange(start, end, step).clip(0, limit - 1)
        for start, end, limit in zip(first, last + step, pixels.shape[1::-1], strict=True)
    )
    part = Image.fromarray(pixels[rows[:, None], columns]).convert("L" if shape[2] == 1 else "RGB")
    left, top = (corner - first) / step
    box = (left, top, left + side / step, top + side / step)
    return np.asarray(part.resize(shape[1::-1], Image.Resampling.BILINEAR, box))


def _open_image(file):
    try:
        image = Image.open(file)
    except UnidentifiedImageError:
        raise ValueError("it is not an image, or it is damaged") from None
    if image.format in PROGRAMS:
        raise ValueError(f"expected pixels, got {image.format}, a program that draws")
    return image


def find_shipped_model(name):
    """Return the path of the model with this name that ships with the package, or None."""
    return _MODELS / f"{name}.ferkit" if name in list_shipped_models() else None


def list_shipped_models():
    """List the names of the models that ship with the package."""
    return sorted(path.stem for path in _MODELS.glob("*.ferkit"))


def read_stored_zip(content):
    """Return the members of a zip by name. They must be stored uncompressed, so that none is larger than the zip."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        infos = archive.infolist()
        names = [info.filename for info in infos]
        if len(set(names)) < len(names) or any(not re.fullmatch(r"[\w.]+", name) for name in names):
            raise ValueError(f"its members have unexpected names: {names[:5]}")
        for info in infos:
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
                raise ValueError(f"its member {info.filename} is compressed or encrypted")
        if sum(info.file_size for info in infos) > len(content):
            raise ValueError("its members overlap")
        return {info.filename: archive.read(info) for info in infos}


def show_progress(items, text, count):
    """Return an iterator over the items that draws a progress bar. ``count`` is called for their number.

    Only terminals show the bar. In a notebook, rich would warn that it needs ipywidgets.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, text, count(), console=console, transient=True) if console.is_interactive else items


def write_atomically(path, data):
    """Write bytes to a file that afterwards is either complete or as it was before, even if the process is killed.

    The bytes go to a hidden temporary file in the same directory, which then replaces ``path``. A process that is
    killed leaves this file behind, with the name ``.<name>.<number>.part``. A link stays a link, and a file keeps its
    permissions. Pipes and devices are written directly.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():  # first, because a link to a pipe has no real path
        path.write_bytes(data)
        return
    path = Path(os.path.realpath(path))
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")  # a fixed name would let two processes mix their bytes
    try:
        with open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.is_file():
            shutil.copymode(path, part)
        os.replace(part, path)
        if hasattr(os, "O_DIRECTORY"):  # Windows can't open a directory
            directory = os.open(path.parent, os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and (path.is_dir() or not path.parent.is_dir()):
            raise OSError(f"Expected a file in an existing directory, got {path}: choose another path.") from error
        if isinstance(error, OSError):
            raise OSError(
                f"Expected a directory with free space that can be written to, got {path.parent} "
                f"({error.strerror or error}): choose another, or delete files."
            ) from error
        raise


def make_directory(path):
    """Create a directory and check that files can be written to it, before hours of training."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path).close()
    except OSError as error:
        raise OSError(f"Expected a directory that can be written to, got {path} ({error}): choose another.") from error
