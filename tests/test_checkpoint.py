"""Trainings that are stopped in any way and continue from their checkpoint."""

import json
import os
import pickle
import resource
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from datetime import timedelta
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EarlyStopping

from ferkit import FERClassifier, ImageAugmenter
from ferkit.datasets import make_faces
from ferkit.training import resolve_device

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
forks = pytest.mark.skipif(
    not hasattr(os, "fork") or torch.accelerator.is_available(),
    reason="PyTorch can't train in a forked process on a machine with a GPU",
)
NAME = "checkpoint.safetensors"
MODES = {
    "default": {},
    "Muon": {"optimizer": "muon"},
    "last weights": {"ema_decay": None, "optimizer": "sgd", "lr": 0.01, "dropout": 0.3},
    "mixup": {"mixup": 0.2},
    "early stopping": {"validation_fraction": 0.3, "early_stopping": 2, "scoring": "loss", "lr": 0.3},
    "best by a scorer": {"keep_best": True, "scoring": "f1_macro"},
    "frozen": {"frozen_epochs": "all", "head": (8,)},
    "frozen, then all": {"frozen_epochs": 3, "validation_fraction": 0.3, "keep_best": True},
    "frozen without cache": {"frozen_epochs": 2, "cache_features": False, "dropout": 0.2},
    "plateau": {"lr_schedule": {"name": "plateau", "patience": 0}},
    "steps": {"lr_schedule": lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])},
    "float16": {"precision": "float16"},
    "bfloat16": {"precision": "bfloat16", "optimizer": "adam", "class_weight": "balanced"},
    "files": {},
    "own early stopping": {"callbacks": [EarlyStopping("train_loss", patience=1, threshold=0.05, sink=str)]},
    "every third epoch": {"checkpoint_every": 3},
    "no seed": {"random_state": None},
}


@pytest.fixture(scope="module")
def data():
    faces = make_faces(91, random_state=0)
    return faces.images[:, ::3, ::3], faces.target_names[faces.target]


def build(**params):
    defaults = {"max_epochs": 5, "batch_size": 32, "random_state": 0, "precision": "float32"}
    return FERClassifier("cnn", backbone_params={"widths": (8, 8)}, **{**defaults, **params})


def fit(model, data, mode=None, folder=None):
    """Fit on the data, in the form that the mode needs."""
    X, y = data[0][:70], data[1][:70]
    if mode == "files":
        paths = [folder / f"{row}.png" for row in range(len(y))]
        for path, image in zip(paths, X, strict=True):
            if not path.exists():
                Image.fromarray(image).save(path)
        X = paths
    if mode == "best by a scorer":
        return model.fit(X, y, X_val=data[0][70:], y_val=data[1][70:])
    return model.fit(X, y, sample_weight=np.linspace(0.5, 2, len(y)) if mode == "mixup" else None)


