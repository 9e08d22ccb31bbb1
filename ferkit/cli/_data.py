"""Data: read or draw faces, and ``ferkit audit``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Option

import ferkit

from ._errors import as_bad_usage, check_written
from ._options import Drop, Json, TestData

if TYPE_CHECKING:
    from sklearn.utils import Bunch

DRAWN = "5,000 drawn faces"
FOLDS = 3  # of the networks that check labels


def load(data: Path, drop_errors: bool, usage: str | None = None) -> "Bunch":
    return ferkit.datasets.load_fer2013(data, usage=usage, errors="drop" if drop_errors else "raise", verbose=1)


def load_or_draw(data: Path | None, drop_errors: bool = False) -> "tuple[Bunch, str]":
    """Return faces and the name of the data."""
    if data is not None:
        return load(data, drop_errors), str(data)
    typer.echo(f"Using {DRAWN}. For real ones: ferkit train fer2013.csv")
    return ferkit.datasets.make_faces(5000, proportions="fer2013", random_state=0), DRAWN


def audit(
    data: TestData,
    labels: Annotated[bool, Option("--labels", help="Also train networks to find labels that may be wrong.")] = False,
    recipe: Annotated[Literal["fast", "balanced", "best"], Option(help="Settings of these networks.")] = "fast",
    csv: Annotated[Path | None, Option(dir_okay=False, help="Write all suspect labels to this file.")] = None,
    figure: Annotated[
        Path | None, Option(dir_okay=False, help="Draw the first suspects to this .png or .svg file.")
    ] = None,
    as_json: Json = False,
    drop_errors: Drop = False,
) -> None:
    """Find exact and near duplicates of images, also across splits or with different labels, and suspect labels."""
    if (csv or figure) and not labels:
        raise typer.BadParameter("--csv and --figure are for suspect labels: add --labels.")
    check_written([data], (csv, "--csv", [".csv"]), (figure, "--figure", [".png", ".svg"]))
    faces = load(data, drop_errors)
    usage = faces.usage if "Training" in faces.usage else None  # otherwise, there is no split to compare with
    found = ferkit.datasets.find_duplicates(faces.data, faces.target, usage, names=faces.origin)
    if not as_json:
        typer.echo(f"{data}, {len(faces.data):,} faces\n\n{found}")
    results = found.to_dict()
    if labels:
        if not as_json:
            typer.echo(f"\nTraining {FOLDS} networks. Each checks the labels of faces that it was not trained on.")
        errors = _find_label_errors(faces, found.group, recipe, verbose=int(not as_json))
        if not as_json:
            typer.echo(f"\n{errors}")
        results["labels"] = errors.to_dict()
        if csv:
            with as_bad_usage("--csv"):
                errors.to_frame().to_csv(csv, index=False)
            if not as_json:
                typer.echo(f"All suspects are in {csv}")
        if figure and not len(errors.row):
            typer.echo(f"No label is suspect, so {figure} is not drawn.", err=True)
        elif figure:
            from ..display._base import offscreen

            with offscreen(), as_bad_usage("--figure"):
                display = ferkit.display.LabelErrorsDisplay.from_errors(errors, faces.data)
                display.figure_.savefig(figure, dpi=150)
    if as_json:
        typer.echo(json.dumps({"data": str(data), **results}, indent=2))


def _find_label_errors(faces, group, recipe, verbose):
    """Check each label by a network that was trained on other faces."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    if faces.target is None:
        raise ValueError("Expected faces with labels for --labels, got none: add a column with the emotions.")
    y = faces.target_names[faces.target]
    if (n_different := len({*group.tolist()})) < FOLDS:
        raise ValueError(f"Expected at least {FOLDS} different faces for --labels, got {n_different}.")
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    model = ferkit.recipes.make_classifier(recipe, random_state=0, verbose=verbose)
    y_proba = cross_val_predict(model, faces.data, y, groups=group, cv=folds, method="predict_proba")
    return ferkit.datasets.find_label_errors(y, y_proba, names=faces.origin)
