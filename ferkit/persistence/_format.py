"""The format of model files: `to_bytes` and `from_bytes`.

A file is an uncompressed zip with three members: ``ferkit.json`` (everything except arrays), ``weights.safetensors``
(arrays and weights) and ``README.md`` (the model card). Estimators that ferkit does not know are further members, in
the format of skops, which `load` only reads if they are trusted.
"""

import json
import math
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from io import BytesIO
from pathlib import Path, PurePath
from types import FunctionType
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from .._estimator import NetworkEstimator
from .._files import is_file, read_stored_zip
from ..augmentation import resolve_augment
from ..backbones._registry import is_backbone
from ..classifier import FERClassifier
from ..training import describe_net, rebuild_module, rebuild_net
from ._text import CARD, CONTROL, plain

__all__ = ["from_bytes", "to_bytes"]

FORMAT = 1  # of this version; older ones can be read
_OBJECTS, _TENSORS = "ferkit.json", "weights.safetensors"
_PACKAGES = ("ferkit", "torch", "scikit-learn", "imbalanced-learn", "numpy")
_MOST_VIEWS = 1000  # of an image at predict; a file must not ask for hours per image
_LARGEST = 4096  # pixels per side; no image of a face needs more, and a file must not ask for all of the memory
_LONGEST = 2**24  # bytes of JSON; decoding takes up to 50 times as many
_LONGEST_TEXT = 2**28  # bytes of all text arrays, which can be the square of what they take in the file

# Loading imports only these modules and builds only objects of these classes; `trusted` adds to the list. Predictions
# of these classes run no compiled code that relies on consistent arrays, as trees, libsvm, nearest neighbors and
# OneHotEncoder do, and call no function that a file can choose.
_CLASSES = {
    "ferkit": (
        "FERClassifier", "FERRegressor", "ImageAugmenter", "ImageNormalizer", "ImageResizer", "NetworkFeatures",
        "PixelParser",
    ),
    "imblearn.pipeline": ("Pipeline",),
    "imblearn.combine": ("SMOTEENN", "SMOTETomek"),
    "imblearn.over_sampling": (
        "ADASYN", "BorderlineSMOTE", "KMeansSMOTE", "RandomOverSampler", "SMOTE", "SVMSMOTE"
    ),
    "imblearn.under_sampling": (
        "AllKNN", "ClusterCentroids", "CondensedNearestNeighbour", "EditedNearestNeighbours",
        "InstanceHardnessThreshold", "NearMiss", "NeighbourhoodCleaningRule", "OneSidedSelection",
        "RandomUnderSampler", "RepeatedEditedNearestNeighbours", "TomekLinks",
    ),
    "sklearn.calibration": (
        "CalibratedClassifierCV", "_CalibratedClassifier", "_SigmoidCalibration", "_TemperatureScaling"
    ),
    "sklearn.compose": ("ColumnTransformer",),
    "sklearn.decomposition": ("FactorAnalysis", "FastICA", "IncrementalPCA", "PCA", "TruncatedSVD"),
    "sklearn.discriminant_analysis": ("LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis"),
    "sklearn.dummy": ("DummyClassifier", "DummyRegressor"),
    "sklearn.ensemble": (
        "BaggingClassifier", "BaggingRegressor", "StackingClassifier", "StackingRegressor", "VotingClassifier",
        "VotingRegressor",
    ),
    "sklearn.feature_selection": ("SelectKBest", "SelectPercentile", "VarianceThreshold"),
    "sklearn.frozen": ("FrozenEstimator",),
    "sklearn.kernel_approximation": ("Nystroem", "RBFSampler"),
    "sklearn.linear_model": (
        "LinearRegression", "LogisticRegression", "LogisticRegressionCV", "Ridge", "RidgeCV", "RidgeClassifier",
        "RidgeClassifierCV",
    ),
    "sklearn.multiclass": ("OneVsOneClassifier", "OneVsRestClassifier"),
    "sklearn.multioutput": ("MultiOutputRegressor",),
    "sklearn.naive_bayes": ("BernoulliNB", "GaussianNB", "MultinomialNB"),
    "sklearn.pipeline": ("FeatureUnion", "Pipeline"),
    "sklearn.preprocessing": (
        "Binarizer", "FunctionTransformer", "LabelBinarizer", "LabelEncoder", "MaxAbsScaler", "MinMaxScaler",
        "Normalizer", "PowerTransformer", "QuantileTransformer", "RobustScaler", "StandardScaler",
    ),
    "sklearn.svm": ("LinearSVC", "LinearSVR"),
}  # fmt: skip
_FUNCTIONS = {"sklearn.feature_selection": ("chi2", "f_classif", "mutual_info_classif")}
_REBUILT = ("net_", "augment_", "network_")  # fitted attributes that loading makes again


