"""Images on another scale than the training images: converted if that is certain, otherwise a warning."""

import warnings

import numpy as np
import pytest
from PIL import Image

from ferkit import ImageNormalizer, Pipeline, evaluate

SCALES = {
    "uint8": lambda X: X,
    "whole numbers": lambda X: X.astype(float),
    "int64": lambda X: X.astype(np.int64),
    "0 to 1": lambda X: X / 255,
    "0 to 1, float32": lambda X: (X / 255).astype(np.float32),
}
EXACT = {"augment": None, "precision": "float32"}


@pytest.mark.parametrize("given", SCALES)
@pytest.mark.parametrize("trained", SCALES)
def test_bytes_and_fractions_are_converted_into_one_another(trained, given, tiny, faces):
    X, other = SCALES[trained](faces.data), SCALES[given](faces.data)
    model = tiny(**EXACT).fit(X, faces.target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(model.predict_proba(other), model.predict_proba(X), atol=1e-4)
        single = model.predict_proba(other[:1])
    np.testing.assert_allclose(single, model.predict_proba(X[:1]), atol=1e-4)


STANDARDIZED = {
    "standardized": lambda X: (X - 130.0) / 50,
    "centered": lambda X: X - 128.0,
    "-1 to 1": lambda X: X / 127.5 - 1,
}


@pytest.mark.parametrize("other", STANDARDIZED)
@pytest.mark.parametrize("usual", ["uint8", "0 to 1"])
def test_other_scales_give_a_warning_with_the_remedy(usual, other, tiny, faces):
    usual, other = SCALES[usual](faces.data), STANDARDIZED[other](faces.data)
    for trained, given in ((usual, other), (other, usual)):
        model = tiny(**EXACT).fit(trained, faces.target)
        with pytest.warns(UserWarning, match="scale these images as the training images were"):
            model.predict(given)


@pytest.mark.parametrize("scale", [*SCALES.values(), *STANDARDIZED.values()])
def test_images_on_the_training_scale_give_no_warning(scale, tiny, faces):
    X = scale(faces.data)
    dark, bright, flat = X * 0 + X.min(), X * 0 + X.max(), X * 0 + X.mean()
    model = tiny(**EXACT).fit(X, faces.target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(X)
        model.predict(X[:1])
        if X.dtype == np.uint8:
            for given in (dark, bright, flat):
                model.predict(given.astype(X.dtype))


def test_partial_fit_and_evaluate_convert_too(tiny, faces):
    steps = [tiny(**EXACT).partial_fit(faces.data, faces.target, classes=range(7)) for _ in range(2)]
    steps[0].partial_fit(faces.data, faces.target)
    steps[1].partial_fit(faces.data / 255, faces.target)
    np.testing.assert_allclose(*(model.predict_proba(faces.data) for model in steps), atol=1e-3)
    reports = [evaluate(steps[0], X, faces.target) for X in (faces.data, faces.data / 255)]
    assert reports[0].accuracy == reports[1].accuracy
    with pytest.warns(UserWarning, match="scale these images"):
        steps[0].partial_fit(faces.data - 128.0, faces.target)
    with pytest.warns(UserWarning, match="scale these images"):
        evaluate(steps[1], faces.data - 128.0, faces.target)


def test_files_are_bytes(tiny, faces, tmp_path):
    paths = [tmp_path / f"{row}.png" for row in range(len(faces.images))]
    for path, image in zip(paths, faces.images, strict=True):
        Image.fromarray(image).save(path)
    model = tiny(**EXACT).fit(faces.data / 255, faces.target)
    np.testing.assert_allclose(model.predict_proba(paths), model.predict_proba(faces.data / 255), atol=1e-4)


@pytest.mark.parametrize("method", ["dataset", "minmax"])
def test_a_normalizer_converts_before_the_classifier(method, tiny, faces):
    model = Pipeline([("normalize", ImageNormalizer(method=method)), ("classify", tiny(**EXACT))])
    model.fit(faces.data, faces.target)
    np.testing.assert_allclose(model.predict_proba(faces.data / 255), model.predict_proba(faces.data), atol=1e-4)
    with pytest.warns(UserWarning, match="scale these images"):
        model.predict(faces.data - 128.0)


def test_training_images_are_found_on_another_scale(fitted, faces):
    X, y = faces.data, faces.target_names[faces.target]
    for X_test, X_train in ((X / 255, X), (X, X / 255), ((X / 255).astype(np.float32), X)):
        assert evaluate(fitted, X_test[:50], y[:50], X_train=X_train[40:]).n_in_training == 10


def test_centered_images_of_little_contrast_are_not_taken_for_fractions(tiny, faces):
    model = tiny(**EXACT).fit(faces.data, faces.target)
    with pytest.warns(UserWarning, match="scale these images"):
        model.predict((faces.data / 255 - 0.5) / 4)
