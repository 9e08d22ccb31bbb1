"""What every FER data set here has in common: the emotions, the splits and the Bunch they come in."""

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # FER2013's codes 0 to 6
USAGES = ("Training", "PublicTest", "PrivateTest", "Validation", "Test")
TRAINING_COUNTS = (3995, 436, 4097, 7215, 4830, 3171, 4965)  # faces of each emotion in FER2013's Training split


def make_bunch(data, target, usage, *, image_shape, descr, target_names=EMOTIONS):
    """Bunch with the fields that every loader promises; ``images`` is a view of uint8 ``data``."""
    return Bunch(
        data=data,
        images=data.reshape(len(data), *image_shape) if data.dtype == np.uint8 else None,
        target=target,
        target_names=np.array(target_names),
        usage=usage,
        DESCR=descr,
    )


def make_frame(faces):
    """DataFrame with the columns of the FER2013 CSV."""
    texts = [str(value) for value in range(256)]  # looked up, a pixel costs half as much as formatted
    pixels = [" ".join(map(texts.__getitem__, row.tobytes())) for row in faces.data]
    return pd.DataFrame({"emotion": faces.target, "pixels": pixels, "Usage": faces.usage})


def apportion(n_samples, proportions):
    """How many of ``n_samples`` faces each emotion gets: whole numbers as close to the weights as can be."""
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
            f"Expected proportions of {len(EMOTIONS)} non-negative numbers, not all 0, in the order "
            f"{', '.join(EMOTIONS)}; got {proportions!r}. Pass None for balanced classes or 'fer2013' for FER2013's "
            "imbalance."
        )
    shares = n_samples * weights / weights.sum()
    counts = shares.astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: n_samples - counts.sum()]] += 1  # the largest remainders
    return counts
