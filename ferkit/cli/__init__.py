"""The ``ferkit`` command: parse options, call the library, print.

The modules import names of ferkit when they are used, because ``--help`` and ``--version`` need no PyTorch.
"""

import sys
import warnings
from importlib.metadata import version
from typing import Annotated

import typer
from typer import Option

from ._data import audit
from ._errors import print_error
from ._models import backbones, evaluate, export, predict
from ._photos import photo, video, webcam
from ._serving import export_web, serve
from ._training import compare, demo, train

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Facial expression recognition: train, evaluate and use networks. Add --debug to any command to see the "
    "traceback of an error.",
)


def main(argv: list[str] | None = None) -> None:
    """Run the ``ferkit`` command and raise ``SystemExit``: 0 for success, 1 for a failed run, 2 for bad usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    format_warning = warnings.formatwarning
    if not debug:
        warnings.formatwarning = _format_warning
    try:
        app([argument for argument in arguments if argument != "--debug"])
    except Exception as error:
        if debug:
            raise
        print_error(error)
    finally:
        warnings.formatwarning = format_warning
    raise SystemExit(1)


def _format_warning(message, *where):
    """Return a warning without the line of code that gave it, which only developers need."""
    return f"ferkit: Warning: {message}\n"


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ferkit {version('ferkit')}")
        raise typer.Exit


@app.callback()
def _global_options(
    version_: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for command in (  # --help lists them in this order
    *(train, compare, backbones, demo, evaluate, audit, predict, export, photo, video, webcam, serve, export_web),
):
    app.command()(command)
