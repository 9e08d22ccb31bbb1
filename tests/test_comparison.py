from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from ferkit.comparison import compare_folds, compare_seeds
from ferkit.report import Report, compare_reports


def _reports(*rights):
    """Reports of models that are right on some images. Only the predictions matter, so the scores are those of one."""
    report, y = Report.from_predictions(np.ones(len(rights[0])), rights[0]), np.ones(len(rights[0]))
    return [replace(report, y_true=y, y_pred=np.asarray(right)) for right in rights]


def _simulate(rng, n_seeds, seed_effect=0.3, skill=0.4, n_images=300):
    """Whether models with several seeds are right, for images of different difficulty."""
    difficulty = np.random.default_rng(rng.integers(2**31)).normal(size=n_images)

    def draw(skill):
        seeds = rng.normal(skill, seed_effect, (n_seeds, 1))
        return seeds + difficulty + rng.normal(0, 0.6, (n_seeds, n_images)) > 0

    return draw(0.4), draw(skill)


@pytest.mark.parametrize("n_seeds", [2, 4])
def test_equal_settings_rarely_differ_over_seeds(n_seeds):
    rng = np.random.default_rng(0)
    p_values, mcnemar = [], []
    for _ in range(50):
        a, b = _simulate(rng, n_seeds)
        row = compare_seeds({"a": _reports(*a), "b": _reports(*b)}).iloc[0]
        p_values.append(row["p_value"])
        mcnemar.append(row["mcnemar_1"])
        assert (row["low"] > 0 or row["high"] < 0) == (row["p_value"] < 0.05)
    assert np.mean(np.array(p_values) < 0.05) <= 0.12
    assert np.mean(np.array(mcnemar) < 0.05) > 0.2, "it does not know that seeds differ"


def test_better_settings_are_found_over_seeds():
    a, b = _simulate(np.random.default_rng(0), 5, seed_effect=0.05, skill=0.9)
    (row,) = compare_seeds({"a": _reports(*a), "b": _reports(*b)}).to_dict("records")
    assert (row["first"], row["second"], row["covers"]) == ("b", "a", "images and seeds")
    assert row["difference"] == pytest.approx(b.mean() - a.mean())
    assert row["low"] < row["difference"] < row["high"]
    assert row["p_holm"] == row["p_value"] < 0.001


def test_mcnemars_test_is_computed_for_each_seed():
    a, b = (_reports(*rights) for rights in _simulate(np.random.default_rng(1), 3, skill=0.5))
    row = compare_seeds({"a": a, "b": b}).iloc[0]
    for number in range(3):
        assert row[f"mcnemar_{number + 1}"] == compare_reports(a[number], b[number]).p_value


def test_single_models_are_compared_with_mcnemars_test():
    a, b = (_reports(*rights) for rights in _simulate(np.random.default_rng(2), 2, skill=0.9))
    expected = compare_reports(a[0], b[0])
    for given in ({"a": a[0], "b": b[0]}, {"a": a[:1], "b": b}):
        (row,) = compare_seeds(given).to_dict("records")
        assert (row["covers"], row["difference"]) == ("images", expected.difference)
        assert (row["low"], row["high"], row["p_value"]) == (*expected.interval, expected.p_value)


MEANS = {"a": 0.6, "b": 0.61, "c": 0.63, "d": 0.7}


def test_p_values_are_corrected_by_holms_method():
    rng = np.random.default_rng(0)
    table = compare_folds({name: rng.normal(mean, 0.01, 5) for name, mean in MEANS.items()})
    assert len(table) == 6
    assert table["first"].tolist() == ["d", "d", "d", "c", "c", "b"]
    p_values = np.sort(table["p_value"])
    expected = np.minimum(np.maximum.accumulate(p_values * [6, 5, 4, 3, 2, 1]), 1)
    np.testing.assert_allclose(np.sort(table["p_holm"]), expected)
    assert (table["p_holm"] >= table["p_value"]).all()
    # Holm's rule by hand: 0.01 * 3, 0.02 * 2, and the third one is not below the second
    a, b, c = (np.tile([1, 0], 20), np.tile([1, 1], 20), np.repeat([1, 0], [30, 10]))
    seeds = compare_seeds(dict(zip("abc", (_reports(right)[0] for right in (a, b, c)), strict=True)))
    smallest = seeds["mcnemar_1"].min()
    assert smallest == pytest.approx(3 * seeds["p_value"].min())


@pytest.mark.parametrize(("n_scores", "test_fraction"), [(5, None), (10, 0.2)])
def test_folds_are_compared_with_the_corrected_t_test(n_scores, test_fraction):
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.60, 0.02, n_scores), rng.normal(0.62, 0.02, n_scores)
    (row,) = compare_folds({"a": a, "b": b}, test_fraction=test_fraction).to_dict("records")
    # Nadeau and Bengio: the variance of the mean is (1 / J + n_test / n_train) instead of 1 / J times that of a score
    plain, ratio = ttest_rel(b, a), 1 / 4
    factor = np.sqrt(1 + n_scores * ratio)
    low, high = plain.confidence_interval()
    middle = (low + high) / 2
    assert (row["low"], row["high"]) == (
        pytest.approx(middle - factor * (middle - low)),
        pytest.approx(middle + factor * (high - middle)),
    )
    assert row["p_value"] > plain.pvalue
    assert row["covers"] == "folds"


@pytest.mark.parametrize("test_fraction", [0, 1, 20])
def test_a_test_fold_is_a_part_of_the_images(test_fraction):
    with pytest.raises(ValueError, match=f"Expected test_fraction between 0 and 1, got {test_fraction}"):
        compare_folds({"a": [0.5, 0.6], "b": [0.4, 0.6]}, test_fraction=test_fraction)


def test_equal_scores_do_not_differ():
    (row,) = compare_folds({"a": [0.5, 0.6], "b": [0.5, 0.6]}).to_dict("records")
    assert (row["difference"], row["p_holm"]) == (0, 1)
    (row,) = compare_seeds({"a": _reports([1, 0], [1, 0]), "b": _reports([1, 0], [1, 0])}).to_dict("records")
    assert (row["difference"], row["p_holm"]) == (0, 1)


def test_tables_are_written_by_pandas():
    table = compare_folds({"a_1": [0.61, 0.63, 0.60], "b": [0.64, 0.65, 0.65]})
    assert "| b " in table.to_markdown(index=False)
    assert r"a\_1" in table.to_latex(index=False, escape=True)
    assert table.to_csv(index=False).splitlines()[0] == "first,second,difference,low,high,p_value,p_holm,covers"


def test_invalid_comparisons_are_refused():
    a, b = _reports([1, 0, 1]), _reports([1, 0])
    with pytest.raises(ValueError, match="at least two settings to compare, got 1"):
        compare_seeds({"a": a})
    with pytest.raises(ValueError, match="got none for b"):
        compare_seeds({"a": a, "b": []})
    with pytest.raises(ValueError, match="on the same images"):
        compare_seeds({"a": a, "b": b})
    for scores in ([0.5, 0.6, 0.7], [0.5, np.nan]):
        with pytest.raises(ValueError, match="at least two scores for each setting, as many for all, and no nan"):
            compare_folds({"a": [0.5, 0.6], "b": scores})
    with pytest.raises(ValueError, match="at least two scores"):
        compare_folds({"a": [0.5], "b": [0.6]})
