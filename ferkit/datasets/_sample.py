"""Take a sample of faces for examples: from FER2013 if it is available, otherwise drawn."""

import os
from numbers import Integral
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._vocabulary import FER2013_USAGES
from ._base import apportion, make_bunch, make_frame
from ._drawing import make_faces
from ._fetch import fetch_fer2013

__all__ = ["sample_faces"]


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "usage": [StrOptions(set(FER2013_USAGES))],
        "proportions": [None, StrOptions({"fer2013"}), "array-like"],
        "as_frame": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def sample_faces(
    n_samples: int = 1000,
    *,
    usage: Literal["Training", "PublicTest", "PrivateTest"] = "Training",
    proportions: Literal["fer2013"] | ArrayLike | None = None,
    as_frame: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Take a sample of faces of one split, from FER2013 if ``FERKIT_DATA`` is set, otherwise drawn.

    The environment variable ``FERKIT_DATA`` names a folder that has FER2013 in its subfolder ``fer2013``, as
    :func:`fetch_fer2013` stores it. Nothing is downloaded. Examples that use this function therefore run anywhere.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of faces.
    usage : {"Training", "PublicTest", "PrivateTest"}, default="Training"
        The split. Different splits give different rows, but FER2013 contains some photographs in two splits.
    proportions, as_frame, random_state
        See :func:`make_faces`. FER2013 gives at most the faces that it has; its PublicTest split has 56 faces that show
        disgust.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        The attributes that :func:`make_faces` returns, for faces of 48×48 pixels.

    Raises
    ------
    FileNotFoundError
        If ``FERKIT_DATA`` is set and FER2013 is missing from it.

    See Also
    --------
    make_faces : Draws faces.
    load_fer2013 : Loads all faces.

    Examples
    --------
    >>> from ferkit.datasets import sample_faces
    >>> train = sample_faces(700, random_state=0)
    >>> test = sample_faces(140, usage="PublicTest", random_state=0)
    >>> train.images.shape, test.images.shape
    ((700, 48, 48), (140, 48, 48))
    """
    seed = [check_random_state(random_state).randint(2**31), FER2013_USAGES.index(usage)]
    rng = np.random.RandomState(seed)
    home = os.environ.get("FERKIT_DATA")
    if not home:
        faces = make_faces(n_samples, proportions=proportions, random_state=rng)
        faces.usage[:] = usage
        faces.DESCR = f"{n_samples:,} faces of one split, {usage}, drawn by make_faces.\n"
    else:
        if not Path(home, "fer2013").expanduser().is_dir():
            raise FileNotFoundError(
                f"Expected a folder fer2013 in FERKIT_DATA={home}, got none: set FERKIT_DATA to the folder that "
                "contains fer2013, or unset it to draw faces."
            )
        everyone = fetch_fer2013(data_home=home, usage=usage, download_if_missing=False)
        order = rng.permutation(len(everyone.target))
        counts = apportion(n_samples, proportions)
        of_each = [order[everyone.target[order] == code][:count] for code, count in enumerate(counts)]
        chosen = rng.permutation(np.concatenate(of_each))
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
