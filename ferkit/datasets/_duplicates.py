"""Find faces that a data set contains more than once."""

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.fft import dctn, idctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.preprocessing import normalize
from sklearn.utils import check_consistent_length, column_or_1d, gen_batches
from sklearn.utils._param_validation import Interval, validate_params

from .._images import Images, chunks, number_rows, read_images, to_stack

__all__ = ["Duplicates", "find_duplicates"]

LARGEST_SIDE = 48  # larger images are compared at this size
COARSE = 12  # number of low frequencies for the search of candidates, out of LARGEST_SIDE
CANDIDATE = 0.75  # coarse similarity; images shifted by one pixel in each direction are more similar than that
ROWS = 1024  # images compared with all others at a time
PAIRS = 2048  # pairs compared in full at a time
EXAMPLES = 5


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Result of :func:`find_duplicates`. ``str()`` returns a table.

    Attributes
    ----------
    group : ndarray of shape (n,) and dtype int64
        The same number for all rows that are exact or near duplicates of each other, directly or through other rows.
        Pass it as `groups` to :class:`~sklearn.model_selection.GroupKFold`. Most rows are the only ones in their group.
    exact_group : ndarray of shape (n,) and dtype int64
        The same number for all rows with the same pixels.
    exact : ndarray of shape (n,) and dtype bool
        Rows that have the same pixels as another row.
    near : ndarray of shape (n,) and dtype bool
        Rows whose group contains rows with other pixels.
    flat : ndarray of shape (n,) and dtype bool
        Images of a single color. They are never near duplicates.
    conflicting : ndarray of shape (n,) and dtype bool, or None
        Rows whose group has more than one label; None without `y`.
    in_training : ndarray of shape (n,) and dtype bool, or None
        Rows of other splits whose group contains a row of Training; None without `usage`.
    pairs : ndarray of shape (n_pairs, 2) and dtype int64
        The rows of each near pair. Of several rows with the same pixels, only the first is listed.
    similarity : ndarray of shape (n_pairs,) and dtype float32
        The similarity of each pair.
    usage : ndarray of shape (n,), or None
        The splits, as given.
    names : ndarray of shape (n,)
        The names of the rows.

    Examples
    --------
    >>> from ferkit.datasets import find_duplicates, make_faces
    >>> find_duplicates(make_faces(3, random_state=0).data[[0, 1, 2, 1]]).exact
    array([False,  True, False,  True])
    """

    group: np.ndarray
    exact_group: np.ndarray
    exact: np.ndarray
    near: np.ndarray
    flat: np.ndarray
    conflicting: np.ndarray | None
    in_training: np.ndarray | None
    pairs: np.ndarray
    similarity: np.ndarray
    usage: np.ndarray | None
    names: np.ndarray

    def __repr__(self) -> str:
        counts = {kind: int(getattr(self, kind).sum()) for kind in ("exact", "near", "flat")}
        return f"Duplicates(n={len(self.group)}, {', '.join(f'{kind}={count}' for kind, count in counts.items())})"

    def to_dict(self) -> dict[str, Any]:
        """Return counts and the names of the first few rows of each kind, ready for JSON.

        Returns
        -------
        dict
        """
        found = {
            "n": len(self.group),
            "exact": _describe(self.exact, self.exact_group, self.names),
            "near": _describe(self.near, self.group, self.names),
            "conflicting": None if self.conflicting is None else _describe(self.conflicting, self.group, self.names),
            "flat": {"faces": int(self.flat.sum()), "examples": self.names[self.flat][:EXAMPLES].tolist()},
            "in_training": None,
        }
        if self.usage is not None:
            training = self.usage == "Training"
            exactly = np.isin(self.exact_group, self.exact_group[training])
            found["in_training"] = {
                str(usage): {
                    "n": int(of.sum()),
                    "exactly": int((of & exactly).sum()),
                    "nearly": int((of & self.in_training & ~exactly).sum()),
                    "examples": self.names[of & self.in_training][:EXAMPLES].tolist(),
                }
                for usage in pd.unique(self.usage[~training])
                for of in [self.usage == usage]
            }
        return found

    def __str__(self) -> str:
        found = self.to_dict()
        named = "rows, from 0" if self.names.dtype.kind in "iu" else "images"
        lines = [f"{'':20}  {'groups':>7}  {'faces':>7}  {named}"]
        kinds = {"exact": "exact duplicates", "near": "near duplicates", "conflicting": "labels differ"}
        for name, kind in kinds.items():
            if found[name] is not None:
                rows = "; ".join(" ".join(map(str, group)) for group in found[name]["examples"])
                lines.append(f"{kind:20}  {found[name]['groups']:7,}  {found[name]['faces']:7,}  {rows}")
        flat = found["flat"]
        lines.append(f"{'flat images':20}  {'':7}  {flat['faces']:7,}  {' '.join(map(str, flat['examples']))}")
        if found["in_training"]:
            lines += ["", f"{'also in Training':20}  {'exactly':>7}  {'nearly':>7}  {named.split(',')[0]}"]
            for usage, there in found["in_training"].items():
                rows = " ".join(map(str, there["examples"]))
                of = f"{usage}, of {there['n']:,}"
                lines.append(f"{of:20}  {there['exactly']:7,}  {there['nearly']:7,}  {rows}")
        return "\n".join(line.rstrip() for line in lines)


@validate_params(
    {"threshold": [Interval(Real, 0, 1, closed="right"), None]},
    prefer_skip_nested_validation=True,
)
def find_duplicates(
    X: Images,
    y: ArrayLike | None = None,
    usage: ArrayLike | None = None,
    *,
    threshold: float = 0.75,
    image_shape: tuple[int, ...] | None = None,
    names: ArrayLike | None = None,
) -> Duplicates:
    """Find faces that occur more than once, exactly or nearly.

    Image search returns the same photograph several times: unchanged, brighter, darker, with the small watermark of
    another site, compressed again, shifted by a pixel or mirrored. All of these are found. A crop that differs by two
    pixels on each side is not. If one copy is in Training and another in a test split, the test score is too high. If
    copies have different labels, one of the labels is wrong.

    The similarity of two images is the correlation of their edges and features, that is, of their differences of two
    Gaussians, which keep structures of about 2 to 5 pixels at 48×48. It is the maximum over all shifts by up to one
    pixel in each direction, and over the image and its mirror image. It does not depend on brightness and contrast. To
    save time, it is only computed for pairs whose low frequencies have a correlation of at least 0.75.

    Parameters
    ----------
    X : array-like of shape (n, pixels), (n, height, width) or with channels, or list of files
        Images, in any form that ferkit's estimators accept. For near duplicates, colors are averaged and images of more
        than 48 pixels are compared at 48.
    y : array-like of shape (n,), default=None
        Labels.
    usage : array-like of shape (n,), default=None
        The split of each row. One of the splits must be called ``"Training"``.
    threshold : float or None, default=0.75
        Minimum similarity of near duplicates, above 0 and at most 1. With None, only exact duplicates are searched.
        Below about 0.7, more and more pairs of FER2013 are different people who look alike; check them with `pairs` and
        `similarity`. Drawn faces are more similar to each other than photographs.
    image_shape : tuple of int, default=None
        (height, width) or (height, width, channels) of the rows, if images are not square.
    names : array-like of shape (n,), default=None
        Names of the rows in the table, such as the ``origin`` that :func:`load_fer2013` returns. By default, rows are
        counted from 0.

    Returns
    -------
    duplicates : Duplicates
        The group of each row, masks, the near pairs with their similarity, and counts as a table.

    Raises
    ------
    ValueError
        If `X` contains no images, if `y` or `usage` do not have one value per row, if no row of `usage` is "Training",
        or if `threshold` is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from ferkit.datasets import find_duplicates, make_faces
    >>> faces = make_faces(100, random_state=0)
    >>> images = faces.images.copy()
    >>> images[90] = images[3]
    >>> images[95] = images[5, :, ::-1] // 2 + 40  # mirrored, with less contrast
    >>> images[7] = 0
    >>> found = find_duplicates(images, faces.target_names[faces.target], faces.usage)
    >>> np.flatnonzero(found.in_training), found.pairs
    (array([90, 95]), array([[ 5, 95]]))
    >>> print(found)
                           groups    faces  rows, from 0
    exact duplicates            1        2  3 90
    near duplicates             1        2  5 95
    labels differ               1        2  3 90
    flat images                          1  7
    <BLANKLINE>
    also in Training      exactly   nearly  rows
    PublicTest, of 10           0        0
    PrivateTest, of 10          1        1  90 95
    """
    rows, shape = read_images(X, image_shape)
    check_consistent_length(rows, y, usage, names)
    exact_group = number_rows(rows)
    first = np.unique(exact_group, return_index=True)[1]
    images = to_stack(rows, shape)
    flat = (images == images[:, :1, :1]).all(axis=(1, 2, 3))
    pairs, similarity = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    distinct = np.flatnonzero(~flat[first])
    if threshold is not None and len(distinct):
        pairs, similarity = _find_pairs(images[first[distinct]], threshold)
        pairs = distinct[pairs]
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(first), len(first)))
    group = connected_components(links, directed=False)[1].astype(np.int64)[exact_group]

    conflicting = in_training = None
    if y is not None:
        conflicting = _count_distinct(group, pd.factorize(column_or_1d(y))[0]) > 1
    if usage is not None:
        usage = np.asarray(column_or_1d(usage))
        if "Training" not in usage:
            raise ValueError(
                f'Expected usage to call one split "Training", got {", ".join(map(str, pd.unique(usage)))}: rename the '
                "split that the others are compared with."
            )
        in_training = np.isin(group, group[usage == "Training"]) & (usage != "Training")
    return Duplicates(
        group=group,
        exact_group=exact_group,
        exact=np.bincount(exact_group)[exact_group] > 1,
        near=_count_distinct(group, exact_group) > 1,
        flat=flat,
        conflicting=conflicting,
        in_training=in_training,
        pairs=first[pairs],
        similarity=similarity,
        usage=usage,
        names=np.arange(len(rows)) if names is None else column_or_1d(names),
    )


def _count_distinct(group, values):
    """Return the number of different `values` in the group of each row."""
    return pd.Series(values).groupby(group).transform("nunique").to_numpy()


def _describe(mask, group, names):
    """Return the numbers of groups and faces in a mask, and the names in its first groups."""
    numbers = pd.unique(group[mask])
    return {
        "groups": len(numbers),
        "faces": int(mask.sum()),
        "examples": [names[group == number][:EXAMPLES].tolist() for number in numbers[:EXAMPLES]],
    }


def _find_pairs(images, threshold):
    """Return (pairs of images, their similarity) for similarities of at least `threshold`."""
    # Mirroring negates the odd horizontal frequencies. Their absolute value therefore gives the better of both views.
    filtered = [_filter(images[chunk]) for chunk in chunks(images)]
    edges, coarse = map(np.concatenate, zip(*filtered, strict=True))
    even, odd = (normalize(coarse.reshape(len(coarse), -1)).reshape(coarse.shape)[:, :, start::2] for start in (0, 1))
    even, odd = (np.ascontiguousarray(part.reshape(len(part), -1)) for part in (even, odd))
    pairs, similarity = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for rows in gen_batches(len(images), ROWS):
        start = rows.start
        alike = np.abs(odd[rows] @ odd[start:].T)
        alike += even[rows] @ even[start:].T
        candidates = np.argwhere(alike >= CANDIDATE)
        candidates = candidates[candidates[:, 0] < candidates[:, 1]] + start
        for batch in gen_batches(len(candidates), PAIRS):
            values = _compare(*edges[candidates[batch].T])
            pairs.append(candidates[batch][values >= threshold])
            similarity.append(values[values >= threshold])
    return np.concatenate(pairs), np.concatenate(similarity)


def _filter(images):
    """Return (the difference of Gaussians of each image, its low frequencies) as float32.

    In the cosine transform, a Gaussian is a factor, and omitting high frequencies shrinks an image.
    """
    gray = images.mean(axis=3, dtype=np.float32)
    waves = dctn(gray, axes=(1, 2), norm="ortho", overwrite_x=True)[:, :LARGEST_SIDE, :LARGEST_SIDE]
    u, v = (np.arange(side, dtype=np.float32) for side in waves.shape[1:])
    frequency = np.hypot.outer(u / len(u), v / len(v)) * np.float32(np.pi)
    band = np.exp(-(frequency**2) / 2) - np.exp(-((1.6 * frequency) ** 2) / 2)
    # High frequencies are weak in faces. Multiplied by the frequency, all have a similar weight.
    return idctn(waves * band, axes=(1, 2), norm="ortho"), (waves * frequency)[:, :COARSE, :COARSE]


def _compare(left, right):
    """Return the similarity of each image of one stack to the image of the other at the same position."""
    _, height, width = left.shape
    left = left[:, 1:-1, 1:-1]
    best = np.zeros(len(left), np.float32)
    for view in (right, right[:, :, ::-1]):
        for y, x in np.ndindex(3, 3):
            moved = view[:, y : y + height - 2, x : x + width - 2]
            product = np.einsum("nij,nij->n", left, moved)
            square = np.einsum("nij,nij->n", left, left) * np.einsum("nij,nij->n", moved, moved)
            np.maximum(best, product / np.sqrt(np.maximum(square, np.finfo(np.float32).tiny)), out=best)
    return best
