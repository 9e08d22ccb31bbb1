"""Compare two ported notebooks with their originals on 3,000 training faces, over three seeds.

The originals are a Keras notebook and a PyTorch loop, written as such notebooks are. Their ports are the two models of
docs/guide/coming_from.md, which this script reads from the page. Target: the mean accuracies on PublicTest differ by
less than two standard errors of their difference. Needs `pip install keras`.

    python benchmarks/ported.py [--data fer2013.csv] [--quick]
"""

import os
import re
from pathlib import Path
from statistics import mean, stdev

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from _common import parse_arguments
from keras import layers
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from torch import nn
from torchvision.transforms import v2

from ferkit.backbones import resolve_backbone
from ferkit.datasets import load_fer2013, make_faces

PAGE = Path(__file__).parent.parent / "docs" / "guide" / "coming_from.md"


def keras_notebook(X, y, X_val, y_val, seed, epochs):
    keras.utils.set_random_seed(seed)
    X, X_val = X.reshape(-1, 48, 48, 1) / 255.0, X_val.reshape(-1, 48, 48, 1) / 255.0
    y, labels = keras.utils.to_categorical(y, 7), keras.utils.to_categorical(y_val, 7)
    model = keras.Sequential([keras.Input((48, 48, 1))])
    for filters in (32, 64, 128):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.BatchNormalization())
        model.add(layers.MaxPooling2D())
        model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(7, activation="softmax"))
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="categorical_crossentropy", metrics=["accuracy"])
    flow = ImageDataGenerator(
        rotation_range=10, width_shift_range=0.1, height_shift_range=0.1, zoom_range=0.1, horizontal_flip=True
    ).flow(X, y, batch_size=64, seed=seed)
    callbacks = [
        keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=3),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=8, restore_best_weights=True),
    ]
    model.fit(flow, validation_data=(X_val, labels), epochs=epochs, callbacks=callbacks, verbose=0)
    return (model.predict(X_val, verbose=0).argmax(axis=1) == y_val).mean()


def pytorch_loop(X, y, X_val, y_val, seed, epochs):
    torch.manual_seed(seed)
    X, X_val = (torch.as_tensor(part).view(-1, 1, 48, 48).float() / 255 for part in (X, X_val))
    y, y_val = torch.as_tensor(y), torch.as_tensor(y_val)
    crop = v2.Compose([v2.RandomCrop(48, padding=4, padding_mode="reflect"), v2.RandomHorizontalFlip()])
    net = resolve_backbone("cnn_small").build(num_classes=7, in_channels=1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5)
    criterion, best = nn.CrossEntropyLoss(), 0.0
    for _ in range(epochs):
        net.train()
        for rows in torch.randperm(len(X)).split(128):
            optimizer.zero_grad()
            criterion(net(torch.stack([crop(image) for image in X[rows]])), y[rows]).backward()
            optimizer.step()
        scheduler.step()
        net.eval()
        with torch.no_grad():
            probabilities = [net(torch.stack(v2.TenCrop(44)(part)).flatten(0, 1)) for part in X_val.split(64)]
            votes = torch.cat([part.softmax(1).view(10, -1, 7).mean(0) for part in probabilities])
        best = max(best, (votes.argmax(1) == y_val).double().mean().item())
    return best


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


def main():
    arguments = parse_arguments(__doc__)
    if arguments.data is None:
        faces = make_faces(6589, random_state=0)
        (X, y), valid = (faces.data[3589:], faces.target[3589:]), (faces.data[:3589], faces.target[:3589])
    else:
        (X, y), valid = (load_fer2013(arguments.data, usage=u, return_X_y=True) for u in ("Training", "PublicTest"))
    n, seeds = (300, range(2)) if arguments.quick else (3000, range(3))
    X, y = X[:n], y[:n]
    print("| notebook | original | ferkit | difference | two standard errors | within noise |")
    print("|---|---|---|---|---|---|")
    for original, port in zip((keras_notebook, pytorch_loop), read_ports(), strict=True):
        epochs = 2 if arguments.quick else port.max_epochs
        theirs = [original(X, y, *valid, seed, epochs) for seed in seeds]
        ours = []
        for seed in seeds:
            port.set_params(random_state=seed, max_epochs=epochs).fit(X, y, X_val=valid[0], y_val=valid[1])
            ours.append(port.score(*valid))
        error = 2 * np.sqrt((stdev(theirs) ** 2 + stdev(ours) ** 2) / len(seeds))
        difference = mean(ours) - mean(theirs)
        cells = (
            original.__name__.replace("_", " "),
            *(f"{mean(scores):.2%} ± {stdev(scores):.2%}" for scores in (theirs, ours)),
            f"{difference:+.2%}",
            f"{error:.2%}",
            "yes" if abs(difference) < error else "NO",
        )
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
