"""Training runs as directories: train a network into one, read one, use its model."""

import json
import pickle
import platform
import re
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, Self

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator, is_regressor
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from .._files import make_directory, write_atomically
from ..augmentation import ImageAugmenter
from ..backbones import summarize
from ..classifier import FERClassifier
from ..display import (
    ClassDistributionDisplay,
    ConfusionDisplay,
    FacesDisplay,
    HistoryDisplay,
    PredictionsDisplay,
)
from ..display._base import new_axes, offscreen
from ..models._read import MODEL, PICKLED, find_model
from ..persistence import save
from ..report import Report, evaluate
from ..training import describe_settings

__all__ = [
    "REPORT",
    "SETTINGS",
    "Run",
    "can_resume",
    "find_model",
    "find_training",
    "is_unfinished",
    "read_unfinished",
    "score_split",
    "split_rows",
    "train_run",
    "write_text",
]

SETTINGS, REPORT, PREDICTIONS = "settings.json", "report.json", "predictions.json"
# A training works in this subdirectory of a run until it is complete. It holds its checkpoint, its settings, and the
# files of the run, which are moved to the run at the end.
UNFINISHED, CHECKPOINT, TRAINING, FILES = ".unfinished", "checkpoint.safetensors", "training.json", "files"
TEST_SPLITS = ("PublicTest", "Validation", "Test")  # the first one that the data contains is the test set
MOST_SCORED = 5000  # Training images, for which Wilson's 95 % interval is at most 2.8 points wide
_FOLD = re.compile(r"fold (\d+) of (\d+)")  # names the test set of a run in a cross-validation

_PACKAGES = (
    "ferkit",
    "torch",
    "torchvision",
    "skorch",
    "scikit-learn",
    "imbalanced-learn",
    "numpy",
    "pandas",
    "joblib",
)


@dataclass(frozen=True)
class Run:
    """A training run in a directory. ``str()`` returns its scores, from ``report.txt``.

    Attributes
    ----------
    path : Path
        The directory.
    settings : dict
        Data, parameters, versions, machine and history of the training: the content of ``settings.json``.
    reports : dict of dict or None
        Scores of each split, as returned by :meth:`ferkit.report.Report.to_dict`: the content of ``report.json``. None
        if the process was stopped before the run was complete.

    Examples
    --------
    >>> from pathlib import Path
    >>> from ferkit.runs import Run
    >>> settings = {"tested_on": "PublicTest", "interrupted": False}
    >>> Run(Path("run"), settings, {"PublicTest": {"accuracy": 0.67}}).scores
    {'accuracy': 0.67}
    """

    path: Path
    settings: dict[str, Any] = field(repr=False)
    reports: dict[str, dict] | None = field(repr=False)

    @classmethod
    def read(cls, path: str | PathLike) -> Self:
        """Read a run from its directory.

        Parameters
        ----------
        path : str or path-like
            Directory that :func:`train_run` has written.

        Returns
        -------
        Run
        """
        path = Path(path).expanduser()
        _move_files(path)
        if not (path / SETTINGS).is_file():
            raise FileNotFoundError(f"Expected the directory of a run, got {path} without a {SETTINGS}: use train_run.")
        settings = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
        has_report = (path / REPORT).is_file()
        return cls(path, settings, json.loads((path / REPORT).read_text(encoding="utf-8")) if has_report else None)

    @property
    def is_finished(self) -> bool:
        """Whether the training was not interrupted and its model has been scored."""
        return self.reports is not None and not self.settings["interrupted"]

    @property
    def seed(self) -> int | None:
        """Random state of the training, if it was an int."""
        seed = self.settings["parameters"]["random_state"]
        return seed if isinstance(seed, int) else None

    @property
    def fold(self) -> tuple[int, int] | None:
        """Number of the fold that the run was tested on, and the number of folds; None without cross-validation."""
        found = _FOLD.fullmatch(self.settings["tested_on"])
        return (int(found[1]), int(found[2])) if found else None

    @property
    def scores(self) -> dict[str, Any]:
        """Scores on the test images, as a dict."""
        if self.reports is None:
            raise ValueError(
                f"Expected a run with scores, got {self.path}, whose training was stopped: train it again."
            )
        return self.reports[self.settings["tested_on"]]

    def read_report(self) -> Report:
        """Read the report on the test images, with its predictions.

        Returns
        -------
        Report

        See Also
        --------
        ferkit.report.compare_reports : Test whether two models differ, without predicting again.
        """
        return Report.from_json(self.path / PREDICTIONS)

    def matches(self, model: FERClassifier, data_name: str | None = None) -> bool:
        """Check whether the run has trained with the same parameters on the same data.

        Parameters
        ----------
        model : FERClassifier
            Classifier with the parameters to compare.
        data_name : str, default=None
            Name of the data to compare.

        Returns
        -------
        bool
        """
        return self.settings["data"] == data_name and self.settings["parameters"] == _plain_parameters(model)

    def __str__(self) -> str:
        text = (self.path / "report.txt").read_text(encoding="utf-8")
        return text[text.index(f"{self.settings['tested_on']}\n") :].rstrip()


