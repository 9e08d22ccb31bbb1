"""FER2013 as users have it: a CSV, an archive or a folder of images, told apart by what they hold."""

import csv
import errno
import gzip
import lzma
import os
import posixpath
import re
import tarfile
import warnings
import zipfile
import zlib
from codecs import BOM_UTF8
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from functools import partial
from io import BufferedReader, BytesIO
from itertools import chain, islice
from pathlib import Path
from reprlib import repr as short_repr

import numpy as np

from ferkit._files import IMAGE_SUFFIXES, decode_images
from ferkit._pixels import parse_pixels
from ferkit.datasets._base import EMOTIONS, USAGES, make_bunch

__all__ = ["load_fer2013"]

SIDE = 48
N_PIXELS = SIDE * SIDE
BLOCK_BYTES = 250_000  # read at a time; more would not stay in the cache
BLOCK_ROWS = 512  # parsed at a time; the text of the whole table is five times the size of its pixels

NAMES = {
    "angry": ("angry", "anger"),
    "disgust": ("disgust", "disgusted"),
    "fear": ("fear", "fearful"),
    "happy": ("happy", "happiness"),
    "sad": ("sad", "sadness"),
    "surprise": ("surprise", "surprised"),
    "neutral": ("neutral", "neutrality"),
}
EMOTION_CODES = {name: EMOTIONS.index(emotion) for emotion, names in NAMES.items() for name in names}
DIGIT_CODES = {str(code): code for code in range(len(EMOTIONS))}
FLOAT_CODES = {f"{code}.0": code for code in range(len(EMOTIONS))}  # as pandas writes a column with a gap
CODES = EMOTION_CODES | DIGIT_CODES | FLOAT_CODES
SPLITS = {usage.lower(): usage for usage in USAGES}
SPLITS |= {"train": "Training", "val": "Validation", "valid": "Validation"}
USAGE_DTYPE = np.array(USAGES).dtype
FILE_PREFIX = re.compile(r"(Training|PublicTest|PrivateTest)_")

COLUMNS = ("emotion", "pixels", "usage")
TABLE_SUFFIXES = (".csv", ".csv.gz")
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
GZIP_MAGIC, ZIP_MAGICS = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")
# What the readers of archives and tables raise on damaged data; RuntimeError is zipfile's "encrypted".
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError,
    csv.Error, UnicodeError, RuntimeError,
)  # fmt: skip
NOT_AS_NAMED = (csv.Error, tarfile.ReadError)  # a file that is no table or no archive, whatever its name says

DESCR = """\
FER2013, facial expression recognition

Gray faces of 48 by 48 pixels, found by image search, labelled with one of seven emotions; the original has 28,709
Training, 3,589 PublicTest and 3,589 PrivateTest images. Select models on PublicTest and score PrivateTest once.

I. J. Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning contests",
ICONIP 2013, https://arxiv.org/abs/1307.0414

Read from {source}.
"""


