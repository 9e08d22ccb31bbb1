"""Load FER2013 from a table, an archive or a folder of images."""

import tarfile
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from csv import Error as CSVError
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .._validation import check_errors
from .._vocabulary import DIGIT_CODES, EMOTIONS, NAME_CODES
from ._archives import DAMAGE, is_image, list_members, list_nested
from ._base import FACE_SIDE, check_held, check_usage, make_bunch, raise_damage, shorten
from ._folders import decode_faces, sort_images
from ._tables import COLUMNS, USAGE_DTYPE, find_tables, read_header, read_table

__all__ = ["load_fer2013"]

NOT_AS_NAMED = (CSVError, tarfile.ReadError)  # errors for a file that is no table or archive, contrary to its name

DESCR = """\
FER2013, facial expression recognition

Gray faces of 48 by 48 pixels, found by image search and labeled with one of seven emotions. The original has 28,709
Training, 3,589 PublicTest and 3,589 PrivateTest images. Select models on PublicTest and score PrivateTest once.

I. J. Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning contests",
ICONIP 2013, https://arxiv.org/abs/1307.0414

Read from {source}.
"""


def load_fer2013(
    path: str | PathLike,
    *,
    usage: str | Sequence[str] | None = None,
    decode: bool = True,
    errors: Literal["raise", "drop"] = "raise",
    return_X_y: bool = False,
    verbose: int = 0,
) -> Any:
    """Load FER2013 from a CSV file, an archive or a folder of images.

    The content of `path` decides how it is read:

    - A table: ``fer2013.csv`` or ``icml_face_data.csv`` (``emotion``, ``pixels``, ``Usage``), ``train.csv``
      (``emotion``, ``pixels``) or ``test.csv`` (``pixels``). It may be gzipped, and its columns may be in any order.
    - A folder, or a zip or tar archive in any compression, that contains such tables. If there are several tables, the
      one with the most columns is read; ties go to the least nested, then to the first in alphabetical order. From the
      challenge's own zip, which contains all of the above, that is the full table inside ``fer2013.tar.gz``.
    - If there is no table, a folder or archive with images as ``<split>/<emotion>/<file>`` or ``<emotion>/<file>``,
      at any depth. A split is train, test or validation. An emotion is one of FER2013's or a similar word
      (``fearful``, ``happiness``); folders ``0`` to ``6`` count as FER2013's codes if all seven exist. Images are
      converted to gray and resized to 48×48.

    Archives are read in place. Emotions and splits are matched by name, never by position. In a folder, files that
    cannot be read are skipped if there is good data beside them.

    Parameters
    ----------
    path : str or path-like
        The file or folder.
    usage : str or list of str, default=None
        The split or splits to load: ``"Training"``, ``"PublicTest"``, ``"PrivateTest"``, ``"Validation"`` or
        ``"Test"``. By default, all are loaded. A table gives the split in its ``Usage`` column; without that column,
        ``train.csv`` is Training and any other table is Test. An image gives it in a name like ``PublicTest_123.jpg``
        or in its split folder; images without a split are Training.
    decode : bool, default=True
        Whether to decode the pixel strings of a table into arrays. They are checked in both cases.
    errors : {"raise", "drop"}, default="raise"
        What to do with a row or image that cannot be read or has no known emotion: raise an error, or skip it and
        warn.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of the Bunch.
    verbose : int, default=0
        With 1, show a progress bar in terminals while images are decoded. Tables take about a second and show none.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        With the attributes

        - data : ndarray of shape (n, 2304) and dtype uint8; with ``decode=False``, the strings as an object array of
          shape (n,)
        - images : ndarray of shape (n, 48, 48), a view of ``data``; None with ``decode=False``
        - target : ndarray of shape (n,) and dtype int64, indices into ``target_names``; None if the table has no
          emotions
        - target_names : ndarray of shape (7,), FER2013's emotions in the order of its codes
        - usage : ndarray of shape (n,), the split of each face
        - origin : ndarray of shape (n,), where each face comes from: its 0-based row in the table, or the name of its
          file
        - groups, traits : None, because FER2013 does not say who is on the images
        - DESCR : str

        Rows of a table keep their order. Images are sorted by usage, then by the numbers and letters in their file
        names, independent of the file system.

    Raises
    ------
    FileNotFoundError
        If nothing exists at `path`.
    ValueError
        If `path` holds neither a table nor images of the forms above, is damaged, or lacks a requested `usage`; if
        pixel strings of images are requested; with ``errors="raise"``, for the first row (by its 0-based position) or
        image that cannot be read.

    Warns
    -----
    UserWarning
        With ``errors="drop"``, if rows or images were skipped: how many, and the reason for the first. If files of a
        folder were skipped because they cannot be read: their names.

    References
    ----------
    .. [1] I. J. Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning
       contests", ICONIP 2013, https://arxiv.org/abs/1307.0414

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ferkit.datasets import load_fer2013
    >>> row = " ".join(["128"] * 2304)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "fer2013.csv")
    ...     _ = path.write_text(f"emotion,pixels,Usage\\n3,{row},Training\\n6,{row},PublicTest\\n")
    ...     faces = load_fer2013(path, usage="PublicTest")
    >>> faces.images.shape, faces.target_names[faces.target]
    ((1, 48, 48), array(['neutral'], dtype='<U8'))
    """
    wanted = check_usage(usage)
    check_errors(errors)
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"Found nothing at {path.absolute()}: expected fer2013.csv, an archive of it, or a folder that contains it "
            "or images as train/<emotion>/<file>. ferkit.datasets.fetch_fer2013() downloads it from Kaggle."
        )
    unread: dict[str, Exception] = {}  # name to error, for files that may contain faces
    try:
        with ExitStack() as stack:
            members = list_members(path, stack)
            tables = find_tables(members, unread)
            images = [name for name in members if is_image(name)]
            if not images and all(len(columns) < len(COLUMNS) for columns in tables.values()):
                nested = list_nested(members, stack, unread)
                members |= nested
                tables |= find_tables(nested, unread)
                images = [name for name in nested if is_image(name)]
            faces = None
            if tables:
                faces = _read_best_table(tables, members, path, wanted, decode, errors, unread)
            elif images and decode:
                faces = _read_images(members, images, path, wanted, errors, verbose)
            elif images:
                raise ValueError(f"Expected a table with pixel strings, got images in {path}: pass decode=True.")
            elif not unread:
                raise ValueError(_describe_miss(path, members))
    except (*DAMAGE, OSError) as error:
        raise_damage(path, error)
    for name, reason in unread.items():
        # The files of a folder come from different places. The files of an archive come from one download.
        if faces is None or not (path.is_dir() or isinstance(reason, NOT_AS_NAMED)):
            raise_damage(path if name == path.name else f"{name} in {path}", reason)
    if unread:
        skipped = shorten([f"{name} ({error})" for name, error in unread.items()])
        warnings.warn(f"Skipped files in {path} that cannot be read: {skipped}. Replace or remove them.", stacklevel=2)

    assert faces is not None  # otherwise, something was unread
    data, target, usages, origin, n_bad, first_bad = faces
    first = f", the first: {first_bad}" if n_bad else ""
    if not len(data):
        raise ValueError(f"Expected faces in {path}, got none that can be loaded{first}")
    if n_bad:
        warnings.warn(f"Left out {n_bad:,} of the {n_bad + len(data):,} faces in {path}{first}", stacklevel=2)
    if return_X_y:
        return data, target
    bunch = make_bunch(data, target, usages, image_shape=(FACE_SIDE, FACE_SIDE), descr=DESCR.format(source=path.name))
    bunch.origin = origin
    return bunch