def train_run(
    model: FERClassifier,
    faces: Bunch,
    path: str | PathLike,
    *,
    data_name: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Run:
    """Train a classifier, score it, and write everything about it to a directory.

    The Training images train the model. The test set is PublicTest, Validation or Test, the first of these that the
    data contains. If it contains none, a stratified tenth of the Training images is held out.

    Every epoch is scored on the test set, so that the learning curve shows both lines. This does not change the
    training unless ``early_stopping``, ``keep_best`` or ``lr_schedule="plateau"`` uses these scores. The score on the
    test set is then too high, which ``report.txt`` and ``report.html`` say; PrivateTest remains untouched. With
    ``validation_fraction``, epochs are scored on held-out Training images instead.

    Afterwards, the test set and the Training images are scored. Of more than 5,000 Training images, a random
    sample of 5,000 is scored, which takes less time.

    The directory then contains ``model.ferkit``, ``settings.json``, the scores as ``report.txt``, ``report.html`` and
    ``report.json``, the predictions on the test set as ``predictions.json``, and figures. ``report.json`` is written
    last. If it exists, the run is complete, and all files belong to the same training.

    Until it is complete, a training only writes to the hidden subdirectory ``.unfinished``. An earlier run in the
    directory stays as it was if the training fails or is stopped. Unless the model has its own ``checkpoint``, or
    trains in several processes, its checkpoints are in this subdirectory too, and ``resume=True`` continues it.

    Parameters
    ----------
    model : FERClassifier
        Classifier to train. It is fitted in place.
    faces : Bunch
        Labeled faces as returned by :func:`~ferkit.datasets.load_fer2013` or :func:`~ferkit.datasets.make_faces`.
    path : str or path-like
        The directory. It is created if needed.
    data_name : str, default=None
        Name of the data in the settings. Only runs with the same name can be compared.
    overwrite : bool, default=False
        Whether to replace a run in the directory, or discard an unfinished training.
    resume : bool, default=False
        Whether to continue the unfinished training in the directory, if there is one.

    Returns
    -------
    Run

    Raises
    ------
    FileExistsError
        If the directory contains a run, or an unfinished training, and neither ``overwrite`` nor ``resume`` is True.
    KeyboardInterrupt
        After Ctrl-C. If at least one epoch is complete, the run is first written and marked as interrupted, unless the
        directory contains a finished one.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from ferkit import FERClassifier
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.runs import train_run
    >>> faces = make_faces(70, random_state=0)
    >>> with TemporaryDirectory() as directory:
    ...     run = train_run(FERClassifier("cnn_small", max_epochs=1), faces, directory)
    >>> run.settings["tested_on"], run.scores["n"]
    ('PublicTest', 7)
    """
    if is_regressor(model):
        raise TypeError(f"Expected a classifier, got the regressor {type(model).__name__}: call model.fit(X, y).")
    _check_parameters(model)
    path = Path(path).expanduser()
    train, test, tested_on = split_rows(faces)
    unfinished = path / UNFINISHED
    continues = resume and is_unfinished(path)
    if (found := find_training(path)) and not (overwrite or continues):
        more = "resume=True to continue it, or " if is_unfinished(path) else ""
        raise FileExistsError(
            f"Expected a directory without {found}, got {path}: choose another, or pass {more}overwrite=True."
        )
    make_directory(path)
    parameters, y, X_train = _plain_parameters(model), faces.target_names[faces.target], faces.data[train]
    known = test[np.isin(faces.target[test], faces.target[train])]  # the loss of other classes would be infinite
    watches_test = len(known) and not model.validation_fraction
    if not continues:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        training = {"data": data_name, "tested_on": tested_on, "parameters": parameters}
        write_text(unfinished / TRAINING, json.dumps(training, indent=2) + "\n")
    with _saved_in(model, unfinished) as interrupts:
        model.fit(X_train, y[train], **({"X_val": faces.data[known], "y_val": y[known]} if watches_test else {}))
    if interrupts and (path / SETTINGS).is_file() and Run.read(path).is_finished:
        raise interrupts[0]

    files = unfinished / FILES
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir()
    _write_model(model, files)
    is_selected = bool(watches_test and _selects(model))
    settings = {
        "data": data_name,
        "tested_on": tested_on,
        "selected_on_test": is_selected,
        "interrupted": bool(interrupts),
        "parameters": parameters,
        **_describe_training(model),
    }
    write_text(files / SETTINGS, json.dumps(settings, indent=2, allow_nan=False) + "\n")

    labels = order_labels(model, faces)
    scored = train
    if len(train) > MOST_SCORED:
        scored = np.sort(np.random.default_rng(0).choice(train, MOST_SCORED, replace=False))
    reports = {
        "Training": evaluate(model, faces.data[scored], y[scored], labels=labels),
        tested_on: evaluate(model, faces.data[test], y[test], labels=labels, X_train=X_train),
    }
    texts = [f"{name}\n{report}" for name, report in reports.items()]
    title = f"{model.backbone} on {tested_on}"
    if is_selected:
        texts.append(
            f"The training was selected on {tested_on}, which makes its score too high. Report the score on images "
            "that chose nothing, such as PrivateTest."
        )
        title += f", selected on {tested_on}"
    write_text(files / "report.txt", "\n\n".join(texts) + "\n")
    reports[tested_on].to_html(
        files / "report.html",
        title=title,
        images=_pictures(faces)[test],
        history=model.history_,
        details=_describe_for_page(settings, "test images" if watches_test else "training images that were held back"),
    )
    for name, figure in _draw_figures(model, faces, {"Training": train, tested_on: test}, reports).items():
        figure.savefig(files / f"{name}.png", dpi=120)
    scores = {name: report.to_dict() for name, report in reports.items()}
    write_text(files / PREDICTIONS, reports[tested_on].to_json())
    write_text(files / REPORT, json.dumps(scores, indent=2, allow_nan=False) + "\n")
    _move_files(path)
    if interrupts:
        raise interrupts[0]
    return Run.read(path)


def score_split(model: BaseEstimator, faces: Bunch, usage: str | None = None) -> tuple[str, Report]:
    """Score a model on one split or "all" images, by default the test set; return the split and a report."""
    if faces.target is None:
        raise ValueError("Expected labeled images to score on, got images with no labels.")
    if usage is None:
        usage = next((usage for usage in TEST_SPLITS if usage in faces.usage), None)
        if usage is None:
            found = ", ".join(sorted(set(faces.usage)))
            raise ValueError(f'Expected test images, got only {found} images: pass usage="all" to score on them.')
    rows = np.flatnonzero((faces.usage == usage) | (usage == "all"))
    if np.issubdtype(model.classes_.dtype, np.integer):  # trained on FER2013's codes instead of names
        y, labels = faces.target, model.classes_
    else:
        y, labels = faces.target_names[faces.target], order_labels(model, faces)
    return usage, evaluate(model, faces.data[rows], y[rows], labels=labels)


def split_rows(faces):
    """Return the rows to train on, the rows to test on, and the name of the test set."""
    if faces.target is None:
        raise ValueError("Expected labeled images, got images without labels: the challenge's test.csv has none.")
    if np.ndim(faces.target) > 1:
        raise ValueError(
            "Expected one label per image, got soft targets: call model.fit(faces.data, faces.target), or pass the "
            "most probable labels."
        )
    counts = dict(zip(*np.unique(faces.usage, return_counts=True), strict=True))
    train = np.flatnonzero(faces.usage == "Training")
    if not len(train):
        found = ", ".join(f"{count:,} {usage}" for usage, count in counts.items())
        raise ValueError(f"Expected Training images, got {found}: name the file train.csv or add a Usage column.")
    for usage in (*TEST_SPLITS, *filter(_FOLD.fullmatch, counts)):
        if usage in counts:
            return train, np.flatnonzero(faces.usage == usage), usage
    target = faces.target[train]
    size = max(round(0.1 * len(train)), len(np.unique(target)))
    if size >= len(train):
        raise ValueError(f"Expected more than {size} Training images to hold some out, got {len(train)}: add images.")
    stratify = target if np.bincount(target)[target].min() > 1 else None
    train, test = train_test_split(train, test_size=size, stratify=stratify, random_state=0)
    return np.sort(train), np.sort(test), "a tenth of Training"


def order_labels(model, faces):
    """Return the labels of the model and the faces: those of ``target_names`` in that order, then all others."""
    classes = {*model.classes_, *faces.target_names[np.unique(faces.target)]}
    known = [name for name in faces.target_names if name in classes]
    return known + [name for name in model.classes_ if name not in known]


def write_text(path, text):
    """Write a text file so that it never exists in part, even if the process is killed."""
    write_atomically(path, text.encode(errors="backslashreplace"))  # file names may be other bytes


@contextmanager
def _saved_in(model, directory):
    """Save checkpoints to a directory. Yield a list that receives a KeyboardInterrupt if usable weights remain.

    A training that fails before its first checkpoint leaves nothing to continue, so the directory is removed.
    """
    given = model.checkpoint
    interrupts: list[KeyboardInterrupt] = []
    if given is None and model.device != "accelerate":
        model.checkpoint = directory
    try:
        yield interrupts
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and getattr(model, "history_", None):
            interrupts.append(error)
            return
        if not (directory / CHECKPOINT).exists():
            shutil.rmtree(directory, ignore_errors=True)
        raise
    finally:
        model.checkpoint = given


def is_unfinished(path: Path) -> bool:
    """Return whether a directory contains an unfinished training. Complete a move of files that was interrupted."""
    _move_files(path)
    return (path / UNFINISHED / CHECKPOINT).exists()


def find_training(path: Path) -> str | None:
    """Return what a directory contains, as text: "an unfinished training", "a run" or None."""
    if is_unfinished(path):
        return "an unfinished training"
    return "a run" if find_model(path).exists() else None


def read_unfinished(path: Path) -> tuple[FERClassifier, str | None]:
    """Return the classifier of the unfinished training in a directory, not fitted, and the name of its data."""
    if not is_unfinished(path):
        raise ValueError(f"Expected a directory with an unfinished training, got {path}: choose another.")
    training = json.loads((path / UNFINISHED / TRAINING).read_text(encoding="utf-8"))
    if _FOLD.fullmatch(training.get("tested_on", "")):
        raise ValueError(
            f"Expected a training on all Training images, got {path}, which leaves out {training['tested_on']}: repeat "
            "the comparison that it belongs to."
        )
    params = training["parameters"]
    augment = {name.removeprefix("augment__"): params.pop(name) for name in [*params] if name.startswith("augment__")}
    if augment:
        params["augment"] = ImageAugmenter(**augment)
    return FERClassifier(**params), training["data"]


def can_resume(path: Path, model: FERClassifier, data_name: str | None) -> bool:
    """Check whether a directory contains an unfinished training with the same parameters on the same data."""
    if not is_unfinished(path):
        return False
    training = json.loads((path / UNFINISHED / TRAINING).read_text(encoding="utf-8"))
    return (training["data"], training["parameters"]) == (data_name, _plain_parameters(model))


def _move_files(path):
    """Move the files of a training to its run, if all are written. If the process is killed, the next call continues.

    The report of an earlier run goes first and the new one comes last, because it says that a run is complete. The
    settings describe the model, so the earlier ones go before the model is replaced.
    """
    unfinished, files = path / UNFINISHED, path / UNFINISHED / FILES
    if not (files / REPORT).is_file():
        return
    if (files / SETTINGS).is_file():
        (path / REPORT).unlink(missing_ok=True)
        (path / SETTINGS).unlink(missing_ok=True)
        if (files / MODEL).exists() or (files / PICKLED).exists():
            find_model(path).unlink(missing_ok=True)  # it may have the other name
        if not json.loads((files / SETTINGS).read_text(encoding="utf-8"))["interrupted"]:
            (unfinished / CHECKPOINT).unlink(missing_ok=True)
    last = [SETTINGS, REPORT]
    for name in [*{file.name for file in files.iterdir()} - {*last}, *last]:
        if (files / name).exists():
            (files / name).replace(path / name)
    shutil.rmtree(files if (unfinished / CHECKPOINT).exists() else unfinished)


def _check_parameters(model):
    """Raise ValueError for bad parameters, and for those that cannot be saved, before anything is overwritten."""
    model._validate_params()
    for name, value in model.get_params(deep=False).items():
        try:
            pickle.dumps(value)
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            raise ValueError(
                f"Expected parameters that pickle can save with the run, got {name}={value!r}: pass another value, or "
                f"define its function or class at the top level of a module ({error})."
            ) from error


def _write_model(model, path):
    try:
        save(model, path / MODEL)
    except TypeError as error:
        joblib.dump(model, path / PICKLED)
        warnings.warn(f"{error} The model is saved as {PICKLED}.", stacklevel=3)


def _selects(model):
    """Return whether the scores of validation images change the training."""
    schedule = model.lr_schedule if isinstance(model.lr_schedule, dict) else {"name": model.lr_schedule}
    watches = schedule.get("name") == "plateau" and not schedule.get("monitor", "valid_loss").startswith("train")
    return model.early_stopping or model.keep_best or watches


def _plain_parameters(model):
    """Return the parameters that matter to the result as JSON types."""
    params = model.get_params()
    for name in ("verbose", "checkpoint", "checkpoint_every"):
        del params[name]
    return describe_settings(params)


def _describe_training(model):
    network = model.network_
    size = network.input_size or model.image_shape_[:2]
    summary = summarize(network.backbone, (len(network.mean), *size))
    return {
        "resolved": {
            "optimizer": model.optimizer_,
            "lr": model.lr_,
            "mixup": model.mixup_,
            "augment": None if model.augment_ is None else repr(model.augment_),
            "device": model.device_,
            "precision": model.precision_,
            "image_shape": model.image_shape_,
        },
        "network": {"input_size": size, "parameters": summary.parameters, "flops": summary.flops},
        "training_seconds": sum(row["seconds"] for row in model.history_),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}},
        "machine": {
            "platform": platform.platform(),
            "cores": joblib.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "history": [
            {key: value if np.isfinite(value) else None for key, value in row.items()} for row in model.history_
        ],
    }