def to_bytes(model: BaseEstimator, card: str = "", half: bool = False) -> bytes:
    """Return the content of the file that `save` writes."""
    if isinstance(model, type) or not isinstance(model, BaseEstimator):
        kind = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise TypeError(f"Expected an estimator, got {kind}: save each model to a file of its own.")
    writer = _Writer(half)
    top = writer.encode(model, "model")
    tensors = save_tensors(writer.tensors)
    written = {
        "format": FORMAT,
        "versions": {package: version(package) for package in _PACKAGES},
        "sha256": {_TENSORS: sha256(tensors).hexdigest()},
        "objects": writer.objects,
        "model": top,
    }
    members = {
        _OBJECTS: json.dumps(written, allow_nan=False, ensure_ascii=False).encode(),
        _TENSORS: tensors,
        CARD: write_card(model, card).encode(),
        **writer.members,
    }
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # with a constant time: equal models give equal files
    return buffer.getvalue()


def from_bytes(content: bytes, name: str = "the file", trusted: Iterable[str] = ()) -> BaseEstimator:
    """Load a model from the content of a file; `name` is for errors."""
    try:
        members = read_stored_zip(content)
        written = _read_json(members[_OBJECTS])
        if sha256(members[_TENSORS]).hexdigest() != written["sha256"][_TENSORS]:
            raise ValueError("its weights do not have the checksum that was stored with them")
        model = _Reader(load_tensors(members[_TENSORS]), members, frozenset(trusted)).read(written)
        if not isinstance(model, BaseEstimator):
            raise ValueError(f"it contains a {type(model).__name__} in place of a model")
        return model
    except _FileError as error:
        raise error.kind(f"{name} can't be loaded: {plain(error)[:2000]}") from error.__cause__
    except ImportError:
        raise
    except (Exception, RecursionError) as error:  # a damaged file can fail anywhere
        raise ValueError(
            f"Expected a file that ferkit.save has written, got {name}, which is damaged or of another kind: "
            f"{plain(error)[:2000]}"
        ) from error


class _FileError(Exception):
    """A file that is not damaged but cannot be loaded here; ``kind`` is the exception to raise."""

    def __init__(self, kind: type[Exception], message: str) -> None:
        super().__init__(message)
        self.kind = kind


# writing


