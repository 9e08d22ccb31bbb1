import re
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
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
        ((5, 12), (5, -1), r"^Rows of 12 values do not fit image_shape=\(5, -1\)\.$"),
        ((5, 12), (4, 4), r"^Rows of 12 values do not fit image_shape=\(4, 4\), which holds 16\.$"),
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
    for shape in ((0, 9, 9), (0, 25)):
        with pytest.raises(ValueError, match="0 sample"):
            model.transform(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("shape", [(60, 40), (60, 40, 3)])
def test_after_fit_arrays_and_pil_images_shrink_to_the_same_image(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    model = ImageNormalizer(method="minmax").fit(np.array([[[0] * 8] * 12, [[255] * 8] * 12], np.uint8))
    given = image[None, ..., None] if image.ndim == 2 else image[None]
    np.testing.assert_allclose(model.transform(given), model.transform([Image.fromarray(image)]), atol=1.01 / 255)


def test_resized_images_keep_their_type():
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 8), dtype=np.uint8)
    for stack in (images, images.astype(np.float32)):
        model = ImageResizer((1, 4)).fit(stack[:, ::2, ::2])
        assert model.transform(stack).dtype == stack.dtype
        assert model.transform(stack).shape == (2, 4)


def test_paths_and_pil_images_may_be_mixed(tmp_path):
    images = [Image.fromarray(np.full((6, 4), gray, np.uint8)) for gray in (10, 200, 90)]
    images[2].save(tmp_path / "2.png")
    expected = ImageResizer(4).fit_transform(images)
    mixed = [*images[:2], tmp_path / "2.png"]
    for order in ([0, 1, 2], [2, 0, 1], [0, 2, 1]):
        found = ImageResizer(4).fit_transform([mixed[row] for row in order])
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected[order])


def test_pil_images_may_have_a_side_that_is_not_given():
    images = [Image.new("L", (4, 6), 7), Image.new("L", (8, 12), 9)]
    model = ImageNormalizer(method="minmax", image_shape=(3, -1)).fit(images)
    assert model.image_shape_ == (3, 4, 1)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, (0, 1)),
        (-0.25, 1.25, (0, 1)),
        (-0.26, 1.25, (-0.26, 1.25)),
        (-0.25, 1.26, (-0.25, 1.26)),
        (0, 31, (0, 31)),
        (0, 32, (0, 255)),
        (-63.75, 318.75, (0, 255)),
        (-63.8, 318.75, (-63.8, 318.75)),
        (-63.75, 318.8, (-63.75, 318.8)),
    ],
)
def test_the_scale_of_floats_is_recognized_with_a_quarter_to_spare(low, high, expected):
    rows = np.full((2, 16), (low + high) / 2, np.float32)
    rows[:, :2] = low, high
    np.testing.assert_allclose(ImageNormalizer().fit(rows).pixel_range_, expected)


@pytest.mark.parametrize(
    ("low", "high", "warns"), [(-1.5, 1, False), (-1, 1.5, False), (-1.6, 1, True), (-1, 1.6, True)]
)
def test_predictions_on_another_scale_warn_beyond_a_quarter(tiny, low, high, warns):
    rows = np.linspace(-1, 1, 20 * 64, dtype=np.float32).reshape(20, 64)
    model = tiny().fit(rows, np.arange(20) % 2)
    rows[0, :2] = low, high
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.predict(rows)
    assert [str(warning.message)[:49] for warning in caught] == [
        "Expected pixels on the scale of the training imag" for _ in range(warns)
    ]


