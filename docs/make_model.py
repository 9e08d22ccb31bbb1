"""Make the models from trained networks: calibrate them, score them, and write them with their card.

    python benchmarks/distillation.py --data fer2013.csv --weights lite0.safetensors --out runs
    python docs/make_model.py runs fer2013.csv

This writes ``ferkit/models/fer2013-small.ferkit`` and ``.onnx``, ``runs/fer2013-base.ferkit``, ``docs/models.md`` and
the figures on that page. PrivateTest is not read.
"""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator

import ferkit
from ferkit.datasets import load_fer2013
from ferkit.display import ConfusionDisplay, HistoryDisplay, ReliabilityDisplay
from ferkit.report import Report

NAME = "fer2013-small"
MEMBERS = ["half", "muon", "default"]  # students of benchmarks/distillation.py; the first one is fer2013-small
DOCS = Path(__file__).parent

CARD = """\
# {name}

`{name}` recognizes the seven emotions of FER2013 on cut-out faces. It is the network `{backbone}` with
{parameters:.2f} M parameters, for gray images of 48×48 pixels; images of other sizes and colors are converted. The file
has {size:.1f} MB.

| PublicTest | n | accuracy, 95 % interval | macro F1 | calibration error |
| --- | ---: | --- | ---: | ---: |
| all faces | {n:,} | **{accuracy:.2%}** ({low:.2%} to {high:.2%}) | {f1:.3f} | {calibration:.2%} |
| without copies of training faces | {unseen_n:,} | {unseen:.2%} ({unseen_low:.2%} to {unseen_high:.2%}) | | |

**How it was made.** `benchmarks/distillation.py` made it from the {n_train:,} Training faces. Three teachers
(ResNet-18, VGG, and EfficientNet-Lite0 from ImageNet weights) predicted faces that they had not seen. The network
learned for {epochs} epochs from means of the labels and these predictions, in {seconds:.0f} s on an NVIDIA H200.
Besides the ImageNet weights, no other data and no FER+ labels were used. It was chosen from seven trainings by its
accuracy on PublicTest. PrivateTest was not used.

**Calibration.** A factor and an offset per class on the logits were fitted to the log loss on PublicTest, and the
weights were rounded to float16. This lowered the calibration error from {before:.2%} to {calibration:.2%}. On as many
faces, perfect probabilities would have {perfect:.2%}. The scores come from the same faces as these 14 numbers, and are
therefore slightly too good.

**What the emotions were taken for.** Each row shows the predictions for the PublicTest faces of one emotion.

{confusion}

**Limits.** Labels of FER2013 are noisy: people agree with them on 65 ± 5 % of the faces (Goodfellow et al., 2013). The
network sees what a face shows, not what a person feels. It was not tested on video, on profile views, on children, or
separately by gender or skin tone. Disgust is rare in the training data ({disgust} faces). Do not use the model to make
decisions about people.

**Licenses.** The code and the weights are under ferkit's BSD-3-Clause license. The ImageNet weights of one teacher are
under Apache-2.0. The weights of the model were trained on FER2013
(Goodfellow et al., "Challenges in representation learning", 2013), whose faces were collected from the web by image
search. The people in them were not asked, and the rights to the photographs remain with their owners. The package
contains no photograph. Check the law where you use the model: the EU AI Act forbids emotion recognition at work and in
schools.
"""

PAGE = """\
# Models that ship with ferkit

After this page you can recognize expressions without training, and you know how well it works.

```python
import ferkit
from ferkit.datasets import make_faces

model = ferkit.load_model("fer2013-small")
model.predict(make_faces(5, random_state=0).images)  # or PIL images, or paths of image files
```

```
ferkit predict face.png photos/
```

Nothing is downloaded. `load_model` returns an ordinary fitted `FERClassifier`, which also works in a
`VotingClassifier`. To train it further on your own labels, start from its weights:
`FERClassifier(weights="fer2013-small")`. For an SVM or clustering, use its features:
`NetworkFeatures("fer2013-small")`. `ferkit.models.list_models()` lists the models, and
`ferkit.models.read_model_card(name)` returns the text below.

#{card}
![Confusion matrix of the shipped model on PublicTest](images/model_confusion.png)

*Happy and surprise are recognized best.*

![Share of correct predictions against their probability](images/model_reliability.png)

*The probabilities are calibrated: the share of correct predictions follows the diagonal.*

## fer2013-base

The mean of three networks is better than each of them: {base_accuracy:.2%} on PublicTest
({base_low:.2%} to {base_high:.2%}), without copies {base_unseen:.2%}, with a calibration error of
{base_calibration:.2%}. The three are the network above, one that was trained in the same way with Muon, and one that
learned only from the labels. The file has {base_size:.0f} MB and is not in the package; the commands below make it.
`ferkit.load`, `ferkit predict`, `evaluate` and `photo` read it:

```
ferkit predict runs/fer2013-base.ferkit face.png
```

It is a `VotingClassifier` of scikit-learn, and needs three times the time of `fer2013-small`.

## Make the models again

```
python benchmarks/lite0.py lite0.safetensors
python benchmarks/distillation.py --data fer2013.csv --weights lite0.safetensors --out runs --device cuda --jobs 4
python docs/make_model.py runs fer2013.csv
ferkit evaluate fer2013-small fer2013.csv --usage PublicTest
```

The first command writes the ImageNet weights, the second trains, the third calibrates and writes the models and this
page, and the last prints the scores on all faces. Two networks of `fer2013-base` were trained on two CPUs of an AMD
EPYC. On another device, trainings give about the same accuracy, but not the same bits.
"""


