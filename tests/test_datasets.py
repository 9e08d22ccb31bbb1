import csv
import gzip
import io
import random
import re
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ferkit.datasets import load_fer2013, make_faces

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
USAGES = ("Training", "PublicTest", "PrivateTest", "Validation", "Test")
N = 24  # faces: enough that file names sort differently as text and as numbers
TARGET = np.arange(N) % 7
USAGE = np.repeat(["Training", "PublicTest", "PrivateTest"], [14, 5, 5])
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 2304), dtype=np.uint8)
STRINGS = np.array([" ".join(map(str, face)) for face in PIXELS], dtype=object)
FORMS = ("Anger", "DISGUSTED", "fearful", "happiness", "Sadness", "surprised", "neutral")


def table(header=("emotion", "pixels", "Usage"), emotion=TARGET, pixels=STRINGS, usage=USAGE, **style):
    """CSV text of the columns that `header` names."""
    columns = {"emotion": emotion, "pixels": pixels, "usage": usage, "id": range(N)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", **style)
    writer.writerow(header)
    writer.writerows(zip(*(columns[name.strip().lower()] for name in header), strict=True))
    return text.getvalue()


def png(face):
    file = io.BytesIO()
    Image.fromarray(face.reshape(48, 48)).save(file, "PNG")
    return file.getvalue()


def images(path="{split}/{emotion}/{usage}_{i}.png", names=EMOTIONS):
    """Dict of file name to image, for every face."""
    places = [
        path.format(split="train" if usage == "Training" else "test", emotion=names[code], usage=usage, i=i)
        for i, (code, usage) in enumerate(zip(TARGET, USAGE, strict=True))
    ]
    return {place: png(face) for place, face in zip(places, PIXELS, strict=True)}


def pack_zip(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def pack_tar(members, mode="w:gz"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            content = content.encode() if isinstance(content, str) else content
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def write(path, content):
    """Write text or bytes to `path`, or the files of a dict into the folder `path`."""
    if isinstance(content, dict):
        for name, file in content.items():
            write(path / name, file)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


FULL = table()
CHALLENGE = {
    "example_submission.csv": "Prediction\n0\n",
    "fer2013.tar.gz": pack_tar({"fer2013/README": "", "fer2013/fer2013.bib": "@", "fer2013/fer2013.csv": FULL}),
    "test.csv": table(["pixels"]),
    "train.csv": table(["emotion", "pixels"]),
}
JUNK = {"__MACOSX/train/sad/1.png": b"\x00\x05\x16\x07", "train/happy/._1.png": b"\x00", ".DS_Store": b"\x00"}

# All forms of the same faces: (name of the file or folder, its content).
LAYOUTS = {
    "csv": ("fer2013.csv", FULL),
    "csv of icml": ("icml_face_data.csv", table(["emotion", " Usage", " pixels"])),
    "csv, columns shuffled": ("a.csv", table(["Usage", "id", "pixels", "emotion"])),
    "csv, all quoted": ("a.csv", table(quoting=csv.QUOTE_ALL)),
    "csv, from Windows": ("a.csv", "\ufeff" + FULL.replace("\n", "\r\n")),
    "csv, last newline missing": ("a.csv", FULL[:-1]),
    "csv, emotions by name": ("a.csv", table(emotion=[FORMS[code] for code in TARGET])),
    "csv, emotions as floats": ("a.csv", table(emotion=TARGET.astype(float))),
    "csv, other case": ("a.csv", table(["EMOTION", "Pixels", "usage"], usage=[usage.upper() for usage in USAGE])),
    "csv, any suffix": ("faces.txt", FULL),
    "csv.gz": ("fer2013.csv.gz", gzip.compress(FULL.encode())),
    "csv.gz, named csv": ("fer2013.csv", gzip.compress(FULL.encode())),
    "tar.gz": ("fer2013.tar.gz", CHALLENGE["fer2013.tar.gz"]),
    "tar": ("fer2013.tar", pack_tar({"./fer2013/fer2013.csv": FULL}, "w")),
    "tar, folders and long names": ("a.tar", pack_tar({"fer/": "", f"fer/{'long' * 60}/fer2013.csv": FULL}, "w")),
    "tar.xz": ("fer2013.tar.xz", pack_tar({"fer2013/README": "", "fer2013/fer2013.csv": FULL}, "w:xz")),
    "tar.gz of images": ("faces.tar.gz", pack_tar(images("./faces/{split}/{emotion}/{usage}_{i}.png"))),
    "zip": ("archive.zip", pack_zip({"fer2013.csv": FULL})),
    "zip, any suffix": ("archive", pack_zip({"fer2013.csv": FULL})),
    "zip of a folder": ("archive.zip", pack_zip({"fer2013/": "", "fer2013/faces.txt": FULL})),
    "zip, nested, junk": ("archive.zip", pack_zip({"fer2013/fer2013.csv": FULL} | JUNK)),
    "zip, nameless member": ("archive.zip", pack_zip({"nameless": b"", "a.csv": FULL}).replace(b"nameless", bytes(8))),
    "zip of csv.gz": ("archive.zip", pack_zip({"fer2013.csv.gz": gzip.compress(FULL.encode())})),
    "zip of a zip": ("archive.zip", pack_zip({"inner.zip": pack_zip({"fer2013.csv": FULL})})),
    "zip of the challenge": ("challenge.zip", pack_zip(CHALLENGE)),
    "zip of the challenge, icml": ("challenge.zip", pack_zip(CHALLENGE | {"icml_face_data.csv": FULL})),
    "zip of images": ("archive.zip", pack_zip(images() | JUNK)),
    "zip of a tar.gz of images": ("archive.zip", pack_zip({"faces.tar.gz": pack_tar(images())})),
    "zip of images, nested": ("archive.zip", pack_zip(images("a/b/{split}/{emotion}/{usage}_{i}.png"))),
    "zip of images, twice": ("archive.zip", pack_zip(images("a/{split}/{emotion}/{usage}_{i}.png")
                                                     | images("a/a/{split}/{emotion}/{usage}_{i}.png"))),
    "folder of csv": ("fer", {"fer2013.csv": FULL, "README.txt": "", "labels.csv": "name,votes\n1,2\n"}),
    "folder of csv, nested": ("fer", {"fer2013/fer2013.csv": FULL}),
    "folder of the challenge": ("fer", CHALLENGE),
    "folder of a tar.gz": ("fer", {"fer2013.tar.gz": CHALLENGE["fer2013.tar.gz"]}),
    "folder of csv and images": ("fer", {"fer2013.csv": FULL, "train/happy/1.png": b""}),
    "folder of images": ("fer", images() | JUNK | {"README.txt": "", "train/happy/Thumbs.db": b""}),
    "folder of images, forms": ("fer", images("{split}/{emotion}/{usage}_{i}.png", FORMS)),
    "folder of images, codes": ("fer", images("{split}/{emotion}/{usage}_{i}.png", "0123456")),
    "folder of images, no splits": ("fer", images("{emotion}/{usage}_{i}.png")),
    "folder of images, hidden": (".fer", images("{split}/{emotion}/{usage}_{i}.PNG")),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same_faces(layout, tmp_path):
    name, content = LAYOUTS[layout]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        faces = load_fer2013(write(tmp_path / name, content))
    assert faces.data.dtype == np.uint8
    assert faces.target.dtype == np.int64
    assert np.array_equal(faces.data, PIXELS)
    assert np.array_equal(faces.target, TARGET)
    assert np.array_equal(faces.usage, USAGE)
    assert tuple(faces.target_names) == EMOTIONS
    assert faces.images.shape == (N, 48, 48)
    assert np.shares_memory(faces.images, faces.data)
    assert name in faces.DESCR


@pytest.mark.parametrize(
    ("name", "header", "usage"),
    [
        ("train.csv", ["emotion", "pixels"], "Training"),
        ("Train.csv", ["emotion", "pixels"], "Training"),
        ("test.csv", ["pixels"], "Test"),
        ("training_faces.csv", ["emotion", "pixels"], "Test"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_tables_without_usage(name, header, usage, zipped, tmp_path):
    path = write(tmp_path / name, table(header))
    if zipped:
        path = write(tmp_path / "archive.zip", pack_zip({name: table(header), "example_submission.csv": "a\n1\n"}))
    faces = load_fer2013(path)
    assert np.array_equal(faces.data, PIXELS)
    assert set(faces.usage) == {usage}
    assert faces.target is None if "emotion" not in header else np.array_equal(faces.target, TARGET)
    data, target = load_fer2013(path, return_X_y=True)
    assert np.array_equal(data, faces.data)
    assert np.array_equal(target, faces.target)


def test_train_csv_is_preferred_to_test_csv(tmp_path):
    tables = {name: CHALLENGE[name] for name in ("test.csv", "train.csv", "example_submission.csv")}
    faces = load_fer2013(write(tmp_path / "challenge.zip", pack_zip(tables)))
    assert set(faces.usage) == {"Training"}
    assert np.array_equal(faces.target, TARGET)


@pytest.mark.parametrize("form", ["csv", "zip", "folder"])
@pytest.mark.parametrize("usage", ["PublicTest", ["PublicTest"], ("PrivateTest", "Training"), list(np.unique(USAGE))])
def test_usage_selects(form, usage, tmp_path):
    path = tmp_path / {"csv": "a.csv", "zip": "a.zip", "folder": "fer"}[form]
    write(path, {"csv": FULL, "zip": pack_zip({"a.csv": FULL}), "folder": images()}[form])
    faces = load_fer2013(path, usage=usage)
    chosen = np.isin(USAGE, usage)
    assert np.array_equal(faces.data, PIXELS[chosen])
    assert np.array_equal(faces.target, TARGET[chosen])
    assert np.array_equal(faces.usage, USAGE[chosen])


def test_a_row_of_no_usage_is_bad_whatever_is_selected(tmp_path):
    position, text, reason = BAD_ROWS["unknown usage"]
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=f"^Row {position} {reason}"):
        load_fer2013(path, usage="PublicTest")


def test_a_usage_may_begin_late_in_the_table(tmp_path):
    usage = ["Training"] * 400 + ["Test"]
    path = write(tmp_path / "a.csv", "\n".join(["pixels,emotion,usage", *(f"{STRINGS[5]},5,{name}" for name in usage)]))
    faces, expected = load_fer2013(path, usage="Test"), load_fer2013(path)
    for name in ("data", "target", "usage", "origin"):
        assert faces[name].dtype == expected[name].dtype
        assert np.array_equal(faces[name], expected[name][400:])


@pytest.mark.parametrize("content", [FULL, images()], ids=["csv", "folder"])
@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (
            "Test",
            r"^Expected Test faces in .*fer, got only Training \(14\), PublicTest \(5\), PrivateTest \(5\): "
            r"pass usage=\['PublicTest', 'PrivateTest'\]\.",
        ),
        (["Training", "Validation", "Test"], "^Expected Validation and Test faces in .*, got only Training"),
        (USAGES, "^Expected Validation and Test faces in .*, got only Training"),
        (
            "train",
            "usage to be one or several of Training, PublicTest, PrivateTest, Validation, Test, got usage='train'",
        ),
        (["Training", "all"], "Expected usage to be one or several of"),
        ([], "Expected usage to be one or several of"),
    ],
)
def test_missing_usage_is_named(content, usage, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_fer2013(write(tmp_path / "fer", content), usage=usage)


def test_decode_false_keeps_the_strings(tmp_path):
    faces = load_fer2013(write(tmp_path / "fer2013.csv", FULL), usage="PublicTest", decode=False)
    assert faces.data.dtype == object
    assert np.array_equal(faces.data, STRINGS[USAGE == "PublicTest"])
    assert np.array_equal(faces.target, TARGET[USAGE == "PublicTest"])
    assert faces.images is None


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_strings_keep_their_blanks_but_not_the_end_of_the_line(end, tmp_path):
    strings = [f" {STRINGS[0]} ", f"{STRINGS[1]}\t"]
    faces = load_fer2013(write(tmp_path / "test.csv", end.join(["pixels", *strings, ""])), decode=False)
    assert faces.data.tolist() == strings


def test_a_quoted_string_may_have_several_lines(tmp_path):
    string = STRINGS[0].replace(" ", "\n", 3)
    path = write(tmp_path / "test.csv", f'pixels\n"{string}"\n{STRINGS[1]}\n')
    assert np.array_equal(load_fer2013(path).data, PIXELS[:2])
    assert load_fer2013(path, decode=False).data.tolist() == [string, STRINGS[1]]


def test_images_have_no_strings(tmp_path):
    with pytest.raises(ValueError, match=r"^Expected a table with pixel strings, got images in .*: pass decode=True"):
        load_fer2013(write(tmp_path / "fer", images()), decode=False)


@pytest.mark.parametrize(
    ("folder", "usage"),
    [
        ("train", "Training"),
        ("Train", "Training"),
        ("training", "Training"),
        ("test", "Test"),
        ("val", "Validation"),
        ("valid", "Validation"),
        ("validation", "Validation"),
        ("PublicTest", "PublicTest"),
        ("PrivateTest", "PrivateTest"),
        ("faces", "Training"),
    ],
)
def test_usage_comes_from_the_folder(folder, usage, tmp_path):
    path = write(tmp_path / "fer", images(folder + "/{emotion}/{i}.png"))
    for faces in load_fer2013(path), load_fer2013(path / folder):  # the name of the folder itself counts as well
        assert set(faces.usage) == {usage}
        assert np.array_equal(faces.data, PIXELS)
        assert np.array_equal(faces.target, TARGET)


def test_images_are_sorted_by_usage_then_naturally(tmp_path):
    names = [
        f"{split}/{emotion}/{i}.png" for split in ("train", "val", "test") for i, emotion in enumerate(EMOTIONS, 7)
    ]
    pictures = dict(zip(names, map(png, PIXELS), strict=False))
    shuffled = dict(random.Random(0).sample(list(pictures.items()), len(pictures)))
    faces = load_fer2013(write(tmp_path / "faces.zip", pack_zip(shuffled)))
    assert np.array_equal(faces.data, PIXELS[:21])
    assert np.array_equal(faces.target, [*range(7)] * 3)
    assert np.array_equal(faces.usage, np.repeat(["Training", "Validation", "Test"], 7))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1"])
@pytest.mark.parametrize("size", [(48, 48), (96, 96), (24, 24), (200, 100)])
def test_images_become_gray_and_48_by_48(mode, size, tmp_path):
    ramp = np.linspace(0, 255, 48).astype(np.uint8)
    gray = np.where(ramp < 128, 0, 255).astype(np.uint8) if mode == "1" else ramp
    face = Image.fromarray(np.tile(gray, (48, 1))).resize(size, Image.Resampling.BILINEAR).convert(mode)
    path = tmp_path / "happy" / "1.png"
    path.parent.mkdir()
    face.save(path)
    (image,) = load_fer2013(tmp_path).images
    assert np.abs(image - gray.astype(float)).mean() < (8 if mode in "1P" else 4)


def test_large_color_jpegs(tmp_path):
    path = tmp_path / "happy" / "1.jpg"
    path.parent.mkdir()
    ramp = np.linspace(0, 255, 480).astype(np.uint8)
    Image.fromarray(np.tile(ramp, (480, 1))).convert("RGB").save(path)
    (image,) = load_fer2013(tmp_path).images
    assert np.abs(image - np.linspace(0, 255, 48)).max() < 5


def bad_row(position, **cells):
    """The table with other cells in one row."""
    cells = {"emotion": TARGET[position], "pixels": STRINGS[position], "usage": USAGE[position]} | cells
    columns = {"emotion": TARGET.astype(object), "pixels": STRINGS.copy(), "usage": USAGE.astype(object)}
    for name, value in cells.items():
        columns[name][position] = value
    return table(**columns)


BAD_ROWS = {
    "a value short": (15, bad_row(15, pixels=STRINGS[0][:-4]), r"holds 2,303 pixel values, expected 2,304 \(48.48\)"),
    "a value long": (0, bad_row(0, pixels=STRINGS[0] + " 0"), "holds 2,305 pixel values"),
    "letters": (3, bad_row(3, pixels=STRINGS[0] + "12a"), "holds '[0-9]+12a', expected whole numbers from 0 to 255"),
    "256": (3, bad_row(3, pixels="256" + STRINGS[0]), "holds 256[0-9]*, expected whole numbers"),
    "no pixels": (4, bad_row(4, pixels=""), "is empty"),
    "nan": (4, bad_row(4, pixels="nan"), "holds 'nan'"),
    "emotion 7": (5, bad_row(5, emotion=7), "has emotion '7', expected angry, disgust"),
    "emotion -1": (5, bad_row(5, emotion=-1), "has emotion '-1'"),
    "emotion 1.5": (5, bad_row(5, emotion=1.5), "has emotion '1.5'"),
    "no emotion": (5, bad_row(5, emotion=""), "has emotion ''"),
    "unknown emotion": (5, bad_row(5, emotion="contempt"), "has emotion 'contempt'"),
    "unknown usage": (6, bad_row(6, usage="Exam"), "has usage 'Exam', expected Training, PublicTest, PrivateTest"),
    "no usage": (6, bad_row(6, usage=""), "has usage ''"),
    "truncated in pixels": (N - 1, FULL[:-500], r"holds 2,\d\d\d pixel values"),
    "truncated in usage": (N - 1, FULL[:-5], "has usage 'Privat"),
    "truncated in emotion": (N - 1, FULL[: FULL.rindex("\n", 0, -1) + 2], "is empty"),
    "undecodable": (N - 1, FULL.encode()[:-99] + b"\xff" + FULL.encode()[-98:], "holds '[0-9]*\ufffd[0-9]*'"),
}


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_or_dropped(case, decode, tmp_path):
    position, text, reason = BAD_ROWS[case]
    path = write(tmp_path / "fer2013.csv", text)
    with pytest.raises(ValueError, match=f'^Row {position} {reason}.*: drop it, or load with errors="drop"$'):
        load_fer2013(path, decode=decode)
    with pytest.warns(UserWarning, match=f"Left out 1 of the {N} faces in .*, the first: Row {position} {reason}"):
        faces = load_fer2013(path, errors="drop", decode=decode)
    assert np.array_equal(faces.data, np.delete(PIXELS if decode else STRINGS, position, axis=0))
    assert np.array_equal(faces.target, np.delete(TARGET, position))
    assert np.array_equal(faces.usage, np.delete(USAGE, position))


def test_several_bad_rows(tmp_path):
    rows = FULL.splitlines(keepends=True)
    rows[3], rows[9], rows[20] = "9" + rows[3][1:], "0,1 2,\n", rows[20].replace(" ", " x", 1)
    path = write(tmp_path / "fer2013.csv", "".join(rows))
    with pytest.raises(ValueError, match=r"^Row 2 has emotion '9'"):
        load_fer2013(path)
    with pytest.warns(UserWarning, match="Left out 3 of the 24 faces .* Row 2 has"):
        faces = load_fer2013(path, errors="drop")
    assert np.array_equal(faces.data, np.delete(PIXELS, [2, 8, 19], axis=0))
    assert np.array_equal(faces.target, np.delete(TARGET, [2, 8, 19]))


LONG = 24  # copies of FULL are more than the loader parses at a time


def test_rows_are_numbered_across_the_whole_table(tmp_path):
    header, *rows = FULL.splitlines()
    rows = LONG * rows
    position = 250
    rows[position] = rows[position].rpartition(" ")[0] + f",{USAGE[position % N]}"
    usage = np.tile(USAGE, LONG)
    path = write(tmp_path / "fer2013.csv", "\n".join([header, *rows]))
    with pytest.raises(ValueError, match=f"^Row {position} holds 2,303 pixel values"):
        load_fer2013(path, usage=usage[position])
    n = np.count_nonzero(usage == usage[position])
    with pytest.warns(UserWarning, match=f"Left out 1 of the {n} faces in .* Row {position} holds 2,303"):
        faces = load_fer2013(path, usage=usage[position], errors="drop")
    kept = [row for row in np.flatnonzero(usage == usage[position]) if row != position]
    assert np.array_equal(faces.origin, kept)
    assert np.array_equal(faces.data, np.tile(PIXELS, (LONG, 1))[kept])
    faces = load_fer2013(path, usage="PublicTest")  # faults in other splits do not matter
    assert np.array_equal(faces.origin, np.flatnonzero(usage == "PublicTest"))


def quote(line):
    return re.sub("[^,]+", r'"\g<0>"', line)


HEADER, *LINES = FULL.splitlines()
LINES *= LONG
ODD_TABLES = {
    "a row quoted": (HEADER, [*LINES[:3], quote(LINES[3]), *LINES[4:]], "\n"),
    "a late row quoted": (HEADER, [*LINES[:-1], quote(LINES[-1])], "\n"),
    "a CR, and a late row quoted": (HEADER, ["\r".join(LINES[:2]), *LINES[2:-1], quote(LINES[-1])], "\n"),
    "CRs": (HEADER, LINES, "\r"),
    "header quoted": (quote(HEADER), LINES, "\n"),
    "a column twice": (HEADER + ",pixels", [line + ",0" for line in LINES], "\n"),
    "a column twice, quoted first": ('"pixels",emotion,pixels', [f"{STRINGS[0]},0,0"], "\n"),
    "empty lines": ("\n" + HEADER, LINES, "\n\n\n"),
    "a column": ("pixels", STRINGS.tolist() * LONG, "\n"),
    "a column, empty lines": ("pixels", STRINGS.tolist() * LONG, "\n\n"),
    "a column, empty lines, a late row quoted": ("pixels", [*STRINGS, "", *STRINGS, quote(STRINGS[0])], "\n"),
}


@pytest.mark.parametrize("case", ODD_TABLES)
def test_every_row_is_loaded_once(case, tmp_path):
    header, lines, end = ODD_TABLES[case]
    faces = load_fer2013(write(tmp_path / "fer2013.csv", end.join([header, *lines, ""])))
    n = len([line for line in end.join(lines).splitlines() if line])
    assert np.array_equal(faces.data, np.resize(PIXELS, (n, 2304)))
    assert np.array_equal(faces.origin, range(n))
    assert "emotion" not in header or np.array_equal(faces.target, np.resize(TARGET, n))


@pytest.mark.parametrize("late", [quote, str])
def test_a_carriage_return_ends_a_row(late, tmp_path):
    halves = LINES[1].replace(" ", "\r", 1)
    path = write(tmp_path / "fer2013.csv", "\n".join([HEADER, LINES[0], halves, *LINES[2:-1], late(LINES[-1])]))
    with pytest.raises(ValueError, match=r"^Row 1 holds 1 pixel value, expected"):
        load_fer2013(path)
    with pytest.warns(UserWarning, match=f"Left out 2 of the {len(LINES) + 1} faces"):
        faces = load_fer2013(path, errors="drop")
    assert np.array_equal(faces.origin, np.delete(np.arange(len(LINES) + 1), [1, 2]))
    assert np.array_equal(faces.data, np.delete(np.tile(PIXELS, (LONG, 1)), 1, axis=0))


def damage(content, how):
    half = len(content) // 2
    return {"truncated": content[:half], "overwritten": content[:half] + b"\xff" * 200 + content[half + 200 :]}[how]


@pytest.mark.parametrize("how", ["truncated", "overwritten"])
@pytest.mark.parametrize("layout", ["csv.gz", "tar.gz", "tar.xz", "zip", "zip of the challenge", "folder of a tar.gz"])
def test_damaged_archives(layout, how, tmp_path):
    name, content = LAYOUTS[layout]
    if isinstance(content, dict):
        content = {file: damage(packed, how) for file, packed in content.items()}
    else:
        content = damage(content, how)
    for errors in ("raise", "drop"):
        with pytest.raises(
            ValueError, match=rf"{name} is truncated or damaged \((?!None).*: download it again"
        ) as caught:
            load_fer2013(write(tmp_path / name, content), errors=errors)
        assert str(caught.value).count(f"{name} ") == 1


def test_a_zip_that_points_before_its_start(tmp_path):
    content = bytearray(pack_zip({"fer2013.csv": FULL}))
    content[-3] = 44  # the position of its directory
    with pytest.raises(ValueError, match=r"is truncated or damaged \(a file in it begins before its start\)"):
        load_fer2013(write(tmp_path / "fer2013.zip", content))


GOOD = {
    "table": {"fer2013.csv": FULL},
    "lesser table": {"train.csv": table(["emotion", "pixels"])},
    "zip": {"fer2013.zip": pack_zip({"fer2013.csv": FULL})},
    "images": images("{emotion}/{i}.png"),
}
LINK = None  # to nowhere
BAD = {
    "bad gzip": ("a.csv.gz", b"\x1f\x8bgzip"),
    "truncated gzip": ("a.csv.gz", gzip.compress(FULL.encode())[:5000]),
    "open quote": ("a.csv", 'emotion,"pixels'),
    "link to a table": ("a.csv", LINK),
    "truncated zip": ("a.zip", pack_zip({"fer2013.csv": FULL})[:-500]),
    "truncated tar": ("a.tar.gz", CHALLENGE["fer2013.tar.gz"][:5000]),
    "no archive": ("a.tar.gz", "an error page"),
    "link to an archive": ("a.zip", LINK),
}
UNRELATED = {
    "csv": ("a.csv", "id,votes\n1,2\n"),
    "bytes": ("a.csv", bytes(range(256))),
    "zip": ("a.zip", pack_zip({"b.csv": "id,votes\n1,2\n", "c.txt": "c"})),
}


def write_beside(folder, good, name, content):
    write(folder, GOOD.get(good, {}))
    folder.mkdir(exist_ok=True)
    if content is LINK:
        (folder / name).symlink_to(folder / "nowhere")
    else:
        write(folder / name, content)
    return folder


@pytest.mark.parametrize("good", GOOD)
@pytest.mark.parametrize("bad", BAD)
def test_a_damaged_file_beside_good_data_is_skipped_and_named(bad, good, tmp_path):
    name, content = BAD[bad]
    folder = write_beside(tmp_path / "fer", good, name, content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        faces = load_fer2013(folder)
    assert len(faces.data) == N
    is_archive = name in ("a.zip", "a.tar.gz")
    looked_into = not is_archive or good in ("lesser table", "zip")  # archives are only opened if nothing is better
    assert len(caught) == looked_into
    for warning in caught:
        assert re.match(rf"Skipped files in .*fer that cannot be read: fer/{name} \(.+\)\. ", str(warning.message))


@pytest.mark.parametrize("bad", BAD)
def test_a_damaged_file_without_good_data_is_named(bad, tmp_path):
    name, content = BAD[bad]
    error = FileNotFoundError if content is LINK else ValueError
    with pytest.raises(error, match=f"fer/{name}"):
        load_fer2013(write_beside(tmp_path / "fer", None, name, content))


@pytest.mark.parametrize("good", GOOD)
@pytest.mark.parametrize("case", UNRELATED)
def test_unrelated_files_beside_good_data_are_skipped(case, good, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        faces = load_fer2013(write_beside(tmp_path / "fer", good, *UNRELATED[case]))
    assert len(faces.data) == N


def test_rows_of_long_tables_are_numbered_through(tmp_path):
    faces = make_faces(1100, as_frame=True, random_state=0)
    faces.frame.to_csv(tmp_path / "fer2013.csv", index=False)
    loaded = load_fer2013(tmp_path / "fer2013.csv")
    assert loaded.origin.tolist() == [*range(1100)]
    assert np.array_equal(loaded.data, faces.data)


def test_warnings_point_to_the_call(tmp_path):
    _, text, _ = BAD_ROWS["no emotion"]
    write(tmp_path / "fer" / "b.csv.gz", BAD["bad gzip"][1])
    with pytest.warns(UserWarning, match=r"^Skipped|^Left out") as caught:
        load_fer2013(write(tmp_path / "fer" / "a.csv", text).parent, errors="drop")
    assert [warning.filename for warning in caught] == [__file__] * 2


def test_a_truncated_table_is_only_replaced_by_an_equal_one(tmp_path):
    broken = gzip.compress(random.Random(0).randbytes(2_000_000).hex().encode())
    broken = gzip.compress(FULL.encode() + b"0," + broken)[:-9000]
    path = write(tmp_path / "fer" / "a.csv.gz", broken).parent
    write(path / "train.csv", table(["emotion", "pixels"]))
    with pytest.raises(ValueError, match=r"^fer/a.csv.gz in .*fer is truncated or damaged \(.*\): download it again"):
        load_fer2013(path)
    write(path / "fer2013.csv", FULL)
    with pytest.warns(UserWarning, match=r"^Skipped files in .*fer that cannot be read: fer/a.csv.gz \("):
        assert np.array_equal(load_fer2013(path).data, PIXELS)


def test_a_file_that_is_no_table_does_not_hide_later_ones(tmp_path):
    path = write(tmp_path / "fer.zip", pack_zip({"a.csv": '"no end', "b.csv": FULL}))
    with pytest.warns(
        UserWarning, match=r"^Skipped files in .*fer.zip that cannot be read: a.csv \(its quotes do not match"
    ):
        assert np.array_equal(load_fer2013(path).data, PIXELS)


def test_of_equal_tables_the_least_nested_and_then_the_first_by_name_is_read(tmp_path):
    lines = FULL.splitlines()
    tables = {"a/a.csv": lines[1], "c.csv": lines[2], "b.csv": lines[3]}
    path = write(tmp_path / "fer.zip", pack_zip({name: f"{lines[0]}\n{line}" for name, line in tables.items()}))
    assert np.array_equal(load_fer2013(path).data, PIXELS[2:3])


def test_only_files_named_as_tables_are_read_where_there_are_several(tmp_path):
    path = write(tmp_path / "fer.zip", pack_zip({"notes.txt": FULL, "train.csv": table(["emotion", "pixels"])}))
    assert set(load_fer2013(path).usage) == {"Training"}


def test_a_bad_row_names_its_table_in_a_folder(tmp_path):
    position, text, reason = BAD_ROWS["a value short"]
    write(tmp_path / "fer" / "a.csv", text)
    with pytest.raises(ValueError, match=f"^Row {position} of fer/a.csv {reason}"):
        load_fer2013(tmp_path / "fer")


@pytest.mark.parametrize("place", [0, 3])
def test_a_link_to_no_image_is_named_or_dropped(place, tmp_path):
    pictures = images("{emotion}/{i}.png")
    name = sorted(pictures)[place]
    folder = write(tmp_path / "fer", pictures)
    (folder / name).unlink()
    (folder / name).symlink_to(folder / "nowhere")
    with pytest.raises(ValueError, match=f"^Image fer/{name} cannot be read"):
        load_fer2013(folder)
    with pytest.warns(UserWarning, match=f"Left out 1 .*the first: Image fer/{name}"):
        assert len(load_fer2013(folder, errors="drop").data) == N - 1


NOT_FACES = {
    "empty": ("a.csv", "", r"^a.csv has no 'pixels' column: it is empty\.$"),
    "blank": ("a.csv", "\n\n", "it is empty"),
    "lone member": (
        "a.zip",
        pack_zip({"b.csv": "id\n"}),
        r"^b\.csv in .*a\.zip has no 'pixels' column: its columns are 'id'",
    ),
    "empty gz": ("a.csv.gz", gzip.compress(b""), "it is empty"),
    "header only": ("a.csv", "emotion,pixels,Usage\n", r"^Expected faces in .*a\.csv, got none that can be loaded$"),
    "other columns": ("a.csv", "id,votes\n1,2\n", "a.csv has no 'pixels' column: its columns are 'id', 'votes'"),
    "text": ("a.txt", "Dear reader,\n\nhello\n", "a.txt has no 'pixels' column: its columns are 'Dear reader'"),
    "bytes": ("a.bin", bytes(range(256)) * 20, "a.bin has no 'pixels' column"),
    "UTF-16": ("a.csv", "emotion,pixels\n".encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
    "open quote": ("a.csv", 'emotion,pixels\n0,1 2\n0,"1 2', "is truncated or damaged .*quot|EOF"),
    "submission": (
        "a.zip",
        pack_zip({"a.csv": "id\n1\n", "b.csv": "id\n1\n"}),
        r"^Expected a CSV .* in .*a\.zip, got a\.csv, b\.csv\.$",
    ),
    "empty zip": ("a.zip", pack_zip({}), "^Expected a CSV .*, got no files"),
    "empty folder": ("fer", {"sub/.keep": b""}, r"^Expected a CSV .*, got no files\.$"),
    "many files": ("fer", {f"{i}.txt": b"" for i in range(9)}, "got fer/0.txt, .*, fer/4.txt, …"),
    "bad images": ("fer", {"sad/1.png": b"", "sad/2.png": b""}, r"^Image fer/sad/1\.png|: Image fer/sad/1\.png [^:]*$"),
    "all bad": ("a.csv", "emotion,pixels\n0,1\n0,2\n", "Row 0 holds 1 pixel value,|got none .* the first: Row 0 holds"),
}


@pytest.mark.parametrize("case", NOT_FACES)
@pytest.mark.parametrize("errors", ["raise", "drop"])
def test_data_without_faces_is_refused(case, errors, tmp_path):
    name, content, message = NOT_FACES[case]
    with pytest.raises(ValueError, match=message):
        load_fer2013(write(tmp_path / name, content), errors=errors)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Found nothing at .*no\.csv: expected fer2013\.csv.*fetch_fer2013"):
        load_fer2013(tmp_path / "no.csv")


def test_invalid_errors_is_refused(tmp_path):
    with pytest.raises(ValueError, match='Expected errors="raise" or errors="drop", got errors=\'ignore\''):
        load_fer2013(write(tmp_path / "fer2013.csv", FULL), errors="ignore")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/1.png"], r"^Expected images in folders of labels, such as train/happy/1.png, got train/1.png"),
        (["train/happy/1.png", "2.png"], r"such as train/happy/2.png, got 2.png"),
        (
            ["train/happy/1.png", "train/contempt/2.png"],
            "in folders named angry, .*, got images in contempt: rename",
        ),
        (["train/happy/1.png", "train/contempt/2.png"], "load_ferplus .* load_folder keeps the names"),
        ([f"train/{code}/1.png" for code in range(1, 8)], "If this is RAF-DB, use load_rafdb"),
        (["train/joy/1.png"], "load_folder keeps the names of your folders as labels"),
        (["train/happy/new/1.png"], "got images in new: rename"),
        (
            ["train/1/1.png", "train/2/2.png"],
            r"got images in 1, 2: rename .* \(digits .* only if all of 0 to 6 exist\)",
        ),
        ([f"train/{code}/1.png" for code in range(1, 8)], "got images in 1, 2, 3, 4, 5, 6, 7: rename"),
        (["train/0/1.png", "train/happy/1.png"], "got images in 0: rename"),
        (["a/happy/1.png", "b/happy/1.png"], "^Expected one set of images, got several, in a, b: load one"),
        (["happy/1.png", "a/happy/2.png"], r"^Expected one set of images, got several, in \., a: load one"),
    ],
)
def test_images_in_unknown_folders_are_refused(names, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_fer2013(write(tmp_path / "faces.zip", pack_zip({name: png(PIXELS[0]) for name in names})))


def sixteen_bits():
    file = io.BytesIO()
    Image.fromarray(np.full((48, 48), 40_000, np.uint16)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize(
    "content", [b"", b"no image", png(PIXELS[0])[:1000], png(PIXELS[0])[:20], sixteen_bits()], ids=range(5)
)
def test_an_unreadable_image_is_named_or_dropped(form, content, tmp_path):
    pictures = images()
    position = 2
    name = list(pictures)[position]
    pictures[name] = content
    path = write(tmp_path / "fer", pictures if form == "folder" else pack_zip(pictures))
    with pytest.raises(ValueError, match=rf"^Image .*{name} cannot be read \(.*\): remove it, or load with errors="):
        load_fer2013(path)
    with pytest.warns(UserWarning, match=f"Left out 1 of the {N} faces in .*, the first: Image .*{name} cannot be"):
        faces = load_fer2013(path, errors="drop")
    assert np.array_equal(faces.data, np.delete(PIXELS, position, axis=0))
    assert np.array_equal(faces.target, np.delete(TARGET, position))
    assert np.array_equal(faces.usage, np.delete(USAGE, position))
    assert set(load_fer2013(path, usage="PublicTest").target) <= set(range(7))  # not read, not missed


SMALL = {
    "csv": "\n".join(FULL.splitlines()[:4]).encode(),
    "quoted": "\n".join(table(quoting=csv.QUOTE_ALL).splitlines()[:4]).encode(),
    "gz": gzip.compress("\n".join(FULL.splitlines()[:4]).encode()),
    "tar": pack_tar({"fer2013/fer2013.csv": "\n".join(FULL.splitlines()[:3])}, "w"),
    "tgz": pack_tar(dict(list(images().items())[:3])),
    "txz": pack_tar(dict(list(images().items())[:3]), "w:xz"),
    "bz2": pack_tar(dict(list(images().items())[:3]), "w:bz2"),
    "zip": pack_zip({"fer2013.csv": "\n".join(FULL.splitlines()[:3]), "a/b.csv": "id\n1\n"}),
    "zip of images": pack_zip(dict(list(images().items())[:3])),
}


@pytest.mark.parametrize("form", SMALL)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_corrupt_data_raises_a_value_error_or_loads_correctly(form, data):
    content = bytearray(SMALL[form])
    # Most errors are in headers, which are a small part of a file.
    near_an_end = st.one_of(st.integers(0, 200), st.integers(-200, -1), st.integers(0, len(content) - 1))
    for position in data.draw(st.lists(near_an_end, max_size=8), label="overwritten"):
        content[position] = data.draw(st.one_of(st.sampled_from(b',"\n 0\x00\xff'), st.integers(0, 255)))
    content = content[: data.draw(st.one_of(st.just(None), near_an_end), label="cut")]
    errors = data.draw(st.sampled_from(["raise", "drop"]))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write(Path(folder, "file"), bytes(content))
        try:
            faces = load_fer2013(path, errors=errors)
        except UnicodeError:
            raise AssertionError("a ValueError that says nothing to the user") from None
        except ValueError:
            return
    n = len(faces.data)
    assert faces.data.shape == (n, 2304)
    assert faces.images.shape == (n, 48, 48)
    assert len(faces.usage) == n > 0
    assert set(faces.usage) <= set(USAGES)
    if faces.target is not None:
        assert len(faces.target) == n
        assert set(faces.target) <= set(range(7))
