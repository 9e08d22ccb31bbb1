"""Load RAF-DB, AffectNet, CK+, JAFFE and ExpW, each in the layout in which its authors publish it."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from io import BytesIO
from os import PathLike
from typing import Any, Literal

import numpy as np

from .._vocabulary import USAGE_NAMES, USAGES, VOCABULARIES, number_names
from ._archives import is_image
from ._base import FACE_SIDE
from ._folders import DataSet, Face, load_images, sort_key
from ._tables import read_cells

__all__ = ["load_affectnet", "load_ckplus", "load_expw", "load_jaffe", "load_rafdb"]

RAFDB = DataSet(
    "RAF-DB, basic emotions",
    VOCABULARIES["rafdb"],
    "EmoLabel/list_patition_label.txt and Image/aligned/train_00001_aligned.jpg",
    "RAF-DB is for non-commercial research. Request it from its authors: http://www.whdeng.cn/RAF/model1.html",
)
AFFECTNET = DataSet(
    "AffectNet, manually annotated",
    VOCABULARIES["affectnet"],
    "training.csv and Manually_Annotated_Images, or train_set/annotations/0_exp.npy and train_set/images/0.jpg",
    "AffectNet is for research. A lab manager or professor can request it: "
    "http://mohammadmahoor.com/pages/databases/affectnet/",
)
CKPLUS = DataSet(
    "CK+, the extended Cohn-Kanade data set",
    VOCABULARIES["ckplus"],
    "Emotion/S005/001/S005_001_00000011_emotion.txt and cohn-kanade-images/S005/001/S005_001_00000011.png",
    "CK+ is for research. Request it from its authors: http://www.jeffcohn.net/Resources/",
)
JAFFE = DataSet(
    "JAFFE, Japanese Female Facial Expression",
    VOCABULARIES["jaffe"],
    "images such as KA.AN1.39.tiff",
    "JAFFE is for non-commercial research. Request it on its page: https://zenodo.org/record/3451524",
)
EXPW = DataSet(
    "ExpW, Expression in-the-Wild",
    VOCABULARIES["expw"],
    "label/label.lst and image/origin/<image_name>",
    "Its authors publish it for research: http://mmlab.ie.cuhk.edu.hk/projects/socialrelation/index.html",
)

RAFDB_LISTS = ("list_patition_label.txt", "list_partition_label.txt")  # the first is the authors' spelling
AFFECTNET_COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
    "valence", "arousal",
)  # fmt: skip
NO_EMOTION = ("8", "9", "10")  # AffectNet's none, uncertain and no face
CKPLUS_FILE = re.compile(r"(S\d+)_(\d+)_(\d+)(_emotion\.txt|_landmarks\.txt|\.png)")
JAFFE_FILE = re.compile(r"([A-Z]{2})\.(AN|DI|FE|HA|NE|SA|SU)\d+\.\d+\.tiff?", re.IGNORECASE)
JAFFE_CODES = dict(zip(("AN", "DI", "FE", "HA", "NE", "SA", "SU"), VOCABULARIES["jaffe"], strict=True))


def load_rafdb(
    path: str | PathLike,
    *,
    usage: str | Sequence[str] | None = None,
    image_shape: Sequence[int] | None = (FACE_SIDE, FACE_SIDE),
    errors: Literal["raise", "drop"] = "raise",
    return_X_y: bool = False,
    verbose: int = 0,
) -> Any:
    """Load the aligned faces of RAF-DB with basic emotions.

    RAF-DB [1]_ has 12,271 Training and 3,068 Test faces of 100×100 pixels in color, with one of seven emotions. Its
    authors give it to researchers on request [2]_.

    Parameters
    ----------
    path : str or path-like
        Folder or archive with ``EmoLabel/list_patition_label.txt`` and ``Image/aligned/train_00001_aligned.jpg``, at
        any depth. Without the list, the folders ``1`` to ``7`` that contain the aligned faces are the labels, as in a
        copy that is common on Kaggle.
    usage : str or list of str, default=None
        ``"Training"``, ``"Test"`` or both. By default, both are loaded.
    image_shape, errors, return_X_y, verbose
        See :func:`load_folder`.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        With the attributes that :func:`load_folder` describes. ``target_names`` are RAF-DB's in its order: surprise,
        fear, disgust, happiness, sadness, anger, neutral. Faces have the order of the list. ``groups`` is None, because
        RAF-DB does not say who is on an image.

    Raises
    ------
    FileNotFoundError, ValueError
        See :func:`load_folder`. If the list is missing, the error says where to request RAF-DB. An invalid entry of the
        list is named by its 0-based row.

    See Also
    --------
    harmonize : Bring the names to those of another data set.

    References
    ----------
    .. [1] S. Li, W. Deng and J. Du, "Reliable crowdsourcing and deep locality-preserving learning for expression
       recognition in the wild", CVPR 2017.

    .. [2] http://www.whdeng.cn/RAF/model1.html

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from ferkit.datasets import load_rafdb, make_faces
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part in ("EmoLabel", "Image/aligned"):
    ...         Path(folder, part).mkdir(parents=True)
    ...     _ = Path(folder, "EmoLabel/list_patition_label.txt").write_text("train_00001.jpg 5\\ntest_0001.jpg 4\\n")
    ...     for name, face in zip(["train_00001", "test_0001"], make_faces(2, size=100).images):
    ...         Image.fromarray(face).save(Path(folder, f"Image/aligned/{name}_aligned.jpg"))
    ...     faces = load_rafdb(folder, image_shape=(100, 100, 3))
    >>> faces.images.shape, faces.target_names[faces.target], faces.usage
    ((2, 100, 100, 3), array(['sadness', 'happiness'], dtype='<U9'), array(['Training', 'Test'], dtype='<U8'))
    """
    return load_images(
        path, _list_rafdb, RAFDB,
        usage=usage, image_shape=image_shape, errors=errors, return_X_y=return_X_y, verbose=verbose,
    )  # fmt: skip


def _list_rafdb(members):
    aligned = {posixpath.basename(name): name for name in members if is_image(name) and "_aligned." in name}
    lists = [name for name in members if posixpath.basename(name) in RAFDB_LISTS]
    if lists:
        rows = [line.split() for line in _read_lines(members[min(lists)])]
        entries = [(f"Row {row} of {min(lists)}", (cells[0], cells[-1])) for row, cells in enumerate(rows) if cells]
    else:
        folders = {file: posixpath.basename(posixpath.dirname(name)) for file, name in aligned.items()}
        entries = [(f"Image {aligned[file]}", (file, folders[file])) for file in sorted(aligned, key=sort_key)]
    for where, (file, label) in entries:
        stem, suffix = posixpath.splitext(file.replace("_aligned", ""))
        usage = "Training" if file.startswith("train") else "Test"
        yield _match(where, aligned, f"{stem}_aligned{suffix}", label, "rafdb", usage=usage)


def load_affectnet(
    path: str | PathLike,
    *,
    usage: str | Sequence[str] | None = None,
    image_shape: Sequence[int] | None = (FACE_SIDE, FACE_SIDE),
    errors: Literal["raise", "drop"] = "raise",
    return_X_y: bool = False,
    verbose: int = 0,
) -> Any:
    """Load the manually annotated faces of AffectNet.

    AffectNet [1]_ has about 290,000 Training and 4,000 Validation faces with one of eight emotions. A lab manager or
    professor can request it [2]_. It has been published in two layouts:

    - tables: ``training.csv`` and ``validation.csv`` beside the folder ``Manually_Annotated_Images``. Faces are cut out
      as squares around the boxes of the table. Images labeled as none, uncertain or no face are left out.
    - ``train_set/annotations/0_exp.npy`` and ``train_set/images/0.jpg``, and the same in ``val_set``. These images are
      faces that have been cut out.

    Parameters
    ----------
    path : str or path-like
        Folder or archive with these files, at any depth.
    usage : str or list of str, default=None
        ``"Training"``, ``"Validation"`` or both. By default, both are loaded.
    image_shape, errors, return_X_y, verbose
        See :func:`load_folder`. All Training faces need 0.7 GB at 48×48 in gray, and 43 GB at 224×224 in color: pass
        None.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        With the attributes that :func:`load_folder` describes. ``target_names`` are AffectNet's in its order: neutral,
        happy, sad, surprise, fear, disgust, anger, contempt. ``groups`` is None. ``traits`` has the columns ``valence``
        and ``arousal``, from -1 to 1, for :class:`ferkit.FERRegressor`. They are NaN where the files lack them.

    Raises
    ------
    FileNotFoundError, ValueError
        See :func:`load_folder`. If labels are missing, the error says where to request AffectNet. An invalid row of a
        table is named by its 0-based position.

    See Also
    --------
    harmonize : Bring the names to those of another data set.

    References
    ----------
    .. [1] A. Mollahosseini, B. Hasani and M. H. Mahoor, "AffectNet: A database for facial expression, valence, and
       arousal computing in the wild", IEEE Transactions on Affective Computing 10 (2019),
       https://arxiv.org/abs/1708.03985

    .. [2] http://mohammadmahoor.com/pages/databases/affectnet/

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from ferkit.datasets import load_affectnet, make_faces
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part in ("annotations", "images"):
    ...         Path(folder, "val_set", part).mkdir(parents=True)
    ...     Image.fromarray(make_faces(1, size=224).images[0]).save(Path(folder, "val_set/images/0.jpg"))
    ...     np.save(Path(folder, "val_set/annotations/0_exp.npy"), "7")
    ...     faces = load_affectnet(folder)
    >>> faces.images.shape, faces.target_names[faces.target], faces.usage
    ((1, 48, 48), array(['contempt'], dtype='<U8'), array(['Validation'], dtype='<U10'))
    """
    return load_images(
        path, _list_affectnet, AFFECTNET,
        usage=usage, image_shape=image_shape, errors=errors, return_X_y=return_X_y, verbose=verbose,
    )  # fmt: skip


def _list_affectnet(members):
    images = [name for name in members if is_image(name)]
    by_tail = {"/".join(name.split("/")[-2:]): name for name in images}
    for table, usage in (("training.csv", "Training"), ("validation.csv", "Validation")):
        for name in sorted(name for name in members if posixpath.basename(name) == table):
            yield from _read_affectnet(name, members[name], by_tail, usage)
    by_stem = {posixpath.splitext(name)[0]: name for name in images}
    labels = [name for name in members if name.endswith("_exp.npy")]
    faces = [_read_expression(name, members, by_stem) for name in labels]
    yield from sorted(faces, key=lambda face: (USAGES.index(face.usage), sort_key(face.name)))


def _read_affectnet(table, open_file, images, usage):
    """Yield the faces of a table. The published validation.csv has no header in some copies."""
    columns, row = AFFECTNET_COLUMNS, -1
    for cells in read_cells(open_file):
        if cells[0].strip() == AFFECTNET_COLUMNS[0] and row < 0:
            columns = tuple(cell.strip() for cell in cells)
            continue
        row += 1
        values = dict(zip(columns, map(str.strip, cells), strict=False))
        label = values.get("expression", "")
        if label in NO_EMOTION:
            continue
        where, file = f"Row {row} of {table}", values.get("subDirectory_filePath", "")
        box, problem = _read_box(where, [values.get(name) for name in AFFECTNET_COLUMNS[1:5]])
        if not problem:
            left, top, width, height = box
            box = left, top, left + width, top + height
        traits, unread = _read_affect(where, values)
        yield _match(
            where, images, file, label, "affectnet", usage=usage, box=box, traits=traits, problem=problem or unread
        )


def _read_expression(name, members, images):
    """Return the face of an annotation such as train_set/annotations/0_exp.npy."""
    *folders, _, file = name.split("/")
    usages = [USAGE_NAMES.get(folder.lower().removesuffix("_set")) for folder in folders]
    label = _read_array(members[name])
    files = {"valence": name.replace("_exp.npy", "_val.npy"), "arousal": name.replace("_exp.npy", "_aro.npy")}
    traits, problem = _read_affect(
        name, {key: _read_array(members[file]) for key, file in files.items() if file in members}
    )
    image = "/".join([*folders, "images", file.removesuffix("_exp.npy")])
    usage = next(filter(None, reversed(usages)), "Training")
    return _match(
        name, images, image, label.removesuffix(".0"), "affectnet", usage=usage, traits=traits, problem=problem
    )


def _read_array(open_file):
    """Return the only value of a npy file as text."""
    with open_file() as opened:
        content = opened.read()
    try:
        return str(np.load(BytesIO(content), allow_pickle=False).item())
    except (ValueError, EOFError):
        return "in no readable form"


def _read_affect(where, values):
    """Return (valence and arousal, why they cannot be read or ""). Missing ones, and AffectNet's -2, are NaN."""
    traits = {}
    for name in ("valence", "arousal"):
        try:
            number = float(values.get(name) or "nan")
        except ValueError:
            return None, f"{where} has the {name} {values[name]!r}, expected a number"
        traits[name] = number if -1 <= number <= 1 else np.nan
    return traits, ""


