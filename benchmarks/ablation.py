"""Change one ingredient of a recipe at a time and compare the accuracy on PublicTest, over three seeds.

Each model is trained on Training. Every result is written to ``--out`` at once, and results that the file has are not
computed again, so the script can be stopped and continued. "without copies" leaves out the PublicTest faces that are
exact copies of Training faces. The difference is to the recipe with the same seed, with Student's 95 % interval.
Without ``--data``, faces are drawn.

    python benchmarks/ablation.py [--data fer2013.csv] [--ferplus fer2013new.csv] [--out ablation.jsonl] [--quick]
"""

import json
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from time import process_time

import numpy as np
from _common import parse_arguments
from scipy.stats import t
from torch import nn
from torchvision.ops import SqueezeExcitation

from ferkit import ImageAugmenter
from ferkit.backbones import CNN
from ferkit.backbones._cnn import ConvBlock
from ferkit.datasets import load_fer2013, load_ferplus, make_faces
from ferkit.recipes import make_classifier

RECIPE = "fast"
WIDTHS = (48, 96, 192, 256)


class FullResolution(CNN):
    """`CNN` whose first convolution keeps all pixels; a max-pooling follows the first stage."""

    def __init__(self, num_classes, in_channels):
        super().__init__(num_classes, in_channels)
        self.features[0] = ConvBlock(in_channels, WIDTHS[0], kernel_size=5)
        self.features.insert(2, nn.MaxPool2d(2))


