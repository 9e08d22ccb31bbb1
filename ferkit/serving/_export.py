"""`write_page`: the page as files that analyze pictures in the browser."""

import json
import subprocess
import tarfile
import zlib
from base64 import b64encode
from hashlib import sha512
from os import PathLike
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any

from .._files import write_atomically
from ..onnx import OnnxClassifier, export
from ..photos._detection import YUNET
from ._page import PAGE, find_model, render_page

__all__ = ["write_page"]

RUNTIME = "onnxruntime-web"
VERSION = "1.30.0"
# The file in the package, its name in the page and its SHA-512. Many web servers do not know that .mjs is JavaScript.
RUNTIME_FILES = (
    (
        "dist/ort.wasm.bundle.min.mjs",
        "onnxruntime.js",
        "1KcF8CWAZeqtTcvLgKPtOMXIbkWeh++LDCQpDhQ5ARVxHAL1VNL5rr0OI+MxTbmNIANldE/A/q+O4gSKgSMjWQ==",
    ),
    (
        "dist/ort-wasm-simd-threaded.wasm",
        "onnxruntime.wasm",
        "Gt7e1iIDIZ/PXEhM/OVleqWHVom0kEI/hs8cod0crXcV9jDGM39B23HuQnlOOgDOC3x4k5pxIgtdgzaL9up3MA==",
    ),
)
LOADED = ("onnxruntime.wasm", "yunet.onnx", "model.onnx")  # when the first picture is analyzed
OF_SERVER = ("index.html", "server.js")  # index.html is a template
OTHER_WAY = (
    f"or run `npm pack {RUNTIME}@{VERSION}` on another machine and give the path of its file as `runtime` (--runtime)."
)


def write_page(directory: Path, model: Any, threshold: float, runtime: str | PathLike | None) -> None:
    """Do what `export_web` documents."""
    name, card, classifier = find_model(model)
    files = _read_runtime(runtime)  # before the model is exported, because npm may be missing
    files["model.onnx"] = _export(classifier, card)
    files["yunet.onnx"] = _read_detector()
    description = {
        "name": name,
        "classes": [str(label) for label in classifier.classes_],
        "threshold": threshold,
        "card": card,
        "image_shape": classifier.image_shape_,
        "bytes": sum(len(files[path]) for path in LOADED),
    }
    files["model.json"] = json.dumps(description).encode()
    files |= {path.name: path.read_bytes() for path in PAGE.iterdir() if path.name not in OF_SERVER}
    files["index.html"] = render_page(in_browser=True).encode()
    directory.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        write_atomically(directory / path, content)


def _export(classifier, card):
    """Return the content of an ONNX file with a classifier."""
    if isinstance(classifier, OnnxClassifier):
        return classifier.content
    with TemporaryDirectory() as directory:
        path = Path(directory, "model.onnx")
        export(classifier, path, card=card or "")
        return path.read_bytes()


def _read_detector():
    """Return YuNet for pictures of any size. Its file is fixed to 640×640 pixels, but its layers are not."""
    from onnx import load

    graph = (proto := load(YUNET)).graph
    del graph.value_info[:]
    for name, axis in (("height", 2), ("width", 3)):
        graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for output in graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = f"n_{output.name}"
    return proto.SerializeToString()


def _read_runtime(source):
    """Return the files of onnxruntime-web by their names in the page, from a copy of the package or from npm."""
    if source is None:
        with TemporaryDirectory() as directory:
            return _read_runtime(_download(directory))
    path, files = Path(source), {}
    try:
        if path.is_dir():
            for name, target, _ in RUNTIME_FILES:
                files[target] = (path / name).read_bytes()
        else:
            with tarfile.open(path) as archive:
                for name, target, _ in RUNTIME_FILES:
                    member = archive.extractfile(f"package/{name}")
                    files[target] = member.read() if member else b""
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise ValueError(
            f"Expected the package {RUNTIME} {VERSION} as a .tgz file or a directory, got {path}: {error}"
        ) from error
    for name, target, digest in RUNTIME_FILES:
        if b64encode(sha512(files[target]).digest()).decode() != digest:
            raise ValueError(
                f"Expected {name} of {RUNTIME} {VERSION}, got another file in {path}: use the package of this version."
            )
    return files


def _download(directory):
    """Download the package with npm, which asks the registry that it is set up for, and return its path."""
    npm = which("npm")
    if npm is None:
        raise OSError(
            f"Expected npm to download {RUNTIME}, which is not installed: install https://nodejs.org, {OTHER_WAY}"
        )
    command = [npm, "pack", f"{RUNTIME}@{VERSION}", "--pack-destination", directory]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise OSError(
            f"Expected npm to download {RUNTIME} {VERSION}, got an error: check the network, {OTHER_WAY} "
            f"npm says: {result.stderr.strip()[-300:]}"
        )
    return Path(directory, f"{RUNTIME}-{VERSION}.tgz")
