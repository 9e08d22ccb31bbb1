"""Recipes: named settings of `FERClassifier` for FER2013."""

from copy import deepcopy
from typing import Any

from .augmentation import ImageAugmenter
from .classifier import FERClassifier

__all__ = ["make_classifier"]

_ONLY_FLIPS: dict[str, Any] = {"rotation": 0, "translation": 0, "scale": 0, "contrast": 0}

RECIPES: dict[str, dict[str, Any]] = {
    "fast": {"max_epochs": 4, "optimizer": "muon", "augment": ImageAugmenter(**_ONLY_FLIPS)},
    "balanced": {"max_epochs": 12, "optimizer": "muon", "augment": ImageAugmenter(crop=4, **_ONLY_FLIPS)},
    "best": {"max_epochs": 72, "mixup": 0.2},
}
"""The parameters that each recipe sets. The others are the defaults of `FERClassifier`."""


def make_classifier(recipe: str = "balanced", **params: Any) -> FERClassifier:
    """Return a classifier with the settings of a recipe.

    Each recipe is made for the 28,709 Training faces of FER2013 with 48×48 pixels. The classifier is an ordinary one:
    its parameters can be read, changed and searched.

    Parameters
    ----------
    recipe : {"fast", "balanced", "best"}, default="balanced"
        "fast" trains for 4 epochs with Muon and only mirrors the images. "balanced" trains for 12 epochs with Muon,
        and also shifts the images by up to 4 pixels. "best" trains for 72 epochs with AdamW and mixup. Their times and
        accuracies are in the user guide, under "Choose and train a network".
    **params
        Other parameters of :class:`~ferkit.FERClassifier`, which override those of the recipe.

    Returns
    -------
    FERClassifier
        The classifier, not fitted.

    Raises
    ------
    ValueError
        If there is no such recipe.

    Examples
    --------
    >>> from ferkit.recipes import make_classifier
    >>> make_classifier("fast", random_state=0).max_epochs
    4
    """
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise ValueError(f"Expected a recipe among {', '.join(RECIPES)}, got {recipe!r}: choose one of them.")
    return FERClassifier(**{**deepcopy(RECIPES[recipe]), **params})
