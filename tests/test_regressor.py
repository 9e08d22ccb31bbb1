"""Valence and arousal: targets, validation, searches and files of a regressor."""

import pickle
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVR

import ferkit
from ferkit import FERRegressor, ImageAugmenter, ImageNormalizer, NetworkFeatures, Pipeline, PixelParser
from ferkit.datasets import harmonize, make_faces
from ferkit.display import (
    ConfusionDisplay,
    HistoryDisplay,
    PrecisionRecallDisplay,
    PredictionsDisplay,
    ReliabilityDisplay,
    RocDisplay,
)
from ferkit.report import evaluate_sets
from ferkit.runs import train_run

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SCORED = [ConfusionDisplay, PrecisionRecallDisplay, PredictionsDisplay, ReliabilityDisplay, RocDisplay]
TRAIN, VALID = slice(0, 140), slice(140, 210)


@pytest.fixture(scope="module")
def affect(faces):
    return faces.traits[["valence", "arousal"]].to_numpy()


@pytest.fixture
def small():
    """Parameters that make a FERRegressor small enough for a test."""

    def build(**params):
        defaults = {"backbone_params": {"widths": (8, 16)}, "max_epochs": 2, "batch_size": 64, "random_state": 0}
        return FERRegressor(**{**defaults, **params})

    return build


# drawn faces


def test_drawn_faces_have_the_valence_and_arousal_of_their_expressions():
    faces = make_faces(700, random_state=0)
    means = faces.traits.groupby(faces.target_names[faces.target])[["valence", "arousal"]].mean()
    assert (means.valence[["happy", "surprise"]] > 0.2).all()
    assert (means.valence[["angry", "disgust", "fear", "sad"]] < -0.2).all()
    assert (means.arousal[["angry", "fear", "happy", "surprise"]] > 0.2).all()
    assert means.arousal["sad"] < 0
    assert (abs(means.loc["neutral"]) < 0.1).all()
    assert faces.traits[["valence", "arousal"]].abs().max().max() <= 1
    assert faces.traits.valence[faces.target == 3].std() > 0.15  # expressions are graded


def test_traits_stay_with_their_faces_when_others_are_left_out():
    faces = make_faces(70, random_state=0)
    kept = harmonize(faces, ["happy", "sad"])
    happy_or_sad = np.isin(faces.target_names[faces.target], ["happy", "sad"])
    assert np.array_equal(kept.traits, faces.traits[happy_or_sad])
    assert list(kept.traits.index) == list(range(happy_or_sad.sum()))


# targets


def test_predictions_have_the_shape_and_scale_of_the_targets(small, faces, affect):
    both = small().fit(faces.data, affect).predict(faces.data)
    assert both.shape == affect.shape
    valence = small().fit(faces.data, affect[:, 0]).predict(faces.data)
    assert valence.shape == (len(affect),)
    assert valence.mean() == pytest.approx(affect[:, 0].mean(), abs=0.3)
    model = small().fit(faces.data, 1024 + 64 * affect[:, 0].astype(float))  # without rounding
    tolerance = 1e-2 if model.device_ == "cpu" else 0.5  # two trainings on a GPU differ by rounding
    assert model.predict(faces.data) == pytest.approx(1024 + 64 * valence, abs=tolerance)


def test_each_target_has_its_own_scale(small, faces, affect):
    scales = np.array([1.0, 1000.0])
    model = small().fit(faces.data, affect * scales)
    assert model.predict(faces.data) == pytest.approx(
        small().fit(faces.data, affect).predict(faces.data) * scales, 1e-3
    )
    assert model.target_mean_ == pytest.approx((affect * scales).mean(axis=0))
    assert model.target_scale_ == pytest.approx((affect * scales).std(axis=0))


def test_a_constant_target_is_predicted(small, faces):
    model = small(max_epochs=3).fit(faces.data, np.full(len(faces.data), 7.0))
    assert np.isfinite(model.predict(faces.data)).all()
    assert model.target_scale_ == 1


def test_images_of_weight_zero_are_left_out(small, faces, affect):
    weight = np.repeat([1.0, 0.0], [140, 70])
    spoiled = np.where(weight[:, None] > 0, affect, 1e6)
    weighted = small().fit(faces.data, spoiled, sample_weight=weight)
    plain = small().fit(faces.data[TRAIN], affect[TRAIN])
    assert weighted.predict(faces.data) == pytest.approx(plain.predict(faces.data), abs=1e-5)


