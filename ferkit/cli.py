"""The ``ferkit`` command: parse options, call the library, print."""

import ast
import json
import sys
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import joblib
import numpy as np
import pandas as pd
import typer

from ._files import IMAGE_SUFFIXES, read_image
from .augmentation import ImageAugmenter
from .backbones import find_sizes, list_backbones, resolve_backbone, summarize
from .backbones._inspect import build_meta
from .classifier import FERClassifier
from .datasets import find_duplicates, load_fer2013, make_faces
from .datasets._vocabulary import EMOTIONS
from .display import BackboneDisplay, ComparisonDisplay
from .display._base import offscreen
from .report import evaluate as evaluate_model
from .runs import MODEL, TEST_SPLITS, Run, compare_runs, make_directory, order_labels, split_rows, train_run, write_text
from .training import resolve_device
from .transformers import PixelParser

__all__ = ["main"]

_DEFAULTS = FERClassifier()

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Facial expression recognition: train, evaluate and use networks. Add --debug to any command to see the "
    "traceback of an error.",
)

Data = Annotated[Path | None, typer.Argument(help="CSV file, archive or image folder. Without it, faces are drawn.")]
TestData = Annotated[Path, typer.Argument(help="CSV file, archive or image folder.")]
Model = Annotated[Path, typer.Argument(exists=True, help="A model.joblib from a source you trust: it can run code.")]
Out = Annotated[Path, typer.Option("--out", file_okay=False, help="Directory for models, reports, figures, settings.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing run.")]
Drop = Annotated[bool, typer.Option("--drop-errors", help="Skip invalid rows and unreadable images.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Epochs = Annotated[int, typer.Option(min=1, help="Number of passes over the training images.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Number of images per batch.")]
LR = Annotated[float | None, typer.Option(min=1e-12, help="Learning rate. By default, the backbone's own.")]
InputSize = Annotated[int | None, typer.Option(min=1, help="Resize images to this height and width on the device.")]
Augment = Annotated[bool, typer.Option(help="Augment the training images.")]
Mixup = Annotated[
    float | None, typer.Option(min=0, help="Mixup parameter. By default, 0.2 if --epochs is 40 or more, otherwise 0.")
]
Balanced = Annotated[bool, typer.Option("--balanced", help="Weight classes by inverse frequency.")]
Validation = Annotated[float, typer.Option(min=0, max=0.9, help="Share of training images held out for validation.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]
More = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Any other parameter of FERClassifier, such as --set lr_schedule=null."
    ),
]


def main(argv=None):
    """Run the ``ferkit`` command and raise ``SystemExit``: 0 for success, 1 for a failed run, 2 for bad usage."""
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
        text = f"{type(error).__name__}: {error}".splitlines()[0] + " (add --debug for the traceback)"
    typer.secho(f"ferkit: {where}{text}", fg="red", err=True)


def _print_version(asked: bool):
    if asked:
        typer.echo(f"ferkit {version('ferkit')}")
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
    context: typer.Context,
    data: Data = None,
    out_dir: Out = Path("run"),
    backbone: Annotated[str, typer.Option(help="Network to train; `ferkit backbones` lists them.")] = "cnn",
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
    """Train on the Training images and report on PublicTest, Validation, Test, or a held-out tenth of Training."""
    model = _build_model(backbone, context.params)
    _check_overwrite(out_dir, force)
    faces, name = _load_or_draw(data, drop_errors)
    _train(model, faces, name, out_dir)


@app.command()
def compare(
    context: typer.Context,
    data: Data = None,
    backbones: Annotated[
        str, typer.Option(help="Networks to train, separated by commas; `ferkit backbones` lists them.")
    ] = "cnn,resnet18,googlenet",
    out_dir: Out = Path("comparison"),
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
    """Train several networks with the same settings and compare them. Networks already in the directory are skipped."""
    names = [name.strip() for name in backbones.split(",") if name.strip()]
    suffix = f"-{input_size}" if input_size else ""
    models = {out_dir / (name.replace("/", "_") + suffix): _build_model(name, context.params) for name in names}
    if not models:
        raise typer.BadParameter("Expected the name of at least one network, got none.", param_hint="--backbones")
    faces, name = _load_or_draw(data, drop_errors)
    skipped, failed = [], []
    for folder, model in models.items():
        with suppress(FileNotFoundError):
            if (run := Run.read(folder)).matches(model, name):
                skipped += [folder] if run.is_finished else []
                continue
        _check_overwrite(folder, force)
    try:
        for folder, model in models.items():
            if folder in skipped:
                typer.echo(f"{folder} is already trained.")
                continue
            try:
                _train(model, faces, name, folder)
            except Exception as error:  # such as a network too deep for the images; the others can still be trained
                failed.append(folder)
                _print_error(error, f"{folder}: ")
    finally:
        # an earlier run of one of these networks with other settings would look like a result of this comparison
        runs = [Run.read(path.parent) for path in sorted(out_dir.glob("*/report.json"))]
        runs = [run for run in runs if run.path not in models or run.matches(models[run.path], name)]
        runs = [run for run in runs if run.settings["data"] == name]
        if runs:
            _write_comparison(compare_runs(runs), out_dir)
    if failed:
        raise SystemExit(1)


@app.command("backbones")
def show_backbones(
    name: Annotated[str | None, typer.Argument(help="Network to show layer by layer.")] = None,
    input_size: Annotated[int | None, typer.Option(min=1, help="Height and width of the images.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw NAME to this .png or .svg file.")] = None,
):
    """List the networks and their cost per image, or show one network layer by layer."""
    if name is None:
        if figure:
            raise typer.BadParameter("--figure draws one network: add its NAME.")
        typer.echo(f"{'name':21} {'input':>7} {'parameters':>10} {'MFLOP':>9}  reference")
        for each in list_backbones():
            backbone, size, summary = _summarize(each, input_size)
            cost = f"{summary.parameters / 1e6:8.2f} M {summary.flops / 1e6:9,.0f}" if summary else "too small"
            typer.echo(f"{each:21} {size:>3}×{size:<3} {cost:>20}  {backbone.reference}")
        typer.echo("and every network of timm as timm/<name>")
        return
    if figure and figure.suffix.lower() not in (".png", ".svg"):
        raise typer.BadParameter(f"Expected a .png or .svg file, got {figure}.", param_hint="--figure")
    with _as_bad_usage("NAME"):
        backbone, size, summary = _summarize(name, input_size)
    if summary is None:
        sizes = ", ".join(map(str, find_sizes(backbone.build, in_channels=1)))
        raise ValueError(f"Expected an --input-size that {name} accepts, got {size}: use one of {sizes}.")
    typer.echo(f"{name}, one gray image of {size}×{size}, 7 classes\n\n{summary}")
    if figure:
        with offscreen():
            BackboneDisplay(summary, title=f"{name} at {size}×{size}").plot().figure_.savefig(figure, dpi=150)
        typer.echo(f"The diagram is in {figure}")


def _summarize(name, input_size):
    """Return a backbone, the size of its images, and its summary, which is None if the images are too small."""
    backbone = resolve_backbone(name)
    size = input_size or backbone.input_size
    try:
        return backbone, size, summarize(build_meta(backbone.build, num_classes=7, in_channels=1), (1, size, size))
    except ImportError:
        raise
    except Exception:  # each network has its own error for images that are too small
        return backbone, size, None


@app.command()
def demo(out_dir: Out = Path("demo"), force: Force = False):
    """Train on drawn faces, in about two minutes, and list the results."""
    _check_overwrite(out_dir, force)
    model = FERClassifier(max_epochs=10, class_weight="balanced", random_state=0, verbose=1)
    faces, name = _load_or_draw(None, drop_errors=False)
    _train(model, faces, name, out_dir)


@app.command()
def evaluate(
    model: Model,
    data: TestData,
    usage: Annotated[
        Literal["Training", "PublicTest", "PrivateTest", "Validation", "Test", "all"] | None,
        typer.Option(help="Images to score on. By default, the first of PublicTest, Validation and Test that exists."),
    ] = None,
    as_json: Json = False,
    drop_errors: Drop = False,
):
    """Score a saved model."""
    classifier = _load_model(model)
    faces = _load(data, drop_errors, None if usage == "all" else usage)
    rows = np.arange(len(faces.data))
    if faces.target is None:
        raise ValueError(f"Expected labeled images to score on, got no labels in {data}.")
    if usage is None:
        usage = next((usage for usage in TEST_SPLITS if usage in faces.usage), None)
        if usage is None:
            found = ", ".join(sorted(set(faces.usage)))
            raise ValueError(f"Expected test images, got only {found} images: choose images with --usage.")
        rows = np.flatnonzero(faces.usage == usage)
    if np.issubdtype(classifier.classes_.dtype, np.integer):  # trained on FER2013's codes instead of names
        y, labels = faces.target, classifier.classes_
    else:
        y, labels = faces.target_names[faces.target], order_labels(classifier, faces)
    report = evaluate_model(classifier, faces.data[rows], y[rows], labels=labels)
    if as_json:
        typer.echo(json.dumps({"model": str(model), "data": str(data), "usage": usage, **report.to_dict()}, indent=2))
    else:
        typer.echo(f"{model} on {data}, {usage}\n\n{report}")


@app.command()
def audit(data: TestData, as_json: Json = False, drop_errors: Drop = False):
    """Find exact and near duplicates, also across splits or with different labels."""
    faces = _load(data, drop_errors)
    usage = faces.usage if "Training" in faces.usage else None  # otherwise, there is no split to compare with
    found = find_duplicates(faces.data, faces.target, usage, names=faces.origin)
    if as_json:
        typer.echo(json.dumps({"data": str(data), **found.to_dict()}, indent=2))
    else:
        typer.echo(f"{data}, {len(faces.data):,} faces\n\n{found}")


@app.command()
def predict(
    model: Model,
    images: Annotated[list[Path], typer.Argument(exists=True, help="Images of faces, and folders of them.")],
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    drop_errors: Drop = False,
):
    """Predict the expression in images, with the probability of each emotion."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    classifier = _load_model(model)
    first = classifier[0] if hasattr(classifier, "steps") else classifier
    if isinstance(first, PixelParser) or not hasattr(first, "image_shape_"):
        kind = type(first).__name__
        raise ValueError(f"Expected a model that accepts images, got one that begins with {kind}: save its last step.")
    rows = {}
    for path in dict.fromkeys(path for given in images for path in _find_images(given)):
        try:
            rows[str(path)] = read_image(partial(open, path, "rb"), first.image_shape_)
        except Exception as error:  # Pillow raises many types of errors on damaged files
            if not drop_errors:
                raise ValueError(f"Expected an image, got {path} ({error}): add --drop-errors to skip it.") from error
            typer.echo(f"Skipped {path}: {error}", err=True)
    if not rows:
        raise ValueError("Expected at least one readable image, got none.")
    table = pd.DataFrame(classifier.predict_proba(np.stack([*rows.values()])), columns=map(str, classifier.classes_))
    table = table[[name for name in EMOTIONS if name in table] + [name for name in table if name not in EMOTIONS]]
    typer.echo("Each image was taken as one face and resized; no face was searched for.", err=True)
    if not as_json and not as_csv:
        for path, (_, row) in zip(rows, table.iterrows(), strict=True):
            ranked = row.sort_values(ascending=False, kind="stable").items()
            typer.echo(f"{path}: {', '.join(f'{emotion} {probability:.1%}' for emotion, probability in ranked)}")
        return
    table = pd.concat([pd.DataFrame({"image": [*rows], "emotion": table.idxmax(axis=1)}), table], axis=1)
    typer.echo(json.dumps(table.to_dict("records"), indent=2) if as_json else table.to_csv(index=False).rstrip())


@contextmanager
def _as_bad_usage(parameter):
    """Turn the errors that the library raises for bad values into bad usage of an option."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error), param_hint=parameter) from error


def _build_model(backbone, options):
    """Return the classifier that the options of `train` and `compare` describe."""
    with _as_bad_usage("--backbone"):
        resolve_backbone(backbone)
    with _as_bad_usage("--device"):
        resolve_device(options["device"])
    model = FERClassifier(
        backbone,
        max_epochs=options["epochs"],
        batch_size=options["batch_size"],
        lr="auto" if options["lr"] is None else options["lr"],
        input_size=options["input_size"],
        mixup="auto" if options["mixup"] is None else options["mixup"],
        validation_fraction=options["validation"],
        augment=ImageAugmenter() if options["augment"] else None,
        class_weight="balanced" if options["balanced"] else None,
        device=options["device"],
        random_state=options["seed"],
        verbose=1,
    )
    with _as_bad_usage("--set"):
        for given in options["more"] or []:
            name, equals, value = given.partition("=")
            if not equals or name == "backbone":
                raise ValueError(f"Expected NAME=VALUE of a parameter other than the backbone, got {given}.")
            for parse in (ast.literal_eval, json.loads):  # a Python or JSON value; otherwise a word
                with suppress(ValueError, SyntaxError):
                    value = parse(value)
                    break
            model.set_params(**{name: value})
    return model


def _check_overwrite(out_dir, force):
    if (out_dir / MODEL).exists() and not force:
        raise typer.BadParameter(
            f"{out_dir} already contains a run: choose another directory, or add --force.", param_hint="--out"
        )


def _load_or_draw(data, drop_errors):
    """Return faces and the name of the data."""
    if data is not None:
        return _load(data, drop_errors), str(data)
    typer.echo("Using 5,000 drawn faces. For real ones: ferkit train fer2013.csv")
    return make_faces(5000, proportions="fer2013", random_state=0), "5,000 drawn faces"


def _load(data, drop_errors, usage=None):
    return load_fer2013(data, usage=usage, errors="drop" if drop_errors else "raise", verbose=1)


def _load_model(path):
    path = path / MODEL if path.is_dir() else path
    try:
        model = joblib.load(path)
    except Exception as error:
        raise ValueError(f"Expected a run's {MODEL}, got {path}, which joblib can't load.") from error
    if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
        raise ValueError(f"Expected a fitted classifier in {path}, got a {type(model).__name__}.")
    return model


def _find_images(given):
    if not given.is_dir():
        return [given]
    found = sorted(path for path in given.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise ValueError(f"Expected images in {given}, got none.")
    return found


def _train(model, faces, name, out_dir):
    """Train into a directory and print the result."""
    train, test, tested_on = split_rows(faces)
    with _as_bad_usage("--out"):
        make_directory(out_dir)
    typer.echo(f"Training {model.backbone} on {len(train):,} images, testing on {len(test):,} ({tested_on}).")
    try:
        run = train_run(model, faces, out_dir, data_name=name, overwrite=True)
    except KeyboardInterrupt:
        if not getattr(model, "history_", None) or (run := Run.read(out_dir)).reports is None:
            raise
        typer.echo(f"Interrupted after {len(model.history_)} epochs: the model so far is saved and scored.")
    typer.echo(f"\n{run}\n\nThe model is {out_dir / MODEL}, the report {out_dir / 'report.html'}; figures:")
    for path in sorted(out_dir.glob("*.png")):
        typer.echo(f"  {path}")
    if not run.is_finished:
        raise SystemExit(1)


def _write_comparison(runs, out_dir):
    """Write the comparison as Markdown, JSON and chart, and print the table."""
    columns = {
        "network": runs["name"],
        "input": runs["input_size"],
        "epochs": runs["epochs"],
        "parameters": (runs["parameters"] / 1e6).map("{:.2f} M".format),
        "MFLOP": (runs["flops"] / 1e6).map("{:,.0f}".format),
        "minutes": (runs["seconds"] / 60).map("{:.1f}".format),
        "Training": runs["training_accuracy"].map("{:.2%}".format),
        runs["tested_on"][0]: runs["accuracy"].map("{:.2%}".format),
        "95 % interval": runs["accuracy_low"].map("{:.2%} to ".format) + runs["accuracy_high"].map("{:.2%}".format),
    }
    alignment = ["left", *["right"] * (len(columns) - 1)]
    table = pd.DataFrame(columns).to_markdown(index=False, colalign=alignment, disable_numparse=True)
    write_text(out_dir / "comparison.md", f"{table}\n")
    write_text(out_dir / "comparison.json", json.dumps(runs.to_dict("records"), indent=2) + "\n")
    with offscreen():
        ComparisonDisplay(runs).plot().figure_.savefig(out_dir / "comparison.png", dpi=150)
    typer.echo(
        f"\n{table}\n\nEach row is one trained model. The intervals only cover the sampling of the test images; "
        "training with another seed also changes the accuracy.\n"
        f"The table is in {out_dir / 'comparison.md'} and .json, its chart in {out_dir / 'comparison.png'}"
    )
