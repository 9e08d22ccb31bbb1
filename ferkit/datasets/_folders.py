"""Load image files: those of one's own folders, and lists of faces that the loaders of other sets make."""

import os
import posixpath
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from .._files import FaceFile, decode_images, show_progress
from .._images import check_shape
from .._validation import check_errors
from .._vocabulary import USAGE_NAMES, USAGES
from ._archives import DAMAGE, is_image, list_members
from ._base import FACE_SIDE, check_held, check_usage, make_bunch, raise_damage, shorten

__all__ = ["load_folder"]

FILE_PREFIX = re.compile(r"(Training|PublicTest|PrivateTest)_")


def load_folder(
    path: str | PathLike,
    *,
    usage: str | Sequence[str] | None = None,
    image_shape: Sequence[int] | None = (FACE_SIDE, FACE_SIDE),
    errors: Literal["raise", "drop"] = "raise",
    return_X_y: bool = False,
    verbose: int = 0,
) -> Any:
    """Load images from a folder or an archive with one folder per label.

    Images are read as ``<label>/<file>`` or ``<split>/<label>/<file>``, at any depth. A split is train, test or
    validation. A label is the name of any folder, as it is written. :func:`harmonize` brings the names of emotions to
    those of another data set.

    Parameters
    ----------
    path : str or path-like
        The folder, or a zip or tar archive, which is read in place.
    usage : str or list of str, default=None
        The split or splits to load: ``"Training"``, ``"Validation"``, ``"Test"``, ``"PublicTest"`` or
        ``"PrivateTest"``. By default, all are loaded. Images without a split are Training.
    image_shape : tuple of int or None, default=(48, 48)
        (height, width) or (height, width, channels) of the decoded images, where 1 channel is gray and 3 are RGB. With
        None, images are not decoded: ``data`` contains their paths. Every ferkit estimator takes these and decodes one
        batch at a time. This suits sets that are larger than the memory.
    errors : {"raise", "drop"}, default="raise"
        What to do with an image that cannot be read, or an entry of a list that is invalid or whose image is missing:
        raise an error, or skip it and warn. With ``image_shape=None``, images are not read and therefore not checked.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of the Bunch.
    verbose : int, default=0
        With 1, show a progress bar in terminals while images are decoded.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        With the attributes

        - data : ndarray of shape (n, pixels) and dtype uint8; with ``image_shape=None``, paths as an object array of
          shape (n,)
        - images : ndarray of shape ``(n, *image_shape)``, a view of ``data``; None with ``image_shape=None``
        - target : ndarray of shape (n,) and dtype int64, indices into ``target_names``
        - target_names : ndarray of str, the names of the folders, sorted
        - usage : ndarray of shape (n,), the split of each face
        - origin : ndarray of shape (n,), the name of each file
        - groups : ndarray of shape (n,), the person on each image, for ``GroupKFold``; None if the set does not say
        - traits : DataFrame with a row per face, such as its valence and arousal; None if the set has none
        - DESCR : str

        Images are sorted by usage, then by the numbers and letters in their file names, independent of the file system.

    Raises
    ------
    FileNotFoundError
        If nothing exists at `path`.
    ValueError
        If `path` holds no images in folders, is damaged, or lacks a requested `usage`; with ``errors="raise"``, for the
        first image that cannot be read.

    Warns
    -----
    UserWarning
        With ``errors="drop"``, if images were skipped: how many, and the reason for the first.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from ferkit.datasets import load_folder, make_faces
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for number, face in enumerate(make_faces(4, random_state=0).images):
    ...         path = Path(folder, "train", "glad" if number % 2 else "bored", f"{number}.png")
    ...         path.parent.mkdir(parents=True, exist_ok=True)
    ...         Image.fromarray(face).save(path)
    ...     faces = load_folder(folder)
    >>> faces.images.shape, faces.target_names[faces.target]
    ((4, 48, 48), array(['bored', 'glad', 'bored', 'glad'], dtype='<U5'))
    """

    def list_faces(members):
        images = sort_images([name for name in members if is_image(name)], "glad")
        return [Face(*image) for image in images]

    about = DataSet("Images in folders", None, "images in folders such as train/glad/1.jpg", "")
    return load_images(
        path, list_faces, about,
        usage=usage, image_shape=image_shape, errors=errors, return_X_y=return_X_y, verbose=verbose,
    )  # fmt: skip


@dataclass(frozen=True)
class DataSet:
    """What errors and the description say about a data set."""

    title: str
    names: Sequence[str] | None  # of its classes; None takes those that occur
    layout: str  # the files by which it is recognized
    source: str  # where it comes from


class Face(NamedTuple):
    """A face in the list of a data set."""

    name: str  # of its file
    label: str  # name of its class
    usage: str = "Training"
    group: str | None = None
    box: tuple[float, ...] | None = None  # left, top, right, bottom
    traits: dict[str, float] | None = None  # such as valence and arousal
    problem: str = ""  # why the face cannot be loaded