def _describe_miss(path, members):
    """Describe what was found in place of faces."""
    if len(members) == 1:
        ((name, open_file),) = members.items()
        columns = ", ".join(map(repr, read_header(open_file)))
        where = name if name == path.name else f"{name} in {path}"
        return f"{where} has no 'pixels' column: {f'its columns are {columns[:200]}' if columns else 'it is empty'}."
    return (
        f"Expected a CSV with a 'pixels' column or images as <split>/<emotion>/<file> in {path}, got "
        f"{shorten(sorted(members), 5) or 'no files'}."
    )


def _read_best_table(tables, members, path, wanted, decode, errors, unread):
    """Read the best table. If it is damaged, read the next one with as many columns; return None if there is none."""
    most = max(map(len, tables.values()))
    best = [name for name, columns in tables.items() if len(columns) == most]
    for name in sorted(best, key=lambda name: (name.count("/"), name)):
        try:
            return read_table(members[name], name, tables[name], path, wanted, decode, errors)
        except (*DAMAGE, OSError) as error:
            unread[name] = error


def _read_images(members, names, path, wanted, errors, verbose):
    """Return (data, target, usage, origin, number of bad images, description of the first one) of image files."""
    faces = _place_images(names)
    check_held(Counter(usage for _, _, usage in faces), wanted, path)
    faces = [face for face in faces if not wanted or face[2] in wanted]
    names = [name for name, _, _ in faces]
    data, kept, first_bad = decode_faces(members, names, None, (FACE_SIDE, FACE_SIDE, 1), errors, verbose)
    return (
        data,
        np.array([code for _, code, _ in faces], np.int64)[kept],
        np.array([usage for _, _, usage in faces], USAGE_DTYPE)[kept],
        np.array(names)[kept],
        len(names) - len(data),
        first_bad,
    )


def _place_images(names: list[str]) -> list[tuple[str, int, str]]:
    """Return a list of (name, emotion code, usage) in the order that the loader promises."""
    images = sort_images(names, "happy")
    folders = {folder.lower() for _, folder, _ in images}
    codes = DIGIT_CODES if folders == set(DIGIT_CODES) else NAME_CODES
    if unknown := sorted(folders - set(codes)):
        raise ValueError(
            f"Expected images in folders named {shorten(EMOTIONS)}, got images in {shorten(unknown)}: rename these "
            "folders or move them away (digits count as FER2013's codes only if all of 0 to 6 exist). "
            + _advise(folders)
        )
    return [(name, codes[folder.lower()], usage) for name, folder, usage in images]


def _advise(folders):
    """Return what to use for folders of other emotions."""
    if folders == set("1234567"):
        return "If this is RAF-DB, use load_rafdb."
    ferplus = "load_ferplus loads FER2013's faces with contempt. " if "contempt" in folders else ""
    return f"{ferplus}load_folder keeps the names of your folders as labels."
