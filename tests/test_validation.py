"""Validation images of one's own, the best epoch, and the schedules that watch them."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from PIL import Image
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import check_scoring, f1_score, log_loss
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch.optim.lr_scheduler import ExponentialLR, MultiStepLR, ReduceLROnPlateau

from ferkit import ImageResizer, Pipeline, PixelParser
from ferkit.datasets import make_faces

TRAIN, VALID = slice(0, 140), slice(140, 210)


@pytest.fixture
def split(faces):
    """Images and labels to train on and to validate on."""
    y = faces.target_names[faces.target]
    return faces.data[TRAIN], y[TRAIN], faces.data[VALID], y[VALID]


def losses(model):
    return [row["valid_loss"] for row in model.history_]


# validation images


def test_every_epoch_is_scored_with_the_weights_that_predict(tiny, split):
    X, y, X_val, y_val = split
    model = tiny(max_epochs=2).fit(X, y, X_val=X_val, y_val=y_val)
    assert model.history_[-1]["valid_accuracy"] == pytest.approx(model.score(X_val, y_val))
    proba = model.predict_proba(X_val)[np.arange(len(y_val)), np.searchsorted(model.classes_, y_val)]
    assert model.history_[-1]["valid_loss"] == pytest.approx(-np.log(proba).mean(), rel=1e-4)
    assert len(set(losses(model))) == 2


@pytest.mark.parametrize("params", [{}, {"frozen_epochs": 1, "mixup": 0.2}], ids=str)
def test_validation_images_do_not_change_the_training(params, tiny, split):
    X, y, X_val, y_val = split
    plain, watched = tiny(max_epochs=2, **params).fit(X, y), tiny(max_epochs=2, **params)
    watched.fit(X, y, X_val=X_val, y_val=y_val)
    assert np.array_equal(plain.predict_proba(X_val), watched.predict_proba(X_val))
    assert np.isfinite(losses(watched)).all()


def test_validation_images_take_the_forms_that_predict_takes(tiny, split, tmp_path):
    X, y, X_val, y_val = split
    paths = [tmp_path / f"{number}.png" for number in range(len(X_val))]
    for path, row in zip(paths, X_val, strict=True):
        Image.fromarray(row.reshape(48, 48)).save(path)
    expected = losses(tiny().fit(X, y, X_val=X_val, y_val=y_val))
    for images in (X_val.reshape(-1, 48, 48), X_val / 255, paths):
        assert losses(tiny().fit(X, y, X_val=images, y_val=y_val)) == pytest.approx(expected, rel=1e-3)
    assert losses(tiny().fit(X / 255, y, X_val=X_val, y_val=y_val)) == pytest.approx(expected, rel=1e-2)


def test_files_are_validated_on_files(tiny, split, tmp_path):
    X, y, X_val, y_val = split
    paths = np.array([tmp_path / f"{number}.png" for number in range(210)])
    for path, row in zip(paths, [*X, *X_val], strict=True):
        Image.fromarray(row.reshape(48, 48)).save(path)
    expected = losses(tiny().fit(X, y, X_val=X_val, y_val=y_val))
    assert losses(tiny().fit(paths[TRAIN], y, X_val=paths[VALID], y_val=y_val)) == expected


def test_validation_labels_are_matched_by_name(tiny, split):
    X, y, X_val, y_val = split
    expected = losses(tiny().fit(X, y, X_val=X_val, y_val=y_val))
    some = np.isin(y_val, ["happy", "surprise"])
    shares = pd.get_dummies(y_val, dtype=float)
    two = tiny().fit(X, y, X_val=X_val[some], y_val=y_val[some])
    assert losses(two) == losses(tiny().fit(X, y, X_val=X_val[some], y_val=shares[some][["surprise", "happy"]]))
    assert losses(tiny().fit(X, y, X_val=X_val, y_val=shares[shares.columns[::-1]])) == pytest.approx(expected)
    soft = tiny().fit(X, pd.get_dummies(y, dtype=float)[shares.columns[::-1]], X_val=X_val, y_val=y_val)
    assert soft.history_[0]["valid_accuracy"] == pytest.approx(soft.score(X_val, y_val))  # of two batches, in float32


def test_validation_labels_that_are_not_trained_on(tiny, split):
    X, y, X_val, y_val = split
    for labels in (
        np.where(y_val == "happy", "contempt", y_val),
        pd.DataFrame({"happy": 0.0, "contempt": 1.0}, range(70)),
    ):
        with pytest.raises(ValueError, match=r"Expected labels in y_val that are in y too, .*\['contempt'\]"):
            tiny().fit(X, y, X_val=X_val, y_val=labels)
    with pytest.raises(ValueError, match=r"got \[0, 1\]"):
        tiny().fit(X, y, X_val=X_val, y_val=np.arange(70) % 2)


def test_validation_weights_weigh_the_loss_and_the_accuracy(tiny, split):
    X, y, X_val, y_val = split
    weight = np.arange(70) % 3
    row = tiny(batch_size=32).fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight).history_[0]
    again = np.repeat(np.arange(70), weight)
    expected = tiny(batch_size=32).fit(X, y, X_val=X_val[again], y_val=y_val[again]).history_[0]
    assert [row["valid_loss"], row["valid_accuracy"]] == pytest.approx(
        [expected["valid_loss"], expected["valid_accuracy"]], rel=1e-4
    )
    frozen = tiny(frozen_epochs="all", tta=None)
    frozen.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    assert frozen.history_[0]["valid_accuracy"] == pytest.approx(frozen.score(X_val, y_val, weight))


def test_early_stopping_watches_validation_images(tiny, split):
    X, y, X_val, y_val = split
    model = tiny(early_stopping=2, max_epochs=60, lr_schedule=None, augment=None).fit(X, y, X_val=X_val, y_val=y_val)
    accuracies = [row["valid_accuracy"] for row in model.history_]
    assert len(accuracies) == int(np.argmax(accuracies)) + 1 + 2 < 60
    assert model.score(X_val, y_val) == pytest.approx(max(accuracies))


@pytest.mark.parametrize(
    ("params", "given", "message"),
    [
        ({"validation_fraction": 0.2}, ("X_val", "y_val"), "set validation_fraction=0 to validate on X_val"),
        ({}, ("X_val",), "pass the labels of the validation images"),
        ({}, ("y_val",), "got no X_val"),
        ({"early_stopping": 3}, (), "pass validation_fraction=0.1, or X_val and y_val to fit"),
    ],
    ids=str,
)
def test_validation_images_from_no_source_or_two(params, given, message, tiny, split):
    X, y, X_val, y_val = split
    values = {"X_val": X_val, "y_val": y_val}
    with pytest.raises(ValueError, match=message):
        tiny(**params).fit(X, y, **{name: values[name] for name in given})


def test_validation_images_of_another_size_name_the_remedy(tiny, split):
    X, y, X_val, y_val = split
    with pytest.raises(ValueError, match=r"576 features.*pipeline\[:-1\]\.transform\(X_val\)"):
        tiny().fit(X, y, X_val=X_val[:, :576], y_val=y_val)


def test_pipelines_transform_validation_images_as_documented(tiny):
    frame = make_faces(210, as_frame=True, random_state=0).frame
    (X, y), (X_val, y_val) = ((frame["pixels"][rows], frame["emotion"][rows]) for rows in (TRAIN, VALID))
    steps = [("parse", PixelParser()), ("balance", RandomOverSampler(random_state=0)), ("resize", ImageResizer(24))]
    pipeline = Pipeline([*steps, ("classify", tiny())])
    images = pipeline[:-1].fit(X, y).transform(X_val)
    pipeline.fit(X, y, classify__X_val=images, classify__y_val=y_val)
    expected = pipeline[-1].history_[0]["valid_accuracy"]
    assert expected == pytest.approx(pipeline.score(X_val, y_val))
    with config_context(enable_metadata_routing=True):
        model = tiny().set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([*steps, ("classify", model)], transform_input=["X_val"])
        search = GridSearchCV(pipeline, {"classify__lr": [1e-3]}, cv=2).fit(X, y, X_val=X_val, y_val=y_val)
        pipeline.fit(X, y, X_val=X_val, y_val=y_val)
    assert pipeline[-1].history_[0]["valid_accuracy"] == expected
    assert np.isfinite(losses(search.best_estimator_[-1])).all()


# the best epoch


def f1_of_happy(estimator, X, y):
    assert set(y) <= set(estimator.classes_)
    assert estimator.predict_proba(X).shape == (len(X), 7)
    return f1_score(y, estimator.predict(X), labels=["happy"], average="macro", zero_division=0)


BEST = {"max_epochs": 5, "lr": 0.03, "batch_size": 16, "augment": None}


@pytest.mark.parametrize(
    ("scoring", "column", "best"),
    [
        ("accuracy", "valid_accuracy", np.argmax),
        ("loss", "valid_loss", np.argmin),
        ("f1_macro", "valid_score", np.argmax),
        ("neg_log_loss", "valid_score", np.argmax),
        (f1_of_happy, "valid_score", np.argmax),
    ],
)
def test_the_best_epoch_is_kept_without_stopping(scoring, column, best, tiny, split):
    X, y, X_val, y_val = split
    model = clone(tiny(keep_best=True, scoring=scoring, **BEST)).fit(X, y, X_val=X_val, y_val=y_val)
    scores = [row[column] for row in model.history_]
    assert len(scores) == 5
    assert model.best_epoch_ == best(np.round(scores, 6)) + 1  # two batches round an accuracy in two ways
    assert ("valid_score" in model.history_[0]) == (column == "valid_score")
    if scoring != "loss":
        kept = check_scoring(model, scoring)(model, X_val, y_val)
        assert kept == pytest.approx(scores[best(scores)], abs=1e-5)
    else:
        assert log_loss(y_val, model.predict_proba(X_val)) == pytest.approx(min(scores), rel=1e-4)
    again = pickle.loads(pickle.dumps(model))
    assert again.best_epoch_ == model.best_epoch_
    again.partial_fit(X, y)
    assert again.best_epoch_ is None, "the last weights predict"


def test_keeping_the_best_epoch_changes_nothing_else(tiny, split):
    X, y, X_val, y_val = split
    plain, kept = tiny(tta="flip", **BEST), tiny(tta="flip", keep_best=True, **BEST)
    for model in (plain, kept):
        model.fit(X, y, X_val=X_val, y_val=y_val)
    assert losses(plain) == losses(kept)
    assert plain.best_epoch_ is None
    accuracies = [round(row["valid_accuracy"], 5) for row in kept.history_]  # equal ones may differ by rounding
    assert kept.best_epoch_ == 1 + np.argmax(accuracies)
    shorter = tiny(keep_best=True, validation_fraction=0.3, frozen_epochs=1, max_epochs=2).fit(X, y)
    assert shorter.best_epoch_ in (1, 2)


def test_ctrl_c_in_the_next_epoch_keeps_the_best_one(tiny, split):
    class Stop(Callback):
        def on_batch_end(self, net, training, **kwargs):
            if training and len(net.history) == 2 and len(net.history[-1]["batches"]) == 5:
                raise KeyboardInterrupt

    X, y, X_val, y_val = split
    model = tiny(keep_best=True, callbacks=[Stop()], **BEST)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, X_val=X_val, y_val=y_val)
    assert model.best_epoch_ == len(model.history_) == 1
    assert log_loss(y_val, model.predict_proba(X_val)) == pytest.approx(losses(model)[0], rel=1e-4)


def test_early_stopping_watches_the_scoring(tiny, split):
    X, y, X_val, y_val = split
    model = tiny(early_stopping=2, scoring="neg_log_loss", **{**BEST, "max_epochs": 40})
    model.fit(X, pd.get_dummies(y, dtype=float), X_val=X_val, y_val=y_val, sample_weight_val=np.arange(70) % 2)
    scores = [row["valid_score"] for row in model.history_]
    assert len(scores) == model.best_epoch_ + 2 == np.argmax(scores) + 3 < 40
    assert scores == pytest.approx([-loss for loss in losses(model)], rel=1e-4), "both are weighted"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"keep_best": True}, "validation images for keep_best=True, got none: pass validation_fraction=0.1, or X_val"),
        ({"scoring": "F1"}, "scoring"),
        ({"validation_fraction": 0.2, "scoring": lambda estimator, X, y: np.nan}, "Expected a finite score"),
        ({"validation_fraction": 0.2, "scoring": lambda estimator, X, y: estimator.predict(X[:2])}, "pass X unchanged"),
        ({"validation_fraction": 0.2, "scoring": "roc_auc"}, "scorer of classifiers in scoring .* got 'roc_auc'"),
    ],
)
def test_scoring_that_cannot_be_computed(params, message, tiny, split):
    with pytest.raises(ValueError, match=message):
        tiny(**params).fit(*split[:2])


def test_a_scorer_must_take_weights_if_there_are_any(tiny, split):
    class Refuse(Callback):
        def on_train_begin(self, net, **kwargs):
            raise AssertionError("the training has begun")

    X, y, X_val, y_val = split
    model = tiny(scoring=lambda estimator, X, y: 0.5, keep_best=True, callbacks=[Refuse()])
    with pytest.raises(ValueError, match="accepts the validation images and sample_weight, got <function"):
        model.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=np.ones(len(y_val)))


# schedules


def rates(model):
    return [row["lr"] for row in model.history_]


def halve_every_epoch(optimizer):
    return ExponentialLR(optimizer, 0.5)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("step", [1, 1, 0.1, 0.1, 0.01, 0.01]),
        ("exponential", [0.01 ** (epoch / 6) for epoch in range(6)]),
        ("warm_restarts", [1, 0.5, 1, 0.854, 0.5, 0.146]),
        ({"name": "step", "step_size": 1, "gamma": 0.5}, [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]),
        ({"name": "exponential", "gamma": 0.9}, [0.9**epoch for epoch in range(6)]),
        ({"name": "warm_restarts", "T_0": 1, "T_mult": 1}, [1] * 6),
        (halve_every_epoch, [0.5**epoch for epoch in range(6)]),
        (partial(MultiStepLR, milestones=[3], gamma=0.2), [1, 1, 1, 0.2, 0.2, 0.2]),
        ({"name": "plateau", "factor": 0.5, "patience": 0, "threshold": 10}, [0.5**epoch for epoch in range(6)]),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_schedules_with_numbers_of_ones_own(schedule, expected, tiny, split):
    model = clone(tiny(lr_schedule=schedule, lr=0.01, max_epochs=6)).fit(split[0][:64], split[1][:64])
    np.testing.assert_allclose(rates(model), 0.01 * np.array(expected), atol=1e-5)
    assert rates(pickle.loads(pickle.dumps(model))) == rates(model)


def test_a_dict_with_only_a_name_is_the_name(tiny, split):
    X, y, X_val, _ = split
    for name in ("onecycle", "cosine", "plateau"):
        models = [tiny(max_epochs=2, lr_schedule=schedule).fit(X, y) for schedule in (name, {"name": name})]
        assert np.array_equal(models[0].predict_proba(X_val), models[1].predict_proba(X_val))
    short = tiny(lr_schedule={"name": "onecycle", "pct_start": 0.9, "div_factor": 2}, lr=0.01).fit(X, y)
    assert rates(short)[0] > 0.004


def test_plateau_monitors_what_it_is_told(tiny, split):
    X, y, X_val, y_val = split
    data, valid = (X, y), {"X_val": X_val[:1], "y_val": y_val[:1]}  # whose accuracy is 0 or 1
    schedule = {"name": "plateau", "factor": 0.5, "patience": 0, "monitor": "valid_accuracy"}
    model = tiny(lr_schedule=schedule, lr=0.01, max_epochs=5).fit(*data, **valid)
    best, expected = -1, [0.01]
    for row in model.history_[:-1]:
        improves = row["valid_accuracy"] > best
        best, expected = max(best, row["valid_accuracy"]), [*expected, expected[-1] * (1 if improves else 0.5)]
    assert rates(model) == pytest.approx(expected)
    assert rates(model)[-1] < 0.01
    scored = tiny(lr_schedule={**schedule, "monitor": "valid_score"}, scoring="accuracy", max_epochs=1)
    with pytest.raises(ValueError, match="among train_loss, train_accuracy, valid_loss, valid_accuracy, got 'valid_sc"):
        scored.fit(*data, **valid)
    scored.set_params(scoring="f1_macro").fit(*data, **valid)


def test_schedules_are_searched(tiny, split):
    schedules = ["step", {"name": "plateau", "monitor": "train_accuracy"}, halve_every_epoch]
    search = GridSearchCV(tiny(), {"lr_schedule": schedules}, cv=2, error_score="raise").fit(*split[:2])
    assert len(search.cv_results_["params"]) == 3


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("steps", "lr_schedule"),
        ({"factor": 0.5}, "one of onecycle, cosine, step, exponential, warm_restarts, plateau, got None"),
        ({"name": "plateau", "gamma": 0.5}, "among factor, patience, .*, monitor, got gamma"),
        ({"name": "cosine", "T_max": 5}, "among eta_min, got T_max"),
        ({"name": "step", "monitor": "valid_loss"}, "among step_size, gamma, got monitor"),
        ({"name": "plateau", "monitor": "valid_loss"}, "got 'valid_loss': pass validation_fraction=0.1, or X_val"),
        ({"name": "plateau", "monitor": "loss"}, "among train_loss, train_accuracy, got 'loss': choose one"),
        (lambda optimizer: optimizer, "PyTorch scheduler that needs no score, got Adam"),
        (ReduceLROnPlateau, 'for ReduceLROnPlateau pass {"name": "plateau"'),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_schedules_that_do_not_exist(schedule, message, tiny, split):
    with pytest.raises((ValueError, TypeError), match=message):
        tiny(lr_schedule=schedule).fit(*split[:2])


def test_callbacks_see_the_last_epoch_too(tiny, split):
    class Count(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("number", len(net.history))

    X, y, X_val, y_val = split
    model = tiny(early_stopping=1, max_epochs=30, lr=1e-6, callbacks=[Count()]).fit(X, y, X_val=X_val, y_val=y_val)
    assert len(model.history_) < 30
    assert [row["number"] for row in model.history_] == [row["epoch"] for row in model.history_]
