"""Change one ingredient of a training at a time and compare the accuracy on PublicTest, over three seeds.

Each model is trained on Training. Every result is written to ``--out`` at once, and results that the file has are not
computed again, so the script can be stopped and continued. "without copies" leaves out the PublicTest faces that are
exact copies of Training faces. The difference is to the base training with the same seed, with Student's 95 % interval.
``--jobs`` trains several models at the same time. ``--weights`` names the ImageNet weights that `benchmarks/lite0.py`
writes. Without ``--data``, faces are drawn.

    python benchmarks/ablation.py [--data fer2013.csv] [--ferplus fer2013new.csv] [--weights lite0.safetensors]
        [--out ablation.jsonl] [--device cuda] [--jobs 4] [--quick]
"""

import json
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from _common import parse_arguments
from joblib import Parallel, delayed
from scipy.stats import t
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from torch import nn
from torch.optim.swa_utils import update_bn
from torchvision.ops import SqueezeExcitation
from torchvision.transforms.v2.functional import center_crop, resize

from ferkit import FERClassifier, ImageAugmenter
from ferkit.backbones import CNN
from ferkit.backbones._cnn import ConvBlock
from ferkit.datasets import load_fer2013, load_ferplus, make_faces
from ferkit.training import ClassifierNet

BASE = {"max_epochs": 9}
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


class CutMixNet(ClassifierNet):
    """Pastes a box of another image into each image (Yun et al., ICCV 2019) instead of mixing all pixels."""

    def mix(self, images):
        height, width = images.shape[2:]
        side = (1 - self.mixup_rng_.beta(self.mixup, self.mixup)) ** 0.5
        center = self.mixup_rng_.random(2)
        top, bottom = (round(height * min(max(center[0] + half, 0), 1)) for half in (-side / 2, side / 2))
        left, right = (round(width * min(max(center[1] + half, 0), 1)) for half in (-side / 2, side / 2))
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images.flip(0)[:, :, top:bottom, left:right]
        return mixed, 1 - (bottom - top) * (right - left) / (height * width)


class CutMixClassifier(FERClassifier):
    _net = CutMixNet


class SAM(torch.optim.AdamW):
    """AdamW with the gradient at the worst point nearby (Foret et al., ICLR 2021), for a new draw of augmentation."""

    def step(self, closure):
        closure()
        weights = [part for group in self.param_groups for part in group["params"]]
        gradients = [weight.grad for weight in weights]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        steps = torch._foreach_mul(gradients, 0.05 / norm)
        with torch.no_grad():
            torch._foreach_add_(weights, steps)
        loss = closure()
        with torch.no_grad():
            torch._foreach_sub_(weights, steps)
        super().step()
        return loss


def at_three_scales(images):
    """Return views of 100, 92 and 83 % of the images, and their mirror images."""
    views = [resize(center_crop(images, side), images.shape[2:]) for side in (48, 44, 40)]
    return [*views, *(view.flip(3) for view in views)]


INGREDIENTS = {
    "the base training": {},
    "images shrunk to 32×32": {"input_size": 32},
    "no augmentation": {"augment": None},
    "flips only": {"augment": ImageAugmenter(rotation=0, translation=0, scale=0, contrast=0, brightness=0)},
    "random crops of 4 pixels": {"augment": ImageAugmenter(crop=4, translation=0)},
    "random erasing": {"augment": ImageAugmenter(erasing=0.5)},
    "mixup 0.2": {"mixup": 0.2},
    "CutMix": {"estimator": CutMixClassifier, "mixup": 1.0},
    "no label smoothing": {"label_smoothing": 0.0},
    "last weights instead of their average": {"ema_decay": None},
    "cosine schedule": {"lr_schedule": "cosine"},
    "SGD with momentum": {"optimizer": "sgd"},
    "Adam": {"optimizer": "adam"},
    "Muon": {"optimizer": "muon"},
    "sharpness-aware minimization, twice the computation": {
        "net_params": {"optimizer": SAM, "optimizer__weight_decay": 0.05}
    },
    "twice the learning rate": {"lr": 2e-2},
    "half the learning rate": {"lr": 5e-3},
    "no weight decay": {"weight_decay": 0.0},
    "no dropout": {"dropout": 0.0},
    "batches of 128": {"batch_size": 128},
    "shortcuts": {"backbone": Residual},
    "shortcuts, squeeze-and-excitation": {"backbone": SqueezeExcited},
    "labels of FER+ as distributions": {"ferplus": True},
    "distillation: labels blended with predictions out-of-fold, three times more trainings": {"distill": True},
    "stem with stride 1": {"backbone": FullResolution},
    "EfficientNet-Lite0 at 96×96, from ImageNet weights": {
        "backbone": "timm/tf_efficientnet_lite0",
        "weights": "imagenet",
        "input_size": 96,
        "frozen_epochs": 1,
        "lr": 1e-3,
    },
}
VIEWS = {  # of the base training, at test time
    "one view": None,
    "ten crops": "ten_crop",
    "8 random views": 8,
    "three scales": at_three_scales,
}
FERPLUS_NAMES = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
RECALIBRATED = "batch norm recalibrated with the averaged weights"


def get_parts(data):
    if data is None:
        faces = make_faces(6000, random_state=0)
        return (faces.data[1000:], faces.target[1000:]), (faces.data[:1000], faces.target[:1000])
    return tuple(load_fer2013(data, usage=usage, return_X_y=True) for usage in ("Training", "PublicTest"))


