"""Commands that find faces: photo, video, webcam."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import ferkit

from ._errors import as_bad_usage, check_model, check_written, read_model, read_predictor
from ._options import DropImages, FaceModel, Json, Threshold


def photo(
    images: Annotated[list[Path], Argument(help="Photos, or folders of photos.", exists=True)],
    out_dir: Annotated[
        Path | None, Option("--out", file_okay=False, help="Directory for copies with boxes and emotions.")
    ] = None,
    csv: Annotated[Path | None, Option("--csv", dir_okay=False, help="Write the table of faces to this file.")] = None,
    as_json: Json = False,
    model: FaceModel = "fer2013-small",
    threshold: Threshold = 0.5,
    drop_errors: DropImages = False,
    force: Annotated[bool, Option("--force", help="Overwrite existing copies in the directory of --out.")] = False,
) -> None:
    """Find the faces in photos and recognize their expressions."""
    from .._files import find_images, make_directory
    from ..photos._drawing import plan_copies

    check_model(model, "--model")
    paths = [*dict.fromkeys(path for given in images for path in find_images(given))]
    check_written(paths, (csv, "--csv", [".csv"]))
    if out_dir:
        with as_bad_usage("--out"):
            make_directory(out_dir)
            plan_copies(paths, out_dir, force)
    table = ferkit.photos.analyze(
        paths,
        read_predictor(model),
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
        with as_bad_usage("--csv"):
            table.to_csv(csv, index=False)
    if out_dir:
        with as_bad_usage("--out"):
            copies = ferkit.photos.annotate_photos(paths, table, out_dir, overwrite=force)
        typer.echo(f"Photos with boxes in {out_dir}: {len(copies)}", err=True)


def video(
    file: Annotated[Path, Argument(help="The video.", exists=True, dir_okay=False)],
    out: Annotated[
        Path | None, Option("--out", dir_okay=False, help="Write the table of faces to this CSV file.")
    ] = None,
    annotated: Annotated[
        Path | None,
        Option(dir_okay=False, help="Write a copy with boxes and emotions to this .mp4, .webm or .avi file."),
    ] = None,
    timeline: Annotated[
        Path | None, Option(dir_okay=False, help="Draw the probabilities over time to this .png or .svg file.")
    ] = None,
    every: Annotated[str, Option(help="Analyze every n-th frame, or one frame per interval such as 0.5s.")] = "1",
    model: FaceModel = "fer2013-small",
    threshold: Threshold = 0.5,
) -> None:
    """Find the faces in a video, follow them and recognize their expressions over time."""
    from ..photos._sources import VIDEO_SUFFIXES, is_video, parse_every

    check_model(model, "--model")
    if not is_video(file):
        raise typer.BadParameter(
            f"Expected a video ({', '.join(VIDEO_SUFFIXES)}), got {file}: for photos use `ferkit photo`.",
            param_hint="FILE",
        )
    check_written(
        [file],
        (out, "--out", [".csv"]),
        (annotated, "--annotated", [".mp4", ".webm", ".avi"]),
        (timeline, "--timeline", [".png", ".svg"]),
    )
    step = int(every) if every.isdecimal() else every
    with as_bad_usage("--every"):
        parse_every(step)
    table = ferkit.photos.analyze(file, read_model(model), threshold=threshold, every=step, verbose=1)
    for track, faces in table.groupby("track"):
        shares = faces["emotion"].value_counts(normalize=True)
        emotions = ", ".join(f"{emotion} {share:.0%}" for emotion, share in shares.items())
        typer.echo(f"track {track}, {faces['time'].iloc[0]:.1f} to {faces['time'].iloc[-1]:.1f} s: {emotions}")
    if not len(table):
        typer.echo("no face")
    if out:
        with as_bad_usage("--out"):
            table.to_csv(out, index=False)
    if annotated:
        with as_bad_usage("--annotated"):
            ferkit.photos.annotate_video(file, table, annotated)
    if timeline and not len(table):
        typer.echo(f"There is nothing to draw in {timeline}, which is not written.")
        timeline = None
    if timeline:
        from ..display._base import offscreen

        with offscreen(), as_bad_usage("--timeline"):
            ferkit.display.TimelineDisplay(table).plot().figure_.savefig(timeline, dpi=150)
    if written := [str(path) for path in (out, annotated, timeline) if path]:
        typer.echo(f"Written: {', '.join(written)}")


def webcam(
    camera: Annotated[int, Option(min=0, help="Index of the camera.")] = 0,
    model: FaceModel = "fer2013-small",
    threshold: Threshold = 0.5,
) -> None:
    """Recognize expressions in front of a camera. Opens a window, or prints text if it cannot. Ctrl-C or q stops."""
    check_model(model, "--model")
    from ..photos._window import open_window

    before = None
    with open_window("ferkit") as show, suppress(KeyboardInterrupt):
        for image, table in ferkit.photos.watch(camera, read_predictor(model), threshold=threshold):
            if show is not None:
                if not show(ferkit.photos.draw_faces(image, table)):
                    break
            elif (now := [*zip(table["track"], table["emotion"], table["unsure"], strict=True)]) != before:
                typer.echo(_describe(table))
                before = now


def _describe(faces):
    """Return the emotions of the faces in a picture as text."""
    from ..photos._drawing import describe

    return ", ".join(map(describe, faces.to_dict("records"))) or "no face"