def load_ckplus(
    path: str | PathLike,
    *,
    n_frames: int = 1,
    neutral: bool = False,
    image_shape: Sequence[int] | None = (FACE_SIDE, FACE_SIDE),
    errors: Literal["raise", "drop"] = "raise",
    return_X_y: bool = False,
    verbose: int = 0,
) -> Any:
    """Load the expressions of CK+, the extended Cohn-Kanade data set.

    CK+ [1]_ has 593 sequences of 123 people, from a neutral face to the peak of an expression. 327 of them have one of
    seven emotions as label. Its authors give it to researchers on request [2]_.

    Parameters
    ----------
    path : str or path-like
        Folder or archive with ``Emotion/S005/001/S005_001_00000011_emotion.txt`` and
        ``cohn-kanade-images/S005/001/S005_001_00000011.png``, at any depth. If it also contains
        ``Landmarks/S005/001/S005_001_00000011_landmarks.txt``, faces are cut out as squares around the landmarks;
        otherwise, images are whole frames.
    n_frames : int, default=1
        Number of frames at the end of each labeled sequence. Many papers train on 3. They look alike, so use 1 to
        evaluate.
    neutral : bool, default=False
        Whether to load the first frame of each labeled sequence as neutral too.
    image_shape, errors, return_X_y, verbose
        See :func:`load_folder`.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        With the attributes that :func:`load_folder` describes. ``target_names`` are CK+'s in its order: neutral, anger,
        contempt, disgust, fear, happy, sadness, surprise. ``groups`` are the people, such as S005. All faces count as
        Training, because CK+ has no splits: use ``GroupKFold``.

    Raises
    ------
    FileNotFoundError, ValueError
        See :func:`load_folder`. If labels are missing, the error says where to request CK+.

    See Also
    --------
    harmonize : Bring the names to those of another data set.

    References
    ----------
    .. [1] P. Lucey, J. F. Cohn, T. Kanade, J. Saragih, Z. Ambadar and I. Matthews, "The extended Cohn-Kanade dataset
       (CK+): A complete dataset for action unit and emotion-specified expression", CVPR Workshops 2010.

    .. [2] http://www.jeffcohn.net/Resources/

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from ferkit.datasets import load_ckplus, make_faces
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part in ("Emotion", "cohn-kanade-images"):
    ...         Path(folder, part, "S005/001").mkdir(parents=True)
    ...     _ = Path(folder, "Emotion/S005/001/S005_001_00000011_emotion.txt").write_text("   3.0000000e+00\\n")
    ...     for number, face in zip((1, 10, 11), make_faces(3, size=96).images):
    ...         path = Path(folder, f"cohn-kanade-images/S005/001/S005_001_{number:08d}.png")
    ...         Image.fromarray(face).save(path)
    ...     faces = load_ckplus(folder, n_frames=2, neutral=True)
    >>> faces.target_names[faces.target], faces.groups
    (array(['neutral', 'disgust', 'disgust'], dtype='<U8'), array(['S005', 'S005', 'S005'], dtype='<U4'))
    """
    if not isinstance(n_frames, (int, np.integer)) or n_frames < 1:
        raise ValueError(f"Expected a whole number of 1 or more in n_frames, got {n_frames!r}.")

    def list_faces(members):
        return _list_ckplus(members, n_frames, neutral)

    return load_images(
        path, list_faces, CKPLUS,
        usage=None, image_shape=image_shape, errors=errors, return_X_y=return_X_y, verbose=verbose,
    )  # fmt: skip


