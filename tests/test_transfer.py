"""Initial weights, frozen epochs and learning rates by layer."""

import re
import sys
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback
from torch.nn.utils.parametrizations import spectral_norm
from torchvision.models import get_model, get_model_weights

from ferkit import FERClassifier, ImageResizer
from ferkit.backbones import CNN, resolve_backbone
from ferkit.datasets import make_faces

FREE = {"augment": None, "mixup": 0, "tta": None, "precision": "float32"}


@pytest.fixture(scope="module")
def source(faces):
    """A network with other weights than a new one."""
    model = FERClassifier(backbone_params={"widths": (8, 16)}, max_epochs=1, batch_size=64, random_state=1)
    return model.fit(faces.data, faces.target)


@pytest.fixture(scope="module")
def expert():
    """A network that knows faces of seven emotions."""
    faces = make_faces(1000, random_state=1)
    params = {"augment": None, "max_epochs": 8, "batch_size": 32, "random_state": 1}
    model = FERClassifier(backbone_params={"widths": (8, 16)}, **params)
    return model.fit(faces.data, faces.target)


def weights_of(model):
    state = model.network_.backbone.state_dict()
    return {name: value.cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


def class_parameters(backbone, in_channels):
    """Names of the parameters whose shape depends on the number of classes."""
    build = resolve_backbone(backbone).build
    with torch.device("cpu" if backbone == "resnet50v2" else "meta"):  # some versions of it compute with values
        two, three = (dict(build(num_classes=n, in_channels=in_channels).named_parameters()) for n in (2, 3))
    return {name for name in two if two[name].shape != three[name].shape}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


# sources of weights


@pytest.mark.parametrize("weights", ["imagenet", "IMAGENET1K_V1", "DEFAULT"])
def test_published_weights_come_from_the_cache(weights, torch_home, tiny, faces):
    model = tiny("resnet18", weights=weights, frozen_epochs="all").fit(faces.data[:35], faces.target[:35])
    module = model.network_
    assert changed(torch_home, weights_of(model)) == {"fc.weight", "fc.bias"}
    np.testing.assert_allclose(module.mean.cpu().ravel(), 255 * np.array([0.485, 0.456, 0.406]), rtol=1e-5)
    np.testing.assert_allclose(module.std.cpu().ravel(), 255 * np.array([0.229, 0.224, 0.225]), rtol=1e-5)
    rates = {
        name: tiny("resnet18", **params).fit(faces.data[:20], faces.target[:20]).lr_
        for name, params in {"scratch": {}, "tuned": {"weights": weights}}.items()
    }
    assert model.lr_ == rates["scratch"], "the head starts from nothing"
    assert rates["tuned"] == pytest.approx(rates["scratch"] / 10)


@pytest.mark.parametrize("backbone", ["mnasnet0_5", "densenet121", "googlenet", "mobilenet_v3_small"])
def test_published_weights_are_converted_as_by_torchvision(backbone, tmp_path, monkeypatch, tiny, faces):
    """Some published files have other names or an older version than today's networks."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    params = {"init_weights": True} if backbone == "googlenet" else {}
    network = get_model(backbone, **params)
    state = network.state_dict()
    if backbone == "densenet121":
        state = {
            re.sub(r"(norm|conv)([12])\.", r"\1.\2.", name): value
            for name, value in state.items()
            if not name.endswith("num_batches_tracked")
        }
    torch.save(state, folder / get_model_weights(backbone).DEFAULT.url.rpartition("/")[2])
    model = tiny(backbone, weights="imagenet", frozen_epochs="all").fit(faces.data[:35], faces.target[:35])
    learned = changed(network.state_dict(), weights_of(model))
    assert learned <= class_parameters(backbone, in_channels=3)


def test_a_damaged_file_in_the_cache(torch_home, tmp_path, tiny, faces):
    (path,) = (tmp_path / "hub" / "checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(OSError, match=r"resnet18-.* are damaged: delete that file"):
        tiny("resnet18", weights="imagenet").fit(faces.data, faces.target)


def test_gray_images_give_the_same_result_as_rgb_copies_of_them(torch_home, tiny, faces):
    """RGB filters are unchanged by default; with in_channels=1, those of the first layer are summed."""
    params = {"weights": "imagenet", "frozen_epochs": "all", **FREE}
    X, y = faces.data[:35], faces.target[:35]
    model = tiny("resnet18", **params).fit(X, y)
    rgb = np.repeat(faces.images[:35, ..., None], 3, axis=3)
    color = tiny("resnet18", **params).fit(rgb, y)
    np.testing.assert_allclose(model.predict_proba(X), color.predict_proba(rgb), atol=1e-5)
    summed = tiny("resnet18", backbone_params={"in_channels": 1}, **params).fit(X, y)
    stem = summed.network_.backbone.conv1.weight.cpu()
    torch.testing.assert_close(stem, torch_home["conv1.weight"].sum(1, keepdim=True))


@pytest.mark.parametrize("scale", [1, 1 / 255, 1 / 250])
def test_weights_get_pixels_as_they_expect_them(scale, torch_home, tiny, faces):
    params = {"weights": "imagenet", "frozen_epochs": "all", **FREE}
    X, y = faces.data[:35], faces.target[:35]
    expected = tiny("resnet18", **params).fit(X, y).predict_proba(X)
    X = X * np.float32(scale)
    got = tiny("resnet18", **params).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(got, expected, atol=1e-4 if scale != 1 / 250 else 0.05)


def test_without_internet_the_error_names_the_file_and_its_place(tmp_path, monkeypatch, tiny, faces):
    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(OSError, match=r"download https.*resnet18-.*\.pth on another machine and save") as caught:
        tiny("resnet18", weights="imagenet").fit(faces.data, faces.target)
    assert str(tmp_path / "hub" / "checkpoints") in str(caught.value)


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        ("resnet18", "IMAGENET21K", "torchvision weights for resnet18, got 'IMAGENET21K': pass .*IMAGENET1K_V1"),
        ("cnn", "imagenet", "no published weights for the backbone 'cnn'"),
        (CNN, "imagenet", "no published weights for the backbone"),
    ],
)
def test_weights_that_are_not_published_are_refused(backbone, weights, message, tiny, faces):
    with pytest.raises(ValueError, match=message):
        tiny(backbone, weights=weights).fit(faces.data, faces.target)


def save_pth(state, path):
    torch.save(state, path)


def save_module(state, path):
    torch.save({"mean": torch.zeros(1), **{f"backbone.{name}": value for name, value in state.items()}}, path)


def save_checkpoint(state, path):
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)


@pytest.mark.parametrize(
    ("suffix", "save"),
    [("pth", save_pth), ("pt", save_checkpoint), ("pth.tar", save_module), ("safetensors", save_file)],
    ids=lambda part: part,
)
@pytest.mark.parametrize("classes", [7, 3])
def test_files_of_weights(suffix, save, classes, source, tiny, faces, tmp_path):
    state, path = weights_of(source), tmp_path / f"faces.{suffix}"
    save(state, path)
    rows = faces.target < classes
    for weights in (path, str(path)):
        model = tiny(weights=weights, frozen_epochs="all").fit(faces.data[rows], faces.target[rows])
        assert {name: value.shape for name, value in weights_of(model).items() if name.startswith("head")} == {
            "head.weight": (classes, 16),
            "head.bias": (classes,),
        }
        kept = {name: value for name, value in state.items() if not name.startswith("head")}
        assert not changed(kept, weights_of(model))


def test_weights_improve_the_accuracy(expert, tiny, tmp_path):
    """Pretraining on many faces helps more than the few faces of the fine-tuning."""
    path = tmp_path / "faces.pth"
    torch.save(weights_of(expert), path)
    few, test = make_faces(140, random_state=3), make_faces(300, random_state=4)
    params = {"max_epochs": 6, "batch_size": 32}
    tuned = tiny(weights=path, **params).fit(few.data, few.target).score(test.data, test.target)
    scratch = tiny(**params).fit(few.data, few.target).score(test.data, test.target)
    assert tuned > scratch + 0.1


def test_weights_of_another_network(source, tiny, faces, tmp_path):
    torch.save(weights_of(source), tmp_path / "faces.pth")
    with pytest.raises(ValueError, match=r"weights of a CNN, got .*another network: .*expected"):
        tiny(backbone_params={"widths": (8, 20)}, weights=tmp_path / "faces.pth").fit(faces.data, faces.target)
    with pytest.raises(ValueError, match=r"weights of a ResNet, got .*: conv1.weight is missing"):
        tiny("resnet18", weights=tmp_path / "faces.pth").fit(faces.data, faces.target)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_damaged_files_of_weights(suffix, tiny, faces, tmp_path):
    (tmp_path / f"faces.{suffix}").write_bytes(b"\xff" * 100)
    model = tiny(weights=tmp_path / f"faces.{suffix}")
    with pytest.raises(ValueError, match="which is damaged or holds other objects"):
        model.fit(faces.data, faces.target)
    assert not hasattr(model, "net_")


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Evil(), "that can be read safely"),
        ([1, 2], "Expected a state dict in"),
        (None, "Expected a file of weights"),
    ],
    ids=["code", "a list", "nothing"],
)
def test_files_that_hold_no_weights(content, message, tiny, faces, tmp_path, capsys):
    path = tmp_path / "faces.pth"
    if content is not None:
        torch.save(content, path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tiny(weights=path).fit(faces.data, faces.target)
    assert "run" not in capsys.readouterr().out


def test_timm_is_an_extra(tiny, faces, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for params in ({"backbone": "resnet50v2"}, {"backbone": "timm/resnet10t"}):
        with pytest.raises(ImportError, match=r"ferkit\[timm\]"):
            tiny(**params).fit(faces.data, faces.target)


def test_timm_weights(tiny, faces, monkeypatch):
    import timm

    torch.manual_seed(4)
    published = timm.create_model("resnet10t")
    create = timm.create_model

    def download(name, pretrained=False, **params):
        return published if pretrained else create(name, **params)

    monkeypatch.setattr(timm, "create_model", download)
    model = tiny("timm/resnet10t", weights="imagenet", frozen_epochs="all").fit(faces.data[:35], faces.target[:35])
    assert changed(published.state_dict(), weights_of(model)) == {"fc.weight", "fc.bias"}
    mean = model.network_.mean.cpu().ravel()
    np.testing.assert_allclose(mean, 255 * np.array(published.pretrained_cfg["mean"]), rtol=1e-5)

    def refuse(*args, **params):
        raise ConnectionError("no network")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(OSError, match=r"timm/resnet10t could not be downloaded .*\.safetensors"):
        tiny("timm/resnet10t", weights="imagenet").fit(faces.data, faces.target)


# freezing


class Counted(CNN):
    images = 0

    def forward(self, x):
        if x.device.type != "meta":
            Counted.images += len(x)
        return super().forward(x)


def test_frozen_epochs_do_not_call_the_backbone(faces):
    seen = []
    for epochs in (1, 20):
        Counted.images = 0
        FERClassifier(
            Counted,
            backbone_params={"widths": (8,)},
            frozen_epochs="all",
            validation_fraction=0.2,
            max_epochs=epochs,
            batch_size=64,
            random_state=0,
        ).fit(faces.data, faces.target)
        seen.append(Counted.images)
    assert seen[0] == seen[1] < 3 * len(faces.data)


def test_the_head_of_a_frozen_backbone_learns(expert, tiny, tmp_path):
    path, other = tmp_path / "faces.pth", make_faces(600, random_state=5)
    torch.save(weights_of(expert), path)
    is_glad = np.isin(other.target_names[other.target], ["happy", "surprise"])
    model = tiny(weights=path, frozen_epochs="all", max_epochs=40, lr=1e-2, validation_fraction=0.25, mixup=0)
    history = model.fit(other.data[:300], is_glad[:300]).history_
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert roc_auc_score(is_glad[300:], model.predict_proba(other.data[300:])[:, 1]) > 0.58


class Watch(Callback):
    def on_train_begin(self, net, **kwargs):
        self.states = getattr(self, "states", [])

    def on_epoch_end(self, net, **kwargs):
        state = net.average_.trained.state_dict() if net.average_ else net.module_.state_dict()
        self.states.append({name: value.clone() for name, value in state.items()})


@pytest.mark.parametrize("ema_decay", [0.995, None])
def test_all_layers_train_after_the_frozen_epochs(ema_decay, tiny, faces):
    watch = Watch()
    model = tiny(frozen_epochs=2, max_epochs=4, ema_decay=ema_decay, callbacks=[watch])
    model.fit(faces.data, faces.target)
    first, second, third, fourth = watch.states
    head = {"backbone.head.weight", "backbone.head.bias"}
    assert changed(first, second) == head
    assert changed(second, third) > head
    assert changed(third, fourth) > head
    assert [row["epoch"] for row in model.history_] == [1, 2, 3, 4]
    rates = [row["lr"] for row in model.history_]
    assert rates[1] > rates[2] > rates[3], "one schedule over both phases"


@pytest.mark.parametrize("frozen_epochs", ["all", 1, 2])
def test_partial_fit_respects_the_frozen_epochs(frozen_epochs, tiny, faces):
    model = tiny(frozen_epochs=frozen_epochs).fit(faces.data, faces.target)
    before = weights_of(model)
    model.partial_fit(faces.data, faces.target)
    only_head = changed(before, weights_of(model)) == {"head.weight", "head.bias"}
    assert only_head == (frozen_epochs != 1)


@pytest.mark.parametrize("backbone", ["resnet50v2", "googlenet", "densenet121", "mobilenet_v3_small", "swin_t"])
def test_frozen_epochs_only_train_the_head_of_every_kind(backbone, tiny, faces):
    model = tiny(backbone, frozen_epochs="all", max_epochs=2, ema_decay=None, augment=None, mixup=0)
    first = weights_of(model.fit(faces.data[:35], faces.target[:35]))
    model.partial_fit(faces.data[:35], faces.target[:35])
    learned = changed(first, weights_of(model))
    assert learned
    hidden = {"classifier.0.weight", "classifier.0.bias"} if backbone == "mobilenet_v3_small" else set()
    assert learned <= class_parameters(backbone, in_channels=1) | hidden


class Hidden(torch.nn.Module):
    """A head with a hidden layer, in one module or next to the rest."""

    def __init__(self, num_classes, in_channels, together=True):
        super().__init__()
        self.features = CNN(16, in_channels, widths=(8, 16))
        if together:
            self.head = torch.nn.Sequential(
                torch.nn.Linear(16, 12), torch.nn.BatchNorm1d(12), torch.nn.ReLU(), torch.nn.Linear(12, num_classes)
            )
        else:
            self.hidden, self.last = torch.nn.Linear(16, 12), torch.nn.Linear(12, num_classes)

    def forward(self, x):
        x = self.features(x)
        return self.head(x) if hasattr(self, "head") else self.last(self.hidden(x).relu())


@pytest.mark.parametrize("frozen_epochs", ["all", 2])
def test_hidden_layers_of_a_head_train_with_it(frozen_epochs, tiny, faces):
    params = {"max_epochs": 2, "ema_decay": None, "augment": None, "lr": 1e-2}
    model = tiny(Hidden, frozen_epochs=frozen_epochs, **params)
    first = weights_of(model.fit(faces.data, faces.target))
    model.set_params(max_epochs=2).fit(faces.data, faces.target)
    model.net_.frozen_epochs = 9
    model.partial_fit(faces.data, faces.target)
    learned = {name for name in changed(first, weights_of(model)) if "num_batches" not in name}
    assert {"head.0.weight", "head.0.bias", "head.3.weight", "head.3.bias"} <= learned
    assert all(name.startswith("head.") for name in learned)


def test_hidden_layers_that_would_stay_random_are_refused(tiny, faces):
    model = tiny(Hidden, backbone_params={"together": False}, frozen_epochs="all")
    with pytest.raises(ValueError, match=r"'hidden', a hidden layer of the head.*one nn.Sequential"):
        model.fit(faces.data, faces.target)
    model.set_params(frozen_epochs=0).fit(faces.data, faces.target)


class Masked(torch.nn.Module):
    """Like users' networks: with a buffer of infinities, values computed while it is built, and logits last."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))
        self.rates = torch.linspace(0, 0.1, 3).numpy()
        self.features = CNN(4, in_channels, widths=(8,))
        self.head = torch.nn.Linear(4, num_classes)
        self.auxiliary = torch.nn.Linear(4, num_classes)

    def forward(self, x):
        x = self.features(x)
        return (self.head(x), self.auxiliary(x)) if self.training else self.head(x)


@pytest.mark.parametrize("params", [{}, {"frozen_epochs": "all"}, {"backbone_lr_scale": 0.1}], ids=str)
def test_user_networks_train(params, tiny, faces):
    model = tiny(Masked, **params).fit(faces.data, faces.target)
    assert np.isfinite(model.predict_proba(faces.data)).all()
    if params.get("frozen_epochs"):
        assert model.network_.head == "head"


class Stubborn(CNN):
    def __init__(self, num_classes, in_channels):
        super().__init__(10, in_channels, widths=(8,))


@pytest.mark.parametrize("params", [{}, {"frozen_epochs": "all"}], ids=str)
def test_a_network_with_other_outputs_is_refused(params, tiny, faces):
    with pytest.raises(ValueError, match=r"logits of shape \(2, 7\) for two images, got \(2, 10\)"):
        tiny(Stubborn, **params).fit(faces.data, faces.target)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"frozen_epochs": -1}, "frozen_epochs"),
        ({"frozen_epochs": "all", "backbone": "squeezenet1_1"}, "only class-dependent layer is its last"),
        (
            {"frozen_epochs": "all", "backbone": "timm/deit_tiny_distilled_patch16_224", "input_size": 224},
            "only class-dependent",
        ),
        ({"weights": "imagenet", "backbone": "resnet18", "backbone_params": {"in_channels": 2}}, "must be 1 or 3"),
    ],
    ids=str,
)
def test_incompatible_parameters_are_refused(params, message, torch_home, tiny, faces):
    with pytest.raises(ValueError, match=message):
        tiny(**params).fit(faces.data, faces.target)


