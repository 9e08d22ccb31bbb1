"""Compare FERClassifier.fit with a bare PyTorch loop and with plain skorch, in images per second.

*Bare PyTorch* is the loop below. It does the same arithmetic with the same network on uint8 images that stay on the
device: augmentation, autocast, channels-last, AdamW, a one-cycle schedule, label smoothing and averaged weights. It
starts from the same seed, so the losses must agree. FERClassifier additionally records its history and draws a progress
bar, which is discarded. Target: at least 0.98 times the speed of the loop on a CPU, 0.90 times on a GPU. On a CPU, the
second row compares the CPU time on one thread, which other load on the machine hardly changes.

*Plain skorch* is a NeuralNetClassifier in float32 with a DataLoader that augments one PIL image at a time, as users
write it. On a CPU the DataLoader has no workers, because they would take cores from the network. On a GPU it has one
worker per core. Target: at least 2.3 times its speed on a CPU, 10 times on a GPU.

A run is a complete fit of two epochs. The last row is the peak memory of one epoch on as many faces as FER2013 has for
training, including the images. Target: at most 1.2 GB without the imports.

    python benchmarks/training.py [--device cuda] [--data fer2013.csv] [--quick]
"""

import os
from contextlib import nullcontext, redirect_stdout
from copy import deepcopy
from functools import partial
from time import process_time

import numpy as np
import torch
import torch.nn.functional as F
from _common import (
    MB,
    alternate,
    count_cores,
    get_faces,
    measure_peak,
    parse_arguments,
    print_table,
    speed_row,
    value_row,
)
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import Dataset
from torchvision import transforms

from ferkit import FERClassifier, ImageAugmenter
from ferkit.backbones._registry import BACKBONES

SEED = 0
EPOCHS = 2
BACKBONE = BACKBONES["cnn"]
DEFAULTS = FERClassifier(batch_size=256)
WEIGHT_DECAY = 0.05


def fit_ferkit(data, target, device):
    model = FERClassifier(batch_size=256, max_epochs=EPOCHS, device=device, random_state=SEED, verbose=1)
    with open(os.devnull, "w") as screen, redirect_stdout(screen):
        model.fit(data, target)
    return model.history_[-1]["train_loss"]


def fit_bare(data, target, device, precision, **backbone_params):
    # FERClassifier draws its seed in the same way, so both sides have the same weights and batches
    seed = np.random.RandomState(SEED).randint(np.iinfo(np.int32).max)
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    side = round(data.shape[1] ** 0.5)
    images = torch.from_numpy(data).view(-1, 1, side, side).to(device)
    labels = torch.from_numpy(target).to(device)
    std, mean = torch.std_mean(images.float(), correction=0)
    augment = ImageAugmenter()
    autocast = partial(torch.autocast, device, precision) if precision != torch.float32 else nullcontext

    net = (
        BACKBONE.build(num_classes=7, in_channels=1, **backbone_params)
        .to(device, memory_format=torch.channels_last)
        .train()
    )
    weights = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in net.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights}, {"params": others, "weight_decay": 0.0}],
        lr=BACKBONE.lr,
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )
    batches = -(-len(images) // DEFAULTS.batch_size)
    schedule = OneCycleLR(optimizer, BACKBONE.lr, total_steps=EPOCHS * batches, cycle_momentum=False)
    current, averaged = (
        [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
        for model in (net, deepcopy(net))
    )

    steps = 0
    for _ in range(EPOCHS):
        losses = []
        for batch in torch.randperm(len(images), generator=generator, device=device).tensor_split(batches):
            inputs = (augment(images[batch].float(), generator=generator) - mean) / std
            with autocast():
                logits = net(inputs.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), labels[batch], label_smoothing=DEFAULTS.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            steps += 1
            torch._foreach_lerp_(averaged, current, 1 - min(DEFAULTS.ema_decay, steps / (9 + steps)))
            losses.append(loss.detach())
        mean_loss = torch.stack(losses).mean().item()
    return mean_loss


class Faces(Dataset):
    """Data set that augments one face at a time, with the same kinds of changes as ImageAugmenter."""

    def __init__(self, data, target):
        self.images, self.target = data.reshape(-1, 48, 48), target
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomHorizontalFlip(),
                transforms.RandomAffine(
                    10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=transforms.InterpolationMode.BILINEAR
                ),
                transforms.ColorJitter(contrast=0.2),
                transforms.ToTensor(),
                transforms.Normalize(data.mean() / 255, data.std() / 255),
            ]
        )

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(self.images[index]), self.target[index]


