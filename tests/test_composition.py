"""FERClassifier in the tools of scikit-learn and imbalanced-learn that accept an estimator."""

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from imblearn import FunctionSampler
from imblearn.combine import SMOTEENN
from imblearn.metrics import classification_report_imbalanced, geometric_mean_score
from imblearn.over_sampling import ADASYN, SMOTE, RandomOverSampler
from imblearn.under_sampling import NearMiss, RandomUnderSampler
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, make_scorer, recall_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion

from ferkit import FERClassifier, ImageAugmenter, ImageNormalizer, ImageResizer, Pipeline, PixelParser
from ferkit.datasets import make_faces


@pytest.fixture(scope="module")
def data():
    """Happy or surprised: 150 faces to train on, 100 to test on."""
    faces = make_faces(900, size=24, random_state=0)
    rows = np.flatnonzero(np.isin(faces.target, [3, 5]))[:250]
    X, y = faces.data[rows], faces.target_names[faces.target[rows]]
    return X[:150], y[:150], X[150:], y[150:]


def quick(**params):
    """A classifier that learns these faces in a quarter of a second."""
    defaults = {
        "backbone_params": {"widths": (16, 32), "dropout": 0},
        "augment": None,
        "max_epochs": 10,
        "batch_size": 16,
        "random_state": 0,
    }
    return FERClassifier(**{**defaults, **params})


# model selection


@pytest.mark.parametrize(
    "search",
    [
        lambda model, grid: GridSearchCV(model, grid, cv=2, error_score="raise"),
        lambda model, grid: RandomizedSearchCV(model, grid, n_iter=2, cv=2, random_state=0, error_score="raise"),
        lambda model, grid: HalvingGridSearchCV(
            model, {"lr": grid["lr"]}, resource="max_epochs", max_resources=10, min_resources=2, factor=2, cv=2
        ),
    ],
    ids=["GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV"],
)
def test_searches_find_the_rate_that_learns(search, data):
    X, y, X_test, y_test = data
    found = search(quick(), {"lr": [1e-9, 1e-2]}).fit(X, y)
    assert found.best_params_["lr"] == 1e-2
    assert found.score(X_test, y_test) > 0.75


def test_cross_validation_with_several_scorers(data):
    X, y, _, _ = data
    scoring = ["accuracy", "balanced_accuracy", "f1_macro", "neg_log_loss", "roc_auc"]
    scores = cross_validate(quick(), X, y, cv=3, scoring=scoring, return_estimator=True, error_score="raise")
    for fold, (model, accuracy) in enumerate(zip(scores["estimator"], scores["test_accuracy"], strict=True)):
        assert accuracy > 0.6
        assert scores["test_neg_log_loss"][fold] > -np.log(2), "better than a coin"
        assert set(model.classes_) == {"happy", "surprise"}
    proba = cross_val_predict(quick(), X, y, cv=3, method="predict_proba")
    assert (np.array(["happy", "surprise"])[proba.argmax(axis=1)] == y).mean() == pytest.approx(
        scores["test_accuracy"].mean(), abs=0.01
    )


def test_learning_curve(data):
    X, y, _, _ = data
    sizes, train, test = learning_curve(quick(), X, y, train_sizes=[20, 100], cv=3, error_score="raise")
    assert sizes.tolist() == [20, 100]
    assert train.shape == test.shape == (2, 3)
    assert test[1].mean() > test[0].mean()


def test_tuned_threshold(data):
    X, y, X_test, y_test = data
    scorer = make_scorer(recall_score, pos_label="surprise")
    tuned = TunedThresholdClassifierCV(quick(max_epochs=4), scoring=scorer, cv=2).fit(X, y)
    assert recall_score(y_test, tuned.predict(X_test), pos_label="surprise") > 0.95


# meta-estimators


@pytest.mark.parametrize(
    "ensemble",
    [
        VotingClassifier([("a", quick()), ("b", quick(random_state=1, input_size=32))], voting="soft"),
        StackingClassifier([("a", quick()), ("b", quick(random_state=1))], LogisticRegression(), cv=2),
        BaggingClassifier(quick(), n_estimators=3, random_state=0),
        OneVsRestClassifier(quick()),
        CalibratedClassifierCV(quick(), cv=2),
    ],
    ids=lambda ensemble: type(ensemble).__name__,
)
def test_ensembles(ensemble, data):
    X, y, X_test, y_test = data
    model = ensemble.fit(X, y)
    assert model.score(X_test, y_test) > 0.75
    np.testing.assert_allclose(model.predict_proba(X_test).sum(axis=1), 1, atol=1e-5)


