"""Which of several models is better: tests over seeds and over folds, corrected for the number of pairs."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t

from .report import Report, compare_reports

__all__ = ["compare_folds", "compare_seeds"]


def compare_seeds(reports: Mapping[str, Report | Sequence[Report]]) -> pd.DataFrame:
    """Test which settings have the higher accuracy, from models that were trained with several seeds.

    All models must have been scored on the same images. The test covers two sources of chance: other test images, and
    other seeds of the training. It adds the variance over images of the mean over seeds to the variance over seeds, and
    uses Student's t distribution with Satterthwaite's degrees of freedom [1]_. With many images it is Welch's t-test
    over seeds.

    McNemar's test looks at one pair of trained models and only covers the images. It is computed for the first models
    of both settings, the second ones, and so on. If one of the settings has only one model, nothing is known about its
    seeds. The difference, its interval and ``p_value`` are then those of :func:`~ferkit.report.compare_reports` for the
    first models.

    Parameters
    ----------
    reports : dict of str to list of Report
        Reports of the models of each setting, one per seed.

    Returns
    -------
    DataFrame
        One row per pair, with the columns

        - ``first``, ``second``: names of the settings; the first one has the higher mean accuracy
        - ``difference``: mean accuracy of the first minus that of the second
        - ``low``, ``high``: its 95 % confidence interval
        - ``p_value``: probability of a difference at least this large between equally good settings
        - ``p_holm``: the p-value corrected for the number of pairs by Holm's method [2]_
        - ``covers``: what the test covers, "images and seeds" or "images"
        - ``mcnemar_1``, ``mcnemar_2``, …: p-values of McNemar's test of the first models, the second ones and so on,
          also corrected by Holm's method

    See Also
    --------
    compare_folds : Compares scores from cross-validation.

    References
    ----------
    .. [1] F. E. Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2
       (1946).
    .. [2] S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
       (1979).

    Examples
    --------
    >>> import numpy as np
    >>> from ferkit.comparison import compare_seeds
    >>> from ferkit.report import Report
    >>> rng, y = np.random.default_rng(0), np.ones(500)
    >>> accuracies = {"small": [0.60, 0.61, 0.62], "large": [0.70, 0.71, 0.72]}
    >>> reports = {
    ...     name: [Report.from_predictions(y, rng.random(500) < accuracy) for accuracy in each]
    ...     for name, each in accuracies.items()
    ... }
    >>> compare_seeds(reports)[["first", "second", "p_holm", "covers"]].round(4)
       first second  p_holm            covers
    0  large  small  0.0011  images and seeds
    """
    each = {name: [given] if isinstance(given, Report) else list(given) for name, given in reports.items()}
    _check_names(each)
    y_true = next(iter(each.values()))[0].y_true
    if not all(np.array_equal(report.y_true, y_true) for given in each.values() for report in given):
        raise ValueError(
            "Expected reports on the same images in the same order, got different true labels: evaluate all models on "
            "the same X and y."
        )
    right = {name: np.array([report.y_true == report.y_pred for report in given]) for name, given in each.items()}

    def test(first: str, second: str) -> dict:
        pairs = [compare_reports(b, a) for a, b in zip(each[first], each[second], strict=False)]
        if min(len(each[first]), len(each[second])) > 1:
            row = _infer(*_difference_over_seeds(right[first], right[second])) | {"covers": "images and seeds"}
        else:
            low, high = pairs[0].interval
            row = {"difference": pairs[0].difference, "low": low, "high": high, "p_value": pairs[0].p_value}
            row["covers"] = "images"
        return row | {f"mcnemar_{number}": pair.p_value for number, pair in enumerate(pairs, 1)}

    return _compare_pairs({name: rows.mean() for name, rows in right.items()}, test)


def compare_folds(scores: Mapping[str, ArrayLike], *, test_fraction: float | None = None) -> pd.DataFrame:
    """Test which settings have the higher score in cross-validation, by the corrected resampled t-test [1]_.

    The training sets of the folds overlap, so their scores vary less than those of independent trainings. An ordinary
    t-test therefore finds differences that are not there. The correction multiplies the variance of the mean by
    ``1 + n_folds * n_test / n_train``.

    Parameters
    ----------
    scores : dict of str to array-like of shape (n_scores,)
        Scores of each setting, such as the output of :func:`~sklearn.model_selection.cross_val_score`. All settings
        must have been scored on the same splits in the same order.
    test_fraction : float, default=None
        Share of the images in a test fold. By default, one divided by the number of scores, as in cross-validation
        without repetitions.

    Returns
    -------
    DataFrame
        One row per pair, with the columns of :func:`compare_seeds` up to ``covers``.

    See Also
    --------
    compare_seeds : Compares models that were scored on a test set.
    ferkit.datasets.find_duplicates : Finds copies of an image, which must be in the same fold.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine Learning 52 (2003).

    Examples
    --------
    >>> from ferkit.comparison import compare_folds
    >>> table = compare_folds({"a": [0.61, 0.63, 0.60, 0.62, 0.61], "b": [0.64, 0.65, 0.65, 0.64, 0.63]})
    >>> table[["first", "difference", "p_value"]].round(3)
      first  difference  p_value
    0     b       0.028    0.033
    """
    arrays = {name: np.asarray(values, dtype=float) for name, values in scores.items()}
    _check_names(arrays)
    counts = {values.shape for values in arrays.values()}
    if len(counts) > 1 or min(counts) < (2,) or not all(np.isfinite(values).all() for values in arrays.values()):
        found = "; ".join(f"{name} {values.tolist()}" for name, values in arrays.items())
        raise ValueError(
            f"Expected at least two scores for each setting, as many for all, and no nan, got {found}: score all of "
            "them on the same splits."
        )

    def test(first: str, second: str) -> dict:
        return _infer(*_mean_over_folds(arrays[first] - arrays[second], test_fraction)) | {"covers": "folds"}

    return _compare_pairs({name: values.mean() for name, values in arrays.items()}, test)


def describe_seeds(reports: Sequence[Report]) -> tuple[float, float, float]:
    """Return the mean accuracy of models with several seeds and its 95 % interval, which covers images and seeds."""
    right = np.array([report.y_true == report.y_pred for report in reports])
    estimate = _infer(*_difference_over_seeds(right))
    return estimate["difference"], max(estimate["low"], 0.0), min(estimate["high"], 1.0)


def describe_folds(scores: Sequence[float], test_fraction: float) -> tuple[float, float, float]:
    """Return the mean score over folds and its 95 % interval."""
    estimate = _infer(*_mean_over_folds(np.asarray(scores), test_fraction))
    return estimate["difference"], max(estimate["low"], 0.0), min(estimate["high"], 1.0)


def _difference_over_seeds(right, other=None):
    """Return the difference between mean accuracies, or one of them, and its (variance, degrees of freedom) by source.

    ``right`` and ``other`` have the shape (n_seeds, n_images).
    """
    sides = [right] if other is None else [right, other]
    per_image = right.mean(axis=0) - (0 if other is None else other.mean(axis=0))
    parts = [(per_image.var(ddof=1) / len(per_image), len(per_image) - 1)]
    parts += [(side.mean(axis=1).var(ddof=1) / len(side), len(side) - 1) for side in sides]
    return per_image.mean(), parts


def _mean_over_folds(scores, test_fraction):
    if test_fraction is not None and not 0 < test_fraction < 1:
        raise ValueError(f"Expected test_fraction between 0 and 1, got {test_fraction}: pass such as 0.2.")
    share = 1 / len(scores) if test_fraction is None else test_fraction
    variance = scores.var(ddof=1) * (1 / len(scores) + share / (1 - share))
    return scores.mean(), [(variance, len(scores) - 1)]


def _infer(difference, parts):
    """Return a difference with its interval and p-value, from the (variance, degrees of freedom) of its parts."""
    variance = sum(part for part, _ in parts)
    if not variance:
        return {"difference": difference, "low": difference, "high": difference, "p_value": float(difference == 0)}
    freedom = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    error = np.sqrt(variance)
    margin = t.ppf(0.975, freedom) * error
    return {
        "difference": float(difference),
        "low": float(difference - margin),
        "high": float(difference + margin),
        "p_value": float(2 * t.sf(abs(difference) / error, freedom)),
    }


def _compare_pairs(means: Mapping[str, float], test: Callable[[str, str], dict]) -> pd.DataFrame:
    names = sorted(means, key=lambda name: -means[name])
    table = pd.DataFrame([{"first": a, "second": b, **test(a, b)} for a, b in combinations(names, 2)])
    table.insert(table.columns.get_loc("p_value") + 1, "p_holm", _correct(table["p_value"]))
    for name in table.filter(like="mcnemar_"):
        table[name] = _correct(table[name])
    return table


def _correct(p_values):
    """Return p-values corrected by Holm's method, which SciPy does not have."""
    known = p_values.dropna().sort_values()
    return (known * np.arange(len(known), 0, -1)).cummax().clip(upper=1)  # pandas restores the order by index


def _check_names(given):
    if len(given) < 2:
        raise ValueError(f"Expected at least two settings to compare, got {len(given)}: pass a dict with their names.")
    if empty := [name for name, values in given.items() if not len(values)]:
        raise ValueError(f"Expected at least one model or score for each setting, got none for {', '.join(empty)}.")
