"""Commands about networks and saved models: backbones, evaluate, predict, export."""

import json
from csv import DictWriter
from io import StringIO
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

import ferkit

from ._data import load
from ._errors import as_bad_usage, check_exists, check_model, check_written, read_model, read_predictor
from ._options import MODELS, Drop, DropImages, Json, Model, TestData


def backbones(
    name: Annotated[str | None, Argument(help="Network to show layer by layer.")] = None,
    input_size: Annotated[int | None, Option(min=1, help="Height and width of the images.")] = None,
    figure: Annotated[Path | None, Option(help="Draw the network NAME to this .png or .svg file.")] = None,
) -> None:
    """List the networks and their cost per image, or show one network layer by layer."""
    from ..backbones._inspect import try_summarize
    from ..display._base import offscreen

    if name is None:
        if figure:
            raise typer.BadParameter("--figure draws one network: add its NAME.")
        typer.echo(f"{'name':21} {'input':>7} {'parameters':>10} {'MFLOP':>9}  reference")
        for each in ferkit.backbones.list_backbones():
            backbone = ferkit.backbones.resolve_backbone(each)
            size = input_size or backbone.input_size
            summary = try_summarize(backbone.build, size)
            cost = f"{summary.parameters / 1e6:8.2f} M {summary.flops / 1e6:9,.0f}" if summary else "does not fit"
            typer.echo(f"{each:21} {size:>3}×{size:<3} {cost:>20}  {backbone.reference}")
        typer.echo("and every network of timm as timm/<name>")
        return
    check_written([], (figure, "--figure", [".png", ".svg"]))
    with as_bad_usage("NAME"):
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
    """Score a model on labeled images."""
    check_model(model)
    classifier = read_model(model)
    split, report = ferkit.runs.score_split(
        classifier, load(data, drop_errors, None if usage == "all" else usage), usage
    )
    if as_json:
        typer.echo(json.dumps({"model": str(model), "data": str(data), "usage": split, **report.to_dict()}, indent=2))
    else:
        typer.echo(f"{model} on {data}, {split}\n\n{report}")


def predict(
    images: Annotated[
        list[str],
        Argument(
            metavar="[MODEL] IMAGES",
            help="Images of one face each, or folders of such images. A model may come first; without one, "
            f"fer2013-small is used. Models: {MODELS}",
        ),
    ],
    as_json: Json = False,
    as_csv: Annotated[bool, Option("--csv", help="Print CSV.")] = False,
    drop_errors: DropImages = False,
) -> None:
    """Predict the expression in images of one face each. For other photos, use `ferkit photo`."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other.")
    from .._files import find_images
    from ..models._predict import predict_files
    from ..models._read import is_model

    model, *images = images if is_model(images[0]) else ("fer2013-small", *images)
    check_model(model)
    if not images:
        raise typer.BadParameter("Expected images after the model, got none.", param_hint="IMAGES")
    for image in images:
        check_exists(Path(image), "IMAGES")
    paths = [path for given in images for path in find_images(Path(given))]
    rows, skipped = predict_files(read_predictor(model), paths, errors="drop" if drop_errors else "raise")
    for path, error in skipped.items():
        typer.echo(f"Skipped {path}: {error}", err=True)
    typer.echo("Each image was taken as one face and resized; no face was searched for.", err=True)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif as_csv:
        text = StringIO()
        table = DictWriter(text, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        typer.echo(text.getvalue().rstrip())
    else:
        for row in rows:
            _, _, *probabilities = row.items()
            ranked = sorted(probabilities, key=lambda pair: -pair[1])
            typer.echo(
                f"{row['image']}: {', '.join(f'{emotion} {probability:.1%}' for emotion, probability in ranked)}"
            )


def export(
    path: Annotated[Path, Argument(metavar="FILE.onnx", help="The file to write.")],
    model: Annotated[
        str, Option(help="The model: fer2013-small, the directory of a run, or a .ferkit file.")
    ] = "fer2013-small",
    int8: Annotated[
        Path | None,
        Option(
            metavar="DATA",
            help="Compute with 8-bit integers. Up to 512 images of this CSV file or folder determine the ranges.",
        ),
    ] = None,
    force: Annotated[bool, Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a model to an ONNX file that takes images of any size and returns probabilities."""
    from ..models._read import find_card

    if path.suffix != ".onnx":
        raise typer.BadParameter(f"Expected a file that ends in .onnx, got {path}.", param_hint="FILE.onnx")
    if path.exists() and not force:
        raise typer.BadParameter(f"{path} exists: choose another file, or add --force.", param_hint="FILE.onnx")
    check_model(model)
    faces = load(int8, drop_errors=False).data if int8 else None
    ferkit.export(
        read_model(model),
        path,
        card=find_card(model),
        quantize=faces if faces is None else faces[:: -(-len(faces) // 512)],
    )
    typer.echo(f"The model is {path} ({path.stat().st_size / 1e6:.1f} MB)")
