"""Image files and other forms of images."""

import gc
import threading

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from PIL import Image
from skorch.callbacks import Callback

from ferkit import ImageNormalizer, ImageResizer, Pipeline
from ferkit.datasets import make_faces


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths and the faces in them."""
    folder, faces = tmp_path_factory.mktemp("faces"), make_faces(120, size=40, random_state=0)
    paths = [folder / f"{number}.png" for number in range(len(faces.images))]
    for path, image in zip(paths, faces.images, strict=True):
        Image.fromarray(image).save(path)
    return paths, faces


FORMS = {
    "list of Path": list,
    "list of str": lambda paths: [str(path) for path in paths],
    "array of str": lambda paths: np.array([str(path) for path in paths]),
    "array of objects": lambda paths: np.array(paths, dtype=object),
    "column": lambda paths: np.array(paths, dtype=object)[:, None],
    "Series": lambda paths: pd.Series([str(path) for path in paths]),
    "frame": lambda paths: pd.DataFrame({"path": paths}),
    "polars": lambda paths: pl.Series([str(path) for path in paths]),
}


@pytest.mark.parametrize("form", FORMS)
def test_files_train_and_predict_like_the_pixels_in_them(form, files, tiny):
    paths, faces = files
    expected = tiny().fit(faces.data, faces.target).predict_proba(faces.data)
    model = tiny().fit(FORMS[form](paths), faces.target)
    assert model.image_shape_ == (40, 40, 1)
    np.testing.assert_array_equal(model.predict_proba(FORMS[form](paths)), expected)
    np.testing.assert_array_equal(model.predict_proba(faces.data), expected)


def test_files_are_decoded_a_batch_at_a_time(files, tiny, monkeypatch):
    paths, faces = files
    opened, opened_at_batch, read = [], [], Image.open

    def watch(file, *args, **kwargs):
        opened.append(file)
        return read(file, *args, **kwargs)

    class Watch(Callback):
        def on_batch_begin(self, net, **kwargs):
            opened_at_batch.append(len(opened))

    monkeypatch.setattr(Image, "open", watch)
    many = paths * 50
    tiny(batch_size=100, callbacks=[Watch()]).fit(many, np.tile(faces.target, 50))
    before_training = len(opened) - len(many)
    assert before_training <= 4096 + 1, "a sample for the mean and standard deviation, one image for the shape"
    assert len(opened_at_batch) == 60
    for batch, n_opened in enumerate(opened_at_batch, 1):
        assert 100 * batch <= n_opened - before_training <= 100 * (batch + 1), "this batch and the next"


def test_weights_and_validation_work_on_files(files, tiny, one_thread):
    paths, faces = files
    weight = np.linspace(0, 2, 120)
    options = {"validation_fraction": 0.25, "class_weight": "balanced", "frozen_epochs": "all", "max_epochs": 2}
    from_files = tiny(**options).fit(paths, faces.target, sample_weight=weight)
    from_pixels = tiny(**options).fit(faces.data, faces.target, sample_weight=weight)
    np.testing.assert_array_equal(from_files.predict_proba(paths), from_pixels.predict_proba(paths))
    steps = [tiny().partial_fit(X, faces.target, classes=range(7)) for X in (paths, faces.data)]
    np.testing.assert_array_equal(*(model.predict_proba(paths) for model in steps))
    column = np.array([str(path) for path in paths], dtype=object)[:, None]
    pipeline = Pipeline([("balance", RandomOverSampler(random_state=0)), ("classify", tiny())])
    assert pipeline.fit(column, faces.target).predict(column).shape == (120,)


def test_images_are_brought_to_one_shape(tmp_path, tiny):
    rng = np.random.default_rng(0)
    paths = []
    for number, (height, width) in enumerate([(40, 40), (60, 50), (33, 80), (24, 24)] * 3):
        paths.append(tmp_path / f"{number}.jpg")
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(paths[-1])
    model = tiny(image_shape=(32, 32, 3)).fit(paths, np.arange(12) % 2)
    assert model.image_shape_ == (32, 32, 3)
    assert model.predict_proba(paths).shape == (12, 2)
    assert tiny().fit(paths, np.arange(12) % 2).image_shape_ == (40, 40, 3)
    assert ImageResizer(16, image_shape=(32, 32)).fit_transform(paths).shape == (12, 256)


def test_transformers_decode_files(files):
    paths, faces = files
    np.testing.assert_array_equal(ImageNormalizer().fit_transform(paths), ImageNormalizer().fit_transform(faces.data))


def test_missing_files_and_files_without_an_image_are_named(files, tiny, tmp_path):
    paths, faces = files
    with pytest.raises(FileNotFoundError, match=r"1 of 121 files do not exist, the first is .*none\.png"):
        tiny().fit([*paths, tmp_path / "none.png"], np.append(faces.target, 0))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text\.png can't be read as an image \(it is not an image, or it is damaged"):
        tiny().fit([*paths, tmp_path / "text.png"], np.append(faces.target, 0))
    with pytest.raises(ValueError, match="an image_shape without -1"):
        tiny(image_shape=(-1, 40)).fit(paths, faces.target)
    with pytest.raises(ValueError, match=r"pathlib\.Path"):
        tiny().fit(["some", "words"], [0, 1])


def test_a_damaged_file_among_large_ones_only_gives_its_error(tiny, tmp_path, recwarn):
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    paths = [tmp_path / f"{number}.png" for number in range(300)]
    for path in paths:
        Image.fromarray(noise).save(path)
    model = tiny().fit(paths[:8], np.arange(8) % 2)
    paths[5].write_bytes(paths[5].read_bytes()[:20_000])
    recwarn.clear()
    with pytest.raises(ValueError, match=r"/5\.png can't be read"):
        model.predict(paths)
    gc.collect()
    assert not recwarn.list


def test_a_single_file_is_not_a_list(files, tiny):
    paths, faces = files
    model = tiny().fit(paths, faces.target)
    for single in (paths[0], str(paths[0])):
        with pytest.raises(ValueError, match="put it in a list"):
            model.predict(single)


def test_an_error_while_loading_ends_the_threads(files, tiny, tmp_path):
    paths, faces = files
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:200])
    before = threading.active_count()
    with pytest.raises(ValueError, match=r"broken\.png"):
        tiny(batch_size=8).fit([*paths, broken], np.append(faces.target, 0))
    assert threading.active_count() == before


# other forms of the same images


def test_pil_images(files, tiny):
    paths, faces = files
    expected = tiny().fit(faces.data, faces.target).predict_proba(faces.data)
    for mode in ("L", "LA", "P"):
        images = [Image.open(path).convert(mode) for path in paths]
        if mode == "P":
            expected = (
                tiny()
                .fit(np.repeat(faces.images[..., None], 3, 3), faces.target)
                .predict_proba(np.repeat(faces.images[..., None], 3, 3))
            )
        np.testing.assert_allclose(tiny().fit(images, faces.target).predict_proba(images), expected, atol=1e-6)


def test_memory_maps_and_tensors(files, tiny, tmp_path):
    _, faces = files
    expected = tiny().fit(faces.data, faces.target).predict_proba(faces.data)
    np.save(tmp_path / "faces.npy", faces.data)
    mapped = np.load(tmp_path / "faces.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    for X in (mapped, torch.from_numpy(faces.data), torch.from_numpy(faces.images)[:, None]):
        np.testing.assert_array_equal(tiny().fit(X, faces.target).predict_proba(X), expected)


COLUMNS = {
    "polars Array": lambda X: pl.Series("face", X.reshape(len(X), -1), dtype=pl.Array(pl.UInt8, X[0].size)),
    "polars Array of 48×48": lambda X: pl.Series("face", X, dtype=pl.Array(pl.UInt8, X.shape[1:])),
    "polars frame": lambda X: pl.DataFrame({"face": pl.Series(X, dtype=pl.Array(pl.UInt8, X.shape[1:]))}),
    "polars List": lambda X: pl.Series("face", X.reshape(len(X), -1).tolist(), dtype=pl.List(pl.UInt8)),
    "Series of rows": lambda X: pd.Series(list(X.reshape(len(X), -1))),
    "Series of images": lambda X: pd.Series(list(X)),
    "Series of PIL images": lambda X: pd.Series([Image.fromarray(image) for image in X]),
    "frame of images": lambda X: pd.DataFrame({"face": list(X)}),
    "objects": lambda X: np.array([*X, None], dtype=object)[:-1],
}


@pytest.mark.parametrize("form", COLUMNS)
def test_columns_whose_cells_are_images(form, files, tiny):
    _, faces = files
    expected = tiny().fit(faces.data, faces.target).predict_proba(faces.data)
    model = tiny().fit(COLUMNS[form](faces.images), faces.target)
    assert model.image_shape_ == (40, 40, 1)
    np.testing.assert_array_equal(model.predict_proba(COLUMNS[form](faces.images)), expected)
    np.testing.assert_array_equal(model.predict_proba(faces.data), expected)
    model.partial_fit(COLUMNS[form](faces.images), faces.target)
