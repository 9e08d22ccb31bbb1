"""What every FER data set here has in common: the emotions, the splits and the Bunch they come in."""

import numpy as np
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
