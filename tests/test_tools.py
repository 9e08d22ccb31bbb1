"""Tools around the networks: notebooks, skops, skorch's callbacks."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

IN_A_NOTEBOOK = """
import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.model_selection import cross_validate
from torch import nn
from ferkit import FERClassifier
from ferkit.datasets import make_faces

class Linear(nn.Sequential):
    def __init__(self, num_classes, in_channels):
        super().__init__(nn.Flatten(), nn.Linear(in_channels * 24 * 24, num_classes))

if __name__ == "__main__":
    faces = make_faces(60, size=24, random_state=0)
    X, y = faces.data, faces.target
    model = FERClassifier(Linear, max_epochs=1, batch_size=32, random_state=0)
    for tool in (
        VotingClassifier([("a", model), ("b", model)], voting="soft", n_jobs=2),
        BaggingClassifier(model, n_estimators=2, n_jobs=2),
        CalibratedClassifierCV(model, cv=2, n_jobs=2),
    ):
        print(tool.fit(X, y).predict_proba(X[:2]).shape)
    print(len(cross_validate(model, X, y, cv=2, n_jobs=2, return_estimator=True)["estimator"]))
"""


attacks = []


def attack():
    attacks.append(1)
    return torch.nn.CrossEntropyLoss()


class Evil(torch.nn.CrossEntropyLoss):
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return attack, ()


def test_networks_of_a_notebook_travel_to_workers_and_back(tmp_path):
    (tmp_path / "notebook.py").write_text(IN_A_NOTEBOOK)
    done = subprocess.run(
        [sys.executable, "notebook.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.split("\n")[:4] == ["(2, 7)"] * 3 + ["2"], done.stderr[-2000:]


def test_a_loaded_model_trains_on_as_the_saved_one_would(tiny, faces):
    model = tiny(frozen_epochs=1, backbone_lr_scale=0.1).partial_fit(faces.data, faces.target, classes=range(7))
    model.network_.get_parameter("backbone.features.0.0.weight").requires_grad_(False)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    loaded = pickle.loads(pickle.dumps(model))
    assert torch.rand(1) == expected, "loading leaves the random stream as it was"
    for each in (model, loaded):
        each.partial_fit(faces.data, faces.target)
    np.testing.assert_array_equal(loaded.predict_proba(faces.data), model.predict_proba(faces.data))
    for name, parameter in loaded.network_.named_parameters():
        assert parameter.requires_grad == (name != "backbone.features.0.0.weight")


def test_networks_in_bfloat16_are_saved(tiny, faces):
    def build(num_classes, in_channels):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48 * 48 * in_channels, num_classes))

    model = tiny(build, precision="float32").fit(faces.data, faces.target)
    model.network_.bfloat16()
    state = model.net_.__getstate__()
    assert all(isinstance(array, np.ndarray) for array in state["module_"]["weights"].values())


def test_a_saved_model_hides_no_pickle(tiny, faces):
    model = tiny().fit(faces.data, faces.target)
    model.net_.criterion_ = Evil()
    pickle.loads(pickle.dumps(model))
    assert not attacks


def test_skops_loads_what_it_lists(tiny, faces, tmp_path):
    skops = pytest.importorskip("skops.io")
    model = tiny().fit(faces.data, faces.target_names[faces.target])
    skops.dump(model, tmp_path / "model.skops")
    types = skops.get_untrusted_types(file=tmp_path / "model.skops")
    assert "ferkit.backbones._cnn.CNN" in types, "the network's class is listed"
    loaded = skops.load(tmp_path / "model.skops", trusted=types)
    np.testing.assert_array_equal(loaded.predict_proba(faces.data), model.predict_proba(faces.data))
    loaded.partial_fit(faces.data, faces.target_names[faces.target])
