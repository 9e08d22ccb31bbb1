"""Bring the emotions of different data sets to the same names."""

from collections.abc import Sequence

import numpy as np
from sklearn.utils import Bunch

from .._images import to_stack
from .._vocabulary import VOCABULARIES, find_emotion, number_names
from ._base import shorten

__all__ = ["harmonize"]

PER_FACE = ("usage", "origin", "groups", "votes")


def harmonize(faces: Bunch, names: str | Sequence[str] = "fer2013", *, numbering: str | None = None) -> Bunch:
    """Bring the emotions of a data set to the names of another one, and leave out faces whose emotion it lacks.

    Data sets differ in the number of emotions and in their names and order: "happiness" in FER+ and RAF-DB is "happy"
    in FER2013, and FER+, AffectNet and CK+ also have contempt. Emotions are matched by name. Synonyms, such as
    "surprised" and "surprise", are one emotion, and case does not matter.

    Parameters
    ----------
    faces : :class:`~sklearn.utils.Bunch`
        Faces as returned by a loader of this module.
    names : str or sequence of str, default="fer2013"
        The names to use, in the order of the new ``target_names``. Or the name of a data set, for its names:
        ``"fer2013"``, ``"ferplus"``, ``"rafdb"``, ``"affectnet"``, ``"ckplus"``, ``"jaffe"`` or ``"expw"``.
    numbering : str, default=None
        The data set whose codes ``target_names`` are, if they are digits, such as ``"rafdb"`` for the folders ``1`` to
        ``7``.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        The faces whose emotion is among `names`, with ``data``, ``images``, ``target``, ``target_names``, ``DESCR``
        and, if given, ``usage``, ``origin``, ``groups``, ``votes`` and ``traits``. ``dropped`` is a dict from each
        emotion without a new name to its number of faces. For distributions, such as those of FER+, a face is left out
        if its most probable emotion has no new name; otherwise, the shares of the remaining emotions are divided by
        their sum.

    Raises
    ------
    ValueError
        If `names` or `numbering` is no known data set, two of the `names` mean the same emotion, or no face remains.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from ferkit.datasets import harmonize
    >>> names = np.array(["anger", "contempt", "happiness"])
    >>> faces = Bunch(data=np.zeros((4, 2304), np.uint8), target=np.array([0, 1, 2, 2]), target_names=names)
    >>> common = harmonize(faces)
    >>> common.target_names[common.target], common.dropped
    (array(['angry', 'happy', 'happy'], dtype='<U8'), {'contempt': 1})
    """
    wanted = _find_names(names, "names") if isinstance(names, str) else tuple(names)
    codes = {find_emotion(name): code for code, name in enumerate(wanted)}
    if len(codes) < len(wanted):
        raise ValueError(f"Expected names of different emotions, got {wanted}: leave out synonyms.")
    given = [str(name) for name in faces.target_names]
    meanings = {}
    if numbering is not None:
        their_names = _find_names(numbering, "numbering")
        meanings = dict(zip(number_names(numbering), their_names, strict=True))
    new_code = np.array([codes.get(find_emotion(meanings.get(name, name)), -1) for name in given], np.int64)

    if faces.target is None:
        raise ValueError("Expected labeled faces, got faces with no labels.")
    target = np.asarray(faces.target)
    if target.ndim == 2:
        most = target.argmax(axis=1)
        shares = target @ (new_code[:, None] == np.arange(len(wanted))).astype(target.dtype)
        new_target = shares / np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(target.dtype).tiny)
    else:
        most, new_target = target, new_code[target]
    kept = new_code[most] >= 0
    if not kept.any():
        digits = ", and numbering= with the set whose codes they are" if all(map(str.isdigit, given)) else ""
        raise ValueError(
            f"Expected emotions among {shorten(wanted, 10)}, got {shorten(given)}: pass the names that you want to "
            f"keep{digits}."
        )
    data, images = np.asarray(faces.data)[kept], faces.get("images")
    common = Bunch(
        data=data,
        images=None if images is None else to_stack(data, images.shape[1:]),
        target=new_target[kept],
        target_names=np.array(wanted),
        DESCR=f"{faces.get('DESCR', '')}\nIts emotions were brought to the names {', '.join(wanted)}.\n",
    )
    for field in PER_FACE:
        if faces.get(field) is not None:
            common[field] = faces[field][kept]
    if faces.get("traits") is not None:
        common.traits = faces.traits[kept].reset_index(drop=True)
    counts = np.bincount(most, minlength=len(given))
    common.dropped = {name: int(counts[code]) for code, name in enumerate(given) if new_code[code] < 0 and counts[code]}
    return common


def _find_names(vocabulary, parameter):
    if vocabulary not in VOCABULARIES:
        raise ValueError(f"Expected {parameter} to be one of {', '.join(VOCABULARIES)}, got {vocabulary!r}.")
    return VOCABULARIES[vocabulary]