def test_calibration_of_a_frozen_model(data):
    X, y, X_test, y_test = data
    model = quick(label_smoothing=0.5).fit(X[:100], y[:100])
    before = model.predict_proba(X_test)
    calibrated = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid").fit(X[100:], y[100:])
    np.testing.assert_array_equal(model.predict_proba(X_test), before)
    is_surprise = y_test == "surprise"
    assert brier_score_loss(is_surprise, calibrated.predict_proba(X_test)[:, 1]) < brier_score_loss(
        is_surprise, before[:, 1]
    )


def test_permutation_importance_sees_where_the_mouth_is(data):
    X, y, X_test, y_test = data
    model = quick().fit(X, y)

    class Halves:
        """The upper and the lower half as one feature each."""

        def fit(self, X, y):
            return self

        def score(self, X, y):
            return model.score(np.stack([np.concatenate([a, b]) for a, b in X]), y)

    halves = np.empty((len(X_test), 2), dtype=object)
    for row, face in enumerate(X_test):
        halves[row, 0], halves[row, 1] = face[:288], face[288:]
    importance = permutation_importance(Halves(), halves, y_test, n_repeats=3, random_state=0).importances_mean
    assert importance[1] > importance[0]


# composition


def test_pixels_beside_other_columns(data):
    X, y, X_test, y_test = data
    columns = [f"pixel{number}" for number in range(X.shape[1])]

    def frame(X):
        return pd.DataFrame(X, columns=columns).assign(age=np.arange(len(X)) % 60)

    pixels = Pipeline([("small", ImageResizer(12)), ("normalize", ImageNormalizer()), ("components", PCA(20))])
    beside = ColumnTransformer([("pixels", pixels, columns), ("others", "passthrough", ["age"])])
    model = Pipeline([("features", beside), ("classify", LogisticRegression(max_iter=1000))]).fit(frame(X), y)
    assert model[0].transform(frame(X_test)).shape == (100, 21)
    assert model.score(frame(X_test), y_test) > 0.6
    network = Pipeline(
        [("pixels", ColumnTransformer([("pixels", "passthrough", columns)])), ("classify", quick())]
    ).fit(frame(X), y)
    assert network.score(frame(X_test), y_test) > 0.75


def test_feature_union(data):
    X, y, X_test, y_test = data
    union = FeatureUnion([("whole", ImageResizer(24)), ("small", ImageResizer(8))])
    assert union.fit_transform(X).shape == (150, 24 * 24 + 8 * 8)
    model = Pipeline([("views", union), ("components", PCA(20)), ("classify", LogisticRegression(max_iter=1000))])
    assert model.fit(X, y).score(X_test, y_test) > 0.6


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output(container, data):
    X, y, X_test, y_test = data
    frames = pytest.importorskip(container)
    with sklearn.config_context(transform_output=container):
        pipeline = Pipeline([("resize", ImageResizer(20)), ("normalize", ImageNormalizer()), ("classify", quick())])
        pipeline.fit(X, y)
        frame = pipeline[:-1].transform(X_test)
        assert pipeline.score(X_test, y_test) > 0.75
    assert isinstance(frame, frames.DataFrame)
    assert frame.shape == (100, 400)
    text = [" ".join(map(str, row)) for row in X_test.tolist()]
    parsed = PixelParser().set_output(transform=container).fit_transform(text)
    np.testing.assert_array_equal(np.asarray(parsed), X_test)


@pytest.mark.parametrize(
    "container",
    [
        lambda X, columns: pd.DataFrame(X, columns=columns),
        lambda X, columns: pytest.importorskip("polars").DataFrame(X, schema=columns),
    ],
    ids=["pandas", "polars"],
)
def test_frames_are_accepted(container, data):
    X, y, X_test, _ = data
    plain = quick().fit(X, y).predict_proba(X_test)
    columns = [f"pixel{number}" for number in range(X.shape[1])]
    model = quick().fit(container(X, columns), y)
    assert model.feature_names_in_.tolist() == columns
    np.testing.assert_array_equal(model.predict_proba(container(X_test, columns)), plain)


def test_steps_are_cached(data, tmp_path):
    X, y, X_test, y_test = data

    def build(lr):
        return Pipeline([("resize", ImageResizer(20)), ("classify", quick(lr=lr))], memory=str(tmp_path))

    first = build(1e-2).fit(X, y)
    stored = sorted(path.parent for path in tmp_path.rglob("output.pkl"))
    assert stored
    build(2e-2).fit(X, y)
    assert sorted(path.parent for path in tmp_path.rglob("output.pkl")) == stored, "the resizer ran once"
    assert first.score(X_test, y_test) > 0.75