def test_the_network_standardizes_by_the_weights_of_images(tiny):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (1100, 8, 8, 3), dtype=np.uint8)
    y, weight = np.arange(1100) % 2, rng.integers(0, 3, 1100)
    X[::3] //= 4
    weight[::3] = 3
    seen = X.repeat(weight, axis=0).reshape(-1, 3)
    weighted = tiny(batch_size=512).fit(X, y, sample_weight=weight).network_
    np.testing.assert_allclose(weighted.mean.ravel(), seen.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(weighted.std.ravel(), seen.std(axis=0), rtol=1e-5)


def test_functions_get_bytes_also_for_floats_beyond_the_scale(tiny):
    batches, rows = [], np.linspace(-0.2, 1.2, 20 * 64, dtype=np.float32).reshape(20, 64)

    def keep(images):
        batches.append(images)
        return images

    tiny(augment=keep).fit(rows, np.arange(20) % 2)
    given = torch.cat(batches)
    assert given.dtype == torch.uint8
    expected = (rows * 255).round().clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(np.sort(given.ravel().numpy()), np.sort(expected.ravel()))


@pytest.mark.parametrize(
    ("value", "accepted"),
    [(0.9, True), (-0.25, True), (1.25, True), (-0.26, False), (1.26, False), (torch.tensor(1), False)],
)
def test_functions_return_bytes_or_floats_from_0_to_1(tiny, value, accepted):
    rows = np.linspace(0, 255, 20 * 64, dtype=np.float32).reshape(20, 64)

    def fill(images):
        return torch.zeros(images.shape, dtype=torch.as_tensor(value).dtype) + value

    model = tiny(augment=fill)
    if accepted:
        model.fit(rows, np.arange(20) % 2)
    else:
        with pytest.raises(ValueError, match="Expected augment to return uint8 images or floats from 0 to 1, got"):
            model.fit(rows, np.arange(20) % 2)


def test_a_fit_on_files_forgets_the_columns_of_an_earlier_fit(tiny, tmp_path):
    X, y = np.random.default_rng(0).integers(0, 256, (4, 64), dtype=np.uint8), [0, 1, 0, 1]
    model = tiny().fit(pd.DataFrame(X, columns=[f"pixel{number}" for number in range(64)]), y)
    assert model.feature_names_in_[3] == "pixel3"
    Image.new("L", (9, 8)).save(tmp_path / "1.png")
    model.fit([tmp_path / "1.png"] * 4, y)
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == 72


def test_arrays_for_a_fit_on_named_columns_warn(tiny):
    X = np.random.default_rng(0).integers(0, 256, (4, 64), dtype=np.uint8)
    model = tiny().fit(pd.DataFrame(X, columns=[f"pixel{number}" for number in range(64)]), [0, 1, 0, 1])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)


def test_files_need_both_sides_of_image_shape(tmp_path):
    Image.new("L", (9, 8)).save(tmp_path / "1.png")
    message = "Expected an image_shape without -1 for image files, got (8, -1): replace the -1."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ImageNormalizer(image_shape=(8, -1)).fit([tmp_path / "1.png"])


@pytest.mark.parametrize("convert", [partial(np.array, dtype=object), pd.Series])
def test_a_column_may_hold_one_path_but_not_none(convert, tmp_path):
    Image.new("L", (9, 8), 7).save(tmp_path / "1.png")
    assert ImageNormalizer(method="minmax").fit(convert([tmp_path / "1.png"])).image_shape_ == (8, 9, 1)
    with pytest.raises(ValueError, match="got one row of 0 values"):
        ImageNormalizer().fit(convert([], dtype=object))


def test_no_rows_are_refused():
    model = ImageResizer(4).fit(np.zeros((2, 36), np.uint8))
    with pytest.raises(ValueError, match="0 sample"):
        model.transform(np.zeros((0, 36), np.uint8))


def as_arrays(images):
    return list(images)


def as_nested_lists(images):
    return images.tolist()


def as_tensors(images):
    return [torch.tensor(image, dtype=torch.float32, requires_grad=True) for image in images]


@pytest.mark.parametrize("convert", [as_arrays, as_nested_lists, as_tensors])
@pytest.mark.parametrize("shape", [(3, 6, 4), (3, 6, 4, 3), (2, 1, 6, 4), (1, 6, 4)])
def test_a_list_of_images_is_like_the_stack_of_them(convert, shape):
    images = np.random.default_rng(0).random(shape, np.float32)
    expected = ImageNormalizer(method="minmax").fit(images)
    model = ImageNormalizer(method="minmax").fit(convert(images))
    assert model.image_shape_ == expected.image_shape_
    np.testing.assert_allclose(model.transform(convert(images)), expected.transform(images))
    np.testing.assert_allclose(expected.transform(convert(images)), expected.transform(images))


def test_rows_in_a_list_stay_rows():
    rows = np.random.default_rng(0).random((5, 12), np.float32)
    model = ImageNormalizer(method="minmax", image_shape=(3, 4)).fit(rows)
    tensor = torch.tensor(rows, requires_grad=True)
    for given in (list(rows), rows.tolist(), tensor, list(tensor)):
        np.testing.assert_array_equal(model.transform(given), model.transform(rows))


