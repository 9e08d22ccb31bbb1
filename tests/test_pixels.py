import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ferkit._pixels import parse_pixels

BLANKS = " \t\n\r\f\v"
GOOD = "1 2 3 4"


def spell(values):
    return " ".join(map(str, values))


def read(row, n_pixels):
    """The meaning of a row, in the plainest Python: list of values, or None if it is bad."""
    if isinstance(row, bytes):
        row = row.decode("utf-8", "replace")
    if not isinstance(row, str):
        return None
    tokens = [token for token in re.split(f"[{BLANKS}]", row) if token]
    if len(tokens) != n_pixels or any(set(token) - set("0123456789") for token in tokens):
        return None
    tokens = [token.lstrip("0") or "0" for token in tokens]
    return list(map(int, tokens)) if all(len(token) <= 3 and int(token) <= 255 for token in tokens) else None


def check_against_reference(rows, n_pixels):
    expected = [read(row, n_pixels) for row in rows]
    pixels, faults = parse_pixels(rows, n_pixels, errors="drop")
    assert pixels.dtype == np.uint8
    assert pixels.shape == (len(rows) - len(faults), n_pixels)
    assert pixels.tolist() == [values for values in expected if values is not None]
    assert list(faults) == [position for position, values in enumerate(expected) if values is None]
    if faults:
        with pytest.raises(ValueError, match=f"^Row {next(iter(faults))} "):
            parse_pixels(rows, n_pixels)
    else:
        assert np.array_equal(parse_pixels(rows, n_pixels)[0], pixels)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 30))),
    st.lists(st.text(BLANKS, min_size=1, max_size=3), min_size=1),
    st.sampled_from(["", *BLANKS, "  \n"]),
)
def test_any_pixels_survive_any_blanks(matrix, blanks, around):
    def write(values):
        between = [blanks[i % len(blanks)] for i in range(len(values) - 1)] + [""]
        return around + "".join(f"{value}{blank}" for value, blank in zip(values, between, strict=True)) + around

    pixels, faults = parse_pixels(list(map(write, matrix)), matrix.shape[1])
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, matrix)
    assert faults == {}


tokens = st.one_of(
    st.integers(0, 255).map(str),
    st.integers(0, 1100).map(str),
    st.integers(0, 300).map(lambda value: f"{value:04}"),
    st.sampled_from(["a", "-1", "+1", "1.0", "1e2", "1_0", "²", "٣", "\x1c", "\xa0", "\x00", "/", ":"]),
)
odd_rows = st.one_of(
    st.lists(tokens, max_size=6).map(" ".join),
    st.text("0123456789 ", max_size=12),
    st.text(max_size=12),
    st.sampled_from([None, float("nan"), 7, b"1 2 3 4", b"1 2 3 \xff", pd.NA]),
)


@given(st.lists(st.one_of(st.just(GOOD), odd_rows), max_size=8), st.integers(1, 5))
@example(["1 2", "3 4 5 6"], 3)  # the right number of values in all, but not in each row
@example(["12", "3"], 1)
@example([b"1 2", b"3 4"], 2)
@example([b"1 2", b"3 \xb2"], 2)
@example([b"1 2", "3 4"], 2)
@example(["1 2 3 4\x1c"], 4)
@example(["0" * 5000 + "7", "7"], 1)  # more digits than int() takes
def test_agrees_with_the_plain_reading(rows, n_pixels):
    check_against_reference(rows, n_pixels)


@pytest.mark.parametrize("row", ["{}", "{} 7", "7 {}", "255 {} 255", " {}\t"])
def test_every_value_is_taken_or_refused(row):
    n_pixels = len(row.split())
    for value in range(1300):
        check_against_reference([row.format(value)], n_pixels)
        check_against_reference([row.format(f"{value:03}")], n_pixels)


