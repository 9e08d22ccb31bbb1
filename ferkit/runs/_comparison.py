"""Comparisons of several runs: plan the trainings, read them, test which settings are better, write tables."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils import Bunch

from ..classifier import FERClassifier
from ..comparison import compare_folds, compare_seeds, describe_folds, describe_seeds
from ..datasets import find_duplicates
from ..display import ComparisonDisplay
from ..display._base import offscreen
from ._runs import REPORT, Run, write_text

__all__ = ["compare_pairs", "compare_runs", "find_runs", "plan_trainings", "write_comparison"]

_SUFFIX = re.compile(r"(-seed\d+)?(-fold\d+of\d+)?$")  # of directories that belong to the same network


def compare_runs(
    runs: Iterable[Run | str | PathLike] | Mapping[str, Iterable[Run | str | PathLike]],
) -> pd.DataFrame:
    """Compare runs that were tested on the same images.

    Each run is one trained model, whose interval only covers the sampling of the test images; training again with
    another seed also changes the accuracy. If several runs with the same settings and other seeds are passed under one
    name, the accuracy is their mean, and its interval also covers the seeds (see
    :func:`~ferkit.comparison.compare_seeds`). For the runs of a cross-validation, the interval is that of the corrected
    resampled t-test (see :func:`~ferkit.comparison.compare_folds`).

    Parameters
    ----------
    runs : list of Run, str or path-like, or dict of str to list
        Runs or their directories. Each must have been scored. To combine several runs of the same settings, pass a dict
        with their name and a list of runs.

    Returns
    -------
    DataFrame
        One row per run or name, the most accurate first. The columns are ``name`` (by default, of the directory),
        ``data``, ``tested_on``, ``input_size``, ``epochs``, ``parameters``, ``flops`` (per image), ``seconds`` (per
        training), ``accuracy``, ``accuracy_low`` and ``accuracy_high`` (its 95 % confidence interval),
        ``training_accuracy``, ``balanced_accuracy``, ``n`` (test images), ``n_runs``, ``sd`` (standard deviation of the
        accuracy between runs) and ``accuracies`` (of each run).

    See Also
    --------
    compare_pairs : Tests which of the settings are better.
    ferkit.display.ComparisonDisplay : Draws the result.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ferkit import FERClassifier
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.runs import compare_runs, train_run
    >>> faces = make_faces(35, random_state=0)
    >>> with TemporaryDirectory() as directory:
    ...     for width in (8, 16):
    ...         model = FERClassifier(backbone_params={"widths": (width,)}, max_epochs=1, random_state=0)
    ...         run = train_run(model, faces, Path(directory, f"width{width}"))
    ...     table = compare_runs(Path(directory).iterdir())
    >>> table.sort_values("parameters")[["name", "parameters", "epochs", "n"]]
         name  parameters  epochs   n
    ...
    """
    rows = [_describe_runs(name, group) for name, group in _read_groups(runs).items()]
    return pd.DataFrame(rows).sort_values("accuracy", ascending=False, kind="stable", ignore_index=True)


def compare_pairs(
    runs: Iterable[Run | str | PathLike] | Mapping[str, Iterable[Run | str | PathLike]],
) -> pd.DataFrame:
    """Test which of several settings are better, from runs that were tested on the same images.

    Parameters
    ----------
    runs : list of Run, str or path-like, or dict of str to list
        Runs of at least two settings, as for :func:`compare_runs`. Of a cross-validation, only the settings with the
        largest number of runs are compared, because all must have been tested on the same folds.

    Returns
    -------
    DataFrame
        The result of :func:`~ferkit.comparison.compare_folds` for the runs of a cross-validation, and of
        :func:`~ferkit.comparison.compare_seeds` for others.

    Examples
    --------
    >>> from pathlib import Path
    >>> from ferkit.runs import Run, compare_pairs
    >>> accuracies = {"cnn": [0.66, 0.67, 0.65], "resnet18": [0.69, 0.70, 0.69]}  # instead of trainings
    >>> runs = {
    ...     name: [
    ...         Run(
    ...             Path(name),
    ...             {"data": None, "tested_on": f"fold {fold} of 3", "parameters": {"random_state": 0}},
    ...             {f"fold {fold} of 3": {"accuracy": accuracy}},
    ...         )
    ...         for fold, accuracy in enumerate(each, 1)
    ...     ]
    ...     for name, each in accuracies.items()
    ... }
    >>> compare_pairs(runs)[["first", "second", "p_holm"]].round(3)
          first second  p_holm
    0  resnet18    cnn   0.024
    """
    groups = _read_groups(runs)
    folds = next(iter(groups.values()))[0].fold
    if folds is None:
        return compare_seeds({name: [run.read_report() for run in group] for name, group in groups.items()})
    tested = {name: [(run.seed, run.fold) for run in group] for name, group in groups.items()}
    most = max(tested.values(), key=len)
    scores = {name: [run.scores["accuracy"] for run in group] for name, group in groups.items() if tested[name] == most}
    return compare_folds(scores, test_fraction=1 / folds[1])


def _read_groups(runs):
    """Return the runs of each name, in the order of their seeds and folds."""
    if isinstance(runs, Mapping):
        groups = {name: [_to_run(run) for run in group] for name, group in runs.items()}
    else:
        read = [_to_run(run) for run in runs]
        names = [run.path.name for run in read]
        names = [name if names.count(name) == 1 else str(run.path) for name, run in zip(names, read, strict=True)]
        groups = {name: [run] for name, run in zip(names, read, strict=True)}
    for name, group in groups.items():
        if not group:
            raise ValueError(f"Expected at least one run of {name}, got none: leave it out.")
    for name, group in groups.items():
        if len({(run.path.resolve(), run.fold) for run in group}) < len(group):
            raise ValueError(f"Expected different runs of {name}, got one more than once: pass each run once.")
    tested = {
        (run.settings["data"], _name_test_set(run), run.scores["n"] if run.fold is None else "all")
        for group in groups.values()
        for run in group
    }
    if len(tested) != 1:
        found = ", ".join(f"{split} of {data} ({n} images)" for data, split, n in sorted(tested, key=str)) or "no runs"
        raise ValueError(f"Expected runs that were tested on the same images, got {found}: compare them separately.")
    for name, group in groups.items():
        if len({_settings_without_seed(run) for run in group}) > 1:
            raise ValueError(
                f"Expected runs of {name} that only differ in their seeds, got several settings: compare them under "
                "different names."
            )
        group.sort(key=lambda run: (run.seed is None, run.seed or 0, run.fold or ()))
    return groups


def _to_run(run):
    return run if isinstance(run, Run) else Run.read(run)


def _name_test_set(run):
    return run.settings["tested_on"] if run.fold is None else f"{run.fold[1]} folds of Training"


def _settings_without_seed(run):
    return json.dumps({**run.settings["parameters"], "random_state": None})


def _describe_runs(name, group):
    """Return the row of some runs of the same settings in the result of `compare_runs`."""
    settings, scores = group[0].settings, [run.scores for run in group]
    accuracies = [each["accuracy"] for each in scores]
    accuracy, (low, high) = accuracies[0], scores[0]["accuracy_interval_95"]
    n, seeds = sum(each["n"] for each in scores), len({run.seed for run in group})
    if len(group) > 1 and group[0].fold:
        accuracy, low, high = describe_folds(accuracies, 1 / group[0].fold[1])
    elif len(group) > 1:
        accuracy, low, high = describe_seeds([run.read_report() for run in group])
    return {
        "name": name,
        "data": settings["data"],
        "tested_on": _name_test_set(group[0]),
        "input_size": "×".join(map(str, settings["network"]["input_size"])),
        "epochs": round(np.mean([len(run.settings["history"]) for run in group])),
        "parameters": settings["network"]["parameters"],
        "flops": settings["network"]["flops"],
        "seconds": float(np.mean([run.settings["training_seconds"] for run in group])),
        "accuracy": accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "training_accuracy": float(np.mean([run.reports["Training"]["accuracy"] for run in group])),
        "balanced_accuracy": float(np.mean([each["balanced_accuracy"] for each in scores])),
        "n": n // seeds if group[0].fold else scores[0]["n"],
        "n_runs": len(group),
        "sd": float(np.std(accuracies, ddof=1)) if len(group) > 1 else None,
        "accuracies": accuracies,
    }


def plan_trainings(
    models: Mapping[str, FERClassifier], faces: Bunch, path: Path, *, n_seeds: int = 1, n_folds: int | None = None
) -> dict[Path, tuple[FERClassifier, Bunch]]:
    """Return the directory, the classifier and the faces of each training of a comparison.

    The seeds are that of each classifier and the following ones. With ``n_folds``, the test set of each training is a
    fold of the Training images. All classifiers have the same folds, and each seed has its own.
    """
    groups = None if n_folds is None else _group_images(faces)
    folds: dict[int, list[Bunch]] = {}
    trainings = {}
    for name, model in models.items():
        for seed in range(model.random_state, model.random_state + n_seeds):
            if n_folds is not None and seed not in folds:
                folds[seed] = list(_split_folds(faces, groups, n_folds, seed))
            suffix = "" if seed == model.random_state else f"-seed{seed}"
            for number, part in enumerate(folds.get(seed, [faces]), 1):
                directory = path / (name + suffix + (f"-fold{number}of{n_folds}" if n_folds else ""))
                trainings[directory] = clone(model).set_params(random_state=seed), part
    return trainings


def _group_images(faces):
    """Return a number per Training image that copies of a photograph share, and photographs of a person if known."""
    rows = np.flatnonzero(faces.usage == "Training")
    groups = find_duplicates(faces.data[rows]).group
    people = faces.get("groups")
    if people is not None:
        people = groups.max() + 1 + pd.factorize(people[rows])[0]
        links = coo_array((np.ones(len(rows)), (groups, people)), shape=(people.max() + 1, people.max() + 1))
        groups = connected_components(links, directed=False)[1][groups]
    return groups


def _split_folds(faces, groups, n_folds, seed):
    """Yield the faces with each fold of the Training images as test set."""
    rows = np.flatnonzero(faces.usage == "Training")
    splits = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splits.split(rows, faces.target[rows], groups), 1):
        usage = np.full(len(faces.usage), "not used", dtype=object)
        usage[rows] = "Training"
        usage[rows[test]] = f"fold {number} of {n_folds}"
        yield Bunch(**{**faces, "usage": usage.astype(str)})


def find_runs(
    path: Path, models: Mapping[Path, FERClassifier], data_name: str, n_folds: int | None = None
) -> dict[str, list[Run]]:
    """Return the finished runs below a directory that were trained on some data, by the name of the network.

    Of the directories in ``models``, only those that match their classifier are included. An earlier run with other
    settings would look like a result of the same comparison.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in [Run.read(report.parent) for report in sorted(path.glob(f"*/{REPORT}"))]:
        is_current = run.path not in models or run.matches(models[run.path], data_name)
        if is_current and run.settings["data"] == data_name and (run.fold and run.fold[1]) == n_folds:
            groups.setdefault((_SUFFIX.sub("", run.path.name), _settings_without_seed(run)), []).append(run)
    # of several settings under one name, those of `models` win
    ordered = sorted(groups.items(), key=lambda item: any(run.path in models for run in item[1]))
    return {name: runs for (name, _), runs in ordered}


