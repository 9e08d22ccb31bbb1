"""Functions that several data sets share: Bunches, frames, class counts, checks of parameters and of splits."""

import errno
from reprlib import repr as short_repr

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._images import to_stack
from .._vocabulary import EMOTIONS, USAGES

FACE_SIDE = 48  # pixels of a FER2013 face, in height and width
TRAINING_COUNTS = (3995, 436, 4097, 7215, 4830, 3171, 4965)  # FER2013's Training faces of each emotion


def make_bunch(data, target, usage, *, image_shape, descr, target_names=EMOTIONS):
    """Return a Bunch with the fields that every loader promises; ``images`` is a view of uint8 ``data``."""
    return Bunch(
        data=data,
        images=to_stack(data, image_shape) if data.dtype == np.uint8 else None,
        target=target,
        target_names=np.array(target_names),
        usage=usage,
        groups=None,
        traits=None,
        DESCR=descr,
    )


def make_frame(faces):
    """Return a DataFrame with the columns of the FER2013 CSV."""
    texts = [str(value) for value in range(256)]  # a lookup takes half as long as formatting
    pixels = [" ".join(map(texts.__getitem__, row.tobytes())) for row in faces.data]
    return pd.DataFrame({"emotion": faces.target, "pixels": pixels, "Usage": faces.usage})


def apportion(n_samples, proportions):
    """Return the number of faces of each emotion: whole numbers in the given proportions, with the sum `n_samples`."""
    if proportions is None:
        proportions = np.ones(len(EMOTIONS))
    elif isinstance(proportions, str):
        proportions = TRAINING_COUNTS
    try:
        weights = np.asarray(proportions, dtype=float)
    except (TypeError, ValueError):
        weights = np.empty(0)
    if weights.shape != (len(EMOTIONS),) or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        raise ValueError(
            f"Expected `proportions` to be {len(EMOTIONS)} non-negative numbers, not all 0, in the order "
            f"{', '.join(EMOTIONS)}, got {proportions!r}: pass None for balanced classes or 'fer2013' for FER2013's "
            "imbalance."
        )
    shares = n_samples * weights / weights.sum()
    counts = shares.astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: n_samples - counts.sum()]] += 1  # the largest remainders
    return counts


def check_usage(usage):
    """Return a tuple of the requested splits, or None for all."""
    if usage is None:
        return None
    wanted = (usage,) if isinstance(usage, str) else tuple(usage)
    if not wanted or not set(wanted) <= set(USAGES):
        raise ValueError(f"Expected usage to be one or several of {', '.join(USAGES)}, got usage={short_repr(usage)}.")
    return wanted


def raise_damage(where, error):
    """Raise an error of a reader of archives and tables as one that names the file."""
    if getattr(error, "errno", None) not in (None, errno.EINVAL):  # caused by permissions or the disk, not the data
        raise error
    raise ValueError(f"{where} is truncated or damaged ({error}): download it again or remove it.") from error


def check_held(held, wanted, source):
    """Raise if a split of `wanted` has no faces; `held` counts the faces of each split."""
    if missing := [usage for usage in wanted or () if not held[usage]]:
        found = [usage for usage in USAGES if held[usage]]
        counts = shorten([f"{usage} ({held[usage]:,})" for usage in found])
        instead = [usage for usage in found if usage != "Training"] or found
        remedy = f": pass usage={(instead[0] if len(instead) == 1 else instead)!r}" if instead else ""
        raise ValueError(f"Expected {' and '.join(missing)} faces in {source}, got only {counts or 'none'}{remedy}.")


def shorten(names, most=8):
    """Join the first names by commas."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
