"""Compare class weights, over-sampling, SMOTE and augmentation with a baseline on imbalanced data, over three seeds.

Each fit trains the default network with as many steps as 8 epochs of 10,000 training faces have, and is scored on
PublicTest. Augmentation is only used in the rows that name it. The results are only meaningful with ``--data``, because
drawn faces are too easy.

    python benchmarks/imbalance.py --data fer2013.csv [--device cuda] [--quick]
"""

from statistics import mean, stdev

import numpy as np
from _common import parse_arguments
from imblearn.over_sampling import SMOTE, RandomOverSampler
from precision import get_parts
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from ferkit import FERClassifier, Pipeline

DISGUST = 1
SCORES = {
    "accuracy": accuracy_score,
    "balanced accuracy": balanced_accuracy_score,
    "macro F1": lambda y, y_pred: f1_score(y, y_pred, average="macro"),
    "recall of disgust": lambda y, y_pred: recall_score(y, y_pred, labels=[DISGUST], average="macro"),
}
PLAIN, AUGMENTED, BALANCED = {"augment": None}, {"augment": "auto"}, {"class_weight": "balanced"}
WAYS = {
    "baseline": (None, PLAIN),
    "class weights": (None, PLAIN | BALANCED),
    "over-sampling": (RandomOverSampler, PLAIN),
    "SMOTE": (SMOTE, PLAIN),
    "augmentation": (None, AUGMENTED),
    "augmentation, class weights": (None, AUGMENTED | BALANCED),
    "augmentation, over-sampling": (RandomOverSampler, AUGMENTED),
}


def main():
    arguments = parse_arguments(__doc__)
    n_train, epochs, seeds = (512, 1, range(2)) if arguments.quick else (10_000, 8, range(3))
    (X, y), (X_test, y_test) = get_parts(n_train, arguments.data)
    counts = np.bincount(y)
    rows_when_balanced = len(counts) * counts.max()
    print(f"{n_train:,} training faces, {counts[DISGUST]} with disgust; scored on {len(y_test):,} faces", end="\n\n")
    print(f"| {'':27} | " + " | ".join(f"{name:^17}" for name in SCORES) + " |")
    print("| " + " | ".join("-" * width for width in (27, *[17] * len(SCORES))) + " |")
    for way, (sampler, params) in WAYS.items():
        results = []
        for seed in seeds:
            max_epochs = epochs if sampler is None else max(1, round(epochs * n_train / rows_when_balanced))
            model = FERClassifier(max_epochs=max_epochs, device=arguments.device, random_state=seed, **params)
            if sampler is not None:
                model = Pipeline([("balance", sampler(random_state=seed)), ("classify", model)])
            y_pred = model.fit(X, y).predict(X_test)
            results.append([score(y_test, y_pred) for score in SCORES.values()])
        cells = [f"{mean(column):.1%} ± {stdev(column):.1%}" for column in zip(*results, strict=True)]
        print(f"| {way:27} | " + " | ".join(f"{cell:>17}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