def write_comparison(runs: Mapping[str, Iterable[Run]], path: Path) -> str:
    """Compare runs and write tables and a chart to a directory; return the tables as Markdown.

    The tables are written as Markdown, LaTeX and CSV, and the results of `compare_runs` as JSON.
    """
    table = compare_runs(runs)
    tables = {"comparison": (table, _format_comparison(table))}
    with suppress(ValueError):  # there may be one network only, or too few finished folds
        pairs = compare_pairs(runs)
        tables["pairs"] = pairs, _format_pairs(pairs)
    markdown = "\n\n".join(
        text.to_markdown(index=False, colalign=_align(text), disable_numparse=True) for _, text in tables.values()
    )
    latex = "\n".join(
        text.to_latex(index=False, escape=True, column_format="".join(side[0] for side in _align(text)))
        for _, text in tables.values()
    )
    write_text(path / "comparison.md", f"{markdown}\n")
    write_text(path / "comparison.tex", f"% needs \\usepackage{{booktabs}}\n{latex}")
    for name, (values, _) in tables.items():
        write_text(path / f"{name}.csv", values.to_csv(index=False))
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    write_text(path / "comparison.json", json.dumps(records, indent=2) + "\n")
    with offscreen():
        ComparisonDisplay(table).plot().figure_.savefig(path / "comparison.png", dpi=150)
    return markdown