def _describe_for_page(settings, validated_on):
    """Return the tables of a report that say how the model was trained."""
    resolved, network, history = settings["resolved"], settings["network"], settings["history"]
    training = {
        "data": settings["data"],
        "scored on": settings["tested_on"],
        "network": settings["parameters"]["backbone"],
        "input": "×".join(map(str, network["input_size"])),
        "weights in the network": f"{network['parameters']:,}",
        "operations per image": f"{network['flops'] / 1e6:,.0f} MFLOP",
        "epochs": len(history),
        "validation in the learning curve": validated_on if "valid_loss" in history[0] else "none",
        "training time": f"{settings['training_seconds'] / 60:,.1f} minutes",
        "optimizer": resolved["optimizer"],
        "learning rate": resolved["lr"],
        "device": resolved["device"],
        "precision": resolved["precision"],
    }
    return {
        "Training": {name: value for name, value in training.items() if value is not None},
        "Parameters of FERClassifier": settings["parameters"],
        "Versions": settings["versions"],
        "Machine": {name: value for name, value in settings["machine"].items() if value is not None},
    }


def _pictures(faces):
    return faces.data if faces.images is None else faces.images  # None for image files


@offscreen()
def _draw_figures(model, faces, splits, reports):
    y, (train, test), (*_, report) = faces.target_names[faces.target], splits.values(), reports.values()
    displays: dict[str, Any] = {
        "history": HistoryDisplay.from_estimator(model),
        "class_distribution": ClassDistributionDisplay.from_targets(
            {name: y[rows] for name, rows in splits.items()}, labels=report.labels
        ),
        "samples": FacesDisplay.from_data(_pictures(faces)[train], y[train], labels=report.labels),
        "predictions": PredictionsDisplay.from_predictions(
            _pictures(faces)[test], y[test], report.y_proba, labels=report.classes
        ),
    }
    width = 3.3 + 0.48 * len(report.labels)
    figure, (axes,) = new_axes(1, 2, 2 * width, width - 1)
    for ax, (name, each) in zip(axes, reports.items(), strict=True):
        ConfusionDisplay(each.confusion, each.labels, normalize="true").plot(ax, name=name)
    return {**{name: display.figure_ for name, display in displays.items()}, "confusion_matrix": figure}