def assert_equal(model, expected):
    """The result is the same: on a CPU, to the last bit."""
    # on a GPU, PyTorch may add the same numbers in another order, and Adam makes whole steps of tiny gradients
    scores, weights = (0, 0) if model.device_ == "cpu" else (0.05, 2e-3)
    state = expected.network_.state_dict()
    for name, tensor in model.network_.state_dict().items():
        torch.testing.assert_close(
            tensor, state[name], rtol=5 * weights, atol=weights, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert len(model.history_) == len(expected.history_)
    for row, other in zip(model.history_, expected.history_, strict=True):
        assert row.keys() == other.keys()
        values, others = ([*({**each, "seconds": 0}.values())] for each in (row, other))
        np.testing.assert_allclose(values, others, rtol=0, atol=scores)
    assert model.best_epoch_ == expected.best_epoch_
    assert model.batch_size_ == expected.batch_size_


def start(call, prepare=lambda: None):
    """Call a function in a forked process, which starts at once because everything is imported. Return its ID."""
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            call()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return pid


def wait(pid):
    """Return whether a process has ended by itself, and not by a signal."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL, -signal.SIGXFSZ)
    return code == 0


def die_at(module, name, number):
    """Kill this process at the given call of a function, counted from 1."""
    function, calls = getattr(module, name), count(1)

    def call(*args, **kwargs):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(module, name, call)


def die_in_epoch(number):
    """Kill this process at the beginning of an epoch, when the order of its images is drawn."""
    return partial(die_at, torch, "randperm", number)


def die_at_size(n_bytes):
    """Kill this process when it has written part of a file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


@pytest.fixture
def epochs(monkeypatch):
    """List with an entry for each epoch that is trained in this process."""
    drawn, randperm = [], torch.randperm

    def draw(*args, **kwargs):
        drawn.append(1)
        return randperm(*args, **kwargs)

    monkeypatch.setattr(torch, "randperm", draw)
    return drawn


@pytest.fixture
def stop(monkeypatch):
    """Function that lets the next training raise an error at the beginning of an epoch."""
    randperm = torch.randperm

    def arrange(epoch, error):
        def draw(*args, **kwargs):
            if next(calls) == epoch:
                monkeypatch.setattr(torch, "randperm", randperm)
                raise error
            return randperm(*args, **kwargs)

        calls = count(1)
        monkeypatch.setattr(torch, "randperm", draw)

    return arrange


def train(mode, data, folder, seed=0, **params):
    if mode == "no seed":
        np.random.seed(int(seed))  # noqa: NPY002 # random_state=None draws from it
    return fit(build(**MODES[mode], **params), data, mode, folder)


@forks
@pytest.mark.parametrize("mode", MODES)
def test_a_killed_training_ends_with_the_same_weights(mode, data, tmp_path, one_thread):
    expected = train(mode, data, tmp_path)
    again = partial(train, mode, data, tmp_path, checkpoint=tmp_path / "checkpoint")
    assert not wait(start(again, die_in_epoch(2)))
    wait(start(partial(again, seed=1), die_in_epoch(3)))
    assert_equal(again(seed=2), expected)
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == [NAME]


WRITING = {
    "half written": partial(die_at_size, 10_000),
    "before it is on the disk": partial(die_at, os, "fsync", 3),
    "before it replaces the last one": partial(die_at, os, "replace", 2),
    "before its name is on the disk": partial(die_at, os, "fsync", 4),
}


@forks
@pytest.mark.parametrize("moment", WRITING)
def test_a_kill_while_writing_keeps_the_last_checkpoint(moment, data, tmp_path, one_thread):
    expected = train("default", data, tmp_path)
    again = partial(train, "default", data, tmp_path, checkpoint=tmp_path)
    assert not wait(start(again, die_in_epoch(2)))
    assert (tmp_path / NAME).stat().st_size > 10_000
    assert not wait(start(again, WRITING[moment]))
    assert_equal(again(), expected)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def survive(mode, data, folder, kills, seed=0):
    """Kill trainings at random moments until there were enough kills. Return counts of what happened."""
    rng, counts = np.random.default_rng(seed), Counter()
    wait(start(partial(train, mode, data, folder)))  # writes the images of "files"
    begin = time.perf_counter()
    wait(start(partial(train, mode, data, folder, checkpoint=folder / "timed")))
    seconds = time.perf_counter() - begin
    expected = train(mode, data, folder)
    while counts["kills"] < kills:
        directory = folder / f"checkpoint{counts['trainings']}"
        done = False
        while not done:
            # once an epoch is saved, the seed is that of the checkpoint
            again = partial(train, mode, data, folder, (directory / NAME).exists(), checkpoint=directory)
            parts = set(directory.glob(".*.part"))
            if rng.random() < 0.3:
                done = wait(start(again, WRITING[rng.choice([*WRITING])]))
            else:
                pid = start(again)
                time.sleep(rng.uniform(0, seconds))
                os.kill(pid, signal.SIGKILL)
                done = wait(pid)
            counts["kills"] += not done
            counts["while writing"] += bool(set(directory.glob(".*.part")) - parts)
        assert_equal(train(mode, data, folder, seed=1, checkpoint=directory), expected)
        counts["trainings"] += 1
    return counts


def test_settings_with_numpy_numbers_continue(data, tmp_path):
    X, y = data[0], np.unique(data[1], return_inverse=True)[1]
    settings = {"class_weight": dict.fromkeys(np.unique(y), 2.0), "checkpoint": tmp_path, "max_epochs": np.int64(1)}
    first = build(**settings).fit(X, y)
    again = build(**{**settings, "class_weight": dict.fromkeys(range(7), 2.0)}).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), first.predict_proba(X))
    with pytest.raises(ValueError, match="class_weight"):
        build(**{**settings, "class_weight": dict.fromkeys(range(7), 3.0)}).fit(X, y)


