"""Load FER2013 with the labels of FER+, where ten people voted on each face."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.utils import Bunch

from .._vocabulary import FERPLUS_EMOTIONS, NAME_CODES
from ._archives import DAMAGE
from ._base import make_bunch
from ._fer2013 import load_fer2013
from ._tables import read_cells

__all__ = ["load_ferplus"]

CHOICES = (*FERPLUS_EMOTIONS, "unknown", "NF")  # NF means "not a face"
VOTE_COLUMNS = ("Usage", "Image name", *CHOICES)
COUNTS = {text: count for count in range(11) for text in (f"{count}", f"{count}.0")}  # pandas may write 3 as 3.0
MOST_EMOTIONS = 3  # in a distribution

# FER2013's code of each choice, -1 if it has none. Labels and votes agree on two thirds of the faces; a random order
# would agree on a fifth.
CHOICE_CODES = np.array([NAME_CODES.get(choice, -1) for choice in CHOICES])
LEAST_AGREEMENT = 0.4
ADVICE = (
    "pass the fer2013.csv of the challenge, or a Bunch of it, with all rows of each usage in the order of the table "
    '(folders of images may have lost the order; errors="drop" leaves rows out).'
)

PAGE = "https://github.com/microsoft/FERPlus"
DESCR = """\
FER+, new labels for FER2013

The faces of FER2013. Ten people saw each face and chose one of eight emotions, "unknown" or "not a face". The rule
"{target}" of `ferkit.datasets.load_ferplus` turned their votes into labels and left out faces without clear votes.

E. Barsoum, C. Zhang, C. Canton Ferrer and Z. Zhang, "Training deep networks for facial expression recognition with
crowd-sourced label distribution", ICMI 2016, https://arxiv.org/abs/1608.01041