class _Writer:
    """Encode a model as JSON values, tensors and, for estimators that are not on the list, members in skops' format.

    A value that JSON has no type for becomes a dict with one key, which names its type. Objects are written once, to
    ``objects``, so that an ensemble that refers to a model twice does not double its weights.
    """

    def __init__(self, half):
        self.half, self.tensors, self.objects, self.members = half, {}, [], {}
        self._seen = {}  # id -> (object, its code); holding the object keeps its id from being used again

    def encode(self, value: Any, place: str) -> Any:
        """Return the JSON value of an object; ``place`` is an expression for it, for errors and names of tensors."""
        kind = type(value)
        if kind is str:
            return _check_text(value, place)
        if value is None or kind in (bool, int):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return [self.encode(part, f"{place}[{n}]") for n, part in enumerate(value)]
        if kind is tuple:
            return {"tuple": self.encode(list(value), place)}
        if kind in (dict, Bunch):
            pairs = [[self.encode(key, place), self.encode(part, f"{place}[{key!r}]")] for key, part in value.items()]
            return {kind.__name__.lower(): pairs}
        if kind is timedelta:
            return {"timedelta": value.total_seconds()}
        if kind is slice:
            return {"slice": self.encode([value.start, value.stop, value.step], place)}
        if isinstance(value, np.generic) and value.dtype.kind in "biufU" and not isinstance(value, np.longdouble):
            return {"scalar": [value.dtype.str, self.encode(value.item(), place)]}
        if isinstance(value, (np.ndarray, torch.Tensor)):
            return self._once(value, lambda: self._encode_array(value, place))
        if isinstance(value, np.dtype) and value.kind in "biufO":
            return {"dtype": value.str}
        if kind is type and issubclass(value, np.generic) and np.dtype(value).kind in "biufO":
            return {"type": np.dtype(value).str}
        if kind is np.random.RandomState:
            return {"randomstate": self.encode(value.get_state(legacy=False), place)}
        if isinstance(value, BaseEstimator) or _is_listed(_CLASSES, _name(kind)):
            return self._once(value, lambda: self._encode_object(value, place))
        if isinstance(value, (type, FunctionType)) or type(value).__name__ == "ArrayFunctionDispatcher":
            return {"name": _check_name(value, place)}
        raise _unsupported(value, place)

    def _once(self, value, encode):
        if id(value) not in self._seen:
            self._seen[id(value)] = value, encode()
        return self._seen[id(value)][1]

    def _encode_array(self, array, place):
        if isinstance(array, torch.Tensor):
            self.tensors[place] = array.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": place}
        if array.flags.fnc:  # in another order in memory, sums would be rounded differently
            return {"transposed": self._encode_array(array.T, place)}
        if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
            self.tensors[place] = torch.from_numpy(np.array(array, order="C"))
            return {"array": place}
        if array.dtype.kind in "UO":
            values = [self.encode(part, f"{place}[{n}]") for n, part in enumerate(array.ravel().tolist())]
            return {"array": {"kind": array.dtype.kind, "shape": list(array.shape), "values": values}}
        raise _unsupported(array, place)

    def _encode_object(self, value, place):
        name = _name(type(value))
        entry = {"class": name}
        if not _is_listed(_CLASSES, name) or _needs_trust(value):
            entry["skops"] = f"{len(self.objects)}.skops"
            self.members[entry["skops"]] = _dump_by_skops(value, place)
        elif name.startswith("imblearn.") and hasattr(value, "fit_resample"):
            # what a sampler has learned, such as the training images of SMOTE, has no use outside of fit
            entry["params"] = self._encode_params(value, place)
        elif name.startswith("ferkit."):
            entry["params"] = self._encode_params(value, place)
            entry["fitted"] = {
                attribute: self.encode(part, f"{place}.{attribute}")
                for attribute, part in vars(value).items()
                if attribute not in entry["params"] and attribute not in _REBUILT
            }
            if isinstance(value, NetworkEstimator) and hasattr(value, "net_"):
                entry["net"], state = describe_net(value.net_)
                entry["net"] = self.encode(entry["net"], f"{place}.net_")
                entry["weights"] = self._encode_weights(state, place)
            elif "network_" in vars(value):
                entry["head"] = value.network_.head
                entry["weights"] = self._encode_weights(value.network_.state_dict(), place)
        else:
            state = value.__getstate__()
            entry["state"] = {attribute: self.encode(part, f"{place}.{attribute}") for attribute, part in state.items()}
        self.objects.append(entry)
        return {"object": len(self.objects) - 1}

    def _encode_weights(self, state, place):
        for name, tensor in state.items():
            half = self.half and tensor.is_floating_point()
            self._encode_array(tensor.half() if half else tensor, f"{place}.network_.{name}")
        return place

    def _encode_params(self, value, place):
        params = value.get_params(deep=False)
        return {
            name: {"path": str(part)} if isinstance(part, PurePath) else self.encode(part, f"{place}.{name}")
            for name, part in params.items()
        }


def _check_text(text, place):
    """Return a text unless it could be the name of an image, which a network would read, or control a terminal."""
    if is_file(text) or CONTROL.search(text):
        raise TypeError(
            f"Expected text that is no name of an image and has no control characters, got {text[:100]!r} at {place}: "
            "rename it."
        )
    return text


def _needs_trust(value):
    """Return whether an estimator on the list can do harm: call functions, or fill a sparse matrix out of bounds."""
    kind = type(value).__name__
    if kind == "FunctionTransformer":  # without functions, it is the "passthrough" of a fitted ColumnTransformer
        return value.func is not None or value.inverse_func is not None
    if kind == "OneVsRestClassifier" and hasattr(value, "estimators_"):
        is_multiclass = value.label_binarizer_.y_type_ == "multiclass"
        # scikit-learn does not check the number of predictions of others
        return not (is_multiclass or all(type(estimator) is FERClassifier for estimator in value.estimators_))
    return False