def load_fer2013(path, *, usage=None, decode=True, errors="raise", return_X_y=False, verbose=0):
    """Load FER2013 from a CSV, an archive or a folder of images.

    What `path` is shows in its content:

    - a table, ``fer2013.csv`` or ``icml_face_data.csv`` (``emotion``, ``pixels``, ``Usage``), ``train.csv``
      (``emotion``, ``pixels``) or ``test.csv`` (``pixels``), gzipped or not, its columns in any order;
    - a folder, or a zip or tar archive in any compression, that holds such tables. The one with the most columns is
      read, of equals the least nested and alphabetically first: of the challenge's own zip, which holds all of the
      above, the full table, be it inside ``fer2013.tar.gz``; of ``train.csv`` and ``test.csv`` the former;
    - if there is no table, one that holds images as ``<split>/<emotion>/<file>`` or ``<emotion>/<file>``, whatever
      folder that is inside. A split is train, test or validation, an emotion one of FER2013's or a near form
      (``fearful``, ``happiness``); folders ``0`` to ``6`` are taken as FER2013's codes if all seven are there.
      Images become gray, and 48×48 if they are not.

    Archives are read in place. Emotions and splits go by name, never by position.

    Parameters
    ----------
    path : str or path-like
        The file or folder.
    usage : str or list of str, default=None
        The split or splits to load, of ``"Training"``, ``"PublicTest"``, ``"PrivateTest"``, ``"Validation"`` and
        ``"Test"``; by default all there are. A table says it in its ``Usage`` column, else ``train.csv`` is Training
        and any other Test. An image says it in a name like ``PublicTest_123.jpg``, else in its split folder; images
        without a split are Training.
    decode : bool, default=True
        Whether to turn the pixel strings of a table into arrays; they are checked either way.
    errors : {"raise", "drop"}, default="raise"
        What to do with a row or image that can't be read or has no known emotion: raise, or leave it out and warn.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of the Bunch.
    verbose : int, default=0
        1 shows a progress bar while images are decoded. Tables take a second.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        With the attributes

        - data : ndarray of shape (n, 2304) and dtype uint8, or with ``decode=False`` (n,) and object: the strings
        - images : ndarray of shape (n, 48, 48), a view of ``data``; None with ``decode=False``
        - target : ndarray of shape (n,) and dtype int64, indices into ``target_names``; None if the table has no
          emotions
        - target_names : ndarray of shape (7,), FER2013's emotions in the order of its codes
        - usage : ndarray of shape (n,), the split of each face
        - origin : ndarray of shape (n,), where each face comes from: its row in the table, from 0, or its file's name
        - DESCR : str

        Tables keep their order. Images are in the order of their usage, then of the numbers and letters in their
        file names, whatever the file system says.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If `path` holds neither such a table nor such images, is damaged, or does not hold the `usage` asked for; with
        ``errors="raise"``, for the first row (by its 0-based position) or image that can't be read; for pixel strings
        asked of images.

    Warns
    -----
    UserWarning
        With ``errors="drop"``, how many rows or images were left out, and why the first was.
        Names the files of a folder that were skipped because they cannot be read.

    References
    ----------
    .. [1] I. J. Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning
       contests", ICONIP 2013, https://arxiv.org/abs/1307.0414

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ferkit.datasets import load_fer2013
    >>> row = " ".join(["128"] * 2304)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "fer2013.csv")
    ...     _ = path.write_text(f"emotion,pixels,Usage\\n3,{row},Training\\n6,{row},PublicTest\\n")
    ...     faces = load_fer2013(path, usage="PublicTest")
    >>> faces.images.shape, faces.target_names[faces.target]
    ((1, 48, 48), array(['neutral'], dtype='<U8'))
    """
    wanted = _check_usage(usage)
    if errors not in ("raise", "drop"):
        raise ValueError(f'errors must be "raise" or "drop", got {errors!r}')
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"Found nothing at {path.absolute()}: expected fer2013.csv, an archive of it, or a folder with it or with "
            "images as train/<emotion>/<file>"
        )
    unread = {}  # name to error, of files that may hold faces
    try:
        with ExitStack() as stack:
            members = _list_members(path, stack)
            tables = _list_tables(members, stack, unread)
            images = [name for name in members if _is_image(name)]
            faces = None
            if tables:
                faces = _read_best_table(tables, members, path, wanted, decode, errors, unread)
            elif images and decode:
                faces = _read_images(members, images, path, wanted, errors, verbose)
            elif images:
                raise ValueError(f"{path} holds images, which have no pixel strings: load it with decode=True")
            elif not unread:
                raise ValueError(_describe_miss(path, members))
    except (*DAMAGE, OSError) as error:
        _raise_damage(path, error)
    for name, error in unread.items():
        # The files of a folder come from anywhere, those of an archive from one download.
        if faces is None or not (path.is_dir() or isinstance(error, NOT_AS_NAMED)):
            _raise_damage(path if name == path.name else f"{name} in {path}", error)
    if unread:
        listed = _listed([f"{name} ({error})" for name, error in unread.items()])
        warnings.warn(f"Skipped files in {path} that cannot be read: {listed}. Download or remove them.", stacklevel=2)

    data, target, usages, origin, faults = faces
    first = next((f", the first: {where} {reason}" for where, reason in faults.items()), "")
    if not len(data):
        raise ValueError(f"{path} holds no face that can be loaded{first}")
    if faults:
        total = len(faults) + len(data)
        warnings.warn(f"Left out {len(faults):,} of the {total:,} faces of {path}{first}", stacklevel=2)
    if return_X_y:
        return data, target
    bunch = make_bunch(data, target, usages, image_shape=(SIDE, SIDE), descr=DESCR.format(source=path.name))
    bunch.origin = origin
    return bunch


