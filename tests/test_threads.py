"""One fitted model and several threads, processes or copies."""

import copy
import multiprocessing
import pickle
import sys
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from sklearn.base import clone

N_THREADS = 8


@pytest.fixture
def short_switches():
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def predict_at_once(model, X):
    """Probabilities of ``N_THREADS`` threads that start at the same moment."""
    barrier = threading.Barrier(N_THREADS)

    def predict(_):
        barrier.wait()
        return model.predict_proba(X)

    with ThreadPoolExecutor(N_THREADS) as threads:
        return list(threads.map(predict, range(N_THREADS)))


@pytest.fixture(scope="module")
def dense(faces):
    """A network of many layers: switching them to evaluation mode takes long."""
    from ferkit import FERClassifier

    return FERClassifier("densenet121", max_epochs=1, random_state=0).fit(faces.data[:14], faces.target[:14])


@pytest.mark.parametrize("tries", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_first_predictions_in_threads_equal_serial_ones(tries, dense, faces, one_thread, short_switches):
    saved = pickle.dumps(dense)
    expected = pickle.loads(saved).predict_proba(faces.data[:2])
    for _ in range(tries):
        model = pickle.loads(saved)
        before = {name: value.clone() for name, value in model.network_.named_buffers()}
        for proba in predict_at_once(model, faces.data[:2]):
            np.testing.assert_array_equal(proba, expected)
        assert all(value.equal(before[name]) for name, value in model.network_.named_buffers())


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
        for _ in range(50):
            for proba in predict_at_once(fitted, X):
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


def _predict(model, X):
    return model.predict_proba(X)


@pytest.mark.parametrize("method", ["spawn", "loky"])
def test_worker_processes_predict_the_same(method, fitted, faces, one_thread):
    expected = fitted.predict_proba(faces.data)
    if method == "loky":
        with joblib.parallel_config("loky", inner_max_num_threads=1, max_nbytes=1000):  # maps arrays, read-only
            got = joblib.Parallel(2)(joblib.delayed(_predict)(fitted, faces.data) for _ in range(2))
    else:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as workers:
            got = [workers.submit(_predict, fitted, faces.data).result()]
    for proba in got:
        np.testing.assert_allclose(proba, expected, atol=1e-5)
