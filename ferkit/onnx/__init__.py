"""Models as ONNX files: `export`, and `OnnxClassifier`, which predicts with them.

Only `export` needs PyTorch. A program that predicts does not import it.
"""

import json
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from joblib import cpu_count
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from .._documentation import ADDRESS, DocumentedMixin
from .._files import write_atomically
from .._images import BYTES, Images, check_images, check_shape, match_range, to_stack

if TYPE_CHECKING:
    from ..classifier import FERClassifier

__all__ = ["OnnxClassifier", "export"]

_MOST_CHANGED = 0.1  # share of predictions that int8 may change without a warning
_QUANTIZE_BATCH = 64
_DECODED = 256  # images that are decoded at a time
_QUANTIZED = ["Conv", "Gemm", "MatMul", "MaxPool", "Relu"]


def export(
    model: BaseEstimator, path: str | PathLike, *, card: str = "", half: bool = False, quantize: Images | None = None
) -> None:
    """Write a classifier to an ONNX file, for deployments without PyTorch.

    The graph contains everything between a picture and its probabilities: resizing, standardization, the network, the
    test-time views and softmax. It takes ``images`` of dtype uint8 and shape (n, height, width, channels), any number
    and any size, and returns ``probabilities`` of dtype float32 and shape (n, n_classes). The metadata hold
    ``classes``, ``image_shape`` and ``card``.

    It needs ``pip install "ferkit[onnx]"``. The file is compared with PyTorch before it is written.

    Parameters
    ----------
    model : FERClassifier
        A fitted classifier.
    path : str or path-like
        The file to write. Its suffix must be ``.onnx``. An existing file is replaced.
    card : str, default=""
        Text about the model, such as its data and scores.
    half : bool, default=False
        Whether to store the weights in float16, which halves the file. The network still computes in float32.
        Probabilities then change by about 0.001. Without effect with ``quantize``.
    quantize : array-like, default=None
        A few hundred images such as those to predict. With them, the network computes in int8, which is faster on most
        CPUs and makes the file four times smaller. The images determine the range of the values of each layer. If this
        changes the prediction of more than one in ten of them, there is a warning.

    Raises
    ------
    ImportError
        If ONNX or onnxruntime is not installed.
    ValueError
        If the model cannot be exported: with ``tta`` other than "auto", "flip", "ten_crop" and None, or if it was not
        trained on pixels from 0 to 255 or from 0 to 1. Or if the probabilities of the file differ by more than 1e-4.

    See Also
    --------
    ferkit.load : Load the file as a scikit-learn classifier.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import ferkit
    >>> from ferkit.datasets import make_faces
    >>> with TemporaryDirectory() as directory:
    ...     ferkit.export(ferkit.load_model(), Path(directory, "model.onnx"))
    ...     model = ferkit.load(Path(directory, "model.onnx"))
    >>> model.predict_proba(make_faces(5, random_state=0).images).shape
    (5, 7)
    """
    from ..classifier import FERClassifier
    from ._graph import Graph, compare, halve

    if not isinstance(model, FERClassifier):
        advice = ": pass its classifier, pipeline[-1]." if hasattr(model, "steps") else "."
        raise TypeError(f"Expected a FERClassifier, got a {type(model).__name__}{advice}")
    check_is_fitted(model)
    if Path(path).suffix != ".onnx":
        raise ValueError(f"Expected a path that ends in .onnx, got {path}.")
    content = to_bytes(model, card)
    exported = OnnxClassifier(content)
    compare(exported, Graph(model), model.image_shape_)
    if quantize is not None:
        content = _quantize(exported, quantize)
        changed = (OnnxClassifier(content).predict(quantize) != exported.predict(quantize)).mean()
        if changed > _MOST_CHANGED:
            warnings.warn(
                f"int8 changes the prediction of {changed:.0%} of the given images: score the file before you use it, "
                "or export it without `quantize`.",
                stacklevel=2,
            )
    elif half:
        content = halve(content)
    write_atomically(path, content)


def to_bytes(model: "FERClassifier", card: str = "") -> bytes:
    """Return the content of the file that `export` writes."""
    from ._graph import Graph, to_proto

    _import_onnx("onnxscript")
    return to_proto(Graph(model), model, card).SerializeToString()


def _quantize(exported, X):
    """Return the file with convolutions and linear layers in int8; the images ``X`` give the ranges of activations."""
    from onnx import load_from_string
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    images = exported.prepare(X)

    class Reader(CalibrationDataReader):
        batches = iter(gen_batches(len(images), _QUANTIZE_BATCH))

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"images": images[batch]}

    proto = load_from_string(exported.content)
    # PyTorch has optimized the graph; without this entry, onnxruntime logs advice to do so and sets up logging
    proto.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with TemporaryDirectory() as directory:
        path = Path(directory, "int8.onnx")
        quantize_static(
            proto,
            path,
            Reader(),
            per_channel=True,
            reduce_range=True,  # weights of 7 bits, because sums of 8 bits overflow on processors without VNNI
            op_types_to_quantize=_QUANTIZED,
        )
        return path.read_bytes()