def _check_usage(usage):
    """Tuple of the splits asked for, None for all."""
    if usage is None:
        return None
    wanted = (usage,) if isinstance(usage, str) else tuple(usage)
    if not wanted or not set(wanted) <= set(USAGES):
        raise ValueError(f"usage must be one or several of {', '.join(USAGES)}, got {usage!r}")
    return wanted


def _list_members(path, stack):
    """Dict of the files in a folder, an archive or, as the only one, at `path`: name to a function that opens it."""
    if path.is_dir():
        root = os.path.abspath(path)
        files = (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
        # A name starts with that of the folder itself, which may be "test".
        above = len(os.path.dirname(root))
        return {
            file[above:].replace(os.sep, "/").lstrip("/"): partial(open, file, "rb")
            for file in files
            if _is_visible(file[len(root) :])
        }
    open_file = partial(open, path, "rb")
    members = _list_archive(open_file, stack)
    return {path.name: open_file} if members is None else members


def _list_archive(open_file, stack):
    """Like `_list_members`, for an archive that stays open in `stack`; None if it is no archive."""
    file = stack.enter_context(open_file())
    is_zip = file.read(4) in ZIP_MAGICS
    file.seek(0)
    if is_zip:
        archive = stack.enter_context(zipfile.ZipFile(file))
        files = (info for info in archive.infolist() if not info.filename.endswith("/"))
        members = {info.filename: partial(archive.open, info) for info in files}
    elif tarfile.is_tarfile(file):
        file.seek(0)
        archive = stack.enter_context(tarfile.open(fileobj=file))  # noqa: SIM115
        # A compressed tar can only go forward: images, many and small, are taken as they pass.
        members = {
            member.name: partial(BytesIO, archive.extractfile(member).read())
            if _is_image(member.name)
            else partial(archive.extractfile, member)
            for member in archive
            if member.isfile()
        }
    else:
        return None
    members = {posixpath.normpath(name): member for name, member in members.items()}
    return {name: member for name, member in members.items() if _is_visible(name)}


def _list_tables(members, stack, unread):
    """Dict of the tables that hold pixels: name to columns; archives inside join `members` if they are needed."""
    tables = _list_pixel_tables(members, unread)
    if any(len(columns) == len(COLUMNS) for columns in tables.values()) or any(map(_is_image, members)):
        return tables
    inside = {}
    for name in (name for name in members if _ends(name, ARCHIVE_SUFFIXES)):
        try:
            archive = _list_archive(members[name], stack)
            if archive is None:
                raise tarfile.ReadError("it is neither a zip nor a tar archive")
        except (*DAMAGE, OSError) as error:
            unread[name] = error
        else:
            inside |= {f"{name}/{file}": open_file for file, open_file in archive.items()}
    members |= inside
    return tables | _list_pixel_tables(inside, unread)


def _list_pixel_tables(members, unread):
    """Dict of table name to the places of its columns, {column: place}."""
    tables = {}
    for name, open_file in members.items():
        alone = len(members) == 1 and not _ends(name, IMAGE_SUFFIXES + ARCHIVE_SUFFIXES)  # any name will do then
        if alone or _ends(name, TABLE_SUFFIXES):
            try:
                header = [column.strip().lower() for column in _read_header(open_file)]
            except (*DAMAGE, OSError) as error:
                unread[name] = error
                continue
            if "pixels" in header:
                tables[name] = {column: header.index(column) for column in COLUMNS if column in header}
    return tables


def _ends(name, suffixes):
    return name.lower().endswith(suffixes)


def _is_image(name):
    return _ends(name, IMAGE_SUFFIXES)


def _is_visible(name):
    return not re.search(r"(^|[/\\])(\.|__MACOSX)", name)


def _raise_damage(where, error):
    if getattr(error, "errno", None) not in (None, errno.EINVAL):  # rights or the disk are to blame, not the data
        raise error
    raise ValueError(f"{where} is truncated or damaged ({error}): download it again or remove it") from error


def _describe_miss(path, members):
    """What there is instead of faces."""
    if len(members) == 1:
        ((name, open_file),) = members.items()
        columns = ", ".join(map(repr, _read_header(open_file)))
        return f"{name} has no 'pixels' column: {f'its columns are {columns[:200]}' if columns else 'it is empty'}"
    names = ", ".join(sorted(members)[:5]) + (", …" if len(members) > 5 else "")
    return (
        f"{path} holds neither a CSV with a 'pixels' column nor images as <split>/<emotion>/<file>, but "
        f"{names or 'nothing'}"
    )


@contextmanager
def _open_table(open_file):
    """The table as a binary file, unzipped."""
    with open_file() as file:
        is_gzip = file.read(2) == GZIP_MAGIC
        file.seek(0)
        yield BufferedReader(gzip.GzipFile(fileobj=file) if is_gzip else file, BLOCK_BYTES)


def _read_header(open_file):
    """Names of the columns, as they are written."""
    with _open_table(open_file) as file:
        return [_as_text(name) for name in next(_read_records(file), [])]


def _read_records(file):
    """Yield the header and the rows of a CSV, each as a list of str or of bytes.

    The csv module defines what a row is: it ends with CR, LF or both outside of quotes, and empty lines are no rows.
    Up to the first quote, lines are split here, which gives the same rows several times faster.
    """
    lines = chain([file.readline().removeprefix(BOM_UTF8)], file)
    for line in lines:
        if b'"' in line or len(line) > csv.field_size_limit():
            break
        for row in line.splitlines() if b"\r" in line else [line.rstrip(b"\n")]:
            if row:
                yield row.split(b",")
    else:
        return
    parts = (part.decode("utf-8", "replace") for text in chain([line], lines) for part in text.splitlines(True))
    try:
        yield from filter(None, csv.reader(parts, strict=True))
    except csv.Error as error:
        raise csv.Error(f"its quotes do not match: {error}") from None


def _read_best_table(tables, members, path, wanted, decode, errors, unread):
    """What `_read_table` returns for the first table that can be read, of those with the most columns; else None."""
    most = max(map(len, tables.values()))
    best = [name for name, columns in tables.items() if len(columns) == most]
    for name in sorted(best, key=lambda name: (name.count("/"), name)):
        try:
            return _read_table(members[name], name, tables[name], path, wanted, decode, errors)
        except (*DAMAGE, OSError) as error:
            unread[name] = error


def _read_table(open_file, name, columns, path, wanted, decode, errors):
    """(data, target, usage, origin, faults) of the faces in a CSV."""
    only_split = "Training" if posixpath.basename(name).lower().split(".")[0] == "train" else "Test"
    of = "" if name == path.name else f" of {name}"
    held, blocks, faults, start = Counter(), [], {}, 0
    with _open_table(open_file) as file:
        records = _read_records(file)
        next(records)
        while (block := list(islice(records, BLOCK_ROWS))) or not blocks:
            rows = {
                column: [record[place] if place < len(record) else "" for record in block]
                for column, place in columns.items()
            }
            everyone = range(len(rows["pixels"]))
            split = _look_up(rows["usage"], SPLITS) if "usage" in rows else [only_split for _ in everyone]
            code = _look_up(rows["emotion"], CODES) if "emotion" in rows else [-1 for _ in everyone]
            held.update(split)
            kept = [row for row in everyone if not wanted or split[row] is None or split[row] in wanted]
            pixels, unread = parse_pixels([rows["pixels"][row] for row in kept], N_PIXELS, errors="drop")

            bad = {}
            for column, found, expected in (("emotion", code, EMOTIONS), ("usage", split, USAGES)):
                for row in (row for row in kept if found[row] is None):
                    value = short_repr(_as_text(rows[column][row]))
                    bad[row] = f"has {column} {value}, expected {_listed(expected)}"
            bad |= {kept[position]: reason for position, reason in unread.items()}
            if bad and errors == "raise":
                raise ValueError(f'Row {start + min(bad)}{of} {bad[min(bad)]}: drop it, or load with errors="drop"')
            faults |= {f"Row {start + row}{of}": bad[row] for row in sorted(bad)}

            if bad:
                parsed = [row for position, row in enumerate(kept) if position not in unread]
                pixels = pixels[[row not in bad for row in parsed]]
                kept = [row for row in parsed if row not in bad]
            data = pixels if decode else np.array([_as_text(rows["pixels"][row]) for row in kept], dtype=object)
            target = np.array([code[row] for row in kept], np.int64)
            usage = np.array([split[row] for row in kept], USAGE_DTYPE)
            blocks.append((data, target, usage, start + np.array(kept, np.int64)))
            start += len(block)
    _check_held(held, wanted, name)
    data, target, usage, origin = map(np.concatenate, zip(*blocks, strict=True))
    return data, target if "emotion" in columns else None, usage, origin, faults


def _as_text(value):
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _look_up(column, table):
    """What `table` says of each value, whatever its case and the blanks around it; None where it says nothing."""
    known = {value: table.get(_as_text(value).strip().lower()) for value in set(column)}
    return [known[value] for value in column]


def _read_images(members, names, path, wanted, errors, verbose):
    """(data, target, usage, origin, faults) of the faces in images."""
    faces = _place_images(names)
    _check_held(Counter(usage for _, _, usage in faces), wanted, path)
    faces = [face for face in faces if not wanted or face[2] in wanted]
    data, kept, faults = np.empty((len(faces), N_PIXELS), np.uint8), [], {}
    files = [members[name] for name, _, _ in faces]
    images = decode_images(files, (SIDE, SIDE, 1))
    if verbose:
        from rich.progress import track

        images = track(images, "Decoding", total=len(faces), transient=True)
    for (name, code, usage), image in zip(faces, images, strict=True):
        if isinstance(image, Exception):
            if errors == "raise":
                raise ValueError(
                    f'Image {name} cannot be read ({image}): remove it, or load with errors="drop"'
                ) from image
            faults[f"Image {name}"] = f"cannot be read ({image})"
        else:
            data[len(kept)] = image
            kept.append((code, usage, name))
    target, usage, origin = zip(*kept, strict=True) if kept else ((), (), ())
    return data[: len(kept)], np.array(target, np.int64), np.array(usage, USAGE_DTYPE), np.array(origin), faults


def _place_images(names):
    """List of (name, emotion code, usage), in the order that the loader promises."""
    sets = defaultdict(dict)  # folder that holds splits or emotions -> {path inside it: name}
    for name in names:
        *root, folder, file = ["", *name.split("/")]
        if folder.lower() in SPLITS or not folder:
            raise ValueError(f"{name} is in no emotion's folder: expected train/happy/{file} or the like")
        split = root[-1:] if root and root[-1].lower() in SPLITS else []
        sets[tuple(root[: len(root) - len(split)])][(*split, folder, file)] = name

    # Some archives hold all their images once more inside themselves ("images/images/train"); other sets are a riddle.
    outer, *others = sorted(sets, key=len)
    for root in others:
        if root[: len(outer)] != outer or not sets[root].keys() <= sets[outer].keys():
            listed = _listed(sorted("/".join(root[1:]) or "." for root in sets))
            raise ValueError(f"Found several sets of images, in {listed}: load one of these folders at a time")
    images = sets[outer]

    folders = {folder.lower() for *_, folder, _ in images}
    codes = DIGIT_CODES if folders == set(DIGIT_CODES) else EMOTION_CODES
    if unknown := sorted(folders - set(codes)):
        raise ValueError(
            f"Found images in {_listed(unknown)}, expected folders named {_listed(EMOTIONS)}: rename them or move them "
            "out (digits are taken as FER2013's codes only if all of 0 to 6 are there)"
        )
    faces = []
    for (*split, folder, file), name in images.items():
        prefix = FILE_PREFIX.match(file)
        usage = prefix[1] if prefix else SPLITS[split[0].lower()] if split else "Training"
        natural = re.sub("[0-9]+", lambda digits: digits[0].zfill(20), file)
        faces.append((USAGES.index(usage), natural, name, codes[folder.lower()], usage))
    return [face[2:] for face in sorted(faces)]


def _check_held(held, wanted, source):
    """Raise unless there are faces of every split asked for; `held` counts those of each."""
    if missing := [usage for usage in wanted or () if not held[usage]]:
        there = [f"{usage} ({held[usage]:,})" for usage in USAGES if held[usage]]
        raise ValueError(f"{source} holds no {' and no '.join(missing)} faces, only {_listed(there) or 'none at all'}")


def _listed(names, most=8):
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