@pytest.mark.parametrize("name", ["class_weight", "label_smoothing", "mixup"])
def test_parameters_of_classes_do_not_exist(name, small):
    with pytest.raises(TypeError, match=name):
        FERRegressor(**{name: 0.1})
    assert name not in small().get_params()


def test_text_and_missing_targets_are_refused(small, faces, affect):
    with pytest.raises(ValueError, match="could not convert string to float"):
        small().fit(faces.data, faces.target_names[faces.target])
    with pytest.raises(ValueError, match="Input y contains infinity"):
        small().fit(faces.data, np.where(affect > 0.5, np.inf, affect))


@pytest.mark.parametrize("columns", [0, [0, 1]], ids=["one target", "two targets"])
def test_the_error_about_missing_targets_says_how_to_leave_them_out(columns, small, faces, affect):
    y = affect[:, columns].copy()
    y[3:6] = np.nan
    with pytest.raises(ValueError, match="Input y contains NaN in 3 of 210 rows") as raised:
        small().fit(faces.data, y)
    code = re.search(r"known = (.+)\.$", str(raised.value))[1]
    known = eval(code, {"np": np, "y": y})
    assert known.sum() == 207
    assert np.isfinite(small().fit(faces.data[known], y[known]).predict(faces.data)).all()


# training


def test_the_validation_loss_is_the_squared_error_of_standardized_targets(small, faces, affect):
    model = small().fit(faces.data[TRAIN], affect[TRAIN], X_val=faces.data[VALID], y_val=affect[VALID])
    errors = (model.predict(faces.data[VALID]) - affect[VALID]) / affect[TRAIN].std(axis=0)
    assert model.history_[-1]["valid_loss"] == pytest.approx((errors**2).mean(), rel=1e-3)
    assert "train_accuracy" not in model.history_[-1]


