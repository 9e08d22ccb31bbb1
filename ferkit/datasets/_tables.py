"""Read tables of pixel strings, the format of ``fer2013.csv``."""

import csv
import gzip
import posixpath
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from contextlib import contextmanager
from io import BufferedReader
from itertools import chain, islice
from reprlib import repr as short_repr

import numpy as np

from .._files import IMAGE_SUFFIXES
from .._pixels import parse_pixels
from .._vocabulary import CELL_CODES, EMOTIONS, USAGE_NAMES, USAGES
from ._archives import ARCHIVE_SUFFIXES, DAMAGE, has_suffix
from ._base import FACE_SIDE, check_held, shorten

COLUMNS = ("emotion", "pixels", "usage")
TABLE_SUFFIXES = (".csv", ".csv.gz")
GZIP_MAGIC = b"\x1f\x8b"
BUFFER = 250_000  # bytes read at a time; more would not stay in the cache
N_ROWS = 340  # rows parsed at a time; the text of a whole table is about four times the size of its pixels
N_PIXELS = FACE_SIDE**2
LONGEST_ROW = 1_000_000  # bytes; a face has 10 kB, but a small damaged or hostile file may contain one of gigabytes
USAGE_DTYPE = np.array(USAGES).dtype


def find_tables(members, unread):
    """Return a dict from the name of each table with pixels to the places of its columns, ``{column: place}``.

    Tables that cannot be read go to `unread` with the error.
    """
    tables = {}
    for name, open_file in members.items():
        is_only = len(members) == 1 and not has_suffix(name, IMAGE_SUFFIXES + ARCHIVE_SUFFIXES)
        if is_only or has_suffix(name, TABLE_SUFFIXES):
            try:
                header = [column.strip().lower() for column in read_header(open_file)]
            except (*DAMAGE, OSError) as error:
                unread[name] = error
                continue
            if "pixels" in header:
                tables[name] = {column: header.index(column) for column in COLUMNS if column in header}
    return tables


def read_header(open_file):
    """Return the names of the columns as they are written."""
    with _open_table(open_file) as file:
        return [_as_text(name) for name in next(_read_records(file), [])]


def read_cells(open_file):
    """Yield the header and the rows of a table as lists of str."""
    with _open_table(open_file) as file:
        for record in _read_records(file):
            yield [_as_text(cell) for cell in record]


@contextmanager
def _open_table(open_file):
    """Open a table as a binary file, decompressed."""
    with open_file() as file:
        is_gzip = file.read(2) == GZIP_MAGIC
        file.seek(0)
        yield BufferedReader(gzip.GzipFile(fileobj=file) if is_gzip else file, BUFFER)


def _read_records(file):
    """Yield the header and the rows of a CSV, each as a list of str or of bytes.

    The csv module defines a row: outside of quotes it ends with CR, LF or both, and empty lines are no rows. Up to the
    first quote, lines are split here, because that gives the same rows several times faster.
    """
    lines = _read_lines(file)
    first = next(lines, b"")
    if first.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise UnicodeError("it is UTF-16 text; save it as UTF-8")
    lines = chain([first.removeprefix(BOM_UTF8)], lines)
    for line in lines:
        if b'"' in line or len(line) > csv.field_size_limit():
            break
        for row in line.splitlines() if b"\r" in line else [line.rstrip(b"\n")]:
            if row:
                yield _split(row)
    else:
        return
    yield from _read_quoted(part for text in chain([line], lines) for part in text.splitlines(True))


def _read_lines(file):
    """Yield lines that end with LF. A long one, which may be a table without LF, is cut after its last CR."""
    rest = b""
    while line := file.readline(LONGEST_ROW):
        line, rest = rest + line, b""
        if len(line) >= LONGEST_ROW and not line.endswith(b"\n"):
            line, end, rest = line.rpartition(b"\r")
            if not end:
                raise _too_long()
            line += end
        yield line
    if rest:
        yield rest


def _read_quoted(lines):
    """Yield rows of a CSV with quotes, in which a row may have several lines."""
    length = 0

    def decode():
        nonlocal length
        for line in lines:
            length += len(line)
            if length > LONGEST_ROW:
                raise _too_long()
            yield line.decode("utf-8", "replace")

    try:
        for row in csv.reader(decode(), strict=True):
            length = 0
            if row:
                yield row
    except csv.Error as error:
        raise csv.Error(f"its quotes do not match: {error}") from None


def _split(row):
    """Split at commas as ``row.split(b",")`` does, whose loop over bytes takes three times as long on long cells."""
    cells, start = [], 0
    while (end := row.find(b",", start)) >= 0:
        cells.append(row[start:end])
        start = end + 1
    return [*cells, row[start:]]


def _too_long():
    return csv.Error(f"it contains a row of more than {LONGEST_ROW:,} bytes")


def read_table(open_file, name, columns, path, wanted, decode, errors):
    """Return (data, target, usage, origin, number of bad rows, description of the first one) of a table."""
    of = "" if name == path.name else f" of {name}"
    only_usage = "Training" if posixpath.basename(name).lower().split(".")[0] == "train" else "Test"
    held: Counter = Counter()
    n_bad, first_bad = 0, ""
    blocks: list[tuple] = []
    start = 0
    with _open_table(open_file) as file:
        records = _read_records(file)
        next(records)  # the header
        while (block := list(islice(records, N_ROWS))) or not blocks:
            cells = {
                column: [record[place] if place < len(record) else "" for record in block]
                for column, place in columns.items()
            }
            usage = _look_up(cells["usage"], USAGE_NAMES) if "usage" in cells else [only_usage] * len(block)
            code = _look_up(cells["emotion"], CELL_CODES) if "emotion" in cells else [-1] * len(block)
            held.update(usage)
            kept = [row for row, of_row in enumerate(usage) if not wanted or of_row is None or of_row in wanted]
            pixels, unread = parse_pixels([cells["pixels"][row] for row in kept], N_PIXELS, errors="drop")

            bad = {}
            for column, found, expected in (("emotion", code, EMOTIONS), ("usage", usage, USAGES)):
                for row in (row for row in kept if found[row] is None):
                    bad[row] = f"has {column} {short_repr(_as_text(cells[column][row]))}, expected {shorten(expected)}"
            bad |= {kept[position]: reason for position, reason in unread.items()}
            if bad and errors == "raise":
                raise ValueError(f'Row {start + min(bad)}{of} {bad[min(bad)]}: drop it, or load with errors="drop"')
            if bad:
                n_bad += len(bad)
                first_bad = first_bad or f"Row {start + min(bad)}{of} {bad[min(bad)]}"
                parsed = [row for position, row in enumerate(kept) if position not in unread]
                pixels = pixels[[row not in bad for row in parsed]]
                kept = [row for row in parsed if row not in bad]
            data = pixels if decode else np.array([_as_text(cells["pixels"][row]) for row in kept], dtype=object)
            target = np.array([code[row] for row in kept], np.int64)
            usage = np.array([usage[row] for row in kept], USAGE_DTYPE)
            if kept or not blocks:
                blocks.append((data, target, usage, start + np.array(kept, np.int64)))
            start += len(block)
    check_held(held, wanted, name)
    data, target, usage, origin = map(np.concatenate, zip(*blocks, strict=True))
    return data, target if "emotion" in columns else None, usage, origin, n_bad, first_bad


def _as_text(value):
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _look_up(cells, meanings):
    """Return the meaning of each cell, without regard to case and surrounding blanks; None if it has none."""
    known = {cell: meanings.get(_as_text(cell).strip().lower()) for cell in set(cells)}
    return [known[cell] for cell in cells]