# learning rates by layer


def rates_of(model):
    """The optimizer's rate for each parameter."""
    rates = {parameter: group["lr"] for group in model.net_.optimizer_.param_groups for parameter in group["params"]}
    return {name: rates[parameter] for name, parameter in model.network_.backbone.named_parameters()}


@pytest.mark.parametrize("backbone", ["cnn", "resnet18", "googlenet", "mobilenet_v3_small", "timm/resnet10t"])
def test_backbone_lr_scale(backbone, tiny, faces):
    model = tiny(backbone, backbone_lr_scale=0.25, lr=1e-3).fit(faces.data[:20], faces.target[:20])
    head = class_parameters(backbone, in_channels=1)
    assert head
    for name, rate in rates_of(model).items():
        assert rate == pytest.approx(1e-3 if name in head else 2.5e-4), name


def test_layer_decay(tiny, faces):
    model = tiny(layer_decay=0.5, lr=1e-3).fit(faces.data, faces.target)
    rates = rates_of(model)
    assert rates["head.weight"] == rates["head.bias"] == 1e-3
    convolutions = [name for name in rates if rates[name] and name.endswith(".0.weight")]
    assert [rates[name] for name in convolutions] == pytest.approx([1e-3 / 2**depth for depth in (4, 3, 2, 1)])
    norms = [name for name in rates if name.endswith(".1.weight")]
    assert [rates[name] for name in norms] == [rates[name] for name in convolutions]


