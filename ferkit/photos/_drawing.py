"""Draw boxes and emotions into photos and videos, pixel by pixel. `ferkit.display` draws figures."""

from collections.abc import Iterable
from io import BytesIO
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from .._files import write_atomically
from ._sources import import_cv2, open_video, to_photo, walk_video

__all__ = ["annotate_photos", "annotate_video", "draw_faces"]

CODECS = {".avi": "MJPG", ".webm": "VP80"}  # otherwise mp4v; OpenCV's packages have no encoder for H.264
LIGHT, DARK = (255, 255, 255), (0, 0, 0)  # legible on every photo and for everybody


def draw_faces(image: Any, table: pd.DataFrame) -> np.ndarray:
    """Draw the boxes of faces into an image, with their emotions and probabilities.

    Parameters
    ----------
    image : path, bytes, stream, PIL image or ndarray
        The photo.
    table : DataFrame
        Its faces, as :func:`analyze` returns them. From a table of several photos, select the rows of one.

    Returns
    -------
    ndarray of shape (height, width, 3) and dtype uint8
        The photo as RGB with boxes. A dashed box and a question mark mark unsure faces. The names of the emotions may
        be in Latin, Greek or Cyrillic letters.

    See Also
    --------
    ferkit.display.PhotoDisplay : A figure that also shows the other probabilities.

    Examples
    --------
    >>> from ferkit.photos import analyze, draw_faces
    >>> from PIL import Image
    >>> photo = Image.new("RGB", (640, 480), "gray")
    >>> draw_faces(photo, analyze(photo)).shape
    (480, 640, 3)
    """
    check_one_image(table)
    canvas = Image.fromarray(to_photo(image))
    draw = ImageDraw.Draw(canvas)
    unit = max(1, round(max(canvas.size) / 600))
    for face in table.to_dict("records"):
        left, top, right, bottom = box_of(face)
        for color, width, inset in ((DARK, 4 * unit, 0), (LIGHT, 2 * unit, unit)):
            corners = [left + inset, top + inset, right - inset, bottom - inset]
            if not face["unsure"] or color == DARK:
                draw.rectangle([*corners[:2], *np.maximum(corners[2:], corners[:2])], outline=color, width=width)
            else:
                _dash(draw, corners, color, width, 6 * unit)
        text = describe(face)
        font = _load_font(text, float(np.clip((right - left) / 7, 11 * unit, 18 * unit)))
        x, y = max(0, min(left, canvas.width - draw.textlength(text, font) - 6 * unit)), top
        height = font.getbbox(text)[3] + 4 * unit
        y = y - height if y >= height else min(bottom, canvas.height - height)
        draw.rectangle([x, y, x + draw.textlength(text, font) + 6 * unit, y + height], fill=DARK)
        draw.text((x + 3 * unit, y + unit), text, LIGHT, font)
    return np.asarray(canvas)


def check_one_image(table):
    """Check that all faces of a table belong to one photo or frame."""
    for column in {"file", "frame"}.intersection(table):
        names = table[column].unique().tolist()
        if len(names) > 1:
            raise ValueError(
                f"Expected the faces of one image, got those of {len(names)}: select them, such as with "
                f'table[table["{column}"] == {names[0]!r}].'
            )


def check_columns(table, source, columns):
    """Check that a table has the columns that `analyze` returns for a source."""
    if not columns <= {*table}:
        raise ValueError(
            f"Expected the table of a {source}, with {' and '.join(sorted(columns))}, got the columns {[*table][:4]}: "
            f"pass the result of analyze for a {source}."
        )


def box_of(face):
    """Return left, top, right and bottom of a row."""
    return face["left"], face["top"], face["left"] + face["width"], face["top"] + face["height"]


def describe(face):
    """Return the emotion and its probability as text; unsure ones end in a question mark."""
    emotion = str(face["emotion"])
    return f"{emotion} {face[emotion]:.0%}{' ?' * bool(face['unsure'])}"


def _load_font(text, size):
    """Return Pillow's font, or the one of matplotlib for letters that the former lacks, such as umlauts."""
    if text.isascii():
        return ImageFont.load_default(size)
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)


def _dash(draw, corners, color, width, length):
    left, top, right, bottom = corners
    for start in np.arange(left, right, 2 * length):
        for y in (top, bottom - width + 1):
            draw.rectangle([start, y, min(start + length, right), y + width - 1], fill=color)
    for start in np.arange(top, bottom, 2 * length):
        for x in (left, right - width + 1):
            draw.rectangle([x, start, x + width - 1, min(start + length, bottom)], fill=color)


