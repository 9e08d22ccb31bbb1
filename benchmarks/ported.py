"""Compare two ported notebooks with their originals on 3,000 training faces, over three seeds.

The originals are a Keras notebook and a PyTorch loop, written as such notebooks are. Their ports are the two models of
docs/guide/coming_from.md, which this script reads from the page. Both sides train for fewer epochs than there, choose
the epoch on 300 faces of PublicTest and are scored on the other 3,289. The Keras notebook starts from weights and
averages batch norm as PyTorch does, so that only the recipes are compared. With Keras's own initial weights, it hardly
learns from 3,000 faces. Target: Welch's 95 % interval of the difference between the mean accuracies contains 0. Needs
`pip install keras`.

    python benchmarks/ported.py [--data fer2013.csv] [--quick]
"""

import os
import re
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from time import process_time

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch
from _common import parse_arguments
from keras import layers
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from scipy.stats import ttest_ind
from torch import nn
from torchvision.transforms import v2

from ferkit.backbones import resolve_backbone
from ferkit.datasets import load_fer2013, make_faces

PAGE = Path(__file__).parent.parent / "docs" / "guide" / "coming_from.md"


def keras_notebook(X, y, X_val, y_val, X_test, y_test, seed, epochs):
    keras.utils.set_random_seed(seed)
    X, X_val, X_test = (part.reshape(-1, 48, 48, 1) / 255.0 for part in (X, X_val, X_test))
    y, labels = keras.utils.to_categorical(y, 7), keras.utils.to_categorical(y_val, 7)
    initial = {"kernel_initializer": keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")}
    model = keras.Sequential([keras.Input((48, 48, 1))])
    for filters in (32, 64, 128):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu", **initial))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.MaxPooling2D())
        model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu", **initial))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(7, activation="softmax", **initial))
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="categorical_crossentropy", metrics=["accuracy"])
    flow = ImageDataGenerator(
        rotation_range=10, width_shift_range=0.1, height_shift_range=0.1, zoom_range=0.1, horizontal_flip=True
    ).flow(X, y, batch_size=64, seed=seed)
    callbacks = [
        keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=3),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=8, restore_best_weights=True),
    ]
    model.fit(flow, validation_data=(X_val, labels), epochs=epochs, callbacks=callbacks, verbose=0)
    return (model.predict(X_test, verbose=0).argmax(axis=1) == y_test).mean()


def pytorch_loop(X, y, X_val, y_val, X_test, y_test, seed, epochs):
    torch.manual_seed(seed)
    X, X_val, X_test = (torch.as_tensor(part).view(-1, 1, 48, 48).float() / 255 for part in (X, X_val, X_test))
    y, y_val, y_test = (torch.as_tensor(part) for part in (y, y_val, y_test))
    crop = v2.Compose([v2.RandomCrop(48, padding=4, padding_mode="reflect"), v2.RandomHorizontalFlip()])
    net = resolve_backbone("cnn_small").build(num_classes=7, in_channels=1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5)
    criterion, best, best_state = nn.CrossEntropyLoss(), 0.0, None

    def score(images, labels):
        net.eval()
        with torch.no_grad():
            probabilities = [net(torch.stack(v2.TenCrop(44)(part)).flatten(0, 1)) for part in images.split(64)]
        votes = torch.cat([part.softmax(1).view(10, -1, 7).mean(0) for part in probabilities])
        return (votes.argmax(1) == labels).double().mean().item()

    for _ in range(epochs):
        net.train()
        for rows in torch.randperm(len(X)).split(128):
            optimizer.zero_grad()
            criterion(net(torch.stack([crop(image) for image in X[rows]])), y[rows]).backward()
            optimizer.step()
        scheduler.step()
        accuracy = score(X_val, y_val)
        if accuracy > best:
            best, best_state = accuracy, deepcopy(net.state_dict())
    net.load_state_dict(best_state)
    return score(X_test, y_test)


EPOCHS = {keras_notebook: 20, pytorch_loop: 12}


def read_ports():
    """Return the two models of the page."""
    source = "".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[:2])
    source = re.sub(r"^(train, valid = |print).*\n|^model\.fit\((\n    .*)*\n\)\n", "", source, flags=re.MULTILINE)
    models, names = [], {}
    for part in re.split(r"(?=^model = )", source, flags=re.MULTILINE):
        exec(part, names)
        if "model" in names:
            models.append(names.pop("model"))
    return models


def train_port(model, X, y, X_val, y_val, X_test, y_test, seed, epochs):
    model.set_params(random_state=seed, max_epochs=epochs).fit(X, y, X_val=X_val, y_val=y_val)
    return model.score(X_test, y_test)


def main():
    arguments = parse_arguments(__doc__)
    if arguments.data is None:
        faces = make_faces(6589, random_state=0)
        (X, y), (X_test, y_test) = ((faces.data[rows], faces.target[rows]) for rows in (slice(3589, None), slice(3589)))
    else:
        (X, y), (X_test, y_test) = (
            load_fer2013(arguments.data, usage=usage, return_X_y=True) for usage in ("Training", "PublicTest")
        )
    n, n_valid, seeds = (300, 100, range(2)) if arguments.quick else (3000, 300, range(3))
    data = X[:n], y[:n], X_test[:n_valid], y_test[:n_valid], X_test[n_valid:], y_test[n_valid:]
    scores = {original: ([], []) for original in EPOCHS}
    for seed in seeds:
        for original, port in zip(EPOCHS, read_ports(), strict=True):
            for side, train, results in zip(
                ("original", "ferkit"), (original, partial(train_port, port)), scores[original], strict=True
            ):
                start = process_time()
                results.append(train(*data, seed, 2 if arguments.quick else EPOCHS[original]))
                seconds = process_time() - start
                print(f"seed {seed}, {original.__name__}, {side}: {results[-1]:.2%}, {seconds:.0f} s", flush=True)
        if seed:  # a table of what there is so far
            print_scores(scores)


def print_scores(scores):
    print("\n| notebook | original | ferkit | difference, points | 95 % interval |")
    print("| --- | --- | --- | ---: | --- |")
    for original, (theirs, ours) in scores.items():
        low, high = ttest_ind(ours, theirs, equal_var=False).confidence_interval()
        cells = (
            original.__name__.replace("_", " "),
            *(f"{mean(accuracies):.2%} ± {stdev(accuracies):.2%}" for accuracies in (theirs, ours)),
            f"{100 * (mean(ours) - mean(theirs)):+.2f}",
            f"{100 * low:+.2f} to {100 * high:+.2f}",
        )
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
