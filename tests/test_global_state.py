"""No public function or method changes a setting of the process: of PyTorch, NumPy, matplotlib, logging and others.

A new public name needs an entry in ``CALLS``.
"""

import inspect
import logging
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import warnings
from functools import cached_property
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from global_state import compare, read_state
from PIL import Image

import ferkit
from ferkit import (
    FERClassifier,
    FERRegressor,
    ImageAugmenter,
    ImageNormalizer,
    ImageResizer,
    NetworkFeatures,
    Pipeline,
    PixelParser,
    backbones,
    comparison,
    datasets,
    display,
    evaluate,
    hub,
    models,
    onnx,
    persistence,
    photos,
    recipes,
    report,
    runs,
    serving,
)

TINY = {"backbone_params": {"widths": (8, 16)}, "max_epochs": 1, "batch_size": 32, "random_state": 0}


@pytest.fixture
def unusual_state(pyplot_state, monkeypatch, recwarn):
    """Values other than the defaults, because a function could also reset a setting."""
    threads, gradients = torch.get_num_threads(), torch.is_grad_enabled()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("high")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="a filter of the user's")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**8)
    with np.errstate(under="warn"), np.printoptions(precision=3), sklearn.config_context(print_changed_only=False):
        yield
    logging.root.setLevel(level)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    torch.set_grad_enabled(gradients)
    torch.set_num_threads(threads)


# the calls


VOTES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]
OF_CODE = [4, 5, 6, 1, 3, 2, 0]  # places in VOTES of FER2013's emotions


class Given:
    """Data, models, results and files that the calls share."""

    def __init__(self, model, folder):
        # their imports change the environment, sys.path and loggers
        for package in ("cv2", "huggingface_hub.hf_api", "onnxruntime.quantization"):
            pytest.importorskip(package)
        multiprocessing.get_start_method()  # torch.export asks for it, which makes the default final
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))  # older versions of PyTorch set it at an export
        self.model, self.folder = model, folder
        self.faces = faces = datasets.make_faces(70, as_frame=True, random_state=1)
        self.regressor = FERRegressor(**TINY).fit(faces.data, faces.traits["valence"])
        self.X, self.y, self.strings = faces.data, faces.target_names[faces.target], faces.frame["pixels"]
        self.table, self.votes, self.home = folder / "fer2013.csv", folder / "fer2013new.csv", folder / "home"
        faces.frame.to_csv(self.table, index=False)
        votes = pd.DataFrame(10 * np.eye(10, dtype=int)[np.array(OF_CODE)[faces.target]], columns=VOTES)
        votes.insert(0, "Usage", faces.usage)
        votes.insert(1, "Image name", [f"fer{row:07d}.png" for row in range(len(votes))])
        votes.to_csv(self.votes, index=False)
        (self.home / "fer2013").mkdir(parents=True)
        shutil.copy(self.table, self.home / "fer2013")
        ferkit.save(model, folder / "model.ferkit")
        self.report = evaluate(model, self.X, self.y)
        self.images = torch.zeros(2, 1, 48, 48)
        self.cnn, self.vgg = backbones.CNN(num_classes=7).eval(), backbones.VGGFER(num_classes=7).eval()
        self.summary = backbones.summarize(self.cnn, (1, 48, 48))

    @cached_property
    def onnx(self):
        ferkit.export(self.model, self.folder / "model.onnx")
        return ferkit.load(self.folder / "model.onnx")

    @cached_property
    def sets(self):
        """One face in the layout of each data set."""
        folder = self.folder / "sets"
        texts = {
            "EmoLabel/list_patition_label.txt": "train_00001.jpg 5",
            "training.csv": "1/a.jpg,0,0,40,40,1;2,3,0,0",
            "Emotion/S005/001/S005_001_00000011_emotion.txt": "3.0000000e+00",
            "label.lst": "b.jpg 0 0 0 40 40 90 3",
        }
        images = (
            *("aligned/train_00001_aligned.jpg", "1/a.jpg", "images/S005/001/S005_001_00000011.png", "origin/b.jpg"),
            *("KA.AN1.39.tiff", "folder/glad/1.png"),
        )
        for name in (*texts, *images):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
        for name in images:
            Image.fromarray(self.faces.images[0]).save(folder / name)
        return folder

    @cached_property
    def photo(self):
        photo = np.full((120, 200, 3), 90, np.uint8)
        photo[20:100, 60:140] = np.asarray(Image.fromarray(self.faces.images[0]).resize((80, 80)))[..., None]
        return photo

    @cached_property
    def png(self):
        Image.fromarray(self.photo).save(self.folder / "photo.png")
        return self.folder / "photo.png"

    @cached_property
    def video(self):
        cv2 = pytest.importorskip("cv2")
        path = str(self.folder / "video.avi")
        writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 10, (200, 120))
        for _ in range(3):
            writer.write(self.photo)
        writer.release()
        return path

    @cached_property
    def table_of_photo(self):
        return photos.analyze(self.photo, self.model, boxes=[[60, 20, 80, 80]])

    @cached_property
    def errors(self):
        return datasets.find_label_errors(self.y, self.model.predict_proba(self.X))

    @cached_property
    def run(self):  # the first test that needs it trains, and sees whether that changes the state
        return runs.train_run(FERClassifier(**TINY), self.faces, self.folder / "run")


