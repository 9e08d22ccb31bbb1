"""Validation images of one's own, the best epoch, and the schedules that watch them."""

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from PIL import Image
from sklearn import config_context
from sklearn.model_selection import GridSearchCV

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
    assert soft.history_[0]["valid_accuracy"] == soft.score(X_val, y_val)


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