def _list_ckplus(members, n_frames, neutral):
    labels, frames, landmarks = {}, defaultdict(list), {}
    for name in sorted(members):
        if found := CKPLUS_FILE.fullmatch(posixpath.basename(name)):
            person, sequence, frame, kind = found.groups()
            if kind == "_emotion.txt":
                labels[person, sequence] = name
            elif kind == ".png":
                frames[person, sequence].append((int(frame), name))
            else:
                landmarks[person, sequence, int(frame)] = name
    for (person, sequence), label_file in labels.items():
        try:
            label = f"{float(' '.join(_read_lines(members[label_file]))):g}"
        except ValueError:
            label = "in no readable form"
        shown = sorted(frames[person, sequence])
        if not shown:
            yield Face(label_file, "", group=person, problem=f"{label_file} labels a sequence whose images are missing")
        first = shown[:1] if neutral and len(shown) > 1 else []
        last = shown[len(first) :][-n_frames:]
        for (frame, name), code in [*((frame, "0") for frame in first), *((frame, label) for frame in last)]:
            box, problem = None, ""
            if place := landmarks.get((person, sequence, frame)):
                points = [line.split() for line in _read_lines(members[place]) if line.strip()]
                box, problem = _bound(place, points)
            yield _match(label_file, {name: name}, name, code, "ckplus", group=person, box=box, problem=problem)


