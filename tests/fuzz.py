"""Compare what ferkit reads from random and damaged data with slow reference readers.

    python tests/fuzz.py --minutes 1                               # for each target
    python tests/fuzz.py pixels images --inputs 100_000 --first 7  # the first seed is 7

An accepted input must hold what the reference reads. A rejected one must raise an error that users understand. Both
must be free of warnings of other libraries. A finding is printed with its seed; `--first SEED --inputs 1` repeats it.

The mutators are plain and seeded. A coverage-guided fuzzer such as atheris tries one input at a time, while the pixel
parser takes many strings per call, and it sees only one path through vectorized code.
"""

import argparse
import bz2
import copy
import gzip
import hashlib
import io
import json
import lzma
import posixpath
import re
import resource
import signal
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from itertools import count
from pathlib import Path
from random import Random

import numpy as np
import test_tables
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch

import ferkit
from ferkit import FERClassifier, ImageNormalizer, ImageResizer, Pipeline, PixelParser
from ferkit.datasets import load_fer2013, load_ferplus

SECONDS = 30  # of the CPU; a batch that takes longer is a finding
ENOUGH = 50  # findings, after which a target stops
MEMORY = 3 << 30  # bytes beyond those that the imports need
ALLOWED = (ValueError, TypeError, OSError, ImportError)
# Pillow's warnings about metadata that ferkit does not use, and about images of 90 to 179 million pixels; those of
# scikit-learn about files of other versions.
FOREIGN = re.compile(
    "Corrupt EXIF|Metadata Warning|Tag |Possibly corrupt EXIF|Image size|Invalid APNG|Image appears to be a malformed"
    "|IM image format|Truncated File Read|Image was not the expected size|Skipping|More samples per pixel"
    "|not enough data"
    "|Trying to unpickle estimator"
)


class TooSlowError(BaseException):
    """Raised in a batch that takes too long."""


