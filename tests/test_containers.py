"""Images in the containers of other libraries, encoded images, and images of another shape at predict."""

import inspect
import re
from io import BytesIO

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from skorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder

from ferkit import FERClassifier, ImageNormalizer, ImageResizer, Pipeline, PixelParser
from ferkit.datasets import find_duplicates
from ferkit.report import evaluate


@pytest.fixture(scope="module")
def model(faces):
    """A classifier of gray 48×48 faces."""
    return FERClassifier("cnn_small", max_epochs=1, batch_size=64, random_state=0).fit(faces.data, faces.target)


@pytest.fixture(scope="module")
def color_model(faces):
    """A classifier of RGB faces of 32×32."""
    images = ImageResizer(32).fit_transform(faces.data).reshape(-1, 32, 32, 1).repeat(3, axis=3)
    return FERClassifier("cnn_small", max_epochs=1, batch_size=64, random_state=0).fit(images, faces.target)


def encode(image, kind="PNG"):
    stream = BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


class ArrayLike:
    """An array without len() and ``__array__``."""

    def __init__(self, array):
        self._array, self.shape, self.ndim = array, array.shape, array.ndim

    def __getitem__(self, rows):
        return self._array[rows]


def as_zarr(images):
    return pytest.importorskip("zarr").array(images)


def as_arrow(cells, **options):
    return pytest.importorskip("pyarrow").array(cells, **options)


def as_arrow_table(images):
    return pytest.importorskip("pyarrow").table({"image": [encode(image) for image in images]})


def as_hugging_face(images, column="image"):
    datasets, arrow = pytest.importorskip("datasets"), pytest.importorskip("pyarrow")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    cells = [{"bytes": encode(image), "path": None} for image in images]
    table = arrow.table({"image": cells, "label": [0] * len(cells)}).cast(features.arrow_schema)
    data = datasets.Dataset(table, info=datasets.DatasetInfo(features=features), fingerprint="faces")
    return data[column] if column else data


CONTAINERS = {
    "array without len": ArrayLike,
    "zarr": as_zarr,
    "tuple of arrays": tuple,
    "list of tensors": lambda images: list(torch.from_numpy(images)),
    "list of bytes": lambda images: list(map(encode, images)),
    "list of bytearrays": lambda images: [bytearray(encode(image)) for image in images],
    "list of streams": lambda images: [BytesIO(encode(image)) for image in images],
    "Series of bytes": lambda images: pd.Series([encode(image) for image in images]),
    "frame of bytes": lambda images: pd.DataFrame({"image": [encode(image) for image in images]}),
    "column of Hugging Face's dicts": lambda images: pd.Series(
        [{"bytes": encode(image), "path": None} for image in images]
    ),
    "objects of PIL": lambda images: np.array([*map(Image.fromarray, images), None], dtype=object)[:-1, None],
    "polars of bytes": lambda images: pl.Series([encode(image) for image in images]),
    "polars of Hugging Face's dicts": lambda images: pl.Series(
        [{"bytes": encode(image), "path": None} for image in images]
    ),
    "polars of PIL": lambda images: pl.Series(list(map(Image.fromarray, images)), dtype=pl.Object),
    "Arrow of bytes": lambda images: as_arrow([encode(image) for image in images]),
    "Arrow of rows": lambda images: as_arrow(images.reshape(len(images), -1).tolist()),
    "Arrow table": as_arrow_table,
    "Hugging Face": as_hugging_face,
}


@pytest.fixture(scope="module")
def expected(faces):
    return build_tiny().fit(faces.images[:60], faces.target[:60]).predict_proba(faces.images[:60])


def build_tiny():
    return FERClassifier("cnn", backbone_params={"widths": (8, 16)}, max_epochs=1, batch_size=64, random_state=0)


@pytest.mark.parametrize("form", CONTAINERS)
def test_containers_train_and_predict_like_the_array_in_them(form, expected, faces):
    images, y = faces.images[:60], faces.target[:60]
    X = CONTAINERS[form](images)
    fitted = build_tiny().fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)
    assert evaluate(fitted, X, y, X_train=X).n_in_training == 60
    np.testing.assert_array_equal(ImageNormalizer().fit_transform(X), ImageNormalizer().fit_transform(images))


def test_columns_of_paths(tmp_path, model, faces):
    paths = [str(tmp_path / f"{row}.png") for row in range(5)]
    for path, image in zip(paths, faces.images, strict=False):
        Image.fromarray(image).save(path)
    for X in (as_arrow(paths), paths, tuple(paths), [*paths[:2], encode(faces.images[2]), *paths[3:]]):
        np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(faces.data[:5]))