def annotate_photos(
    paths: Iterable[str | PathLike], table: pd.DataFrame, directory: str | PathLike, *, overwrite: bool = False
) -> list[Path]:
    """Write copies of photos with boxes and emotions.

    Parameters
    ----------
    paths : iterable of paths
        The photos that were analyzed. Those that were skipped, because they could not be read, get no copy.
    table : DataFrame
        Their faces, as :func:`analyze` returns them. It may spell the paths in another way.
    directory : path
        The directory of the copies. It is created if it does not exist. Copies keep the names of the photos, with
        numbers where two are the same; formats other than JPEG become PNG.
    overwrite : bool, default=False
        Whether to replace existing files that have the name of a copy. By default, they raise an error, and nothing is
        written. The photos themselves are never replaced.

    Returns
    -------
    list of Path
        The copies.

    Examples
    --------
    >>> from ferkit.photos import analyze, annotate_photos
    >>> annotate_photos(["party.jpg"], analyze(["party.jpg"]), "annotated")  # doctest: +SKIP
    [PosixPath('annotated/party.jpg')]
    """
    check_columns(table, "photo", {"file", "face"})
    files = table["file"].map(_identity)
    skipped = set(map(_identity, table.attrs.get("skipped", ())))
    photos = {_identity(path): path for path in map(Path, paths)}
    if len(table) and not files.isin(photos).any():
        raise ValueError(
            f"Expected the photos of the table, such as {table['file'].iloc[0]}, got {[*map(str, photos.values())][:3]}"
            ": pass the paths that were analyzed."
        )
    copies = dict(zip(photos, plan_copies(photos.values(), directory, overwrite), strict=True))
    Path(directory).mkdir(parents=True, exist_ok=True)
    copies = {name: copy for name, copy in copies.items() if name not in skipped}
    for name, copy in copies.items():
        faces = table[files == name].drop_duplicates("face")  # the list may contain a photo twice
        content = BytesIO()
        kind = "PNG" if copy.suffix == ".png" else "JPEG"
        Image.fromarray(draw_faces(photos[name], faces)).save(content, kind)
        write_atomically(copy.resolve(), content.getvalue())  # Pillow does not notice a full disk
    return [*copies.values()]


def plan_copies(paths, directory, overwrite=False):
    """Return where the copy of each photo is written, after checking that this replaces neither photos nor files."""
    copies: dict[str, Path] = {}  # by name in lower case, because some file systems ignore case
    for path in paths:
        suffix = path.suffix if path.suffix.lower() in (".jpg", ".jpeg") else ".png"
        names = (f"{path.stem}{(number and f'_{number}') or ''}{suffix}" for number in count())
        name = next(name for name in names if name.lower() not in copies)
        copies[name.lower()] = Path(directory, name)
    photos = {_inode(path) for path in paths if path.exists()}
    for copy in copies.values():
        if copy.exists() and (not overwrite or _inode(copy) in photos):
            remedy = "choose a new one" + ", or pass overwrite=True" * (_inode(copy) not in photos)
            raise FileExistsError(
                f"Expected another directory than {directory}, which already contains {copy.name}: {remedy}."
            )
    return [*copies.values()]


def _inode(path):
    """Return the same for all names of a file, also for links and where case does not matter."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _identity(path):
    """Return the same for all spellings of a path; photos that are not files keep their position."""
    return str(Path(path).resolve()) if isinstance(path, (str, PathLike)) else path


def annotate_video(
    video: str | PathLike, table: pd.DataFrame, path: str | PathLike, *, every: int | str | None = None
) -> None:
    """Write a copy of a video with boxes and emotions, without its sound.

    Parameters
    ----------
    video : path
        The video that was analyzed.
    table : DataFrame
        Its faces, as :func:`analyze` returns them. In frames between two analyzed ones, boxes stay where they were.
    path : path
        The file to write: .mp4 (MPEG-4), .webm (VP8, for browsers) or .avi (Motion JPEG).
    every : int or str, default=None
        The value of ``every`` with which the video was analyzed. None takes it from ``table.attrs["every"]``, where
        :func:`analyze` stores it, or 1 if the table does not have it, such as one from a CSV file.

    Examples
    --------
    >>> from ferkit.photos import analyze, annotate_video
    >>> annotate_video("talk.mp4", analyze("talk.mp4"), "annotated.mp4")  # doctest: +SKIP
    """
    cv2 = import_cv2()
    check_columns(table, "video", {"frame"})
    if Path(path).resolve() == Path(video).resolve():
        raise ValueError(f"Expected another file than the video itself, got {path}.")
    path = Path(path).resolve()  # a link keeps its name
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"Expected an .mp4, .webm or .avi file in an existing directory, got {path}: choose another.")
    part = path.with_name(f".{path.stem}.{uuid4().hex}{path.suffix}")
    capture = open_video(video)
    writer, written = None, 0
    faces = dict(iter(table.groupby("frame")))
    shown = table[:0]
    try:
        for index, _, is_analyzed in walk_video(capture, table.attrs.get("every", 1) if every is None else every):
            success, image = capture.retrieve()
            if not success:
                continue
            if writer is None:
                writer = _open_writer(cv2, part, path.name, capture.get(cv2.CAP_PROP_FPS), image.shape[1::-1])
            if is_analyzed:
                shown = faces.get(index, table[:0])
            writer.write(draw_faces(image[:, :, ::-1], shown)[:, :, ::-1] if len(shown) else image)
            written += 1
        if writer is not None:
            writer.release()
            _check_written(cv2, part, written)
            part.replace(path)
    finally:
        capture.release()
        if writer is not None:
            writer.release()
        part.unlink(missing_ok=True)
    if writer is None:
        raise ValueError(f"Expected a video with at least one frame, got {video}, which has none that can be read.")


def _check_written(cv2, path, n_frames):
    """Check that a video is complete, because OpenCV does not notice a full disk."""
    capture = cv2.VideoCapture(str(path))
    found = sum(1 for _ in iter(capture.grab, False))  # the header may promise more
    capture.release()
    if found < n_frames:
        raise OSError(
            f"Expected a directory with free space and a format that OpenCV can write, got {path.parent} and "
            f"{path.suffix}: choose others, or delete files."
        )


def _open_writer(cv2, path, name, fps, size):
    codec = cv2.VideoWriter_fourcc(*CODECS.get(Path(path).suffix.lower(), "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, fps if fps > 0 else 25, size)
    if not writer.isOpened():
        raise ValueError(f"Expected an .mp4, .webm or .avi file that can be written, got {name}: choose another.")
    return writer
