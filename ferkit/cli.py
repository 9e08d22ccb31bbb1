"""The ``ferkit`` command: parse options, call the library, print."""

import ast
import json
import re
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import version
from inspect import Signature, signature
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

import ferkit  # whose names are imported when they are used, because --help and --version need no PyTorch

if TYPE_CHECKING:
    from sklearn.utils import Bunch

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Facial expression recognition: train, evaluate and use networks. Add --debug to any command to see the "
    "traceback of an error.",
)

DRAWN = "5,000 drawn faces"

TestData = Annotated[Path, Argument(help="CSV file, archive or image folder.")]
_MODELS = "fer2013-small, a run, a .ferkit or .onnx file, or a .joblib file, which can run code"
Model = Annotated[str, Argument(help=f"The model: {_MODELS}.")]
Out = Annotated[Path, Option("--out", file_okay=False, help="Directory for models, reports, figures, settings.")]
Force = Annotated[bool, Option("--force", help="Overwrite an existing run, or discard an unfinished training.")]
Drop = Annotated[bool, Option("--drop-errors", help="Skip invalid rows and unreadable images.")]
Json = Annotated[bool, Option("--json", help="Print JSON.")]
FaceModel = Annotated[str, Option("--model", help=f"The model: {_MODELS}.")]
Threshold = Annotated[float, Option(min=0, max=1, help="Mark faces as unsure whose highest probability is lower.")]


@dataclass
class Training:
    """Options that `train` and `compare` share."""

    data: Annotated[Path | None, Argument(help="CSV file, archive or image folder. Without it, faces are drawn.")] = (
        None
    )
    recipe: Annotated[
        Literal["fast", "balanced", "best"] | None, Option(help="Named settings; other options override them.")
    ] = None
    epochs: Annotated[
        int | None, Option(min=1, help="Number of passes over the training images. By default 24, or the recipe's.")
    ] = None
    batch_size: Annotated[
        int | None, Option(min=1, help="Number of images per batch. By default, 8 to 256, depending on their number.")
    ] = None
    lr: Annotated[float | None, Option(min=1e-12, help="Learning rate. By default, the backbone's own.")] = None
    input_size: Annotated[int | None, Option(min=1, help="Resize images to this height and width on the device.")] = (
        None
    )
    augment: Annotated[bool, Option(help="Augment the training images.")] = True
    mixup: Annotated[
        float | None, Option(min=0, help="Mixup parameter. By default, 0.2 in trainings of 40 epochs or more.")
    ] = None
    balanced: Annotated[bool, Option("--balanced", help="Weight classes by inverse frequency.")] = False
    validation: Annotated[
        float, Option(min=0, max=0.9, help="Share of training images to score every epoch on, not the test images.")
    ] = 0
    device: Annotated[str, Option(help="cpu, cuda, mps or auto.")] = "auto"
    seed: Annotated[int, Option(min=0, help="Random seed.")] = 0
    more: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other parameter of FERClassifier, such as --set lr_schedule=null. The parameters keep_best, "
            "early_stopping and lr_schedule=plateau select on the test images, which makes the score too high; with "
            "--validation they select on training images.",
        ),
    ] = None
    drop_errors: Drop = False
    force: Force = False

    def build(self, backbone: str) -> "ferkit.FERClassifier":
        """Return the classifier that the options describe."""
        with _as_bad_usage("--backbone"):
            ferkit.backbones.resolve_backbone(backbone)
        with _as_bad_usage("--device"):
            ferkit.training.resolve_device(self.device)
        given = {
            "max_epochs": self.epochs,
            "batch_size": self.batch_size,
            "lr": self.lr,
            "input_size": self.input_size,
            "mixup": self.mixup,
        }
        settings = ferkit.recipes.RECIPES[self.recipe] if self.recipe else {}
        model = ferkit.FERClassifier(
            backbone,
            validation_fraction=self.validation,
            augment=ferkit.ImageAugmenter() if self.augment else None,
            class_weight="balanced" if self.balanced else None,
            device=self.device,
            random_state=self.seed,
            verbose=1,
            **{**settings, **{name: value for name, value in given.items() if value is not None}},
        )
        with _as_bad_usage("--set"):
            for option in self.more or []:
                name, equals, value = option.partition("=")
                if not equals or name == "backbone":
                    raise ValueError(f"Expected NAME=VALUE of a parameter other than the backbone, got {option}.")
                for parse in (ast.literal_eval, json.loads):  # a Python or JSON value; otherwise a word
                    with suppress(ValueError, SyntaxError):
                        value = parse(value)
                        break
                model.set_params(**{name: value})
        return model

    def load(self) -> "tuple[Bunch, str]":
        """Return faces and the name of the data."""
        if self.data is not None:
            return _load(self.data, self.drop_errors), str(self.data)
        typer.echo(f"Using {DRAWN}. For real ones: ferkit train fer2013.csv")
        return ferkit.datasets.make_faces(5000, proportions="fer2013", random_state=0), DRAWN


