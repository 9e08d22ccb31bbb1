"""The models that ship with the package."""

import json
import pickle
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import ferkit
from ferkit import FERClassifier, NetworkFeatures
from ferkit.cli import main
from ferkit.datasets import make_faces
from ferkit.models import list_models, load_model, read_model_card
from ferkit.training import resolve_device

NAMES = list_models()


@pytest.fixture(scope="module")
def small():
    return load_model("fer2013-small")


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_is_an_ordinary_fitted_classifier(name, faces):
    model = load_model(name)
    proba = model.predict_proba(faces.data[:10])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert sorted(model.classes_) == sorted(faces.target_names)
    assert not hasattr(clone(model), "net_")
    assert str(model).startswith("FERClassifier(")


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_has_a_card(name):
    card = read_model_card(name)
    assert card.startswith(f"# {name}\n")
    for word in ("PublicTest", "How it was made", "Limits", "Licenses"):
        assert word in card


def test_shipped_models_are_small():
    sizes = [path.stat().st_size for path in Path(ferkit.models.__file__).parent.glob("*.ferkit")]
    assert len(sizes) == len(NAMES) > 0
    assert sum(sizes) < 5e6


def test_a_shipped_model_recognizes_drawn_faces_of_clear_expression(small):
    faces = make_faces(700, random_state=0)
    names = faces.target_names[faces.target]
    smiling = small.predict(faces.data[names == "happy"]) == "happy"
    others = small.predict(faces.data[names != "happy"]) == "happy"
    assert smiling.mean() > others.mean() + 0.2  # a network for photographs that has never seen a drawing


def test_loading_needs_no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket, "socket", refuse)
    load_model()


def test_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match=r"Expected one of .*fer2013-small.*got 'fer2013-huge'"):
        load_model("fer2013-huge")


def test_loaded_models_use_the_accelerator_of_the_machine(small, faces, monkeypatch):
    """PyTorch's device without values is in place of the accelerator."""
    assert small.device_ == resolve_device("auto")
    here = FERClassifier("cnn_small", device="cpu", max_epochs=1).fit(faces.data, faces.target)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("meta"))
    monkeypatch.setattr(torch, "meta", torch.cpu, raising=False)  # fork_rng expects a module of this name
    for loaded in (load_model("fer2013-small"), pickle.loads(pickle.dumps(small))):
        assert loaded.device_ == "meta"
        assert {parameter.device.type for parameter in loaded.network_.parameters()} == {"meta"}
    assert pickle.loads(pickle.dumps(here)).device_ == "cpu"


def test_training_can_start_from_a_shipped_model(small, faces):
    smiles = faces.target_names[faces.target] == "happy"
    X, y = faces.data[:70], smiles[:70]
    model = FERClassifier(weights="fer2013-small", frozen_epochs="all", max_epochs=5, random_state=0).fit(X, y)
    before, after = (dict(each.network_.backbone.named_parameters()) for each in (small, model))
    for name, parameter in before.items():
        if not name.startswith("head."):
            assert after[name].equal(parameter)
    assert list(model.classes_) == [False, True]


def test_training_can_start_from_a_saved_model(small, faces, tmp_path):
    ferkit.save(small, tmp_path / "mine.ferkit")
    fit = [
        FERClassifier(weights=weights, max_epochs=1, random_state=0).fit(faces.data[:35], faces.target[:35])
        for weights in ("fer2013-small", tmp_path / "mine.ferkit")
    ]
    np.testing.assert_array_equal(*(model.predict_proba(faces.data) for model in fit))
    voting = VotingClassifier([("a", FERClassifier(max_epochs=1)), ("b", FERClassifier(max_epochs=1))], voting="soft")
    ferkit.save(voting.fit(faces.data[:35], faces.target[:35]), tmp_path / "two.ferkit")
    with pytest.raises(ValueError, match=r"two\.ferkit"):
        FERClassifier(weights=tmp_path / "two.ferkit").fit(faces.data, faces.target)


def test_its_features_feed_other_estimators(small, faces):
    by_name = NetworkFeatures("fer2013-small").fit(faces.data)
    np.testing.assert_array_equal(
        by_name.transform(faces.data[:9]), NetworkFeatures(small).fit_transform(faces.data)[:9]
    )
    happy = faces.target_names[faces.target] == "happy"
    pipeline = make_pipeline(by_name, LogisticRegression(max_iter=1000)).fit(faces.data[:140], happy[:140])
    assert pipeline.score(faces.data[140:], happy[140:]) > 0.85


def test_predict_without_a_model_uses_the_shipped_one(tmp_path, capsys, small):
    face = make_faces(1, size=96, random_state=1).images[0]
    Image.fromarray(face).save(tmp_path / "face.png")
    for arguments in ([], ["fer2013-small"]):
        with pytest.raises(SystemExit) as end:
            main(["predict", *arguments, str(tmp_path / "face.png"), "--json"])
        assert end.value.code == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row["emotion"] == small.predict([tmp_path / "face.png"])[0]
    with pytest.raises(SystemExit) as end:
        main(["predict", "fer2013-small"])
    assert end.value.code == 2
    assert "Expected images after the model" in capsys.readouterr().err


def test_photos_are_recognized_by_the_onnx_file_of_a_shipped_model():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("cv2")
    images = list(make_faces(20, random_state=0).images)
    model = ferkit.load_model().set_params(precision="float32")
    found, expected = (ferkit.photos.analyze(images, each, detector=None) for each in ("fer2013-small", model))
    pd.testing.assert_frame_equal(found, expected, atol=0.001)
    assert not found[model.classes_].equals(expected[model.classes_])