def test_validation_weights_weigh_the_validation_loss(small, faces, affect):
    weight = np.repeat([1.0, 0.0], 35)
    data = {"X_val": faces.data[VALID], "y_val": affect[VALID], "sample_weight_val": weight}
    first = {"X_val": faces.data[140:175], "y_val": affect[140:175]}
    weighted = small().fit(faces.data[TRAIN], affect[TRAIN], **data)
    plain = small().fit(faces.data[TRAIN], affect[TRAIN], **first)
    assert weighted.history_[-1]["valid_loss"] == pytest.approx(plain.history_[-1]["valid_loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("scoring", "score"),
    [("r2", r2_score), ("neg_mean_absolute_error", lambda y, predicted: -mean_absolute_error(y, predicted))],
)
@pytest.mark.parametrize("columns", [0, [0, 1]], ids=["one target", "two targets"])
def test_the_best_epoch_is_chosen_by_a_scorer_of_regressors(columns, scoring, score, small, faces, affect):
    y = affect[:, columns]
    model = small(max_epochs=3, lr=0.1, keep_best=True, scoring=scoring)
    model.fit(faces.data[TRAIN], y[TRAIN], X_val=faces.data[VALID], y_val=y[VALID])
    scores = [row["valid_score"] for row in model.history_]
    assert model.best_epoch_ == 1 + np.argmax(scores)
    assert max(scores) == pytest.approx(score(y[VALID], model.predict(faces.data[VALID])), rel=1e-3, abs=1e-5)


def test_early_stopping_watches_the_loss(small, faces, affect):
    model = small(max_epochs=30, lr=0.5, early_stopping=1, validation_fraction=0.3).fit(faces.data, affect)
    losses = [row["valid_loss"] for row in model.history_]
    assert len(losses) < 30
    assert model.best_epoch_ == 1 + np.argmin(losses)


def test_accuracy_is_no_score_of_a_regressor(small, faces, affect):
    with pytest.raises(ValueError, match="'scoring' parameter of FERRegressor"):
        small(scoring="accuracy").fit(faces.data, affect)


def test_validation_targets_must_be_those_of_the_training(small, faces, affect):
    with pytest.raises(ValueError, match=r"Expected 2 targets in y_val as in y, got shape \(70,\)"):
        small().fit(faces.data[TRAIN], affect[TRAIN], X_val=faces.data[VALID], y_val=affect[VALID, 0])


def test_columns_of_validation_targets_must_be_those_of_the_training(small, faces):
    y = faces.traits[["valence", "arousal"]]
    model = small().fit(faces.data[TRAIN], y[TRAIN], X_val=faces.data[VALID], y_val=y[VALID])
    assert model.target_names_ == ["valence", "arousal"]
    swapped = y[["arousal", "valence"]]
    with pytest.raises(
        ValueError, match=r"Expected the columns \['valence', 'arousal'\] of y in `fit`, .*: pass y_val\["
    ):
        small().fit(faces.data[TRAIN], y[TRAIN], X_val=faces.data[VALID], y_val=swapped[VALID])
    assert model.fit(faces.data, y.to_numpy()).target_names_ is None
    assert model.fit(faces.data, y.set_axis(pd.to_datetime(["2026", "2027"]), axis=1)).target_names_ is None


@pytest.mark.parametrize("scoring", ["f1_macro", "roc_auc_ovr"])
def test_a_scorer_of_classifiers_is_refused_before_the_training(scoring, small, faces, affect):
    model = small(scoring=scoring, keep_best=True, validation_fraction=0.2, backbone="no such network")
    with pytest.raises(ValueError, match=f"Expected a scorer of regressors in scoring, got '{scoring}'"):
        model.fit(faces.data, affect)


def test_a_loss_of_ones_own_gets_outputs_and_standardized_targets(small, faces, affect):
    from torch.nn import HuberLoss

    model = small(net_params={"criterion": HuberLoss, "criterion__reduction": "none"})
    model.fit(faces.data, affect, sample_weight=np.ones(len(affect)))
    assert model.history_[-1]["train_loss"] < small().fit(faces.data, affect).history_[-1]["train_loss"]


def test_the_weights_of_a_classifier_are_a_start(faces, affect):
    started = FERRegressor(weights="fer2013-small", frozen_epochs="all", max_epochs=3, random_state=0)
    started.fit(faces.data[TRAIN], affect[TRAIN])
    assert started.predict(faces.data[VALID]).shape == affect[VALID].shape
    backbone = ferkit.load_model("fer2013-small").network_.backbone.state_dict()
    trained = started.network_.backbone.state_dict()
    same = [name for name, value in backbone.items() if trained[name].equal(value)]
    assert 0 < len(backbone) - len(same) <= 2  # only the output layer differs


def test_progress_shows_the_losses(small, faces, affect, capsys):
    small(max_epochs=1, validation_fraction=0.3, verbose=1).fit(faces.data, affect)
    row = capsys.readouterr().out
    assert row.startswith("epoch 1/1: loss ")
    assert ", valid. " in row
    assert "acc." not in row


def test_the_history_is_drawn_without_an_accuracy(small, faces, affect):
    display = HistoryDisplay.from_estimator(small(validation_fraction=0.3).fit(faces.data, affect))
    assert [ax.get_ylabel() for ax in display.axes_] == ["loss"]


# in scikit-learn and in files


def test_a_pipeline_and_a_search_take_a_regressor(small, faces, affect):
    pixels = [" ".join(map(str, row)) for row in faces.data]
    pipeline = Pipeline([("parse", PixelParser()), ("regress", small(augment=ImageAugmenter()))])
    search = GridSearchCV(pipeline, {"regress__augment__rotation": [0, 5]}, cv=2, error_score="raise")
    assert search.fit(pixels, affect).predict(pixels).shape == affect.shape
    model = make_pipeline(ImageNormalizer(method="image"), small())
    assert np.isfinite(cross_val_score(model, faces.data, affect, cv=2)).all()


@pytest.mark.parametrize("columns", [0, [0], [0, 1]], ids=str)
def test_a_file_predicts_the_same(columns, small, faces, affect, tmp_path):
    y = faces.traits[["valence", "arousal"]].iloc[:, columns]
    model = small(validation_fraction=0.2).fit(faces.data, y)
    expected = model.predict(faces.data)
    ferkit.save(model, tmp_path / "model.ferkit")
    loaded = ferkit.load(tmp_path / "model.ferkit")
    assert np.array_equal(loaded.predict(faces.data), expected)
    assert loaded.history_ == model.history_
    assert loaded.target_names_ == model.target_names_
    assert "# FERRegressor" in ferkit.read_card(tmp_path / "model.ferkit")
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(faces.data), expected)
    assert not hasattr(clone(model), "net_")


