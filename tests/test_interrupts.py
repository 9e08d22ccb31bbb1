"""Ctrl-C at random moments: always a KeyboardInterrupt, and the estimator is either not fitted or usable."""

import copyreg
import gc
import pickle
import shutil
import signal
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.exceptions import NotFittedError
from skorch.callbacks import EarlyStopping

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")

STOPPING = {"validation_fraction": 0.3, "early_stopping": 30}
MODES = {
    "fit": {},
    "last weights": {"ema_decay": None},
    "early stopping": STOPPING,
    "frozen": {"frozen_epochs": "all"},
    "frozen, early stopping": {"frozen_epochs": "all", **STOPPING},
    "frozen, then all": {"frozen_epochs": 2, **STOPPING},
    "progress bar": {"verbose": 1},
    "files": {},
    "own early stopping": {"callbacks": [EarlyStopping("train_loss", patience=30)]},
    "first partial_fit": {},
    "partial_fit": {},
    "checkpoint": {},
}


@contextmanager
def sigint_after(seconds):
    """Send this process SIGINT; yield a list that then has an entry, unless Python itself swallows the interrupt.

    Python does that to everything that is raised in ``__del__``, while garbage is collected, and in a function that
    `copy.deepcopy` calls, which has a bare ``except``.
    """
    sent, unraisable_hook = [], sys.unraisablehook

    def send(number, frame):
        if frame.f_code is copyreg._slotnames.__code__:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            return
        sent.append(True)
        signal.raise_signal(signal.SIGINT)

    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    handler = signal.signal(signal.SIGALRM, send)
    sys.unraisablehook = lambda unraisable: sent.clear()
    gc.collect()
    gc.disable()
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield sent
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.enable()
        sys.unraisablehook = unraisable_hook
        signal.signal(signal.SIGALRM, handler)
        signal.signal(signal.SIGINT, interrupt)


def start(mode, tiny, X, y, folder):
    """An estimator and the call to interrupt."""
    model = tiny(**{"max_epochs": 4, "batch_size": 32, **MODES[mode]})
    if mode == "checkpoint":
        shutil.rmtree(folder / mode, ignore_errors=True)
        model.set_params(checkpoint=folder / mode)
    if mode == "partial_fit":
        model.partial_fit(X, y, classes=range(7))
    if "partial_fit" in mode:
        return model, lambda: model.partial_fit(X, y, classes=range(7))
    return model, lambda: model.fit(X, y)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moments", [6, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_at_any_moment(mode, moments, tiny, faces, tmp_path, one_thread, capsys):
    X, y = faces.images[:84, ::2, ::2], faces.target[:84]
    if mode == "files":
        images, X = X, [tmp_path / f"{row}.png" for row in range(len(y))]
        for path, image in zip(X, images, strict=True):
            Image.fromarray(image).save(path)
    _, call = start(mode, tiny, X, y, tmp_path)
    call()
    begin = time.perf_counter()
    _, call = start(mode, tiny, X, y, tmp_path)
    begin = time.perf_counter()
    call()
    seconds = time.perf_counter() - begin
    rng = np.random.default_rng(0)
    # a quarter falls into the first tenth, before the first epoch
    delays = seconds * rng.uniform(0.001, np.where(np.arange(moments) % 4, 0.95, 0.1))
    interrupted = 0
    for delay in delays:
        model, call = start(mode, tiny, X, y, tmp_path)
        before = model.predict_proba(X) if mode == "partial_fit" else None
        sent = []
        try:
            with sigint_after(delay) as sent:
                call()
                swallowed = bool(sent)
            assert not swallowed, f"SIGINT after {delay:.3f} s of {seconds:.3f} s was swallowed"
        except KeyboardInterrupt:
            interrupted += 1
            assert sent
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
        try:
            proba = model.predict_proba(X)
        except NotFittedError:
            assert mode != "partial_fit"
            continue
        np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
        assert len(model.history_) >= 1
        assert not model.network_.training
        assert all("train_loss" in row for row in model.net_.history)
        pickle.loads(pickle.dumps(model))
        if before is not None and len(model.history_) == 1:
            np.testing.assert_array_equal(proba, before)
    assert interrupted > moments / 3


def test_an_autocast_that_was_left_open_does_not_spoil_later_trainings(tiny, faces, one_thread):
    params = {"precision": "bfloat16", "max_epochs": 3, "batch_size": 32}
    expected = tiny(**params).fit(faces.data, faces.target).predict_proba(faces.data)
    torch.autocast_increment_nesting()  # as Ctrl-C leaves it between the steps of entering or leaving autocast
    try:
        model = tiny(**params).fit(faces.data, faces.target)
        np.testing.assert_array_equal(model.predict_proba(faces.data), expected)
    finally:
        torch.autocast_decrement_nesting()
        torch.clear_autocast_cache()
