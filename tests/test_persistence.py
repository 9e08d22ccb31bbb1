"""Files of `ferkit.save`: they restore the model, and a damaged or hostile file raises an error and does nothing else.

``python tests/test_persistence.py`` writes the file of this version to ``tests/data``. Files of earlier versions stay.
"""

import hashlib
import io
import json
import math
import os
import pickle
import struct
import sys
import tracemalloc
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.utils import Bunch
from skorch.callbacks import Callback

import ferkit
from ferkit import (
    FERClassifier,
    ImageAugmenter,
    ImageNormalizer,
    ImageResizer,
    NetworkFeatures,
    Pipeline,
    PixelParser,
)
from ferkit.backbones import CNN, register_backbone
from ferkit.datasets import make_faces

imblearn = pytest.importorskip("imblearn.over_sampling")
pytestmark = pytest.mark.filterwarnings("ignore:Expected at least 50 training steps")

EXPECTED_ERRORS = (ValueError, TypeError, OSError, ImportError)
DATA = Path(__file__).parent / "data"


def small(**params):
    return FERClassifier(
        **{"backbone_params": {"widths": (8, 16)}, "max_epochs": 1, "batch_size": 64, "random_state": 0, **params}
    )


class OwnNet(torch.nn.Sequential):
    def __init__(self, num_classes, in_channels):
        super().__init__(torch.nn.Conv2d(in_channels, 4, 8, 8), torch.nn.Flatten(), torch.nn.Linear(144, num_classes))


register_backbone("own_net_of_the_tests", OwnNet)
ARGUMENTS = []


def build_and_note(num_classes, in_channels, **more):
    ARGUMENTS.append(more)
    return CNN(num_classes, in_channels, widths=(8, 16))


register_backbone("noting_net_of_the_tests", build_and_note)

CLASSIFIERS = {
    "default": {},
    "head, frozen layers": {"head": (8,), "dropout": 0.2, "frozen_layers": ["features.0"]},
    "color": {"backbone_params": {"widths": (16, 24)}},
    "frozen": {"frozen_epochs": "all"},
    "Muon": {"optimizer": "muon"},
    "rates by layer": {"layer_decay": 0.9, "optimizer": "sgd", "net_params": {"optimizer__momentum": 0.8}},
    "best epoch": {"validation_fraction": 0.2, "keep_best": True, "tta": "ten_crop", "max_epochs": 2},
    "augmenter": {"augment": ImageAugmenter(rotation=5), "tta": 2, "random_state": np.random.RandomState(0)},
    "input size": {"input_size": (24, 32), "class_weight": {"happy": 0.5}},
    "numbers of NumPy": {"backbone_params": {"widths": np.array([8, 16])}, "batch_size": np.int64(64)},
    "registered": {"backbone": "own_net_of_the_tests", "backbone_params": None},
    "regnet": {"backbone": "regnet_y_400mf", "backbone_params": None},
    "mnasnet": {"backbone": "mnasnet0_5", "backbone_params": None},
}
MODELS = {
    "strings, resampled": lambda: Pipeline(
        [
            ("parse", PixelParser()),
            ("sample", imblearn.SMOTE(k_neighbors=2, random_state=0)),
            ("resize", ImageResizer(32)),
            ("normalize", ImageNormalizer()),
            ("classify", small()),
        ]
    ),
    "voting": lambda: VotingClassifier(
        [("a", small()), ("b", make_pipeline(ImageNormalizer(), LogisticRegression()))], voting="soft"
    ),
    "stacking": lambda: StackingClassifier([("a", small())], LogisticRegression(), cv=2),
    "bagging": lambda: BaggingClassifier(small(), n_estimators=2, random_state=0),
    "calibrated": lambda: CalibratedClassifierCV(small(), cv=2),
    "one vs rest": lambda: OneVsRestClassifier(make_pipeline(SelectKBest(k=20), LogisticRegression())),
    "several labels per image": lambda: OneVsRestClassifier(small()),
    "columns": lambda: make_pipeline(
        ColumnTransformer([("a", StandardScaler(), slice(0, 9)), ("b", "passthrough", [9])]), LogisticRegression()
    ),
    "features": lambda: make_pipeline(NetworkFeatures(small().fit(*_faces())), PCA(5), LogisticRegression()),
}


def _faces():
    faces = make_faces(84, random_state=0)
    return faces.data, faces.target_names[faces.target]


@pytest.fixture(scope="module")
def data():
    return _faces()


@pytest.fixture(scope="module")
def model(data):
    return small().fit(*data)


@pytest.fixture(scope="module")
def content(model, tmp_path_factory):
    """Bytes of a file."""
    path = tmp_path_factory.mktemp("model") / "model.ferkit"
    ferkit.save(model, path)
    return path.read_bytes()


@pytest.fixture
def load_bytes(tmp_path):
    def load(content, **params):
        (tmp_path / "m.ferkit").write_bytes(content)
        return ferkit.load(tmp_path / "m.ferkit", **params)

    return load