def main(runs, data):
    train, test = (load_fer2013(data, usage=usage) for usage in ("Training", "PublicTest"))
    y = test.target_names[test.target]
    models = {name: ferkit.load(Path(runs, f"{name}.ferkit")) for name in MEMBERS}
    model = models[MEMBERS[0]]
    before = ferkit.evaluate(model, test.data, y).calibration_error
    for member in models.values():
        calibrate(member, test.images, y)
        member.set_params(verbose=0, device="auto")
    voting = VotingClassifier([(name, FrozenEstimator(member)) for name, member in models.items()], voting="soft")
    base = Path(runs, "fer2013-base.ferkit")
    ferkit.save(voting.fit(train.data[:1000], train.target_names[train.target[:1000]]), base, half=True)
    base_report = ferkit.evaluate(ferkit.load(base), test.data, y, X_train=train.data)
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.ferkit")
        ferkit.save(model, path, half=True)
        rounded, size = ferkit.load(path), path.stat().st_size / 1e6
    report = ferkit.evaluate(rounded, test.data, y, X_train=train.data)
    shares = np.array(report.confusion) / np.sum(report.confusion, axis=1, keepdims=True)
    table = ["| | " + " | ".join(report.labels) + " |", "| --- |" + " ---: |" * len(report.labels)]
    for label, row in zip(report.labels, shares, strict=True):
        table.append(f"| {label} | " + " | ".join(f"{share:.0%}" for share in row) + " |")
    card = CARD.format(
        name=NAME,
        backbone=model.backbone,
        parameters=sum(part.numel() for part in model.network_.parameters()) / 1e6,
        size=size,
        n=report.n,
        accuracy=report.accuracy,
        low=report.interval[0],
        high=report.interval[1],
        f1=report.macro_f1,
        calibration=report.calibration_error,
        unseen_n=report.n - report.n_in_training,
        unseen=report.unseen_accuracy,
        unseen_low=report.unseen_interval[0],
        unseen_high=report.unseen_interval[1],
        n_train=len(train.data),
        epochs=len(model.history_),
        seconds=sum(epoch["seconds"] for epoch in model.history_),
        perfect=error_of_perfect_calibration(report.y_proba),
        before=before,
        confusion="\n".join(table),
        disgust=int((train.target_names[train.target] == "disgust").sum()),
    )
    page = PAGE.format(
        card=card,
        base_accuracy=base_report.accuracy,
        base_low=base_report.interval[0],
        base_high=base_report.interval[1],
        base_unseen=base_report.unseen_accuracy,
        base_calibration=base_report.calibration_error,
        base_size=base.stat().st_size / 1e6,
    )
    card, page = (re.sub(r"(?<=\d)%", " %", text) for text in (card, page))
    target = Path(ferkit.__file__).parent / "models" / f"{NAME}.ferkit"
    ferkit.save(model, target, card=card, half=True)
    ferkit.export(ferkit.load(target), target.with_suffix(".onnx"), card=card, half=True)
    (DOCS / "models.md").write_text(page)
    history = ferkit.load(Path(runs, "default.ferkit")).history_
    HistoryDisplay(history).plot().figure_.savefig(DOCS / "images" / "model_history.png", dpi=110)
    for name, display in (("confusion", ConfusionDisplay), ("reliability", ReliabilityDisplay)):
        figure = display.from_estimator(rounded, test.data, y).figure_
        figure.savefig(DOCS / "images" / f"model_{name}.png", dpi=110)
    print(card)


def calibrate(model, images, y):
    """Scale and shift the logits of each class to the lowest log loss, in the last layer (vector scaling).

    One temperature for all classes is not enough: label smoothing lowers the highest probabilities most.
    """
    network, target = model.network_.cpu().eval(), torch.from_numpy(np.searchsorted(model.classes_, y))
    stack = torch.from_numpy(images)[:, None]
    with torch.no_grad():  # of the two views that predictions average
        logits = torch.stack(
            [torch.cat([network(part) for part in view.split(256)]) for view in (stack, stack.flip(3))]
        )
    scale = torch.ones(len(model.classes_), requires_grad=True)
    shift = torch.zeros_like(scale, requires_grad=True)
    optimizer = torch.optim.LBFGS([scale, shift], max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        probability = (logits * scale + shift).softmax(2).mean(0)
        value = torch.nn.functional.nll_loss(probability.log(), target)
        value.backward()
        return value

    optimizer.step(loss)
    head = network.backbone.head
    with torch.no_grad():
        head.weight.mul_(scale[:, None])
        head.bias.mul_(scale).add_(shift)


def error_of_perfect_calibration(probability):
    """Return the mean calibration error if the probabilities were exactly right, by drawing labels from them."""
    rng, classes = np.random.default_rng(0), np.arange(probability.shape[1])
    errors = []
    for _ in range(100):
        y = (rng.random((len(probability), 1)) > probability.cumsum(axis=1)).sum(axis=1).clip(max=classes[-1])
        report = Report.from_predictions(y, probability.argmax(axis=1), y_proba=probability, classes=classes)
        errors.append(report.calibration_error)
    return np.mean(errors)


if __name__ == "__main__":
    main(*sys.argv[1:])