def test_html_diagram_shows_every_step():
    html = Pipeline([("parse", PixelParser()), ("classify", quick())])._repr_html_()
    assert "PixelParser" in html
    assert "FERClassifier" in html


# weights


def test_weights_equal_repeated_rows_if_nothing_else_differs(data):
    """In one batch, without batch norm, dropout and augmentation, a weight of 3 equals three copies of a row."""

    def linear(num_classes, in_channels):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(in_channels * 24 * 24, num_classes))

    X, y, X_test, _ = data
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    params = {"backbone_params": None, "batch_size": 1000, "precision": "float32", "lr": 1e-3, "ema_decay": None}
    weighted = quick(backbone=linear, **params).fit(X, y, sample_weight=weight)
    repeated = quick(backbone=linear, **params).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    ignored = quick(backbone=linear, **params).fit(X, y)
    expected = repeated.predict_proba(X_test)
    np.testing.assert_allclose(weighted.predict_proba(X_test), expected, atol=1e-5)
    assert np.abs(ignored.predict_proba(X_test) - expected).max() > 1e-3


def test_weights_equal_repeated_rows_on_average(data):
    """With batch norm, dropout and augmentation, over several seeds."""
    X, y, X_test, _ = data
    weight = np.where(y == "happy", 4, 1)
    epochs = 5
    as_many_steps = round(epochs * len(y) / weight.sum())
    ways = {
        "weighted": (epochs, X, y, weight),
        "repeated": (as_many_steps, np.repeat(X, weight, axis=0), np.repeat(y, weight)),
        "ignored": (epochs, X, y),
    }
    happy = {
        name: np.mean(
            [
                quick(random_state=seed, max_epochs=epochs).fit(*rows).predict_proba(X_test)[:, 0].mean()
                for seed in range(4)
            ]
        )
        for name, (epochs, *rows) in ways.items()
    }
    assert abs(happy["weighted"] - happy["repeated"]) < 0.5 * abs(happy["ignored"] - happy["repeated"]), happy


def test_weights_are_routed_through_pipelines_and_searches(data):
    X, y, X_test, _ = data
    weight = np.where(y == "happy", 1.0, 1e-3)
    with sklearn.config_context(enable_metadata_routing=True):
        model = quick().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = Pipeline([("resize", ImageResizer(20)), ("classify", model)])
        pipeline.set_score_request(sample_weight=True)  # scikit-learn before 1.8 needs it for the pipeline too
        pipeline.fit(X, y, sample_weight=weight)
        search = GridSearchCV(pipeline, {"classify__lr": [1e-2]}, cv=2, error_score="raise")
        search.fit(X, y, sample_weight=weight)
    unweighted = Pipeline([("resize", ImageResizer(20)), ("classify", quick())]).fit(X, y)
    assert (unweighted.predict(X_test) == "happy").mean() < 0.7
    for fitted in (pipeline, search):
        assert (fitted.predict(X_test) == "happy").mean() > 0.95


# imbalanced-learn


SAMPLERS = [
    RandomOverSampler(random_state=0),
    RandomUnderSampler(random_state=0),
    SMOTE(k_neighbors=3, random_state=0),
    ADASYN(n_neighbors=3, random_state=0),
    SMOTEENN(smote=SMOTE(k_neighbors=3, random_state=0), random_state=0),
    NearMiss(),
    FunctionSampler(func=lambda X, y: (X[::2], y[::2])),
    ImageAugmenter(random_state=0),
]


@pytest.mark.parametrize("normalized", [False, True], ids=["pixels", "normalized"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__)
def test_samplers_balance_images(sampler, normalized, data):
    X, y, X_test, y_test = data
    kept = np.concatenate([np.flatnonzero(y == "happy"), np.flatnonzero(y == "surprise")[:25]])
    steps = [("resize", ImageResizer(20)), ("sample", sampler), ("classify", quick())]
    if normalized:
        steps.insert(1, ("normalize", ImageNormalizer()))
    model = Pipeline(steps).fit(X[kept], y[kept])
    _, y_sampled = clone(sampler).fit_resample(model[:-2].transform(X[kept]), y[kept])
    assert sum(model[-1].net_.history[0, "batches", :, "train_batch_size"]) == len(y_sampled)
    assert len(model.predict(X_test)) == 100, "predicting samples nothing"
    if not isinstance(sampler, (FunctionSampler, ImageAugmenter, SMOTEENN)):  # these do not only balance
        happy, surprise = np.unique(y_sampled, return_counts=True)[1]
        assert happy == pytest.approx(surprise, rel=0.2)
        y_pred = model.predict(X_test)
        assert geometric_mean_score(y_test, y_pred) > 0.3
        assert "surprise" in classification_report_imbalanced(y_test, y_pred)
