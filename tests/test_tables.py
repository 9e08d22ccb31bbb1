"""Tables of any quotes, line ends and damage are read like a plain reference parser reads them.

`make test` compares 1,000 damaged tables. To compare more, in two processes, with the number of the first one:

    python tests/test_tables.py 1_000_000 0
"""

import re
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np

from ferkit.datasets import load_fer2013

N_PIXELS = 48 * 48
LONGEST_FIELD = 131_072  # the csv module refuses longer ones
EMOTIONS = (
    {"angry", "anger", "0", "0.0"},
    {"disgust", "disgusted", "1", "1.0"},
    {"fear", "fearful", "2", "2.0"},
    {"happy", "happiness", "3", "3.0"},
    {"sad", "sadness", "4", "4.0"},
    {"surprise", "surprised", "5", "5.0"},
    {"neutral", "neutrality", "6", "6.0"},
)
USAGES = {
    **dict.fromkeys(["training", "train"], "Training"),
    **dict.fromkeys(["validation", "val", "valid"], "Validation"),
    "publictest": "PublicTest",
    "privatetest": "PrivateTest",
    "test": "Test",
}


# the reference


def read_records(content):
    """All records of a CSV as lists of text; None if quotes do not match or a field is too long."""
    records, record, field = [], [], ""
    state = "start"  # of a field; then "plain", or "quoted" and "closed"
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    for token in re.findall(r'\r\n|[\r\n,"]|[^\r\n,"]+', text):
        if state == "quoted" and token != '"':
            field += token
        elif state == "quoted":
            state = "closed"
        elif token == ",":
            record.append(field)
            field, state = "", "start"
        elif token in ("\n", "\r", "\r\n"):
            if record or state != "start":
                records.append([*record, field])
            record, field, state = [], "", "start"
        elif state == "closed" and token != '"':
            return None
        elif state == "closed":
            field += '"'
            state = "quoted"
        elif token == '"' and state == "start":
            state = "quoted"
        else:
            field += token
            state = "plain"
        if len(field) > LONGEST_FIELD:
            return None
    if record or state != "start":
        records.append([*record, field])
    return None if state == "quoted" else records


@lru_cache(1000)
def read_pixels(text):
    values = [value for value in re.split("[ \t\n\r\f\v]", text) if value]
    if len(values) != N_PIXELS or not all(value.isascii() and value.isdigit() for value in values):
        return None
    values = [value.lstrip("0") or "0" for value in values]
    if not all(len(value) <= 3 and int(value) <= 255 for value in values):
        return None
    return np.array(list(map(int, values)), np.uint8)


def read_table(content):
    """(faces, bad rows) of a table, each face as (pixels, code, usage, row); None if it is none."""
    header, *rows = read_records(content) or [[]]
    names = [name.strip().lower() for name in header]
    if "pixels" not in names:
        return None
    faces, n_bad = [], 0
    for origin, row in enumerate(rows):
        cells = {}
        for place, name in enumerate(names):
            cells.setdefault(name, row[place] if place < len(row) else "")
        pixels = read_pixels(cells["pixels"])
        emotion = cells.get("emotion", "0").strip().lower()
        code = next((code for code, forms in enumerate(EMOTIONS) if emotion in forms), None)
        usage = USAGES.get(cells.get("usage", "Test").strip().lower())
        if pixels is None or code is None or usage is None:
            n_bad += 1
        else:
            faces.append((pixels, code if "emotion" in cells else None, usage, origin))
    return faces, n_bad


def compare(content, errors, path):
    """Load a table and compare it with the reference; returns whether it could be loaded."""
    faces, n_bad = read_table(content) or ([], 0)
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            loaded, refusal = load_fer2013(path, errors=errors), None
        except ValueError as error:
            loaded, refusal = None, error
    path.unlink()
    assert not isinstance(refusal, UnicodeError), "Expected an error that users understand"
    if not faces or (errors == "raise" and n_bad):
        assert loaded is None, "Loaded, refused by the reference"
        return False
    assert loaded is not None, f"Refused, loaded by the reference: {refusal}"
    pixels, codes, usages, origins = zip(*faces, strict=True)
    assert np.array_equal(loaded.data, pixels), "Other pixels"
    assert loaded.origin.tolist() == list(origins), "Other rows"
    assert loaded.usage.tolist() == list(usages), "Other usages"
    assert (loaded.target is None) == (codes[0] is None), "Emotions or none"
    assert loaded.target is None or loaded.target.tolist() == list(codes), "Other emotions"
    expected = [f"Left out {n_bad} of the {n_bad + len(faces)} faces"] if n_bad else []
    assert [str(warning.message).partition(" in /")[0] for warning in caught] == expected, "Other number of bad rows"
    return True