@pytest.fixture(scope="module")
def given(fitted, tmp_path_factory):
    return Given(fitted, tmp_path_factory.mktemp("given"))


def build(network):
    with torch.random.fork_rng([]):  # as every module of PyTorch, networks draw their weights from its stream
        return network(num_classes=7)


def refuse_address(given):
    with pytest.raises(OSError, match="address of this machine"):  # a server that runs configures uvicorn's loggers
        serving.serve(serving.create_app(given.model), "203.0.113.1")


def refuse_runtime(given):
    with pytest.raises(ValueError, match="Expected"):  # npm would download the right one
        serving.export_web(given.folder / "page", runtime=given.table)


def refuse_training(given):
    with pytest.raises(TypeError, match="only predicts"):
        given.onnx.fit(given.X, given.y)


def refuse_upload(given):
    with pytest.raises(TypeError, match="Expected an estimator"):
        hub.push_to_hub("model.joblib", "user/name")


def refuse_download(given):
    from huggingface_hub.errors import HFValidationError

    with pytest.raises(HFValidationError):  # without a request
        hub.load_from_hub("no repository")


CALLS = {
    "FERClassifier": lambda g: FERClassifier(**TINY),
    "FERClassifier.fit": lambda g: FERClassifier(validation_fraction=0.2, verbose=1, **TINY).fit(g.X, g.y),
    "FERClassifier.partial_fit": lambda g: FERClassifier(**TINY).partial_fit(g.X, g.y, classes=np.unique(g.y)),
    "FERClassifier.predict": lambda g: g.model.predict(g.X),
    "FERClassifier.predict_proba": lambda g: g.model.predict_proba(g.X / np.float32(255)),
    "FERClassifier.predict_log_proba": lambda g: g.model.predict_log_proba(g.faces.images),
    "FERClassifier.score": lambda g: g.model.score(g.X, g.y),
    "FERRegressor": lambda g: FERRegressor(**TINY),
    "FERRegressor.fit": lambda g: FERRegressor(validation_fraction=0.2, verbose=1, **TINY).fit(
        g.X, g.faces.traits["valence"]
    ),
    "FERRegressor.predict": lambda g: g.regressor.predict(g.X),
    "FERRegressor.score": lambda g: g.regressor.score(g.X, g.faces.traits["valence"]),
    "FERRegressor.get_params": lambda g: g.regressor.get_params(),
    "FERRegressor.set_params": lambda g: FERRegressor(**TINY).set_params(tta=2),
    "FERClassifier.get_params": lambda g: g.model.get_params(),
    "FERClassifier.set_params": lambda g: FERClassifier(**TINY).fit(g.X, g.y).set_params(tta=2).predict(g.X),
    "ImageAugmenter": lambda g: ImageAugmenter(blur=1, noise=1)(g.images, generator=torch.Generator()),
    "ImageAugmenter.fit_resample": lambda g: ImageAugmenter(random_state=0).fit_resample(g.X, g.y),
    "ImageNormalizer": lambda g: ImageNormalizer(),
    "ImageNormalizer.fit": lambda g: ImageNormalizer().fit(g.X),
    "ImageNormalizer.transform": lambda g: ImageNormalizer(method="equalize").fit_transform(g.X),
    "ImageNormalizer.inverse_transform": lambda g: ImageNormalizer().fit(g.X).inverse_transform(g.X),
    "ImageResizer": lambda g: ImageResizer(24),
    "ImageResizer.fit": lambda g: ImageResizer(24).fit(g.X),
    "ImageResizer.transform": lambda g: ImageResizer(24).fit_transform(g.X),
    "NetworkFeatures": lambda g: NetworkFeatures(g.model),
    "NetworkFeatures.fit": lambda g: NetworkFeatures(g.model).fit(g.X),
    "NetworkFeatures.transform": lambda g: NetworkFeatures(g.model, precision="bfloat16").fit_transform(g.X),
    "PixelParser": lambda g: PixelParser(),
    "PixelParser.fit": lambda g: PixelParser().fit(g.strings),
    "PixelParser.transform": lambda g: PixelParser().fit_transform(g.strings),
    "Pipeline": lambda g: (
        Pipeline([("parse", PixelParser()), ("classify", FERClassifier(**TINY))]).fit(g.strings, g.y).predict(g.strings)
    ),
    "evaluate": lambda g: evaluate(g.model, g.X, g.y, X_train=g.X, groups=g.y),
    "save": lambda g: ferkit.save(g.model, g.folder / "again.ferkit"),
    "load": lambda g: ferkit.load(g.folder / "model.ferkit").predict(g.X),
    "load_model": lambda g: ferkit.load_model().predict(g.X),
    "list_models": lambda g: models.list_models(),
    "read_model_card": lambda g: models.read_model_card(),
    "read_card": lambda g: ferkit.read_card(g.folder / "model.ferkit"),
    "load_from_hub": refuse_download,
    "push_to_hub": refuse_upload,
    # backbones
    "CNN": lambda g: build(backbones.CNN),
    "CNN.forward": lambda g: g.cnn(g.images),
    "VGGFER": lambda g: build(backbones.VGGFER),
    "VGGFER.forward": lambda g: g.vgg(g.images),
    "Backbone": lambda g: backbones.Backbone(backbones.CNN),
    "Layer": lambda g: g.summary.layers[0],
    "Summary": lambda g: str(g.summary),
    "find_sizes": lambda g: backbones.find_sizes(backbones.CNN, in_channels=1),
    "list_backbones": lambda g: backbones.list_backbones(),
    "register_backbone": lambda g: backbones.register_backbone("registered by a test", backbones.CNN),
    "resolve_backbone": lambda g: backbones.resolve_backbone("resnet18"),
    "summarize": lambda g: backbones.summarize(g.cnn, (1, 48, 48)),
    # data sets
    "Duplicates": lambda g: str(datasets.find_duplicates(g.X)),
    "Duplicates.to_dict": lambda g: datasets.find_duplicates(g.X).to_dict(),
    "find_duplicates": lambda g: datasets.find_duplicates(g.X, g.y),
    "LabelErrors": lambda g: str(g.errors),
    "LabelErrors.to_dict": lambda g: g.errors.to_dict(),
    "LabelErrors.to_frame": lambda g: g.errors.to_frame(),
    "find_label_errors": lambda g: datasets.find_label_errors(g.y, g.model.predict_proba(g.X)),
    "fetch_fer2013": lambda g: datasets.fetch_fer2013(data_home=g.home),
    "get_data_home": lambda g: datasets.get_data_home(g.home),
    "load_fer2013": lambda g: datasets.load_fer2013(g.table, errors="drop"),
    "load_ferplus": lambda g: datasets.load_ferplus(g.votes, fer2013=g.table),
    "load_affectnet": lambda g: datasets.load_affectnet(g.sets),
    "load_ckplus": lambda g: datasets.load_ckplus(g.sets),
    "load_expw": lambda g: datasets.load_expw(g.sets),
    "load_folder": lambda g: datasets.load_folder(g.sets / "folder"),
    "load_jaffe": lambda g: datasets.load_jaffe(g.sets),
    "load_rafdb": lambda g: datasets.load_rafdb(g.sets),
    "harmonize": lambda g: datasets.harmonize(g.faces, "ferplus"),
    "corrupt": lambda g: [
        datasets.corrupt(g.X, kind, random_state=0) for kind in ("blur", "jpeg", "light", "occlusion", "noise")
    ],
    "make_faces": lambda g: datasets.make_faces(20, as_frame=True, random_state=0),
    "sample_faces": lambda g: datasets.sample_faces(20, random_state=0),
    # reports and runs
    "Comparison": lambda g: str(report.compare_reports(g.report, g.report)),
    "compare_reports": lambda g: report.compare_reports(g.report, g.report),
    "evaluate_corruptions": lambda g: report.evaluate_corruptions(g.model, g.X, g.y, severities=[3]),
    "evaluate_sets": lambda g: report.evaluate_sets({"model": g.model}, {"drawn": g.faces}),
    "compare_folds": lambda g: comparison.compare_folds({"a": [0.5, 0.6], "b": [0.6, 0.6]}),
    "compare_seeds": lambda g: comparison.compare_seeds({"a": [g.report, g.report], "b": g.report}),
    "Report": lambda g: (str(g.report), g.report._repr_html_()),
    "Report.from_predictions": lambda g: report.Report.from_predictions(g.y, g.y[::-1]),
    "Report.from_json": lambda g: report.Report.from_json(g.report.to_json()),
    "Report.to_dict": lambda g: g.report.to_dict(),
    "Report.to_frame": lambda g: g.report.to_frame(),
    "Report.to_html": lambda g: g.report.to_html(
        g.folder / "report.html", images=g.faces.images, history=g.model.history_, details={"Settings": {"lr": 1}}
    ),
    "Report.to_json": lambda g: g.report.to_json(g.folder / "report.json"),
    "Run": lambda g: str(g.run),
    "Run.matches": lambda g: g.run.matches(g.model),
    "Run.read": lambda g: runs.Run.read(g.run.path),
    "Run.read_report": lambda g: g.run.read_report(),
    "compare_pairs": lambda g: runs.compare_pairs({"a": [g.run], "b": [g.run]}),
    "compare_runs": lambda g: runs.compare_runs([g.run]),
    "train_run": lambda g: g.run,
    # ONNX and recipes
    "export": lambda g: ferkit.export(g.model, g.folder / "int8.onnx", quantize=g.X),
    "OnnxClassifier": lambda g: g.onnx,
    "OnnxClassifier.fit": refuse_training,
    "OnnxClassifier.predict": lambda g: g.onnx.predict(g.X),
    "OnnxClassifier.predict_proba": lambda g: g.onnx.predict_proba(g.X),
    "OnnxClassifier.prepare": lambda g: g.onnx.prepare(g.X),
    "OnnxClassifier.run": lambda g: g.onnx.run(g.onnx.prepare(g.X)),
    "OnnxClassifier.score": lambda g: g.onnx.score(g.X, g.y),
    "OnnxClassifier.get_params": lambda g: g.onnx.get_params(),
    "OnnxClassifier.set_params": lambda g: g.onnx.set_params(batch_size=8),
    "make_classifier": lambda g: recipes.make_classifier("fast"),
    # photos
    "Faces": lambda g: photos.Faces(*map(np.empty, ((0, 4), (0, 5, 2), (0,)))),
    "analyze": lambda g: photos.analyze([g.photo, g.faces.images[0]], g.model, verbose=1),
    "analyze_video": lambda g: [*photos.analyze_video(g.video, g.model)],
    "annotate_photos": lambda g: photos.annotate_photos(
        [g.png], photos.analyze(g.png, g.model), g.folder / "annotated"
    ),
    "annotate_video": lambda g: photos.annotate_video(
        g.video, photos.analyze(g.video, g.model), g.folder / "annotated.avi"
    ),
    "crop_faces": lambda g: photos.crop_faces(g.photo, [[60, 20, 80, 80]]),
    "detect_faces": lambda g: photos.detect_faces(g.photo),
    "draw_faces": lambda g: photos.draw_faces(g.photo, g.table_of_photo),
    "watch": lambda g: next(photos.watch(pytest.importorskip("cv2").VideoCapture(g.video), g.model)),
    # web server
    "create_app": lambda g: serving.create_app(g.model),
    "export_web": refuse_runtime,
    "serve": refuse_address,
}