def test_only_convolutions_and_linear_layers_are_layers(tiny, faces):
    class Tokens(torch.nn.Module):
        def __init__(self, num_classes, in_channels):
            super().__init__()
            self.token = torch.nn.Parameter(torch.zeros(1, 1, 8))
            self.patches = torch.nn.Conv2d(in_channels, 8, 16, 16)
            self.scale = torch.nn.Parameter(torch.ones(1, 8, 1, 1))
            self.attention = torch.nn.MultiheadAttention(8, 1, batch_first=True)
            self.head = torch.nn.Linear(8, num_classes)

        def forward(self, x):
            x = (self.patches(x) * self.scale).flatten(2).transpose(1, 2) + self.token
            return self.head(self.attention(x, x, x)[0].mean(1))

    rates = rates_of(tiny(Tokens, layer_decay=0.5, lr=1e-3).fit(faces.data, faces.target))
    expected = {"head": 1, "attention.out_proj": 1 / 2, "attention.in_proj": 1 / 4, "patches": 1 / 8}
    for name, share in {**expected, "token": 1 / 8, "scale": 1 / 8}.items():
        assert {rate for key, rate in rates.items() if key.startswith(name)} == {1e-3 * share}, name
    names = "token", "patches.weight", "patches.bias", "scale"
    model = tiny(Tokens, frozen_layers=1).fit(faces.data, faces.target)
    frozen = {name for name, part in model.network_.backbone.named_parameters() if not part.requires_grad}
    assert frozen == {*names}