@forks
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", MODES)
def test_survive_kills_at_random_moments(mode, data, tmp_path, one_thread, capsys):
    counts = survive(mode, data, tmp_path, 7)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{mode}: {counts['kills']} kills ({counts['while writing']} while writing), {counts['trainings']} "
            "trainings, all with the weights of the undisturbed one\n"
        )


@forks
def test_random_kills(data, tmp_path, one_thread):
    assert survive("default", data, tmp_path, 3)["trainings"] >= 1


def test_a_finished_training_is_not_trained_again(data, tmp_path, epochs):
    first = fit(build(checkpoint=tmp_path, verbose=1), data)
    assert len(epochs) == 5
    again = fit(build(checkpoint=str(tmp_path), checkpoint_every=3), data)
    assert len(epochs) == 5
    assert_equal(again, first)
    X, y = data
    np.testing.assert_array_equal(again.predict_proba(X), first.predict_proba(X))
    assert again.set_params(checkpoint=None).fit(X, y).history_ != first.history_


def test_checkpoints_do_not_change_the_training(data, tmp_path, one_thread):
    assert_equal(fit(build(checkpoint=tmp_path), data), fit(build(), data))


def test_ctrl_c_says_how_to_continue(data, tmp_path, epochs, stop, one_thread):
    expected = fit(build(), data)
    model = build(checkpoint=tmp_path, checkpoint_every=10)
    stop(4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt, match=f"after epoch 3 of 5.* {tmp_path / NAME}, call fit again"):
        fit(model, data)
    assert len(model.history_) == 3
    assert np.isfinite(model.predict_proba(data[0])).all()
    epochs.clear()
    assert_equal(fit(model, data), expected)
    assert len(epochs) == 2


