import re
import tracemalloc
from functools import cache
from time import process_time

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ferkit import PixelParser
from ferkit.datasets import load_fer2013

BLANKS = " \t\n\r\f\v"
GOOD = "1 2 3 4"


def spell(values):
    return " ".join(map(str, values))


def read(row, n_pixels):
    """Return the values of a row as a list, or None if it is bad, in the plainest Python."""
    if isinstance(row, bytes):
        row = row.decode("utf-8", "replace")
    if not isinstance(row, str):
        return None
    tokens = [token for token in re.split(f"[{BLANKS}]", row) if token]
    if len(tokens) != n_pixels or any(set(token) - set("0123456789") for token in tokens):
        return None
    tokens = [token.lstrip("0") or "0" for token in tokens]
    return list(map(int, tokens)) if all(len(token) <= 3 and int(token) <= 255 for token in tokens) else None


@cache
def parser_of(n_pixels):
    return PixelParser(image_shape=(1, n_pixels)).fit([])


def parse(rows, n_pixels):
    return parser_of(n_pixels).transform(rows)


def check_against_reference(rows, n_pixels):
    expected = [read(row, n_pixels) for row in rows]
    good = [row for row, values in zip(rows, expected, strict=True) if values is not None]
    if good:
        pixels = parse(good, n_pixels)
        assert pixels.dtype == np.uint8
        assert pixels.tolist() == [values for values in expected if values is not None]
    bad = [position for position, values in enumerate(expected) if values is None]
    if bad:
        with pytest.raises(ValueError, match=f"^Row {bad[0]} "):
            parse(rows, n_pixels)
    for position in bad:
        with pytest.raises(ValueError, match=r"^Row 1 "):
            parse(["0 " * n_pixels, rows[position]], n_pixels)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 30))),
    st.lists(st.text(BLANKS, min_size=1, max_size=3), min_size=1),
    st.sampled_from(["", *BLANKS, "  \n"]),
)
def test_any_pixels_survive_any_blanks(matrix, blanks, around):
    def write(values):
        between = [blanks[i % len(blanks)] for i in range(len(values) - 1)] + [""]
        return around + "".join(f"{value}{blank}" for value, blank in zip(values, between, strict=True)) + around

    pixels = parse(list(map(write, matrix)), matrix.shape[1])
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, matrix)


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
@example(["0" * 5000 + "7", "7"], 1)  # more digits than int() accepts
def test_parser_agrees_with_plain_python(rows, n_pixels):
    check_against_reference(rows, n_pixels)


@pytest.mark.parametrize("row", ["{}", "{} 7", "7 {}", "255 {} 255", " {}\t"])
def test_every_value_is_accepted_or_refused(row):
    n_pixels = len(row.split())
    for value in range(1300):
        check_against_reference([row.format(value)], n_pixels)
        check_against_reference([row.format(f"{value:03}")], n_pixels)


