"""Measure how much accuracy models lose on degraded faces and on other data sets.

The first table trains cnn_small on equally many faces of FER2013, of FER+ and of make_faces, and scores each of the
three and fer2013-small on the test faces of all three sets. FER+ has contempt, which the others lack: these faces are
left out.

The other tables degrade test faces in five ways and five severities, and score fer2013-small: on drawn faces, on
PublicTest with the labels of FER+ (the middle severity), and on PublicTest with its own labels.

    python benchmarks/corruptions.py --data fer2013.csv --ferplus fer2013new.csv [--quick]

Without --data, only drawn faces are used. The figures of docs/guide/other_data.md are written to the directory that
--figures names.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from _common import parse_arguments

from ferkit import FERClassifier, load_model
from ferkit.datasets import corrupt, harmonize, load_fer2013, load_ferplus, make_faces
from ferkit.display import FacesDisplay, HeatmapDisplay
from ferkit.report import evaluate_corruptions, evaluate_sets

KINDS = ("blur", "jpeg", "light", "occlusion", "noise")


def choose(faces, usage, n):
    """Return at most n random faces of a split, as a Bunch without the others."""
    rows = np.flatnonzero(faces.usage == usage)
    rows = np.random.default_rng(0).permutation(rows)[:n]
    return type(faces)(
        data=faces.data[rows], images=faces.images[rows], target=faces.target[rows], target_names=faces.target_names
    )


def names_of(faces):
    return faces.target_names[faces.target]


def print_corruptions(title, model, faces, severities=(1, 2, 3, 4, 5)):
    scores = evaluate_corruptions(model, faces.data, names_of(faces), severities=severities)
    plain = scores.iloc[0]
    interval = f"95 % interval {plain.accuracy_low:.1%} to {plain.accuracy_high:.1%}"
    print(f"{title}: {plain.n:,} faces, {plain.accuracy:.1%} as they are, {interval}\n")
    print("| corruption | " + " | ".join(f"severity {severity}" for severity in severities) + " | relative loss |")
    print("|---|" + "---:|" * (len(severities) + 1))
    for kind, rows in scores[1:].groupby("corruption", sort=False):
        cells = [f"{accuracy:.1%}" for accuracy in rows.accuracy]
        print(f"| {kind} | " + " | ".join(cells) + f" | {rows.relative_loss.mean():.0%} |", flush=True)
    print()
    return scores


def print_sets(train, test, model, n_epochs):
    models = {"fer2013-small": model}
    for name, faces in train.items():
        models[name] = FERClassifier("cnn_small", max_epochs=n_epochs, random_state=0).fit(faces.data, names_of(faces))
    scores = evaluate_sets(models, test)
    print("| trained on | " + " | ".join(f"{name}, n = {len(faces.data):,}" for name, faces in test.items()) + " |")
    print("|---|" + "---:|" * len(test))
    for name, rows in scores.groupby("model", sort=False):
        cells = [f"{row.accuracy:.1%} ({row.accuracy_low:.1%} to {row.accuracy_high:.1%})" for row in rows.itertuples()]
        print(f"| {name} | " + " | ".join(cells) + " |")
    return scores


def draw_corruptions(folder):
    """Draw a face in all severities, one row per corruption."""
    face = make_faces(12, random_state=5).data[7:8]
    rows = [[face, *(corrupt(face, kind, severity, random_state=1) for severity in range(1, 6))] for kind in KINDS]
    images = [np.concatenate(row).reshape(-1, 48, 48) for row in rows]
    FacesDisplay(images, KINDS).plot().figure_.savefig(Path(folder) / "corruptions.png", dpi=110)


def main():
    arguments = parse_arguments(
        __doc__, ferplus="fer2013new.csv, to score with its labels too", figures="directory for the figures"
    )
    n_train, n_test, n_epochs = (150, 60, 1) if arguments.quick else (3000, 3589, 20)
    n_drawn = min(n_test, 1000)
    model = load_model("fer2013-small")
    drawn = make_faces(n_drawn, random_state=1)
    train, test = {"drawn": make_faces(n_train, random_state=0)}, {"drawn": drawn}
    if arguments.data:
        fer2013 = load_fer2013(arguments.data, usage=["Training", "PublicTest"])
        train["FER2013"], test["FER2013"] = choose(fer2013, "Training", n_train), choose(fer2013, "PublicTest", n_test)
        if arguments.ferplus:
            ferplus = harmonize(load_ferplus(arguments.ferplus, fer2013=fer2013))
            print(f"faces of FER+ without a name in FER2013: {ferplus.dropped}\n")
            train["FER+"], test["FER+"] = choose(ferplus, "Training", n_train), choose(ferplus, "PublicTest", n_test)
    sets = print_sets(train, test, model, n_epochs)
    print()
    print_corruptions("drawn", model, drawn)
    if "FER+" in test:
        print_corruptions("FER+ PublicTest", model, test["FER+"], severities=[3])
    if arguments.data:
        print_corruptions("FER2013 PublicTest", model, test["FER2013"])
    if arguments.figures:
        mpl.use("agg")
        draw_corruptions(arguments.figures)
        display = HeatmapDisplay(sets, rows="model", columns="tested_on").plot()
        display.ax_.set_ylabel("trained on")
        display.figure_.savefig(Path(arguments.figures) / "other_data.png", dpi=110)


if __name__ == "__main__":
    main()
