import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ferkit import ImageNormalizer, ImageResizer


@pytest.mark.parametrize(
    ("shape", "image_shape", "expected"),
    [
        ((5, 2304), None, (48, 48, 1)),
        ((5, 6912), None, (48, 48, 3)),
        ((5, 12), (3, 4), (3, 4, 1)),
        ((5, 12), (-1, 4), (3, 4, 1)),
        ((5, 12), (1, -1), (1, 12, 1)),
        ((5, 12), (2, 2, 3), (2, 2, 3)),
        ((5, 12), (2, -1, 3), (2, 2, 3)),
        ((5, 12), [2, 2, -1], (2, 2, 3)),
        ((5, 48, 32), None, (48, 32, 1)),
        ((5, 48, 32, 3), None, (48, 32, 3)),
        ((5, 3, 48, 32), None, (48, 32, 3)),
        ((5, 1, 48, 32), None, (48, 32, 1)),
        ((5, 48, 32), (48, -1), (48, 32, 1)),
    ],
)
def test_shapes_are_recognized(shape, image_shape, expected):
    X = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    model = ImageNormalizer(method="minmax", image_shape=image_shape).fit(X)
    assert model.image_shape_ == expected
    assert model.transform(X).shape == (5, np.prod(expected))


def test_channels_first_and_last_are_the_same_image():
    last = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    model = ImageNormalizer(method="minmax").fit(last)
    np.testing.assert_array_equal(model.transform(last), model.transform(last.transpose(0, 3, 1, 2)))
    np.testing.assert_array_equal(model.transform(last), model.transform(last.reshape(4, -1)))


@pytest.mark.parametrize(
    ("shape", "image_shape", "message"),
    [
        ((5, 15), None, r"15 values are neither square gray"),
        ((5, 12), (5, -1), r"12 values do not fit image_shape=\(5, -1\)"),
        ((5, 12), (4, 4), r"do not fit image_shape=\(4, 4\), which holds 16"),
        ((5, 12), (-1, -1), r"where one may be -1"),
        ((5, 12), (4,), r"must be \(height, width\)"),
        ((5, 12), (0, 4), r"positive integers"),
        ((5, 3, 8, 3), None, r"channels in axis 1 or in axis 3"),
        ((5, 8, 8, 4), None, r"Expected images as \(n, pixels\)"),
        ((5, 2, 2, 2, 2), None, r"Expected images as"),
        ((5, 4, 3), (3, 4), r"image_shape=\(3, 4\), got shape \(4, 3, 1\)"),
    ],
)
def test_wrong_shapes_name_the_expected_ones(shape, image_shape, message):
    with pytest.raises(ValueError, match=message):
        ImageNormalizer(image_shape=image_shape).fit(np.zeros(shape, np.uint8))


def test_after_fit_stacks_of_another_shape_are_resized_and_rows_refused():
    model = ImageResizer(4).fit(np.zeros((2, 6, 4), np.uint8))
    image = np.arange(24, dtype=np.uint8).reshape(6, 4)
    doubled = np.kron(image, np.ones((2, 2), np.uint8))
    np.testing.assert_allclose(model.transform(doubled[None]).astype(int), model.transform(image[None]), atol=1)
    with pytest.raises(ValueError, match="features"):
        model.transform(np.zeros((2, 25), np.uint8))


def test_a_fit_on_files_forgets_the_columns_of_an_earlier_fit(tiny, tmp_path):
    X, y = np.random.default_rng(0).integers(0, 256, (4, 64), dtype=np.uint8), [0, 1, 0, 1]
    model = tiny().fit(pd.DataFrame(X, columns=[f"pixel{number}" for number in range(64)]), y)
    assert model.feature_names_in_[3] == "pixel3"
    Image.new("L", (9, 8)).save(tmp_path / "1.png")
    model.fit([tmp_path / "1.png"] * 4, y)
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == 72


def test_no_rows_are_refused():
    model = ImageResizer(4).fit(np.zeros((2, 36), np.uint8))
    with pytest.raises(ValueError, match="0 sample"):
        model.transform(np.zeros((0, 36), np.uint8))
