"""Sphinx configuration. `make docs` builds the documentation in docs/_build."""

import os
import subprocess
import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

from ferkit import __version__
from ferkit._documentation import ADDRESS

sys.path.insert(0, str(Path(__file__).parent))
import make_inventories

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.pop("FERKIT_DATA", None)  # the figures must not show real people

generated = Path(__file__).with_name("generated")
generated.mkdir(exist_ok=True)
describe = [sys.executable, "-m", "typer", "ferkit.cli", "utils", "docs", "--name", "ferkit", "--title", "Command line"]
described = subprocess.run(describe, check=True, capture_output=True, text=True).stdout
(generated / "command.md").write_text(described)

project, author, release = "ferkit", "the ferkit developers", __version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "run_blocks",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/**.ipynb", "auto_examples/**.py"]
templates_path = ["_templates"]
suppress_warnings = ["config.cache"]  # the order of the gallery is an object, which Sphinx cannot store

smartquotes = False  # keeps the -- of command-line options

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings state the types; NumPy's array-like takes lines
numpydoc_show_class_members = False
numpydoc_xref_param_type = True  # types of parameters are links, as far as they are listed here
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {
    "arrays": "numpy.ndarray",
    "Axes": "matplotlib.axes.Axes",
    "BaseEstimator": "sklearn.base.BaseEstimator",
    "Bunch": "sklearn.utils.Bunch",
    "callbacks": "skorch.callbacks.Callback",
    "DataFrame": "pandas.DataFrame",
    "FERClassifier": "ferkit.FERClassifier",
    "FERRegressor": "ferkit.FERRegressor",
    "Figure": "matplotlib.figure.Figure",
    "nn.Module": "torch.nn.Module",
    "skorch.NeuralNetClassifier": "skorch.classifier.NeuralNetClassifier",
    "skorch.NeuralNetRegressor": "skorch.regressor.NeuralNetRegressor",
    "torch.Generator": "torch.Generator",
    "Pipeline": "imblearn.pipeline.Pipeline",
    "Series": "pandas.Series",
    "Tensor": "torch.Tensor",
    "torch.nn.Module": "torch.nn.Module",
}
run_blocks = ["guide/*", "ethics"]
notebooks = [*run_blocks, "tutorial"]
intersphinx_mapping = {  # the build needs no network
    project: (address, f"inventories/{project}.inv") for project, (address, _) in make_inventories.PROJECTS.items()
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "subsection_order": ExplicitOrder(
        [f"../examples/{section}" for section in ("recognize", "data", "train", "choose", "evaluate", "deploy")] + ["*"]
    ),
    "within_subsection_order": ExplicitOrder(
        ["plot_own_images.py", "plot_first_pipeline.py", "plot_fine_tuning.py", "plot_compare_networks.py", "*"]
    ),
    "backreferences_dir": "generated/examples",
    "doc_module": ("ferkit",),
    "show_memory": False,
    "write_computation_times": False,  # its page loads scripts from other sites
    "remove_config_comments": True,
    "ignore_repr_types": r"ferkit\.display",
    "abort_on_example_error": True,
}

REPOSITORY = "https://github.com/ferkit/ferkit"
html_theme = "pydata_sphinx_theme"
html_baseurl = ADDRESS
html_title = f"ferkit {release}"
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_theme_options = {
    "logo": {"text": f"ferkit {release}"},
    "icon_links": [
        {"name": "Repository", "url": REPOSITORY, "icon": "fa-brands fa-github"},
        {"name": "Issues", "url": f"{REPOSITORY}/issues", "icon": "fa-regular fa-circle-dot"},
    ],
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
}
html_sidebars = {"index": [], "install": [], "tutorial": [], "ethics": [], "changelog": []}
html_show_sourcelink = False
copyright = "the ferkit developers, BSD-3-Clause"
