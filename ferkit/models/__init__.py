"""Models that ship with the package: `load_model`, `list_models` and `read_model_card`."""

from typing import TYPE_CHECKING

from .._files import find_shipped_model, list_shipped_models
from ..persistence import load, read_card

if TYPE_CHECKING:
    from ..classifier import FERClassifier

__all__ = ["list_models", "load_model", "read_model_card"]


def list_models() -> list[str]:
    """List the models that ship with the package.

    Returns
    -------
    list of str
        The names for :func:`ferkit.load_model`, ``FERClassifier(weights=…)`` and ``NetworkFeatures``.

    Examples
    --------
    >>> from ferkit.models import list_models
    >>> list_models()
    ['fer2013-small']
    """
    return list_shipped_models()


def load_model(name: str = "fer2013-small") -> "FERClassifier":
    """Load a trained classifier that ships with the package. Nothing is downloaded.

    Parameters
    ----------
    name : str, default="fer2013-small"
        A name from :func:`ferkit.models.list_models`. "fer2013-small" recognizes the seven emotions of FER2013 on cut
        out faces, best in gray with 48×48 pixels; other sizes and colors are converted.

    Returns
    -------
    FERClassifier
        The fitted classifier, with calibrated probabilities.

    Raises
    ------
    ValueError
        If no model has this name.

    See Also
    --------
    ferkit.models.read_model_card : The data, the scores and the limits of a model.

    Examples
    --------
    >>> import ferkit
    >>> model = ferkit.load_model()
    >>> model.classes_.tolist()
    ['angry', 'disgust', 'fear', 'happy', 'neutral', 'sad', 'surprise']
    """
    return load(_find(name))


def read_model_card(name: str = "fer2013-small") -> str:
    """Read the card of a model: its data, how to make it again, its scores, limits and licenses.

    Parameters
    ----------
    name : str, default="fer2013-small"
        A name from :func:`ferkit.models.list_models`.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> from ferkit.models import read_model_card
    >>> print(read_model_card("fer2013-small").splitlines()[0])
    # fer2013-small
    """
    return read_card(_find(name))


def _find(name):
    path = find_shipped_model(name)
    if path is None:
        raise ValueError(f"Expected one of {list_models()}, got {name!r}: pass one of these names to load_model.")
    return path