# Displays open a figure with pyplot, as scikit-learn's displays do, and change nothing else.
DISPLAYS = {
    "AugmentationDisplay": lambda g: display.AugmentationDisplay.from_estimator(
        ImageAugmenter(), g.faces.images[0], n_draws=2
    ),
    "BackboneDisplay": lambda g: display.BackboneDisplay(g.summary, title="CNN").plot(),
    "ClassDistributionDisplay": lambda g: display.ClassDistributionDisplay.from_targets(
        {"all": g.y}, labels=g.faces.target_names
    ),
    "ClassScoresDisplay": lambda g: display.ClassScoresDisplay(g.report.to_frame()).plot(),
    "ComparisonDisplay": lambda g: display.ComparisonDisplay(runs.compare_runs([g.run])).plot(),
    "ConfusionDisplay": lambda g: display.ConfusionDisplay.from_estimator(g.model, g.X, g.y).most_confused(),
    "ConfusionDisplay.from_predictions": lambda g: display.ConfusionDisplay.from_predictions(g.y, g.y[::-1]),
    **{
        f"ExplanationDisplay by {method}": lambda g, method=method: display.ExplanationDisplay.from_estimator(
            g.model, g.X[:2], method=method
        )
        for method in ("grad_cam", "occlusion", "integrated_gradients")
    },
    "FacesDisplay": lambda g: display.FacesDisplay.from_data(g.faces.images, g.y, n_columns=2),
    "FilterDisplay": lambda g: display.FilterDisplay.from_estimator(g.model),
    "GroupScoresDisplay": lambda g: display.GroupScoresDisplay(
        evaluate(g.model, g.X, g.y, groups=g.y).per_group
    ).plot(),
    "HeatmapDisplay": lambda g: display.HeatmapDisplay(
        report.evaluate_sets({"model": g.model}, {"drawn": g.faces}), rows="model", columns="tested_on"
    ).plot(),
    "HistoryDisplay": lambda g: display.HistoryDisplay.from_estimator(g.model),
    "LabelErrorsDisplay": lambda g: display.LabelErrorsDisplay.from_errors(g.errors, g.X),
    "PhotoDisplay": lambda g: display.PhotoDisplay(g.photo, g.table_of_photo).plot(),
    "TimelineDisplay": lambda g: display.TimelineDisplay(photos.analyze(g.video, g.model)).plot(),
    "PrecisionRecallDisplay": lambda g: display.PrecisionRecallDisplay.from_estimator(g.model, g.X, g.y),
    "PredictionsDisplay": lambda g: display.PredictionsDisplay.from_estimator(g.model, g.X, g.y, n_images=4),
    "ReliabilityDisplay": lambda g: display.ReliabilityDisplay.from_estimator(g.model, g.X, g.y),
    "RocDisplay": lambda g: display.RocDisplay.from_estimator(g.model, g.X, g.y),
}