def fit_skorch(data, target, device):
    torch.manual_seed(SEED)
    batches = -(-len(data) // DEFAULTS.batch_size)
    net = NeuralNetClassifier(
        BACKBONE.build,
        module__num_classes=7,
        criterion=torch.nn.CrossEntropyLoss,
        criterion__label_smoothing=DEFAULTS.label_smoothing,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=WEIGHT_DECAY,
        lr=BACKBONE.lr,
        max_epochs=EPOCHS,
        batch_size=DEFAULTS.batch_size,
        iterator_train__shuffle=True,
        iterator_train__num_workers=count_cores() if device == "cuda" else 0,
        iterator_train__pin_memory=device == "cuda",
        train_split=None,
        callbacks=[
            LRScheduler(
                OneCycleLR,
                max_lr=BACKBONE.lr,
                total_steps=EPOCHS * batches,
                cycle_momentum=False,
                step_every="batch",
            )
        ],
        device=device,
        verbose=0,
    )
    net.fit(Faces(data, target), y=None)
    return net.history[-1]["train_loss"]


def fit_one_epoch(faces):
    FERClassifier(max_epochs=1, device="cpu").fit(*faces)


def main():
    arguments = parse_arguments(__doc__)
    device, on_gpu = arguments.device, arguments.device == "cuda"
    os.environ["FORCE_COLOR"] = "1"  # makes rich draw the progress bar without a terminal
    n_images, rounds = (512, (2, 2)) if arguments.quick else (28_709, (5, 3)) if on_gpu else (4096, (9, 5))
    data, target = get_faces(n_images, arguments.data)
    precision = getattr(torch, FERClassifier(device=device, max_epochs=1).fit(data[:256], target[:256]).precision_)
    print(f"{rounds[0]} and {rounds[1]} fits with {EPOCHS} epochs and {n_images:,} faces, {precision}", end="\n\n")

    rivals = [
        ("bare PyTorch", partial(fit_bare, precision=precision)),
        ("plain skorch", fit_skorch),
    ]
    rows, losses = [], {}
    for (rival, fit_rival), n_rounds in zip(rivals, rounds, strict=True):
        sides = {"ferkit": fit_ferkit, rival: fit_rival}
        alternate({side: partial(fit, data[:256], target[:256], device) for side, fit in sides.items()}, 1, device)
        fits = {side: partial(fit, data, target, device) for side, fit in sides.items()}
        seconds, last = alternate(fits, n_rounds, device)
        rows.append(speed_row(f"vs. {rival}", seconds["ferkit"], seconds[rival], n_images=EPOCHS * n_images))
        losses |= last
        if rival == "bare PyTorch" and not on_gpu:
            n_threads = torch.get_num_threads()
            torch.set_num_threads(1)
            seconds, _ = alternate(fits, 2 if arguments.quick else 4, clock=process_time)
            torch.set_num_threads(n_threads)
            rows.append(speed_row("the same, CPU time", seconds["ferkit"], seconds[rival], n_images=EPOCHS * n_images))
    if not on_gpu:
        n_fer2013 = 1024 if arguments.quick else 28_709
        peak = measure_peak(get_faces, fit_one_epoch, n_fer2013, arguments.data)
        rows.append(value_row(f"peak memory, {n_fer2013:,} faces", peak / MB, form="{:,.0f} MB"))
    print_table(rows)
    print("\nLoss of the last epoch:", ", ".join(f"{side} {loss:.4f}" for side, loss in losses.items()))


if __name__ == "__main__":
    main()
