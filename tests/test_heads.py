"""Hidden layers before the output, layers that never train, and frozen epochs on augmented images."""

import time

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torchvision.models import get_model, get_model_weights, resnet18

from ferkit import FERClassifier
from ferkit.backbones import CNN


def weights_of(model):
    return {name: value.clone() for name, value in model.network_.backbone.state_dict().items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def layers_of(names):
    return {name.rpartition(".")[0] for name in names}


def test_hidden_layers_come_before_the_output(tiny, faces):
    model = tiny(head=(12, 9), dropout=0.3).fit(faces.data, faces.target)
    linear = [layer for layer in model.network_.backbone.head if isinstance(layer, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(16, 12), (12, 9), (9, 7)]
    kinds = [type(layer).__name__ for layer in model.network_.backbone.head]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert {layer.p for layer in model.network_.modules() if isinstance(layer, torch.nn.Dropout)} == {0.3}
    assert clone(model).get_params()["head"] == (12, 9)


class Pointwise(torch.nn.Module):
    """A network whose last layer is a 1×1 convolution, as in many networks of timm."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.features, self.last = CNN(16, in_channels, widths=(8, 16)), torch.nn.Conv2d(16, num_classes, 1)

    def forward(self, x):
        return self.last(self.features(x)[:, :, None, None]).flatten(1)


class Auxiliary(torch.nn.Module):
    """A network with another head in training, as in GoogLeNet."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.features, self.last = CNN(16, in_channels, widths=(8, 16)), torch.nn.Linear(16, num_classes)
        self.other = torch.nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.features(x)
        return (self.last(x), self.other(x)) if self.training else self.last(x)


@pytest.mark.parametrize("backbone", [Pointwise, Auxiliary])
@pytest.mark.parametrize("cache_features", [True, False])
def test_hidden_layers_train_in_frozen_epochs_of_every_kind_of_head(backbone, cache_features, tiny, faces):
    params = {"frozen_epochs": "all", "cache_features": cache_features, "ema_decay": None, "lr": 1e-2}
    model = tiny(backbone, head=(8,), **params)
    first = weights_of(model.fit(faces.data, faces.target))
    model.partial_fit(faces.data, faces.target)
    learnt = layers_of(changed(first, weights_of(model)))
    assert learnt == {"last.0", "last.3"}


def test_hidden_layers_go_on_top_of_weights(tiny, faces, tmp_path):
    source = tiny().fit(faces.data, faces.target)
    torch.save(source.network_.backbone.state_dict(), tmp_path / "plain.pth")
    model = tiny(weights=tmp_path / "plain.pth", head=(8,), frozen_epochs="all", augment=None)
    model.fit(faces.data, faces.target)
    before, after = weights_of(source), weights_of(model)
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("head."))
    torch.save(model.network_.backbone.state_dict(), tmp_path / "deep.pth")
    again = tiny(weights=tmp_path / "deep.pth", head=(8,), lr=1e-12).fit(faces.data, faces.target)
    torch.testing.assert_close(weights_of(again)["head.0.weight"], after["head.0.weight"])


class Two(torch.nn.Module):
    """A network whose logits are the sum of two layers."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.features = CNN(16, in_channels, widths=(8, 16))
        self.one, self.two = torch.nn.Linear(16, num_classes), torch.nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.features(x)
        return self.one(x) + self.two(x)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"backbone": Two, "head": (8,)}, "got 'one', 'two': pass head"),
        ({"head": (8, 0)}, "positive sizes of hidden layers in head, got \\(8, 0\\)"),
        ({"head": 8}, "head"),
        ({"frozen_layers": ["feature.0"]}, "frozen_layers, got 'feature.0': did you mean 'features.0'"),
        ({"frozen_layers": "features.0"}, "frozen_layers"),
        ({"frozen_layers": 99}, "leaves no layer to train"),
        ({"frozen_layers": ["head"], "frozen_epochs": 1}, "'head', and frozen_layers freezes it"),
    ],
    ids=str,
)
def test_heads_and_layers_that_cannot_be(params, message, tiny, faces):
    with pytest.raises(ValueError, match=message):
        tiny(**params).fit(faces.data, faces.target)


@pytest.mark.parametrize("frozen_layers", [["features.0"], 2, np.int64(2)], ids=str)
@pytest.mark.parametrize("frozen_epochs", [0, 1])
def test_frozen_layers_never_train(frozen_layers, frozen_epochs, tiny, faces, tmp_path):
    source = tiny().fit(faces.data, faces.target)
    torch.save(source.network_.backbone.state_dict(), tmp_path / "faces.pth")
    model = tiny(weights=tmp_path / "faces.pth", frozen_layers=frozen_layers, frozen_epochs=frozen_epochs, max_epochs=2)
    model.fit(faces.data, faces.target).partial_fit(faces.data, faces.target)
    learnt = changed(weights_of(source), weights_of(model))
    assert not {name for name in learnt if name.startswith("features.0.")}, "batch norm keeps its statistics too"
    trains = "features.1." if isinstance(frozen_layers, list) else "features.3."
    assert any(name.startswith(trains) for name in learnt)
    assert "head.weight" in learnt


class Watched(CNN):
    """A network that notes the images that it sees in training."""

    def forward(self, x):
        if x.device.type != "meta" and len(x) > 2 and Watched.seen is not None:
            Watched.seen.append((x.detach().clone(), self.training, self.head.training))
        return super().forward(x)


def test_frozen_epochs_can_see_augmented_images(faces):
    Watched.seen = None
    params = {"backbone_params": {"widths": (8, 16)}, "frozen_epochs": 2, "lr": 1e-2, "ema_decay": None, "mixup": 0}
    model = FERClassifier(Watched, cache_features=False, max_epochs=2, batch_size=256, random_state=0, **params)
    first = weights_of(model.set_params(max_epochs=1).fit(faces.data, faces.target))
    Watched.seen = []
    after = weights_of(model.set_params(max_epochs=2).fit(faces.data, faces.target))
    Watched.seen, seen = None, Watched.seen
    assert layers_of(changed(first, after)) == {"head"}
    assert len(seen) == 2
    assert seen[0][0].mean((1, 2, 3)).sort()[0].sub(seen[1][0].mean((1, 2, 3)).sort()[0]).abs().max() > 1e-3
    assert [(backbone, head) for _, backbone, head in seen] == [(False, True)] * 2
    later = weights_of(model.set_params(max_epochs=3).fit(faces.data, faces.target))
    assert layers_of(changed(after, later)) > {"head"}, "all layers train afterwards"


class Slow(CNN):
    def forward(self, x):
        if x.device.type != "meta":
            time.sleep(0.2)
        return super().forward(x)


def test_features_of_frozen_layers_show_progress_and_count_as_time(tiny, faces, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, for rich
    monkeypatch.setenv("TERM", "xterm")
    params = {"frozen_epochs": "all", "verbose": 1, "max_epochs": 2, "batch_size": 35}
    model = tiny(Slow, **params).fit(faces.data[:70], faces.target[:70])
    shown = capsys.readouterr()
    assert "Frozen layers" in shown.err
    assert "epoch 2/2" in shown.out
    assert model.history_[0]["seconds"] > 0.4, "two batches"
    assert model.history_[1]["seconds"] < model.history_[0]["seconds"], "the second epoch uses the same features"


def test_a_function_of_torchvision_has_its_published_weights(tiny, faces, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    network = get_model("resnet18")
    torch.save(network.state_dict(), folder / get_model_weights("resnet18").DEFAULT.url.rpartition("/")[2])
    model = tiny(resnet18, weights="imagenet", frozen_epochs="all", head=(8,)).fit(faces.data[:14], faces.target[:14])
    after = weights_of(model)
    assert all(torch.equal(value, after[name]) for name, value in network.state_dict().items() if name[:2] != "fc")
    assert after["fc.0.weight"].shape == (8, 512)


def test_a_class_of_ones_own_takes_a_path_of_weights(tiny, faces, tmp_path):
    source = tiny(Two).fit(faces.data, faces.target)
    torch.save(source.network_.backbone.state_dict(), tmp_path / "two.pth")
    model = tiny(Two, weights=tmp_path / "two.pth", lr=1e-12).fit(faces.data, faces.target)
    assert torch.equal(weights_of(model)["one.weight"], weights_of(source)["one.weight"])
    with pytest.raises(ValueError, match=r"Two.*pass the path of a \.pth"):
        tiny(Two, weights="imagenet").fit(faces.data, faces.target)
