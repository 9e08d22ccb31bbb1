"""Compare ways to use all cores: threads of one training, processes that share a training, and trainings side by side.

*One training* trains `cnn` for one epoch: in one process with one thread, in one process with one thread per core, and
in one process per core with one thread each. These processes share every batch (``device="accelerate"``) and average
their gradients through gloo. *Two trainings* fits two such models: one after the other with one thread per core, and at
the same time with one thread each, as ``GridSearchCV(n_jobs=2)`` does. Times are those of `fit`, without start-up.

Efficiency is the speed divided by the speed of one thread and by the number of cores. Two CPUs of a virtual machine may
be two threads of one core, which share its arithmetic units. More than about half is then not possible.

    python benchmarks/processes.py [--quick]

It needs `pip install "ferkit[accelerate]"` and takes about three minutes on two cores.
"""

import os
import subprocess
import sys
from functools import partial
from statistics import median
from time import perf_counter
from warnings import simplefilter

import numpy as np
import torch
from _common import count_cores, get_faces, parse_arguments
from joblib import Parallel, delayed

from ferkit import FERClassifier


def fit(n_faces, n_threads, device="cpu"):
    simplefilter("ignore")  # about the few steps of one epoch
    torch.set_num_threads(n_threads)
    X, y = (np.resize(part, (n_faces, *part.shape[1:])) for part in get_faces(512))  # drawing takes long
    start = perf_counter()
    FERClassifier(batch_size=256, max_epochs=1, device=device, random_state=0).fit(X, y)
    return perf_counter() - start


def fit_shared(n_faces):
    """Return the seconds of a fit that one process per core shares."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count_cores())]
    variables = {**os.environ, "ACCELERATE_USE_CPU": "true", "SHARED_FACES": str(n_faces)}
    done = subprocess.run(
        [*launcher, __file__], env=variables, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return float(done.stdout.split()[-1])


def run_shared(n_faces):
    """Print the seconds of the second of two fits; the first connects the processes."""
    fit(512, 1, "accelerate")
    seconds = fit(n_faces, 1, "accelerate")
    if os.environ["RANK"] == "0":
        print(seconds)


def fit_two(n_faces, pool=None):
    """Fit two models and return the seconds, without those of drawing the faces."""
    if pool is None:
        return sum(fit(n_faces, count_cores()) for _ in range(2))
    return max(pool(delayed(fit)(n_faces, 1) for _ in range(2)))


def main():
    quick = parse_arguments(__doc__).quick
    n, rounds = (512, 1) if quick else (4096, 3)
    cores = count_cores()
    with Parallel(n_jobs=2) as pool:
        fit_two(512, pool)
        sides = {
            "one training, one thread": (1, 1, partial(fit, n, 1)),
            f"one training, {cores} threads": (1, cores, partial(fit, n, cores)),
            f"one training, {cores} processes of one thread": (1, cores, partial(fit_shared, n)),
            f"two trainings in turn, {cores} threads": (2, cores, partial(fit_two, n)),
            "two trainings at once, one thread each": (2, 2, partial(fit_two, n, pool)),
        }
        fit(512, cores)  # first calls allocate
        seconds = {side: [] for side in sides}
        for _ in range(rounds):
            for side, (_, _, run) in sides.items():
                seconds[side].append(run())
    print("| | faces/s | range | efficiency |\n| --- | ---: | ---: | ---: |")
    (alone, *_) = seconds.values()
    for side, (n_models, n_cores, _) in sides.items():
        rates = [n_models * n / each for each in seconds[side]]
        efficiency = median(rates) * median(alone) / n / n_cores
        print(f"| {side} | {median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f} | {100 * efficiency:.0f} % |")


if __name__ == "__main__":
    shared = os.environ.get("SHARED_FACES")
    run_shared(int(shared)) if shared else main()