def test_columns_of_pixel_strings(faces):
    strings = [" ".join(map(str, row)) for row in faces.data[:5]]
    for X in (pl.Series(strings), as_arrow(strings)):
        np.testing.assert_array_equal(PixelParser().fit_transform(X), faces.data[:5])


def test_bytes_are_decoded_one_batch_at_a_time(tiny, faces, monkeypatch):
    decoded = []
    open_image = Image.open
    monkeypatch.setattr(Image, "open", lambda file: decoded.append(0) or open_image(file))
    tiny(max_epochs=2).fit([encode(image) for image in faces.images[:70]], faces.target[:70])
    assert len(decoded) == 1 + 3 * 70  # the first one for the shape, then statistics and two epochs


def test_copies_of_one_encoded_image_stay_on_one_side(tiny, faces):
    X = [encode(image) for image in faces.images[:40]]
    seen = []
    watch = Watch(seen)
    tiny(validation_fraction=0.5, callbacks=[watch]).fit(X * 3, np.tile(faces.target[:40] % 2, 3))
    (train, valid), *_ = seen
    assert len(train) == len(valid) == 60
    assert not {bytes(image) for image in train} & {bytes(image) for image in valid}


class Watch(Callback):
    """Note the images of each epoch."""

    def __init__(self, seen):
        self.seen = seen

    def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
        self.seen.append([part[slice(None)][0].cpu().numpy() for part in (dataset_train, dataset_valid)])


def test_torch_data_sets_say_what_to_pass(tmp_path, model, tiny, faces):
    for row, image in enumerate(faces.images[:12]):
        path = tmp_path / ("glad" if row % 2 else "sad") / f"{row}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    folder = ImageFolder(tmp_path)
    tensors = TensorDataset(torch.from_numpy(faces.images[:12]), torch.from_numpy(faces.target[:12] % 2))
    subset = torch.utils.data.Subset(tensors, range(12))
    for given, source in (
        (folder, "zip(*[(path, dataset.classes[code]) for path, code in dataset.samples])"),
        (tensors, "dataset.tensors"),
        (subset, "zip(*[dataset[row] for row in range(len(dataset))])"),
        (DataLoader(tensors, batch_size=5), "map(torch.cat, zip(*loader))"),
    ):
        message = f"got a {type(given).__name__}, which also holds labels: run `X, y = {source}`, and pass X and y."
        with pytest.raises(ValueError, match=f"{re.escape(message)}$") as raised:
            model.predict(given)
        scope = {"dataset": given, "loader": given, "torch": torch}
        exec(str(raised.value).split("`")[1], scope)  # the line is there to be pasted
        tiny().fit(scope["X"], scope["y"]).predict(scope["X"])
        assert len(scope["y"]) == 12
    with pytest.raises(ValueError, match=r"pass list\(X\)"):
        model.predict(image for image in faces.images)
    with pytest.raises(ValueError, match=r"pass one, as X\['image'\]"):
        model.predict(as_hugging_face(faces.images[:2], column=None))


# another shape at predict


def photo(height, width):
    """A color image that is smooth, as photographs are."""
    y, x = np.mgrid[:height, :width] / 60
    return np.stack([127 + 120 * np.sin(y + 2 * x), 127 + 100 * np.cos(3 * y), 255 * (x % 1)], axis=2).astype(np.uint8)


CROPS = {
    "PIL": Image.fromarray,
    "RGBA": lambda image: Image.fromarray(image).convert("RGBA"),
    "bytes": encode,
    "stream": lambda image: BytesIO(encode(image)),
    "array": lambda image: image,
    "channels first": lambda image: image.transpose(2, 0, 1),
    "tensor": lambda image: torch.from_numpy(image).permute(2, 0, 1),
    "floats from 0 to 255": lambda image: image.astype(np.float64),
    "floats from 0 to 1": lambda image: image / np.float32(255),
}


@pytest.mark.parametrize("form", CROPS)
def test_crops_predict_like_the_file_of_the_same_picture(form, model, color_model, tmp_path):
    sizes = [(100, 80), (48, 48), (30, 37), (64, 64)]
    paths = [tmp_path / f"{number}.png" for number in range(len(sizes))]
    images = [photo(*size) for size in sizes]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(encode(image))
    crops = [CROPS[form](image) for image in images]
    for classifier in (model, color_model):
        expected = classifier.predict_proba(paths)
        tolerance = 1e-6 if form in ("PIL", "RGBA", "bytes", "stream") else 0.01
        np.testing.assert_allclose(classifier.predict_proba(crops), expected, atol=tolerance)
        for row, crop in enumerate(crops):
            np.testing.assert_allclose(classifier.predict_proba([crop])[0], expected[row], atol=tolerance)