def _bound(where, points):
    """Return (the box around landmarks, why they cannot be read or "")."""
    try:
        columns, rows = np.array(points, dtype=float).T
        return (float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max())), ""
    except ValueError:
        return None, f"{where} holds no lines of two numbers"


def load_jaffe(
    path: str | PathLike,
    *,
    image_shape: Sequence[int] | None = (FACE_SIDE, FACE_SIDE),
    errors: Literal["raise", "drop"] = "raise",
    return_X_y: bool = False,
    verbose: int = 0,
) -> Any:
    """Load JAFFE, the Japanese Female Facial Expression data set.

    JAFFE [1]_ has 213 gray images of 256×256 pixels, on which 10 women show seven emotions. It can be requested on its
    page [2]_.

    Parameters
    ----------
    path : str or path-like
        Folder or archive with images such as ``KA.AN1.39.tiff``, at any depth: the person KA, angry. Other files are
        ignored.
    image_shape, errors, return_X_y, verbose
        See :func:`load_folder`.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        With the attributes that :func:`load_folder` describes. ``target_names`` are angry, disgust, fear, happy,
        neutral, sad, surprise. ``groups`` are the people, such as KA. All faces count as Training, because JAFFE has no
        splits: use ``GroupKFold``.

    Raises
    ------
    FileNotFoundError, ValueError
        See :func:`load_folder`. If there are no such images, the error says where to request JAFFE.

    See Also
    --------
    harmonize : Bring the names to those of another data set.

    References
    ----------
    .. [1] M. J. Lyons, S. Akamatsu, M. Kamachi and J. Gyoba, "Coding facial expressions with Gabor wavelets", FG 1998.

    .. [2] https://zenodo.org/record/3451524

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from ferkit.datasets import load_jaffe, make_faces
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, face in zip(["KA.AN1.39.tiff", "YM.SU2.59.tiff"], make_faces(2, size=256).images):
    ...         Image.fromarray(face).save(Path(folder, name))
    ...     faces = load_jaffe(folder)
    >>> faces.target_names[faces.target], faces.groups
    (array(['angry', 'surprise'], dtype='<U8'), array(['KA', 'YM'], dtype='<U2'))
    """
    return load_images(
        path, _list_jaffe, JAFFE,
        usage=None, image_shape=image_shape, errors=errors, return_X_y=return_X_y, verbose=verbose,
    )  # fmt: skip