def pack(members, **info):
    """Zip members: a dict, or pairs with names that may occur twice."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", **info) as archive:
        warnings.simplefilter("ignore")  # duplicate names
        for name, part in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, part)
    return buffer.getvalue()


def unpack(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def edit(content, change=lambda written: None, tensors=None):
    """Change the JSON and the tensors of a file, and correct the checksum."""
    members = unpack(content)
    written = json.loads(members["ferkit.json"])
    change(written)
    if tensors is not None:
        state = load_tensors(members["weights.safetensors"])
        members["weights.safetensors"] = save_tensors(tensors(state))
        written["sha256"]["weights.safetensors"] = hashlib.sha256(members["weights.safetensors"]).hexdigest()
    return pack({**members, "ferkit.json": json.dumps(written)})


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_comes_back_as_it_was(name, data, tmp_path):
    X, y = data
    if name == "color":
        X = X.repeat(3, axis=1)
    model = small(**CLASSIFIERS[name]).fit(X, y)
    ferkit.save(model, tmp_path / "m.ferkit")
    again = ferkit.load(tmp_path / "m.ferkit")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    plain = {k: str(v) for k, v in model.get_params().items() if k != "random_state"}
    assert {k: str(v) for k, v in again.get_params().items() if k != "random_state"} == plain
    np.testing.assert_equal(again.history_, model.history_)
    assert again.best_epoch_ == model.best_epoch_
    for parameter, before in zip(again.network_.parameters(), model.network_.parameters(), strict=True):
        assert parameter.requires_grad == before.requires_grad
    assert len(again.partial_fit(X, y).history_) == len(model.history_) + 1
    weights = sum(tensor.nbytes for tensor in model.network_.state_dict().values())
    assert (tmp_path / "m.ferkit").stat().st_size < weights + 100_000


@pytest.mark.parametrize("name", MODELS)
def test_pipelines_and_ensembles_come_back_as_they_were(name, data, tmp_path):
    X, y = data
    if name == "strings, resampled":
        X = [" ".join(map(str, row)) for row in X]
    if name == "several labels per image":
        y = np.c_[y == "happy", y == "sad"].astype(int)
    model = MODELS[name]().fit(X, y)
    ferkit.save(model, tmp_path / "m.ferkit")
    again = ferkit.load(tmp_path / "m.ferkit")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert str(again) == str(model)


def test_a_model_that_is_not_fitted_can_be_saved(tmp_path, data):
    ferkit.save(small(lr=0.01), tmp_path / "m.ferkit")
    model = ferkit.load(tmp_path / "m.ferkit")
    assert model.lr == 0.01
    assert not hasattr(model, "net_")
    model.fit(*data)


VALUES = {
    "not finite": [math.inf, -math.inf, math.nan],
    "nested": {"a": (1, [2.5, None, (True,)]), 3: Bunch(b="c")},
    "time": timedelta(hours=1.5),
    "slice": slice(1, None, 2),
    "numbers": [np.float32(0.1), np.int8(-3), np.uint16(7), np.bool_(True), np.str_("text")],
    "types": [np.dtype("float32"), np.dtype(object), np.int64, np.object_],
    "function": chi2,
    "texts": np.array([["a", "bcd"], ["é", ""]]),
    "objects": np.array([1, "a", None], dtype=object),
    "rows": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}


@pytest.mark.parametrize(
    ("given", "kind"), [([FERClassifier()], "a list"), ({}, "a dict"), (FERClassifier, "the class FERClassifier")]
)
def test_only_estimators_are_saved(given, kind, tmp_path):
    with pytest.raises(TypeError, match=f"Expected an estimator, got {kind}: save each model"):
        ferkit.save(given, tmp_path / "m.ferkit")
    assert not any(tmp_path.iterdir())


def test_paths_of_the_wrong_kind_are_named(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"got the directory .*: the model of a run is model\.ferkit in it"):
        ferkit.load(tmp_path)
    for path in (tmp_path, tmp_path / "missing" / "m.ferkit"):
        with pytest.raises(OSError, match="Expected a file in an existing directory"):
            ferkit.save(FERClassifier(), path)


def test_values_come_back_with_their_types(tmp_path):
    ferkit.save(FERClassifier(net_params=VALUES), tmp_path / "m.ferkit")
    again = ferkit.load(tmp_path / "m.ferkit").net_params
    np.testing.assert_equal(again, VALUES)
    for name, value in VALUES.items():
        parts = zip(again[name], value, strict=True) if isinstance(value, list) else [(again[name], value)]
        assert all(type(part) is type(before) for part, before in parts)
    for name in ("texts", "objects", "rows", "columns"):
        assert again[name].dtype == VALUES[name].dtype
    assert again["columns"].flags.f_contiguous


def test_paths_stay_paths(tmp_path):
    ferkit.save(small(weights=tmp_path / "w.safetensors"), tmp_path / "m.ferkit")
    assert ferkit.load(tmp_path / "m.ferkit").weights == tmp_path / "w.safetensors"


def test_an_object_that_occurs_twice_is_one_object_again(data, tmp_path):
    X, y = data
    voting = MODELS["voting"]().fit(X, y)
    ferkit.save(voting, tmp_path / "m.ferkit")
    again = ferkit.load(tmp_path / "m.ferkit")
    assert again.named_estimators_["a"] is again.estimators_[0]


@pytest.mark.parametrize("position", [0, 1, 10, 624])
def test_a_random_state_goes_on_where_it_was(position, tmp_path):
    random_state = np.random.RandomState(0)
    name, key, *_ = random_state.get_state()
    random_state.set_state((name, key, position, 1, 0.5))
    ferkit.save(small(random_state=random_state), tmp_path / "m.ferkit")
    again = ferkit.load(tmp_path / "m.ferkit").random_state
    assert again.normal(size=3).tolist() == random_state.normal(size=3).tolist()


def test_half_of_the_bytes_give_almost_the_same_probabilities(data, tmp_path):
    X, y = data
    model = small(backbone_params={"widths": (32, 64)}).fit(X, y)
    for half in (False, True):
        ferkit.save(model, tmp_path / f"{half}.ferkit", half=half)
    assert (tmp_path / "True.ferkit").stat().st_size < 0.6 * (tmp_path / "False.ferkit").stat().st_size
    again = ferkit.load(tmp_path / "True.ferkit")
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), atol=0.005)
    assert {parameter.dtype for parameter in again.network_.parameters()} == {torch.float32}


def test_settings_changed_after_fit_are_kept_apart_from_the_network(data, tmp_path):
    X, y = data
    model = small().fit(X, y).set_params(backbone="resnet18", backbone_params=None, tta=None)
    ferkit.save(model, tmp_path / "m.ferkit")
    again = ferkit.load(tmp_path / "m.ferkit")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.backbone == "resnet18"


def test_a_sampler_is_saved_without_the_images_it_has_seen(data, tmp_path):
    model = Pipeline([("sample", imblearn.SMOTE(k_neighbors=2)), ("classify", small())]).fit(*data)
    ferkit.save(model, tmp_path / "m.ferkit")
    assert (tmp_path / "m.ferkit").stat().st_size < 60_000
    assert data[0].nbytes > 100_000


def test_equal_models_give_equal_files(model, content, tmp_path):
    ferkit.save(model, tmp_path / "m.ferkit")
    assert (tmp_path / "m.ferkit").read_bytes() == content
    ferkit.save(ferkit.load(tmp_path / "m.ferkit"), tmp_path / "m.ferkit")
    assert (tmp_path / "m.ferkit").read_bytes() == content


def test_the_weights_are_a_safetensors_file_and_the_rest_is_text(model, content):
    members = unpack(content)
    assert set(members) == {"ferkit.json", "weights.safetensors", "README.md"}
    state = load_tensors(members["weights.safetensors"])
    for name, tensor in model.network_.state_dict().items():
        assert state[f"model.network_.{name}"].equal(tensor.cpu())
    assert "| classes | angry, disgust, fear, happy, neutral, sad, surprise |" in members["README.md"].decode()


def test_the_card_can_be_read_without_loading_the_model(model, tmp_path):
    for kind, saved in (
        ("FERClassifier", model),
        ("Pipeline", Pipeline([("a", ImageResizer(48)), ("b", ImageNormalizer()), ("c", model)])),
    ):
        ferkit.save(saved, tmp_path / "m.ferkit", card=" Trained on drawn faces.\n")
        head, table = ferkit.read_card(tmp_path / "m.ferkit").split("\n\n| | |\n| --- | --- |\n")
        assert head == f"# {kind}\n\nTrained on drawn faces."
        rows = dict(line.strip("| ").split(" | ") for line in table.splitlines())
        assert rows.pop("versions").startswith(f"ferkit {ferkit.__version__}, torch ")
        n_parameters = sum(parameter.numel() for parameter in model.network_.parameters())
        assert rows == {
            "backbone": "cnn",
            "parameters": f"{n_parameters:,}",
            "images": "48×48×1",
            "classes": "angry, disgust, fear, happy, neutral, sad, surprise",
            "epochs": "1",
        }
    for card, head in (("", "# FERClassifier"), ("# Mine\x1b[2J", "# Mine?[2J")):
        ferkit.save(small(), tmp_path / "m.ferkit", card=card)
        assert ferkit.read_card(tmp_path / "m.ferkit").startswith(f"{head}\n\n| | |\n| --- | --- |\n| versions |")
    (tmp_path / "other.ferkit").write_bytes(b"PK")
    with pytest.raises(ValueError, match="Expected a file that"):
        ferkit.read_card(tmp_path / "other.ferkit")


def test_what_cannot_be_saved_is_named(tmp_path):
    class Local(torch.nn.Module):
        pass

    path = tmp_path / "m.ferkit"
    with pytest.raises(TypeError, match=r"got a Callback at model.callbacks\[0\]"):
        ferkit.save(small(callbacks=[Callback()]), path)
    for backbone in (Local, type("Net", (torch.nn.Module,), {"__module__": "__main__"})):
        with pytest.raises(TypeError, match="register_backbone"):
            ferkit.save(FERClassifier(backbone), path)
    assert not path.exists()


def test_a_search_cannot_be_saved(tmp_path):
    pytest.importorskip("skops")
    path = tmp_path / "m.ferkit"
    search = GridSearchCV(small(), {"lr": [0.01]}, cv=2)
    with pytest.raises(TypeError, match="best_estimator_"):
        ferkit.save(search, path)
    assert not path.exists()


def test_other_estimators_need_trust(model, data, tmp_path):
    pytest.importorskip("skops")
    X, y = data
    pipeline = make_pipeline(NetworkFeatures(model), SVC()).fit(X, y)
    ferkit.save(pipeline, tmp_path / "m.ferkit")
    with pytest.raises(TypeError, match=r"pass trusted=\['sklearn.svm.SVC'\]"):
        ferkit.load(tmp_path / "m.ferkit")
    again = ferkit.load(tmp_path / "m.ferkit", trusted=["sklearn.svm.SVC"])
    assert (again.predict(X) == pipeline.predict(X)).all()


def test_estimators_that_can_crash_or_call_functions_need_trust(data, tmp_path):
    pytest.importorskip("skops")
    X, y = data[0], np.c_[data[1] == "happy", data[1] == "sad"].astype(int)
    for model in (
        OneHotEncoder().fit(X[:, :2]),
        FunctionTransformer(np.log1p),
        OneVsRestClassifier(LogisticRegression(max_iter=5)).fit(X[:, :20], y),
    ):
        ferkit.save(model, tmp_path / "m.ferkit")
        with pytest.raises(TypeError, match=type(model).__name__):
            ferkit.load(tmp_path / "m.ferkit")
        kind = type(model)
        module = kind.__module__.partition("._")[0]
        assert str(ferkit.load(tmp_path / "m.ferkit", trusted=[f"{module}.{kind.__name__}"])) == str(model)


def double(X):
    return 2 * X


def test_everything_in_an_estimator_of_skops_needs_trust(tmp_path):
    pytest.importorskip("skops")
    ferkit.save(FunctionTransformer(double), tmp_path / "m.ferkit")
    names = ["sklearn.preprocessing.FunctionTransformer", f"{__name__}.double"]
    with pytest.raises(
        TypeError, match=rf"FunctionTransformer contains {__name__}\.double\. If you trust these too, add"
    ):
        ferkit.load(tmp_path / "m.ferkit", trusted=names[:1])
    assert ferkit.load(tmp_path / "m.ferkit", trusted=names).transform(np.array([[3]])) == 6


def test_text_that_a_terminal_or_a_network_would_obey_is_not_saved(model, tmp_path):
    for text in ("\x1b[2Jhappy", "happy.png"):
        with pytest.raises(TypeError, match=r"rename it") as error:
            ferkit.save(small(class_weight={text: 1}), tmp_path / "m.ferkit")
        assert "\x1b" not in str(error.value)


def test_a_class_of_the_user_needs_trust(data, load_bytes, tmp_path):
    model = FERClassifier(CNN, backbone_params={"widths": (8,)}, max_epochs=1, random_state=0).fit(*data)
    ferkit.save(model, tmp_path / "own.ferkit")
    with pytest.raises(TypeError, match="register_backbone"):
        ferkit.load(tmp_path / "own.ferkit")
    again = ferkit.load(tmp_path / "own.ferkit", trusted=["ferkit.backbones._cnn.CNN"])
    np.testing.assert_array_equal(again.predict_proba(data[0]), model.predict_proba(data[0]))


def test_a_backbone_has_to_be_registered_first(data, load_bytes, tmp_path):
    model = small(backbone="own_net_of_the_tests", backbone_params=None).fit(*data)
    ferkit.save(model, tmp_path / "own.ferkit")
    content = (tmp_path / "own.ferkit").read_bytes()
    with pytest.raises(ValueError, match=r"register_backbone\('forgotten', …\)"):
        load_bytes(edit(content, lambda w: set_in(w, ["objects", 0, "net", "dict", 0, 1, "dict", 0, 1], "forgotten")))


def test_an_existing_file_survives_a_failed_save(model, content, tmp_path, monkeypatch):
    path = tmp_path / "m.ferkit"
    path.write_bytes(content)
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="free space"):
        ferkit.save(model, path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


# damaged and hostile files


def set_in(written, path, value):
    for key in path[:-1]:
        written = written[key]
    written[path[-1]] = value


def set_shape(written, *shape):
    fitted = written["objects"][0]["fitted"]
    fitted["image_shape_"], fitted["n_features_in_"] = {"tuple": shape}, math.prod(shape)


def test_truncated_files_are_refused(content, load_bytes):
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        ends = [info.header_offset for info in archive.infolist()] + [archive.start_dir]
    header = 30 + len("weights.safetensors")
    lengths = {0, 1, 4, *ends, *(end + 30 for end in ends), *(end + header for end in ends), len(content) - 22}
    lengths |= {length + change for length in lengths for change in (-1, 1)}
    for length in sorted(lengths | set(rng.integers(0, len(content), 200).tolist())):
        if 0 <= length < len(content):
            with pytest.raises(ValueError, match="damaged or of another kind"):
                load_bytes(content[:length])


def test_a_flipped_byte_is_noticed_or_harmless(content, load_bytes, model, data):
    rng = np.random.default_rng(0)
    expected = model.predict_proba(data[0][:5])
    noticed = 0
    for place in rng.integers(0, len(content), 200):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        try:
            again = load_bytes(bytes(damaged))
        except EXPECTED_ERRORS:
            noticed += 1
        else:
            np.testing.assert_array_equal(again.predict_proba(data[0][:5]), expected)
    assert noticed > 180


class Boom:
    def __reduce__(self):
        return exec, ("raise SystemExit('code ran')",)


NETWORK = ["objects", 0, "net", "dict", 0, 1, "dict"]  # place of the description of the module
PARAMS = [*NETWORK, 1, 1]
SETTINGS = ["objects", 0, "net", "dict", 3, 1, "dict"]
MORE = ["objects", 0, "net", "dict", 6, 1, "dict"]  # arguments of the optimizer and the loss


def append_in(written, path, value):
    for key in path:
        written = written[key]
    written.append(value)


def nested(depth):
    return b'{"format": 1, "objects": ' + b"[" * depth + b"]" * depth + b"}"


def wrong_header(members):
    """A header of safetensors that promises more than there is."""
    weights = members["weights.safetensors"]
    return {**members, "weights.safetensors": struct.pack("<Q", 2**60) + weights[8:]}


CLASSES = ["objects", 0, "fitted", "classes_", "array"]
HOSTILE = {
    "a pickle": lambda c: pickle.dumps(Boom()),
    "a pickle in place of the weights": lambda c: pack({**unpack(c), "weights.safetensors": pickle.dumps(Boom())}),
    "a pickle in place of the JSON": lambda c: pack({**unpack(c), "ferkit.json": pickle.dumps(Boom())}),
    "a PyTorch file": lambda c: pack({"archive/data.pkl": pickle.dumps(Boom())}),
    "a path out of the directory": lambda c: pack({**unpack(c), "../evil.py": b""}),
    "an absolute path": lambda c: pack({**unpack(c), "/tmp/evil.py": b""}),
    "a backslash": lambda c: pack({**unpack(c), "..\\evil.py": b""}),
    "two members of one name": lambda c: pack([*unpack(c).items(), ("ferkit.json", b"{}")]),
    "a missing member": lambda c: pack({"ferkit.json": unpack(c)["ferkit.json"]}),
    "compressed": lambda c: pack(unpack(c), compression=zipfile.ZIP_DEFLATED),
    "a zip bomb": lambda c: pack({**unpack(c), "ferkit.json": b" " * 10**8}, compression=zipfile.ZIP_DEFLATED),
    "a wrong checksum": lambda c: edit(c, lambda w: set_in(w, ["sha256", "weights.safetensors"], "0" * 64)),
    "no checksum": lambda c: edit(c, lambda w: w.pop("sha256")),
    "no format": lambda c: edit(c, lambda w: w.pop("format")),
    "a format that is no number": lambda c: edit(c, lambda w: set_in(w, ["format"], "1")),
    "a list in place of the JSON": lambda c: pack({**unpack(c), "ferkit.json": b"[]"}),
    "deep JSON": lambda c: pack({**unpack(c), "ferkit.json": nested(100_000)}),
    "JSON that is just not too deep": lambda c: pack({**unpack(c), "ferkit.json": nested(900)}),
    "JSON of huge numbers": lambda c: pack({**unpack(c), "ferkit.json": b'{"format": ' + b"9" * 10_000 + b"}"}),
    "a function": lambda c: edit(c, lambda w: set_in(w, ["model"], {"name": "os.getcwd"})),
    "a function as parameter": lambda c: edit(
        c, lambda w: set_in(w, ["objects", 0, "params", "callbacks"], {"name": "os.getcwd"})
    ),
    "a class that is not on the list": lambda c: edit(c, lambda w: set_in(w, ["objects", 0, "class"], "os.PathLike")),
    "a private name": lambda c: edit(c, lambda w: set_in(w, ["objects", 0, "class"], "ferkit.cli.main")),
    "an unknown type of value": lambda c: edit(c, lambda w: set_in(w, ["model"], {"build": 0})),
    "no model": lambda c: edit(c, lambda w: set_in(w, ["model"], 7)),
    "an object that refers to itself": lambda c: edit(
        c, lambda w: set_in(w, ["objects", 0, "params", "augment"], {"object": 0})
    ),
    "an unknown parameter": lambda c: edit(c, lambda w: set_in(w, ["objects", 0, "params", "magic"], 1)),
    "a bad parameter": lambda c: edit(c, lambda w: set_in(w, ["objects", 0, "params", "max_epochs"], -1)),
    "a method as attribute": lambda c: edit(c, lambda w: set_in(w, ["objects", 0, "fitted", "predict"], 1)),
    "its class as attribute": lambda c: edit(c, lambda w: set_in(w, ["objects", 0, "fitted", "__class__"], 1)),
    "a huge image": lambda c: edit(
        c, lambda w: set_in(w, ["objects", 0, "fitted", "image_shape_"], {"tuple": [10**6, 10**6, 1]})
    ),
    "another shape": lambda c: edit(
        c, lambda w: set_in(w, ["objects", 0, "fitted", "image_shape_"], {"tuple": [24, 48, 1]})
    ),
    "a huge image with as many features": lambda c: edit(c, lambda w: set_shape(w, 10**5, 10**5, 1)),
    "an image without pixels": lambda c: edit(c, lambda w: set_shape(w, 0, 48, 1)),
    "two channels": lambda c: edit(c, lambda w: set_shape(w, 48, 24, 2)),
    "an image of two dimensions": lambda c: edit(c, lambda w: set_shape(w, 48, 48)),
    "a huge network": lambda c: edit(c, lambda w: set_in(w, PARAMS, {"dict": [["widths", [10**6, 10**6]]]})),
    "a network without end": lambda c: edit(
        c, lambda w: set_in(w, PARAMS, {"dict": [["in_channels", 1], ["widths", [2, 2]], ["depth", 10**9]]})
    ),
    "a network of another size": lambda c: edit(
        c, lambda w: set_in(w, PARAMS, {"dict": [["in_channels", 1], ["widths", [8, 17]]]})
    ),
    "an argument that reads files": lambda c: edit(
        c, lambda w: set_in(w, PARAMS, {"dict": [["in_channels", 1], ["checkpoint_path", "/etc/passwd"]]})
    ),
    "an argument that downloads": lambda c: edit(
        c, lambda w: set_in(w, PARAMS, {"dict": [["in_channels", 1], ["pretrained", True]]})
    ),
    "layers without end": lambda c: edit(
        c,
        lambda w: (
            set_in(w, [*NETWORK, 0, 1], "timm/vit_tiny_patch16_224"),
            set_in(w, PARAMS, {"dict": [["in_channels", 1], ["depth", 10**8]]}),
        ),
    ),
    "classes without end": lambda c: edit(c, lambda w: set_in(w, [*NETWORK, 4, 1, "dict", 0, 1], 5 * 10**7)),
    "two networks with the same weights": lambda c: edit(c, lambda w: w["objects"].append(w["objects"][0])),
    "long texts": lambda c: edit(c, lambda w: set_in(w, [*CLASSES, "values"], ["x" * 100_000, *map(str, range(1000))])),
    "a precision that is another function": lambda c: edit(c, lambda w: set_in(w, [*SETTINGS, 6, 1], "load")),
    "control characters": lambda c: edit(c, lambda w: set_in(w, [*CLASSES, "values", 0], "\x1b[2J")),
    "a network of an earlier object": lambda c: edit(
        c, lambda w: set_in(w, ["objects", 0, "fitted", "net_"], {"dict": []})
    ),
    "a billion views": lambda c: edit(c, lambda w: set_in(w, ["objects", 0, "params", "tta"], 10**9)),
    "a billion views as a number of NumPy": lambda c: edit(
        c, lambda w: set_in(w, ["objects", 0, "params", "tta"], {"scalar": ["<i8", 10**9]})
    ),
    "a hub": lambda c: edit(c, lambda w: set_in(w, [*NETWORK, 0, 1], "timm/hf-hub:someone/something")),
    "nan": lambda c: edit(c, tensors=lambda s: {name: part * torch.nan for name, part in s.items()}),
    "infinity": lambda c: edit(
        c, tensors=lambda s: {n: part * torch.inf if part.is_floating_point() else part for n, part in s.items()}
    ),
    "another shape of weights": lambda c: edit(c, tensors=lambda s: {n: part.flatten() for n, part in s.items()}),
    "integer weights": lambda c: edit(c, tensors=lambda s: {n: part.int() for n, part in s.items()}),
    "swapped weights": lambda c: edit(c, tensors=lambda s: dict(zip(s, [*s.values()][::-1], strict=True))),
    "no weights": lambda c: edit(c, tensors=lambda s: {}),
    "a wrong header": lambda c: pack(wrong_header(unpack(c))),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(60)
def test_a_hostile_file_raises_an_error(name, content, load_bytes, tmp_path):
    hostile = HOSTILE[name](content)
    tracemalloc.start()
    try:
        with pytest.raises(EXPECTED_ERRORS, match=r"m\.ferkit"):
            load_bytes(hostile)
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20 + 5 * len(hostile)
    finally:
        tracemalloc.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["m.ferkit"]


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ([*NETWORK, 4, 1, "dict"], "checkpoint_path", "/etc/passwd"),
        ([*NETWORK, 4, 1, "dict"], "pretrained", True),
        (MORE, "module__checkpoint_path", "/etc/passwd"),
        (MORE, "module__pretrained", True),
        (MORE, "compile", True),
    ],
)
def test_no_place_in_a_file_passes_arguments_to_a_network_unchecked(place, name, value, data, tmp_path, monkeypatch):
    model = small(backbone="noting_net_of_the_tests", backbone_params=None).fit(*data)
    ferkit.save(model, tmp_path / "m.ferkit")
    content = edit((tmp_path / "m.ferkit").read_bytes(), lambda w: append_in(w, place, [name, value]))
    (tmp_path / "m.ferkit").write_bytes(content)
    ARGUMENTS.clear()
    monkeypatch.setattr("torch.compile", lambda module, **_: ARGUMENTS.append({"compiled": True}) or module)
    with pytest.raises(EXPECTED_ERRORS, match=r"m\.ferkit"):
        ferkit.load(tmp_path / "m.ferkit")
    assert not any(ARGUMENTS)


def test_messages_about_a_hostile_file_do_not_control_the_terminal(content, load_bytes):
    for change in (
        lambda w: set_in(w, ["objects", 0, "class"], "evil\x1b[2J.Kind"),
        lambda w: set_in(w, ["objects", 0, "fitted", "__\x1b[2J"], 1),
        lambda w: (set_in(w, ["format"], 99), set_in(w, ["versions", "ferkit"], "\x1b[2J")),
        lambda w: set_in(w, [*SETTINGS, 12, 1], "\x1b[2J"),
    ):
        with pytest.raises(EXPECTED_ERRORS) as error:
            load_bytes(edit(content, change))
        assert "\x1b" not in str(error.value)


@pytest.fixture(scope="module")
def stacked(model, data, tmp_path_factory):
    """Bytes of a file in which a network gets the labels that another estimator predicts, here "label"."""
    X, y = data
    stacking = StackingClassifier([("a", DummyClassifier().fit(X, y))], LogisticRegression(), cv="prefit").fit(X, y)
    stacking.estimators_ = [DummyClassifier().fit(X, np.full(len(X), "label"))]
    stacking.stack_method_, stacking.final_estimator_ = ["predict"], model
    path = tmp_path_factory.mktemp("stacked") / "m.ferkit"
    ferkit.save(stacking, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "path", ["face.png", {"dict": [["bytes", None], ["path", "face"]]}, {"path": "face"}], ids=["text", "dict", "path"]
)
def test_labels_cannot_make_a_network_read_files(path, stacked, load_bytes):
    load_bytes(stacked)
    members = unpack(stacked)
    text = members["ferkit.json"].decode().replace('"kind": "U"', '"kind": "O"')
    members["ferkit.json"] = text.replace('"label"', json.dumps(path))
    with pytest.raises(EXPECTED_ERRORS, match=r"m\.ferkit"):
        load_bytes(pack(members))


def find_entry(written, kind):
    return next(entry for entry in written["objects"] if entry["class"].endswith(kind))


STATES = {
    "a method that trains": ("StackingClassifier", "stack_method_", ["fit_transform"]),
    "a method that would train": ("StackingClassifier", "stack_method", "fit_transform"),
    "a function in place of a method": ("DummyClassifier", "predict", {"type": "<f8"}),
    "a function of the list": ("DummyClassifier", "predict", {"name": "sklearn.feature_selection.chi2"}),
    "a huge image": ("DummyClassifier", "image_shape_", [10**6, 10**6, 1]),
    "a huge size": ("DummyClassifier", "_size", [10**6, 10**6]),
    "a random state without end": (
        "DummyClassifier",
        "random_state",
        {
            "randomstate": {
                "dict": [
                    ["bit_generator", "MT19937"],
                    ["state", {"dict": [["key", [1] * 624], ["pos", 2**30]]}],
                    ["has_gauss", 0],
                    ["gauss", 0.0],
                ]
            }
        },
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_a_hostile_state_raises_an_error(name, stacked, load_bytes):
    kind, attribute, code = STATES[name]
    with pytest.raises(EXPECTED_ERRORS, match=r"m\.ferkit"):
        load_bytes(edit(stacked, lambda w: set_in(find_entry(w, kind), ["state", attribute], code)))


def test_skops_reads_nothing_that_is_not_trusted(content, load_bytes, monkeypatch):
    pytest.importorskip("skops")
    monkeypatch.setattr("skops.io.get_untrusted_types", lambda **_: pytest.fail("skops has read the file"))
    entry = {"class": "sklearn.feature_selection.chi2", "skops": "weights.safetensors"}
    with pytest.raises(TypeError, match="chi2"):
        load_bytes(edit(content, lambda w: w["objects"].insert(0, entry)))


def test_a_file_cannot_start_many_processes(data, load_bytes, tmp_path):
    X, y = data
    model = BaggingClassifier(DummyClassifier(), n_estimators=2).fit(X[:, :5], y)
    ferkit.save(model.set_params(n_jobs=10_000), tmp_path / "m.ferkit")
    assert ferkit.load(tmp_path / "m.ferkit").n_jobs == os.cpu_count()


def test_a_file_cannot_ask_for_huge_images(load_bytes, tmp_path):
    ferkit.save(ImageResizer((480, 640)), tmp_path / "resizer.ferkit")
    content = (tmp_path / "resizer.ferkit").read_bytes()
    assert load_bytes(content).size == (480, 640)
    with pytest.raises(ValueError, match="images of the size"):
        load_bytes(edit(content, lambda w: set_in(w, ["objects", 0, "params", "size"], [10**5, 10**5])))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_stacked_estimators_can_be_called_by_each_method_that_predicts(method, stacked, load_bytes):
    again = load_bytes(edit(stacked, lambda w: set_in(w["objects"][-1], ["state", "stack_method_"], [method])))
    assert again.stack_method_ == [method]


def test_a_model_from_a_machine_with_another_device_uses_the_cpu(content, load_bytes, model, data):
    again = load_bytes(edit(content, lambda w: set_in(w, [*SETTINGS, 12, 1], "hpu")))
    np.testing.assert_array_equal(again.predict(data[0]), model.predict(data[0]))


def test_the_command_prints_an_error_for_a_hostile_file(content, tmp_path, capsys):
    from PIL import Image

    from ferkit.cli import main

    Image.new("L", (48, 48)).save(tmp_path / "face.png")
    for name in ("a pickle", "a function", "a huge network", "nan"):
        (tmp_path / "m.ferkit").write_bytes(HOSTILE[name](content))
        with pytest.raises(SystemExit) as end:
            main(["predict", str(tmp_path / "m.ferkit"), str(tmp_path / "face.png")])
        assert end.value.code == 1
        assert "m.ferkit" in capsys.readouterr().err


def test_a_loaded_model_writes_no_checkpoints_where_its_file_says(data, tmp_path):
    ferkit.save(small(checkpoint=str(tmp_path / "theirs")), tmp_path / "m.ferkit")
    ferkit.load(tmp_path / "m.ferkit").fit(*data)
    assert [path.name for path in tmp_path.iterdir()] == ["m.ferkit"]


def test_modules_that_a_file_names_are_not_imported(content, load_bytes, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('code ran')")
    monkeypatch.syspath_prepend(tmp_path)
    places = (["model"], ["objects", 0, "params", "augment"], [*NETWORK, 0, 1], ["objects", 0, "fitted", "classes_"])
    for place in places:
        with pytest.raises(TypeError, match=r"evil_module\.run"):
            load_bytes(edit(content, lambda w, place=place: set_in(w, place, {"name": "evil_module.run"})))
    with pytest.raises(TypeError, match=r"evil_module\.Run"):
        load_bytes(edit(content, lambda w: set_in(w, ["objects", 0, "class"], "evil_module.Run")))
    assert "evil_module" not in sys.modules


# versions


@pytest.mark.parametrize("path", sorted(DATA.glob("*.ferkit")), ids=lambda path: path.stem)
def test_files_of_earlier_versions_load(path):
    model = ferkit.load(path)
    with np.load(path.with_suffix(".npz")) as stored:
        np.testing.assert_allclose(model.predict_proba(stored["images"]), stored["y_proba"], atol=1e-4)


def test_there_is_a_file_of_the_present_format(content):
    formats = [json.loads(unpack(path.read_bytes())["ferkit.json"])["format"] for path in DATA.glob("*.ferkit")]
    assert json.loads(unpack(content)["ferkit.json"])["format"] in formats


def test_a_file_of_a_newer_version_says_so(content, load_bytes):
    def make_newer(written):
        written["format"] = 99
        written["versions"]["ferkit"] = "9.9"

    with pytest.raises(ValueError, match=r"ferkit 9\.9 wrote it in format 99.*upgrade ferkit"):
        load_bytes(edit(content, make_newer))


@pytest.mark.parametrize("package", ["ferkit", "torch", "scikit-learn"])
def test_a_pickle_of_other_versions_names_the_safe_format(package, model, tmp_path):
    state = model.__getstate__()
    state["_versions"] = {**state["_versions"], package: "0.0"}
    with pytest.warns(UserWarning, match=rf"'{package}': '0\.0'.*ferkit\.save"):
        FERClassifier.__new__(FERClassifier).__setstate__(state)
    joblib.dump(model, tmp_path / "m.joblib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        joblib.load(tmp_path / "m.joblib")


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    written = DATA / "format1.ferkit"
    ferkit.save(small(precision="float32", max_epochs=3, batch_size=16).fit(*_faces()), written)
    images = make_faces(5, random_state=1).data
    np.savez_compressed(written.with_suffix(".npz"), images=images, y_proba=ferkit.load(written).predict_proba(images))


def test_a_link_stays_a_link_and_a_file_keeps_its_permissions(fitted, tmp_path):
    target = tmp_path / "real.ferkit"
    target.touch(mode=0o600)
    mode = target.stat().st_mode
    (tmp_path / "link.ferkit").symlink_to(target)
    ferkit.save(fitted, tmp_path / "link.ferkit")
    assert (tmp_path / "link.ferkit").is_symlink()
    assert ferkit.load(target).classes_.tolist() == fitted.classes_.tolist()
    assert target.stat().st_mode == mode


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_written_to(fitted, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        content = pool.submit((tmp_path / "pipe").read_bytes)
        ferkit.save(fitted, tmp_path / "pipe")
        assert content.result(timeout=60)[:2] == b"PK"
    assert (tmp_path / "pipe").is_fifo()
