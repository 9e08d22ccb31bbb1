"""Tools around the networks: notebooks, skops, skorch's callbacks."""

import copy
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.multiclass import OneVsRestClassifier
from skorch.callbacks import Callback, EpochScoring, InputShapeSetter

import ferkit
from ferkit.backbones import resolve_backbone
from ferkit.cli import main
from ferkit.training import resolve_precision

attacks = []


def attack():
    attacks.append(1)
    return torch.nn.CrossEntropyLoss()


class Evil(torch.nn.CrossEntropyLoss):
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return attack, ()


@pytest.mark.parametrize("frozen_epochs", [0, 1])
def test_a_loaded_model_trains_on_as_the_saved_one_would(frozen_epochs, tiny, faces):
    model = tiny(frozen_epochs=frozen_epochs, backbone_lr_scale=0.1).partial_fit(
        faces.data, faces.target, classes=range(7)
    )
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


# skorch


def test_the_net_predicts_and_scores_arrays(fitted, faces):
    codes = np.searchsorted(fitted.classes_, faces.target_names[faces.target])
    expected = fitted.predict_proba(faces.data).argmax(axis=1)
    for X in (faces.data, faces.images, faces.images[:, None], torch.from_numpy(faces.images)[:, None]):
        np.testing.assert_array_equal(fitted.net_.predict(X), expected)
    assert fitted.net_.score(faces.data, codes) == fitted.score(faces.data, faces.target_names[faces.target])


@pytest.mark.parametrize("params", [{}, {"frozen_epochs": 1}, {"class_weight": "balanced"}])
def test_epochs_are_scored_without_cached_predictions(params, tiny, faces):
    def score(use_caching, **params):
        return EpochScoring("accuracy", name=f"cached {use_caching}", use_caching=use_caching, **params)

    callbacks = [score(False), score(True), EpochScoring("f1_macro", use_caching=False, on_train=True)]
    model = tiny(validation_fraction=0.3, max_epochs=2, callbacks=callbacks, **params).fit(faces.data, faces.target)
    history = model.net_.history
    assert history[:, "cached False"] == history[:, "cached True"]
    assert all(0 <= score <= 1 for score in history[:, "f1_macro"])


def test_skorch_sets_the_shape_of_the_input(tiny, faces, tmp_path):
    class Pooled(torch.nn.Sequential):
        def __init__(self, num_classes, in_channels, input_dim=1):
            linear = torch.nn.Linear(input_dim**2 * in_channels, num_classes)
            super().__init__(torch.nn.AdaptiveAvgPool2d(input_dim), torch.nn.Flatten(), linear)
            self.input_dim = input_dim

    model = tiny(
        Pooled, callbacks=[InputShapeSetter()], max_epochs=2, lr_schedule="cosine", precision="float32", verbose=0
    )
    model.fit(faces.data, faces.target)
    assert model.network_.backbone.input_dim == 48
    assert model.history_[0]["lr"] > model.history_[1]["lr"], "the schedule knows the new optimizer"

    torch.save(model.network_.backbone.state_dict(), tmp_path / "weights.pth")
    for params in ({"weights": tmp_path / "weights.pth"}, {"frozen_epochs": 1}):
        for callback in (InputShapeSetter(), ("shape", InputShapeSetter())):
            with pytest.raises(ValueError, match=r"again without .*: 48\}, and leave the callback out"):
                tiny(Pooled, callbacks=[callback], **params).fit(faces.data, faces.target)
    params = {
        "weights": tmp_path / "weights.pth",
        "backbone_params": {"input_dim": 48},
        "lr": 1e-9,
        "precision": "float32",
    }
    advised = tiny(Pooled, **params).fit(faces.data, faces.target)
    np.testing.assert_allclose(advised.predict_proba(faces.data), model.predict_proba(faces.data), atol=1e-4)


def test_the_tensorboard_callback_of_the_guide(tiny, faces, tmp_path):
    pytest.importorskip("tensorboard")
    page = (Path(__file__).parent.parent / "docs" / "guide" / "networks.md").read_text()
    (code,) = re.findall(r"^```{code-block} python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    names = {}
    exec(code, names)
    model = clone(tiny(callbacks=[names["Board"](str(tmp_path / "log"))])).fit(faces.data, faces.target)
    assert list((tmp_path / "log").glob("events*"))
    copy.deepcopy(model).partial_fit(faces.data, faces.target)


# other tools


def test_probabilities_are_float64(fitted, faces):
    proba = fitted.predict_proba(faces.data)
    assert proba.dtype == fitted.predict_log_proba(faces.data).dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=0, atol=1e-15)
    json.dumps(dict(zip(fitted.classes_.tolist(), proba[0], strict=True)))