Read from {source}.
"""


def load_ferplus(
    path: str | PathLike,
    *,
    fer2013: str | PathLike | Bunch,
    usage: str | Sequence[str] | None = None,
    target: Literal["majority", "distribution"] = "majority",
    return_X_y: bool = False,
) -> Any:
    """Load FER2013 with the labels of FER+.

    FER+ [1]_ has the votes of ten people on each face of FER2013: eight emotions, "unknown" and "not a face". One of
    two rules of the authors' own code [2]_ turns votes into labels. Both leave out faces without an image name, and
    both ignore a choice that got a single vote.

    - ``"majority"`` takes the emotion with more than half of the counted votes. It leaves out faces without such an
      emotion.
    - ``"distribution"`` (the authors' rule for probabilistic and cross-entropy training) goes through the choices from
      the most to the least voted, ties together. It takes emotions until they have three quarters of the votes, until
      there are three, or until it comes to "unknown" or "not a face". It leaves out faces where the taken emotions have
      no more than half of the votes, or where they are more than three. The target is the share of each taken emotion.

    The authors validate and test on majority labels, whichever labels they train on.

    Parameters
    ----------
    path : str or path-like
        ``fer2013new.csv`` from [2]_: Usage, Image name and ten columns of votes, one row per row of FER2013.
    fer2013 : str, path-like or Bunch
        The faces: ``fer2013.csv`` in any form that :func:`load_fer2013` accepts, or the Bunch that it returned. For
        each usage in it, all rows must be present, in the order of the table.
    usage : str or list of str, default=None
        The split or splits to load: ``"Training"``, ``"PublicTest"`` or ``"PrivateTest"``. By default, all splits in
        `fer2013` are loaded.
    target : {"majority", "distribution"}, default="majority"
        Whether a label is one emotion or a distribution of emotions, see above.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of the Bunch.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        With the attributes

        - data : ndarray of shape (n, 2304) and dtype uint8
        - images : ndarray of shape (n, 48, 48), a view of ``data``
        - target : ndarray of shape (n,) and dtype int64, indices into ``target_names``; with
          ``target="distribution"``, of shape (n, 8) and dtype float32, with rows that sum to 1
        - target_names : ndarray of shape (8,), the emotions in FER+'s order: neutral, happiness, surprise, sadness,
          anger, disgust, fear, contempt
        - votes : ndarray of shape (n, 10) and dtype int64, the published votes for the eight emotions, unknown and not
          a face
        - usage : ndarray of shape (n,), the split of each face
        - origin : ndarray of shape (n,), where `fer2013` has each face, see :func:`load_fer2013`; None if a Bunch does
          not say
        - groups, traits : None
        - DESCR : str

        Faces keep their order.

    Raises
    ------
    FileNotFoundError
        If `path` is no file, or nothing exists at `fer2013`.
    ValueError
        If `path` is no table of FER+ votes; if its rows do not match those of `fer2013` (by number, usages and order,
        and by the emotions of both); if `fer2013` lacks a requested `usage`; or if `target` is neither of the above.

    References
    ----------
    .. [1] E. Barsoum, C. Zhang, C. Canton Ferrer and Z. Zhang, "Training deep networks for facial expression
       recognition with crowd-sourced label distribution", ICMI 2016, https://arxiv.org/abs/1608.01041

    .. [2] https://github.com/microsoft/FERPlus, ``src/ferplus.py``

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ferkit.datasets import load_ferplus
    >>> row = " ".join(["128"] * 2304)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fer2013, ferplus = Path(folder, "fer2013.csv"), Path(folder, "fer2013new.csv")
    ...     _ = fer2013.write_text(f"emotion,pixels,Usage\\n3,{row},Training\\n6,{row},PublicTest\\n")
    ...     _ = ferplus.write_text(
    ...         "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\\n"
    ...         "Training,fer0000000.png,1,6,3,0,0,0,0,0,0,0\\n"
    ...         "PublicTest,fer0000001.png,9,0,0,1,0,0,0,0,0,0\\n"
    ...     )
    ...     faces = load_ferplus(ferplus, fer2013=fer2013)
    ...     soft = load_ferplus(ferplus, fer2013=fer2013, target="distribution", usage="Training")
    >>> faces.images.shape, faces.target_names[faces.target]
    ((2, 48, 48), array(['happiness', 'neutral'], dtype='<U9'))
    >>> soft.target.round(2)
    array([[0.  , 0.67, 0.33, 0.  , 0.  , 0.  , 0.  , 0.  ]], dtype=float32)
    """
    if target not in ("majority", "distribution"):
        raise ValueError(f'Expected target="majority" or target="distribution", got target={target!r}.')
    votes, voted, named = _read_votes(path)
    faces = fer2013 if isinstance(fer2013, Bunch) else load_fer2013(fer2013)
    held = list(dict.fromkeys(faces.usage.tolist()))
    wanted = held if usage is None else [usage] if isinstance(usage, str) else list(usage)
    if not wanted or not set(wanted) <= set(held):
        raise ValueError(
            f"Expected usage to be one or several of {', '.join(held)}, the splits in fer2013, got usage={usage!r}."
        )

    # Image names look like row numbers but are not, so they only tell whether a face has a name.
    in_held = np.isin(voted, held)
    votes, voted, named = votes[in_held], voted[in_held], named[in_held]
    if not np.array_equal(voted, faces.usage):
        raise ValueError(
            f"Expected the rows of fer2013 to match those of {path} ({_count(voted)}) one by one, got "
            f"{_count(faces.usage)} in another order or number: {ADVICE}"
        )
    counted = np.where(votes > 1, votes, 0)
    winner, clear = _find_majority(counted)
    code = CHOICE_CODES[winner]
    agree, total = (np.count_nonzero(of & clear) for of in (code == faces.target, code >= 0))
    if agree < LEAST_AGREEMENT * total:
        raise ValueError(
            f"Expected the emotions of fer2013 to agree with the votes of {path} on two thirds of the faces, got "
            f"{agree:,} of {total:,}, so the faces are in another order: {ADVICE}"
        )
    labels, kept = (winner, clear) if target == "majority" else _find_distribution(counted)
    kept = kept & named & np.isin(voted, wanted)
    if return_X_y:
        return faces.data[kept], labels[kept]
    bunch = make_bunch(
        faces.data[kept],
        labels[kept],
        faces.usage[kept],
        image_shape=() if faces.images is None else faces.images.shape[1:],
        descr=DESCR.format(source=Path(path).name, target=target),
        target_names=FERPLUS_EMOTIONS,
    )
    bunch.votes = votes[kept]
    bunch.origin = faces.origin[kept] if "origin" in faces else None
    return bunch


def _read_votes(path):
    """Return (votes, usage, whether there is an image name) for each row."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"Found no file at {path.absolute()}: expected fer2013new.csv from {PAGE}.")
    try:
        if not (records := list(read_cells(partial(open, path, "rb")))):
            raise EOFError("it has no rows")
    except DAMAGE as error:
        raise ValueError(f"{path} is empty or damaged ({error}): download it again from {PAGE}.") from error
    names, *rows = records
    names = [name.strip() for name in names]
    if missing := [column for column in VOTE_COLUMNS if column not in names]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}: pass fer2013new.csv from {PAGE}.")
    places = [names.index(column) for column in VOTE_COLUMNS]
    usages, named, votes = [], [], []
    for position, row in enumerate(rows):
        usage, name, *cells = (row[place].strip() if place < len(row) else "" for place in places)
        usages.append(usage)
        named.append(name != "")
        votes.append([COUNTS.get(cell) for cell in cells])
        if None in votes[-1]:
            raise ValueError(
                f"Expected ten numbers from 0 to 10 in row {position} of {path}, got {', '.join(cells)}: download it "
                "again."
            )
    # as objects, because NumPy's strings ignore NULs at their end
    return np.array(votes, np.int64).reshape(-1, len(CHOICES)), np.array(usages, dtype=object), np.array(named, bool)


def _find_majority(votes):
    """Return (the most voted choice, whether it is an emotion with more than half of the votes)."""
    winner = votes.argmax(axis=1)
    return winner, (2 * votes.max(axis=1) > votes.sum(axis=1)) & (winner < len(FERPLUS_EMOTIONS))


def _find_distribution(votes):
    """Return (the shares of the emotions, whether they are few and have more than half of the votes)."""
    n_emotions = len(FERPLUS_EMOTIONS)
    ahead = votes[:, None, :] > votes[:, :, None]  # for each choice, the choices with more votes
    total = votes.sum(axis=1)
    reached = (ahead.sum(axis=2) < MOST_EMOTIONS) & (4 * (ahead * votes[:, None]).sum(axis=2) < 3 * total[:, None])
    taken = np.where(reached & ~ahead[:, :, n_emotions:].any(axis=2), votes, 0)[:, :n_emotions]
    sums = taken.sum(axis=1)
    kept = (2 * sums > total) & (np.count_nonzero(taken, axis=1) <= MOST_EMOTIONS)
    return (taken / np.maximum(sums, 1)[:, None]).astype(np.float32), kept


def _count(usages):
    """Count usages in words, as in "28,709 Training and 3,589 PublicTest"."""
    return " and ".join(f"{count:,} {usage}" for usage, count in Counter(usages.tolist()).items()) or "none"
