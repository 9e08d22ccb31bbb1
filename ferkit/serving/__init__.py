"""Web pages that find the faces in photos and recognize their expressions, with a server or only in the browser."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["create_app", "export_web", "serve"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def create_app(
    model: str | PathLike | BaseEstimator = "fer2013-small",
    *,
    threshold: float = 0.5,
    max_bytes: int = 10_000_000,
    max_pixels: int = 40_000_000,
    max_requests: int = 32,
    timeout: float = 30.0,
    allowed_hosts: Sequence[str] | None = LOOPBACK,
) -> "FastAPI":
    """Create a web app that finds the faces in uploaded photos and predicts their expressions.

    ``POST /analyze`` takes a photo as the file ``image`` of a multipart form and returns JSON. ``GET /model`` describes
    the model, ``GET /health`` says that the server works, and ``GET /openapi.json`` describes all of these. ``GET /``
    returns a page for photos and cameras that loads nothing from other hosts. Uploads stay in memory and are dropped
    after the answer.

    The app needs ``pip install "ferkit[serve]"``.

    Parameters
    ----------
    model : str, path-like or classifier, default="fer2013-small"
        A name from :func:`ferkit.models.list_models`, a .ferkit file, the directory of a run, or a fitted classifier
        with ``predict_proba``.
    threshold : float, default=0.5
        A face is ``unsure`` if its highest probability is below this.
    max_bytes : int, default=10_000_000
        Maximum size of an upload. A larger one is answered with 413 before all of it is read.
    max_pixels : int, default=40_000_000
        Maximum number of pixels of an image. A larger one is answered with 413 before it is decoded.
    max_requests : int, default=32
        Maximum number of photos that are uploaded, wait or are analyzed at the same time. Any more are answered with
        503 and ``Retry-After``. Faces that wait at the same time are predicted in one batch.
    timeout : float, default=30.0
        Maximum number of seconds for an upload, which is otherwise answered with 408, and then for its analysis, which
        is otherwise answered with 503.
    allowed_hosts : sequence of str or None, default=("localhost", "127.0.0.1", "::1")
        Names in the ``Host`` header that are answered, so that other web pages cannot reach a local server under a name
        of their own. None allows all names.

    Returns
    -------
    FastAPI
        An ASGI app, which can be mounted in another one or run by any ASGI server. It predicts in one process.

    Raises
    ------
    ImportError
        If FastAPI, uvicorn or python-multipart is not installed.
    ValueError
        If a limit is not positive.

    See Also
    --------
    serve : Run the app.

    Examples
    --------
    >>> from ferkit.serving import create_app
    >>> app = create_app(max_bytes=5_000_000)
    >>> sorted(app.openapi()["paths"])
    ['/analyze', '/health', '/model']
    """
    _check_installed()
    from ._app import build_app

    limits = {"max_bytes": max_bytes, "max_pixels": max_pixels, "max_requests": max_requests, "timeout": timeout}
    if isinstance(allowed_hosts, str):
        raise TypeError(f"Expected a list of names in allowed_hosts, got {allowed_hosts!r}: pass [{allowed_hosts!r}].")
    for name, value in limits.items():
        if not value > 0:
            raise ValueError(f"Expected {name} > 0, got {value!r}: pass a larger number.")
    _check_threshold(threshold)
    return build_app(model, threshold=threshold, allowed_hosts=allowed_hosts, **limits)


def serve(
    app: Any, host: str = "127.0.0.1", port: int = 8000, *, started: Callable[[str], object] | None = None
) -> None:
    """Run an app until Ctrl-C or SIGTERM. Requests that are in progress then are still answered.

    Parameters
    ----------
    app : ASGI app
        The result of :func:`create_app`.
    host : str, default="127.0.0.1"
        Address to listen on. By default, only programs on the same machine can connect. "0.0.0.0" accepts connections
        from other machines.
    port : int, default=8000
        Port to listen on. 0 picks a free one.
    started : callable, default=None
        Called with the URL when connections are accepted.

    Raises
    ------
    ImportError
        If FastAPI, uvicorn or python-multipart is not installed.
    OSError
        If the port is in use or the address does not belong to this machine.

    Examples
    --------
    >>> from ferkit.serving import create_app, serve
    >>> serve(create_app(), port=0, started=print)  # doctest: +SKIP
    http://127.0.0.1:40517
    """
    _check_installed()
    from ._server import run_server

    run_server(app, host, port, started)


def export_web(
    directory: str | PathLike,
    model: str | PathLike | BaseEstimator = "fer2013-small",
    *,
    threshold: float = 0.5,
    runtime: str | PathLike | None = None,
) -> None:
    """Write a web page that finds faces and recognizes expressions in the browser.

    Any web server for files can host the directory, such as ``python -m http.server`` or GitHub Pages. The page takes
    photos and cameras. It sends no picture anywhere and loads nothing from other hosts: the face detector, the model
    and ONNX Runtime Web are files in the directory.

    It needs ``pip install "ferkit[onnx]"``. ONNX Runtime Web is downloaded with npm, in a fixed version, and its
    checksums are verified.

    Parameters
    ----------
    directory : str or path-like
        The directory to write to. Files of an earlier page there are replaced.
    model : str, path or classifier, default="fer2013-small"
        A name from :func:`ferkit.models.list_models`, the path of a .ferkit or .onnx file or of the directory of a run,
        or a fitted FERClassifier.
    threshold : float, default=0.5
        A face whose highest probability is lower is marked as unsure.
    runtime : str or path-like, default=None
        A copy of the npm package onnxruntime-web, as a .tgz file or as a directory, for machines without npm or without
        a network.

    Raises
    ------
    ImportError
        If ONNX or onnxruntime is not installed.
    OSError
        If npm is not installed or cannot download the package.
    ValueError
        If ``runtime`` is not the package in the expected version, or if the model cannot be exported.

    See Also
    --------
    create_app : A server that analyzes the pictures, and its page.
    ferkit.export : Write only the model.

    Examples
    --------
    >>> from ferkit.serving import export_web
    >>> export_web("page")  # doctest: +SKIP
    """
    from ._export import write_page

    _check_threshold(threshold)
    write_page(Path(directory), model, threshold, runtime)


def _check_threshold(threshold):
    if not 0 <= threshold <= 1:
        raise ValueError(f"Expected a threshold from 0 to 1, got {threshold!r}: pass a probability.")


def _check_installed():
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(f'ferkit.serving needs {error.name}: pip install "ferkit[serve]"') from None