def list_public_names():
    """Yield the name of each public function and class, and for classes outside of ``display`` of each method."""
    for module in (
        *(ferkit, backbones, comparison, datasets, display, hub, models, onnx, persistence, photos, recipes),
        *(report, runs, serving),
    ):
        for name in module.__all__:
            value = getattr(module, name)
            yield name
            if inspect.isclass(value) and value.__module__.startswith("ferkit.") and module is not display:
                for owner in value.__mro__:
                    is_own = owner.__module__.startswith("ferkit.")
                    methods = [key for key, part in vars(owner).items() if is_own and callable(getattr(value, key))]
                    # scikit-learn adds the methods set_…_request
                    yield from (f"{name}.{key}" for key in methods if key[0] != "_" and not key.endswith("_request"))


def test_every_public_name_has_a_call():
    assert set(list_public_names()) <= CALLS.keys() | {name.split()[0] for name in DISPLAYS}


@pytest.mark.parametrize("name", CALLS)
def test_calls_change_no_global_state(name, given, unusual_state):
    before = read_state()
    CALLS[name](given)
    compare(before, read_state())


def test_the_cpu_is_seeded_without_other_devices(given, monkeypatch):
    def refuse(seed):
        raise AssertionError("Expected no change of the GPUs' random streams.")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    model = FERClassifier(tta=2, device="cpu", augment=[torch.nn.Identity()], **TINY).fit(given.X, given.y)
    model.predict(given.X)
    NetworkFeatures(model).fit(given.X)


@pytest.mark.parametrize("name", DISPLAYS)
def test_displays_only_open_a_figure(name, given, unusual_state):
    if name.startswith("ExplanationDisplay"):
        pytest.importorskip("captum")
    before = read_state()
    DISPLAYS[name](given)
    compare(before, read_state(), allowed=["figures"])
    assert plt.get_fignums()[:-1] == before["figures"]


IMPORT = """
import sys
from importlib import import_module
sys.path.insert(0, {tests!r})
from global_state import compare, read_state
# these change warning filters and loggers
for name in ("imblearn.pipeline", "joblib", "safetensors.torch", "skorch", "torchvision.transforms.v2", "typer"):
    import_module(name)
before = read_state()
for name in {modules!r}:
    import_module(name)
compare(before, read_state())
"""


def test_importing_changes_no_global_state():
    folder = Path(ferkit.__file__).parent
    modules = [".".join(path.relative_to(folder.parent).with_suffix("").parts) for path in folder.rglob("*.py")]
    modules = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    script = IMPORT.format(tests=str(Path(__file__).parent), modules=modules)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_importing_the_package_imports_nothing_else():
    script = "import sys; before = set(sys.modules); import ferkit; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "sklearn", "matplotlib"} & set(done.stdout.split())