def test_a_stack_of_another_shape_is_resized(model, color_model):
    color = np.stack([photo(100, 90), photo(100, 90)[::-1], photo(100, 90)[:, ::-1]])
    gray = color[..., 1]
    for classifier in (model, color_model):
        for stack in (color, color.transpose(0, 3, 1, 2), gray[..., None], torch.from_numpy(gray)[:, None]):
            expected = classifier.predict_proba([Image.fromarray(image.squeeze()) for image in stack_last(stack)])
            np.testing.assert_allclose(classifier.predict_proba(stack), expected, atol=0.01)
        np.testing.assert_array_equal(classifier.predict_proba(list(gray)), classifier.predict_proba(gray[:, None]))
        np.testing.assert_array_equal(classifier.predict_proba(gray[:2]), classifier.predict_proba(gray[:2, None]))
        assert classifier.predict_proba(gray[:1]).shape == (1, 7)


def stack_last(stack):
    stack = np.asarray(stack)
    return stack.transpose(0, 2, 3, 1) if stack.shape[1] in (1, 3) else stack


def test_gray_faces_become_rgb_for_a_color_model(color_model, faces):
    small = ImageResizer(32).fit_transform(faces.data).reshape(-1, 32, 32)
    expected = color_model.predict_proba(small[..., None].repeat(3, axis=3))
    np.testing.assert_array_equal(color_model.predict_proba(small), expected)


def test_crops_pass_a_pipeline(faces):
    steps = [("resize", ImageResizer(24)), ("normalize", ImageNormalizer())]
    pipeline = Pipeline([*steps, ("classify", FERClassifier("cnn_small", max_epochs=1, random_state=0))])
    pipeline.fit(faces.data, faces.target)
    crop = photo(100, 90)
    expected = pipeline.predict_proba([encode(crop)])
    for X in ([crop], crop[None], [Image.fromarray(crop)], [BytesIO(encode(crop))]):
        np.testing.assert_allclose(pipeline.predict_proba(X), expected, atol=0.01)


def test_pil_images_of_several_sizes_train_like_their_files(tiny):
    images = [photo(height, 40) for height in range(40, 60)]
    y = np.arange(20) % 2
    for shape in (None, (32, 32)):
        pil, files = tiny(image_shape=shape), tiny(image_shape=shape)
        pil.fit(list(map(Image.fromarray, images)), y)
        files.fit(list(map(encode, images)), y)
        assert pil.image_shape_ == files.image_shape_ == ((40, 40, 3) if shape is None else (32, 32, 1))
        np.testing.assert_allclose(pil.predict_proba(images), files.predict_proba(images), atol=1e-5)


def test_a_users_images_stay_as_they_are(model):
    stream = BytesIO(encode(photo(900, 800), "JPEG"))
    image = Image.open(stream)
    first = model.predict_proba([image])
    assert (image.size, image.mode) == ((800, 900), "RGB")
    np.testing.assert_array_equal(model.predict_proba([image]), first)
    np.testing.assert_allclose(model.predict_proba([stream]), first, atol=0.01)
    np.testing.assert_array_equal(model.predict_proba([stream]), model.predict_proba([stream]))


@pytest.mark.parametrize("shape", [(100, 90), (100, 90, 3), (48, 48), (48, 48, 3), (48, 48, 1), (100, 90, 4)])
def test_one_image_says_how_to_pass_it(shape, model, color_model):
    image = np.zeros(shape, np.uint8)
    for classifier in (model, color_model):
        with pytest.raises(ValueError, match=r"pass (image|X)\[None\]"):
            classifier.predict(image)
    for classifier in (model, color_model):
        with pytest.raises(ValueError, match=r"pass X\[None\] for one RGB image, X\[:, None\]"):
            classifier.predict(np.zeros((3, 100, 90), np.uint8))
    for alone in (Image.new("L", (48, 48)), b"\x89PNG", BytesIO()):
        with pytest.raises(ValueError, match=r"put it in a list, as in predict\(\[image\]\)"):
            model.predict(alone)


@pytest.mark.parametrize("scale", [np.uint8(1), np.float32(1 / 255)])
def test_large_arrays_are_shrunk_as_pillow_does(scale, model):
    noise = np.random.default_rng(0).integers(0, 256, (5, 150, 150), dtype=np.uint8)
    expected = model.predict_proba([Image.fromarray(image) for image in noise])
    np.testing.assert_allclose(model.predict_proba(noise * scale), expected, atol=0.01)