def test_every_byte_beside_a_value():
    for byte in map(chr, range(256)):
        for row in (f"1 2{byte}3", f"1 2{byte}", f"{byte}1 2", f"1 {byte} 2", f"12 3{byte}4"):
            check_against_reference([row], 2)
            check_against_reference([row], 3)


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
def test_a_bad_row_is_named_with_its_content(row, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        PixelParser().fit_transform([GOOD, row, GOOD, "also bad"])


def test_leading_zeros_are_accepted():
    assert parse(["007 00 000255 0", "1 2 3 4"], 4).tolist() == [[7, 0, 255, 0], [1, 2, 3, 4]]


@pytest.mark.parametrize("bad", [[0], [16, 17], [99], [0, 50, 51, 99], list(range(99))])
def test_positions_hold_across_chunks(bad, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (100, 2304), dtype=np.uint8)
    rows = [spell(image[:-1] if position in bad else image) for position, image in enumerate(images)]
    with pytest.raises(ValueError, match=rf"^Row {bad[0]} holds 2,303 pixel values, expected 2,304 \(48.48\)"):
        PixelParser(image_shape=(48, 48)).fit_transform(rows)
    path = tmp_path / "test.csv"
    path.write_text("\n".join(["pixels", *rows]))
    with pytest.warns(UserWarning, match=f"Left out {len(bad)} of the 100 faces .*: Row {bad[0]} holds 2,303"):
        faces = load_fer2013(path, errors="drop")
    assert np.array_equal(faces.data, np.delete(images, bad, axis=0))
    assert np.array_equal(faces.origin, np.delete(np.arange(100), bad))


def test_ordinary_rows_are_never_parsed_slowly():
    images = np.random.default_rng(0).integers(0, 256, (170, 2304), dtype=np.uint8)
    parser = PixelParser(image_shape=(48, 48)).fit([])

    def measure(rows):
        times = []
        for _ in range(5):
            start = process_time()
            assert np.array_equal(parser.transform(rows), images)
            times.append(process_time() - start)
        return min(times)

    rows = list(map(spell, images))
    slowest = measure(["0000" + row for row in rows])  # a value of more than three digits is read one row at a time
    assert measure(rows) < slowest / 2
    assert measure([f" {row}\r\n".replace(" ", "\t") for row in rows]) < slowest / 2


@pytest.mark.parametrize("make", [list, pl.Series, lambda rows: pd.Series(rows, dtype="string[pyarrow]")])
def test_memory_stays_near_the_output(make):
    image = np.random.default_rng(0).integers(0, 256, 2304, dtype=np.uint8)
    try:
        rows = make([spell(image)] * 2000)
    except ImportError as error:
        pytest.skip(str(error))
    tracemalloc.start()
    pixels = PixelParser().fit_transform(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - pixels.nbytes < 4e6


@pytest.mark.parametrize("make", [list, tuple, np.array, lambda rows: np.array(rows, dtype=object), pd.Series])
def test_any_sequence_is_accepted(make):
    assert PixelParser().fit_transform(make([GOOD, "5 6 7 8"])).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_series_is_read_by_position():
    rows = pd.Series([GOOD, GOOD, "bad"], index=[7, 2, 0])
    with pytest.raises(ValueError, match=r"^Row 2 holds 'bad'"):
        PixelParser().fit_transform(rows)


@pytest.mark.parametrize(
    ("counts", "n_pixels"),
    [
        ([4, 9, 9], 9),
        ([4, 4, 9], 4),
        ([4, 9], 9),
        ([3, 4], 4),  # the truncated first row is the bad one
        ([12, 12, 4], 12),
        ([5, 5, 5, 4], 4),  # five values are no image
        ([9] * 100 + [4] * 300, 9),
    ],
)
def test_the_first_rows_determine_the_number_of_pixels(counts, n_pixels):
    rows = [spell([1] * count) for count in counts]
    parser = PixelParser().fit(rows)
    assert np.prod(parser.image_shape_) == n_pixels
    first = next(position for position, count in enumerate([*counts, 0]) if count != n_pixels)
    with pytest.raises(ValueError, match=f"^Row {first} "):
        parser.transform([*rows, ""])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1 2", "3 4"], "Row 0 holds 2 pixel values, expected k² (gray) or 3k² (RGB), or image_shape"),
        (["", ""], "Row 0 is empty"),
        ([None], "Row 0 is None"),
        ([], "Expected at least one row of pixel values, got none."),
    ],
)
def test_rows_without_pixels_are_refused(rows, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        PixelParser().fit(rows)


def test_only_rows_that_fit_the_given_shape_determine_the_number_of_pixels():
    parser = PixelParser(image_shape=(2, -1))
    assert parser.fit([spell(range(6)), spell(range(9)), spell(range(9))]).image_shape_ == (2, 3, 1)
    with pytest.raises(ValueError, match=r"^Expected a row that fits image_shape=\(2, -1\)\.$"):
        parser.fit([spell(range(9))])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 2), "2 (1×2)"),
        ((4, 4), "16 (4×4)"),
        ((4, 4, 3), "48 (4×4×3)"),
        ((3, 4), "12 (3×4)"),
        ((4, 3, 3), "36 (4×3×3)"),
    ],
)
def test_the_shape_of_an_image_is_shown_with_its_number_of_pixels(shape, expected):
    message = f"Row 0 holds 4 pixel values, expected {expected}: drop it"
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        PixelParser(image_shape=shape).fit([]).transform([GOOD])


def test_rows_of_a_given_shape_need_not_be_square():
    assert parse(["1 2", "3 4"], 2).tolist() == [[1, 2], [3, 4]]
    assert PixelParser(image_shape=(1, 2)).fit(["1 2"]).transform([]).shape == (0, 2)
