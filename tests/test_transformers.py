import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from torchvision.models import get_model

from ferkit import FERClassifier, ImageNormalizer, ImageResizer, NetworkFeatures, PixelParser
from ferkit.backbones import CNN


def as_text(images):
    return [" ".join(map(str, row)) for row in images.reshape(len(images), -1).tolist()]


COLUMNS = {
    "list": list,
    "array": lambda rows: np.array(rows, dtype=object),
    "text array": np.array,
    "series": pd.Series,
    "series with another index": lambda rows: pd.Series(rows, index=range(10, 10 + len(rows))),
    "frame": lambda rows: pd.DataFrame({"pixels": rows}),
    "column": lambda rows: np.array(rows, dtype=object)[:, None],
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_parser_accepts_any_column_of_strings(column, faces):
    parsed = PixelParser().fit_transform(column(as_text(faces.data[:5])))
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, faces.data[:5])


def test_parser_names_the_bad_row_even_if_it_is_the_first():
    rows = ["1 2 3", "1 2 3 4", "5 6 7 8"]
    with pytest.raises(ValueError, match=r"Row 0 holds 3 pixel values, expected 4"):
        PixelParser().fit_transform(rows)


def test_parser_expects_the_size_of_the_first_images():
    parser = PixelParser().fit(["1 2 3 4"])
    assert parser.image_shape_ == (2, 2, 1)
    with pytest.raises(ValueError, match="Row 0 holds 9"):
        parser.transform(["1 2 3 4 5 6 7 8 9"])


@pytest.mark.parametrize(("image_shape", "expected"), [((2, 3), (2, 3, 1)), ((2, -1), (2, 3, 1))])
def test_parser_accepts_images_that_are_not_square(image_shape, expected):
    parser = PixelParser(image_shape=image_shape).fit(["1 2 3 4 5 6"])
    assert parser.image_shape_ == expected
    assert parser.transform(["1 2 3 4 5 6"]).shape == (1, 6)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((3, 4), np.uint8), "one column of pixel strings"),
        ("1 2 3 4", "got a single string"),
        ([1, 2], "Row 0 is 1, not a string"),
        (["1 2 3 4", np.nan], "Row 1 is nan"),
    ],
)
def test_parser_says_what_it_expected(X, message):
    with pytest.raises(ValueError, match=message):
        PixelParser().fit_transform(X)


def test_parser_output_as_frame_keeps_the_index(faces):
    rows = pd.DataFrame({"pixels": as_text(faces.data[:3])}, index=[5, 7, 9])
    frame = PixelParser().set_output(transform="pandas").fit_transform(rows)
    assert frame.shape == (3, 2304)
    assert list(frame.index) == [5, 7, 9]
    assert frame.columns[0] == "pixelparser0"


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_resizer(interpolation, dtype, faces):
    X = faces.data[:4].astype(dtype)
    small = ImageResizer((24, 12), interpolation=interpolation).fit_transform(X)
    assert small.shape == (4, 24 * 12)
    assert small.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    assert abs(small.mean() - X.mean()) < 5
    same = ImageResizer(48, interpolation=interpolation).fit_transform(X)
    np.testing.assert_allclose(same, X, atol=1e-3)


def test_resizer_agrees_with_torch_on_color_images():
    images = np.random.default_rng(0).normal(size=(3, 8, 6, 3)).astype(np.float32)
    ours = ImageResizer((4, 9)).fit_transform(images).reshape(3, 4, 9, 3)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(images).permute(0, 3, 1, 2), (4, 9), mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1).numpy(), atol=1e-6)


def test_resizer_does_not_depend_on_its_chunks():
    X = np.random.default_rng(0).integers(0, 256, (2500, 64), dtype=np.uint8)  # several chunks of 1024
    resizer = ImageResizer(5).fit(X)
    parts = [resizer.transform(X[start : start + 500]) for start in range(0, 2500, 500)]
    np.testing.assert_array_equal(resizer.transform(X), np.concatenate(parts))


@pytest.mark.parametrize("size", [(3,), (3, 0), "12", 0, (2.5, 2)])
def test_resizer_refuses_invalid_sizes(size, faces):
    with pytest.raises(ValueError, match="size"):
        ImageResizer(size).fit(faces.data)


