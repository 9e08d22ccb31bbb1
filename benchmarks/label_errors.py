"""Measure how many of the labels that `find_label_errors` suspects are wrong, by the votes of ten other people.

Networks that are trained for nine epochs predict the Training faces of FER2013. Each face is predicted by the network
that was trained on neither this face nor a copy of it. FER+ has ten votes per face, which the networks do not see. A
suggestion is right if more than half of these votes are for something other than the label.

    python benchmarks/label_errors.py --data fer2013.csv --ferplus fer2013new.csv [--out label_errors] [--figure x.png]

The probabilities of each fold are kept in the directory `--out`, so a run that was stopped can be continued. Without
`--data`, the faces are drawn, a tenth of the labels is wrong, and all votes are for the right label.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from _common import parse_arguments
from matplotlib.figure import Figure
from sklearn.model_selection import StratifiedGroupKFold

from ferkit import FERClassifier
from ferkit.datasets import find_duplicates, find_label_errors, load_fer2013, load_ferplus, make_faces

FOLDS = 3
FIRST = (100, 200, 500, 1000, 2000)
OF_LABEL = {"happy": "happiness", "sad": "sadness", "angry": "anger"}  # other emotions have the same name in FER+


def read(data, ferplus):
    """Return faces, labels and the votes for each choice, whose columns have FER2013's names."""
    if not data:
        faces, rng = make_faces(2000, random_state=0), np.random.default_rng(0)
        wrong = rng.random(2000) < 0.1
        y = np.where(wrong, (faces.target + rng.integers(1, 7, 2000)) % 7, faces.target)
        return faces.data, faces.target_names[y], pd.DataFrame(10 * np.eye(7)[faces.target], columns=faces.target_names)
    faces = load_fer2013(data, usage="Training")
    load_ferplus(ferplus, fer2013=faces)  # checks that the rows of both are those of the same faces
    votes = pd.read_csv(ferplus).query("Usage == 'Training'").drop(columns=["Usage", "Image name"])
    votes = votes.rename(columns={name: label for label, name in OF_LABEL.items()}).reset_index(drop=True)
    return faces.data, faces.target_names[faces.target], votes


def predict_out_of_fold(X, y, n_epochs, directory):
    directory.mkdir(parents=True, exist_ok=True)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(X, y, find_duplicates(X).group)
    y_proba = np.full((len(y), len(np.unique(y))), np.nan, np.float32)
    for number, (train, test) in enumerate(folds):
        path = directory / f"fold{number}.npy"
        if not path.exists():
            model = FERClassifier(max_epochs=n_epochs, random_state=0, verbose=1).fit(X[train], y[train])
            np.save(path, model.predict_proba(X[test]))
        y_proba[test] = np.load(path)
    return y_proba


def judge(y, votes):
    """Return whether most votes are not for the label, and the choice with most votes, None if it has no majority."""
    total = votes.sum(axis=1).to_numpy()
    for_label = votes.to_numpy()[np.arange(len(y)), votes.columns.get_indexer(y)]
    majority = np.where(2 * votes.max(axis=1) > total, votes.idxmax(axis=1), None)
    return 2 * for_label < total, majority


def draw(precision, same, base, path):
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    ax = figure.subplots()
    n = np.arange(1, len(precision) + 1)
    ax.plot(n[49:], precision[49:], color="#0072B2", linewidth=2)
    ax.plot(n[49:], same[49:], color="#E69F00", linewidth=2, linestyle="--")
    ax.plot(n[[0, -1]], [base, base], color="0.4", linestyle=":")
    at = len(n) - 1
    for value, text, color in (
        (precision[at], "most votes are not\nfor the label", "#0072B2"),
        (same[at], "most votes are for\nthe suggested label", "#A86E00"),
        (base, "most votes are not for\nthe label, all faces", "0.3"),
    ):
        ax.annotate(text, (n[at], value), (8, 0), textcoords="offset points", va="center", color=color, fontsize=11)
    ax.axvline(500, color="0.8", linewidth=1, zorder=0)
    ax.set(xlabel="number of suggestions, most suspect first", ylabel="share of the suggestions", ylim=(0, 1))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.xaxis.label.set_size(12)
    ax.yaxis.label.set_size(12)
    ax.tick_params(labelsize=11)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main():
    arguments = parse_arguments(
        __doc__, ferplus="votes of FER+", out="directory for probabilities", figure="file for the figure"
    )
    X, y, votes = read(arguments.data, arguments.ferplus)
    y_proba = predict_out_of_fold(X, y, 2 if arguments.quick else 9, Path(arguments.out or "label_errors"))
    print(f"{len(y):,} faces, out-of-fold accuracy {np.mean(np.unique(y)[y_proba.argmax(axis=1)] == y):.2%}\n")
    errors = find_label_errors(y, y_proba)
    print(errors, end="\n\n")

    disagrees, majority = judge(y, votes)
    has_majority = np.not_equal(majority, None)
    print(f"all faces: most votes are not for the label of {disagrees.mean():.1%}")
    print(f"all faces: a majority for another choice than the label of {np.mean(has_majority & (majority != y)):.1%}")
    print(f"all faces: no majority for {1 - has_majority.mean():.1%}\n")
    margin = np.argsort(errors.label_probability - errors.suggested_probability, kind="stable")
    anyone = np.flatnonzero(np.unique(y)[y_proba.argmax(axis=1)] != y)
    print("| suggestions | most votes not for the label | a majority for another choice | for the suggested label |")
    print("|---:|---:|---:|---:|")
    same = majority[errors.row] == errors.suggested
    for n in (*(n for n in FIRST if n < len(errors.row)), len(errors.row)):
        row = errors.row[:n]
        shares = disagrees[row].mean(), (has_majority & (majority != y))[row].mean(), same[:n].mean()
        print(f"| first {n:,} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    by_margin = errors.row[margin][:500]
    print(f"\nfirst 500 by the difference of both probabilities: {disagrees[by_margin].mean():.1%}")
    print(f"all {len(anyone):,} faces whose prediction is not the label: {disagrees[anyone].mean():.1%}")
    counts = pd.Series(majority[errors.row[:500]]).fillna("no majority").where(disagrees[errors.row[:500]], "the label")
    print("\nfirst 500, what most votes are for:", dict(counts.value_counts()))
    if arguments.figure:
        count = np.arange(1, len(errors.row) + 1)
        draw(disagrees[errors.row].cumsum() / count, same.cumsum() / count, disagrees.mean(), arguments.figure)


if __name__ == "__main__":
    main()