# the tables

HEADERS = [
    ["emotion", "pixels", "Usage"],
    ["emotion", " Usage", " pixels"],
    ["emotion", "pixels"],
    ["pixels"],
    ["pixels", "pixels"],
    ["Pixels", "emotion", "note", "pixels", "Usage", "emotion"],
    ["note", "pixels", "USAGE"],
]
PIECES = [",", '"', "\r", "\n", "\r\n", '""', '","', '"\r', '\n"', " ", "0", "\x00", "\x85", "\xc3", "\xff"]
PIECES = [piece.encode("latin1") for piece in PIECES]
ROWS = [" ".join([str(value)] * N_PIXELS) for value in range(16)]
LONG = "7" * 100_000  # some of the damaged ones are longer than a field may be


def draw_table(random):
    """Bytes of a table of a few rows, in one of many styles, then damaged in up to four places."""
    header = random.choice(HEADERS)
    is_long = "note" in header and random.random() < 0.05
    quoted = random.choice([0, 0, 0, 0.1, 1])
    cells = [header]
    for number in range(random.randint(9, 14) if is_long else random.randint(1, 4)):
        draw = {
            "pixels": lambda number=number: ROWS[number],
            "emotion": lambda: random.choice(["0", "3", "6.0", "Fear", " happiness"]),
            "usage": lambda: random.choice(["Training", "PublicTest", "test", " val "]),
            "note": lambda: LONG if is_long else random.choice(["", "a", 'say ""yes""', " "]),
        }
        cells.append([draw[name.strip().lower()]() for name in header])
    ends = random.choice([["\n"], ["\r\n"], ["\r"], ["\n", "\n\n"], ["\n", "\r", "\r\n", "\n\n\n"]])
    lines = []
    for row in cells:
        # a cell with ""yes"" has quotes already
        row = [f'"{cell}"' if random.random() < quoted or "yes" in cell else cell for cell in row]
        lines += [",".join(row), random.choice(ends)]
    content = bytearray("".join(lines[: random.choice([-1, None])]).encode())
    if random.random() < 0.1:
        content[:0] = b"\xef\xbb\xbf"

    for _ in range(random.randint(0, 4)):
        place, other = draw_place(content, random), draw_place(content, random)
        kind = random.random()
        if kind < 0.6:
            content[place:place] = random.choice(PIECES)
        elif kind < 0.75:
            content[place : place + 1] = random.choice(PIECES)
        elif kind < 0.85:
            del content[place : place + random.randint(1, 3)]
        elif kind < 0.9:
            del content[min(place, other) : max(place, other)]
        elif kind < 0.95:
            content[place:place] = content[other : other + 5000]
        else:
            del content[place:]
    return bytes(content)


def draw_place(content, random):
    """A position in a table, most often beside a comma, a quote or the end of a line."""
    place = random.randint(0, len(content))
    if random.random() < 0.8:
        found = re.compile(rb'[,"\r\n]').search(content, place)
        place = found.start() + random.randint(0, 1) if found else random.randint(0, min(len(content), 40))
    return place


def compare_many(seeds):
    """Compare a table for each seed with the reference; returns how many could be loaded."""
    n_loaded = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            random = Random(seed)
            content, errors = draw_table(random), random.choice(["raise", "drop"])
            try:
                n_loaded += compare(content, errors, Path(folder, f"{seed}.csv"))
            except AssertionError as error:
                raise AssertionError(f"Table {seed}, errors={errors!r}: {error}") from error
    return n_loaded


def test_mutated_tables_are_read_as_by_the_reference():
    assert 333 < compare_many(range(1000)) < 667


def main(n_tables, first=0):
    start, n_loaded = time.perf_counter(), 0
    chunks = [range(seed, seed + 1000) for seed in range(first, first + n_tables, 1000)]
    with ProcessPoolExecutor(2) as pool:
        for n_done, n in enumerate(pool.map(compare_many, chunks), 1):
            n_loaded += n
            if n_done % 50 == 0 or n_done == len(chunks):
                seconds = time.perf_counter() - start
                print(  # noqa: T201
                    f"{1000 * n_done:,} tables, {n_loaded:,} loaded, {seconds:,.0f} s: no difference", flush=True
                )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
