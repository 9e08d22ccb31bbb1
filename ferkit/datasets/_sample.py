"""Faces to try things on: FER2013's own where they are at hand, drawn ones where they are not."""

import os
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from ferkit.datasets._base import USAGES, apportion, make_bunch, make_frame
from ferkit.datasets._drawing import make_faces
from ferkit.datasets._fetch import fetch_fer2013

__all__ = ["sample_faces"]

SPLITS = USAGES[:3]


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "usage": [StrOptions(set(SPLITS))],
        "proportions": [None, StrOptions({"fer2013"}), "array-like"],
        "as_frame": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def sample_faces(n_samples=1000, *, usage="Training", proportions=None, as_frame=False, random_state=None):
    """Take some faces of one split, of FER2013 if the environment says where it is, else drawn.

    An example written with it runs anywhere, and on real faces with the variable ``FERKIT_DATA`` set to a folder that
    has FER2013 in its folder ``fer2013``, as :func:`fetch_fer2013` leaves it. Without the variable, the faces are those
    of :func:`make_faces`. Nothing is downloaded.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of faces.
    usage : {"Training", "PublicTest", "PrivateTest"}, default="Training"
        The split. Those of different splits are different rows; FER2013 has some photographs in two.
    proportions : None, "fer2013" or array-like of shape (7,), default=None
        How frequent the emotions are, as in :func:`make_faces`. FER2013 gives at most as many as it has: 56 of its
        PublicTest faces show disgust.
    as_frame : bool, default=False
        Whether to add a ``frame`` with the columns of the FER2013 CSV.
    random_state : int, RandomState instance or None, default=None
        Determines the faces. Pass an int for the same faces in every call.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        As :func:`make_faces` returns it, of 48×48 pixels: ``data`` of shape (n, 2304) and dtype uint8, ``images``
        (n, 48, 48), ``target`` (n,) int64, ``target_names`` (7,), ``usage`` (n,), ``DESCR`` and with
        ``as_frame=True`` ``frame`` (n, 3).

    Raises
    ------
    FileNotFoundError
        If ``FERKIT_DATA`` is set and FER2013 is not there.
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> from ferkit.datasets import sample_faces
    >>> train = sample_faces(700, random_state=0)
    >>> test = sample_faces(140, usage="PublicTest", random_state=0)
    >>> train.images.shape, test.images.shape
    ((700, 48, 48), (140, 48, 48))
    """
    seed = [check_random_state(random_state).randint(2**31), SPLITS.index(usage)]
    rng = np.random.RandomState(seed)
    home = os.environ.get("FERKIT_DATA")
    if not home:
        faces = make_faces(n_samples, proportions=proportions, random_state=rng)
        faces.usage[:] = usage
        faces.DESCR = f"{n_samples:,} faces of one split, {usage}, drawn by make_faces.\n"
    else:
        if not Path(home, "fer2013").is_dir():
            raise FileNotFoundError(
                f"FERKIT_DATA is {home}, where there is no folder fer2013: set it to the folder above that one, or "
                "unset it, and faces are drawn."
            )
        everyone = fetch_fer2013(data_home=home, usage=usage, download_if_missing=False)
        order = rng.permutation(len(everyone.target))
        counts = apportion(n_samples, proportions)
        chosen = [order[everyone.target[order] == code][:count] for code, count in enumerate(counts)]
        chosen = rng.permutation(np.concatenate(chosen))
        faces = make_bunch(
            everyone.data[chosen],
            everyone.target[chosen],
            everyone.usage[chosen],
            image_shape=everyone.images.shape[1:],
            descr=everyone.DESCR,
        )
    if as_frame:
        faces.frame = make_frame(faces)
    return faces
