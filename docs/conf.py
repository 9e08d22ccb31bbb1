"""Sphinx configuration. `make docs` builds the documentation in docs/_build."""

import os
import subprocess
import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

from ferkit import __version__

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
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/*.ipynb", "auto_examples/*.py"]
templates_path = ["_templates"]
suppress_warnings = ["config.cache"]  # the order of the gallery is an object, which Sphinx cannot store

smartquotes = False  # keeps the -- of command-line options

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": ExplicitOrder(
        [
            "plot_first_pipeline.py",
            "plot_compare_networks.py",
            "plot_grid_search.py",
            "plot_imbalance.py",
            "plot_augmentation.py",
            "plot_transfer_learning.py",
            "plot_features.py",
            "plot_eigenfaces.py",
            "plot_callbacks.py",
            "plot_ensemble.py",
            "plot_calibration.py",
            "plot_mistakes.py",
            "plot_duplicates.py",
            "plot_soft_labels.py",
            "plot_corruptions.py",
            "plot_custom_backbone.py",
            "plot_saving.py",
            "plot_photo.py",
            "plot_video.py",
            "plot_dask_search.py",
            "*",
        ]
    ),
    "backreferences_dir": "generated/examples",
    "doc_module": ("ferkit",),
    "show_memory": False,
    "write_computation_times": False,  # its page loads scripts from other sites
    "remove_config_comments": True,
    "ignore_repr_types": r"ferkit\.display",
    "abort_on_example_error": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "ferkit"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_theme_options = {
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