def test_layers_with_a_parametrization_count(tiny, faces):
    def build(num_classes, in_channels):
        convolution = spectral_norm(torch.nn.Conv2d(in_channels, 8, 3, 2, bias=False))
        pool = [torch.nn.BatchNorm2d(8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
        return torch.nn.Sequential(convolution, *pool, torch.nn.Linear(8, num_classes))

    rates = rates_of(tiny(build, layer_decay=0.5, lr=1e-3).fit(faces.data, faces.target))
    assert sorted(set(rates.values())) == [5e-4, 1e-3]


def test_rates_by_layer_in_a_compiled_network(tiny, faces):
    params = {"net_params": {"compile": True, "compile__backend": "eager"}, "lr_schedule": None}
    model = tiny(backbone_lr_scale=0.25, lr=1e-3, **params).fit(faces.data[:14], faces.target[:14])
    assert {group["lr"] for group in model.net_.optimizer_.param_groups} == {1e-3, 2.5e-4}


def test_a_rate_of_zero_does_not_change_the_backbone(source, tiny, faces, tmp_path):
    torch.save(weights_of(source), tmp_path / "faces.pth")
    before = weights_of(source)
    model = tiny(weights=tmp_path / "faces.pth", backbone_lr_scale=0).fit(faces.data, faces.target)
    learned = {name for name in changed(before, weights_of(model)) if "running" not in name and "num_" not in name}
    assert learned == {"head.weight", "head.bias"}


# networks and image sizes


def test_a_network_of_fixed_size_names_the_size(tiny, faces):
    with pytest.raises(ValueError, match=r"can't take images of 256×256 .* pass input_size=224\.$"):
        tiny("vit_b_32", input_size=256).fit(faces.data[:8], faces.target[:8])


class Halving(torch.nn.Sequential):
    """Halves the images five times, as VGG does."""

    def __init__(self, num_classes, in_channels):
        pools = [torch.nn.MaxPool2d(2) for _ in range(5)]
        super().__init__(
            *pools, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(in_channels, num_classes)
        )


class Wide(torch.nn.Sequential):
    """Has a filter that is larger than small images, as Inception has."""

    def __init__(self, num_classes, in_channels):
        filters = torch.nn.Conv2d(in_channels, 4, 5, stride=4), torch.nn.Conv2d(4, 4, 13)
        super().__init__(*filters, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, num_classes))


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        (Halving, 24),
        (Wide, 48),
        ("squeezenet1_1", 16),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("vgg11_bn", 24), ("inception_v3", 48))),
    ],
)
def test_a_network_too_deep_names_the_size_that_it_needs(backbone, size, tiny):
    X = np.random.default_rng(0).integers(0, 256, (4, size * size), dtype=np.uint8)
    y = np.arange(4) % 2
    with pytest.raises(ValueError, match=rf"can't take images of {size}×{size} .* pass input_size=\d+") as caught:
        tiny(backbone).fit(X, y)
    needed = int(str(caught.value).rpartition("input_size=")[2].split()[0])
    assert needed > size
    quick = {"optimizer": "sgd", "ema_decay": None, "tta": None}  # VGG has 129 million weights to copy
    assert tiny(backbone, input_size=needed, **quick).fit(X, y).predict(X).shape == (4,)


