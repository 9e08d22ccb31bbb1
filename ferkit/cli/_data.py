"""Data: read or draw faces, and ``ferkit audit``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import ferkit

from ._options import Drop, Json, TestData

if TYPE_CHECKING:
    from sklearn.utils import Bunch

DRAWN = "5,000 drawn faces"


def load(data: Path, drop_errors: bool, usage: str | None = None) -> "Bunch":
    return ferkit.datasets.load_fer2013(data, usage=usage, errors="drop" if drop_errors else "raise", verbose=1)


def load_or_draw(data: Path | None, drop_errors: bool = False) -> "tuple[Bunch, str]":
    """Return faces and the name of the data."""
    if data is not None:
        return load(data, drop_errors), str(data)
    typer.echo(f"Using {DRAWN}. For real ones: ferkit train fer2013.csv")
    return ferkit.datasets.make_faces(5000, proportions="fer2013", random_state=0), DRAWN


def audit(data: TestData, as_json: Json = False, drop_errors: Drop = False) -> None:
    """Find exact and near duplicates of images, also across splits or with different labels."""
    faces = load(data, drop_errors)
    usage = faces.usage if "Training" in faces.usage else None  # otherwise, there is no split to compare with
    found = ferkit.datasets.find_duplicates(faces.data, faces.target, usage, names=faces.origin)
    if as_json:
        typer.echo(json.dumps({"data": str(data), **found.to_dict()}, indent=2))
    else:
        typer.echo(f"{data}, {len(faces.data):,} faces\n\n{found}")
