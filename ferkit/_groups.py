"""Scores of groups of images, such as groups of people, and the gaps between groups."""

import numpy as np
import pandas as pd

from ._metrics import wilson_interval
from ._validation import check_known

__all__ = ["check_groups", "score_groups"]


def check_groups(groups):
    """Return the group of each image as a 1-D array of strings."""
    check_known(groups, "group")
    groups = np.asarray(groups)
    if groups.ndim != 1:
        raise ValueError(
            f"Expected groups of shape (n,), got {groups.shape}: pass one value per image. To combine several "
            "attributes, join their values."
        )
    return groups.astype(str)


def score_groups(y_true, y_pred, groups):
    """Return (scores of each group, the largest gap between two groups in each score).

    Balanced accuracies only include the labels that occur in all groups. Otherwise, a group without a difficult label
    would look better.
    """
    images = pd.DataFrame({"label": y_true, "group": groups, "right": y_true == y_pred})
    cells = images.groupby(["group", "label"])["right"].agg(["sum", "size"]).unstack(fill_value=0)
    n_right, n = cells["sum"], cells["size"]
    shared = (n > 0).all()

    def score(group, level):
        """Return (value, low, high) of each score."""
        scores = {"accuracy": _share(n_right.loc[group].sum(), n.loc[group].sum(), level)}
        if shared.any():
            counts = zip(n_right.loc[group, shared], n.loc[group, shared], strict=True)
            scores["balanced_accuracy"] = _mean([_share(*count, level) for count in counts])
        return scores

    per_group: dict[str, dict] = {}
    for group in n.index:
        per_group[group] = {"n": int(n.loc[group].sum())}
        for name, (value, *interval) in score(group, 0.95).items():
            per_group[group] |= {name: value, f"{name}_interval_95": interval}
        per_group[group]["recall"] = {
            str(label): float(n_right.loc[group, label] / count) if count else None
            for label, count in n.loc[group].items()
        }
    if len(n) < 2:
        return per_group, {}
    # Bonferroni, because the two groups are chosen from all pairs
    level = 1 - 0.05 / (len(n) * (len(n) - 1) / 2)
    scores = {group: score(group, level) for group in n.index}
    names = ("accuracy", "balanced_accuracy") if shared.any() else ("accuracy",)
    return per_group, {name: _compare({group: each[name] for group, each in scores.items()}) for name in names}


def _share(n_right, n, level):
    return float(n_right / n), *wilson_interval(n_right, n, level)


# These intervals follow from the intervals of their parts: G. Y. Zou, A. Donner, "Construction of confidence limits
# about effect measures: a general approach", Statistics in Medicine 27 (2008); for ratios A. Donner, G. Y. Zou,
# "Closed-form confidence intervals for functions of the normal mean and standard deviation", Statistical Methods in
# Medical Research 21 (2012).


def _mean(parts):
    value, low, high = np.transpose(parts)
    mean = value.mean()
    below, above = (np.linalg.norm(bound - value) / len(value) for bound in (low, high))
    return float(mean), float(mean - below), float(mean + above)


def _compare(scores):
    """Return the largest difference and the smallest ratio, from the (value, low, high) of each group."""
    lowest, highest = min(scores, key=lambda group: scores[group][0]), max(scores, key=lambda group: scores[group][0])
    if lowest == highest:  # all groups have the same score
        lowest, highest = [*scores][:2]
    (low, low_min, low_max), (high, high_min, high_max) = scores[lowest], scores[highest]
    gap = {
        "lowest": lowest,
        "highest": highest,
        "difference": high - low,
        "difference_interval_95": [
            float(high - low - np.hypot(high - high_min, low_max - low)),
            float(high - low + np.hypot(high_max - high, low - low_min)),
        ],
        "ratio": low / high if high else None,
        "ratio_interval_95": None,
    }
    if high:
        product = low * high
        least, most = low_min * (2 * low - low_min), low_max * (2 * low - low_max)
        wide, narrow = high_max * (2 * high - high_max), high_min * (2 * high - high_min)
        gap["ratio_interval_95"] = [
            float(least / (product + np.sqrt(product**2 - wide * least))) if low else 0.0,
            float((product + np.sqrt(product**2 - narrow * most)) / narrow),
        ]
    return gap