# soft targets


def test_soft_targets_of_0_and_1_work_like_labels(tiny, faces):
    hard = tiny(class_weight="balanced", validation_fraction=0.2).fit(faces.data, faces.target)
    soft = tiny(class_weight="balanced", validation_fraction=0.2).fit(faces.data, np.eye(7)[faces.target])
    np.testing.assert_allclose(soft.predict_proba(faces.data), hard.predict_proba(faces.data), atol=2e-3)
    assert soft.history_[0]["valid_loss"] == pytest.approx(hard.history_[0]["valid_loss"], abs=2e-3)
    np.testing.assert_array_equal(soft.classes_, np.arange(7))


def test_soft_targets_pull_predictions_to_their_shares(tiny, faces):
    share = np.tile(np.float32([0.7, 0.3]), (210, 1))
    model = tiny(max_epochs=25, label_smoothing=0, lr=1e-2).fit(faces.data, pd.DataFrame(share, columns=["no", "yes"]))
    np.testing.assert_allclose(model.predict_proba(faces.data).mean(axis=0), [0.7, 0.3], atol=0.05)
    assert set(model.predict(faces.data)) == {"no"}
    with pytest.raises(ValueError, match=r"among the classes .*got \['maybe'\]"):
        tiny(class_weight={"maybe": 2}).fit(faces.data, pd.DataFrame(share, columns=["no", "yes"]))
    empty = tiny(class_weight="balanced").fit(faces.data, np.column_stack([share, np.zeros(210)]))
    assert np.isfinite(empty.history_[0]["train_loss"])
    weighted = tiny(max_epochs=25, label_smoothing=0, lr=1e-2, class_weight={"yes": 5})
    weighted.fit(faces.data, pd.DataFrame(np.eye(2)[np.arange(210) % 2], columns=["no", "yes"]))
    assert weighted.predict_proba(faces.data)[:, 1].mean() > 0.7