def _with_shared_options(command):
    """Replace the first parameter of a command, a `Training`, with one option per field."""
    _, *own = signature(command).parameters.values()
    shared = signature(Training).parameters

    @wraps(command)
    def wrapped(**given):
        command(Training(**{name: given.pop(name) for name in shared}), **given)

    # typer reads the options from the signature
    wrapped.__signature__ = Signature([*own, *shared.values()])  # type: ignore[attr-defined]
    return wrapped


def main(argv: list[str] | None = None) -> None:
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
        text = re.sub('(load with|pass) errors="drop"', "add --drop-errors", str(error))
        text = text.replace('pass usage="all"', "add --usage all")
    else:
        text = f"{type(error).__name__}: {error}".splitlines()[0] + " (add --debug for the traceback)"
    typer.secho(f"ferkit: {where}{text}", fg="red", err=True)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ferkit {version('ferkit')}")
        raise typer.Exit


@app.callback()
def _options(
    version_: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
@_with_shared_options
def train(
    options: Training,
    context: typer.Context,
    out_dir: Out = Path("run"),
    backbone: Annotated[str, Option(help="Network to train; `ferkit backbones` lists them.")] = "cnn",
    resume: Annotated[
        Path | None,
        Option(
            metavar="RUN",
            exists=True,
            file_okay=False,
            help="Continue the training in this directory that was stopped. Its options and data are used again; give "
            "DATA if the data have moved.",
        ),
    ] = None,
) -> None:
    """Train on the Training images and report on PublicTest, Validation, Test, or a held-out tenth of Training."""
    if resume:
        _resume(options, context, resume)
        return
    model = options.build(backbone)
    _check_overwrite(out_dir, options.force)
    faces, name = options.load()
    _train(model, faces, name, out_dir)


@app.command()
@_with_shared_options
def compare(
    options: Training,
    backbones: Annotated[
        str, Option(help="Networks to train, separated by commas; `ferkit backbones` lists them.")
    ] = "cnn,resnet18,googlenet",
    out_dir: Out = Path("comparison"),
) -> None:
    """Train several networks with the same settings and compare them. Networks already in the directory are skipped."""
    names = [name.strip() for name in backbones.split(",") if name.strip()]
    suffix = f"-{options.input_size}" if options.input_size else ""
    models = {out_dir / (name.replace("/", "_") + suffix): options.build(name) for name in names}
    if not models:
        raise typer.BadParameter("Expected the name of at least one network, got none.", param_hint="--backbones")
    faces, name = options.load()
    skipped, failed = [], []
    for folder, model in models.items():
        with suppress(FileNotFoundError):
            if (run := ferkit.runs.Run.read(folder)).matches(model, name):
                skipped += [folder] if run.is_finished else []
                continue
        if not ferkit.runs.can_resume(folder, model, name):
            _check_overwrite(folder, options.force)
    try:
        for folder, model in models.items():
            if folder in skipped:
                typer.echo(f"{folder} is already trained.")
                continue
            try:
                _train(model, faces, name, folder, resume=ferkit.runs.can_resume(folder, model, name))
            except Exception as error:  # such as a network too deep for the images; the others can still be trained
                failed.append(folder)
                _print_error(error, f"{folder}: ")
    finally:
        if finished := ferkit.runs.find_runs(out_dir, models, name):
            table = ferkit.runs.write_comparison(ferkit.runs.compare_runs(finished), out_dir)
            typer.echo(
                f"\n{table}\n\nEach row is one trained model. The intervals only cover the sampling of the test "
                "images; training with another seed also changes the accuracy.\n"
                f"The table is in {out_dir / 'comparison.md'} and .json, its chart in {out_dir / 'comparison.png'}"
            )
    if failed:
        raise SystemExit(1)


@app.command("backbones")
def show_backbones(
    name: Annotated[str | None, Argument(help="Network to show layer by layer.")] = None,
    input_size: Annotated[int | None, Option(min=1, help="Height and width of the images.")] = None,
    figure: Annotated[Path | None, Option(help="Draw NAME to this .png or .svg file.")] = None,
) -> None:
    """List the networks and their cost per image, or show one network layer by layer."""
    from .backbones._inspect import try_summarize
    from .display._base import offscreen

    if name is None:
        if figure:
            raise typer.BadParameter("--figure draws one network: add its NAME.")
        typer.echo(f"{'name':21} {'input':>7} {'parameters':>10} {'MFLOP':>9}  reference")
        for each in ferkit.backbones.list_backbones():
            backbone = ferkit.backbones.resolve_backbone(each)
            size = input_size or backbone.input_size
            summary = try_summarize(backbone.build, size)
            cost = f"{summary.parameters / 1e6:8.2f} M {summary.flops / 1e6:9,.0f}" if summary else "too small"
            typer.echo(f"{each:21} {size:>3}×{size:<3} {cost:>20}  {backbone.reference}")
        typer.echo("and every network of timm as timm/<name>")
        return
    if figure and figure.suffix.lower() not in (".png", ".svg"):
        raise typer.BadParameter(f"Expected a .png or .svg file, got {figure}.", param_hint="--figure")
    with _as_bad_usage("NAME"):
        backbone = ferkit.backbones.resolve_backbone(name)
    size = input_size or backbone.input_size
    summary = try_summarize(backbone.build, size)
    if summary is None:
        sizes = ", ".join(map(str, ferkit.backbones.find_sizes(backbone.build, in_channels=1)))
        raise ValueError(f"Expected an --input-size that {name} accepts, got {size}: use one such as {sizes}.")
    typer.echo(f"{name}, one gray image of {size}×{size}, 7 classes\n\n{summary}")
    if figure:
        with offscreen():
            ferkit.display.BackboneDisplay(summary, title=f"{name} at {size}×{size}").plot().figure_.savefig(
                figure, dpi=150
            )
        typer.echo(f"The diagram is in {figure}")


@app.command()
def demo(out_dir: Out = Path("demo"), force: Force = False) -> None:
    """Train on drawn faces, in about two minutes, and list the results."""
    _check_overwrite(out_dir, force)
    model = ferkit.FERClassifier(max_epochs=10, class_weight="balanced", random_state=0, verbose=1)
    faces, name = Training().load()
    _train(model, faces, name, out_dir)


@app.command()
def evaluate(
    model: Model,
    data: TestData,
    usage: Annotated[
        Literal["Training", "PublicTest", "PrivateTest", "Validation", "Test", "all"] | None,
        Option(help="Images to score on. By default, the first of PublicTest, Validation and Test that exists."),
    ] = None,
    as_json: Json = False,
    drop_errors: Drop = False,
) -> None:
    """Score a saved model."""
    _check_model(model)
    classifier = ferkit.runs.read_model(model)
    split, report = ferkit.runs.score_split(
        classifier, _load(data, drop_errors, None if usage == "all" else usage), usage
    )
    if as_json:
        typer.echo(json.dumps({"model": str(model), "data": str(data), "usage": split, **report.to_dict()}, indent=2))
    else:
        typer.echo(f"{model} on {data}, {split}\n\n{report}")


@app.command()
def audit(data: TestData, as_json: Json = False, drop_errors: Drop = False) -> None:
    """Find exact and near duplicates, also across splits or with different labels."""
    faces = _load(data, drop_errors)
    usage = faces.usage if "Training" in faces.usage else None  # otherwise, there is no split to compare with
    found = ferkit.datasets.find_duplicates(faces.data, faces.target, usage, names=faces.origin)
    if as_json:
        typer.echo(json.dumps({"data": str(data), **found.to_dict()}, indent=2))
    else:
        typer.echo(f"{data}, {len(faces.data):,} faces\n\n{found}")


@app.command()
def predict(
    images: Annotated[
        list[str],
        Argument(
            metavar="[MODEL] IMAGES...",
            help=f"Images of faces, and folders of them. The first argument can be a model: {_MODELS}. The default is "
            "fer2013-small.",
        ),
    ],
    as_json: Json = False,
    as_csv: Annotated[bool, Option("--csv", help="Print CSV.")] = False,
    drop_errors: Drop = False,
) -> None:
    """Predict the expression in images, with the probability of each emotion."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    from ._files import find_images

    model, *images = images if ferkit.runs.is_model(images[0]) else ("fer2013-small", *images)
    _check_model(model)
    if not images:
        raise typer.BadParameter("Expected images after the model, got none.", param_hint="IMAGES")
    for image in images:
        _check_exists(Path(image), "IMAGES")
    paths = [path for given in images for path in find_images(Path(given))]
    table, skipped = ferkit.runs.predict_files(
        ferkit.runs.read_model(model), paths, errors="drop" if drop_errors else "raise"
    )
    for path, error in skipped.items():
        typer.echo(f"Skipped {path}: {error}", err=True)
    typer.echo("Each image was taken as one face and resized; no face was searched for.", err=True)
    if not as_json and not as_csv:
        for _, (path, _, *row) in table.iterrows():
            ranked = sorted(zip(table.columns[2:], row, strict=True), key=lambda pair: -pair[1])
            typer.echo(f"{path}: {', '.join(f'{emotion} {probability:.1%}' for emotion, probability in ranked)}")
        return
    typer.echo(json.dumps(table.to_dict("records"), indent=2) if as_json else table.to_csv(index=False).rstrip())


@app.command()
def export(
    path: Annotated[Path, Argument(metavar="FILE.onnx", help="The file to write.")],
    model: Annotated[str, Option(help="The model: fer2013-small, a run, or a .ferkit file.")] = "fer2013-small",
    int8: Annotated[
        Path | None,
        Option(metavar="DATA", help="Compute in int8, with ranges from 512 images of this CSV file or folder."),
    ] = None,
    force: Force = False,
) -> None:
    """Write a model to an ONNX file, from pictures of any size to probabilities."""
    if path.suffix != ".onnx":
        raise typer.BadParameter(f"Expected a file that ends in .onnx, got {path}.", param_hint="FILE.onnx")
    if path.exists() and not force:
        raise typer.BadParameter(f"{path} exists: choose another file, or add --force.", param_hint="FILE.onnx")
    _check_model(model)
    faces = _load(int8, drop_errors=False).data if int8 else None
    ferkit.export(
        ferkit.runs.read_model(model),
        path,
        card=ferkit.runs.find_card(model),
        quantize=faces if faces is None else faces[:: -(-len(faces) // 512)],
    )
    typer.echo(f"The model is {path} ({path.stat().st_size / 1e6:.1f} MB)")


@app.command()
def photo(
    images: Annotated[list[Path], Argument(help="Photos, and folders of them.", exists=True)],
    out_dir: Annotated[
        Path | None, Option("--out", file_okay=False, help="Directory for copies with boxes and emotions.")
    ] = None,
    csv: Annotated[Path | None, Option("--csv", dir_okay=False, help="Write the table to this file.")] = None,
    as_json: Json = False,
    model: FaceModel = "fer2013-small",
    threshold: Threshold = 0.5,
    drop_errors: Drop = False,
) -> None:
    """Find the faces in photos and recognize their expressions."""
    from ._files import find_images
    from .photos._drawing import plan_copies

    _check_model(model)
    paths = [*dict.fromkeys(path for given in images for path in find_images(given))]
    _check_written(paths, (csv, "--csv", [".csv"]))
    if out_dir:
        with _as_bad_usage("--out"):
            ferkit.runs.make_directory(out_dir)
            plan_copies(paths, out_dir)
    table = ferkit.photos.analyze(
        paths,
        ferkit.runs.read_model(model),
        threshold=threshold,
        errors="drop" if drop_errors else "raise",
        verbose=1,
    )
    for path, error in table.attrs["skipped"].items():
        typer.echo(f"Skipped {path}: {error}", err=True)
    if as_json:
        typer.echo(json.dumps(table.to_dict("records"), indent=2))
    else:
        for path in map(str, paths):
            if path not in table.attrs["skipped"]:
                typer.echo(f"{path}: {_describe(table[table['file'] == path])}")
    if csv:
        with _as_bad_usage("--csv"):
            table.to_csv(csv, index=False)
    if out_dir:
        with _as_bad_usage("--out"):
            ferkit.photos.annotate_photos(paths, table, out_dir)
        typer.echo(f"The photos with boxes are in {out_dir}", err=True)


@app.command()
def video(
    file: Annotated[Path, Argument(help="The video.", exists=True, dir_okay=False)],
    out: Annotated[Path | None, Option("--out", dir_okay=False, help="Write the table to this CSV file.")] = None,
    annotated: Annotated[
        Path | None,
        Option(dir_okay=False, help="Write a copy with boxes and emotions: .mp4, .webm or .avi."),
    ] = None,
    timeline: Annotated[
        Path | None, Option(dir_okay=False, help="Draw the probabilities over time to this .png or .svg file.")
    ] = None,
    every: Annotated[str, Option(help="Analyze each n-th frame, or one per interval such as 0.5s.")] = "1",
    model: FaceModel = "fer2013-small",
    threshold: Threshold = 0.5,
) -> None:
    """Find the faces in a video, follow them and recognize their expressions over time."""
    from .photos._sources import VIDEO_SUFFIXES, is_video

    _check_model(model)
    if not is_video(file):
        raise typer.BadParameter(
            f"Expected a video ({', '.join(VIDEO_SUFFIXES)}), got {file}: for photos use `ferkit photo`.",
            param_hint="FILE",
        )
    _check_written(
        [file],
        (out, "--out", [".csv"]),
        (annotated, "--annotated", [".mp4", ".webm", ".avi"]),
        (timeline, "--timeline", [".png", ".svg"]),
    )
    step = int(every) if every.isdecimal() else every
    table = ferkit.photos.analyze(file, ferkit.runs.read_model(model), threshold=threshold, every=step, verbose=1)
    for track, faces in table.groupby("track"):
        shares = faces["emotion"].value_counts(normalize=True)
        emotions = ", ".join(f"{emotion} {share:.0%}" for emotion, share in shares.items())
        typer.echo(f"track {track}, {faces['time'].iloc[0]:.1f} to {faces['time'].iloc[-1]:.1f} s: {emotions}")
    if not len(table):
        typer.echo("no face")
    if out:
        with _as_bad_usage("--out"):
            table.to_csv(out, index=False)
    if annotated:
        with _as_bad_usage("--annotated"):
            ferkit.photos.annotate_video(file, table, annotated)
    if timeline:
        from .display._base import offscreen

        with offscreen(), _as_bad_usage("--timeline"):
            ferkit.display.TimelineDisplay(table).plot().figure_.savefig(timeline, dpi=150)
    if written := [str(path) for path in (out, annotated, timeline) if path]:
        typer.echo(f"Written: {', '.join(written)}")


@app.command()
def webcam(
    camera: Annotated[int, Option(min=0, help="Index of the camera.")] = 0,
    model: FaceModel = "fer2013-small",
    threshold: Threshold = 0.5,
) -> None:
    """Recognize the expressions in front of a camera, in a window or, without one, as a table. Ctrl-C or q stops."""
    _check_model(model)
    from .photos._window import open_window

    before = None
    with open_window("ferkit") as show, suppress(KeyboardInterrupt):
        for image, table in ferkit.photos.watch(camera, ferkit.runs.read_model(model), threshold=threshold):
            if show is not None:
                if not show(ferkit.photos.draw_faces(image, table)):
                    break
            elif (now := [*zip(table["track"], table["emotion"], table["unsure"], strict=True)]) != before:
                typer.echo(_describe(table))
                before = now


def _describe(faces):
    """Return the emotions of the faces in a picture as text."""
    from .photos._drawing import describe

    return ", ".join(map(describe, faces.to_dict("records"))) or "no face"


@app.command()
def serve(
    model: Model = "fer2013-small",
    host: Annotated[
        str, Option(help="Address to listen on. 0.0.0.0 accepts connections from other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="Port to listen on. 0 picks a free one.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        Option(
            metavar="NAME",
            help="Name under which the server is reached, such as the one of a proxy. Without it, a server on "
            "127.0.0.1 only answers to localhost and 127.0.0.1, and others answer to any name.",
        ),
    ] = None,
    threshold: Annotated[float, Option(min=0, max=1, help="A face is unsure below this probability.")] = 0.5,
    max_bytes: Annotated[int, Option(min=1, help="Maximum size of an upload.")] = 10_000_000,
    max_pixels: Annotated[int, Option(min=1, help="Maximum number of pixels of an image.")] = 40_000_000,
    max_requests: Annotated[int, Option(min=1, help="Maximum number of photos in progress at the same time.")] = 32,
    timeout: Annotated[float, Option(min=1, help="Maximum number of seconds per upload and per analysis.")] = 30,
) -> None:
    """Serve a page that recognizes expressions in photos and from the camera, and its web API."""
    _check_model(model)
    names = list(allow_host or [])
    if _is_loopback(host):
        names += ferkit.serving.LOOPBACK
    app = ferkit.serving.create_app(
        model,
        threshold=threshold,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        max_requests=max_requests,
        timeout=timeout,
        allowed_hosts=names or None,
    )
    ferkit.serving.serve(app, host, port, started=lambda url: typer.echo(f"{url}  (Ctrl-C stops the server)"))


def _is_loopback(host):
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


@contextmanager
def _as_bad_usage(parameter):
    """Turn the errors that the library raises for bad values into bad usage of an option."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error), param_hint=parameter) from error


def _check_written(inputs, *outputs):
    """Check the files that a command will write, before it starts: path or None, option and suffixes of each."""
    taken = [*inputs]
    for path, option, suffixes in outputs:
        if path is None:
            continue
        with _as_bad_usage(option):
            if path.suffix.lower() not in suffixes:
                raise ValueError(f"Expected a {' or '.join(suffixes)} file, got {path}.")
            if not path.parent.is_dir():
                raise ValueError(f"Expected a file in an existing directory, got {path}: create {path.parent}.")
            if path.resolve() in map(Path.resolve, taken):
                raise ValueError(f"Expected another file than those that are read or written, got {path}.")
        taken.append(path)


def _check_overwrite(out_dir, force):
    found = ferkit.runs.find_training(out_dir)
    if found and not force:
        more = f" To continue the training: ferkit train --resume {out_dir}" if "unfinished" in found else ""
        raise typer.BadParameter(
            f"{out_dir} already contains {found}: choose another directory, or add --force.{more}", param_hint="--out"
        )


def _check_model(name):
    if name not in ferkit.models.list_models():
        _check_exists(Path(name), "MODEL")


def _check_exists(path, parameter):
    if not path.exists():
        raise typer.BadParameter(f"'{path}' does not exist.", param_hint=parameter)


def _load(data, drop_errors, usage=None):
    return ferkit.datasets.load_fer2013(data, usage=usage, errors="drop" if drop_errors else "raise", verbose=1)


def _resume(options, context, path):
    """Continue an unfinished training."""
    known = ("resume", "data", "drop_errors")
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if parameter.name not in known and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"--resume uses the options of the run: leave {parameter.opts[0]} out.")
    with _as_bad_usage("--resume"):
        model, name = ferkit.runs.read_unfinished(path)
    if options.data is None and name != DRAWN:
        if name is None or not Path(name).exists():
            raise typer.BadParameter(f"Expected the data of the run, got no file {name}: add DATA, their path.")
        options.data = Path(name)
    faces, _ = options.load()
    _train(model.set_params(verbose=1), faces, name, path, resume=True)