def _unsupported(value, place):
    return TypeError(
        f"Expected values that a file without code can hold, got a {type(value).__qualname__} at {place}: remove it, "
        "or use joblib.dump, whose files can run code."
    )


def _name(kind):
    """Return the public name of a class or function, which stays the same when private modules are renamed."""
    name, module = kind.__qualname__, kind.__module__
    if module.startswith(("sklearn.", "imblearn.")):
        module = module.partition("._")[0]
    elif module.startswith("ferkit.") and name in _CLASSES["ferkit"]:
        module = "ferkit"
    return f"{module}.{name}"


def _check_name(value, place):
    name = _name(value)
    if "<" in name or name.startswith("__main__."):
        raise TypeError(
            f"Expected a class or function that can be imported, got {name} at {place}: define it in a module. Or give "
            "a network a name by ferkit.backbones.register_backbone, and pass this name as backbone."
        )
    return name


def _is_listed(names, name):
    module, _, attribute = name.rpartition(".")
    return attribute in names.get(module, ())


def _import_skops(purpose):
    try:
        import skops.io
    except ImportError:
        raise ImportError(f'{purpose} needs skops: pip install "ferkit[skops]"') from None
    return skops.io


def _dump_by_skops(value, place):
    skops = _import_skops(f"Saving the {type(value).__qualname__} at {place}")
    try:
        content = skops.dumps(value)
    except Exception as error:
        raise _unsupported(value, place) from error
    if any(name.startswith("ferkit.") for name in skops.get_untrusted_types(data=content)):
        raise TypeError(
            f"Expected a model that a file without code can hold, got a {type(value).__qualname__} with networks at "
            f"{place}: save its best_estimator_ if it is a search, or use joblib.dump, whose files can run code."
        )
    return content


def write_card(model, card):
    """Return the model card: the text, with a title and a table of what is known of the model."""
    last = model[-1] if hasattr(model, "steps") else model
    rows = {"versions": ", ".join(f"{package} {version(package)}" for package in _PACKAGES)}
    if isinstance(last, NetworkEstimator) and hasattr(last, "net_"):
        rows |= {
            "backbone": last.net_.module__build.name,
            "parameters": f"{sum(part.numel() for part in last.network_.parameters()):,}",
            "images": "×".join(map(str, last.image_shape_)),
            **({"classes": ", ".join(map(str, last.classes_))} if isinstance(last, FERClassifier) else {}),
            "epochs": str(len(last.history_)),
        }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    title = "" if card.lstrip().startswith("# ") else f"# {type(model).__name__}\n\n"
    text = f"{card.strip()}\n\n" if card.strip() else ""
    return f"{title}{text}| | |\n| --- | --- |\n{table}\n"


# reading


def _read_json(content):
    if len(content) > _LONGEST:
        raise ValueError(f"its {_OBJECTS} is larger than {_LONGEST:,} bytes")
    written = json.loads(content)
    if not isinstance(written, dict) or type(written.get("format")) is not int:
        raise ValueError(f"its {_OBJECTS} has no format number")
    if written["format"] > FORMAT:
        raise _FileError(
            ValueError,
            f"ferkit {written.get('versions', {}).get('ferkit')} wrote it in format {written['format']}, and this "
            f"version, ferkit {version('ferkit')}, reads formats up to {FORMAT}: upgrade ferkit.",
        )
    return written


