"""Compare starts of a training for other labels: random, from ImageNet, and from the shipped model, over three seeds.

The labels are the majorities of FER+ with eight emotions, on samples of the Training faces. All models are scored on
PublicTest. The shipped model has seen the Training faces with the labels of FER2013, but no PublicTest face.
ImageNet weights are used if ``--weights`` names the file that `benchmarks/lite0.py` writes. Without ``--data`` and
``--ferplus``, faces are drawn.

    python benchmarks/fine_tuning.py [--data fer2013.csv --ferplus fer2013new.csv] [--weights lite0.safetensors]
"""

from statistics import mean, stdev

from _common import parse_arguments
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ferkit import FERClassifier, NetworkFeatures
from ferkit.datasets import load_ferplus, make_faces


def get_parts(arguments):
    if arguments.ferplus is None:
        faces = make_faces(10_000, random_state=0)
        return (faces.data[5000:], faces.target[5000:]), (faces.data[:5000], faces.target[:5000])
    return tuple(
        load_ferplus(arguments.ferplus, fer2013=arguments.data, usage=usage, return_X_y=True)
        for usage in ("Training", "PublicTest")
    )


def get_models(arguments):
    common = {"device": arguments.device, "max_epochs": 2 if arguments.quick else 24}
    models = {
        "from scratch": lambda seed: FERClassifier(random_state=seed, **common),
        "fer2013-small, its features with logistic regression": lambda seed: make_pipeline(
            NetworkFeatures("fer2013-small", device=arguments.device),
            StandardScaler(),
            LogisticRegression(C=0.01, max_iter=1000),
        ),
        "fer2013-small, fine-tuned": lambda seed: FERClassifier(
            weights="fer2013-small", frozen_epochs=8, random_state=seed, **common
        ),
    }
    if arguments.weights:
        models["ImageNet (EfficientNet-Lite0, 96 px), fine-tuned"] = lambda seed: FERClassifier(
            "timm/tf_efficientnet_lite0",
            weights=arguments.weights,
            input_size=96,
            frozen_epochs=4,
            lr=1e-3,
            random_state=seed,
            **{**common, "max_epochs": 2 if arguments.quick else 12},
        )
    return models


def main():
    arguments = parse_arguments(
        __doc__, ferplus="votes of FER+, fer2013new.csv", weights="ImageNet weights, lite0.safetensors"
    )
    sizes, seeds = ((50, 100), range(2)) if arguments.quick else ((200, 1000, 5000), range(3))
    (X, y), test = get_parts(arguments)
    print("| start |", *(f"{n:,} faces |" for n in sizes))
    print("| --- |", *("--- |" for _ in sizes))
    for name, build in get_models(arguments).items():
        print(f"| {name} |", end="", flush=True)
        for n in sizes:
            scores = []
            for seed in seeds:
                X_train, _, y_train, _ = train_test_split(X, y, train_size=n, stratify=y, random_state=seed)
                scores.append(build(seed).fit(X_train, y_train).score(*test))
            print(f" {mean(scores):.2%} ± {stdev(scores):.2%} |", end="", flush=True)
        print()


if __name__ == "__main__":
    main()
