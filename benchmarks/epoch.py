"""Find where the time of a training epoch goes, and try what could save some of it.

The first table is a profile of `FERClassifier.fit`: the share of each kind of work. Below it, the arithmetic of the
network, 3 times that of its forward pass, is compared with the speed of a matrix product of the same precision.

The second table compares attempts at a faster step with the step of `FERClassifier`: forward and backward pass,
optimizer and moving average, on images that are already augmented. Its ratios are images per second divided by those of
the present step; all sides take turns. Attempts that change the network also state its cost. An attempt that fails, or
needs more than three minutes for its first step, has a row with the reason.

    python benchmarks/epoch.py [--device cuda] [--data fer2013.csv] [--quick]

On two cores, it takes two minutes, and up to six more to compile. `--quick` leaves the compiled attempts out.
"""

import os
import signal
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing import get_context
from statistics import median
from time import perf_counter
from timeit import repeat

import torch
import torch.nn.functional as F
from _common import alternate, get_faces, parse_arguments
from torch import nn
from torch.profiler import ProfilerActivity, profile

from ferkit import FERClassifier
from ferkit.backbones import CNN, summarize

BATCH = 256
KINDS = {  # kinds of work, by the names of PyTorch's operations; the first that matches counts
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("mkldnn_convolution", "cudnn_convolution", "convolution"),
    "batch norm": ("batch_norm",),
    "max-pooling": ("max_pool",),
    "ReLU": ("clamp_min", "relu", "threshold_backward"),
    "augmentation": ("grid_sampl", "affine_grid", "flip", "rand", "uniform", "where", "bernoulli"),
    "optimizer": ("adam",),
    "moving average": ("lerp",),
    "casts and copies": ("copy_", "_to_copy", "index", "clone", "zero", "fill"),
}


def count_time(data, target, device):
    """Return the seconds of a `fit` of one epoch, of another one that is profiled, and of each kind of work in it."""
    model = FERClassifier(batch_size=BATCH, max_epochs=1, device=device, random_state=0)
    model.fit(data[: 2 * BATCH], target[: 2 * BATCH])
    start = perf_counter()
    model.fit(data, target)
    plain = perf_counter() - start
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as profiled:
        start = perf_counter()
        model.fit(data, target)
        total = perf_counter() - start
    seconds = dict.fromkeys([*KINDS, "other operations"], 0.0)
    for event in profiled.key_averages():
        if event.key.startswith("aten::"):
            kind = next((kind for kind, names in KINDS.items() if any(name in event.key for name in names)), None)
            spent = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
            seconds[kind or "other operations"] += spent / 1e6
    return plain, total, seconds | {"Python, and waiting for the operations": max(0.0, total - sum(seconds.values()))}


def multiply_per_second(dtype, device, n=1024):
    """Return how many operations per second a product of square matrices reaches, in the best of many."""
    a = torch.ones(n, n, dtype=dtype, device=device)

    def run():
        product = a @ a
        return product[0, 0].item() if device == "cuda" else product

    return 2 * n**3 / min(repeat(run, number=1, repeat=50))


class SpaceToDepth(nn.Module):
    """The network with a first convolution on 2×2 blocks of pixels, which become channels."""

    def __init__(self):
        super().__init__()
        self.network = CNN(7, 4)
        self.network.features[0][0] = nn.Conv2d(4, 48, 3, padding=1, bias=False)

    def forward(self, x):
        return self.network(F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last))


def build_step(device, precision, *, build, batch=BATCH, compiled=None, parts=1, **optimizer):
    """Return a function that trains on `BATCH` images, in steps of ``batch``, each in a number of parts."""
    torch.manual_seed(0)
    network = build().to(device, memory_format=torch.channels_last).train()
    average = [parameter.detach().clone() for parameter in network.parameters()]
    update = torch.optim.AdamW(network.parameters(), **(optimizer or {"fused": True}))
    images = torch.randn(max(batch, BATCH), 1, 48, 48, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(7, (len(images),), device=device)
    forward = torch.compile(network, mode=compiled) if compiled else network
    autocast = partial(torch.autocast, device, precision) if precision != torch.float32 else nullcontext

    def step(x, y):
        update.zero_grad()
        for some, truth in zip(x.tensor_split(parts), y.tensor_split(parts), strict=True):
            with autocast():
                logits = forward(some)
            (F.cross_entropy(logits.float(), truth, label_smoothing=0.1) / parts).backward()
        update.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(network.parameters()), 0.005)

    def run():
        for x, y in zip(images.split(batch), labels.split(batch), strict=True):
            step(x, y)

    return run, len(images)