class Stage(nn.Module):
    """Two convolutions with a shortcut around them, and optionally squeeze-and-excitation."""

    def __init__(self, channels, width, excite):
        super().__init__()
        self.convolutions = nn.Sequential(ConvBlock(channels, width), ConvBlock(width, width))
        self.shortcut = nn.Conv2d(channels, width, 1) if channels != width else nn.Identity()
        self.excite = SqueezeExcitation(width, width // 8) if excite else nn.Identity()

    def forward(self, x):
        return self.excite(self.convolutions(x)) + self.shortcut(x)


class Residual(CNN):
    """`CNN` with a shortcut around the convolutions of each stage."""

    excite = False

    def __init__(self, num_classes, in_channels):
        super().__init__(num_classes, in_channels)
        stages = [ConvBlock(in_channels, WIDTHS[0], kernel_size=5, stride=2), Stage(WIDTHS[0], WIDTHS[0], self.excite)]
        for channels, width in pairwise(WIDTHS):
            stages += [nn.MaxPool2d(2, ceil_mode=True), Stage(channels, width, self.excite)]
        self.features = nn.Sequential(*stages)


class SqueezeExcited(Residual):
    excite = True


INGREDIENTS = {
    "the recipe": {},
    "images shrunk to 32×32": {"input_size": 32},
    "no augmentation": {"augment": None},
    "flips only": {"augment": ImageAugmenter(rotation=0, translation=0, scale=0, contrast=0, brightness=0)},
    "random crops of 4 pixels": {"augment": ImageAugmenter(crop=4, translation=0)},
    "random erasing": {"augment": ImageAugmenter(erasing=0.5)},
    "mixup 0.2": {"mixup": 0.2},
    "no label smoothing": {"label_smoothing": 0.0},
    "last weights instead of their average": {"ema_decay": None},
    "cosine schedule": {"lr_schedule": "cosine"},
    "SGD with momentum": {"optimizer": "sgd"},
    "Adam": {"optimizer": "adam"},
    "twice the learning rate": {"lr": 2e-3},
    "no weight decay": {"weight_decay": 0.0},
    "no dropout": {"dropout": 0.0},
    "batches of 128": {"batch_size": 128},
    "shortcuts": {"backbone": Residual},
    "shortcuts, squeeze-and-excitation": {"backbone": SqueezeExcited},
    "labels of FER+ as distributions": {"ferplus": True},
    "stem with stride 1": {"backbone": FullResolution},
}
VIEWS = {"one view": None, "ten crops": "ten_crop", "8 random views": 8}  # of the recipe, at test time


def get_parts(data):
    if data is None:
        faces = make_faces(6000, random_state=0)
        return (faces.data[1000:], faces.target[1000:]), (faces.data[:1000], faces.target[:1000])
    return tuple(load_fer2013(data, usage=usage, return_X_y=True) for usage in ("Training", "PublicTest"))


def soften(X, y, arguments):
    """Return, for each face, the mean of its label and of the votes of FER+, if it has any, over the seven emotions."""
    soft = np.eye(7)[y]
    votes = load_ferplus(arguments.ferplus, fer2013=arguments.data, usage="Training", target="distribution")
    rows = {row.tobytes(): number for number, row in enumerate(X)}
    names = load_fer2013(arguments.data, usage="PublicTest").target_names
    columns = [list(votes.target_names).index(name) for name in names]
    for row, share in zip(votes.data, votes.target[:, columns], strict=True):
        if share.sum() > 0:
            number = rows[row.tobytes()]
            soft[number] = (soft[number] + share / share.sum()) / 2
    return soft


def train(params, seed, parts, is_copy, arguments):
    (X, y), (X_test, y_test) = parts
    views, params = {} if params else VIEWS, dict(params)
    if params.pop("ferplus", False):
        y = soften(X, y, arguments)
    model = make_classifier(RECIPE, device=arguments.device, random_state=seed, **params)
    if arguments.quick:
        model.set_params(max_epochs=2)
    start = process_time()
    model.fit(X, y)
    result = {"seconds": process_time() - start, "views": {}}

    def score():
        is_right = model.predict(X_test) == y_test
        return [float(is_right.mean()), float(is_right[~is_copy].mean())]

    result["accuracy"] = score()
    for name, tta in views.items():
        model.set_params(tta=tta)
        result["views"][name] = score()
    return result


def print_table(results, seeds):
    print("\n| ingredient | CPU time | PublicTest | without copies | difference, points |")
    print("| --- | ---: | --- | --- | --- |")
    base = results["the recipe"]
    rows = {name: ([each["accuracy"] for each in runs], runs) for name, runs in results.items()}
    rows |= {f"the recipe, {view}": ([each["views"][view] for each in base], base) for view in VIEWS}
    time = mean(each["seconds"] for each in base)
    for name, (scores, runs) in rows.items():
        cells = [f"{100 * mean(part):.2f} % ± {100 * stdev(part):.2f}" for part in zip(*scores, strict=True)]
        gains = [100 * (ours[0] - theirs["accuracy"][0]) for ours, theirs in zip(scores, base, strict=True)]
        half = t.ppf(0.975, len(seeds) - 1) * stdev(gains) / len(seeds) ** 0.5
        gain = (
            ""
            if name == "the recipe"
            else f"{mean(gains):+.2f} ({mean(gains) - half:+.2f} to {mean(gains) + half:+.2f})"
        )
        print(f"| {name} | × {mean(each['seconds'] for each in runs) / time:.2f} | {' | '.join(cells)} | {gain} |")


def main():
    arguments = parse_arguments(__doc__, ferplus="votes of FER+, fer2013new.csv", out="file for results, JSON lines")
    seeds = range(2) if arguments.quick else range(3)
    parts = get_parts(arguments.data)
    trained = {row.tobytes() for row in parts[0][0]}
    is_copy = np.array([row.tobytes() in trained for row in parts[1][0]])
    path, known = Path(arguments.out or "ablation.jsonl"), {}
    for line in path.read_text().splitlines() if path.exists() else ():
        result = json.loads(line)
        known[result["name"], result["seed"]] = result
    names = [name for name in INGREDIENTS if arguments.ferplus or "ferplus" not in INGREDIENTS[name]]
    for seed in seeds:
        for name in names:
            if (name, seed) not in known:
                result = {"name": name, "seed": seed, **train(INGREDIENTS[name], seed, parts, is_copy, arguments)}
                known[name, seed] = result
                with path.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                print(f"{name}, seed {seed}: {result['accuracy'][0]:.2%}, {result['seconds']:.0f} s", flush=True)
    print_table({name: [known[name, seed] for seed in seeds] for name in names}, seeds)


if __name__ == "__main__":
    main()