def attempt(read, *names):
    """Return (result, None) or (None, the error). The error must contain one of the names."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result, refusal = read(), None
        except ALLOWED as error:
            result, refusal = None, error
    for warning in caught:
        text = str(warning.message)
        assert FOREIGN.match(text) or text.startswith(("Left out", "Skipped files")), f"A foreign warning: {text}"
    if refusal is not None:
        assert not isinstance(refusal, UnicodeError), f"An error that says nothing to users: {refusal!r}"
        assert any(name in str(refusal) for name in names), f"An error without a place: {refusal!r}"
    return result, refusal


# strings of pixels

BLANKS = " \t\n\r\f\v"
ODD = "+-_.,:/;eExX'\"\\\x00\x1c\x1d\x1e\x1f\x7f\x85\xa0²٣०０ \u2028\u3000\ufeff\ud800"
VALUES = [*map(str, range(256))] * 20 + ["00", "01", "007", "099", "000", "255", "100", "200", "10", "0"] * 9
EDGES = ["256", "257", "260", "299", "300", "512", "999", "1000", "0255", "0256", "00000000255", "65536", "4294967297"]
OTHERS = [None, float("nan"), 7, b"1 2 3 4", b"\xff", [1, 2], True, 2**70, np.nan, {}]
SIDES = [(1, 1), (1, 2), (1, 3), (2, 2), (2, 2), (3, 3), (2, 2, 3), (1, 7), (5, 5)]
PARSERS = {shape: PixelParser(image_shape=shape).fit([]) for shape in {*SIDES, (48, 48)}}


@lru_cache(100_000)
def read_value(token):
    token = token.lstrip("0") or "0"
    return int(token) if token.isascii() and token.isdigit() and len(token) <= 3 and int(token) <= 255 else None


def read_row(row, n_pixels):
    """Return the values of a row as a list, or None if it is bad."""
    if isinstance(row, bytes):
        row = row.decode("utf-8", "replace")
    if not isinstance(row, str):
        return None
    values = [read_value(token) for token in re.split(f"[{BLANKS}]", row) if token]
    return values if len(values) == n_pixels and None not in values else None


def draw_character(random):
    kind = random.random()
    if kind < 0.4:
        return random.choice("0123456789")
    if kind < 0.65:
        return random.choice(BLANKS)
    return chr(random.randrange(128)) if kind < 0.85 else random.choice(ODD)


def mutate_row(row, random):
    place, kind = random.randint(0, len(row)), random.random()
    if kind < 0.4:
        return row[:place] + draw_character(random) + row[place:]
    if kind < 0.6:
        return row[:place] + draw_character(random) + row[place + 1 :]
    if kind < 0.75:
        return row[:place] + row[place + random.randint(1, 3) :]
    if kind < 0.85:
        return row[:place] + " " + random.choice(EDGES) + " " + row[place:]
    if kind < 0.9:
        return row[:place] + row[max(0, place - 5) :]
    return random.choice(BLANKS) * random.randint(0, 3) + row.replace(" ", random.choice(BLANKS) * random.randint(1, 2))


def fuzz_pixels(random, folder):
    shape = (48, 48) if random.random() < 0.002 else random.choice(SIDES)
    parser, n_pixels = PARSERS[shape], int(np.prod(shape))
    n_rows, share = random.choice([2, 20, 100, 400, 1000]), random.choice([0.01, 0.1, 0.4])
    drawn = np.frombuffer(random.randbytes(2 * n_rows * n_pixels), np.uint16).reshape(n_rows, n_pixels) % len(VALUES)
    rows = [" ".join(map(VALUES.__getitem__, row)) for row in drawn.tolist()]
    for place in range(n_rows):
        while random.random() < share:
            rows[place] = mutate_row(rows[place], random)
    if n_rows > 1 and random.random() < 0.1:  # the right number of values in all, but not in each row
        place = random.randrange(n_rows - 1)
        head, _, tail = rows[place].rpartition(" ")
        rows[place : place + 2] = head, f"{tail} {rows[place + 1]}"
    if random.random() < 0.1:
        rows = [row.encode("utf-8", "surrogatepass") for row in rows]
    if random.random() < 0.05:
        rows[random.randrange(n_rows)] = random.choice(OTHERS)

    expected = [read_row(row, n_pixels) for row in rows]
    good = [row for row, values in zip(rows, expected, strict=True) if values is not None]
    if good:
        pixels = parser.transform(good)
        wanted = np.array([values for values in expected if values is not None])
        assert pixels.dtype == np.uint8
        assert np.array_equal(pixels, wanted), f"Other pixels in {good}"
        some = random.randrange(len(good))
        assert np.array_equal(parser.transform(good[some:]), wanted[some:]), f"Other pixels in {good[some:]}"
    bad = [place for place, values in enumerate(expected) if values is None]
    if bad:
        check_refused(parser, rows, f"Row {bad[0]} ")
    for place in bad:
        check_refused(parser, ["0 " * n_pixels, rows[place]], "Row 1 ")
    return len(good), len(bad)


def check_refused(parser, rows, start):
    try:
        parser.transform(rows)
    except ValueError as error:
        if str(error).startswith(start):
            return
        raise AssertionError(f"Expected {start}, got {error!r} for {rows}") from error
    raise AssertionError(f"Accepted, refused by the reference ({start}): {rows}")


# tables


def fuzz_tables(random, folder):
    content, errors = test_tables.draw_table(random), random.choice(["raise", "drop"])
    if random.random() < 0.2 and content:  # damage within the pixels
        content = bytearray(content)
        for _ in range(random.randint(1, 3)):
            content[random.randrange(len(content))] = random.choice(b'0123456789 \n\r,"\x00\xff\t')
        content = bytes(content)
    is_loaded = test_tables.compare(content, errors, folder / "table.csv")
    return is_loaded, not is_loaded


# images

MOST_PIXELS, TOO_LARGE = 2_000_000, object()  # more would take the slow reference too long
SHAPES = [(48, 48, 1), (48, 48, 1), (48, 48, 3), (20, 30, 1), (31, 7, 3), (1, 1, 1)]
RESIZERS = {}
KINDS = ["PNG"] * 5 + ["JPEG"] * 5 + ["GIF", "GIF", "BMP", "BMP", "PPM", "PPM", "TIFF", "TIFF", "TIFF", "WEBP", "WEBP"]
KINDS += ["ICO", "TGA", "PCX", "SGI", "JPEG2000", "DDS", "XBM", "MSP", "EPS", "AVIF", "MPO", "QOI", "BLP"]
MODES = ["L", "L", "RGB", "RGB", "RGBA", "LA", "P", "1", "CMYK", "I;16", "I", "F", "YCbCr", "LAB", "HSV", "PA"]
SIZES = [(48, 48)] * 4 + [
    (1, 1),
    (30, 20),
    (20, 30),
    (7, 31),
    (31, 7),
    (96, 96),
    (64, 50),
    (2, 300),
    (1, 48),
    (110, 130),
]


def draw_image(random):
    """Return the bytes of an image file of any mode, size and format."""
    kind, mode, (width, height) = random.choice(KINDS), random.choice(MODES), random.choice(SIZES)
    noise = np.frombuffer(random.randbytes(3 * height * width), np.uint8).reshape(height, width, 3)
    smooth = np.indices((height, width)).sum(axis=0)[..., None] * [2, 3, 7] % 256
    image = Image.fromarray(random.choice([noise, smooth.astype(np.uint8)]))
    if mode == "I;16":
        image = Image.fromarray(noise[..., 0] * np.uint16(257))
    elif mode == "LAB":
        image = Image.frombytes("LAB", image.size, image.tobytes())
    else:
        image = image.convert("RGBA" if mode == "LA" else "P" if mode == "PA" else mode).convert(mode)
    options = {}
    if random.random() < 0.5:
        exif = Image.Exif()
        exif[0x0112] = random.randint(0, 9)
        if random.random() < 0.2:
            exif[0x0110] = "camera"
            exif[0x011A] = 72.0
        options["exif"] = exif
    if mode in ("L", "P", "RGB") and random.random() < 0.4:
        whole = (1, 2, 3) if mode == "RGB" else 7
        options["transparency"] = random.randbytes(256) if mode == "P" and random.random() < 0.6 else whole
    if kind in ("GIF", "PNG", "WEBP", "TIFF") and random.random() < 0.3:
        options |= {"save_all": True, "append_images": [image.rotate(90), image.copy()]}
    if kind == "JPEG":
        options |= {"quality": random.choice([30, 75, 95]), "progressive": random.random() < 0.3}
    if kind == "TIFF":
        options["compression"] = random.choice([None, "tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits", "group4"])
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, struct.error):  # the format has no such mode
        return draw_image(random)
    return file.getvalue()


def damage(content, random):
    """Change bytes, most often near the start, where headers are."""
    content = bytearray(content)
    for _ in range(random.choice([0, 1, 1, 2, 4, 16])):
        near = random.choice([32, 200, len(content)])
        place, kind = random.randint(0, min(near, len(content))), random.random()
        if kind < 0.3:
            content[place : place + 1] = bytes([random.randrange(256)])
        elif kind < 0.5 and place < len(content):
            content[place] ^= 1 << random.randrange(8)
        elif kind < 0.7:
            some = random.choice([b"\0", b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\x01\0"])
            content[place : place + len(some)] = some
        elif kind < 0.8:
            del content[place : place + random.randint(1, 8)]
        elif kind < 0.9:
            other = random.randint(0, len(content))
            content[place:place] = content[other : other + random.randint(1, 64)]
        else:
            del content[random.randint(0, len(content)) :]
    return bytes(content)


def mend_png(content):
    """Return a PNG with right checksums, so that damage gets past them."""
    mended, place = bytearray(content[:8]), 8
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunk = content[place + 4 : place + 8 + size]
        mended += struct.pack(">I", max(len(chunk) - 4, 0)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        place += 12 + size
    return bytes(mended)


def read_image(content, shape):
    """Return the pixels of an image file, upright, gray or RGB, as a row; None if it cannot be read."""
    height, width, channels = shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content))
            if image.width * image.height > MOST_PIXELS:
                return TOO_LARGE
            if image.mode.startswith(("I", "F")) or image.format in ("EPS", "WMF"):
                return None
            if channels == 1:
                image.draft("L", None)  # the luminance as it is in a JPEG
            image.load()
            if image.width * image.height > MOST_PIXELS:  # a few formats hold another size than their header
                return TOO_LARGE
        except Exception:
            return None
        orientation = read_orientation(image)
        try:
            pixels = read_pixels(image, channels)
        except ValueError:  # Pillow converts no LAB
            return None
    pixels = [
        lambda x: x, lambda x: x[:, ::-1], lambda x: x[::-1, ::-1], lambda x: x[::-1], lambda x: x.swapaxes(0, 1),
        lambda x: np.rot90(x, 3), lambda x: x[::-1, ::-1].swapaxes(0, 1), lambda x: np.rot90(x),
    ][orientation - 1](pixels)  # fmt: skip
    pixels = np.ascontiguousarray(pixels)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)).ravel()


def read_orientation(image):
    if image.format == "TIFF":  # upright already
        return 1
    try:
        orientation = image.getexif().get(0x0112)
    except Exception:  # damaged EXIF
        return 1
    return orientation if orientation in range(1, 9) else 1


def read_pixels(image, channels):
    """Return an upright or lying image as an array of gray (height, width) or RGB (height, width, 3)."""
    if channels == 1 and image.mode == "LAB":
        raise ValueError("Pillow does not convert it")
    if image.mode in ("1", "L", "LA", "La", "P", "PA", "RGBA", "RGBX"):
        rgb = np.asarray(image.convert("RGBA"))[..., :3]
    else:
        rgb = np.asarray(image.convert("RGB"))
    if channels == 3:
        return rgb
    gray = (rgb.astype(np.int64) @ [19595, 38470, 7471] + 0x8000) >> 16  # Pillow's weights
    return gray.astype(np.uint8)


def is_shrunk(content, shape):
    """Whether the image is a JPEG so large that ferkit decodes it at a fraction of its size."""
    image = Image.open(io.BytesIO(content))
    return image.format in ("JPEG", "MPO") and min(image.size) >= 4 * max(shape[:2])


def fuzz_images(random, folder):
    shape = random.choice(SHAPES)
    if shape not in RESIZERS:
        first = io.BytesIO()
        Image.new("L", (9, 9)).save(first, "PNG")
        RESIZERS[shape] = ImageResizer(shape[:2], image_shape=shape, interpolation="nearest").fit([first.getvalue()])
    resizer, content = RESIZERS[shape], draw_image(random)
    files = [content, *(damage(content, random) for _ in range(9))]
    if content.startswith(b"\x89PNG"):
        files[5:] = map(mend_png, files[5:])
    n_accepted = 0
    for file in files:
        expected = read_image(file, shape)
        rows, refusal = attempt(lambda file=file: resizer.transform([file]), "Image 0 ")
        if expected is TOO_LARGE:
            n_accepted += rows is not None
            continue
        if expected is None:
            assert rows is None, f"Accepted, refused by the reference: {file[:60]}"
            continue
        assert rows is not None, f"Refused, read by the reference: {refusal} {file[:60]}"
        difference = np.abs(rows[0].astype(int) - expected).max()
        assert difference <= 1 or is_shrunk(file, shape), f"Pixels differ by {difference}: {file[:60]}"
        n_accepted += 1
    file = random.choice(files)
    fitted, refusal = attempt(lambda: ImageResizer(8).fit([file]), "Image 0 ")
    if fitted is not None:
        image = Image.open(io.BytesIO(file))
        size = image.size[:: -1 if read_orientation(image) < 5 else 1]
        assert fitted.image_shape_[:2] == size, f"{fitted.image_shape_} of an image of {size}"
    return n_accepted, len(files) - n_accepted


# archives

EMOTIONS = ["angry", "Disgusted", "fear", "happiness", "SAD", "surprise", "neutral"]
SPLITS = {"train": "Training", "Test": "Test", "val": "Validation", "": "Training"}
TABLES = ["emotion,pixels,Usage", "Usage,pixels,emotion", "emotion,pixels", "pixels"]
JUNK = [
    "__MACOSX/train/happy/._1.png",
    ".DS_Store",
    "README.txt",
    "notes.csv",
    "a/../b.txt",
    "../../etc/x.csv",
    "/abs.csv",
]


def draw_members(random):
    """Return a list of the names and contents of files, which may hold tables, images, or neither."""
    members = [
        (name, random.choice([b"", b"id,votes\n1,2\n"])) for name in random.sample(JUNK, random.choice([0, 0, 1, 3]))
    ]
    kind, root = random.random(), random.choice(["", "", "fer/", "./", "/", "a/b/", "../"])
    if kind < 0.5:
        for number in range(random.choice([1, 1, 1, 2, 3])):
            header = random.choice(TABLES)
            cells = {
                "emotion": lambda: str(random.randrange(7)),
                "pixels": lambda: random.choice(test_tables.ROWS),
                "Usage": lambda: random.choice(["Training", "PublicTest"]),
            }
            lines = [
                header,
                *(",".join(cells[name]() for name in header.split(",")) for _ in range(random.randint(1, 3))),
            ]
            content = "".join(f"{line}\n" for line in lines).encode()
            name = root + random.choice(["fer2013.csv", "train.csv", "test.csv", f"{number}/a.CSV", "b.csv.gz"])
            members.append((name, gzip.compress(content, 1) if name.endswith("gz") else content))
    else:
        has_splits = random.random() < 0.5
        for number in range(random.randint(1, 6)):
            split = random.choice([*SPLITS][:3]) + "/" if has_splits else ""
            file = io.BytesIO()
            kind = random.choice(["png", "png", "bmp", "jpg", "gif", "tif", "pgm"])
            image = Image.new("L", (48, 48), random.randrange(256))
            image.putpixel((random.randrange(48), 3), random.randrange(256))
            image.save(file, {"jpg": "JPEG", "tif": "TIFF", "pgm": "PPM"}.get(kind, kind.upper()))
            name = f"{root}{split}{random.choice(EMOTIONS)}/{random.choice(['', 'PublicTest_'])}{number % 4}.{kind}"
            members.append((name, file.getvalue()))
    random.shuffle(members)
    return members


def pack_zip(members, random):
    file = io.BytesIO()
    method = random.choice(
        [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    )
    with zipfile.ZipFile(file, "w", method, compresslevel=1) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name) if random.random() < 0.1 else name, content)
    content = bytearray(file.getvalue())
    if random.random() < 0.05:  # say that the files are encrypted
        for place in [each.start() for each in re.finditer(b"PK\x01\x02", content)]:
            content[place + 8] |= 1
    return bytes(content)


def pack_tar(members, random):
    file = io.BytesIO()
    form = random.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name if random.random() < 0.9 else name.replace("fer/", "long" * 20 + "/"))
            member.size = len(content)
            if form == tarfile.PAX_FORMAT and random.random() < 0.3:
                keys = ["size", "path", "GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major", "mtime", "comment"]
                values = ["-1", "0,5", "99999999999999", "x", "1", str(len(content)), "a.csv"]
                member.pax_headers = {random.choice(keys): random.choice(values)}
            if random.random() < 0.05:
                member.type, member.linkname = (
                    random.choice([tarfile.SYMTYPE, tarfile.LNKTYPE]),
                    random.choice(members)[0],
                )
            with suppress(ValueError):  # a name is too long for the format
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def compress(content, random):
    packers = [bytes, lambda x: gzip.compress(x, 1), lambda x: gzip.compress(x, 1), lambda x: bz2.compress(x, 1)]
    return random.choice([*packers, lambda x: lzma.compress(x, preset=0)])(content)


def unpack(content):
    """Return the visible files of an archive, {name: content or error}, by reading all of it; None if it is none."""
    files = {}
    if content[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                if not info.filename.endswith("/"):
                    try:
                        files[info.filename] = archive.read(info)
                    except Exception as error:
                        files[info.filename] = error
    else:
        for open_stream in (gzip.decompress, bz2.decompress, lzma.decompress):
            with suppress(OSError, lzma.LZMAError, ValueError):
                content = open_stream(content)
                break
        try:
            archive = tarfile.open(fileobj=io.BytesIO(content), mode="r:")  # noqa: SIM115
        except tarfile.ReadError:
            return None
        with archive:
            for member in archive:
                if member.isfile():
                    is_small = member.size < 10**8  # a sparse file may claim terabytes
                    files[member.name] = archive.extractfile(member).read() if is_small else ValueError()
    names = {name: posixpath.normpath(name) for name in files}
    return {names[name]: each for name, each in files.items() if not re.search(r"(^|[/\\])(\.|__MACOSX)", names[name])}


def find_faces(files):
    """Return what may be loaded: (a list of the faces of each table, the images by name)."""
    tables, images = [], {}
    for name, content in files.items():
        if isinstance(content, Exception):
            continue
        is_other = name.lower().endswith((".jpg", ".png", ".bmp", ".gif", ".pgm", ".tif", ".zip", ".tar.gz"))
        if name.lower().endswith((".csv", ".csv.gz")) or (len(files) == 1 and not is_other):
            if content[:2] == b"\x1f\x8b":
                try:
                    content = gzip.decompress(content)
                except (OSError, EOFError, zlib.error):
                    continue
            if found := test_tables.read_table(content):
                tables.append((name, *found))
        elif name.lower().endswith((".jpg", ".png", ".bmp", ".gif", ".pgm", ".tif")):
            images[name] = content
        elif name.lower().endswith((".zip", ".tar.gz")):
            try:
                nested = unpack(content)
            except Exception:
                continue
            more_tables, more_images = find_faces({f"{name}/{inner}": each for inner, each in (nested or {}).items()})
            tables += more_tables
            images |= more_images
    return tables, images


def check_faces(faces, files):
    """Check that loaded faces are those of one table of an archive, or those of its images."""
    tables, images = find_faces(files)
    if isinstance(faces.origin[0], str):
        for row, name in enumerate(faces.origin.tolist()):
            *_, split, folder, file = ["", "", *name.split("/")]
            assert np.array_equal(faces.data[row], read_image(images[name], (48, 48, 1))), f"Other pixels in {name}"
            code = next(code for code, forms in enumerate(test_tables.EMOTIONS) if folder.lower() in forms)
            assert faces.target[row] == code, f"Another emotion in {name}"
            usage = test_tables.USAGES.get(split.lower(), "Training")
            assert faces.usage[row] == ("PublicTest" if file.startswith("PublicTest_") else usage), f"Usage of {name}"
        return
    for name, found, _ in tables:
        pixels, codes, usages, origins = zip(*found, strict=True) if found else [()] * 4
        if "train" in name.rpartition("/")[2].lower() and "Test" in usages:
            usages = faces.usage.tolist()  # a table without usages whose name says Training
        if (
            np.array_equal(faces.data, pixels)
            and (codes == (None,) * len(codes) if faces.target is None else faces.target.tolist() == list(codes))
            and faces.usage.tolist() == list(usages)
            and faces.origin.tolist() == list(origins)
        ):
            return
    raise AssertionError(f"Loaded faces that are in none of the tables {[name for name, *_ in tables]}.")


def fuzz_archives(random, folder):
    members = draw_members(random)
    if random.random() < 0.2:
        inner = random.choice([pack_zip(members, random), gzip.compress(pack_tar(members, random), 1)])
        members = [
            (random.choice(["inner.zip", "x/inner.tar.gz"]), inner),
            *draw_members(random)[: random.choice([0, 0, 3])],
        ]
    content = pack_zip(members, random) if random.random() < 0.5 else compress(pack_tar(members, random), random)
    contents, n_accepted = [content], 0
    for _ in range(7):
        if content[:2] in (b"PK", b"\x1f\x8b", b"BZ", b"\xfd7") or random.random() < 0.5:
            contents.append(damage_archive(content, random))
        else:
            contents.append(mend_tar(damage_archive(content, random)))
    for content in contents:
        path = folder / random.choice(["faces.zip", "faces.tar.gz", "faces"])
        path.write_bytes(content)
        errors = random.choice(["raise", "drop"])
        faces, _ = attempt(
            lambda path=path, errors=errors: load_fer2013(path, errors=errors),
            str(path),
            path.name,
            "Row ",
            "Image ",
            "Expected",
        )
        path.unlink()
        if faces is not None:
            n_accepted += 1
            files = unpack(content)
            check_faces(faces, {path.name: content} if files is None else files)
    return n_accepted, len(contents) - n_accepted


def damage_archive(content, random):
    """Change bytes beside the magic numbers and names of an archive, anywhere, or not at all."""
    content = bytearray(content)
    for _ in range(random.choice([0, 1, 1, 2, 4])):
        found = [each.start() for each in re.finditer(rb"PK[\x01-\x06]{2}|ustar", content)] or [0]
        place = random.choice([random.choice(found) + random.randint(-160, 60), random.randrange(len(content) or 1)])
        place, kind = min(max(place, 0), max(len(content) - 1, 0)), random.random()
        if kind < 0.5 and content:
            content[place] ^= 1 << random.randrange(8)
        elif kind < 0.7:
            content[place : place + 1] = random.choice([b"\0", b"\xff", b"\x80", b"0", b"9", b"/", b"."])
        elif kind < 0.8:
            content[place : place + 4] = random.choice([b"\xff" * 4, bytes(4), b"\x7f" * 4])
        elif kind < 0.87:
            del content[place : place + random.choice([1, 4, 512])]
        elif kind < 0.93:
            other = random.randrange(len(content) or 1)
            content[place:place] = content[other : other + random.choice([1, 30, 512])]
        else:
            del content[place:]
    return bytes(content)


def mend_tar(content):
    """Return a tar with right checksums of its headers."""
    content = bytearray(content)
    for found in re.finditer(b"ustar", bytes(content)):
        start = found.start() - 257
        if start >= 0 and start % 512 == 0:
            content[start + 148 : start + 156] = b" " * 8
            content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
    return bytes(content)


# votes of FER+

CHOICES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]


def read_votes(content, usages):
    """Return the votes of each face and the kept ones; None if the table does not fit."""
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    header, *rows = test_tables.read_records(content) or [[]]
    names = [name.strip() for name in header]
    if not {"Usage", "Image name", *CHOICES} <= {*names}:
        return None
    all_votes, kept = [], []
    for row in rows:
        cells = {}
        for place, name in enumerate(names):
            cells.setdefault(name, row[place].strip() if place < len(row) else "")
        if not all(cells[choice] in [str(vote) for vote in range(11)] for choice in CHOICES):
            return None
        if cells["Usage"] in usages:
            votes = [int(cells[choice]) for choice in CHOICES]
            counted = [vote if vote > 1 else 0 for vote in votes]
            all_votes.append((cells["Usage"], votes))
            winner = counted.index(max(counted))
            kept.append((winner, 2 * max(counted) > sum(counted) and winner < 8, cells["Image name"] != ""))
    return (all_votes, kept) if [usage for usage, _ in all_votes] == list(usages) else None


def fuzz_votes(random, folder):
    names, codes, target = ["Usage", "Image name", *CHOICES], [6, 3, 5, 4, 0, 1, 2, -1, -1, -1], []
    if random.random() < 0.3:
        random.shuffle(names)
    names.insert(
        random.randint(0, 12), random.choice(["note", " Usage", "fear", ""])
    ) if random.random() < 0.2 else None
    usages, lines = random.choices(["Training", "PublicTest"], k=random.randint(1, 4)), [",".join(names)]
    for number, usage in enumerate(usages):
        cells = dict.fromkeys(CHOICES, "0") | {"Usage": usage, "Image name": f"fer{number}.png", "note": "", "": ""}
        cells |= {random.choice(CHOICES): str(random.randint(0, 10)) for _ in range(3)}
        winner = random.randrange(10)
        cells[CHOICES[winner]] = str(random.randint(5, 10))
        target.append(codes[winner] if codes[winner] >= 0 else random.randrange(7))
        lines.append(
            ",".join(random.choice(["{}", "{}", "{}", '"{}"', " {}"]).format(cells[name.strip()]) for name in names)
        )
    content = (random.choice(["\n", "\r\n", "\n\n"]).join(lines) + random.choice(["", "\n"])).encode()
    faces = Bunch(
        data=np.arange(4 * len(usages), dtype=np.uint8).reshape(-1, 4),
        images=np.arange(4 * len(usages), dtype=np.uint8).reshape(-1, 2, 2),
        usage=np.array(usages),
        target=np.array(target),
    )
    n_accepted, contents = 0, [content]
    for _ in range(9):
        changed = bytearray(content)
        for _ in range(random.choice([1, 1, 2, 4])):
            place = random.randint(0, len(changed))
            changed[place : place + random.randint(0, 1)] = random.choice(
                [b"", b"0", b"1", b",", b'"', b"\n", b"\r", b"\0", b" ", b"\xff", b"10"]
            )
        contents.append(bytes(changed) if random.random() < 0.8 else damage(gzip.compress(content), random))
    for content in contents:
        path = folder / ("fer2013new.csv.gz" if content[:2] == b"\x1f\x8b" else "fer2013new.csv")
        path.write_bytes(content)
        loaded, refusal = attempt(lambda path=path: load_ferplus(path, fer2013=faces), str(path))
        try:
            expected = read_votes(content, usages)
        except (OSError, EOFError, zlib.error):
            expected = None
        if expected is not None:
            all_votes, kept = expected
            placed = [(codes[winner], clear) for winner, clear, _ in kept if codes[winner] >= 0 and clear]
            agree = sum(
                clear and codes[winner] == code for (winner, clear, _), code in zip(kept, faces.target, strict=True)
            )
            if agree < 0.4 * len(placed):
                expected = None
        if expected is None:
            assert loaded is None, f"Accepted, refused by the reference: {content}"
            continue
        assert loaded is not None, f"Refused, read by the reference: {refusal} {content}"
        some = [row for row, (_, clear, named) in enumerate(kept) if clear and named]
        assert loaded.votes.tolist() == [all_votes[row][1] for row in some], f"Other votes: {content}"
        assert loaded.target.tolist() == [kept[row][0] for row in some], f"Other labels: {content}"
        assert np.array_equal(loaded.data, faces.data[some]), f"Other faces: {content}"
        n_accepted += 1
    return n_accepted, len(contents) - n_accepted


# models

IMAGES = np.arange(3 * 64, dtype=np.uint8).reshape(3, 64)
STRINGS = [" ".join(map(str, row)) for row in IMAGES]
PLACES = [None, True, -1, 0, 1, 2, 10**9, 1e308, "", "nan", "os.system", "ferkit.load", "cnn", "../x", [], {}, [[]]]
PLACES += [{"tuple": []}, {"dict": []}, {"object": 0}, {"array": "x"}, {"float": "nan"}, {"name": "os.getcwd"}]


@lru_cache(1)
def save_models():
    """Return the content of files, each with images for its model and the probabilities."""
    classify = FERClassifier(backbone_params={"widths": (2, 4)}, max_epochs=1, random_state=0)
    models = [
        (classify, IMAGES),
        (Pipeline([("parse", PixelParser()), ("scale", ImageNormalizer()), ("classify", classify)]), STRINGS),
        (make_pipeline(ImageResizer(4), LogisticRegression()), IMAGES),
    ]
    saved = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model, X in models:
            ferkit.save(model.fit(X, ["a", "b", "a"]), Path(folder, "model.ferkit"))
            saved.append((Path(folder, "model.ferkit").read_bytes(), X, model.predict_proba(X)))
    return saved


def list_places(value, path=()):
    """Yield the path of every value in a JSON."""
    yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from list_places(part, (*path, key))


def edit_json(written, random):
    """Change values anywhere in a JSON: to others of it, to unusual ones, or away."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        places = [place for place in list_places(written) if place]
        *path, key = random.choice(places)
        parent = written
        for each in path:
            parent = parent[each]
        if random.random() < 0.15:
            del parent[key]
        elif random.random() < 0.4:
            other = written
            for each in random.choice(places):
                other = other[each]
            parent[key] = copy.deepcopy(other)
        else:
            parent[key] = copy.deepcopy(random.choice(PLACES))
    return written