def _find_names(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the kind ("class" or "name" of a function) and the name of all objects in an encoded value."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield from ((tag, value[tag]) for tag in ("class", "name") if isinstance(value.get(tag), str))
            left += value.values()
        elif isinstance(value, list):
            left += value


class _Reader:
    """Decode what a `_Writer` has encoded."""

    def __init__(self, tensors, members, trusted):
        self.tensors, self.members, self.trusted, self.objects, self.text_bytes = tensors, members, trusted, [], 0
        # of each network, to be used once: a file must not ask for many copies of its weights
        self.weights: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
        for stored, tensor in tensors.items():
            place, found, name = stored.partition(".network_.")
            if found:
                self.weights[place][name] = tensor

    def read(self, written: dict) -> Any:
        unknown = sorted(
            name
            for tag, name in set(_find_names([written["objects"], written["model"]]))
            if name not in self.trusted and not _is_listed(_CLASSES if tag == "class" else _FUNCTIONS, name)
        )
        if unknown:
            raise _FileError(
                TypeError,
                f"It contains {', '.join(unknown)}, which ferkit does not trust. If you do, pass trusted={unknown}. If "
                "it is a network, register it under a name with ferkit.backbones.register_backbone, and train and save "
                "with this name.",
            )
        for entry in written["objects"]:
            self.objects.append(self._build(entry))
        return self.decode(written["model"])

    def decode(self, code: Any) -> Any:
        if isinstance(code, list):
            return [self.decode(part) for part in code]
        if isinstance(code, str):
            return _check_text(code, "a place in the file")
        if not isinstance(code, dict):
            return code
        ((tag, value),) = code.items()
        return getattr(self, f"_decode_{tag}")(value)

    def _decode_float(self, text):
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[text]

    def _decode_tuple(self, parts):
        return tuple(self.decode(parts))

    def _decode_dict(self, pairs):
        decoded = {self.decode(key): self.decode(part) for key, part in pairs}
        if is_file(decoded):
            raise ValueError("it contains the path of an image")
        return decoded

    def _decode_bunch(self, pairs):
        return Bunch(**self._decode_dict(pairs))

    def _decode_timedelta(self, seconds):
        return timedelta(seconds=seconds)

    def _decode_slice(self, parts):
        return slice(*self.decode(parts))

    def _decode_array(self, code):
        if isinstance(code, str):
            return self.tensors[code].numpy()
        values = self.decode(code["values"])
        array = np.empty(len(values), dtype=object)
        array[:] = values
        if code["kind"] == "U":
            self.text_bytes += 4 * len(values) * max(map(len, values), default=0)
            if self.text_bytes > _LONGEST_TEXT:
                raise ValueError("it contains arrays of too long texts")
            array = array.astype(str)
        return array.reshape(code["shape"])

    def _decode_transposed(self, code):
        return self.decode(code).T

    def _decode_scalar(self, code):
        dtype, value = code
        value = self.decode(value)
        return np.str_(value) if isinstance(value, str) else self._decode_type(dtype)(value)

    def _decode_tensor(self, name):
        return self.tensors[name]

    def _decode_dtype(self, text):
        dtype = np.dtype(text)
        if dtype.kind not in "biufO":
            raise ValueError(f"it contains the unusual type {text}")
        return dtype

    def _decode_type(self, text):
        return self._decode_dtype(text).type

    def _decode_randomstate(self, state):
        random_state, state = np.random.RandomState(), self.decode(state)
        if not 0 <= state["state"]["pos"] <= len(state["state"]["key"]):  # NumPy would read other memory
            raise ValueError("it contains a random state without end")
        random_state.set_state(state)
        return random_state

    def _decode_object(self, index):
        return self.objects[index]

    def _decode_name(self, name):
        module, _, attribute = name.rpartition(".")
        return getattr(import_module(module), attribute)

    def _build(self, entry):
        name = entry["class"]
        if "skops" in entry:
            return self._load_by_skops(name, self.members[entry["skops"]])
        if not _is_listed(_CLASSES, name):
            raise ValueError(f"it contains {name} in another form than ferkit.save writes")
        kind = self._decode_name(name)
        if "state" in entry and not name.startswith("ferkit."):
            value, params = kind.__new__(kind), {}
            state = {attribute: self.decode(code) for attribute, code in entry["state"].items()}
        else:
            params = {
                parameter: Path(code["path"]) if isinstance(code, dict) and "path" in code else self.decode(code)
                for parameter, code in entry["params"].items()
            }
            value = kind(**params)
            state = {attribute: self.decode(code) for attribute, code in entry.get("fitted", {}).items()}
        for attribute in state:
            if hasattr(kind, attribute) or attribute in (*params, *_REBUILT) or attribute.startswith("__"):
                raise ValueError(f"it sets the attribute {attribute}")
        value.__setstate__(state) if hasattr(value, "__setstate__") else vars(value).update(state)
        _check_attributes(value)
        if name.startswith("ferkit."):
            value._validate_params()
        if isinstance(value, NetworkEstimator):
            value.checkpoint = None  # a later fit must not write to a directory that a file names
        if "net" in entry:
            value.augment_ = resolve_augment(value.augment, value.pixel_range_)
            described = self.decode(entry["net"])
            self._check_network(described["module"], value)
            if value._n_outputs != described["module"]["arguments"]["num_classes"]:
                raise ValueError("it has another number of classes or targets than its network")
            views = value.tta, described["settings"]["tta"]
            if any(isinstance(tta, (int, np.integer)) and tta > _MOST_VIEWS for tta in views):
                raise ValueError(f"Expected at most {_MOST_VIEWS} views per image")
            weights = self.weights.pop(entry["weights"])
            value.net_ = rebuild_net(value._net, described, weights, value.augment_, value.history_)
            value._follow_device()
        elif "weights" in entry:
            self._check_network(value._described, value)
            value.network_ = rebuild_module(value._described, self.weights.pop(entry["weights"]), entry["head"])
        return value

    def _check_network(self, described, value):
        """Raise unless the images are of a usual size, and the network can be built without reading other files."""
        arguments = described["arguments"]
        shape, size = value.image_shape_, np.ravel(arguments["input_size"] or 1)
        if len(shape) != 3 or shape[2] not in (1, 3) or not all(0 < side <= _LARGEST for side in (*shape[:2], *size)):
            raise ValueError(f"Expected images of at most {_LARGEST} pixels per side, got {shape} and {size}")
        if value.n_features_in_ != math.prod(shape):
            raise ValueError(f"its rows have {value.n_features_in_} values, and its images {shape}")
        backbone = described["backbone"]
        if not isinstance(backbone, str) or backbone in self.trusted:
            return
        if not is_backbone(backbone) and not re.fullmatch(r"timm/\w+(\.\w+)?", backbone):
            raise _FileError(
                ValueError,
                f"It needs the backbone {backbone!r}, which is not registered: first call "
                f"ferkit.backbones.register_backbone({backbone!r}, …) with its class.",
            )
        numbers = {name: part for name, part in arguments.items() if name != "frozen_layers"}  # these may be names
        for name, part in [*described["backbone_params"].items(), *numbers.items()]:
            values = part if isinstance(part, (list, tuple, np.ndarray)) else [part]
            is_plain = all(value is None or isinstance(value, (bool, int, float, np.number)) for value in values)
            if name.startswith("pretrained") or not is_plain:
                raise _FileError(
                    TypeError,
                    f"It builds {backbone} with {name}={part!r}. Text and flags of this kind can make a network read "
                    f"or download other files. If you trust it, pass trusted=[{backbone!r}].",
                )
            if sum(abs(value or 0) for value in values) > 2**16:  # a number of layers, for which lists are made
                raise ValueError(f"it builds {backbone} with {name}={part!r}, which is too large")

    def _load_by_skops(self, name, content):
        if name not in self.trusted:
            raise _FileError(
                TypeError,
                f"It contains {name}, which ferkit does not trust in this form. If you do, pass trusted=[{name!r}].",
            )
        skops = _import_skops(f"Loading {name}")
        unknown = [kind for kind in skops.get_untrusted_types(data=content) if kind not in self.trusted]
        if unknown:
            raise _FileError(
                TypeError, f"{name} contains {', '.join(unknown)}. If you trust these too, add them to trusted."
            )
        value = skops.loads(content, trusted=sorted(self.trusted))
        if _name(type(value)) != name:
            raise ValueError(f"it contains a {_name(type(value))} in place of {name}")
        return value


def _check_attributes(value):
    """Raise if attributes would let predictions use all memory, start many processes or call any method."""
    attributes = vars(value)
    for name in ("image_shape_", "size", "_size"):
        if np.prod(np.abs(attributes.get(name, 1)), dtype=float) > 3 * _LARGEST**2:
            raise ValueError(f"it has images of the size {attributes[name]}")
    if np.shape(attributes.get("target_scale_")) != np.shape(attributes.get("target_mean_")):
        raise ValueError("its targets have scales of another shape than their means")
    for name in ("stack_method", "stack_method_"):
        methods = attributes.get(name, [])
        if not {*np.ravel(methods).tolist()} <= {"auto", "predict", "predict_proba", "decision_function"}:
            raise ValueError(f"it calls the methods {methods}")
    if attributes.get("n_jobs"):
        value.n_jobs = min(value.n_jobs, cpu_count())
    if _needs_trust(value):
        raise ValueError(f"it contains a {type(value).__name__} in another form than ferkit.save writes")
