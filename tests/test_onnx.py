import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator

import ferkit
from ferkit import FERClassifier, ImageAugmenter, Pipeline, PixelParser
from ferkit.cli import main
from ferkit.datasets import make_faces
from ferkit.onnx import OnnxClassifier, to_bytes

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def exported(model, tmp_path):
    ferkit.export(model, tmp_path / "model.onnx")
    return ferkit.load(tmp_path / "model.onnx")


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code or 0


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("shipped") / "model.onnx"
    assert run("export", path) == 0
    return path


@pytest.fixture(scope="module")
def shipped(path):
    return ferkit.load(path)


@pytest.fixture(scope="module")
def content(fitted):
    return to_bytes(fitted)


def assert_same(model, other, *images):
    model.set_params(precision="float32")
    for X in images:
        np.testing.assert_allclose(other.predict_proba(X), model.predict_proba(X), atol=1e-4)
        np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_the_shipped_model_predicts_the_same(shipped):
    faces = make_faces(70, random_state=0)
    assert_same(ferkit.load_model(), shipped, faces.data, faces.images, faces.images / 255, list(faces.images[:3]))
    large = [Image.fromarray(face).resize((91, 80)).convert("RGB") for face in faces.images[:5]]
    assert_same(ferkit.load_model(), shipped, large, np.stack([np.asarray(image) for image in large]))


@pytest.mark.parametrize("n", [1, 20])
def test_files_are_predicted_the_same_in_any_number(n, shipped, tmp_path):
    faces = make_faces(n, random_state=0)
    paths = [tmp_path / f"{number}.png" for number in range(n)]
    for path, face in zip(paths, faces.images, strict=True):
        Image.fromarray(face).save(path)
    expected = shipped.predict_proba(faces.images)
    for files in (paths, [str(path) for path in paths], [path.read_bytes() for path in paths]):
        np.testing.assert_array_equal(shipped.predict_proba(files), expected)


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"backbone": "cnn_small", "tta": "ten_crop"}, marks=pytest.mark.slow),
        {"backbone": "cnn_small", "input_size": 32, "augment": ImageAugmenter(horizontal_flip=0)},
        {"backbone": "cnn_small", "head": (8,), "dropout": 0.5, "tta": None},
        pytest.param(
            {"backbone": "timm/resnet10t", "input_size": 64, "backbone_params": {"in_channels": 3}},
            marks=pytest.mark.slow,
        ),
        pytest.param({"backbone": "mobilenet_v3_small", "input_size": 64}, marks=pytest.mark.slow),
        pytest.param({"backbone": "googlenet", "input_size": 64}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_networks_and_views_predict_the_same(params, faces, tmp_path):
    model = FERClassifier(max_epochs=1, random_state=0, **params).fit(faces.data[:100], faces.target[:100])
    other = exported(model, tmp_path)
    assert other.classes_.dtype == model.classes_.dtype
    assert_same(model, other, faces.data)


def test_colors_and_pixels_from_0_to_1(tmp_path):
    faces = make_faces(60, random_state=0)
    X = np.stack([faces.images, faces.images // 2, 255 - faces.images], axis=3) / np.float32(255)
    model = FERClassifier("cnn_small", max_epochs=2, random_state=0).fit(X, faces.target_names[faces.target])
    assert_same(model, exported(model, tmp_path), X)


def test_the_graph_takes_pictures_of_any_size_by_itself(path, faces):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["card"].startswith("# fer2013-small")
    assert "surprise" in metadata["classes"]
    picture = Image.fromarray(faces.images[0]).resize((200, 150))
    (proba,) = session.run(None, {"images": np.asarray(picture)[None, :, :, None]})
    model = ferkit.load_model().set_params(precision="float32")
    np.testing.assert_allclose(proba, model.predict_proba([picture]), atol=0.01)  # Pillow resizes in fixed point


def test_it_is_a_classifier_of_scikit_learn(shipped, faces):
    expected = shipped.predict_proba(faces.data)
    for copy in (clone(shipped), pickle.loads(pickle.dumps(shipped)), OnnxClassifier(shipped.content, batch_size=7)):
        np.testing.assert_allclose(copy.predict_proba(faces.data), expected, atol=1e-6)
    copy = clone(shipped).set_params(n_threads=1)
    np.testing.assert_allclose(copy.predict_proba(faces.data), expected, atol=1e-6)
    y = faces.target_names[faces.target]
    both = VotingClassifier([("a", FrozenEstimator(shipped)), ("b", FrozenEstimator(shipped))], voting="soft")
    np.testing.assert_allclose(both.fit(faces.data, y).predict_proba(faces.data), expected, atol=1e-6)
    report = ferkit.evaluate(shipped, faces.data, y)
    assert report.accuracy == shipped.score(faces.data, y)
    # the first batch could be taken for pixels from 0 to 1
    dark = np.concatenate([np.zeros((4, 2304)), faces.data[:4]])
    dark[:4, 0] = 1
    together = OnnxClassifier(shipped.content, batch_size=4).predict_proba(dark)
    np.testing.assert_allclose(together, shipped.predict_proba(dark), atol=1e-6)
    with pytest.raises(TypeError, match="only predicts"):
        shipped.fit(faces.data, y)
    with pytest.raises(ValueError, match="expecting 2304 features"):
        shipped.predict(faces.data[:, :100])


def test_int8_is_smaller_and_changes_few_predictions(shipped, faces, tmp_path, caplog):
    ferkit.export(ferkit.load_model(), tmp_path / "int8.onnx", quantize=faces.images)
    assert not [record for record in caplog.records if record.name == "root"]
    small = ferkit.load(tmp_path / "int8.onnx")
    assert len(small.content) < 0.3 * len(shipped.content)
    assert 0 < (small.predict(faces.data) != shipped.predict(faces.data)).mean() < 0.1
    assert abs(small.predict_proba(faces.data) - shipped.predict_proba(faces.data)).mean() < 0.02


class Spread(torch.nn.Module):
    """Its values have so large a range that int8 cannot tell most of them from 0."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.linear = torch.nn.Linear(2304 + 1, num_classes)

    def forward(self, x):
        return self.linear(torch.cat([x.flatten(1), 1e5 * x[:, 0, 0, :1]], 1))


def test_int8_that_changes_many_predictions_gives_a_warning(faces, tmp_path):
    model = FERClassifier(Spread, max_epochs=1, random_state=0).fit(faces.data, faces.target)
    model.network_.backbone.linear.weight.data[:, -1] = 0
    with pytest.warns(UserWarning, match=r"int8 changes the prediction of \d\d% of the given images"):
        ferkit.export(model, tmp_path / "model.onnx", quantize=faces.data)


class Odd(torch.nn.Module):
    """Differs between training and export."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2304, num_classes))

    def forward(self, x):
        return self.layers(x) * (2 if torch.compiler.is_exporting() else 1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tta": 3, "augment": ImageAugmenter()}, 'Expected tta="auto"'),
        ({"tta": lambda images: [images]}, 'Expected tta="auto"'),
        ({"backbone": Odd}, "differs by"),
    ],
    ids=["random views", "views of a function", "other probabilities"],
)
def test_models_that_cannot_be_exported_name_the_reason(params, message, faces, tmp_path):
    model = FERClassifier(**{"backbone": "cnn_small", "max_epochs": 1, "augment": None, **params})
    model.fit(faces.data, faces.target)
    with pytest.raises(ValueError, match=message):
        ferkit.export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_bad_arguments_are_refused(faces, fitted, tmp_path):
    pipeline = Pipeline([("parse", PixelParser()), ("classify", fitted)])
    with pytest.raises(TypeError, match=r"pass its classifier, pipeline\[-1\]"):
        ferkit.export(pipeline, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"ends in \.onnx"):
        ferkit.export(fitted, tmp_path / "model.pt")
    normal = (faces.data / 255 - 0.5) / 0.25
    model = FERClassifier("cnn_small", max_epochs=1).fit(normal, faces.target)
    with pytest.raises(ValueError, match="before they are normalized"):
        ferkit.export(model, tmp_path / "model.onnx")


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "other"])
def test_damaged_files_are_refused(damage, shipped, tmp_path):
    import onnx

    proto = onnx.load_from_string(shipped.content)
    del proto.metadata_props[:]
    content = {
        "empty": b"",
        "text": b"not a model",
        "cut": shipped.content[: len(shipped.content) // 2],
        "other": proto.SerializeToString(),
    }[damage]
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="Expected"):
        ferkit.load(tmp_path / "model.onnx")


