"""Pixel strings ("70 80 82 …") to uint8, every value checked, some rows at a time."""

import re
from collections import Counter
from reprlib import repr as short_repr

import numpy as np

from ferkit._images import resolve_shape

_TOKEN = re.compile(r"\S+", re.ASCII)
_VALUES = {str(value): value for value in range(256)}
_CHUNK = 40_000  # values scanned at a time: some 150 kB of text, which stays in the L2 cache with all its masks
_HEAD = 100  # rows that decide how many pixels a row has


def parse_pixels(rows, n_pixels=None, *, errors="raise"):
    """Parse strings of blank-separated pixel values.

    A value is ASCII digits, 0 to 255; values stand between runs of ASCII blanks, and blanks may lead and trail.

    Parameters
    ----------
    rows : sequence of str or of bytes, length n
        A list, an object array or a pandas Series.
    n_pixels : int, default=None
        Values in each row. By default the most common count among the first 100 rows that makes a square image,
        gray (k²) or RGB (3k²).
    errors : {"raise", "drop"}, default="raise"
        What to do with a row that is no string of `n_pixels` such values: raise, or leave it out.

    Returns
    -------
    pixels : ndarray of shape (n - len(faults), n_pixels) and dtype uint8
        The rows that could be read, in order.
    faults : dict of int to str
        Why a row was left out, by its 0-based position, ascending; empty with ``errors="raise"``.

    Raises
    ------
    ValueError
        With ``errors="raise"``, for the first bad row, named by its 0-based position; if there are no rows or none
        of the first 100 makes a square image, and `n_pixels` is not given.

    Examples
    --------
    >>> from ferkit._pixels import parse_pixels
    >>> parse_pixels(["0 64 128 255", "1 2 3 4"])
    (array([[  0,  64, 128, 255],
           [  1,   2,   3,   4]], dtype=uint8), {})
    >>> parse_pixels(["0 64 128 256", "1 2 3 4"], errors="drop")
    (array([[1, 2, 3, 4]], dtype=uint8), {0: 'holds 256, expected whole numbers from 0 to 255'})
    """
    if isinstance(rows, str):
        raise ValueError("Expected a sequence of pixel strings, got a single string: put it in a list")
    if errors not in ("raise", "drop"):
        raise ValueError(f'errors must be "raise" or "drop", got {errors!r}')
    rows = list(rows)
    if n_pixels is None:
        n_pixels = common_count(rows)

    pixels, faults, done = np.empty((len(rows), n_pixels), np.uint8), {}, 0
    step = max(1, _CHUNK // n_pixels)
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step]
        values = _scan(chunk, n_pixels)
        if values is not None:
            pixels[done : done + len(chunk)] = values
            done += len(chunk)
            continue
        for position, row in enumerate(chunk, start):
            try:
                pixels[done] = _parse_row(row, n_pixels)
                done += 1
            except ValueError as fault:
                if errors == "raise":
                    raise ValueError(f'Row {position} {fault}: drop it, or load with errors="drop"') from None
                faults[position] = str(fault)
    return pixels[:done], faults


def _parse_row(row, n_pixels):
    """List of the row's values; this function alone decides what is valid, and says what is not."""
    if not isinstance(row, (str, bytes)):
        raise ValueError(f"is {short_repr(row)}, not a string of pixel values")
    tokens = _split(row)
    if not tokens:
        raise ValueError("is empty")
    values = list(map(_VALUES.get, tokens))
    if None in values:
        values = [_VALUES.get(token.lstrip("0") or "0") for token in tokens]
    if None in values:
        token = tokens[values.index(None)]
        shown = token if token.isascii() and token.isdigit() and len(token) < 20 else short_repr(token)
        raise ValueError(f"holds {shown}, expected whole numbers from 0 to 255")
    if len(values) != n_pixels:
        expected = f"{n_pixels:,}{_square(n_pixels)}" if n_pixels else "k² (gray) or 3k² (RGB), or n_pixels to be given"
        raise ValueError(f"holds {len(values):,} pixel value{'s' * (len(values) > 1)}, expected {expected}")
    return values


def _split(row):
    return _TOKEN.findall(row.decode("utf-8", "replace") if isinstance(row, bytes) else row)


def _scan(rows, n_pixels):
    """Array (len(rows), n_pixels) of the values, or None if anything is out of the ordinary."""
    try:
        # two blanks before the first value and one behind the last
        text = b" ".join((b" ", *rows, b"")) if isinstance(rows[0], bytes) else f"  {' '.join(rows)} ".encode("ascii")
    except (TypeError, UnicodeEncodeError):
        return None
    text = np.frombuffer(text, np.uint8)
    digits = text - 48  # anything below "0" wraps round to more than 9
    is_digit = digits < 10
    plain = np.count_nonzero(is_digit) + np.count_nonzero(text == 32)
    if plain < len(text) and not (is_digit | (text == 32) | (text - 9 < 5)).all():
        return None
    ends = is_digit[2:-1] > is_digit[3:]  # a value's last digit: ends[i] is character i of the joined rows
    start = 0
    for row in rows:
        if np.count_nonzero(ends[start : start + len(row)]) != n_pixels:
            return None
        start += len(row) + 1

    # Every character becomes the value that would end there, then the true ends are picked: passes over bytes that
    # the CPU takes 32 at a time cost less than gathering the digits of each value.
    digits *= is_digit
    is_third = is_digit[:-3] & is_digit[1:-2] & is_digit[2:-1]
    values = digits[:-3] * is_third
    if values.max() > 2 or (is_third[1:] & is_third[:-1]).any():  # 300 or more, or four digits
        return None
    below_hundred = digits[1:-2] * 10
    below_hundred += digits[2:-1]
    values *= 100
    values += below_hundred
    if (values < below_hundred).any():  # 256 to 299 wrapped round
        return None
    return values.compress(ends).reshape(len(rows), n_pixels)


def common_count(rows, image_shape=None):
    """Most common number of values that makes an image of `image_shape`, by default square, among the first rows."""
    if not rows:
        raise ValueError("Found no rows to parse: give n_pixels if that is meant")
    lengths = (len(_split(row)) for row in rows[:_HEAD] if isinstance(row, (str, bytes)))
    counts = Counter(length for length in lengths if length and _fits(length, image_shape))
    if not counts:
        try:
            _parse_row(rows[0], None)
        except ValueError as fault:
            raise ValueError(
                f"Row 0 {fault}" if image_shape is None else f"No row fits image_shape={image_shape}"
            ) from None
    return max(counts, key=lambda length: (counts[length], length))


def _fits(n_pixels, image_shape):
    try:
        return bool(resolve_shape(n_pixels, image_shape))
    except ValueError:
        return False


def _square(n_pixels):
    """The square image that so many values make, as text: " (48×48)", " (48×48×3)", or "" for none."""
    if not _fits(n_pixels, None):
        return ""
    side, _, channels = resolve_shape(n_pixels)
    return " (" + "×".join(map(str, (side, side, channels)[: 2 + (channels > 1)])) + ")"