def test_several_labels_per_image_have_an_error_of_their_own(tiny, faces):
    several = np.random.default_rng(0).integers(0, 2, (len(faces.data), 3))
    for y in (several, several.tolist(), [["happy"], ["happy", "sad"]] * (len(faces.data) // 2)):
        with pytest.raises(ValueError, match=r"several labels per image: .*OneVsRestClassifier"):
            tiny().fit(faces.data, y)
    assert OneVsRestClassifier(tiny()).fit(faces.data, several).predict(faces.data).shape == several.shape


@pytest.mark.parametrize("backbone", ["cnn", "vgg_fer"])
def test_every_layer_can_be_hooked_to_explain_it(backbone):
    network = resolve_backbone(backbone).build(num_classes=2, in_channels=1)
    seen = []
    for layer in network.modules():
        layer.register_full_backward_hook(lambda layer, *_: seen.append(layer))
    network(torch.rand(2, 1, 48, 48, requires_grad=True)).sum().backward()
    assert len(seen) == len(list(network.modules()))


# progress


def test_progress_is_a_line_per_epoch_outside_a_terminal(tiny, faces, capsys, caplog):
    model = tiny(verbose=1, max_epochs=2, validation_fraction=0.2).fit(faces.data, faces.target)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert f"valid. {model.history_[1]['valid_accuracy']:.1%}" in lines[1]
    assert not caplog.records

    with caplog.at_level("INFO", logger="ferkit"):
        model.fit(faces.data, faces.target)
    assert capsys.readouterr().out == ""
    assert [record.getMessage()[:9] for record in caplog.records] == ["epoch 1/2", "epoch 2/2"]


def test_progress_is_a_bar_in_a_terminal(tiny, faces, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, for rich
    monkeypatch.setenv("TERM", "xterm")
    tiny(verbose=1, max_epochs=2).fit(faces.data, faces.target)
    shown = capsys.readouterr().out
    assert "\x1b" in shown
    assert "epoch 2/2, batch" in shown
    assert "epoch 3/2" not in shown


# precision


def test_float16_trains_with_a_scaled_loss(tiny, faces):
    seen = []

    class Gradients(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            seen.append(max(float(parameter.grad.abs().max()) for _, parameter in named_parameters))

    X, y = faces.images[:40, ::2, ::2], faces.target[:40]
    params = {"max_epochs": 2, "augment": None, "dropout": 0, "batch_size": 20, "callbacks": [Gradients()]}
    expected = tiny(precision="float32", **params).fit(X, y)
    model = tiny(precision="float16", **params).fit(X, y)
    assert model.precision_ == "float16"
    losses = [[row["train_loss"] for row in each.history_] for each in (model, expected)]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
    full, half = np.split(np.array(seen), 2)
    assert half[0] == pytest.approx(full[0], rel=0.1), "callbacks see gradients of the loss itself"
    assert model.partial_fit(X, y).predict_proba(X).shape == (40, 7)


@pytest.mark.parametrize(
    ("bfloat16", "capability", "expected"),
    [(True, (8, 0), "bfloat16"), (False, (7, 5), "float16"), (False, (6, 1), "float32")],
    ids=["A100", "T4", "P100"],
)
def test_precision_follows_the_gpu(bfloat16, capability, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: bfloat16)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert resolve_precision("auto", "cuda") == getattr(torch, expected)


# start-up


@pytest.mark.parametrize("option", ["--version", "--help", "train --help"])
def test_help_and_version_do_not_wait_for_pytorch(option):
    call = f"app({option.split()}, standalone_mode=False)"
    code = f"import sys; from ferkit.cli import app; {call}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"


def test_public_names_are_found_and_listed():
    for name in ferkit.__all__:
        assert getattr(ferkit, name).__name__ == name
        assert name in dir(ferkit)
    assert ferkit.datasets.make_faces
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ferkit.nothing


def test_options_of_the_command_have_the_defaults_of_the_classifier(monkeypatch, tmp_path):
    def note(model, *args, **kwargs):
        built.update(model.get_params())
        raise SystemExit

    built, params = {}, ferkit.FERClassifier().get_params()
    monkeypatch.setattr("ferkit.runs.train_run", note)
    ferkit.datasets.make_faces(60, as_frame=True).frame.to_csv(tmp_path / "faces.csv", index=False)
    with pytest.raises(SystemExit):
        main(["train", str(tmp_path / "faces.csv"), "--out", str(tmp_path / "run")])
    names = ("max_epochs", "batch_size", "lr", "input_size", "mixup", "validation_fraction", "class_weight", "device")
    assert {name: built[name] for name in names} == {name: params[name] for name in names}


def test_scores_of_groups_agree_with_fairlearn(fitted, faces):
    metrics = pytest.importorskip("fairlearn.metrics")
    y, groups = faces.target_names[faces.target], np.where(faces.traits["skin"] < 0.62, "dark", "light")
    report = ferkit.evaluate(fitted, faces.data, y, groups=groups)
    frame = metrics.MetricFrame(metrics=accuracy_score, y_true=y, y_pred=report.y_pred, sensitive_features=groups)
    assert {group: row["accuracy"] for group, row in report.per_group.items()} == frame.by_group.to_dict()
    assert report.gaps["accuracy"]["difference"] == pytest.approx(frame.difference())
    assert report.gaps["accuracy"]["ratio"] == pytest.approx(frame.ratio())
