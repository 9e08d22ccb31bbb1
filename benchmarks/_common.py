"""Code shared by the benchmarks: command-line options, alternating timings, peak memory and the result table."""

import os
import platform
import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from ferkit.datasets import load_fer2013, make_faces

MB = 1_000_000


def parse_arguments(description, **files):
    """Parse the options of every benchmark, and paths of more files, and print a description of the machine."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--data", metavar="fer2013.csv", help="use real faces instead of drawn ones")
    parser.add_argument("--quick", action="store_true", help="run with small sizes as a test, not as a measurement")
    for name, text in files.items():
        parser.add_argument(f"--{name}", help=text)
    arguments = parser.parse_args()
    print(_machine(arguments.device), end="\n\n")
    return arguments


def _machine(device):
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    parts = [model[1] if model else platform.processor(), f"{count_cores()} cores available"]
    if device == "cuda":
        parts.insert(0, torch.cuda.get_device_name())
    parts.append(f"{torch.get_num_threads()} torch threads")
    parts += [f"{package} {version(package)}" for package in ("torch", "skorch", "scikit-learn", "ferkit")]
    return ", ".join(parts)


def count_cores():
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def get_faces(n, data=None):
    """Return pixels (n, 2304) and labels (n,) of `n` training faces, drawn or from a file.

    If the file has fewer than `n` faces, they are repeated.
    """
    faces = make_faces(n, random_state=0) if data is None else load_fer2013(data, usage="Training")
    rows = np.arange(n) % len(faces.data)
    return faces.data[rows], faces.target[rows]


def get_split(usage, n, data=None):
    """Return faces (n, 48, 48) and labels (n,) as names: drawn, or a random sample of a split of a file."""
    if data is None:
        faces = make_faces(n, random_state=len(usage))
        rows = np.arange(n)
    else:
        faces = load_fer2013(data, usage=usage)
        rows = np.random.default_rng(0).permutation(len(faces.data))[:n]
    return faces.images[rows], faces.target_names[faces.target[rows]]


def alternate(sides, rounds, device="cpu", clock=perf_counter):
    """Run the sides alternately (A B A B …), so that other load on the machine affects all of them.

    Returns the seconds per round by this clock, and the last result of each side.
    """
    seconds, results = {side: [] for side in sides}, {}
    for _ in range(rounds):
        for side, run in sides.items():
            _synchronize(device)
            start = clock()
            results[side] = run()
            _synchronize(device)
            seconds[side].append(clock() - start)
    return seconds, results


def _synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def measure_peak(prepare, run, *arguments):
    """Return the peak memory of ``run(prepare(*arguments))`` in bytes, without the memory in use after `prepare`.

    It runs in a new process and only on Linux. ``ru_maxrss`` is not suitable: a process starts with the value of its
    parent, and the value includes temporary memory of the imports and of `prepare`.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_peak_growth, prepare, run, arguments).result()


def _peak_growth(prepare, run, arguments):
    prepared = prepare(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = read_memory("VmRSS")
    result = run(prepared)
    growth = read_memory("VmHWM") - before
    del result  # kept until here, because it counts as memory in use
    return growth


def read_memory(field):
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def speed_row(what, ours, theirs, *, n_images=None):
    """Return the table row of a speed ratio: how many times as fast ferkit is, from the seconds per round."""
    return _ratio_row(what, ours, theirs, np.divide(theirs, ours), n_images)


def time_row(what, ours, theirs):
    """Return the table row of a time ratio: how many times as long ferkit takes, from the seconds per round."""
    return _ratio_row(what, ours, theirs, np.divide(ours, theirs), None)


def _ratio_row(what, ours, theirs, ratios, n_images):
    def show(seconds):
        return (
            f"{1000 * median(seconds):,.4g} ms" if n_images is None else f"{n_images / median(seconds):,.0f} images/s"
        )

    return what, show(ours), show(theirs), f"{median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"


def value_row(what, value, *, form="{:.3g}"):
    """Return the table row of a single value of ferkit."""
    return what, form.format(value), "", "", ""


def print_table(rows, sides=("ferkit", "other")):
    """Print a Markdown table whose columns are also aligned as plain text."""
    rows = [("", *sides, "ratio", "range"), *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    for row in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
