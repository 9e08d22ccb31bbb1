"""Sphinx extension that runs the Python blocks of the user guide and the examples of the displays.

Output and figures appear below each block, so the pages always show what the present code prints and draws. Blocks of a
page share their names and run in an empty directory with a ``fer2013.csv`` of drawn faces. ``-D plot_gallery=0``
switches this off. The pages can also be downloaded as notebooks.
"""

import ast
import contextlib
import doctest
import fnmatch
import io
import json
import posixpath
import re
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from ferkit.datasets import make_faces

BLOCK = re.compile(r"^```python\n(.*?)^```\n", flags=re.MULTILINE | re.DOTALL)

DRAW_FACES = """\
from pathlib import Path

from ferkit.datasets import make_faces

if not Path("fer2013.csv").exists():  # draw faces in its place
    make_faces(400, as_frame=True, random_state=0).frame.to_csv("fer2013.csv", index=False)
"""


def run(code, names):
    """Run code like a cell of a notebook, and return what it prints, with the value of its last expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(action="ignore"):
        exec(compile(tree, "<block>", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "<block>", "eval"), names) if last else None
        if value is not None and not isinstance(value, BaseEstimator) and "display" not in type(value).__module__:
            with np.printoptions(threshold=20, precision=3), pd.option_context("display.width", 110):
                print(value if isinstance(value, pd.DataFrame) else repr(value))
    return printed.getvalue().rstrip()


def save_figures(app, stem):
    """Save the open figures, close them, and return for each its address in the pages and its width in pixels."""
    folder = Path(app.srcdir, "generated", "blocks")
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    for number in plt.get_fignums():
        figure = plt.figure(number)
        name = f"{stem.replace('/', '-')}-{len(saved) + 1}.png"
        figure.savefig(folder / name, dpi=160)
        saved.append((f"/generated/blocks/{name}", round(80 * figure.get_figwidth())))
    plt.close("all")
    return saved


def is_off(app):
    """Return whether the pages are built without running anything; ``-D plot_gallery=0`` sets a string."""
    return str(app.config.plot_gallery) in ("0", "False")


def run_page(app, docname, source):
    """Run the blocks of a page in MyST."""
    if is_off(app) or not any(fnmatch.fnmatch(docname, one) for one in app.config.run_blocks):
        return
    names, number = {"__name__": "page"}, 0

    def show(block):
        nonlocal number
        number += 1
        shown = [block[0]]
        if text := run(block[1], names):
            shown.append(f"```{{code-block}} text\n:class: output\n\n{text}\n```\n")
        for address, width in save_figures(app, f"{docname}-{number}"):
            shown.append(f"```{{image}} {address}\n:alt: Figure that the code above draws\n:width: {width}px\n```\n")
        return "\n".join(shown)

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        make_faces(400, as_frame=True, random_state=0).frame.to_csv("fer2013.csv", index=False)
        source[0] = BLOCK.sub(show, source[0])


def to_notebook(docname, source, address):
    """Return a page in MyST as a notebook in JSON: one cell per Python block, and Markdown cells for the rest."""

    def link(match):
        path, *anchor = match[1].split("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(docname), path)) if path else docname
        stem, suffix = posixpath.splitext(path)
        path = f"_images/{posixpath.basename(path)}" if suffix in (".png", ".jpg") else f"{stem}.html"
        return "](" + "#".join([f"{address}/{path}", *anchor]) + ")"

    parts = BLOCK.split(source)  # Markdown and code in turn
    for i, text in enumerate(parts[::2]):
        text = re.sub(r"\]\((?!https?:)([^)\s]+)\)", link, text)
        text = re.sub(r"^```\{code-block\} (\w+)\n(?::.*\n)*", r"```\1\n", text, flags=re.M)
        parts[2 * i] = re.sub(r"^(?:\(.*\)=|:::.*)\n", "", text, flags=re.M)  # labels, and frames of warnings
    cells = [("code" if i % 2 else "markdown", part.strip()) for i, part in enumerate(parts)]
    if any("fer2013.csv" in code for code in parts[1::2]):
        cells.insert(1, ("code", DRAW_FACES.strip()))
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": kind,
                    "id": f"cell-{i}",
                    "metadata": {},
                    "source": text,
                    **({"execution_count": None, "outputs": []} if kind == "code" else {}),
                }
                for i, (kind, text) in enumerate(cells)
                if text
            ],
            "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        },
        indent=1,
        ensure_ascii=False,
    )


def add_notebook(app, docname, source):
    """Write the page as a notebook, and append a link to it."""
    if not any(fnmatch.fnmatch(docname, one) for one in app.config.notebooks) or not BLOCK.search(source[0]):
        return
    file = Path(app.srcdir, "generated", "notebooks", f"{docname.replace('/', '-')}.ipynb")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(to_notebook(docname, source[0], app.config.html_baseurl), encoding="utf-8")
    source[0] += f"\n\n{{download}}`Download this page as a notebook </generated/notebooks/{file.name}>`\n"


def run_example(app, what, name, obj, options, lines):
    """Append the figure that the example of a display draws to its docstring."""
    if is_off(app) or what != "class" or not name.startswith("ferkit.display."):
        return
    examples = doctest.DocTestParser().get_examples("\n".join(lines))
    run("".join(example.source for example in examples), {"__name__": "example"})
    for address, width in save_figures(app, name):
        lines += [f".. image:: {address}", "   :alt: Figure that the example draws", f"   :width: {width}px", ""]


def setup(app):
    """Register the extension."""
    app.add_config_value("run_blocks", [], "env")
    app.add_config_value("notebooks", [], "env")
    app.connect("source-read", add_notebook)  # before the outputs are in the page
    app.connect("source-read", run_page)
    app.connect("autodoc-process-docstring", run_example)
    return {"parallel_read_safe": True}
