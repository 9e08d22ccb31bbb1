"""Compare accuracy and training time of the same fits in bfloat16 and in float32, over three seeds.

Each fit trains the default network for a few epochs on a part of the training faces and is scored on 3,589 faces. These
are the PublicTest faces with ``--data`` and other drawn faces without it. Target: the mean accuracies differ by less
than two standard errors of their difference, computed from the spread of the seeds.

    python benchmarks/precision.py [--device cuda] [--data fer2013.csv] [--quick]
"""

from statistics import mean, stdev
from time import perf_counter

import numpy as np
from _common import parse_arguments

from ferkit import FERClassifier
from ferkit.datasets import load_fer2013, make_faces

N_TEST = 3589


def get_parts(n_train, data):
    if data is None:
        faces = make_faces(n_train + N_TEST, random_state=0)
        return (faces.data[:n_train], faces.target[:n_train]), (faces.data[n_train:], faces.target[n_train:])
    train, test = (load_fer2013(data, usage=usage, return_X_y=True) for usage in ("Training", "PublicTest"))
    return tuple(part[:n_train] for part in train), test


def main():
    arguments = parse_arguments(__doc__)
    n_train, epochs, seeds = (512, 1, range(2)) if arguments.quick else (10_000, 8, range(3))
    train, test = get_parts(n_train, arguments.data)
    print(f"{epochs} epochs on {n_train:,} faces, scored on {len(test[1]):,} faces", end="\n\n")
    accuracies, seconds = {"bfloat16": [], "float32": []}, {"bfloat16": [], "float32": []}
    for seed in seeds:
        for precision in accuracies:
            model = FERClassifier(max_epochs=epochs, precision=precision, device=arguments.device, random_state=seed)
            start = perf_counter()
            model.fit(*train)
            seconds[precision].append(perf_counter() - start)
            accuracies[precision].append(model.score(*test))
    print("| precision | accuracy per seed          | mean   | standard deviation | seconds per fit  |")
    print("| --------- | -------------------------- | ------ | ------------------ | ---------------- |")
    for precision, scores in accuracies.items():
        each, time = ", ".join(f"{score:.2%}" for score in scores), mean(seconds[precision])
        print(f"| {precision:9} | {each:26} | {mean(scores):6.2%} | {stdev(scores):18.2%} | {time:16.0f} |")
    error = np.sqrt(sum(stdev(scores) ** 2 for scores in accuracies.values()) / len(seeds))
    difference = mean(accuracies["bfloat16"]) - mean(accuracies["float32"])
    print(f"\nDifference {difference:+.2%}, two standard errors {2 * error:.2%}.")


if __name__ == "__main__":
    main()
