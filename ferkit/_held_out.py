"""Validation images of a training: where they come from, and how some of the training images are held back."""

import numpy as np
from sklearn.model_selection import train_test_split

from ._images import number_rows

__all__ = ["check_validation_source", "hold_back"]


def check_validation_source(model, X_val, y_val, sample_weight_val):
    """Raise unless there is at most one source of validation images, and one if a parameter of ``model`` needs them."""
    if X_val is None:
        if y_val is not None or sample_weight_val is not None:
            raise ValueError("Expected X_val with y_val and sample_weight_val, got no X_val: pass the images too.")
        needs = next((name for name in ("early_stopping", "keep_best") if getattr(model, name)), None)
        if needs and not model.validation_fraction:
            raise ValueError(
                f"Expected validation images for {needs}={getattr(model, needs)}, got none: pass "
                "validation_fraction=0.1, or X_val and y_val to fit."
            )
    elif y_val is None:
        raise ValueError("Expected y_val with X_val, got None: pass the labels of the validation images.")
    elif model.validation_fraction:
        raise ValueError(
            f"Expected one source of validation images, got X_val and validation_fraction={model.validation_fraction}: "
            "set validation_fraction=0 to validate on X_val."
        )


def hold_back(rows, strata, validation_fraction, seed):
    """Return the positions of the rows to train on and of those to validate on. Copies of one image stay together.

    Both have the same shares of the classes in ``strata``, unless it is None.
    """
    group = number_rows(rows if isinstance(rows, np.ndarray) else rows.identities())
    first = np.unique(group, return_index=True)[1]
    strata = None if strata is None else strata[first]
    try:
        parts = train_test_split(
            np.arange(len(first)), test_size=validation_fraction, stratify=strata, random_state=seed
        )
    except ValueError as error:
        raise ValueError(f"validation_fraction={validation_fraction} can't be held back: {error}") from error
    if len(first) == len(rows):
        return parts
    return [np.flatnonzero(np.isin(group, part)) for part in parts]
