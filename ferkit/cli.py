"""The ``ferkit`` command."""

import ast
import io
import json
import os
import platform
import sys
import tempfile
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import joblib
import numpy as np
import typer
from rich.box import MARKDOWN, SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferkit import FERClassifier, ImageAugmenter, PixelParser
from ferkit._files import IMAGE_SUFFIXES, read_image
from ferkit.datasets._base import EMOTIONS, USAGES
from ferkit.display._base import new_axes, offscreen

__all__ = ["main"]

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
_TEST_USAGES = ("PublicTest", "Validation", "Test")  # what training is scored on: the first of these that is there

_DEFAULTS = FERClassifier()

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Facial expression recognition: train, evaluate and use networks. After any command, --debug shows "
    "the whole traceback of an error.",
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Out = Annotated[Path, typer.Option("--out", help="Folder for the run: model, report, figures, settings.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a run that is there already.")]
Model = Annotated[Path, typer.Argument(help="A model.joblib, from a source you trust: loading one can run code.")]
Drop = Annotated[bool, typer.Option("--drop-errors", help="Leave bad rows and unreadable images out.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]
Data = Annotated[Path | None, typer.Argument(help="CSV, archive or image folder; without it, faces that ferkit draws.")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the images.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images in a batch.")]
LR = Annotated[float | None, typer.Option(min=1e-12, help="Learning rate; without it, the backbone's own.")]
InputSize = Annotated[int | None, typer.Option(min=1, help="Enlarge images to this on the device.")]
Augment = Annotated[bool, typer.Option(help="Change images at random in training.")]
Mixup = Annotated[
    float | None, typer.Option(min=0, help="Mix pairs of images; 0 mixes none. Without it, 0.2 from 40 epochs on.")
]
Balanced = Annotated[bool, typer.Option("--balanced", help="Weight classes by their rarity.")]
Validation = Annotated[
    float, typer.Option(min=0, max=0.9, help="Share of the Training images to hold back for the learning curve.")
]
Seed = Annotated[int, typer.Option(min=0, help="Random state.")]
More = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other parameter of FERClassifier, such as --set optimizer=adam --set lr_schedule=null.",
    ),
]


def main(argv=None):
    """Run the command; return through ``SystemExit`` with 0, 1 for a failed run or 2 for bad usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        app([argument for argument in arguments if argument != "--debug"])
    except Exception as error:
        if debug:
            raise
        _print_error(error)
    raise SystemExit(1)


def _print_error(error, where=""):
    if isinstance(error, (ValueError, TypeError, OSError)):
        text = str(error).replace('load with errors="drop"', "add --drop-errors")
    else:
        text = f"{type(error).__name__}: {error}".splitlines()[0] + " (--debug shows where)"
    err.print(f"ferkit: {where}{text}", style="red", markup=False)


def _print_version(asked):
    if asked:
        out.print(f"ferkit {version('ferkit')}")
        raise typer.Exit


@app.callback()
def _options(
    version_: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
):
    pass


@app.command()
def train(
    data: Data = None,
    out_dir: Out = Path("run"),
    backbone: Annotated[str, typer.Option(help="Network to train: one that `ferkit backbones` names.")] = "cnn",
    epochs: Epochs = _DEFAULTS.max_epochs,
    batch_size: BatchSize = _DEFAULTS.batch_size,
    lr: LR = None,
    input_size: InputSize = None,
    augment: Augment = True,
    mixup: Mixup = None,
    balanced: Balanced = False,
    validation: Validation = 0,
    device: Device = "auto",
    seed: Seed = 0,
    more: More = None,
    drop_errors: Drop = False,
    force: Force = False,
):
    """Train on the Training images and report on PublicTest, else Validation, else Test, else a stratified tenth."""
    model = _build_model(
        backbone, epochs, batch_size, lr, input_size, augment, mixup, balanced, validation, device, seed, more
    )
    _check_run(out_dir, force)
    faces, name = _load_or_draw(data, drop_errors)
    _check_out(out_dir)
    _run(model, faces, name, out_dir)


@app.command()
def compare(
    data: Data = None,
    backbones: Annotated[
        str, typer.Option(help="Networks to train, with commas between: some that `ferkit backbones` names.")
    ] = "cnn,resnet18,googlenet",
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the table, its chart and a run for each.")] = Path(
        "comparison"
    ),
    epochs: Epochs = _DEFAULTS.max_epochs,
    batch_size: BatchSize = _DEFAULTS.batch_size,
    lr: LR = None,
    input_size: InputSize = None,
    augment: Augment = True,
    mixup: Mixup = None,
    balanced: Balanced = False,
    validation: Validation = 0,
    device: Device = "auto",
    seed: Seed = 0,
    more: More = None,
    drop_errors: Drop = False,
    force: Annotated[bool, typer.Option("--force", help="Train again what is there with other settings.")] = False,
):
    """Train several networks alike and compare them; those that the folder holds already are not trained again."""
    models = {}
    for backbone in dict.fromkeys(name for given in backbones.split(",") if (name := given.strip())):
        folder = out_dir / (backbone.replace("/", "_") + (f"-{input_size}" if input_size else ""))
        models[folder] = _build_model(
            backbone, epochs, batch_size, lr, input_size, augment, mixup, balanced, validation, device, seed, more
        )
    faces, name = _load_or_draw(data, drop_errors)
    if not models:
        raise typer.BadParameter("--backbones names none.")
    there = {folder: _find_run(folder, model, name) for folder, model in models.items()}
    for folder, run in there.items():
        _check_run(folder, force or run is not None)
        _check_out(folder)
    failed = []
    try:
        for folder, model in models.items():
            if there[folder] == "finished":
                out.print(f"{folder} is there already.", markup=False)
                continue
            try:
                _run(model, faces, name, folder)
            except Exception as error:  # such as a network too deep for the images: the others are trained all the same
                failed.append(folder)
                _print_error(error, f"{folder}: ")
    finally:
        reports = sorted(path.parent for path in out_dir.glob("*/report.json"))
        runs = [run for folder in reports if folder not in failed and (run := _read_run(folder))["data"] == name]
        if runs:
            _write_comparison(runs, out_dir)
    if failed:
        raise SystemExit(1)


@app.command("backbones")
def show_backbones(
    name: Annotated[str | None, typer.Argument(help="Show this one, layer by layer.")] = None,
    input_size: Annotated[
        int | None, typer.Option(min=1, help="Height and width of the images; without it, what each was made for.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw NAME to this file, .png or .svg.")] = None,
):
    """List the networks with their cost for one image, or show one layer by layer."""
    from ferkit.backbones import find_sizes, list_backbones

    if name is None:
        if figure:
            raise typer.BadParameter("--figure draws one network: name it.")
        out.print(f"{'name':21} {'input':>7} {'parameters':>10} {'MFLOP':>9}  reference")
        for each in list_backbones():
            backbone, size, summary = _summarize(each, input_size)
            cost = f"{summary.parameters / 1e6:8.2f} M {summary.flops / 1e6:9,.0f}" if summary else "too small"
            out.print(f"{each:21} {size:>3}×{size:<3} {cost:>20}  {backbone.reference}", markup=False)
        out.print("and every network of timm as timm/<name>", markup=False)
        return
    if figure and figure.suffix.lower() not in (".png", ".svg"):
        raise typer.BadParameter(f"--figure takes a .png or .svg, got {figure}.")
    backbone, size, summary = _usable("NAME", _summarize, name, input_size)
    if summary is None:
        sizes = ", ".join(map(str, find_sizes(backbone.build, in_channels=1)))
        raise ValueError(f"{name} can't take images of {size}×{size}: of the usual sizes it takes {sizes}.")
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("layer", "kind", "output", "parameters", "MFLOP", "work"):
        shown.add_column(column, no_wrap=True, justify="left" if column in ("layer", "kind") else "right")
    for layer in summary.layers:
        share = f"{layer.flops / summary.flops:.1%}" if layer.flops else ""
        cost = f"{layer.flops / 1e6:,.2f}" if layer.flops else ""
        shape = "×".join(map(str, layer.shape))
        shown.add_row(layer.name, layer.kind, shape, f"{layer.parameters:,}", cost, share)
    shown.add_section()
    shown.add_row("total", "", "", f"{summary.parameters:,}", f"{summary.flops / 1e6:,.2f}", "100.0%")
    out.print(f"{name}, one gray image of {size}×{size}, 7 classes", markup=False)
    Console(highlight=False, width=None if out.is_terminal else 1000).print(shown)
    if figure:
        from ferkit.display import BackboneDisplay

        with offscreen():
            BackboneDisplay(summary, title=f"{name} at {size}×{size}").plot().figure_.savefig(figure, dpi=150)
        out.print(f"The diagram is {figure}", markup=False)


def _summarize(name, input_size):
    """(backbone, height and width, Summary or None) of a network for gray faces."""
    from ferkit.backbones import resolve_backbone, summarize
    from ferkit.backbones._inspect import build_meta

    backbone = resolve_backbone(name)
    size = input_size or backbone.input_size
    try:
        return backbone, size, summarize(build_meta(backbone.build, num_classes=7, in_channels=1), (1, size, size))
    except ImportError:
        raise
    except Exception:  # each network has its own way to say that images are too small
        return backbone, size, None


@app.command()
def demo(out_dir: Out = Path("demo"), force: Force = False):
    """Train on faces that ferkit draws, in some two minutes, and show where everything is."""
    _check_run(out_dir, force)
    _check_out(out_dir)
    out.print("Training on 5,000 faces that ferkit draws. For real ones: ferkit train fer2013.csv")
    model = FERClassifier(max_epochs=10, class_weight="balanced", random_state=0, verbose=1)
    _run(model, _drawn_faces(5000), "5,000 drawn faces", out_dir)


@app.command()
def evaluate(
    model: Model,
    data: Annotated[Path, typer.Argument(help="CSV, archive or image folder.")],
    usage: Annotated[
        str | None,
        typer.Option(
            help="Which images, such as PrivateTest, or all. By default PublicTest, else Validation, else Test"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    drop_errors: Drop = False,
):
    """Score a saved model."""
    from ferkit.report import evaluate

    if usage not in (None, "all", *USAGES):
        raise typer.BadParameter(f"--usage must be one of {', '.join(USAGES)} or all, got {usage}.")
    classifier = _load_model(model)
    faces = _load(data, drop_errors, usage=None if usage == "all" else usage)
    if usage is None:
        there = set(faces.usage)
        usage = next((usage for usage in _TEST_USAGES if usage in there), None)
        if usage is None:
            raise ValueError(f"The data holds {', '.join(sorted(there))} images alone: say --usage to score on them.")
        rows = np.flatnonzero(faces.usage == usage)
        faces.data, faces.target, faces.usage = faces.data[rows], faces.target[rows], faces.usage[rows]
    y, labels = _labels(faces, classifier)
    report = evaluate(classifier, faces.data, y, labels=labels)
    if as_json:
        out.print_json(json.dumps({"model": str(model), "data": str(data), "usage": usage, **report.to_dict()}))
    else:
        out.print(f"{model} on {data}, {usage}\n\n{report}", markup=False)


@app.command()
def audit(
    data: Annotated[Path, typer.Argument(help="CSV, archive or image folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    drop_errors: Drop = False,
):
    """Count the faces that are there twice, exactly or nearly, also across splits or with different labels."""
    from ferkit.datasets import find_duplicates

    faces = _load(data, drop_errors)
    usage = faces.usage if "Training" in faces.usage else None  # else there is nothing to compare the splits with
    found = find_duplicates(faces.data, faces.target, usage, names=faces.origin)
    if as_json:
        out.print_json(json.dumps({"data": str(data), **found.to_dict()}))
    else:
        out.print(f"{data}, {len(faces.data):,} faces\n\n{found}", markup=False)


@app.command()
def predict(
    model: Model,
    images: Annotated[list[Path], typer.Argument(help="Pictures of faces, and folders of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    drop_errors: Drop = False,
):
    """Recognise the expression in pictures, each emotion with its probability."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    classifier = _load_model(model)
    shape = _picture_shape(classifier)
    rows = {}
    for path in dict.fromkeys(path for given in images for path in _pictures(given)):
        try:
            rows[path] = read_image(partial(open, path, "rb"), shape)
        except Exception as error:  # Pillow raises all sorts of them on damaged files
            if not drop_errors:
                raise ValueError(f"{path} can't be read as a picture: {error}") from error
            err.print(f"Left out {path}: {error}", markup=False)
    if not rows:
        raise ValueError("No picture could be read.")
    columns = sorted(range(len(classifier.classes_)), key=lambda column: _place(classifier.classes_[column]))
    names = [str(classifier.classes_[column]) for column in columns]
    table = [
        {"image": str(path), "emotion": names[row.argmax()], **dict(zip(names, row.tolist(), strict=True))}
        for path, row in zip(rows, classifier.predict_proba(np.stack([*rows.values()]))[:, columns], strict=True)
    ]
    err.print("Each picture was taken for one whole face and resized: no face was searched for.")
    if as_json:
        print(json.dumps(table, indent=2))
    elif as_csv:
        import pandas as pd

        print(pd.DataFrame(table).to_csv(index=False), end="")
    else:
        _print_predictions(table, names)


def _place(label):
    """Where a label stands: emotions in FER2013's order, others after them."""
    return EMOTIONS.index(label) if label in EMOTIONS else len(EMOTIONS)


def _print_predictions(table, names):
    if out.is_terminal and out.width < 110:
        for row in table:
            shares = ", ".join(f"{name} {row[name]:.1%}" for name in sorted(names, key=row.get, reverse=True))
            out.print(f"{row['image']}: {shares}", markup=False)
        return
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("image", "emotion", *names):
        shown.add_column(name, no_wrap=True, justify="right" if name in names else "left")
    for row in table:
        shown.add_row(Text(row["image"]), row["emotion"], *(f"{row[name]:.1%}" for name in names))
    Console(highlight=False, width=None if out.is_terminal else 1000).print(shown)


# a run


def _build_model(
    backbone, epochs, batch_size, lr, input_size, augment, mixup, balanced, validation, device, seed, more
):
    from ferkit._training import resolve_device
    from ferkit.backbones import resolve_backbone

    _usable("--backbone", resolve_backbone, backbone)
    _usable("--device", resolve_device, device)
    model = FERClassifier(
        backbone,
        max_epochs=epochs,
        batch_size=batch_size,
        lr="auto" if lr is None else lr,
        input_size=input_size,
        mixup="auto" if mixup is None else mixup,
        validation_fraction=validation,
        augment=ImageAugmenter() if augment else None,
        class_weight="balanced" if balanced else None,
        device=device,
        random_state=seed,
        verbose=1,
    )
    for given in more or []:
        name, equals, value = given.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set takes NAME=VALUE, such as optimizer=adam, got {given}.")
        if name == "backbone":
            raise typer.BadParameter("--set can't name the backbone: other options do.")
        for parse in (ast.literal_eval, json.loads):  # as Python or JSON writes it; else it is a word
            with suppress(ValueError, SyntaxError):
                value = parse(value)
                break
        _usable("--set", model.set_params, **{name: value})
    return model


def _run(model, faces, name, out_dir):
    """Train and write the run's directory.

    The model is written first, so that nothing after it can lose it, and report.json last: a run that has one is
    finished, and all its files belong together, whenever the process was killed.
    """
    train, test, usage = _training_and_test(faces)
    y = faces.target_names[faces.target]
    out.print(f"Training {model.backbone!r} on {len(train):,} faces; {len(test):,} to score it on ({usage}).")
    interrupted = False
    try:
        model.fit(faces.data[train], y[train])
    except KeyboardInterrupt:
        interrupted = bool(getattr(model, "history_", None))
        if not interrupted:
            raise RuntimeError("interrupted before the first epoch was over: nothing to save") from None
    model.set_params(verbose=0)
    _save(model, out_dir / "model.joblib")
    if interrupted:
        out.print(f"Interrupted after {len(model.history_)} epochs: the model so far is saved and scored.")
    _write_settings(model, name, usage, interrupted, out_dir)
    reports = _write_report(model, faces, y, {"Training": train, usage: test}, out_dir)
    _write_figures(model, faces, y, {"Training": train, usage: test}, reports, out_dir)
    _write(
        out_dir / "report.json",
        json.dumps({name: report.to_dict() for name, report in reports.items()}, indent=2) + "\n",
    )
    out.print(f"\n{usage}\n{reports[usage]}\n", markup=False)
    out.print(f"The model is {out_dir / 'model.joblib'}, the report {out_dir / 'report.html'}; figures:", markup=False)
    for path in sorted(out_dir.glob("*.png")):
        out.print(f"  {path}", markup=False)
    if interrupted:
        raise SystemExit(1)


def _training_and_test(faces):
    """Rows to train on, rows to score on, and what those are called."""
    if faces.target is None:
        raise ValueError("The data has no labels to train on: is this the challenge's test.csv?")
    there = dict(zip(*np.unique(faces.usage, return_counts=True), strict=True))
    train = np.flatnonzero(faces.usage == "Training")
    if not len(train):
        held = ", ".join(f"{count:,} {usage}" for usage, count in there.items())
        raise ValueError(f"There are no Training images, only {held}: name the file train.csv or add a Usage column.")
    for usage in _TEST_USAGES:
        if usage in there:
            return train, np.flatnonzero(faces.usage == usage), usage
    from sklearn.model_selection import train_test_split

    target = faces.target[train]
    rare = np.bincount(target)[target] < 2
    stratify = None if rare.any() else target
    size = max(round(0.1 * len(train)), len(np.unique(target)))
    if size >= len(train):
        raise ValueError(f"{len(train)} Training images are too few to hold some back for a score.")
    train, test = train_test_split(train, test_size=size, stratify=stratify, random_state=0)
    return np.sort(train), np.sort(test), "a tenth of Training"


def _write_settings(model, name, usage, interrupted, out_dir):
    import torch

    from ferkit.backbones import summarize

    module = model.network_
    size = module.input_size or model.image_shape_[:2]
    summary = summarize(module.backbone, (len(module.mean), *size))
    settings = {
        "data": name,
        "tested_on": usage,
        "interrupted": interrupted,
        "parameters": _plain_parameters(model),
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
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }
    settings["history"] = [
        {key: value if np.isfinite(value) else None for key, value in row.items()} for row in model.history_
    ]
    _write(out_dir / "settings.json", json.dumps(settings, indent=2, allow_nan=False) + "\n")


def _plain_parameters(model):
    """All but what does not matter to the result, as JSON takes it."""
    params = model.get_params()
    del params["verbose"]
    return {name: value if _is_plain(value) else repr(value) for name, value in params.items()}


def _is_plain(value):
    return value is None or isinstance(value, (bool, int, float, str, list, tuple, dict))


def _write_report(model, faces, y, parts, out_dir):
    from ferkit.report import evaluate

    X_train = faces.data[parts["Training"]]
    reports = {
        name: evaluate(
            model,
            faces.data[rows],
            y[rows],
            labels=_order(model, faces),
            X_train=None if name == "Training" else X_train,
        )
        for name, rows in parts.items()
    }
    (out_dir / "report.txt").write_text("\n\n".join(f"{name}\n{report}" for name, report in reports.items()) + "\n")
    *_, (tested_on, report) = reports.items()
    report.to_html(out_dir / "report.html", title=f"{model.backbone} on {tested_on}")
    return reports


@offscreen()
def _write_figures(model, faces, y, parts, reports, out_dir):
    from ferkit.display import (
        ClassDistributionDisplay,
        ConfusionDisplay,
        FacesDisplay,
        HistoryDisplay,
        PredictionsDisplay,
    )

    labels, (train, test) = _order(model, faces), parts.values()
    figures = {
        "learning_curve": HistoryDisplay.from_estimator(model).figure_,
        "class_distribution": ClassDistributionDisplay.from_targets(
            {name: y[rows] for name, rows in parts.items()}, labels=labels
        ).figure_,
        "samples": FacesDisplay.from_data(faces.images[train], y[train], labels=labels).figure_,
        "predictions": PredictionsDisplay.from_estimator(
            model, faces.data[test], y[test], images=faces.images[test]
        ).figure_,
    }
    width = 3.3 + 0.48 * len(labels)
    figure, (axes,) = new_axes(1, 2, 2 * width, width - 1)
    for ax, (name, report) in zip(axes, reports.items(), strict=True):
        ConfusionDisplay(report.confusion, report.labels, normalize="true").plot(ax, name=name)
    figures["confusion_matrix"] = figure
    for name, figure in figures.items():
        figure.savefig(out_dir / f"{name}.png", dpi=120)


# comparing runs


def _find_run(folder, model, name):
    """ "finished" or "interrupted" where the folder holds a run of this very model on these data, else None."""
    if not (folder / "settings.json").is_file():
        return None
    settings = json.loads((folder / "settings.json").read_text())
    parameters = json.loads(json.dumps(_plain_parameters(model)))
    if (settings["data"], settings["parameters"]) != (name, parameters):
        return None
    return "finished" if not settings["interrupted"] and (folder / "report.json").is_file() else "interrupted"


def _read_run(folder):
    settings, reports = (json.loads((folder / file).read_text()) for file in ("settings.json", "report.json"))
    training, tested = reports["Training"], reports[settings["tested_on"]]
    return {
        "name": folder.name,
        "data": settings["data"],
        "tested_on": settings["tested_on"],
        "input_size": "×".join(map(str, settings["network"]["input_size"])),
        "epochs": len(settings["history"]),
        "parameters": settings["network"]["parameters"],
        "flops": settings["network"]["flops"],
        "seconds": settings["training_seconds"],
        "training_accuracy": training["accuracy"],
        "accuracy": tested["accuracy"],
        "interval": tested["accuracy_interval_95"],
        "balanced_accuracy": tested["balanced_accuracy"],
        "n": tested["n"],
    }


def _write_comparison(runs, out_dir):
    """The table for people (printed, and as Markdown) and for programs, and its chart."""
    from ferkit.display import ComparisonDisplay

    runs = sorted(runs, key=lambda run: run["accuracy"], reverse=True)
    tested_on = runs[0]["tested_on"]
    shown = Table(box=MARKDOWN, show_edge=True)
    columns = ("network", "input", "epochs", "parameters", "MFLOP", "minutes", "Training", tested_on, "95 % interval")
    for column in columns:
        shown.add_column(column, no_wrap=True, justify="left" if column == "network" else "right")
    for run in runs:
        low, high = run["interval"]
        shown.add_row(
            run["name"],
            run["input_size"],
            str(run["epochs"]),
            f"{run['parameters'] / 1e6:.2f} M",
            f"{run['flops'] / 1e6:,.0f}",
            f"{run['seconds'] / 60:.1f}",
            f"{run['training_accuracy']:.2%}",
            f"{run['accuracy']:.2%}",
            f"{low:.2%} to {high:.2%}",
        )
    text = io.StringIO()
    Console(file=text, width=1000).print(shown)
    table = "\n".join(line.strip() for line in text.getvalue().strip().splitlines()) + "\n"
    _write(out_dir / "comparison.md", table)
    _write(out_dir / "comparison.json", json.dumps(runs, indent=2) + "\n")
    with offscreen():
        ComparisonDisplay(runs, tested_on=tested_on).plot().figure_.savefig(out_dir / "comparison.png", dpi=150)
    out.print(f"\n{table}", markup=False)
    out.print(
        "Each row is one trained model. The intervals cover the choice of test images only; training with another seed "
        "changes the accuracy too."
    )
    out.print(
        f"The table is {out_dir / 'comparison.md'} and .json, its chart {out_dir / 'comparison.png'}", markup=False
    )


# what comes in


def _check_run(out_dir, force):
    if out_dir.exists() and not out_dir.is_dir():
        raise typer.BadParameter(f"{out_dir} is a file: --out takes a folder.")
    if (out_dir / "model.joblib").exists() and not force:
        raise typer.BadParameter(f"{out_dir} holds a run already: choose another --out, or --force to overwrite it.")


def _check_out(out_dir):
    """Make the folder before hours of training, not after them."""
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out_dir).close()
    except OSError as error:
        raise typer.BadParameter(f"{out_dir} can't be written to: {error}.") from error


