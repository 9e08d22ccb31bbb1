"""Read a model by name or path: a shipped model, the directory of a run, or a model file."""

from importlib.util import find_spec
from os import PathLike
from pathlib import Path

import joblib
from sklearn.base import BaseEstimator

from .._files import find_shipped_model
from ..persistence import load, read_card
from . import list_models, load_model, read_model_card

__all__ = ["MODEL", "PICKLED", "PICKLES", "find_card", "find_model", "is_model", "read_model", "read_predictor"]

MODEL = "model.ferkit"  # of a run
PICKLED = "model.joblib"  # in place of MODEL if the model contains code
PICKLES = (".joblib", ".pkl", ".pickle")


def find_model(path: Path) -> Path:
    """Return the path of the model in the directory of a run."""
    return path / (PICKLED if (path / PICKLED).exists() else MODEL)


def read_model(name: str | PathLike, allow_pickles: bool = False) -> BaseEstimator:
    """Read a fitted classifier: a shipped model, the directory of a run, a .ferkit or .onnx file.

    With ``allow_pickles``, also a joblib file, which can run code.
    """
    if name in list_models():
        return load_model(str(name))
    path = Path(name)
    path = find_model(path) if path.is_dir() else path
    if not path.exists():
        raise FileNotFoundError(
            f"Expected the name of a model, a .ferkit or .onnx file, or the directory of a run, got {path}, which does "
            f"not exist: the names are {list_models()}."
        )
    if path.suffix not in PICKLES:
        model = load(path)
    elif not allow_pickles:
        raise ValueError(
            f"Expected a model file that can't run code, got {path}: if you trust it, pass joblib.load({str(path)!r})."
        )
    else:
        try:
            model = joblib.load(path)
        except Exception as error:
            raise ValueError(f"Expected a file that joblib.dump has written, got {path}: {error}") from error
    if not hasattr(model, "predict_proba") or not hasattr(model, "classes_"):
        raise ValueError(f"Expected a fitted classifier in {path}, got a {type(model).__name__}.")
    return model


def read_predictor(name: str | PathLike, allow_pickles: bool = False) -> BaseEstimator:
    """Read a model that only predicts: as `read_model`, but shipped models as ONNX files if onnxruntime is installed.

    Programs then start without PyTorch, and a few faces take less time.
    """
    if name in list_models() and find_spec("onnxruntime"):
        return load(find_shipped_model(str(name)).with_suffix(".onnx"))
    return read_model(name, allow_pickles)


def is_model(name: str) -> bool:
    """Return whether this is the name of a shipped model, the directory of a run or, by its suffix, a model file."""
    path = Path(name)
    return name in list_models() or path.suffix in (".ferkit", ".onnx", *PICKLES) or find_model(path).is_file()


def find_card(name: str | PathLike) -> str:
    """Return the card of a model that `read_model` reads; the text is empty if the file has none."""
    if name in list_models():
        return read_model_card(str(name))
    path = find_model(Path(name)) if Path(name).is_dir() else Path(name)
    return read_card(path) if path.suffix == ".ferkit" else ""