@pytest.mark.parametrize("method", ["dataset", "minmax"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_normalizer_inverts(method, dtype, faces):
    X = faces.data[:50].astype(dtype)
    model = ImageNormalizer(method=method).fit(X)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, atol=1e-3)


def test_dataset_normalizing_uses_the_training_pixels_of_each_channel():
    images = np.random.default_rng(0).normal([1, 20, 300], [1, 2, 3], size=(3000, 5, 5, 3))
    train, test = images[:2500], images[2500:]  # several chunks of 1024
    model = ImageNormalizer().fit(train)
    expected = (test - train.mean((0, 1, 2))) / train.std((0, 1, 2))
    np.testing.assert_allclose(model.transform(test).reshape(test.shape), expected, atol=1e-4)


def test_image_normalizing_removes_differences_of_light(faces):
    dim = (faces.data * 0.3 + 20).astype(np.float32)
    model = ImageNormalizer(method="image").fit(faces.data)
    np.testing.assert_allclose(model.transform(dim), model.transform(faces.data), atol=1e-4)


def test_minmax_reaches_from_0_to_1(faces):
    model = ImageNormalizer(method="minmax")
    bytes_ = model.fit_transform(np.array([[0, 255, 51, 102]], np.uint8))
    np.testing.assert_allclose(bytes_, [[0, 1, 0.2, 0.4]], atol=1e-6)
    dark = model.fit_transform(np.array([[0, 51, 51, 102]], np.uint8))
    np.testing.assert_allclose(dark, [[0, 0.2, 0.2, 0.4]], atol=1e-6)
    floats = model.fit_transform(faces.data / 7 - 3)
    assert floats.min() == pytest.approx(0, abs=1e-6)
    assert floats.max() == pytest.approx(1, abs=1e-6)


def test_equalized_pixels_are_spread_evenly_and_keep_their_order(faces):
    model = ImageNormalizer(method="equalize").fit(faces.data)
    flat = model.transform(faces.data)
    assert flat.max() == 1
    assert abs(flat.mean() - 0.5) < 0.03
    np.testing.assert_array_equal(model.transform(faces.data[:, ::-1]), flat[:, ::-1])
    np.testing.assert_allclose(model.transform(faces.data / 255.0), flat, atol=0.02)
    for pixels, values in zip(faces.data[:3], flat[:3], strict=True):
        assert (np.diff(values[np.argsort(pixels)]) >= 0).all()


@pytest.mark.parametrize("method", ["dataset", "image", "minmax", "equalize"])
def test_flat_images_stay_finite(method):
    out = ImageNormalizer(method=method).fit_transform(np.full((3, 16), 9, np.uint8))
    assert np.isfinite(out).all()


@pytest.mark.parametrize("gray", [0.1, 0.3, 7.3])
def test_flat_images_of_floats_become_0(gray):
    rows = np.full((2, 2304), gray, np.float32)
    assert ImageNormalizer(method="image").fit_transform(rows) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("transformer", [ImageResizer(8), ImageNormalizer(method="minmax")], ids=repr)
def test_polars_frames_of_bytes_are_bytes(transformer, faces):
    rows = faces.data[:6] // 2 + 40
    frame = pytest.importorskip("polars").DataFrame(rows)
    expected = transformer.fit_transform(rows)
    out = clone(transformer).fit_transform(frame)
    assert out.dtype == expected.dtype
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("method", ["image", "equalize"])
def test_methods_that_lose_information_have_no_inverse(method, faces):
    assert not hasattr(ImageNormalizer(method=method).fit(faces.data), "inverse_transform")


@pytest.mark.parametrize("transformer", [ImageResizer(12), ImageNormalizer()], ids=repr)
def test_frames_in_and_out(transformer, faces):
    frame = pd.DataFrame(faces.data[:6], columns=[f"p{n}" for n in range(2304)], index=range(3, 9))
    out = clone(transformer).set_output(transform="pandas").fit_transform(frame)
    assert list(out.index) == list(range(3, 9))
    assert list(out.columns) == list(clone(transformer).fit(frame).get_feature_names_out())


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        ImageNormalizer().fit(np.array([[1.0, np.nan, 2.0, 3.0]]))


def test_features_are_the_values_that_reach_the_last_layer(fitted, faces):
    features = NetworkFeatures(fitted, precision="float32").fit_transform(faces.data)
    assert (features.shape, features.dtype) == ((210, 16), np.float32)
    *_, last = fitted.network_.backbone.modules()
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        logits = fitted.network_(torch.from_numpy(faces.images[:, None]).to(fitted.device_))
        of_features = last(torch.from_numpy(features).to(fitted.device_))
    np.testing.assert_allclose(of_features.cpu(), logits.cpu(), atol=1e-4)


def test_features_of_a_weights_file_are_those_of_its_network(fitted, faces, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(fitted.network_.backbone.state_dict(), path)
    random_state = torch.get_rng_state()
    of_file = NetworkFeatures("cnn", weights=path, backbone_params={"widths": (8, 16)}).fit_transform(faces.data)
    assert torch.equal(torch.get_rng_state(), random_state)
    np.testing.assert_allclose(of_file, NetworkFeatures(fitted).fit_transform(faces.data), atol=1e-5)


def test_features_of_published_weights(torch_home, faces):
    X = faces.data[:9]
    features = NetworkFeatures("resnet18", weights="imagenet").fit_transform(X)
    assert features.shape == (9, 512)
    np.testing.assert_allclose(
        NetworkFeatures("resnet18", weights="imagenet").fit_transform(X / 255), features, rtol=1e-2, atol=1e-2
    )


def test_image_files_are_decoded_batch_by_batch(faces, tmp_path, monkeypatch):
    paths = [tmp_path / f"{row}.png" for row in range(40)]
    for path, image in zip(paths, faces.images, strict=False):
        Image.fromarray(image).save(path)
    opened, computed, ahead = [], [], []

    class Watched(CNN):
        def forward(self, images):
            computed.append(len(images))
            ahead.append(len(opened) - sum(computed))
            return super().forward(images)

    weights = tmp_path / "weights.pth"
    torch.save(Watched(2, 1, widths=(8,)).state_dict(), weights)
    model = NetworkFeatures(Watched, weights=weights, backbone_params={"widths": (8,)}, batch_size=4).fit(paths)
    computed.clear()
    ahead.clear()
    open_image = Image.open
    monkeypatch.setattr(Image, "open", lambda *args: opened.append(args) or open_image(*args))
    features = model.transform(paths)
    assert computed == [4] * 10
    assert max(ahead) <= 8
    np.testing.assert_allclose(features, model.transform(faces.data[:40]), atol=1e-5)


def test_features_follow_neither_clones_nor_later_training(fitted, faces):
    X, model = faces.data[:20], pickle.loads(pickle.dumps(fitted))
    features = NetworkFeatures(model).set_output(transform="pandas").fit(X)
    before = features.transform(X)
    assert list(before.columns) == [f"networkfeatures{number}" for number in range(16)]
    copies = [clone(features).fit(X), pickle.loads(pickle.dumps(features))]
    model.partial_fit(faces.data, faces.target_names[faces.target])
    for same in (features, *copies):
        pd.testing.assert_frame_equal(same.transform(X), before)
    assert not clone(features).fit(X).transform(X).equals(before), "the classifier has been trained further"


def test_features_feed_a_search(fitted, faces):
    pipeline = Pipeline([("features", NetworkFeatures(fitted)), ("classify", SVC())])
    search = GridSearchCV(pipeline, {"features__batch_size": [16, 64], "classify__C": [1, 10]}, error_score="raise")
    assert search.fit(faces.data, faces.target).score(faces.data, faces.target) > 1 / 7


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({}, ValueError, "Expected weights of a trained network, got weights=None"),
        ({"weights": "imagenet"}, ValueError, "no published weights for the backbone 'cnn'"),
        ({"backbone": FERClassifier()}, NotFittedError, "Expected a fitted FERClassifier"),
        ({"batch_size": "auto"}, ValueError, "batch_size"),
        (
            {"weights": "imagenet", "input_size": 64},
            ValueError,
            "name of a backbone with weights, input_size",
        ),
    ],
    ids=str,
)
def test_features_need_a_trained_network(params, error, message, fitted, faces):
    if "input_size" in params:
        params = {"backbone": fitted, **params}
    with pytest.raises(error, match=message):
        NetworkFeatures(**params).fit(faces.data)


def test_a_network_without_features_is_refused(faces, tmp_path):
    torch.save(get_model("squeezenet1_1").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"only class-dependent layer .* got SqueezeNet"):
        NetworkFeatures("squeezenet1_1", weights=tmp_path / "weights.pth").fit(faces.data)
