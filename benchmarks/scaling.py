"""Measure time and memory of one epoch for different numbers of faces, image sizes and numbers of parameters.

Each row compares one epoch of a complete ``FERClassifier.fit`` with one epoch of the bare loop of ``training.py``; both
run alternately. Their ratio is the overhead of ferkit, which should stay constant. Memory is the peak of the fit
without the imports, in a new process. ``--data`` is ignored, because drawn faces cost the same.

    python benchmarks/scaling.py [--device cuda] [--quick]
"""

from functools import partial
from statistics import median

import numpy as np
import torch
import training
from _common import MB, alternate, measure_peak, parse_arguments

from ferkit import FERClassifier
from ferkit.datasets import make_faces

WIDTHS = (48, 96, 192, 256)
CASES = [
    # number of faces, image side, factor on the widths
    (1000, 48, 1),
    (4000, 48, 1),
    (16_000, 48, 1),
    (28_709, 48, 1),
    (1000, 96, 1),
    (250, 224, 1),
    (4000, 48, 0.5),
    (1000, 48, 2),
]


def get_drawn(n, side):
    faces = make_faces(n, size=side, random_state=0)
    return faces.data, faces.target


def fit_once(faces, widths, device):
    FERClassifier(backbone_params={"widths": widths}, max_epochs=1, device=device, random_state=0).fit(*faces)


def main():
    arguments = parse_arguments(__doc__)
    device = arguments.device
    training.EPOCHS = 1
    precision = getattr(torch, FERClassifier(max_epochs=1, device=device).fit(*get_drawn(64, 48)).precision_)
    print("| faces  | size    | parameters | ferkit, s | bare, s | speed vs. bare  | images/s | peak memory, MB |")
    print("| ------ | ------- | ---------- | --------- | ------- | --------------- | -------- | --------------- |")
    for n, side, factor in CASES:
        n = n // 20 if arguments.quick else n
        widths = tuple(int(factor * width) for width in WIDTHS)
        data, target = get_drawn(n, side)
        sides = {
            "ferkit": partial(fit_once, (data, target), widths, device),
            "bare": partial(training.fit_bare, data, target, device, precision, widths=widths),
        }
        seconds, _ = alternate(sides, 2 if n > 10_000 else 3, device)
        network = training.BACKBONE.build(num_classes=7, in_channels=1, widths=widths)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        memory = (
            "" if device == "cuda" else f"{measure_peak(partial(get_drawn, n), partial(_fit, widths), side) / MB:,.0f}"
        )
        ours, bare = median(seconds["ferkit"]), median(seconds["bare"])
        ratio = median(np.divide(seconds["bare"], seconds["ferkit"]))
        print(
            f"| {n:6,} | {side}×{side:<4} | {parameters / 1e6:8.2f} M | {ours:9.2f} | {bare:7.2f} | {ratio:15.2f} "
            f"| {n / ours:8,.0f} | {memory:>15} |",
            flush=True,
        )


def _fit(widths, faces):
    fit_once(faces, widths, "cpu")


if __name__ == "__main__":
    main()
