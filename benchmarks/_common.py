"""What the benchmarks share: their options, a line on the machine, sides timed in turn, peak memory, one table."""

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


def parse_arguments(description):
    """The options that every benchmark has; prints the machine."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--data", metavar="fer2013.csv", help="real faces, instead of drawn ones")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs: no measurement")
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
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def get_faces(n, data=None):
    """Pixels (n, 2304) and codes (n,) of `n` training faces, drawn or, over and over if need be, from a file."""
    faces = make_faces(n, random_state=0) if data is None else load_fer2013(data, usage="Training")
    rows = np.arange(n) % len(faces.data)
    return faces.data[rows], faces.target[rows]


def alternate(sides, rounds, device="cpu"):
    """Run the sides in turn, A B A B …, so that whatever else the machine does hits all of them.

    Returns the seconds of each side, one for each round, and what each returned last.
    """
    seconds, results = {side: [] for side in sides}, {}
    for _ in range(rounds):
        for side, run in sides.items():
            _synchronize(device)
            start = perf_counter()
            results[side] = run()
            _synchronize(device)
            seconds[side].append(perf_counter() - start)
    return seconds, results


def _synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def measure_peak(prepare, run, *arguments):
    """Most bytes that ``run(prepare(*arguments))`` held beyond what `prepare` left, in a fresh process. Linux only.

    Not ``ru_maxrss``: a process starts with its parent's, and keeps what the imports and `prepare` needed for a while.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_peak_growth, prepare, run, arguments).result()


def _peak_growth(prepare, run, arguments):
    prepared = prepare(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _memory("VmRSS")
    result = run(prepared)
    growth = _memory("VmHWM") - before
    del result  # until here, for it counts as held
    return growth


def _memory(field):
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def speed_row(what, ours, theirs, at_least, *, n_images=None):
    """Row for how many times as fast ferkit is, from the seconds of each round."""
    return _ratio_row(what, ours, theirs, np.divide(theirs, ours), np.greater_equal, at_least, n_images)


def time_row(what, ours, theirs, at_most):
    """Row for how many times as long ferkit takes, from the seconds of each round."""
    return _ratio_row(what, ours, theirs, np.divide(ours, theirs), np.less_equal, at_most, None)


def _ratio_row(what, ours, theirs, ratios, meets, bar, n_images):
    def show(seconds):
        return (
            f"{1000 * median(seconds):,.4g} ms" if n_images is None else f"{n_images / median(seconds):,.0f} images/s"
        )

    ratio = median(ratios)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    sign = "≥" if meets is np.greater_equal else "≤"
    return what, show(ours), show(theirs), f"{ratio:.2f}", spread, f"{sign} {bar:g}", _yes(meets(ratio, bar))


def value_row(what, value, at_most=None, *, form="{:.3g}"):
    """Row for a single figure of ferkit's."""
    if at_most is None:
        return what, form.format(value), "", "", "", "", ""
    return what, form.format(value), "", "", "", "≤ " + form.format(at_most), _yes(value <= at_most)


def _yes(met):
    return "yes" if met else "NO"


def print_table(rows, sides=("ferkit", "other")):
    """Print a Markdown table that is aligned as plain text too."""
    rows = [("", *sides, "ratio", "range", "bar", "met"), *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    for row in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
