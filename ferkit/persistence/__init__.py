"""Save and load models as files that cannot contain code: `save`, `load` and `read_card`."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from zipfile import BadZipFile

from sklearn.base import BaseEstimator

from .._files import read_stored_zip, write_atomically
from ._text import CARD, plain

__all__ = ["load", "read_card", "save"]


def save(model: BaseEstimator, path: str | PathLike, *, card: str = "", half: bool = False) -> None:
    """Save a model to a file that cannot contain code.

    The model can be a `FERClassifier`, or a pipeline or ensemble of estimators of ferkit, scikit-learn and
    imbalanced-learn, fitted or not. The file is about as large as the weights. It is written completely or not at all.

    Samplers are saved without the images that they have seen, networks without the momenta of their optimizer, and
    classifiers without the directory in ``checkpoint``.
    Other third-party estimators, as well as trees, nearest neighbors, `SVC`, encoders and functions, are saved with
    skops. `load` then needs their names in `trusted`.

    Parameters
    ----------
    model : estimator
        The model.
    path : str or path-like
        The file to write. Its usual suffix is ``.ferkit``. An existing file is replaced.
    card : str, default=""
        Markdown text for the model card, such as the data and the scores. Unless it has a title, ferkit adds one, and a
        table of what it knows.
    half : bool, default=False
        Whether to store the weights of networks in float16, which halves the file. Probabilities then change by about
        0.001.

    Raises
    ------
    TypeError
        If a part of the model can only be saved as code, such as a callback or a class defined in a notebook.
    ImportError
        If a part needs skops, and it is not installed.

    See Also
    --------
    load : Load the file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import ferkit
    >>> from ferkit.datasets import make_faces
    >>> faces = make_faces(100, random_state=0)
    >>> model = ferkit.FERClassifier("cnn_small", max_epochs=4, random_state=0).fit(faces.data, faces.target)
    >>> with TemporaryDirectory() as directory:
    ...     path = Path(directory, "model.ferkit")
    ...     ferkit.save(model, path)
    ...     same = ferkit.load(path)
    >>> bool((same.predict(faces.data) == model.predict(faces.data)).all())
    True
    """
    from ._format import to_bytes  # imports PyTorch

    write_atomically(path, to_bytes(model, card, half))


def load(path: str | PathLike, *, trusted: Iterable[str] = ()) -> BaseEstimator:
    """Load a model from a file that `save` or `ferkit.export` has written.

    The file may come from anybody: loading it runs no code from the file, and imports only modules on a fixed list. The
    model can still predict nonsense, or use much time and memory to predict. ``n_jobs`` of its parts is reduced to the
    number of CPUs.

    Parameters
    ----------
    path : str or path-like
        The file. If it ends in ``.onnx``, the model is an :class:`~ferkit.onnx.OnnxClassifier`, and onnxruntime reads
        the file.
    trusted : list of str, default=()
        Names of further classes and functions that may be imported and called, such as ``"sklearn.svm.SVC"``, and of
        backbones that may get text arguments, such as ``"timm/resnet18"``. Only trust names that you know, and only in
        files of people you trust: inconsistent arrays can crash compiled code, such as ``SVC``.

    Returns
    -------
    estimator
        The model. With ``device="auto"``, it uses the accelerator of this machine. Otherwise it uses the device of its
        training, or the CPU if this machine does not have that device.

    Raises
    ------
    ValueError
        If the file is damaged, was written by a newer version of ferkit, or needs a backbone that is not registered.
    TypeError
        If the model contains classes or functions that are not in `trusted`. The error names them.
    ImportError
        If the model needs a package that is not installed.
    OSError
        If the file cannot be read.

    See Also
    --------
    save : Save a model.
    ferkit.backbones.register_backbone : Register the class of your own network before loading.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import ferkit
    >>> from ferkit.datasets import make_faces
    >>> faces = make_faces(50, random_state=0)
    >>> pipeline = ferkit.Pipeline([("parse", ferkit.PixelParser()), ("classify", ferkit.FERClassifier())])
    >>> with TemporaryDirectory() as directory:
    ...     ferkit.save(pipeline, Path(directory, "pipeline.ferkit"))
    ...     ferkit.load(Path(directory, "pipeline.ferkit"))
    Pipeline(steps=[('parse', PixelParser()), ('classify', FERClassifier())])
    """
    if Path(path).is_dir():
        raise IsADirectoryError(f"Expected a file, got the directory {path}: the model of a run is model.ferkit in it.")
    content = Path(path).read_bytes()
    if Path(path).suffix == ".onnx":
        from ..onnx import OnnxClassifier

        return OnnxClassifier(content)
    from ._format import from_bytes  # imports PyTorch

    return from_bytes(content, str(path), trusted)


def read_card(path: str | PathLike) -> str:
    """Read the model card in a file that `save` has written.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import ferkit
    >>> with TemporaryDirectory() as directory:
    ...     path = Path(directory, "model.ferkit")
    ...     ferkit.save(ferkit.FERClassifier(), path, card="Not trained yet.")
    ...     print(ferkit.read_card(path))
    # FERClassifier
    <BLANKLINE>
    Not trained yet.
    ...
    """
    path = Path(path)
    try:
        return plain(read_stored_zip(path.read_bytes())[CARD].decode())
    except (BadZipFile, ValueError, KeyError) as error:
        raise ValueError(f"Expected a file that ferkit.save has written, got {path}: {plain(error)[:2000]}") from error