def test_a_file_with_other_scales_than_targets_is_damaged(small, faces, affect, tmp_path):
    model = small().fit(faces.data, affect)
    model.target_scale_ = np.ones((1000, 1, 2))  # which would multiply the predictions
    ferkit.save(model, tmp_path / "model.ferkit")
    with pytest.raises(ValueError, match="scales of another shape"):
        ferkit.load(tmp_path / "model.ferkit")


def test_a_training_continues_from_its_checkpoint(small, faces, affect, tmp_path):
    class Stop(Exception):
        pass

    from skorch.callbacks import Callback

    class StopOnce(Callback):
        armed = True

        def on_epoch_begin(self, net, **kwargs):
            if StopOnce.armed and len(net.history) == 3:
                StopOnce.armed = False
                raise Stop

    expected = small(max_epochs=4).fit(faces.data, affect).predict(faces.data)
    model = small(max_epochs=4, checkpoint=tmp_path, callbacks=[StopOnce()])
    with pytest.raises(Stop):
        model.fit(faces.data, affect)
    assert np.array_equal(model.fit(faces.data, affect).predict(faces.data), expected)
    with pytest.raises(ValueError, match="target_scale"):
        model.fit(faces.data, 2 * affect)


def test_classification_is_left_to_classifiers(small, faces, affect, tmp_path):
    model = small().fit(faces.data, affect)
    for score in (
        lambda: ferkit.evaluate(model, faces.data, affect),
        lambda: evaluate_sets({"affect": model}, {"drawn": faces}),
        *(partial(each.from_estimator, model, faces.data, faces.target) for each in SCORED),
    ):
        with pytest.raises(
            TypeError, match=r"Expected a classifier, got the regressor FERRegressor: call model\.score"
        ):
            score()
    with pytest.raises(TypeError, match="Expected a FERClassifier, got a FERRegressor"):
        ferkit.export(model, tmp_path / "model.onnx")
    with pytest.raises(TypeError, match=r"Expected a classifier, got the regressor FERRegressor: call model\.fit"):
        train_run(small(), faces, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_features_of_a_regressor_feed_other_estimators(small, faces, affect):
    model = small().fit(faces.data, affect)
    values = NetworkFeatures(model, precision="float32").fit_transform(faces.data)
    with torch.no_grad():
        outputs = list(model.network_.backbone.modules())[-1](torch.from_numpy(values).to(model.device_))
        expected = model.network_(torch.from_numpy(faces.images[:, None]).to(model.device_))
    np.testing.assert_allclose(outputs.cpu(), expected.cpu(), atol=1e-4)


@pytest.mark.parametrize(
    "build",
    [
        lambda small: make_pipeline(NetworkFeatures(small), MultiOutputRegressor(LinearSVR(max_iter=10))),
        lambda small: make_pipeline(NetworkFeatures(small), LinearRegression()),
        lambda small: make_pipeline(NetworkFeatures(small), RidgeCV()),
        lambda small: MultiOutputRegressor(VotingRegressor([("network", clone(small)), ("mean", DummyRegressor())])),
        lambda small: MultiOutputRegressor(StackingRegressor([("network", clone(small))], Ridge(), cv=2)),
        lambda small: BaggingRegressor(clone(small), n_estimators=2, random_state=0),
    ],
    ids=["support vectors", "least squares", "ridge", "voting", "stacking", "bagging"],
)
def test_regressors_around_a_network_come_back_from_a_file(build, small, faces, affect, tmp_path):
    model = build(small().fit(faces.data[:80], affect[:80])).fit(faces.data[:80], affect[:80])
    ferkit.save(model, tmp_path / "model.ferkit")
    np.testing.assert_array_equal(ferkit.load(tmp_path / "model.ferkit").predict(faces.data), model.predict(faces.data))


def test_columns_are_scored_in_the_order_of_the_training(small, faces):
    y = faces.traits[["valence", "arousal"]]
    model = small().fit(faces.data, y)
    assert model.score(faces.data, y) == model.score(faces.data, y.to_numpy())
    with pytest.raises(ValueError, match=r"Expected the columns \['valence', 'arousal'\] of y in `fit`"):
        model.score(faces.data, y[["arousal", "valence"]])


def test_equal_targets_are_not_divided_by_rounding(small, faces):
    model = small().fit(faces.data, np.full(len(faces.data), 0.3))
    assert model.target_scale_ == 1