def test_every_byte_beside_a_value():
    for byte in map(chr, range(256)):
        check_against_reference([f"1 2{byte}3"], 2)
        check_against_reference([f"1 2{byte}3"], 3)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1 2 3", 'Row 1 holds 3 pixel values, expected 4 (2×2): drop it, or load with errors="drop"'),
        ("1", "Row 1 holds 1 pixel value, expected 4 (2×2): drop it"),
        ("1 2 3 4 5", "Row 1 holds 5 pixel values, expected 4"),
        ("1 2 12a 4", "Row 1 holds '12a', expected whole numbers from 0 to 255: drop it"),
        ("1 2 256 4", "Row 1 holds 256, expected whole numbers"),
        ("1 2 3 -1", "Row 1 holds '-1', expected"),
        ("1 2 3 4.0", "Row 1 holds '4.0', expected"),
        ("1 2 3 ٣", "Row 1 holds '٣', expected"),
        ("1 2 3 " + "9" * 500, "Row 1 holds '999999999999...9999999999999', expected"),
        ("", "Row 1 is empty: drop it"),
        (" \t", "Row 1 is empty: drop it"),
        (None, "Row 1 is None, not a string"),
        (float("nan"), "Row 1 is nan, not a string"),
        (pd.NA, "Row 1 is <NA>, not a string"),
        (list(range(2304)), "Row 1 is [0, 1, 2, 3, 4, 5, ...], not a string"),
    ],
)
def test_a_bad_row_is_named_with_what_it_holds(row, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        parse_pixels([GOOD, row, GOOD, "also bad"])
    pixels, faults = parse_pixels([GOOD, row, GOOD, "also bad"], errors="drop")
    assert pixels.tolist() == [[1, 2, 3, 4]] * 2
    assert list(faults) == [1, 3]
    assert message.startswith(f"Row 1 {faults[1]}") or f"Row 1 {faults[1]}".startswith(message)


@pytest.mark.parametrize("bad", [[0], [16, 17], [99], [0, 50, 51, 99], list(range(100))])
def test_positions_hold_across_chunks(bad):
    images = np.random.default_rng(0).integers(0, 256, (100, 2304), dtype=np.uint8)
    rows = [spell(image[:-1] if position in bad else image) for position, image in enumerate(images)]
    pixels, faults = parse_pixels(rows, 2304, errors="drop")
    assert np.array_equal(pixels, np.delete(images, bad, axis=0))
    assert list(faults) == bad
    with pytest.raises(ValueError, match=rf"^Row {bad[0]} holds 2,303 pixel values, expected 2,304 \(48.48\)"):
        parse_pixels(rows, 2304)


def test_ordinary_rows_never_take_the_slow_way(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (100, 2304), dtype=np.uint8)
    monkeypatch.delattr("ferkit._pixels._parse_row")
    assert np.array_equal(parse_pixels(list(map(spell, images)))[0], images)
    assert np.array_equal(parse_pixels([f" {spell(image)}\r\n".replace(" ", "\t") for image in images])[0], images)


def test_memory_stays_near_the_output():
    image = np.random.default_rng(0).integers(0, 256, 2304, dtype=np.uint8)
    rows = [spell(image)] * 2000
    tracemalloc.start()
    pixels, _ = parse_pixels(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - pixels.nbytes < 4e6


@pytest.mark.parametrize("make", [list, tuple, np.array, lambda rows: np.array(rows, dtype=object), pd.Series])
def test_takes_any_sequence(make):
    assert parse_pixels(make([GOOD, "5 6 7 8"]))[0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_series_is_counted_not_indexed():
    rows = pd.Series([GOOD, GOOD, "bad"], index=[7, 2, 0])
    assert list(parse_pixels(rows, errors="drop")[1]) == [2]


@pytest.mark.parametrize(
    ("counts", "n_pixels"),
    [
        ([4, 9, 9], 9),
        ([3, 4], 4),  # a truncated first row is itself the bad one
        ([12, 12, 4], 12),
        ([5, 5, 5, 4], 4),  # five values are no image
        ([9] * 100 + [4] * 300, 9),
    ],
)
def test_the_first_rows_decide_how_many_pixels(counts, n_pixels):
    pixels, faults = parse_pixels([spell([1] * count) for count in counts], errors="drop")
    assert pixels.shape[1] == n_pixels
    assert list(faults) == [position for position, count in enumerate(counts) if count != n_pixels]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1 2", "3 4"], "Row 0 holds 2 pixel values, expected k² (gray) or 3k² (RGB), or n_pixels to be given"),
        (["", ""], "Row 0 is empty"),
        ([None], "Row 0 is None"),
        ([], "Found no rows"),
        ("1 2 3 4", "Expected a sequence of pixel strings, got a single string"),
    ],
)
def test_without_an_image_there_is_no_guess(rows, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_pixels(rows, errors="drop")


def test_given_n_pixels_need_not_be_square():
    assert parse_pixels(["1 2", "3 4"], 2)[0].tolist() == [[1, 2], [3, 4]]
    assert parse_pixels([], 2)[0].shape == (0, 2)


def test_errors_is_checked():
    with pytest.raises(ValueError, match="errors must be"):
        parse_pixels([GOOD], errors="ignore")
