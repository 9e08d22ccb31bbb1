"""Damaged and hostile images, archives and tables: read as a slow reference reads them, or refused by name.

`make fuzz` tries many more.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ferkit import ImageResizer
from ferkit.datasets import load_fer2013, load_ferplus, make_faces

GRAY = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
COLOR = np.random.default_rng(1).integers(0, 256, (30, 20, 3), dtype=np.uint8)

SMOOTH = (np.indices((30, 20)).sum(axis=0)[..., None] * [1, 2, 3]).astype(np.uint8)


def encode(image, kind="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def decode(files, shape=(48, 48, 1)):
    """Return the pixels of image files as ferkit decodes them."""
    resizer = ImageResizer(shape[:2], image_shape=shape, interpolation="nearest").fit([encode(GRAY)])
    return resizer.transform(files).reshape(-1, *shape)


def read_slowly(image, shape=(48, 48, 1)):
    """Convert an upright PIL image to gray or RGB, and resize it."""
    height, width, channels = shape
    image = image.convert("RGBA").convert("L" if channels == 1 else "RGB").resize((width, height), Image.BILINEAR)
    return np.asarray(image).reshape(shape)


# images

UPRIGHT = {  # how an image of each orientation is turned
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, 3),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("pixels", [GRAY, COLOR], ids=["gray", "color"])
def test_images_are_turned_upright(pixels, orientation, kind):
    file = encode(pixels, kind, exif=exif(orientation))
    stored = np.asarray(Image.open(io.BytesIO(encode(pixels, kind))))
    upright = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](stored)))
    shape = (*upright.size[::-1], 1 if pixels is GRAY else 3)
    assert ImageResizer(8).fit([file]).image_shape_ == shape
    np.testing.assert_array_equal(decode([file], shape)[0], np.asarray(upright).reshape(shape))
    np.testing.assert_array_equal(decode([file], (24, 36, 3))[0], read_slowly(upright, (24, 36, 3)))
    if kind != "TIFF":
        opened = Image.open(io.BytesIO(file))
        assert ImageResizer(8).fit([opened]).image_shape_ == shape
        np.testing.assert_array_equal(decode([opened], shape)[0], np.asarray(upright).reshape(shape))


def test_damaged_exif_does_not_matter():
    tags = exif(3)
    tags[0x011A] = 72.0
    turned = tags.tobytes().replace(b"\x01\x1a\0\x05", b"\x01\x01\0\x05")  # a height that is a fraction
    for data, is_turned in (
        (turned, True),
        (b"Exif\0\0no tags at all", False),
        (b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03", False),
    ):
        file = encode(SMOOTH, "JPEG", exif=data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's
            image = Image.open(io.BytesIO(file))
            image = image.transpose(Image.Transpose.ROTATE_180) if is_turned else image
            np.testing.assert_array_equal(decode([file], (15, 9, 3))[0], read_slowly(image, (15, 9, 3)))
            assert ImageResizer(8).fit([file]).image_shape_ == (30, 20, 3)


def palette(transparency):
    image = Image.fromarray(COLOR).convert("P", palette=Image.Palette.ADAPTIVE)
    return encode(image, transparency=transparency)


def animation(kind):
    frames = [Image.fromarray(COLOR[:, :, channel]) for channel in range(3)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)


ODD = {
    "1×1": encode(GRAY[:1, :1]),
    "20,000×3": encode(np.tile(GRAY[:3], (1, 417))[:, :20_000]),
    "3×20,000": encode(np.tile(GRAY[:, :3], (417, 1))[:20_000]),
    "one bit": encode(Image.fromarray(GRAY).convert("1")),
    "gray with alpha": encode(Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(GRAY.T.copy())])),
    "color with alpha": encode(Image.merge("RGBA", [Image.fromarray(part) for part in (GRAY, GRAY.T.copy()) * 2])),
    "16 bits per color": None,
    "palette": palette(None),
    "palette, one transparent color": palette(3),
    "palette, half transparent": palette(bytes(range(0, 250, 5))),
    "gray, a transparent one": encode(GRAY, transparency=7),
    "CMYK": encode(Image.fromarray(COLOR).convert("CMYK"), "JPEG", quality=95),
    "CMYK, TIFF": encode(Image.fromarray(COLOR).convert("CMYK"), "TIFF"),
    "progressive": encode(SMOOTH, "JPEG", progressive=True),
    "animated GIF": animation("GIF"),
    "animated PNG": animation("PNG"),
    "animated WebP": animation("WEBP"),
    "pages": animation("TIFF"),
}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, bits=8, color=0, data=bytes(99)):
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


ODD["16 bits per color"] = png(
    30, 30, 16, 2, b"".join(b"\0" + GRAY.astype(">u2")[y, :30].repeat(3).tobytes() for y in range(30))
)


@pytest.mark.parametrize("name", ODD)
def test_odd_images_are_read_as_by_a_slow_reference(name):
    opened = Image.open(io.BytesIO(ODD[name]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in ((48, 48, 3), (30, 20, 3), (48, 48, 1)):
            pixels = decode([ODD[name]], shape)[0].astype(int)
            tolerance = 3 if opened.format == "JPEG" and shape[2] == 1 else 1  # luminance from the file or from RGB
            assert np.abs(pixels - read_slowly(opened, shape)).max() <= tolerance
        assert ImageResizer(8).fit([ODD[name]]).image_shape_[:2] == opened.size[::-1]


def test_a_large_photograph_is_shrunk_like_by_a_slow_reference():
    y, x = np.mgrid[:900, :1600] / 60
    photo = np.stack([127 + 120 * np.sin(y + 2 * x), 127 + 100 * np.cos(3 * y), 255 * (x % 1)], axis=2).astype(np.uint8)
    for orientation in UPRIGHT:
        file = encode(photo, "JPEG", exif=exif(orientation), quality=95)
        stored = np.asarray(Image.open(io.BytesIO(file)))
        upright = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](stored)))
        for shape in ((48, 48, 3), (20, 200, 3)):
            difference = np.abs(decode([file], shape)[0] - read_slowly(upright, shape).astype(int))
            assert difference.mean() < 5


NO_IMAGES = {
    "a bomb": png(60_000, 60_000),
    "sides of 2**31 - 1": png(2**31 - 1, 2**31 - 1),
    "a wide bomb": png(2**31 - 1, 1),
    "a bomb as GIF": b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20),
    "no width": png(0, 48),
    "no height": png(48, 0),
    "empty": b"",
    "text": b"Dear reader,",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='48' height='48'/>",
    "HTML": b"<!DOCTYPE html><html>Not found</html>",
    "a header": encode(GRAY)[:30],
    "PostScript": encode(GRAY, "EPS"),
}
NO_PIXELS = {
    "a damaged PNG with EXIF": encode(GRAY, exif=exif(3))[:600] + b"0" + encode(GRAY, exif=exif(3))[601:],
    "half": encode(GRAY)[:1200],
    "half a JPEG": encode(COLOR, "JPEG")[:500],
    "a bomb of 16 bits": png(9_000, 9_000, 16),
    "16 bits": encode(GRAY.astype(np.uint16) * 257),
    "floats": encode(GRAY.astype(np.float32), "TIFF"),
    "32 bits": encode(GRAY.astype(np.int32), "TIFF"),
    "damaged": encode(GRAY)[:500] + b"\xff" * 50 + encode(GRAY)[550:],
}


@pytest.mark.parametrize("name", [*NO_IMAGES, *NO_PIXELS])
def test_what_is_no_image_is_named_and_refused(name, tmp_path):
    content = {**NO_IMAGES, **NO_PIXELS}[name]
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"^Image 1 can't be read as an image \(.+\): leave it out"):
            decode([encode(GRAY), content])
        for position, X in (
            ("Image 0", [content]),
            (str(path), [path, path]),
            ("Image 0", [content, Image.fromarray(GRAY)]),
        ):
            with pytest.raises(ValueError, match="^" + position) as caught:
                ImageResizer(48).fit(X)
            assert str(caught.value).count("leave it out") == 1


def test_programs_are_never_run():
    with pytest.raises(ValueError, match="expected pixels, got EPS, a program that draws"):
        decode([NO_IMAGES["PostScript"]])


# archives


def pack_tar(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def table(n_rows=3):
    faces = make_faces(n_rows, random_state=0, as_frame=True)
    return faces.frame.to_csv(index=False).encode(), faces.data


def peak_memory(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("form", ["table", "images"])
def test_a_flipped_bit_in_a_compressed_tar_is_noticed(form, compress, tmp_path):
    content, pixels = table()
    if form == "images":
        names = ("happy", "sad", "fear")
        members = {
            f"{name}/1.bmp": encode(face.reshape(48, 48), "BMP") for name, face in zip(names, pixels, strict=True)
        }
    else:
        members = {"fer2013.csv": content}
    packed, path, random = compress(pack_tar(members)), tmp_path / "faces.tar.gz", Random(0)
    path.write_bytes(packed)
    expected = load_fer2013(path)
    n_refused = 0
    for _ in range(60):
        damaged = bytearray(packed)
        damaged[random.randrange(len(packed))] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        try:
            faces = load_fer2013(path)
        except ValueError as error:
            assert "faces.tar.gz" in str(error)  # noqa: PT017
            n_refused += 1
        else:
            np.testing.assert_array_equal(faces.data, expected.data)
            np.testing.assert_array_equal(faces.target, expected.target)
    assert n_refused > 50


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_in_a_zipped_image_is_noticed(method, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 48, 48), dtype=np.uint8)
    frames = list(map(Image.fromarray, images))  # Pillow needs only the first
    file, path, random = io.BytesIO(), tmp_path / "faces.zip", Random(0)
    with zipfile.ZipFile(file, "w", method, compresslevel=1) as archive:
        archive.writestr("happy/1.gif", encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    packed = file.getvalue()
    path.write_bytes(packed)
    expected = load_fer2013(path).data
    assert len(packed) > 100_000
    for _ in range(60):
        damaged = bytearray(packed)
        damaged[random.randrange(900, 2500)] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            np.testing.assert_array_equal(load_fer2013(path).data, expected)


def test_a_bomb_in_place_of_a_zipped_image_is_refused(tmp_path):
    path = tmp_path / "faces.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("sad/1.bmp", "w") as file,
    ):
        file.write(encode(GRAY, "BMP"))
        for _ in range(11):
            file.write(bytes(10**7))

    def load():
        with pytest.raises(
            ValueError, match=r"^Image sad/1\.bmp cannot be read \(an image of more than 100,000,000 bytes\)"
        ):
            load_fer2013(path)

    assert peak_memory(load) < 20e6


def header(name, size, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def pax(**records):
    member = tarfile.TarInfo("a.csv")
    member.pax_headers = {key.replace("_", "."): value for key, value in records.items()}
    return member.tobuf(tarfile.PAX_FORMAT)


ZEROS = gzip.compress(bytes(10_000_000))
BOMBS = {
    "a row without end": (
        "a.csv.gz",
        lambda: gzip.compress(b"1" * 10_000_000) * 30,
        "a row of more than 1,000,000 bytes",
    ),
    "a row without end, of cells": ("a.csv", lambda: b"pixels\n" + b"," * 30_000_000, "a row of more than"),
    "a row of many lines": ("a.csv", lambda: b"pixels\n" + b'"\n",' * 5_000_000, "a row of more than"),
    "an image": ("a.tar.gz", lambda: gzip.compress(header("happy/1.png", 2 * 10**9)) + ZEROS * 30, "extract it"),
    "a long name": (
        "a.tar.gz",
        lambda: gzip.compress(header("x", 2 * 10**8, tarfile.GNUTYPE_LONGNAME)) + ZEROS * 30,
        "a header has 200,000,000 bytes",
    ),
    "metadata": (
        "a.tar.gz",
        lambda: gzip.compress(header("x", 2 * 10**8, tarfile.XHDTYPE)) + ZEROS * 30,
        "a header has 200,000,000 bytes",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_fill_the_memory(name, tmp_path):
    file, make, message = BOMBS[name]
    path = tmp_path / file
    path.write_bytes(make())

    def load():
        with pytest.raises(ValueError, match=rf"^{file} in .* is truncated or damaged .*{message}|{path}.*{message}"):
            load_fer2013(path)

    assert peak_memory(load) < 60e6


def test_bad_rows_do_not_fill_the_memory(tmp_path):
    content, pixels = table()
    path = tmp_path / "a.csv"
    path.write_bytes(content + b"1\n" * 20_000)

    def load():
        with pytest.warns(UserWarning, match="Left out 20,000 of the 20,003 faces in .*, the first: Row 3 "):
            assert np.array_equal(load_fer2013(path, errors="drop").data, pixels)

    assert peak_memory(load) < 2e6


def test_a_large_table_of_carriage_returns_is_read(tmp_path):
    content, pixels = table()
    head, *rows = content.splitlines()
    path = tmp_path / "a.csv"
    path.write_bytes(b"\r".join([head, *rows * 100]))
    assert path.stat().st_size > 2e6
    faces = load_fer2013(path)
    np.testing.assert_array_equal(faces.data, np.tile(pixels, (100, 1)))
    path.write_bytes(b"\r\n".join([head, *rows * 100]))
    np.testing.assert_array_equal(load_fer2013(path).data, np.tile(pixels, (100, 1)))


DAMAGED_TARS = {
    "a map of letters": pax(GNU_sparse_map="a,b"),
    "a size of letters": pax(GNU_sparse_size="many"),
    "a map that ends": pax(GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_realsize="1"),
    "a huge size": header("a.csv", 2**70),
    "a negative size": header("a.csv", -512) * 3,
    "many long names": header("x", 1, tarfile.GNUTYPE_LONGNAME) * 3000,
}


@pytest.mark.parametrize("name", DAMAGED_TARS)
@pytest.mark.timeout(60)
def test_damaged_tar_headers_name_the_file(name, tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(DAMAGED_TARS[name] + bytes(2048))
    with pytest.raises(ValueError, match=r"a\.tar"):
        load_fer2013(path)


# votes of FER+

CHOICES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]


@pytest.fixture
def votes(tmp_path):
    """The path of a table of votes, and the faces."""
    faces = make_faces(7, random_state=0)
    codes = [4, 5, 6, 1, 3, 2, 0]
    rows = pd.DataFrame(np.eye(10, dtype=int)[[codes[code] for code in faces.target]] * 10, columns=CHOICES)
    rows.insert(0, "Usage", faces.usage)
    rows.insert(1, "Image name", "fer.png")
    rows.to_csv(tmp_path / "votes.csv", index=False)
    return tmp_path / "votes.csv", faces


def test_a_damaged_gzip_of_votes_is_named(votes):
    path, faces = votes
    packed, expected = gzip.compress(path.read_bytes()), load_ferplus(path, fer2013=faces)
    for place in range(0, len(packed), 3):
        for damaged in (packed[:place], packed[:place] + b"\xff" + packed[place + 1 :]):
            Path(f"{path}.gz").write_bytes(damaged)
            try:
                loaded = load_ferplus(f"{path}.gz", fer2013=faces)
            except ValueError as error:
                assert "votes.csv.gz" in str(error)  # noqa: PT017
            else:
                np.testing.assert_array_equal(loaded.votes, expected.votes)


def test_odd_tables_of_votes_are_refused_or_read_by_the_first_column_of_each_name(votes):
    path, faces = votes
    expected = load_ferplus(path, fer2013=faces)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace(",", "\0,", 1), *lines[2:]]))
    with pytest.raises(ValueError, match="Expected the rows of fer2013 to match"):
        load_ferplus(path, fer2013=faces)
    forms = [
        [lines[0], *(f"{line},7,8" for line in lines[1:])],
        [lines[0] + ", Usage,fear", *(f"{line},Test,9" for line in lines[1:])],
    ]
    for form in forms:
        path.write_text("\n".join(form))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loaded = load_ferplus(path, fer2013=faces)
        np.testing.assert_array_equal(loaded.votes, expected.votes)
        np.testing.assert_array_equal(loaded.target, expected.target)