def _format_comparison(table):
    columns = {
        "network": table["name"],
        "input": table["input_size"],
        "epochs": table["epochs"],
        "parameters": (table["parameters"] / 1e6).map("{:.2f} M".format),
        "MFLOP": (table["flops"] / 1e6).map("{:,.0f}".format),
        "minutes": (table["seconds"] / 60).map("{:.1f}".format),
        "Training": table["training_accuracy"].map("{:.2%}".format),
        table["tested_on"][0]: table["accuracy"].map("{:.2%}".format),
        "95 % interval": table["accuracy_low"].map("{:.2%} to ".format) + table["accuracy_high"].map("{:.2%}".format),
    }
    if table["n_runs"].max() > 1:
        columns["runs"] = table["n_runs"]
        columns["standard deviation"] = table["sd"].map("{:.2%}".format, na_action="ignore").fillna("")
    return pd.DataFrame(columns)


def _format_pairs(pairs):
    columns = {
        "higher accuracy": pairs["first"],
        "lower accuracy": pairs["second"],
        "difference, points": (100 * pairs["difference"]).map("{:.2f}".format),
        "95 % interval": (100 * pairs["low"]).map("{:.2f} to ".format) + (100 * pairs["high"]).map("{:.2f}".format),
        "p, corrected": pairs["p_holm"].map("{:.2g}".format),
        "p covers": pairs["covers"],
    }
    mcnemar = list(pairs.filter(like="mcnemar_")) if (pairs["covers"] != "images").any() else []
    for number, name in enumerate(mcnemar, 1):
        texts = pairs[name].map("{:.2g}".format, na_action="ignore").fillna("")
        columns[f"McNemar {number} of {len(mcnemar)}"] = texts
    return pd.DataFrame(columns)


def _align(table):
    texts = ("network", "higher accuracy", "lower accuracy", "p covers")
    return ["left" if column in texts else "right" for column in table]
