"""Sphinx extension that runs the Python blocks of the user guide and the examples of the displays.

Output and figures appear below each block, so the pages always show what the present code prints and draws. Blocks of a
page share their names and run in an empty directory with a ``fer2013.csv`` of drawn faces. ``-D plot_gallery=0``
switches the extension off.
"""

import ast
import contextlib
import doctest
import fnmatch
import io
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
    app.connect("source-read", run_page)
    app.connect("autodoc-process-docstring", run_example)
    return {"parallel_read_safe": True}