def _usable(option, function, *args, **kwargs):
    """Turn what a library function says of a bad value into bad usage."""
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from error


def _load_or_draw(data, drop_errors):
    """The faces and what to call them."""
    if data is not None:
        return _load(data, drop_errors), str(data)
    out.print("No DATA given: training on faces that ferkit draws. For real ones, name their file: fer2013.csv")
    return _drawn_faces(5000), "5,000 drawn faces"


def _drawn_faces(n):
    from ferkit.datasets import make_faces

    return make_faces(n, proportions="fer2013", random_state=0)


def _load(data, drop_errors, usage=None):
    from ferkit.datasets import load_fer2013

    return load_fer2013(data, usage=usage, errors="drop" if drop_errors else "raise", verbose=1)


def _load_model(path):
    if path.is_dir():
        path = path / "model.joblib"
    if not path.is_file():
        raise typer.BadParameter(f"There is no model file {path}.")
    try:
        model = joblib.load(path)
    except Exception as error:
        raise ValueError(f"{path} is no model that joblib can load: expected a run's model.joblib.") from error
    if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
        raise ValueError(f"{path} holds a {type(model).__name__}, expected a fitted classifier.")
    return model


def _picture_shape(model):
    """(height, width, channels) of what the model takes."""
    first = model[0] if hasattr(model, "steps") else model
    if isinstance(first, PixelParser) or not hasattr(first, "image_shape_"):
        raise ValueError(
            f"The model begins with a {type(first).__name__}, which takes no pictures: save its last step."
        )
    return first.image_shape_


def _save(model, path):
    """Replace the model of an earlier run, and remove what describes that model."""
    part = path.with_suffix(".part")
    joblib.dump(model, part)
    for name in ("report.json", "settings.json"):
        (path.parent / name).unlink(missing_ok=True)
    part.replace(path)


def _write(path, text):
    """Write a file that is never there in part."""
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _labels(faces, model):
    """Labels of the faces as the model calls them, names or FER2013's codes, and all labels in order."""
    if faces.target is None:
        raise ValueError("The data has no labels to compare with.")
    if np.issubdtype(model.classes_.dtype, np.integer):
        return faces.target, model.classes_
    return faces.target_names[faces.target], _order(model, faces)


def _order(model, faces):
    """Classes of the model and of the faces in FER2013's order, then any others of the model's own."""
    classes = {*model.classes_, *faces.target_names[np.unique(faces.target)]}
    known = [name for name in faces.target_names if name in classes]
    return known + [name for name in model.classes_ if name not in known]


def _pictures(given):
    if given.is_dir():
        found = sorted(path for path in given.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise ValueError(f"{given} holds no pictures.")
        return found
    if not given.exists():
        raise typer.BadParameter(f"There is no picture or folder {given}.")
    return [given]