def test_after_fit_a_list_may_have_images_of_several_sizes():
    model = ImageResizer(4).fit(np.zeros((2, 6, 4), np.uint8))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in [(6, 4), (12, 8), (6, 4, 3), (9, 9)]]
    expected = np.concatenate([model.transform(image[None]) for image in images])
    np.testing.assert_array_equal(model.transform(images), expected)
    with pytest.raises(ValueError, match=r"image 0 is of shape \(6, 4\), image 1 of \(24,\)\. Pass PIL images"):
        model.transform([images[0], images[0].ravel()])


def test_after_fit_three_gray_images_in_a_list_are_not_one_rgb_image():
    model = ImageResizer(4).fit(np.zeros((2, 6, 4), np.uint8))
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 8), dtype=np.uint8)
    np.testing.assert_array_equal(model.transform(list(images)), model.transform(images[:, None]))
    with pytest.raises(ValueError, match=r"one RGB image or three gray ones of another shape than \(6, 4, 1\)"):
        model.transform(images)


def test_images_of_several_sizes_need_a_size():
    images = [np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((5, 4), np.uint8)]
    message = (
        "Expected images of one size: image 0 is of shape (4, 4), image 2 of (5, 4). Pass PIL images, which are "
        "resized: [PIL.Image.fromarray(image) for image in X]."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ImageResizer(4).fit(images)


STACKS = "Expected images as (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width), "
ONE_ROW = "Expected several images, got one row of {} values. Reshape your data: pass X.reshape(1, -1), or "


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            np.zeros((5, 8, 8, 4)),
            f"{STACKS}got an array of shape (5, 8, 8, 4): pass X[..., :3], without the alpha channel.",
        ),
        (np.zeros((5, 4, 8, 8)), f"{STACKS}got an array of shape (5, 4, 8, 8): pass one of these."),
        (np.zeros((2, 2, 2, 2, 4)), f"{STACKS}got an array of shape (2, 2, 2, 2, 4): pass one of these."),
        (
            np.zeros((5, 3, 8, 3)),
            "A stack of shape (5, 3, 8, 3) could have its channels in axis 1 or in axis 3: pass rows, as "
            "X.reshape(len(X), -1) with the channels last, and image_shape=(height, width, channels).",
        ),
        (np.zeros(2304), f"{ONE_ROW.format('2,304')}image[None] if X is one image."),
        ([0, 1, 2], f"{ONE_ROW.format(3)}image[None] if X is one image."),
        ([None, 1], "Expected images, got a list of NoneType: pass arrays, PIL images, paths or bytes."),
        ([object()], "Expected images, got a list of object: pass arrays, PIL images, paths or bytes."),
        ("face.png", "Expected a list of images, got the string 'face.png': put it in a list, as in predict([image])."),
        (b"GIF", "Expected a list of images, got one bytes: put it in a list, as in predict([image])."),
        (Image.new("L", (4, 4)), "Expected a list of images, got one Image: put it in a list, as in predict([image])."),
        ({1, 2}, "Expected images in a list or an array, got a set: pass list(X)."),
        (
            [Image.new("L", (4, 4)), None],
            "Expected PIL images, paths or bytes, got a NoneType at position 1: leave it out.",
        ),
    ],
)
def test_what_is_no_stack_of_images_is_refused_with_advice(given, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ImageNormalizer().fit(given)


def test_after_fit_one_image_is_refused_with_advice():
    model = ImageResizer(4).fit(np.zeros((2, 6, 4), np.uint8))
    for shape in ((6, 4), (12, 8, 3), (12, 8, 4), (12, 8, 1)):
        with pytest.raises(
            ValueError, match=r"Expected a stack of images, got one image of shape .*: pass image\[None\]"
        ):
            model.transform(np.zeros(shape, np.uint8))


def test_rows_of_a_fit_on_rows_need_no_shape_of_an_image():
    rows = np.random.default_rng(0).integers(0, 256, (3, 12), dtype=np.uint8)
    model = ImageNormalizer(method="minmax", image_shape=(1, 12)).fit(rows)
    assert model.transform(rows[:1]).shape == (1, 12)
    assert model.transform(rows[:1].astype(np.float32)).shape == (1, 12)
    message = (
        "Expected images of image_shape=(1, 12, 1), got shape (3, 4, 1): pass image_shape=(3, 4, 1), or resize them"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)} with ImageResizer\\(\\(1, 12\\)\\)\\.$"):
        model.transform(rows.reshape(3, 3, 4))
    with pytest.raises(
        ValueError, match=r"^X has 13 features, but ImageNormalizer is expecting 12 features as input, the"
    ):
        model.transform(np.zeros((1, 13), np.uint8))