def soften(X, y, arguments):
    """Return, for each face, the mean of its label and of the votes of FER+, if it has any, over the seven emotions."""
    soft = np.eye(7)[y]
    votes = load_ferplus(arguments.ferplus, fer2013=arguments.data, usage="Training", target="distribution")
    names = load_fer2013(arguments.data, usage="PublicTest").target_names
    columns = [list(votes.target_names).index(FERPLUS_NAMES.get(name, name)) for name in names]
    rows = {}
    for number, row in enumerate(X):
        rows.setdefault(row.tobytes(), []).append(number)
    for row, share in zip(votes.data, votes.target[:, columns], strict=True):
        number = rows[row.tobytes()].pop(0)  # copies are in the same order
        if share.sum() > 0:
            soft[number] = (soft[number] + share / share.sum()) / 2
    return soft


def blend(model, X, y):
    """Return, for each face, the mean of its label and of the prediction of a model that has not seen it or a copy."""
    copies = np.unique(X, axis=0, return_inverse=True)[1].ravel()
    folds = StratifiedGroupKFold(3, shuffle=True, random_state=model.random_state)
    return (np.eye(7)[y] + cross_val_predict(model, X, y, groups=copies, cv=folds, method="predict_proba")) / 2


def train(params, seed, parts, is_copy, arguments):
    (X, y), (X_test, y_test) = parts
    is_base, params = not params, dict(params)
    estimator = params.pop("estimator", FERClassifier)
    softens, distills = params.pop("ferplus", False), params.pop("distill", False)
    if params.get("weights"):
        params["weights"] = arguments.weights
    model = estimator(**{**BASE, "device": arguments.device, "random_state": seed, **params})
    if arguments.quick:
        model.set_params(max_epochs=2)
    if softens:
        y = soften(X, y, arguments)
    if distills:
        y = blend(model, X, y)
        model.set_params(label_smoothing=0.0)
    model.fit(X, y)

    def score():
        is_right = model.predict(X_test) == y_test
        return [float(is_right.mean()), float(is_right[~is_copy].mean())]

    result = {"accuracy": score(), "views": {}}
    for name, tta in VIEWS.items() if is_base else ():
        model.set_params(tta=tta)
        result["views"][name] = score()
    if is_base:
        model.set_params(tta="auto")
        images = torch.tensor(X).view(-1, 1, 48, 48).to(model.device_)
        update_bn(images.split(256), model.network_)
        model.network_.eval()
        result["views"][RECALIBRATED] = score()
    return result


def print_table(results):
    """Print the table of the results, by name and seed."""
    print("\n| ingredient | seeds | PublicTest | without copies | difference, points |")
    print("| --- | ---: | --- | --- | --- |")
    base = results["the base training"]
    rows = {name: {seed: run["accuracy"] for seed, run in runs.items()} for name, runs in results.items()}
    rows |= {
        f"the base training, {name}": {seed: run["views"][name] for seed, run in base.items()}
        for name in (*VIEWS, RECALIBRATED)
    }
    gain_of = {
        name: mean(score[0] - base[seed]["accuracy"][0] for seed, score in scores.items())
        for name, scores in rows.items()
    }
    for name, scores in sorted(rows.items(), key=lambda row: -gain_of[row[0]]):
        cells = [mean_and_spread(part) for part in zip(*scores.values(), strict=True)]
        gains = [100 * (score[0] - base[seed]["accuracy"][0]) for seed, score in scores.items()]
        gain = f"{100 * gain_of[name]:+.2f}"
        if len(gains) > 1:
            half = t.ppf(0.975, len(gains) - 1) * stdev(gains) / len(gains) ** 0.5
            gain += f" ({mean(gains) - half:+.2f} to {mean(gains) + half:+.2f})"
        print(f"| {name} | {len(gains)} | {' | '.join(cells)} | {'' if name == 'the base training' else gain} |")


def mean_and_spread(scores):
    spread = f" ± {100 * stdev(scores):.2f}" if len(scores) > 1 else ""
    return f"{100 * mean(scores):.2f} %{spread}"


def main():
    arguments = parse_arguments(
        __doc__,
        ferplus="votes of FER+, fer2013new.csv",
        weights="ImageNet weights, lite0.safetensors",
        out="file for results, JSON lines",
        jobs="number of models that are trained at the same time",
    )
    seeds = range(2) if arguments.quick else range(3)
    parts = get_parts(arguments.data)
    trained = {row.tobytes() for row in parts[0][0]}
    is_copy = np.array([row.tobytes() in trained for row in parts[1][0]])
    path = Path(arguments.out or "ablation.jsonl")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [
        name
        for name, params in INGREDIENTS.items()
        if (arguments.ferplus or "ferplus" not in params) and (arguments.weights or "weights" not in params)
    ]

    def run(name, seed):
        return {"name": name, "seed": seed, **train(INGREDIENTS[name], seed, parts, is_copy, arguments)}

    results = {name: {} for name in names}
    for result in map(json.loads, lines):
        results[result["name"]][result["seed"]] = result
    missing = [(name, seed) for seed in seeds for name in names if seed not in results[name]]
    parallel = Parallel(int(arguments.jobs or 1), return_as="generator_unordered")
    for result in parallel(delayed(run)(name, seed) for name, seed in missing):
        results[result["name"]][result["seed"]] = result
        with path.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(f"{result['name']}, seed {result['seed']}: {result['accuracy'][0]:.2%}", flush=True)
    print_table(results)


if __name__ == "__main__":
    main()
