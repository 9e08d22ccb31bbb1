import doctest
import importlib.util
import inspect
import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.utils import estimator_html_repr
from typer.testing import CliRunner

import ferkit.comparison
import ferkit.datasets
import ferkit.display
import ferkit.hub
import ferkit.models
import ferkit.onnx
import ferkit.photos
import ferkit.recipes
import ferkit.report
import ferkit.runs
import ferkit.serving
from ferkit.backbones import list_backbones
from ferkit.cli import app
from ferkit.datasets import make_faces

ROOT = Path(__file__).parent.parent


PAGES = ["README.md", *(f"docs/{page}.md" for page in ("index", "tutorial", "reproductions", "ethics"))]
PAGES += sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "guide").glob("*.md") if page.stem != "index")
# They import a dozen libraries, train several networks or export them. `make docs` runs them too.
for name in ("data", "evaluation", "export", "tools", "web"):
    page = f"docs/guide/{name}.md"
    PAGES[PAGES.index(page)] = pytest.param(page, marks=pytest.mark.slow)


@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    make_faces(60, as_frame=True, random_state=0).frame.to_csv("fer2013.csv", index=False)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    assert blocks, f"{page} shows no code"
    names = {}
    for block in blocks:
        # to save time, because no page needs a good model
        block = re.sub(r"(max_epochs\"?[=:] ?)\d+", r"\g<1>1", block)
        block = block.replace('FERClassifier("cnn", random_state=0)', 'FERClassifier("cnn", max_epochs=1)')
        block = re.sub(r"((make|sample)_faces\(\d)000\b", r"\g<1>00", block)
        if Path(page).stem in ("comparison", "search", "transfer", "validation"):  # others need all 600
            block = block.replace("make_faces(600", "make_faces(150")
        try:
            exec(compile(block, page, "exec"), names)
        except ModuleNotFoundError as error:
            if page != "docs/guide/tools.md":
                raise
            pytest.skip(f"{error.name} is not installed: pip install '.[tools]'")
    estimators = [value for value in names.values() if isinstance(value, BaseEstimator)]
    for search in (estimator for estimator in estimators if isinstance(estimator, GridSearchCV)):
        clone(search.estimator).set_params(**ParameterGrid(search.param_grid)[0])  # also if the page does not fit it
    labels = [np.asarray(model.classes_) for model in estimators if hasattr(model, "classes_")]
    # with names on one page and numbers on the next, a reader who combines them gives rows wrong names
    assert not any(np.issubdtype(some.dtype, np.integer) for some in labels), "labels are not names"
    assert labels or page != "README.md"
    if page.startswith("docs/guide/"):
        assert plt.get_fignums() or "![" in (ROOT / page).read_text(), "the page shows no figure"
    plt.close("all")


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_commands_run_as_they_stand(page, monkeypatch, tmp_path, quick):
    monkeypatch.chdir(tmp_path)
    faces = make_faces(60, as_frame=True, random_state=0)
    faces.frame.to_csv("fer2013.csv", index=False)
    Path("photos").mkdir()
    for path in ("face.png", "photos/0.png"):
        Image.fromarray(faces.images[0]).save(path)
    shutil.copy(ROOT / "docs" / "images" / "party.jpg", "party.jpg")
    commands = re.findall(r"^(?:\.venv/bin/)?ferkit ([^#\n]+)", (ROOT / page).read_text(), flags=re.MULTILINE)
    assert commands, f"{page} shows no command"
    for command in commands:
        if command.startswith("train "):
            command += " --epochs 1"  # the last one wins
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, f"ferkit {command}: {result.output}"


@pytest.mark.parametrize(
    "module",
    [
        *(ferkit, ferkit.backbones, ferkit.comparison, ferkit.datasets, ferkit.display, ferkit.hub, ferkit.models),
        ferkit.onnx,
        *(ferkit.photos, ferkit.recipes, ferkit.report, ferkit.runs, ferkit.serving),
    ],
)
def test_public_names_are_in_the_reference_with_an_example(module):
    listed = (ROOT / "docs" / "api.rst").read_text().split()
    for name in set(module.__all__) - {"Pipeline"}:  # imbalanced-learn's
        assert {name, f"{module.__name__}.{name}".removeprefix("ferkit.")} & {*listed}, name
        assert re.search(r"^Examples\n-+\n", inspect.getdoc(getattr(module, name)), re.M), f"{name} shows no example"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *(("FERClassifier", ()), ("FERRegressor", ()), ("ImageAugmenter", ()), ("ImageNormalizer", ())),
        *(("ImageResizer", (48,)), ("NetworkFeatures", ("cnn",)), ("PixelParser", ())),
    ],
)
def test_notebooks_link_estimators_to_their_page(name, given):
    address = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Documentation"]
    page = estimator_html_repr(getattr(ferkit, name)(*given))
    assert f'href="{address}/generated/ferkit.{name}.html"' in page


def test_pictures_of_readme_exist():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert pictures, "README shows no picture"
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_the_table_of_backbones_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_backbones", ROOT / "docs" / "make_backbones.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "backbones.md").read_text()
    for name in (*list_backbones()[:6], "resnet18", "googlenet", "mobilenet_v3_small"):
        assert module.describe(name) in page, "run docs/make_backbones.py"


@pytest.mark.slow  # test_composition.py tests the same tools
def test_the_page_on_scikit_learn_shows_the_real_output():
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    page = str(ROOT / "docs" / "scikit_learn.md")
    failed, tried = doctest.testfile(page, module_relative=False, optionflags=options)
    assert tried > 30
    assert not failed


@pytest.mark.parametrize("page", ["guide/data", "guide/photos", "guide/transfer", "tutorial"])
def test_pages_download_as_notebooks(page):
    spec = importlib.util.spec_from_file_location("run_blocks", ROOT / "docs" / "run_blocks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    source = (ROOT / "docs" / f"{page}.md").read_text()
    cells = json.loads(module.to_notebook(page, source, "https://pages"))["cells"]
    code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    prose = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    blocks = re.findall(r"^```python\n(.*?)^```$", source, re.M | re.S)
    assert code[-len(blocks) :] == [block.strip() for block in blocks]
    assert all("fer2013.csv" in extra for extra in code[: -len(blocks)])
    assert ":::" not in prose
    assert "{code-block}" not in prose
    links = re.findall(r"\]\(([^)]+)\)", prose)
    assert links
    assert all(link.startswith("https://") and ".md" not in link for link in links)