@contextmanager
def limited(seconds):
    """Raise TimeoutError in the block after this time."""

    def stop(*_):
        raise TimeoutError(f"not ready after {seconds} seconds")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def start_uncached(device, precision):
    """Return a function that runs the present step in a process where oneDNN does not keep its primitives."""
    os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "0"  # is read when the process starts
    process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    process.submit(_keep_step, device, precision, torch.get_num_threads()).result()
    del os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]
    return lambda: process.submit(_run_step).result()


def _keep_step(device, precision, n_threads):
    global kept_step
    torch.set_num_threads(n_threads)
    kept_step, _ = build_step(device, precision, build=partial(CNN, 7))


def _run_step():
    kept_step()


def main():
    arguments = parse_arguments(__doc__)
    device = arguments.device
    warnings.simplefilter("ignore")  # about the few steps of a short training
    n_faces, rounds = (1024, 2) if arguments.quick else (4096, 15)
    data, target = get_faces(n_faces, arguments.data)
    precision = getattr(torch, FERClassifier(device=device, max_epochs=1).fit(data[:256], target[:256]).precision_)
    plain, total, seconds = count_time(data, target, device)
    print("| | share of an epoch |\n| --- | ---: |")
    for kind, spent in seconds.items():
        print(f"| {kind} | {100 * spent / total:.1f} % |")
    peak, flops = multiply_per_second(precision, device), 3 * summarize(CNN(7), (1, 48, 48)).flops
    reached = flops * n_faces / plain
    print(
        f"\n{n_faces / plain:,.0f} images per second. Arithmetic: {flops / 1e6:.0f} million operations per image, "
        f"{reached / 1e9:,.0f} billion per second; {100 * reached / peak:.0f} % of the "
        f"{peak / 1e9:,.0f} billion of a product.\n"
    )

    attempts = {
        "present": {},
        "AdamW with foreach": {"foreach": True},
        "AdamW one tensor at a time": {"foreach": False},
        "batches of 128": {"batch": 128},
        "batches of 512": {"batch": 512},
        "batches in 4 parts, with batch norm of each": {"parts": 4},
        "widths 64, 96, 192, 256": {"build": partial(CNN, 7, widths=(64, 96, 192, 256))},
        "widths 32, 96, 192, 256": {"build": partial(CNN, 7, widths=(32, 96, 192, 256))},
        "stem on 2×2 blocks of pixels": {"build": SpaceToDepth},
    }
    if not arguments.quick:
        attempts["torch.compile"] = {"compiled": "default"}
        attempts["torch.compile with max-autotune"] = {"compiled": "max-autotune"}
    sides, sizes, failed = {}, {}, {}
    for name, changes in attempts.items():
        sides[name], sizes[name] = build_step(device, precision, **{"build": partial(CNN, 7), **changes})
    if device == "cpu":
        name = "without oneDNN's cache of primitives"
        attempts[name], sides[name], sizes[name] = {}, start_uncached(device, precision), BATCH
    for name in list(sides):
        try:
            with limited(180):
                alternate({name: sides[name]}, 2, device)
        except Exception as error:  # such as a compiler that is not installed
            failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            del sides[name]
    times, _ = alternate(sides, rounds, device)
    print("| | MFLOP per image | images/s | ratio | range |\n| --- | ---: | ---: | ---: | --- |")
    for name, spent in times.items():
        network = attempts[name].get("build", partial(CNN, 7))()
        speeds = [sizes[name] / each for each in spent]
        ratios = [speed / (BATCH / own) for speed, own in zip(speeds, times["present"], strict=True)]
        print(
            f"| {name} | {3 * summarize(network, (1, 48, 48)).flops / 1e6:.0f} | {median(speeds):,.0f} | "
            f"{median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |"
        )
    for name, error in failed.items():
        print(f"| {name} | | {error} | | |")


if __name__ == "__main__":
    main()