def edit_model(content, random):
    """Return a file with a changed JSON or changed weights, whose checksums are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    written, weights, kind = json.loads(members["ferkit.json"]), members["weights.safetensors"], random.random()
    if kind < 0.5:
        written = edit_json(written, random)
    elif kind < 0.7:
        size = int.from_bytes(weights[:8], "little")
        header = json.dumps(edit_json(json.loads(weights[8 : 8 + size]), random)).encode()
        weights = len(header).to_bytes(8, "little") + header + weights[8 + size :]
    elif kind < 0.85:
        weights = damage(weights, random)
    if isinstance(written, dict) and isinstance(written.get("sha256"), dict):
        written["sha256"]["weights.safetensors"] = hashlib.sha256(weights).hexdigest()
    text = json.dumps(written).encode()
    members |= {"weights.safetensors": weights, "ferkit.json": text if kind < 0.85 else damage(text, random)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return file.getvalue()


def fuzz_models(random, folder):
    content, X, expected = random.choice(save_models())
    path, n_accepted = folder / "model.ferkit", 0
    contents = [content, *(damage_archive(content, random) for _ in range(4))]
    n_damaged = len(contents)
    contents += [edit_model(content, random) for _ in range(15)]
    for place, content in enumerate(contents):
        path.write_bytes(content)
        model, _ = attempt(lambda: ferkit.load(path), str(path))
        if model is None:
            continue
        n_accepted += 1
        if place < n_damaged:
            assert np.array_equal(model.predict_proba(X), expected), "Other predictions of a damaged file"
            continue
        with suppress(Exception), warnings.catch_warnings():  # an edited model may predict anything, or nothing
            warnings.simplefilter("ignore")
            model.predict_proba(X)
    path.unlink()
    return n_accepted, len(contents) - n_accepted


TARGETS = {
    "pixels": fuzz_pixels,
    "tables": fuzz_tables,
    "votes": fuzz_votes,
    "archives": fuzz_archives,
    "images": fuzz_images,
    "models": fuzz_models,
}


def stop(*_):
    raise TooSlowError(f"It took more than {SECONDS} seconds.")


def fuzz(name, folder, *, minutes, inputs, first):
    """Run one target and print what came of it; return the number of findings."""
    counts, start = Counter(), time.perf_counter()
    for seed in count(first):
        seconds = time.perf_counter() - start
        if counts["accepted"] + counts["rejected"] >= inputs or seconds >= 60 * minutes or counts["findings"] == ENOUGH:
            break
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            accepted, rejected = TARGETS[name](Random(f"{name} {seed}"), folder)
        except (Exception, TooSlowError) as error:
            counts["findings"] += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            shown = f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
            print(f"{name}, seed {seed}: {shown}", flush=True)
        else:
            counts.update(accepted=accepted, rejected=rejected)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if seed % 1000 == 999:
            print(f"{name}: {counts['accepted'] + counts['rejected']:,} inputs, {seconds:,.0f} s", flush=True)
    total = counts["accepted"] + counts["rejected"]
    print(
        f"{name}: {total:,} inputs, {counts['accepted']:,} accepted, {counts['rejected']:,} rejected, "
        f"{counts['findings']} findings, {seconds:,.0f} s, seeds {first} to {seed - 1}",
        flush=True,
    )
    return counts["findings"]


def main():
    parser = argparse.ArgumentParser(description="Compare what ferkit reads with slow reference readers.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; by default, all")
    parser.add_argument("--minutes", type=float, default=1, help="at most, for each target")
    parser.add_argument("--inputs", type=int, help="for each target; by default, as many as time allows")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    signal.signal(signal.SIGPROF, stop)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    n_findings = 0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for name in options.targets or TARGETS:
            n_findings += fuzz(
                name,
                Path(folder),
                minutes=float("inf") if options.inputs else options.minutes,
                inputs=options.inputs or float("inf"),
                first=options.first,
            )
    sys.exit(n_findings > 0)


if __name__ == "__main__":
    main()