def _list_jaffe(members):
    for name in sorted(members):
        if found := JAFFE_FILE.fullmatch(posixpath.basename(name)):
            person, emotion = found.groups()
            yield Face(name, JAFFE_CODES[emotion.upper()], group=person.upper())


def load_expw(
    path: str | PathLike,
    *,
    image_shape: Sequence[int] | None = (FACE_SIDE, FACE_SIDE),
    errors: Literal["raise", "drop"] = "raise",
    return_X_y: bool = False,
    verbose: int = 0,
) -> Any:
    """Load ExpW, Expression in-the-Wild.

    ExpW [1]_ has 91,793 faces in photos from image searches, with one of seven emotions. Its authors publish it for
    research [2]_. Faces are cut out as squares around the boxes of its list.

    Parameters
    ----------
    path : str or path-like
        Folder or archive with ``label.lst`` and the photos, at any depth. A row of the list is: image_name
        face_id_in_image face_box_top face_box_left face_box_right face_box_bottom face_box_confidence expression_label.
    image_shape, errors, return_X_y, verbose
        See :func:`load_folder`.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        With the attributes that :func:`load_folder` describes. ``target_names`` are ExpW's in its order: angry,
        disgust, fear, happy, sad, surprise, neutral. Faces have the order of the list. ``groups`` is None. All faces
        count as Training, because ExpW has no splits.

    Raises
    ------
    FileNotFoundError, ValueError
        See :func:`load_folder`. If the list is missing, the error says where to find ExpW. An invalid entry of the list
        is named by its 0-based row.

    See Also
    --------
    harmonize : Bring the names to those of another data set.

    References
    ----------
    .. [1] Z. Zhang, P. Luo, C. C. Loy and X. Tang, "From facial expression recognition to interpersonal relation
       prediction", International Journal of Computer Vision 126 (2018), https://arxiv.org/abs/1609.06426

    .. [2] http://mmlab.ie.cuhk.edu.hk/projects/socialrelation/index.html

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from ferkit.datasets import load_expw, make_faces
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "origin").mkdir()
    ...     Image.fromarray(make_faces(1, size=300).images[0]).save(Path(folder, "origin/angry_actor_104.jpg"))
    ...     _ = Path(folder, "label.lst").write_text("angry_actor_104.jpg 0 28 113 226 141 22.9362 0\\n")
    ...     faces = load_expw(folder)
    >>> faces.images.shape, faces.target_names[faces.target]
    ((1, 48, 48), array(['angry'], dtype='<U8'))
    """
    return load_images(
        path, _list_expw, EXPW,
        usage=None, image_shape=image_shape, errors=errors, return_X_y=return_X_y, verbose=verbose,
    )  # fmt: skip


