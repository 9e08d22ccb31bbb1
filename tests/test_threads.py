"""One fitted model and several threads, processes or copies."""

import copy
import multiprocessing
import pickle
import sys
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from torchvision.transforms import v2

from ferkit import FERClassifier, NetworkFeatures, evaluate
from ferkit.backbones import CNN

N_THREADS = 8


@pytest.fixture
def short_switches():
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def call_at_once(function):
    """Results of ``N_THREADS`` threads that call a function at the same moment."""
    barrier = threading.Barrier(N_THREADS)

    def call(_):
        barrier.wait()
        return function()

    with ThreadPoolExecutor(N_THREADS) as threads:
        return list(threads.map(call, range(N_THREADS)))


@pytest.fixture(scope="module")
def dense(faces):
    """A network of many layers: switching them to evaluation mode takes long."""
    return FERClassifier("densenet121", max_epochs=1, random_state=0).fit(faces.data[:14], faces.target[:14])


@pytest.mark.parametrize("tries", [2, pytest.param(200, marks=pytest.mark.slow)])
def test_first_predictions_in_threads_equal_serial_ones(tries, dense, faces, one_thread, short_switches):
    saved = pickle.dumps(dense)
    expected = pickle.loads(saved).predict_proba(faces.data[:2])
    for _ in range(tries):
        model = pickle.loads(saved)
        before = {name: value.clone() for name, value in model.network_.named_buffers()}
        for proba in call_at_once(lambda model=model: model.predict_proba(faces.data[:2])):
            np.testing.assert_array_equal(proba, expected)
        assert all(value.equal(before[name]) for name, value in model.network_.named_buffers())


def mirror(images):
    return [images, images.flip(3)]


MODES = {
    "no views": {"tta": None},
    "mirror images": {"tta": "flip"},
    "ten crops": {"tta": "ten_crop"},
    "random views": {"tta": 3},
    "views of a callable": {"tta": mirror},
    "small batches": {"tta": 3, "batch_size": 7},
    "bfloat16": {"precision": "bfloat16"},
    "explicit device": {"device": "cpu"},
}


@pytest.mark.parametrize("mode", MODES)
def test_threads_predict_like_one_after_parameters_change(mode, fitted, faces, one_thread, short_switches):
    X, saved = faces.data[:20], pickle.dumps(fitted)
    expected = pickle.loads(saved).set_params(**MODES[mode]).predict_proba(X)
    for _ in range(2):
        model = pickle.loads(saved).set_params(**MODES[mode])
        for proba in call_at_once(lambda model=model: model.predict_proba(X)):
            np.testing.assert_array_equal(proba, expected)


def test_threads_draw_the_same_views_with_augmentation_of_others(tiny, faces, one_thread, short_switches):
    model = tiny(augment=v2.RandomRotation(30), tta=4).fit(faces.data, faces.target)
    expected, stream = model.predict_proba(faces.data[:20]), torch.get_rng_state()
    for proba in call_at_once(lambda: model.predict_proba(faces.data[:20])):
        np.testing.assert_array_equal(proba, expected)
    assert torch.get_rng_state().equal(stream)


def save_images(images, folder, size):
    paths = [folder / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).resize((size, size)).save(path)
    return paths


FORMS = {
    "float32": lambda images, _: images / np.float32(255),
    "a stack": lambda images, _: images,
    "a frame": lambda images, _: pd.DataFrame(images.reshape(len(images), -1)),
    "a tensor": lambda images, _: torch.from_numpy(images)[:, None],
    "PIL images": lambda images, _: list(map(Image.fromarray, images)),
    "files": lambda images, folder: save_images(images, folder, 48),
    "large files": lambda images, folder: save_images(images, folder, 200),
    "bytes": lambda images, folder: [path.read_bytes() for path in save_images(images, folder, 48)],
}


@pytest.mark.parametrize("form", FORMS)
def test_threads_predict_images_in_every_form(form, fitted, faces, tmp_path, one_thread, short_switches):
    X = FORMS[form](faces.images[:20], tmp_path)
    model = pickle.loads(pickle.dumps(fitted)).set_params(batch_size=8)
    expected = model.predict_proba(X)
    for proba in call_at_once(lambda: model.predict_proba(X)):
        np.testing.assert_array_equal(proba, expected)