def test_a_tensor_that_needs_a_gradient_is_accepted(model, faces):
    expected = model.predict_proba(faces.images[:3].astype(np.float32))
    tensor = torch.from_numpy(faces.images[:3]).float().requires_grad_()
    np.testing.assert_array_equal(model.predict_proba(tensor), expected)


# errors


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [((2, 48, 48, 4), r"X\[..., :3\], without the alpha channel"), ((2, 48, 48, 5), "one of these")],
)
def test_the_remedy_fits_the_number_of_channels(shape, remedy, tiny):
    with pytest.raises(ValueError, match=rf"got an array of shape .*, {shape[-1]}\): pass {remedy}\.$"):
        tiny().fit(np.zeros(shape, np.uint8), [0, 1])


def bad_inputs():
    rng = np.random.default_rng(0)
    pixels = [" ".join(map(str, row)) for row in rng.integers(0, 256, (20, 2304))]
    rows = rng.integers(0, 256, (20, 900))
    broken = encode(rng.integers(0, 256, (200, 200), dtype=np.uint8))[:20_000]
    yield from {
        "bytes that are no image": [b"text" * 10_000] * 5,
        "truncated bytes": [encode(photo(40, 40)), broken],
        "truncated PIL": [Image.open(BytesIO(broken))],
        "pixel strings": pixels,
        "one pixel string": pixels[0],
        "one encoded image": broken,
        "Series of strings": pd.Series(pixels),
        "frame of strings": pd.DataFrame({"pixels": pixels}),
        "frame of labels and strings": pd.DataFrame({"emotion": 0, "pixels": pixels, "Usage": "Training"}),
        "frame of images and labels": pd.DataFrame({"image": list(rows), "label": 0}),
        "array of strings": np.array(pixels),
        "columns of strings": np.array([pixels, pixels]).T,
        "objects": np.array([pixels, pixels], dtype=object).T,
        "one row": rows[0],
        "one row as a list": rows[0].tolist(),
        "rows of another length": rows,
        "rows of another length in lists": rows.tolist(),
        "rows of several lengths": [list(range(900)), list(range(901))],
        "arrays of several lengths": [np.arange(900), np.arange(901)],
        "dicts": [{"pixels": pixels}] * 3,
        "dict": {"pixels": pixels},
        "images and labels": (rng.integers(0, 256, (20, 48, 48)), rng.integers(0, 7, 20)),
        "missing image": [Image.new("L", (48, 48)), None, np.nan],
        "missing path": ["face.png", np.nan],
        "stack with five channels": np.zeros((20, 48, 48, 5)),
        "text stream": [open(__file__)],  # noqa: SIM115
        "nothing": [],
        "None": None,
        "number": 5,
        "module": inspect,
        "not finite": np.full((20, 48, 48), np.nan),
        "too many columns": pd.DataFrame(rng.random((5, 3000))),
    }.items()


def test_text_where_pixels_belong_is_named_by_its_columns(model, faces):
    strings = [" ".join(map(str, row)) for row in faces.data[:3]]
    frame = pd.DataFrame({"pixels": strings, "Usage": "Training"})
    named = r"got other values in the columns \['{}', '{}'\]: pass the one that holds the images, such as X\['{}'\]\."
    with pytest.raises(ValueError, match=named.format("pixels", "Usage", "pixels")):
        model.predict(frame)
    frame = pd.DataFrame({"image": list(faces.images[:3]), "label": 0})
    with pytest.raises(ValueError, match=named.format("image", "label", "image")):
        model.predict(frame)
    with pytest.raises(ValueError, match=r"Expected images, got strings\. If they .* put a PixelParser"):
        model.predict(np.array([strings, strings] * 1152).T)


@pytest.mark.parametrize("X", [pytest.param(X, id=name) for name, X in bad_inputs()])
def test_errors_do_not_print_the_data(X, model, tiny, faces):
    y = np.arange(len(X) if hasattr(X, "__len__") else 20) % 2
    with pytest.raises((TypeError, ValueError, OSError)) as raised:
        model.predict(X)
    assert len(str(raised.value)) < 500
    for call in (
        lambda X: tiny().fit(X, y),
        lambda X: ImageNormalizer().fit(faces.data).transform(X),
        lambda X: evaluate(model, X, y, X_train=X),
        find_duplicates,
    ):
        message = ""
        try:
            call(X)  # some are only bad at predict
        except (TypeError, ValueError, OSError) as error:
            message = str(error)
        assert len(message) < 500