def test_soft_targets_are_scored_by_the_most_probable_class(tiny, faces):
    shares = np.random.default_rng(0).dirichlet(np.ones(7), 210)
    votes, weight = pd.DataFrame(shares, columns=faces.target_names), faces.target + 1
    y = votes.idxmax(axis=1)
    model = tiny().fit(faces.data, votes)
    assert model.score(faces.data, votes, weight) == model.score(faces.data, y, weight)
    with pytest.raises(ValueError, match="Expected labels like 'angry', got"):
        model.score(faces.data, shares)
    model = tiny().fit(faces.data, shares)
    assert model.score(faces.data, shares) == model.score(faces.data, shares.argmax(axis=1))
    ties = np.tile([0, 0.5, 0.5, 0, 0, 0, 0], (210, 1))
    assert model.score(faces.data, ties) == (model.predict(faces.data) == 1).mean()


@pytest.mark.parametrize("as_pipeline", [False, True])
def test_soft_targets_are_cross_validated(as_pipeline, tiny, faces):
    votes = pd.DataFrame(np.eye(7)[faces.target] * 0.6 + 0.4 / 7, columns=faces.target_names)
    y = faces.target_names[faces.target]
    splits = list(StratifiedKFold(2).split(faces.data, y))
    model = make_pipeline(ImageResizer(24), tiny()) if as_pipeline else tiny()
    scores = cross_val_score(model, faces.data, votes, cv=splits, error_score="raise")
    fits = [clone(model).fit(faces.data[train], votes.iloc[train]) for train, _ in splits]
    expected = [fit.score(faces.data[test], y[test]) for fit, (_, test) in zip(fits, splits, strict=True)]
    np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full((210, 7), 0.2), "in row 0: divide each"),
        (np.vstack([np.eye(7)[[0] * 209], [2, -1, 0, 0, 0, 0, 0]]), "in row 209"),
        (np.full((210, 2), np.nan), "NaN"),
        (np.full((9, 2), 0.5), "inconsistent numbers"),
    ],
    ids=["sums", "negative", "nan", "rows"],
)
def test_invalid_soft_targets_are_refused(y, message, tiny, faces):
    with pytest.raises(ValueError, match=message):
        tiny().fit(faces.data, y)


def test_soft_targets_are_only_for_fit(tiny, faces):
    with pytest.raises(ValueError, match="1d array"):
        tiny().partial_fit(faces.data, np.eye(7)[faces.target], classes=range(7))
