"""Images on another scale than the training images: converted if that is certain, otherwise a warning."""

import warnings
from functools import cache

import numpy as np
import pytest
from PIL import Image

from ferkit import FERClassifier, ImageNormalizer, Pipeline, evaluate

SCALES = {
    "uint8": lambda X: X,
    "whole numbers": lambda X: X.astype(float),
    "int64": lambda X: X.astype(np.int64),
    "0 to 1": lambda X: X / 255,
    "0 to 1, float32": lambda X: (X / 255).astype(np.float32),
}
STANDARDIZED = {
    "standardized": lambda X: (X - 130.0) / 50,
    "centered": lambda X: X - 128.0,
    "-1 to 1": lambda X: X / 127.5 - 1,
}
EXACT = {"augment": None, "precision": "float32"}


@pytest.fixture(scope="module")
def trained_on(faces):
    """Function that returns a model that was trained on images of a scale."""

    @cache
    def train(scale):
        model = FERClassifier(backbone_params={"widths": (8, 16)}, max_epochs=1, batch_size=64, random_state=0, **EXACT)
        return model.fit({**SCALES, **STANDARDIZED}[scale](faces.data), faces.target)

    return train


@pytest.mark.parametrize("given", SCALES)
@pytest.mark.parametrize("trained", SCALES)
def test_bytes_and_fractions_are_converted_into_one_another(trained, given, trained_on, faces):
    X, other, model = SCALES[trained](faces.data), SCALES[given](faces.data), trained_on(trained)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(model.predict_proba(other), model.predict_proba(X), atol=1e-4)
        single = model.predict_proba(other[:1])
    np.testing.assert_allclose(single, model.predict_proba(X[:1]), atol=1e-4)


@pytest.mark.parametrize("other", STANDARDIZED)
@pytest.mark.parametrize("usual", ["uint8", "0 to 1"])
def test_other_scales_give_a_warning_with_the_remedy(usual, other, trained_on, faces):
    for trained, given in ((usual, STANDARDIZED[other]), (other, SCALES[usual])):
        with pytest.warns(UserWarning, match="scale these images as the training images were"):
            trained_on(trained).predict(given(faces.data))


@pytest.mark.parametrize("scale", [*SCALES, *STANDARDIZED])
def test_images_on_the_training_scale_give_no_warning(scale, trained_on, faces):
    X, model = {**SCALES, **STANDARDIZED}[scale](faces.data), trained_on(scale)
    dark, bright, flat = X * 0 + X.min(), X * 0 + X.max(), X * 0 + X.mean()
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


def spread(low, high):
    """Two images of 2×2 float pixels that reach from `low` to `high`."""
    return np.linspace(low, high, 8).reshape(2, 4)


@pytest.mark.parametrize(
    ("low", "high", "is_bytes", "is_unit"),
    [
        (0, 1, False, True),
        (-0.2, 1.2, False, True),  # bicubic resizing leaves the range
        (-0.3, 1, False, False),
        (0, 1.3, False, False),
        (0, 31, False, False),
        (0, 33, True, False),
        (-60, 310, True, False),
        (-70, 255, False, False),
        (0, 330, False, False),
    ],
)
def test_the_range_of_the_training_pixels_is_recognized(low, high, is_bytes, is_unit):
    expected = (0, 255) if is_bytes else (0, 1) if is_unit else (low, high)
    assert ImageNormalizer().fit(spread(low, high)).pixel_range_ == pytest.approx(expected)


@pytest.mark.parametrize(
    ("trained", "given", "is_wrong"),
    [
        ((-2, 3), (-2.5, 4), False),
        ((-2, 3), (-4, 3), True),
        ((-2, 3), (-2, 5), True),
        ((-2, 3), (0, 1), True),
        ((-2, 3), (0, 2.9), False),
        ((0, 255), (0, 30), False),
        ((0, 255), (-1, 1), True),
        ((0, 255), (-1, 30), True),
        ((0, 1), (0, 255), True),
        ((0, 1), (0, 3), True),
        ((20, 600), (50, 250), False),
        ((0, 600), (0, 250), False),
    ],
)
def test_only_a_range_that_cannot_match_gives_a_warning(trained, given, is_wrong):
    model, images = ImageNormalizer(method="minmax").fit(spread(*trained)), spread(*given)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pixels = model.transform(images)
    assert len(caught) == is_wrong
    for warning in caught:
        assert f"from {trained[0]} to {trained[1]}, got {given[0]} to {given[1]}: scale" in str(warning.message)
    np.testing.assert_allclose(pixels, (images - trained[0]) / (trained[1] - trained[0]), rtol=1e-5, atol=1e-5)


def test_a_black_image_of_fractions_is_black_for_a_model_of_bytes():
    model = ImageNormalizer(method="minmax").fit(spread(0, 255).astype(np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(model.transform(spread(0, 1)), spread(0, 1), atol=1e-6)
