import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import ferkit

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
ZENODO = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
RECIPE = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))
CONDA_NAMES = {"matplotlib": "matplotlib-base", "opencv-python-headless": "py-opencv", "torch": "pytorch"}


def to_conda(requirement):
    requirement = Requirement(requirement)
    return f"{CONDA_NAMES.get(requirement.name, requirement.name)} {requirement.specifier}"


def test_every_file_states_the_version_of_the_last_release():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    release, date = re.search(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", changelog, re.M).groups()
    assert (CITATION["version"], CITATION["date-released"]) == (release, date)
    assert ZENODO["version"] == RECIPE["context"]["version"] == release
    if "\n## Unreleased\n" in changelog:
        assert Version(ferkit.__version__).is_devrelease
        assert Version(ferkit.__version__) > Version(release)
    else:
        assert ferkit.__version__ == release


def test_citation_and_archive_describe_the_package():
    assert CITATION["title"] == ZENODO["title"]
    assert CITATION["keywords"] == ZENODO["keywords"]
    authors = [{"name": author["name"]} for author in PROJECT["authors"]]
    assert CITATION["authors"] == ZENODO["creators"] == authors
    assert CITATION["license"] == ZENODO["license"] == PROJECT["license"].split(" AND ")[0]
    assert CITATION["repository-code"] == PROJECT["urls"]["Source"]
    assert ZENODO["description"] == PROJECT["description"]


def test_the_conda_recipe_asks_for_the_same_packages():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert RECIPE["requirements"]["host"] == ["python ${{ python_min }}.*", "pip", *map(to_conda, build)]
    python = "python >=${{ python_min }}"
    assert f">={RECIPE['context']['python_min']}" == PROJECT["requires-python"]
    needed = [to_conda(requirement) for requirement in PROJECT["dependencies"]]
    assert sorted(RECIPE["requirements"]["run"]) == sorted([python, *needed])
    ours = ("test", "tools", "browser", "mutate", "lint", "docs")
    extras = [extra for name, extra in PROJECT["optional-dependencies"].items() if name not in ours]
    optional = {to_conda(one) for extra in extras for one in extra if not one.startswith("ferkit[")}
    assert set(RECIPE["requirements"]["run_constraints"]) == optional


def test_the_conda_recipe_describes_the_package():
    about = RECIPE["about"]
    assert about["summary"] == PROJECT["description"]
    assert (about["license"], about["license_file"]) == (PROJECT["license"], PROJECT["license-files"])
    assert about["repository"] == PROJECT["urls"]["Source"]
    assert about["documentation"] == PROJECT["urls"]["Documentation"]
    scripts = [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]
    assert RECIPE["build"]["python"]["entry_points"] == scripts