def _list_expw(members):
    images = {posixpath.basename(name): name for name in members if is_image(name)}
    lists = sorted(name for name in members if posixpath.basename(name) == "label.lst")
    for row, line in enumerate(_read_lines(members[lists[0]]) if lists else []):
        where, cells = f"Row {row} of {lists[0]}", line.split()
        if len(cells) != 8:
            yield Face("", "", problem=f"{where} has {len(cells)} values, expected 8")
            continue
        image, _, *sides, _, label = cells
        box, problem = _read_box(where, sides)
        if not problem:
            top, left, right, bottom = box
            box = left, top, right, bottom
        yield _match(where, images, image, label, "expw", box=box, problem=problem)


def _match(where, images, image, label, vocabulary, *, problem="", **fields):
    """Return the face of an entry of a list; `images` is a dict from the name in the list to the name of the file."""
    codes, names = number_names(vocabulary), VOCABULARIES[vocabulary]
    if label not in codes:
        problem = f"{where} has label {label!r}, expected {min(codes)} to {max(codes)}"
    elif image not in images:
        problem = f"{where} names {image}, which is missing"
    return Face(images.get(image, image), "" if problem else names[codes[label]], problem=problem, **fields)


def _read_box(where, cells):
    """Return (four numbers, why they are no box or "")."""
    try:
        return tuple(map(float, cells)), ""
    except (TypeError, ValueError):
        return None, f"{where} has the box {cells}, expected four numbers"


def _read_lines(open_file):
    with open_file() as file:
        return file.read().decode("utf-8-sig", "replace").splitlines()