class Slow(CNN):
    """A network that takes long to move, and counts how often it moves."""

    n_moves = 0

    def _apply(self, *args, **kwargs):
        Slow.n_moves += 1
        time.sleep(0.01)
        return super()._apply(*args, **kwargs)


def test_threads_wait_while_one_moves_the_network(faces, one_thread):
    model = FERClassifier(Slow, backbone_params={"widths": (8,)}, max_epochs=1).fit(faces.data, faces.target)
    model.set_params(device="cpu")
    Slow.n_moves = 0
    call_at_once(lambda: model.predict(faces.data[:2]))
    assert Slow.n_moves == 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_threads_compute_the_same_features(precision, fitted, faces, one_thread, short_switches):
    features = NetworkFeatures(fitted, batch_size=8, precision=precision).fit(faces.data)
    expected = features.transform(faces.data[:20])
    for rows in call_at_once(lambda: features.transform(faces.data[:20])):
        np.testing.assert_array_equal(rows, expected)


def test_threads_evaluate_alike(fitted, faces, one_thread, short_switches):
    def score():
        return evaluate(fitted, faces.data, faces.target_names[faces.target], X_train=faces.data[:50])

    expected = score()
    for report in call_at_once(score):
        np.testing.assert_array_equal(report.y_proba, expected.y_proba)
        assert {**report.to_dict(), "seconds_per_face": 0} == {**expected.to_dict(), "seconds_per_face": 0}


def test_a_fitted_module_is_in_evaluation_mode(dense, tiny, faces):
    assert not any(module.training for module in dense.network_.modules())
    model = tiny().partial_fit(faces.data, faces.target, classes=range(7))
    for each in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert not any(module.training for module in each.network_.modules())
    model.network_.train()
    assert not pickle.loads(pickle.dumps(model)).network_.training


def test_read_only_images_do_not_change_the_warning_filters(fitted, faces, one_thread, short_switches):
    X = faces.data[:2].copy()
    X.flags.writeable = False
    expected, filters = fitted.predict_proba(faces.data[:2]), list(warnings.filters)
    try:
        for _ in range(20):
            for proba in call_at_once(lambda: fitted.predict_proba(X)):
                np.testing.assert_array_equal(proba, expected)
            assert warnings.filters == filters
    finally:
        warnings.filters[:] = filters
    assert not X.flags.writeable


WAYS = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "deepcopy": copy.deepcopy,
    "clone of a copy": lambda model: clone(copy.deepcopy(model)).fit(*model.data_),
    "pickle of a copy": lambda model: pickle.loads(pickle.dumps(copy.deepcopy(model))),
    "copy of a pickle": lambda model: copy.deepcopy(pickle.loads(pickle.dumps(model))),
}


@pytest.mark.parametrize("way", WAYS)
def test_copies_predict_and_train_on(way, tiny, faces, tmp_path, one_thread):
    np.save(tmp_path / "X.npy", faces.data)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = tiny().fit(mapped, faces.target)
    model.data_ = mapped, faces.target
    expected = model.predict_proba(faces.data)
    model.predict(mapped)
    again = WAYS[way](model)
    np.testing.assert_array_equal(again.predict_proba(mapped), expected)
    again.partial_fit(mapped, faces.target)
    np.testing.assert_array_equal(model.predict_proba(mapped), expected)
    assert not np.array_equal(again.predict_proba(mapped), expected)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(
            "fork",
            marks=pytest.mark.skipif(
                torch.accelerator.is_available(), reason="PyTorch can't use a GPU in a forked process"
            ),
        ),
        "spawn",
    ],
)
def test_worker_processes_predict_the_same(method, fitted, faces, one_thread):
    expected = fitted.predict_proba(faces.data)
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as workers:
        # a function of this file would let a new process import all that this file imports
        got = workers.submit(fitted.predict_proba, faces.data).result()
    np.testing.assert_allclose(got, expected, atol=1e-5)