def _train(model, faces, name, out_dir, resume=False):
    """Train into a directory and print the result."""
    train, test, tested_on = ferkit.runs.split_rows(faces)
    with _as_bad_usage("--out"):
        ferkit.runs.make_directory(out_dir)
    typer.echo(f"Training {model.backbone} on {len(train):,} images, testing on {len(test):,} ({tested_on}).")
    try:
        run = ferkit.runs.train_run(model, faces, out_dir, data_name=name, overwrite=True, resume=resume)
    except KeyboardInterrupt:
        if ferkit.runs.find_training(out_dir) == "an unfinished training":
            typer.echo(f"Training was interrupted. To continue: ferkit train --resume {out_dir}")
        if not getattr(model, "history_", None) or not (out_dir / ferkit.runs.SETTINGS).exists():
            raise
        if (run := ferkit.runs.Run.read(out_dir)).is_finished:  # an earlier one, which is kept
            raise
        typer.echo(f"Interrupted after {len(model.history_)} epochs: the model so far is saved and scored.")
    model_path, report_path = ferkit.runs.find_model(out_dir), out_dir / "report.html"
    typer.echo(f"\n{run}\n\nThe model is {model_path}, the report {report_path}; figures:")
    for path in sorted(out_dir.glob("*.png")):
        typer.echo(f"  {path}")
    if not run.is_finished:
        raise SystemExit(1)
