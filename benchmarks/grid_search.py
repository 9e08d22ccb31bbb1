"""Compare GridSearchCV over FERClassifier with n_jobs=2 and n_jobs=1 on two cores.

joblib gives each worker its share of the threads; the search reports their number as a score. The workers are started
before the timing, because real searches take much longer than the imports of the workers. Target: n_jobs=2 is not
slower. The scores of the two sides may differ, because the rounding of sums depends on the number of threads and
training amplifies the differences.

    python benchmarks/grid_search.py [--device cuda] [--data fer2013.csv] [--quick]
"""

import os
from functools import partial

import numpy as np
import torch
from _common import alternate, count_cores, get_faces, parse_arguments, print_table, speed_row
from sklearn.model_selection import GridSearchCV

from ferkit import FERClassifier

CORES = 2


def score(model, data, target):
    return {"accuracy": model.score(data, target), "threads": torch.get_num_threads()}


def search(n_jobs, data, target, device):
    model = FERClassifier(max_epochs=2, device=device, random_state=0)
    grid = {"label_smoothing": [0, 0.1]}
    return GridSearchCV(model, grid, scoring=score, cv=2, refit=False, n_jobs=n_jobs).fit(data, target).cv_results_


def main():
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # workers inherit it
    torch.set_num_threads(min(CORES, count_cores()))
    arguments = parse_arguments(__doc__)
    n_faces, rounds = (256, 2) if arguments.quick else (2048, 3)
    data, target = get_faces(n_faces, arguments.data)
    print(f"{rounds} searches per side with 4 fits, each with 2 epochs and {n_faces // 2:,} faces", end="\n\n")

    alternate({n_jobs: partial(search, n_jobs, data[:128], target[:128], arguments.device) for n_jobs in (1, 2)}, 1)
    seconds, results = alternate(
        {n_jobs: partial(search, n_jobs, data, target, arguments.device) for n_jobs in (1, 2)}, rounds
    )
    print_table([speed_row("grid search", seconds[2], seconds[1])], sides=("n_jobs=2", "n_jobs=1"))
    print()
    for n_jobs, result in results.items():
        print(
            f"n_jobs={n_jobs}: {result['mean_test_threads'].max():.0f} threads per worker, accuracies",
            ", ".join(f"{accuracy:.3f}" for accuracy in result["mean_test_accuracy"]),
        )
    one, two = (result["mean_test_accuracy"] for result in results.values())
    print(f"Largest difference: {np.abs(one - two).max():.3f}")


if __name__ == "__main__":
    main()
