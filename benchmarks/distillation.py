"""Compare networks that learn from labels with networks that also learn from the predictions of teachers.

1. Each teacher is trained three times on two thirds of the Training faces. It predicts the other third and PublicTest.
   All copies of one face are in the same third.
2. The target of a face is a mean of its label and of the teachers' prediction for it.
3. Students are trained on these targets, and scored on PublicTest. `docs/make_model.py` makes the shipped model of one.

Every result is written to ``--out`` at once, and results that are there are not computed again. ``--jobs`` trains
several models at the same time. ``--weights`` is the file that `benchmarks/lite0.py` writes. PrivateTest is not read.

    python benchmarks/distillation.py --data fer2013.csv --weights lite0.safetensors --out runs
        [--device cuda] [--jobs 8] [--quick]
"""

import json
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from _common import parse_arguments
from joblib import Parallel, delayed
from sklearn.model_selection import StratifiedGroupKFold

import ferkit
from ferkit import FERClassifier
from ferkit.datasets import load_fer2013

N_FOLDS = 3
LITE0 = {"frozen_epochs": 1, "lr": 1e-3, "input_size": 112}
TEACHERS = {
    "resnet18_fer": {"max_epochs": 30, "mixup": 0.2},
    "vgg_fer": {"max_epochs": 40, "mixup": 0.2},
    "timm/tf_efficientnet_lite0": {"max_epochs": 15, **LITE0},
}
STUDENTS = {  # the network, the weight of the teachers' predictions in the targets, and settings
    "default": ("cnn", 0.0, {"max_epochs": 72, "label_smoothing": 0.1}),  # the recipe "best"
    "labels": ("cnn", 0.0, {"max_epochs": 80, "label_smoothing": 0.1}),
    "half": ("cnn", 0.5, {"max_epochs": 80}),
    "three-quarters": ("cnn", 0.75, {"max_epochs": 80}),
    "muon": ("cnn", 0.5, {"max_epochs": 60, "optimizer": "muon"}),
    "resnet18_fer": ("resnet18_fer", 0.5, {"max_epochs": 25, "mixup": 0.2}),
    "lite0": ("timm/tf_efficientnet_lite0", 0.5, {"max_epochs": 8, **LITE0}),
}


def load(arguments):
    """Return faces, labels and thirds of Training, and faces, labels and a mask of copies of PublicTest."""
    train, test = (load_fer2013(arguments.data, usage=usage) for usage in ("Training", "PublicTest"))
    if arguments.quick:
        for faces in (train, test):
            faces.data, faces.target = faces.data[:300], faces.target[:300]
    copies = np.unique(train.data, axis=0, return_inverse=True)[1].ravel()
    fold, folds = np.empty(len(copies), int), StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0)
    for number, (_, held_out) in enumerate(folds.split(train.data, train.target, copies)):
        fold[held_out] = number
    known = {row.tobytes() for row in train.data}
    is_copy = np.array([row.tobytes() in known for row in test.data])
    return train, fold, test, is_copy


def build(backbone, arguments, **params):
    weights = arguments.weights if backbone.startswith("timm/") else None
    if arguments.quick:
        params["max_epochs"] = 2
    return FERClassifier(backbone, weights=weights, device=arguments.device, **params)


def path_of(arguments, backbone, fold):
    return Path(arguments.out, f"{backbone.replace('/', '-')}-{fold}.npz")


def train_teacher(backbone, number, arguments):
    path = path_of(arguments, backbone, number)
    if path.exists():
        return
    train, fold, test, _ = load(arguments)
    model = build(backbone, arguments, random_state=number, **TEACHERS[backbone])
    start = perf_counter()
    model.fit(train.data[fold != number], train.target[fold != number])
    seconds = perf_counter() - start
    held_out, public = model.predict_proba(train.data[fold == number]), model.predict_proba(test.data)
    np.savez(path, held_out=held_out.astype(np.float32), public=public.astype(np.float32), seconds=seconds)
    print(f"{path.stem}: {np.mean(public.argmax(1) == test.target):.2%} of PublicTest, {seconds:.0f} s", flush=True)


def gather(arguments):
    """Return the teachers' mean predictions for Training, out-of-fold, and for PublicTest, and print their accuracy."""
    train, fold, test, is_copy = load(arguments)
    ours, public, seconds = {}, {}, {}
    for backbone in TEACHERS:
        files = [np.load(path_of(arguments, backbone, number)) for number in range(N_FOLDS)]
        ours[backbone] = np.empty((len(fold), 7), np.float32)
        for number, file in enumerate(files):
            ours[backbone][fold == number] = file["held_out"]
        public[backbone] = np.mean([file["public"] for file in files], axis=0)
        seconds[backbone] = sum(float(file["seconds"]) for file in files)
    ours["all"], public["all"] = (np.mean(list(part.values()), axis=0) for part in (ours, public))
    seconds["all"] = sum(seconds.values())
    print("\n| teachers | out-of-fold | PublicTest | without copies | seconds |\n| --- | ---: | ---: | ---: | ---: |")
    for name in ours:
        is_right = public[name].argmax(1) == test.target
        scores = [np.mean(ours[name].argmax(1) == train.target), is_right.mean(), is_right[~is_copy].mean()]
        print(f"| {name} | {' | '.join(f'{score:.2%}' for score in scores)} | {seconds[name]:.0f} |", flush=True)
    return ours["all"]


def train_student(name, predictions, arguments):
    path = Path(arguments.out, f"{name}.ferkit")
    if path.exists():
        return
    backbone, share, params = STUDENTS[name]
    train, _, test, is_copy = load(arguments)
    targets = [(1 - share) * np.eye(7)[train.target] + share * predictions, np.eye(7)[test.target]]
    y, y_val = (pd.DataFrame(each, columns=train.target_names).sort_index(axis=1) for each in targets)
    model = build(backbone, arguments, **{"random_state": 0, "label_smoothing": 0.0, **params})
    model.fit(train.data, y, X_val=test.data, y_val=y_val)  # for the history, which changes nothing in the training
    is_right = model.predict(test.data) == test.target_names[test.target]
    ferkit.save(model, path)
    result = {"accuracy": is_right.mean(), "unseen_accuracy": is_right[~is_copy].mean()}
    path.with_suffix(".json").write_text(json.dumps(result))
    print(f"{name}: {result['accuracy']:.2%}, without copies {result['unseen_accuracy']:.2%}", flush=True)


def main():
    arguments = parse_arguments(
        __doc__,
        weights="ImageNet weights, lite0.safetensors",
        out="directory for results",
        jobs="number of models that are trained at the same time",
    )
    Path(arguments.out).mkdir(exist_ok=True)
    parallel = Parallel(int(arguments.jobs or 1))
    parallel(delayed(train_teacher)(name, fold, arguments) for name in TEACHERS for fold in range(N_FOLDS))
    predictions = gather(arguments)
    parallel(delayed(train_student)(name, predictions, arguments) for name in STUDENTS)


if __name__ == "__main__":
    main()