class OnnxClassifier(DocumentedMixin, ClassifierMixin, BaseEstimator):
    """Classifier that predicts with an ONNX file on the CPU, through onnxruntime.

    :func:`ferkit.load` returns it for a file that :func:`export` has written. It cannot be trained.

    Parameters
    ----------
    content : bytes
        The content of the file.
    batch_size : int, default=8
        Number of images per call of onnxruntime. Small networks are fastest with few, whose layers fit into the cache
        of a core.
    n_threads : int, default=0
        Number of threads; 0 is one per core. A single batch is computed by all of them, and of several batches each
        thread computes one at a time.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    image_shape_ : tuple of int
        (height, width, channels) of the images that the model was trained on. Others are converted.
    n_features_in_ : int
        Number of values in a row.
    card : str
        The text that was given to :func:`export`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import ferkit
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.onnx import OnnxClassifier
    >>> with TemporaryDirectory() as directory:
    ...     ferkit.export(ferkit.load_model(), Path(directory, "model.onnx"))
    ...     model = OnnxClassifier(Path(directory, "model.onnx").read_bytes(), n_threads=1)
    >>> model.predict_proba(make_faces(5, random_state=0).images).shape
    (5, 7)
    """

    _doc_link_template = f"{ADDRESS}/generated/ferkit.onnx.OnnxClassifier.html"

    def __init__(self, content: bytes, *, batch_size: int = 8, n_threads: int = 0) -> None:
        self.content = content
        self.batch_size = batch_size
        self.n_threads = n_threads
        self._read_content()

    def set_params(self, **params: Any) -> Self:
        super().set_params(**params)
        if "content" in params:
            self._read_content()
        return self

    def _read_content(self):
        self._sessions: dict[int, Any] = {}
        metadata = self._session(self.n_threads).get_modelmeta().custom_metadata_map
        try:
            self.classes_ = np.array(json.loads(metadata["classes"]))
            self.image_shape_ = check_shape(json.loads(metadata["image_shape"]))
            if self.run(np.zeros((1, *self.image_shape_), np.uint8)).shape != (1, *self.classes_.shape):
                raise ValueError
        except Exception:
            raise ValueError("Expected a file that ferkit.export has written, got another ONNX file.") from None
        self.card = metadata.get("card", "")
        self.n_features_in_ = prod(self.image_shape_)

    def _open(self, n_threads):
        onnxruntime = _import_onnx("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        try:
            return onnxruntime.InferenceSession(self.content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ValueError(f"Expected an ONNX file, got one that onnxruntime can't read: {error}") from None

    def _session(self, n_threads):
        """Return the session in which a call uses this number of threads."""
        if n_threads not in self._sessions:
            self._sessions[n_threads] = self._open(n_threads)
        return self._sessions[n_threads]

    def fit(self, X: Images, y: Sequence) -> Self:
        """Raise TypeError, because an ONNX file cannot be trained."""
        raise TypeError("Expected a FERClassifier to train, got an OnnxClassifier, which only predicts.")

    def predict_proba(self, X: Images) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like
            Images in any form that :meth:`FERClassifier.predict` accepts.

        Returns
        -------
        ndarray of shape (n, n_classes) and dtype float64
        """
        rows, _ = check_images(self, X, reset=False, lazy=True)
        rows = match_range(rows, BYTES)  # before they are cut into batches, whose range could differ
        if len(rows) <= self.batch_size:
            return self.run(self._to_pictures(rows[:])).astype(float)  # decodes files
        parts: list[np.ndarray] = []
        predict = partial(_run, self._session(1))
        with ThreadPoolExecutor(self.n_threads or cpu_count()) as pool:
            for some in gen_batches(len(rows), max(self.batch_size, _DECODED)):  # files need not fit into memory
                pictures = self._to_pictures(rows[some])
                parts += pool.map(predict, [pictures[part] for part in gen_batches(len(pictures), self.batch_size)])
        return np.concatenate(parts).astype(float)

    def prepare(self, X: Images) -> np.ndarray:
        """Return images in any form as uint8 (n, height, width, channels), the input of the graph."""
        return self._to_pictures(match_range(check_images(self, X, reset=False)[0], BYTES))

    def _to_pictures(self, rows):
        if rows.dtype != np.uint8:
            rows = np.rint(rows).clip(0, 255).astype(np.uint8)
        return to_stack(rows, self.image_shape_)

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of uint8 images (n, height, width, channels) of any size, as they are."""
        return _run(self._session(self.n_threads), images)

    def predict(self, X: Images) -> np.ndarray:
        """Return the most probable class.

        Parameters
        ----------
        X : array-like
            Images in any form that :meth:`FERClassifier.predict` accepts.

        Returns
        -------
        ndarray of shape (n,)
        """
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_sessions"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._sessions = {}

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return f"OnnxClassifier(<{len(self.content):,} bytes>)"


def _run(session, images):
    return session.run(None, {"images": images})[0]


def _import_onnx(package):
    try:
        return __import__(package)
    except ImportError:
        raise ImportError(f'ONNX files need {package}: pip install "ferkit[onnx]"') from None
