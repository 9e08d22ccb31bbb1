"""A parser of pixel strings ("70 80 82 …") that checks every value."""

import re
from collections import Counter
from reprlib import repr as short_repr

import numpy as np

from ._images import resolve_shape

_TOKEN = re.compile(r"\S+", re.ASCII)
_VALUES = {str(value): value for value in range(256)}
_CHUNK = 40_000  # values scanned at a time; their text (150 kB) and all masks fit into the L2 cache
_HEAD = 100  # number of rows that decide how many pixels a row has


def parse_pixels(rows, n_pixels, *, image_shape=None, errors="raise"):
    """Parse strings of blank-separated pixel values.

    A value is written in ASCII digits, from 0 to 255. Values are separated by ASCII blanks; leading and trailing blanks
    are allowed. ``np.fromstring`` is slower and does not check the values.

    Parameters
    ----------
    rows : list of str or of bytes, length n
        The strings. Or another sized object whose slices are such lists.
    n_pixels : int
        Number of values in each row.
    image_shape : tuple of int, default=None
        Shape of the images, for errors. By default, they are square.
    errors : {"raise", "drop"}, default="raise"
        What to do with a row that is not a string of `n_pixels` such values: raise an error, or leave it out.

    Returns
    -------
    pixels : ndarray of shape (n - len(faults), n_pixels) and dtype uint8
        The valid rows, in order.
    faults : dict of int to str
        The reason for each row that was left out, by its 0-based position, ascending. Empty with ``errors="raise"``.

    Raises
    ------
    ValueError
        With ``errors="raise"``, for the first bad row. The error gives its 0-based position.

    Examples
    --------
    >>> from ferkit._pixels import parse_pixels
    >>> parse_pixels(["0 64 128 255", "1 2 3 4"], 4)
    (array([[  0,  64, 128, 255],
           [  1,   2,   3,   4]], dtype=uint8), {})
    >>> parse_pixels(["0 64 128 256", "1 2 3 4"], 4, errors="drop")
    (array([[1, 2, 3, 4]], dtype=uint8), {0: 'holds 256, expected whole numbers from 0 to 255'})
    """
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
                pixels[done] = _parse_row(row, n_pixels, image_shape)
                done += 1
            except ValueError as fault:
                if errors == "raise":
                    raise ValueError(f'Row {position} {fault}: drop it, or load with errors="drop"') from None
                faults[position] = str(fault)
    return pixels[:done], faults


def _parse_row(row, n_pixels, image_shape=None):
    """Return the values of a row as a list. Only this function defines what is valid, and it describes what is not."""
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
        expected = (
            f"{n_pixels:,}{_describe(n_pixels, image_shape)}" if n_pixels else "k² (gray) or 3k² (RGB), or image_shape"
        )
        raise ValueError(f"holds {len(values):,} pixel value{'s' * (len(values) > 1)}, expected {expected}")
    return values


def _split(row):
    return _TOKEN.findall(row.decode("utf-8", "replace") if isinstance(row, bytes) else row)


def _scan(rows, n_pixels):
    """Return the values as an array (len(rows), n_pixels), or None if anything is unusual."""
    try:
        # two blanks before the first value and one after the last
        joined = b" ".join((b" ", *rows, b"")) if isinstance(rows[0], bytes) else f"  {' '.join(rows)} ".encode("ascii")
    except (TypeError, UnicodeEncodeError):
        return None
    text = np.frombuffer(joined, np.uint8)
    digits = text - 48  # characters below "0" wrap around to more than 9
    is_digit = digits < 10
    plain = np.count_nonzero(is_digit) + np.count_nonzero(text == 32)
    if plain < len(text) and not (is_digit | (text == 32) | (text - 9 < 5)).all():
        return None
    ends = is_digit[2:-1] > is_digit[3:]  # last digits of values; ends[i] belongs to character i of the joined rows
    start = 0
    for row in rows:
        if np.count_nonzero(ends[start : start + len(row)]) != n_pixels:
            return None
        start += len(row) + 1

    # Compute for every character the value that would end there, then select the true ends. Whole passes over bytes, 32
    # at a time in the CPU, cost less than gathering the digits of each value.
    digits *= is_digit
    is_third = is_digit[:-3] & is_digit[1:-2] & is_digit[2:-1]
    values = digits[:-3] * is_third
    if values.max() > 2 or (is_third[1:] & is_third[:-1]).any():  # 300 or more, or four digits
        return None
    below_hundred = digits[1:-2] * 10
    below_hundred += digits[2:-1]
    values *= 100
    values += below_hundred
    if (values < below_hundred).any():  # 256 to 299 wrapped around
        return None
    return values.compress(ends).reshape(len(rows), n_pixels)


def common_count(rows, image_shape=None):
    """Return the most common number of values in the first rows that makes an image of `image_shape`, or a square."""
    rows = rows[:_HEAD]
    if not rows:
        raise ValueError("Expected at least one row of pixel values, got none.")
    lengths = (len(_split(row)) for row in rows if isinstance(row, (str, bytes)))
    counts = Counter(length for length in lengths if length and _fits(length, image_shape))
    if not counts:
        try:
            _parse_row(rows[0], None)
        except ValueError as fault:
            expected = (
                f"Row 0 {fault}" if image_shape is None else f"Expected a row that fits image_shape={image_shape}"
            )
            raise ValueError(f"{expected}.") from None
    return max(counts, key=lambda length: (counts[length], length))


def _fits(n_pixels, image_shape):
    try:
        return bool(resolve_shape(n_pixels, image_shape))
    except ValueError:
        return False


def _describe(n_pixels, image_shape):
    """Describe the image with `n_pixels` values: " (48×48)", " (48×48×3)", or "" if there is none of this shape."""
    if not _fits(n_pixels, image_shape):
        return ""
    height, width, channels = resolve_shape(n_pixels, image_shape)
    return " (" + "×".join(map(str, (height, width, channels)[: 2 + (channels > 1)])) + ")"
