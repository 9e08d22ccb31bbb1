"""Measure how much faster training on a Linux CPU is if glibc keeps the memory of large tensors.

By default, glibc returns memory blocks of 32 MB and more to the kernel as soon as they are free, and the kernel fills
the next ones with zeros. Environment variables change this. They are read when a process starts, so each training runs
in a new process, and both sides take turns. Only the second epoch is timed.

    python -W ignore benchmarks/allocator.py [--quick]
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from unittest.mock import patch

from _common import get_faces, parse_arguments

from ferkit import FERClassifier

KEEP = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
TRAININGS = (("cnn", 48, 256), ("resnet18", 96, 256), ("mobilenet_v2", 96, 256))


def train(backbone, size, batch_size, n_images):
    """Return the seconds of the second epoch."""
    X, y = get_faces(n_images)
    params = {"input_size": size, "batch_size": batch_size, "max_epochs": 2, "ema_decay": None, "random_state": 0}
    return FERClassifier(backbone, **params).fit(X, y).history_[1]["seconds"]


def measure(environment, *arguments):
    with patch.dict(os.environ, environment), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(train, *arguments).result()


def main():
    arguments = parse_arguments(__doc__)
    n_images, rounds = (64, 1) if arguments.quick else (512, 3)
    print("| network | input | batch | returned, s | kept, s | speed, ratio | range |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for backbone, size, batch_size in TRAININGS:
        seconds = {"returned": [], "kept": []}
        for _ in range(rounds):
            for side, environment in (("returned", {}), ("kept", KEEP)):
                seconds[side].append(measure(environment, backbone, size, batch_size, n_images))
        ratios = sorted(old / new for old, new in zip(*seconds.values(), strict=True))
        times = " | ".join(f"{median(each):.1f}" for each in seconds.values())
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"| `{backbone}` | {size} | {batch_size} | {times} | {median(ratios):.2f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