def load_images(path, list_faces, about, *, usage, image_shape, errors, return_X_y, verbose):
    """Load the faces that the function `list_faces` yields for the members of a folder or an archive."""
    wanted = check_usage(usage)
    check_errors(errors)
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"Found nothing at {path.absolute()}: expected {about.layout}. {about.source}".strip())
    if image_shape is None and not path.is_dir():
        raise ValueError(f"Expected a folder for image_shape=None, got the file {path}: extract it, load the folder.")
    try:
        with ExitStack() as stack:
            members = list_members(path, stack)
            faces = list(list_faces(members))
            if not faces:
                raise ValueError(
                    f"Expected {about.layout} in {path}, got {shorten(sorted(members), 5) or 'no files'}. "
                    f"{about.source}".strip()
                )
            check_held(Counter(face.usage for face in faces), wanted, path)
            faces = [face for face in faces if not wanted or face.usage in wanted]
            n_listed = len(faces)
            problems = [face.problem for face in faces if face.problem]
            if problems and errors == "raise":
                raise ValueError(f'{problems[0]}: correct it, or load with errors="drop"')
            faces = [face for face in faces if not face.problem]
            names, boxes = [face.name for face in faces], [face.box for face in faces]
            if image_shape is None:
                data, kept = np.empty(len(faces), object), np.arange(len(faces))
                paths = [Path(os.path.abspath(path)).parent / name for name in names]
                data[:] = [
                    file if box is None else FaceFile(str(file), box) for file, box in zip(paths, boxes, strict=True)
                ]
            else:
                shape = check_shape(image_shape)
                if -1 in shape or shape[2] not in (1, 3):
                    raise ValueError(
                        f"image_shape must be (height, width), or (height, width, 3) for color, got {image_shape!r}."
                    )
                data, kept, first_bad = decode_faces(members, names, boxes, shape, errors, verbose)
                problems += [first_bad] if first_bad else []
    except (*DAMAGE, OSError) as error:
        raise_damage(path, error)
    first = f", the first: {problems[0]}" if problems else ""
    if not len(data):
        raise ValueError(f"Expected faces in {path}, got none that can be loaded{first}")
    if len(data) < n_listed:
        n_bad = n_listed - len(data)
        warnings.warn(f"Left out {n_bad:,} of the {n_listed:,} faces in {path}{first}", stacklevel=3)
    faces = [faces[row] for row in kept]
    names = sorted({face.label for face in faces}) if about.names is None else list(about.names)
    target = np.array([names.index(face.label) for face in faces], np.int64)
    if return_X_y:
        return data, target
    bunch = make_bunch(
        data,
        target,
        np.array([face.usage for face in faces]),
        image_shape=image_shape,
        descr=f"{about.title}\n\n{about.source}\n\nRead from {path.name}.\n",
        target_names=names,
    )
    bunch.origin = np.array([face.name for face in faces])
    if faces[0].group:
        bunch.groups = np.array([face.group for face in faces])
    if faces[0].traits:
        bunch.traits = pd.DataFrame([face.traits for face in faces])
    return bunch


def decode_faces(members, names, boxes, shape, errors, verbose):
    """Return (pixels as rows, positions of the images that can be read, description of the first bad one or "")."""
    data = np.empty((len(names), prod(shape)), np.uint8)
    kept: list[int] = []
    first_bad = ""
    with closing(decode_images([members[name] for name in names], shape, boxes)) as images:
        shown = show_progress(images, "Decoding", lambda: len(names)) if verbose else images
        for position, image in enumerate(shown):
            if isinstance(image, Exception):
                problem = f"Image {names[position]} cannot be read ({image})"
                if errors == "raise":
                    raise ValueError(f'{problem}: remove it, or load with errors="drop"') from image
                first_bad = first_bad or problem
            else:
                data[len(kept)] = image
                kept.append(position)
    return data[: len(kept)], np.array(kept, np.int64), first_bad


def sort_images(names: list[str], example: str) -> list[tuple[str, str, str]]:
    """Return a list of (name, folder of the label, usage), sorted by usage and file name."""
    sets: dict[tuple, dict] = defaultdict(dict)  # folder of splits or labels -> {path inside it: name}
    for name in names:
        *root, folder, file = ["", *name.split("/")]
        if folder.lower() in USAGE_NAMES or not folder:
            raise ValueError(f"Expected images in folders of labels, such as train/{example}/{file}, got {name}.")
        split = root[-1:] if root and root[-1].lower() in USAGE_NAMES else []
        sets[tuple(root[: len(root) - len(split)])][(*split, folder, file)] = name
    if not sets:
        return []

    # Some archives contain all images a second time in a subfolder ("images/images/train"). Other sets are ambiguous.
    outer, *others = sorted(sets, key=len)
    for other in others:
        if other[: len(outer)] != outer or not sets[other].keys() <= sets[outer].keys():
            listed = shorten(sorted("/".join(root[1:]) or "." for root in sets))
            raise ValueError(f"Expected one set of images, got several, in {listed}: load one of these folders.")
    images = []
    for (*split, folder, file), name in sets[outer].items():
        prefix = FILE_PREFIX.match(file)
        usage = prefix[1] if prefix else USAGE_NAMES[split[0].lower()] if split else "Training"
        images.append((USAGES.index(usage), sort_key(file), name, folder, usage))
    return [image[2:] for image in sorted(images)]


def sort_key(name):
    """Return a text by which file names are sorted by the numbers and letters in them."""
    return re.sub("[0-9]+", lambda digits: digits[0].zfill(20), posixpath.basename(name))