@pytest.mark.parametrize("number", range(torch.cuda.device_count()))
def test_the_random_stream_of_every_gpu_continues(number, data, tmp_path, stop):
    params = {"device": f"cuda:{number}", "dropout": 0.5, "ema_decay": None}
    expected = fit(build(**params), data)
    model = build(checkpoint=tmp_path, **params)
    stop(4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fit(model, data)
    assert_equal(fit(model, data), expected)


def test_ctrl_c_keeps_the_weights_of_the_last_complete_epoch(data, stop, one_thread):
    class Watch(Callback):
        def on_batch_end(self, net, training=False, **kwargs):
            if training and len(net.history) == 3:
                raise KeyboardInterrupt

    seen = {}

    class Remember(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen[len(net.history)] = {name: part.clone() for name, part in net.module_.state_dict().items()}

    for params in ({}, {"ema_decay": None}, {"frozen_epochs": "all"}, {"frozen_epochs": 2}):
        model = build(callbacks=[Remember(), Watch()], **params)
        with pytest.raises(KeyboardInterrupt, match="keeps the weights of epoch 2"):
            fit(model, data)
        assert len(model.history_) == 2
        for name, part in model.network_.state_dict().items():
            assert torch.equal(part, seen[2][name]), (params, name)


def spoil_rate(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0 if epoch < 3 else 1e30)


@pytest.mark.parametrize("params", [{}, {"ema_decay": None}, {"frozen_epochs": 2}])
def test_a_training_that_diverges_keeps_the_last_good_weights(params, data, tmp_path):
    model = build(lr_schedule=spoil_rate, checkpoint=tmp_path, **params)
    for _ in range(2):  # the checkpoint is good, so that the training diverges again
        with pytest.raises(ValueError, match=r"smaller lr.* after epoch 3 of 5\. The estimator keeps"):
            fit(model, data)
        assert [row["epoch"] for row in model.history_] == [1, 2, 3]
        assert all(part.isfinite().all() for part in model.network_.state_dict().values())
    with pytest.raises(ValueError, match="smaller lr"):
        fit(model.set_params(lr=1e30, checkpoint=None, lr_schedule=None), data)
    with pytest.raises(NotFittedError):
        model.predict(data[0])


def test_other_settings_and_data_are_refused_with_a_list(data, tmp_path):
    X, y = data
    model = build(checkpoint=tmp_path, lr=0.01).fit(X, y)
    before = (tmp_path / NAME).read_bytes()
    other = clone(model).set_params(lr=0.02, augment=ImageAugmenter(rotation=3))
    with pytest.raises(ValueError, match="delete this file or choose another `checkpoint`") as refused:
        other.fit(X[:80], y[:80], np.ones(80))
    lines = str(refused.value).splitlines()[1:-1]
    assert [line.split(":")[0].strip() for line in lines] == ["augment", "lr", "X", "y", "sample_weight"]
    assert "lr: 0.01 then, 0.02 now" in str(refused.value)
    changed = X.copy()
    changed[5, 3, 3] ^= 1
    with pytest.raises(ValueError, match=r"X: '91×256 uint8, SHA-256 .* then, '91×256 uint8, SHA-256 .* now"):
        clone(model).fit(changed, y)
    with pytest.raises(ValueError, match=r"classes: \['angry', .* then, \[0, "):
        clone(model).fit(X, np.unique(y, return_inverse=True)[1])
    with pytest.raises(ValueError, match=r"X_val: None then"):
        clone(model).fit(X, y, X_val=X, y_val=y)
    assert (tmp_path / NAME).read_bytes() == before
    assert clone(model).set_params(verbose=1, checkpoint_every=timedelta(hours=1)).fit(X, y).history_ == model.history_


def test_other_files_are_refused(data, tmp_path):
    for name in "ab":
        for row, image in enumerate(data[0][:14]):
            Image.fromarray(image).save(tmp_path / f"{name}{row}.png")
    model = build(checkpoint=tmp_path / "checkpoint", max_epochs=1)
    model.fit([tmp_path / f"a{row}.png" for row in range(14)], data[1][:14])
    with pytest.raises(ValueError, match="X: "):
        clone(model).fit([tmp_path / f"b{row}.png" for row in range(14)], data[1][:14])


def damage(content):
    """Name and content of files that are no good checkpoints."""
    (length,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + length])
    yield from ((f"truncated to {size}", content[:size]) for size in (0, 4, 8, 100, 8 + length, len(content) - 1))
    for place in (3, 20, 8 + length + 5, len(content) - 3):
        yield f"byte {place} flipped", content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    yield "a pickle", pickle.dumps({"weights": [1.0]})
    yield "text", b"weights"
    yield "weights", save({"weight": torch.zeros(3)})
    for key, value in (("version", "2"), ("format", "other"), ("content", "{}"), ("content", "[" * 10**5)):
        metadata = head["__metadata__"] | {key: value}
        text = json.dumps(head | {"__metadata__": metadata}).encode()
        text += b" " * (-len(text) % 8)
        yield f"{key} {value[:5]}", struct.pack("<Q", len(text)) + text + content[8 + length :]


def test_damaged_and_foreign_files_are_refused(data, tmp_path):
    model = build(checkpoint=tmp_path, max_epochs=1)
    fit(model, data)
    for name, content in damage((tmp_path / NAME).read_bytes()):
        (tmp_path / NAME).write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged or another file .*: delete it to start anew"):
            fit(model, data)
        assert (tmp_path / NAME).read_bytes() == content, name


def test_a_full_disk_stops_the_training_before_it_starts(data, tmp_path, epochs, file_size_limit):
    with file_size_limit(10_000), pytest.raises(OSError, match=f"free space .*, got {tmp_path} "):
        fit(build(checkpoint=tmp_path), data)
    assert not epochs
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux limits the size of files")
def test_a_disk_that_becomes_full_keeps_the_last_checkpoint(data, tmp_path, one_thread):
    """The training goes on, because its result can still be used."""

    class Fill(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    expected = fit(build(), data)
    try:
        with pytest.warns(UserWarning, match=f"goes on without a new checkpoint.*got {tmp_path} "):
            model = fit(build(checkpoint=tmp_path, callbacks=[Fill()]), data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_equal(model, expected)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    with pytest.warns(UserWarning, match="callbacks Fill start anew"):
        assert_equal(fit(model, data), expected)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", ["file/folder", "folder"])
def test_a_directory_that_cannot_be_written_to_is_an_error(name, data, tmp_path, epochs):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir(mode=0o500)
    if name == "folder" and os.access(tmp_path / "folder", os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(OSError, match="can be written to"):
        fit(build(checkpoint=tmp_path / name), data)
    assert not epochs


def test_the_time_between_checkpoints(data, tmp_path, epochs, stop):
    for every, left in ((timedelta(0), 2), (timedelta(hours=1), 5), (2, 3)):
        model = build(checkpoint=tmp_path / f"{left}", checkpoint_every=every)
        stop(4, MemoryError)
        with pytest.raises(MemoryError):
            fit(model, data)
        epochs.clear()
        fit(model, data)
        assert len(epochs) == left


def test_other_versions_give_a_warning(data, tmp_path, monkeypatch):
    model = fit(build(checkpoint=tmp_path, max_epochs=1), data)
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    with pytest.warns(UserWarning, match=r"continues with ferkit .*, torch 9\.9\.9.* may differ in the last digits"):
        assert_equal(fit(clone(model), data), model)


def test_a_state_that_cannot_be_saved_is_an_error_before_training(data, tmp_path, epochs):
    class Schedule(torch.optim.lr_scheduler.LambdaLR):
        def state_dict(self):
            return {"function": print}

    with pytest.raises(TypeError, match=r"Expected a state of tensors.*checkpoint=None"):
        fit(build(checkpoint=tmp_path, lr_schedule=lambda optimizer: Schedule(optimizer, lambda epoch: 1.0)), data)
    assert not epochs


def test_several_processes_are_refused(data, tmp_path):
    pytest.importorskip("accelerate")
    with pytest.raises(ValueError, match="one process"):
        fit(build(checkpoint=tmp_path, device="accelerate"), data)


class Hungry(torch.nn.Sequential):
    """A network whose memory is full with more than this number of images."""

    limit = 20

    def __init__(self, num_classes, in_channels):
        super().__init__(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(16, num_classes))

    def forward(self, images):
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(images)


def test_out_of_memory_at_predict_halves_the_batch(data, monkeypatch):
    model = fit(FERClassifier(Hungry, max_epochs=1, batch_size=16, random_state=0), data)
    monkeypatch.setattr(Hungry, "limit", 10**6)
    expected = model.set_params(batch_size=256).predict_proba(data[0])
    monkeypatch.setattr(Hungry, "limit", 20)
    np.testing.assert_allclose(model.predict_proba(data[0]), expected, atol=1e-6)
    monkeypatch.setattr(Hungry, "limit", 0)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        model.predict_proba(data[0])


def test_out_of_memory_in_training_names_a_batch_size_that_fits(data, monkeypatch):
    model = FERClassifier(Hungry, max_epochs=1, batch_size=64, random_state=0)
    device = resolve_device("auto")
    with pytest.raises(
        torch.OutOfMemoryError, match=rf"batch of 35 images on '{device}', got too little: pass batch_size=17, or micro"
    ):
        fit(model, data)
    fit(model.set_params(batch_size=17), data)
    monkeypatch.setattr(Hungry, "limit", 2)
    with pytest.raises(torch.OutOfMemoryError, match="batch_size=2"):
        fit(model, data)
    monkeypatch.setattr(Hungry, "limit", 0)
    with pytest.raises(torch.OutOfMemoryError):
        fit(model, data)
