"""FER+: what ten people saw in each face of FER2013."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from ferkit.datasets._base import make_bunch
from ferkit.datasets._fer2013 import EMOTION_CODES, load_fer2013

__all__ = ["load_ferplus"]

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
CHOICES = (*EMOTIONS, "unknown", "NF")  # NF: not a face
COLUMNS = ("Usage", "Image name", *CHOICES)
COUNTS = {str(count): count for count in range(11)}
MOST_EMOTIONS = 3  # in a distribution

# FER2013's code of each choice, -1 for those it does not know. Labels and votes agree on two thirds of the faces, and
# would on a fifth by chance.
CODES = np.array([EMOTION_CODES.get(choice, -1) for choice in CHOICES])
LEAST_AGREEMENT = 0.4
ADVICE = (
    "pass the fer2013.csv of the challenge, or a Bunch of it, with all rows of a usage in the order of the table "
    '(folders of images may have lost it, errors="drop" leaves rows out)'
)

PAGE = "https://github.com/microsoft/FERPlus"
DESCR = """\
FER+, new labels for FER2013

The faces of FER2013, each shown to ten people who chose one of eight emotions, "unknown" or "not a face". The labels
are made of their votes by the rule "{target}" of `ferkit.datasets.load_ferplus`, which leaves out faces that are too
much in dispute.

E. Barsoum, C. Zhang, C. Canton Ferrer and Z. Zhang, "Training deep networks for facial expression recognition with
crowd-sourced label distribution", ICMI 2016, https://arxiv.org/abs/1608.01041

Read from {source}.
"""


def load_ferplus(path, *, fer2013, usage=None, target="majority", return_X_y=False):
    """Load FER2013 with the labels of FER+.

    FER+ [1]_ has the votes of ten people on each face of FER2013: eight emotions, "unknown" and "not a face". The
    votes become labels by one of two rules, those of the authors' own code [2]_. Both leave out faces that the authors
    gave no image name, and take a choice with a single vote for one without any. Then

    - ``"majority"`` takes the emotion with more than half of the votes that count, and leaves out faces where there
      is none or where "unknown" or "not a face" has them;
    - ``"distribution"`` (theirs for probabilistic and cross-entropy training) goes down the choices from the most
      voted, equal ones at once, and takes the emotions until they have three quarters of the votes, are three, or
      "unknown" or "not a face" was among the last. It leaves out faces where what was taken is no more than half of
      the votes, or more than three emotions. The target is each emotion's share of what was taken.

    The authors validate and test on majority labels whatever they train on.

    Parameters
    ----------
    path : str or path-like
        ``fer2013new.csv`` from [2]_: Usage, Image name and ten columns of votes, a row for each row of FER2013.
    fer2013 : str, path-like or Bunch
        The faces: ``fer2013.csv``, in any form that :func:`load_fer2013` takes, or the Bunch that it returned. All
        rows of each usage that is there must be there, in the order of the table.
    usage : str or list of str, default=None
        The split or splits to load, of ``"Training"``, ``"PublicTest"`` and ``"PrivateTest"``; by default all that
        `fer2013` has.
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
          ``target="distribution"`` of shape (n, 8) and dtype float32, rows that sum to 1
        - target_names : ndarray of shape (8,), the emotions in FER+'s order: neutral, happiness, surprise, sadness,
          anger, disgust, fear, contempt
        - votes : ndarray of shape (n, 10) and dtype int64, as published: on the eight emotions, unknown, not a face
        - usage : ndarray of shape (n,), the split of each face
        - DESCR : str

        Faces keep their order.

    Raises
    ------
    FileNotFoundError
        If there is no file at `path`, or nothing at `fer2013`.
    ValueError
        If `path` is no table of FER+ votes, if its rows and those of `fer2013` do not go together (by their number,
        usages and order, and by the emotions of both), if `fer2013` lacks the `usage` asked for, or if `target` is
        none of the above.

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
        raise ValueError(f'target must be "majority" or "distribution", got {target!r}')
    votes, voted, named = _read_votes(path)
    faces = fer2013 if isinstance(fer2013, Bunch) else load_fer2013(fer2013)
    held = list(dict.fromkeys(faces.usage.tolist()))
    wanted = held if usage is None else [usage] if isinstance(usage, str) else list(usage)
    if not wanted or not set(wanted) <= set(held):
        raise ValueError(f"usage must be one or several of {', '.join(held)}, which fer2013 holds, got {usage!r}")

    # Image names are not the numbers of rows that they seem to be: they only tell whether there is one.
    there = np.isin(voted, held)
    votes, voted, named = votes[there], voted[there], named[there]
    if not np.array_equal(voted, faces.usage):
        raise ValueError(
            f"The rows of fer2013 ({_count(faces.usage)}) are not, one by one, those of {path} ({_count(voted)}): "
            f"{ADVICE}"
        )
    counted = np.where(votes > 1, votes, 0)
    winner, clear = _find_majority(counted)
    code = CODES[winner]
    agree, total = (np.count_nonzero(of & clear) for of in (code == faces.target, code >= 0))
    if agree < LEAST_AGREEMENT * total:
        raise ValueError(
            f"The emotions of fer2013 go with the votes of {path} on only {agree:,} of {total:,} faces, expected two "
            f"thirds, so the faces are in another order: {ADVICE}"
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
        target_names=EMOTIONS,
    )
    bunch.votes = votes[kept]
    return bunch


def _read_votes(path):
    """(votes, usage, whether there is an image name) of each row."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"Found no file at {path.absolute()}: expected fer2013new.csv, from {PAGE}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, encoding_errors="replace")
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} is empty or damaged ({error}): download it again, from {PAGE}") from error
    table.columns = table.columns.str.strip()
    if missing := [column for column in COLUMNS if column not in table]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}: expected fer2013new.csv, from {PAGE}")
    votes = table[[*CHOICES]].apply(lambda column: column.str.strip().map(COUNTS))
    if len(bad := np.flatnonzero(votes.isna().any(axis=1))):
        found = ", ".join(map(str, table.loc[bad[0], [*CHOICES]]))
        raise ValueError(
            f"Row {bad[0]} of {path} has votes {found}, expected ten numbers from 0 to 10: download it again"
        )
    usage, name = (table[column].str.strip().to_numpy(str) for column in ("Usage", "Image name"))
    return votes.to_numpy(np.int64), usage, name != ""


def _find_majority(votes):
    """(most voted choice, whether it is an emotion with more than half of the votes)."""
    winner = votes.argmax(axis=1)
    return winner, (2 * votes.max(axis=1) > votes.sum(axis=1)) & (winner < len(EMOTIONS))


def _find_distribution(votes):
    """(shares of the emotions, whether they are few and have more than half of the votes)."""
    ahead = votes[:, None, :] > votes[:, :, None]  # of each choice, those with more votes
    total = votes.sum(axis=1)
    reached = (ahead.sum(axis=2) < MOST_EMOTIONS) & (4 * (ahead * votes[:, None]).sum(axis=2) < 3 * total[:, None])
    taken = np.where(reached & ~ahead[:, :, len(EMOTIONS) :].any(axis=2), votes, 0)[:, : len(EMOTIONS)]
    sums = taken.sum(axis=1)
    kept = (2 * sums > total) & (np.count_nonzero(taken, axis=1) <= MOST_EMOTIONS)
    return (taken / np.maximum(sums, 1)[:, None]).astype(np.float32), kept


def _count(usages):
    """As in "28,709 Training and 3,589 PublicTest"."""
    return " and ".join(f"{count:,} {usage}" for usage, count in Counter(usages.tolist()).items()) or "none"
