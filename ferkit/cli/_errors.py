"""Errors: checks of options before a command starts, and how an error is printed."""

import re
from contextlib import contextmanager
from pathlib import Path

import typer

import ferkit


def print_error(error, where=""):
    if isinstance(error, (ValueError, TypeError, OSError, ImportError)):
        text = _name_options(error)
    else:
        text = f"{type(error).__name__}: {error}".splitlines()[0] + " (add --debug for the traceback)"
    typer.secho(f"ferkit: {where}{text}", fg="red", err=True)


def _name_options(error):
    """Return the text of an error, with options of the command in place of arguments of functions."""
    text = re.sub('(load with|pass) errors="drop"', "add --drop-errors", str(error))
    text = re.sub(r"""pass usage=["'](\w+)["']""", r"add --usage \1", text)
    text = re.sub(r"(?<![\w/])(every|port)=", r"--\1 ", text)
    return text.replace("pass overwrite=True", "add --force")


@contextmanager
def as_bad_usage(parameter):
    """Turn the errors that the library raises for bad values into bad usage of an option."""
    try:
        yield
    except (AttributeError, ValueError, OSError) as error:
        raise typer.BadParameter(_name_options(error), param_hint=parameter) from error


def check_written(inputs, *outputs):
    """Check the files that a command will write, before it starts: path or None, option and suffixes of each."""
    from .._files import make_directory

    taken = [*inputs]
    for path, option, suffixes in outputs:
        if path is None:
            continue
        with as_bad_usage(option):
            if path.suffix.lower() not in suffixes:
                raise ValueError(f"Expected a {' or '.join(suffixes)} file, got {path}.")
            if not path.parent.is_dir():
                raise ValueError(f"Expected a file in an existing directory, got {path}: create {path.parent}.")
            make_directory(path.parent)
            if path.resolve() in map(Path.resolve, taken):
                raise ValueError(f"Expected another file than those that are read or written, got {path}.")
            if path.exists() and not {*map(Path.resolve, inputs)}.isdisjoint(path.resolve().parents):
                raise ValueError(f"Expected a new file among those that are read, got {path}: choose another name.")
        taken.append(path)


def check_overwrite(out_dir, force, resumes=True):
    """Refuse a directory with a training. ``resumes`` says whether `ferkit train` can continue it."""
    found = ferkit.runs.find_training(out_dir)
    if found and not force:
        can_continue = resumes and ferkit.runs.is_unfinished(out_dir)
        more = f" To continue the training: ferkit train --resume {out_dir}" if can_continue else ""
        raise typer.BadParameter(
            f"{out_dir} already contains {found}: choose another directory, or add --force.{more}", param_hint="--out"
        )


def read_model(name):
    """Read a model that the user names and therefore trusts, even if it is a joblib file, which can run code."""
    from ..models import _read

    return _read.read_model(name, allow_pickles=True)


def read_predictor(name):
    """Read a model that only predicts, as `read_model` does."""
    from ..models import _read

    return _read.read_predictor(name, allow_pickles=True)


def check_model(name, parameter="MODEL"):
    shipped = ferkit.models.list_models()
    if name not in shipped and not Path(name).exists():
        raise typer.BadParameter(
            f"'{name}' does not exist, and is no model that ships with ferkit ({', '.join(shipped)}).",
            param_hint=parameter,
        )


def check_exists(path, parameter):
    if not path.exists():
        raise typer.BadParameter(f"'{path}' does not exist.", param_hint=parameter)