def test_another_content_is_another_model(shipped, content, fitted, faces):
    model = clone(shipped)
    model.predict(faces.data)
    model.set_params(content=content)
    assert model.classes_.tolist() == fitted.classes_.tolist()
    np.testing.assert_allclose(model.predict_proba(faces.data), OnnxClassifier(content).predict_proba(faces.data))


def test_commands_use_the_file_and_do_not_overwrite_it(path, tmp_path, capsys):
    Image.fromarray(make_faces(1, random_state=0).images[0]).save(tmp_path / "face.png")
    assert run("predict", path, tmp_path / "face.png") == 0
    assert "face.png: " in capsys.readouterr().out
    assert run("export", path) == 2
    assert "exists" in capsys.readouterr().err


def test_a_command_names_the_missing_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert run("export", tmp_path / "model.onnx") == 1
    assert capsys.readouterr().err == 'ferkit: ONNX files need onnxscript: pip install "ferkit[onnx]"\n'


def test_equal_models_give_equal_files(content, fitted):
    assert to_bytes(fitted) == content


def test_half_weights_halve_the_file_and_hardly_change_the_probabilities(shipped, path, tmp_path):
    faces = make_faces(50, random_state=0)
    ferkit.export(ferkit.load_model(), tmp_path / "half.onnx", half=True)
    half = ferkit.load(tmp_path / "half.onnx")
    assert (tmp_path / "half.onnx").stat().st_size < 0.52 * path.stat().st_size
    np.testing.assert_allclose(half.predict_proba(faces.data), shipped.predict_proba(faces.data), atol=0.001)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_probabilities_depend_neither_on_batches_nor_on_threads(shipped, n_threads, batch_size):
    faces = make_faces(20, random_state=0)
    expected = shipped.predict_proba(faces.data)
    model = OnnxClassifier(shipped.content, batch_size=batch_size, n_threads=n_threads)
    np.testing.assert_allclose(model.predict_proba(faces.data), expected, atol=1e-6)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(model)).predict_proba(faces.data), expected, atol=1e-6)
