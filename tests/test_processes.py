"""One fit in two processes."""

import multiprocessing
import os
import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from ferkit import FERClassifier
from ferkit.datasets import make_faces

pytest.importorskip("accelerate")
from accelerate.state import AcceleratorState, GradientState, PartialState

pytestmark = pytest.mark.timeout(300)

SCRIPT = """
import os, sys
from pathlib import Path
import joblib, numpy as np, torch
sys.path.insert(0, str(Path({tests!r})))
from test_processes import build, Plain
from ferkit.datasets import make_faces

faces = make_faces(96, random_state=0)
model = build({name!r}, device="accelerate").fit(faces.data, faces.target)
assert torch.distributed.get_world_size() == 2
rank = os.environ["RANK"]
np.save(f"{{rank}}.npy", model.predict_proba(faces.data))
if rank == "0":
    joblib.dump(model, "model.joblib")
"""


class Plain(torch.nn.Sequential):
    """No layer depends on the rest of a batch, so that shares of batches add up."""

    def __init__(self, num_classes, in_channels):
        super().__init__(
            torch.nn.Conv2d(in_channels, 4, 5, stride=4),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(4 * 11 * 11, num_classes),
        )


MODELS = {
    "plain": {"backbone": Plain, "augment": None, "mixup": 0, "ema_decay": 0.9, "precision": "float32", "lr": 1e-3},
    "default": {"backbone": "cnn_small", "validation_fraction": 0.25, "class_weight": "balanced"},
    "frozen": {"backbone": "cnn_small", "frozen_epochs": 1, "random_state": None},
    "best epoch": {"backbone": "cnn_small", "validation_fraction": 0.25, "keep_best": True, "scoring": "f1_macro"},
}


def build(name, **params):
    return FERClassifier(
        **{"max_epochs": 3, "batch_size": 24, "random_state": 0, "verbose": 1, **MODELS[name], **params}
    )


def run_as(rank, port, folder):
    """Run the script in a forked process, with the variables that PyTorch's launcher sets."""
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()  # an earlier test of this process may have left one
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", **address)
    os.chdir(folder)
    runpy.run_path("script.py", run_name="__main__")


def fork(script, folder):
    """Run a script in two processes. They start at once, because everything is imported."""
    (folder / "script.py").write_text(script)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run_as, args=(rank, port, folder), daemon=True) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0


def launch(script, folder):
    """Run a script in two processes of PyTorch's launcher."""
    (folder / "script.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "script.py"]
    variables = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


quick = fork if sys.platform == "linux" else launch
CASES = [(quick, "plain"), *(pytest.param(launch, name, marks=pytest.mark.slow) for name in MODELS)]


def test_the_script_in_the_docs_runs(tmp_path):
    page = (Path(__file__).parent.parent / "docs" / "scikit_learn.md").read_text()
    (script,) = re.findall(
        r"^```python\n(import joblib\nfrom accelerate .*?)^```", page, flags=re.MULTILINE | re.DOTALL
    )
    faces = make_faces(50, as_frame=True, random_state=0)
    faces.frame.to_csv(tmp_path / "fer2013.csv", index=False)
    quick(script.replace('device="accelerate"', 'device="accelerate", max_epochs=1'), tmp_path)
    assert joblib.load(tmp_path / "model.joblib").predict(faces.data).shape == (50,)


@pytest.mark.parametrize(("start", "name"), CASES)
def test_two_processes_end_with_one_model(start, name, tmp_path):
    start(SCRIPT.format(tests=str(Path(__file__).parent), name=name), tmp_path)
    first, second = np.load(tmp_path / "0.npy"), np.load(tmp_path / "1.npy")
    np.testing.assert_array_equal(first, second)

    faces = make_faces(96, random_state=0)
    model = joblib.load(tmp_path / "model.joblib")
    assert type(model) is FERClassifier
    np.testing.assert_allclose(model.predict_proba(faces.data), first, atol=1e-5)
    assert model.device_ == "cpu"
    assert [row["epoch"] for row in model.history_] == [1, 2, 3]
    if name == "plain":
        single = build(name, verbose=0).fit(faces.data, faces.target)
        np.testing.assert_allclose(single.predict_proba(faces.data), first, atol=1e-4)
        losses = [[row["train_loss"] for row in fit.history_] for fit in (single, model)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    again = clone(model).set_params(device="auto", verbose=0).fit(faces.data, faces.target)
    assert again.predict(faces.data).shape == (96,)


def test_batches_in_parts_are_refused():
    faces = make_faces(14, random_state=0)
    with pytest.raises(ValueError, match=r'micro_batch_size=None with device="accelerate", got 4: reduce batch_size'):
        build("plain", device="accelerate", micro_batch_size=4).fit(faces.data, faces.target)
