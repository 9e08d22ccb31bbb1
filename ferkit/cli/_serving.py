"""Web pages: serve, export-web."""

from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import ferkit

from ._errors import check_model
from ._options import FaceModel, Model, Threshold


def serve(
    model: Model = "fer2013-small",
    host: Annotated[
        str, Option(help="Address to listen on. 0.0.0.0 accepts connections from other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="Port to listen on. 0 picks a free one.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        Option(
            metavar="NAME",
            help="Host name that requests may use, such as that of a proxy; can be repeated. Without it, a server on "
            "127.0.0.1 only answers to localhost and 127.0.0.1, and others answer to any name.",
        ),
    ] = None,
    threshold: Threshold = 0.5,
    max_bytes: Annotated[int, Option(min=1, help="Maximum size of an upload in bytes.")] = 10_000_000,
    max_pixels: Annotated[int, Option(min=1, help="Maximum number of pixels of an image.")] = 40_000_000,
    max_requests: Annotated[int, Option(min=1, help="Maximum number of photos in progress at the same time.")] = 32,
    timeout: Annotated[float, Option(min=1, help="Maximum number of seconds per upload and per analysis.")] = 30,
) -> None:
    """Serve a page that recognizes expressions in photos and from the camera, and its web API."""
    check_model(model)
    if not host:
        raise typer.BadParameter("Expected an address, got '': use 0.0.0.0 for all.", param_hint="--host")
    names = list(allow_host or [])
    if _is_loopback(host):
        names += [*ferkit.serving.LOOPBACK, host]
    app = ferkit.serving.create_app(
        model,
        threshold=threshold,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        max_requests=max_requests,
        timeout=timeout,
        allowed_hosts=names or None,
    )
    ferkit.serving.serve(app, host, port, started=lambda url: typer.echo(f"{url}  (Ctrl-C stops the server)"))


def export_web(
    directory: Annotated[Path, Argument(metavar="DIR", file_okay=False, help="The directory to write the page to.")],
    model: FaceModel = "fer2013-small",
    threshold: Threshold = 0.5,
    runtime: Annotated[
        Path | None,
        Option(exists=True, help="A copy of the npm package onnxruntime-web. By default, npm downloads it."),
    ] = None,
    force: Annotated[bool, Option("--force", help="Write to a directory that is not empty.")] = False,
) -> None:
    """Write a page that recognizes expressions in the browser, for any web server or GitHub Pages."""
    check_model(model)
    if directory.exists() and any(directory.iterdir()) and not force:
        raise typer.BadParameter(f"{directory} is not empty: choose another one, or add --force.", param_hint="DIR")
    ferkit.serving.export_web(directory, model, threshold=threshold, runtime=runtime)
    size = sum(path.stat().st_size for path in directory.iterdir())
    typer.echo(f"The page is in {directory} ({size / 1e6:.1f} MB). To try it: python -m http.server -d {directory}")


def _is_loopback(host):
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == "localhost"
