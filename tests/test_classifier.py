import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections import defaultdict
from itertools import product

import joblib
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from imblearn.over_sampling import RandomOverSampler
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import ConfusionMatrixDisplay, classification_report
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, Freezer
from skorch.exceptions import DeviceWarning
from torch.utils._python_dispatch import TorchDispatchMode

import ferkit
from ferkit import FERClassifier, ImageAugmenter, ImageNormalizer, ImageResizer, Pipeline, PixelParser
from ferkit.backbones import CNN, list_backbones
from ferkit.datasets import make_faces


def as_text(images):
    return pd.Series([" ".join(map(str, row)) for row in images.reshape(len(images), -1).tolist()])


def same(a, b, faces):
    return np.array_equal(a.predict_proba(faces.data), b.predict_proba(faces.data))


# learning


def test_learns_drawn_faces():
    faces = make_faces(1500, random_state=0)
    train, test = slice(0, 1200), slice(1200, None)
    params = {"backbone_params": {"widths": (16, 32, 64)}, "input_size": 24}  # a quarter of the pixels are enough
    model = FERClassifier(**params, max_epochs=12, batch_size=64, random_state=0)
    model.fit(faces.data[train], faces.target[train])
    assert model.score(faces.data[test], faces.target[test]) > 0.5
    losses = [row["train_loss"] for row in model.history_]
    assert losses[-1] < losses[0] - 0.3


@pytest.mark.parametrize("backbone", [*list_backbones()[:6], "resnet18", "vgg11_bn", "googlenet", "timm/resnet10t"])
def test_every_backbone_fits_and_predicts(backbone, tiny, faces):
    # VGG has 129 million weights to copy
    quick = {"optimizer": "sgd", "ema_decay": None, "tta": None} if backbone == "vgg11_bn" else {}
    model = tiny(backbone, **quick).fit(faces.data[:14], faces.target[:14])
    proba = model.predict_proba(faces.data[:9])
    assert proba.shape == (9, 7)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert np.isfinite(model.history_[0]["train_loss"])


@pytest.mark.parametrize(
    "params",
    [
        {"optimizer": "sgd"},
        {"optimizer": "muon"},
        {"optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-4},
        {"lr_schedule": "cosine"},
        {"lr_schedule": "plateau"},
        {"lr_schedule": None},
        {"mixup": 0.4},
        {"label_smoothing": 0},
        {"dropout": 0.5},
        {"ema_decay": None},
        {"class_weight": "balanced"},
        {"class_weight": {"happy": 2.0}},
        {"tta": None},
        {"precision": "float32"},
        {"precision": "bfloat16"},
        {"augment": None},
        {"augment": ImageAugmenter(rotation=30, erasing=0.5)},
        {"input_size": 64},
        {"input_size": (32, 40)},
        {"batch_size": 1, "ema_decay": 0.9},
        {"micro_batch_size": 2},
    ],
    ids=str,
)
def test_every_parameter_trains(params, tiny, faces):
    y = faces.target_names[faces.target]
    model = tiny(**params).fit(faces.data[::7], y[::7])
    assert np.isfinite(model.history_[-1]["train_loss"])
    assert set(model.predict(faces.data)) <= set(y)


def test_auto_uses_the_settings_of_the_backbone(tiny, faces):
    small = tiny("squeezenet1_1").fit(faces.data[::20], faces.target[::20])
    large = tiny("cnn").fit(faces.data[::20], faces.target[::20])
    assert small.lr_ < large.lr_
    assert (large.lr, large.optimizer) == ("auto", "auto")
    assert large.optimizer_ == "adamw"
    assert tiny(optimizer="sgd").fit(faces.data[::20], faces.target[::20]).lr_ > large.lr_


@pytest.mark.parametrize(
    "params",
    [{}, {"mixup": 0.4, "class_weight": "balanced"}, {"precision": "float16"}, {"frozen_epochs": 1}],
    ids=str,
)
def test_batches_in_parts_take_the_same_steps(params, tiny, faces):
    sizes = []

    class Plain(torch.nn.Sequential):  # without batch norm
        def __init__(self, num_classes, in_channels):
            layers = torch.nn.Conv2d(in_channels, 4, 5, stride=4), torch.nn.ReLU(), torch.nn.Flatten()
            super().__init__(*layers, torch.nn.Linear(4 * 11 * 11, num_classes))

        def forward(self, images):
            sizes.append((self.training, len(images)))
            return super().forward(images)

    params = {"max_epochs": 3, "batch_size": 64, "precision": "float32", **params}
    whole = tiny(Plain, **params).fit(faces.data, faces.target)
    sizes.clear()
    parts = tiny(Plain, micro_batch_size=16, **params).fit(faces.data, faces.target)
    assert max(size for training, size in sizes[1:] if training) <= 16
    np.testing.assert_allclose(parts.predict_proba(faces.data), whole.predict_proba(faces.data), atol=1e-3)
    for row, expected in zip(parts.history_, whole.history_, strict=True):
        assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-3)
        assert row["lr"] == expected["lr"]


@pytest.mark.parametrize(("max_epochs", "mixup"), [(39, 0), (40, 0.2)])
def test_long_trainings_use_mixup(max_epochs, mixup, tiny, faces):
    model = tiny(max_epochs=max_epochs).fit(faces.data[:16], faces.target[:16])
    assert model.mixup_ == mixup
    again = tiny(max_epochs=max_epochs, mixup=mixup).fit(faces.data[:16], faces.target[:16])
    assert same(model, again, faces)


def test_pixels_on_any_scale_train_the_same_model(tiny, faces):
    expected = tiny(precision="float32").fit(faces.data, faces.target).predict_proba(faces.data)
    for X in (faces.data / 255, (faces.data - 130.0) / 50, faces.images, faces.images[..., None]):
        got = tiny(precision="float32").fit(X, faces.target).predict_proba(X)
        np.testing.assert_allclose(got, expected, atol=5e-3)


def test_user_networks(tiny, faces):
    def builder(num_classes, in_channels, width=4):
        return torch.nn.Sequential(
            torch.nn.Conv2d(in_channels, width, 48, padding=1),
            torch.nn.Flatten(),
            torch.nn.Linear(9 * width, num_classes),
        )

    for backbone, params in ((CNN, {"widths": (4,)}), (builder, {"width": 2})):
        model = tiny(backbone, backbone_params=params).fit(faces.data, faces.target)
        assert model.predict_proba(faces.data).shape == (210, 7)
    with pytest.raises(TypeError, match="pass the class"):
        tiny(CNN(num_classes=7)).fit(faces.data, faces.target)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: on the CPU all images are in its memory")
def test_data_larger_than_the_device_trains_the_same(tiny, faces, monkeypatch):
    weight = np.linspace(0.5, 2, 210)
    whole = tiny().fit(faces.data, faces.target, weight)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (200_000, 200_000))  # the images have 483,840
    assert same(tiny().fit(faces.data, faces.target, weight), whole, faces)


def test_color_images(tiny):
    X = np.random.default_rng(0).integers(0, 256, (30, 24, 20, 3), dtype=np.uint8)
    model = tiny().fit(X, np.arange(30) % 3)
    assert model.image_shape_ == (24, 20, 3)
    assert model.predict(X.transpose(0, 3, 1, 2)).shape == (30,)


@pytest.mark.parametrize("n", [2, 9, 17])
@pytest.mark.parametrize("backbone", ["cnn", "resnet18"])
def test_a_single_last_row_does_not_break_batch_norm(n, backbone, tiny, faces):
    y = np.arange(n) % 2
    assert tiny(backbone, batch_size=8).fit(faces.data[:n], y).predict(faces.data[:1]).shape == (1,)


def test_callbacks_and_net_params_reach_skorch(tiny, faces):
    class Count(Callback):
        epochs = 0

        def on_epoch_end(self, net, **kwargs):
            self.epochs += 1

    count = Count()
    scoring = EpochScoring("accuracy", on_train=False, name="again", lower_is_better=False)
    model = tiny(
        callbacks=[("count", count), ("again", scoring)], validation_fraction=0.2, net_params={"max_epochs": 3}
    ).fit(faces.data, faces.target)
    assert dict(model.net_.callbacks_)["count"].epochs == 3
    assert count.epochs == 3, "the user's own object is called"
    assert [row["again"] for row in model.history_] == pytest.approx([row["valid_accuracy"] for row in model.history_])
    known = ["epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "lr", "seconds"]
    assert sorted(model.history_[0]) == sorted([*known, "again"]), "and nothing of skorch's own"


# repeating


def test_random_state_repeats_a_fit_without_using_the_global_stream(tiny, faces):
    torch.manual_seed(7)
    first = tiny(mixup=0.2).fit(faces.data, faces.target)
    after = torch.rand(1)
    torch.manual_seed(8)
    second = tiny(mixup=0.2).fit(faces.data, faces.target)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(1), after)
    assert same(first, second, faces)
    assert not same(first, tiny(mixup=0.2, random_state=1).fit(faces.data, faces.target), faces)


def test_fit_starts_from_scratch_each_time(tiny, faces):
    model = tiny().fit(faces.data, faces.target)
    again = clone(model).fit(faces.data, faces.target)
    assert same(model.fit(faces.data, faces.target), again, faces)
    assert len(model.history_) == 1


def test_fit_changes_no_parameter(tiny, faces):
    model = tiny(augment=ImageAugmenter(), callbacks=[], backbone_params={"widths": (8,)})
    before = {name: repr(value) for name, value in model.get_params().items()}
    model.fit(faces.data, faces.target)
    assert {name: repr(value) for name, value in model.get_params().items()} == before


# weights


def test_rows_of_weight_zero_are_ignored(tiny, faces):
    weight = np.ones(210)
    weight[100:] = 0
    weighted = tiny().fit(faces.data, faces.target, sample_weight=weight)
    without = tiny().fit(faces.data[:100], faces.target[:100])
    assert same(weighted, without, faces)


def test_a_heavier_class_is_predicted_more_often(tiny, faces):
    y = np.where(faces.target == 3, "happy", "other")
    light, heavy = (
        tiny(max_epochs=10)
        .fit(faces.data, y, sample_weight=np.where(y == "happy", factor, 1))
        .predict_proba(faces.data)
        for factor in (0.05, 20)
    )
    assert heavy[:, 0].mean() > light[:, 0].mean() + 0.3


def test_class_weight_equals_the_same_sample_weight(tiny, faces):
    by_class = tiny(class_weight={3: 5.0}).fit(faces.data, faces.target)
    by_row = tiny().fit(faces.data, faces.target, sample_weight=np.where(faces.target == 3, 5.0, 1.0))
    np.testing.assert_allclose(by_class.predict_proba(faces.data), by_row.predict_proba(faces.data), atol=1e-5)


@pytest.mark.parametrize(("weight", "message"), [(np.zeros(210), "non-zero"), (-np.ones(210), "[Nn]egative")])
def test_invalid_weights_are_refused(weight, message, tiny, faces):
    with pytest.raises(ValueError, match=message):
        tiny().fit(faces.data, faces.target, sample_weight=weight)


# validation, stopping, interrupting


def test_no_validation_set_is_held_back_by_default(tiny, faces):
    history = tiny().fit(faces.data, faces.target).history_
    assert list(history[0]) == [
        "epoch",
        "train_loss",
        "train_accuracy",
        "valid_loss",
        "valid_accuracy",
        "lr",
        "seconds",
    ]
    assert np.isnan(history[0]["valid_loss"])
    history = tiny(validation_fraction=0.2).fit(faces.data, faces.target).history_
    assert 0 <= history[0]["valid_accuracy"] <= 1


def test_early_stopping_keeps_the_best_weights(tiny, faces):
    model = tiny(validation_fraction=0.3, early_stopping=2, max_epochs=60, lr_schedule=None, augment=None)
    model.fit(faces.data, faces.target)
    accuracies = [row["valid_accuracy"] for row in model.history_]
    assert len(accuracies) < 60
    assert len(accuracies) == int(np.argmax(accuracies)) + 1 + 2
    from sklearn.model_selection import train_test_split

    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    _, held_back = train_test_split(np.arange(210), test_size=0.3, stratify=faces.target, random_state=seed)
    assert model.score(faces.data[held_back], faces.target[held_back]) == pytest.approx(max(accuracies))


def test_early_stopping_needs_a_validation_set(tiny, faces):
    with pytest.raises(ValueError, match="pass validation_fraction"):
        tiny(early_stopping=True).fit(faces.data, faces.target)


class Interrupt(Callback):
    """Ctrl-C at the end of the second epoch, or within the third."""

    def __init__(self, moment):
        self.moment = moment

    def on_epoch_end(self, net, **kwargs):
        if self.moment == "on_epoch_end" and len(net.history) == 2:
            raise KeyboardInterrupt

    def on_batch_end(self, net, **kwargs):
        if self.moment == "on_batch_end" and len(net.history) == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["on_batch_end", "on_epoch_end"])
def test_ctrl_c_keeps_the_model_and_is_raised_again(moment, tiny, faces):
    model = tiny(max_epochs=5, callbacks=[Interrupt(moment)])
    with pytest.raises(KeyboardInterrupt):
        model.fit(faces.data, faces.target)
    assert len(model.history_) == 2
    assert model.predict(faces.data).shape == (210,)
    pickle.loads(pickle.dumps(model))


def test_an_early_stopping_callback_is_not_an_interruption(tiny, faces):
    stop = EarlyStopping("train_loss", patience=1, threshold=10, threshold_mode="abs", sink=lambda text: None)
    model = tiny(max_epochs=5, callbacks=[stop]).fit(faces.data, faces.target)
    assert len(model.history_) == 2


def test_freezing_between_epochs_reaches_the_weights_that_train(tiny, faces):
    class Watch(Callback):
        def on_epoch_begin(self, net, **kwargs):
            seen.append(net.module_.backbone.features[0][0].weight.detach().clone())

    seen = []
    tiny(max_epochs=4, callbacks=[Freezer("backbone.features*", at=2), Watch()]).fit(faces.data, faces.target)
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert torch.equal(seen[2], seen[3])


def test_net_params_accept_another_loss(tiny, faces):
    weights = torch.tensor([0.0, 0, 0, 1, 0, 0, 0])
    params = {"criterion": torch.nn.CrossEntropyLoss, "criterion__weight": weights}
    model = tiny(net_params=params, max_epochs=8, lr=3e-2).fit(faces.data, faces.target)
    assert (model.predict(faces.data) == 3).mean() > 0.9
    with pytest.raises(ValueError, match="a loss for each of the"):
        tiny(net_params=params).fit(faces.data, faces.target, np.ones(210))
    with pytest.raises(ValueError, match="net_params can't set iterator_train"):
        tiny(net_params={"iterator_train": torch.utils.data.DataLoader}).fit(faces.data, faces.target)


def test_net_params_accept_another_optimizer(tiny, faces):
    model = tiny(net_params={"optimizer": torch.optim.RMSprop, "optimizer__alpha": 0.9}).fit(faces.data, faces.target)
    assert isinstance(model.net_.optimizer_, torch.optim.RMSprop)
    model = tiny(weight_decay=0.3, net_params={"optimizer": torch.optim.RMSprop}).fit(
        faces.data[:14], faces.target[:14]
    )
    assert {group["weight_decay"] for group in model.net_.optimizer_.param_groups} == {0.3, 0.0}
    tiny(weight_decay=0, net_params={"optimizer": torch.optim.Rprop}).fit(faces.data[:14], faces.target[:14])
    with pytest.raises(ValueError, match="Expected weight_decay='auto' for an optimizer without"):
        tiny(weight_decay=0.1, net_params={"optimizer": torch.optim.Rprop}).fit(faces.data, faces.target)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"net_params": {"callbacks": []}}, "net_params can't set callbacks.*pass `callbacks`"),
        ({"net_params": {"train_split": None}}, "net_params can't set train_split.*pass `validation_fraction`"),
        ({"callbacks": [("checkpoint", Callback())]}, "other names in `callbacks` than .* got 'checkpoint'"),
    ],
    ids=["callbacks", "validation images", "names"],
)
def test_parts_of_the_training_are_not_replaced(params, message, tiny, faces):
    with pytest.raises(ValueError, match=message):
        tiny(**params).fit(faces.data, faces.target)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="needs PyTorch's Muon to compare with")
def test_muon_steps_like_pytorchs_on_kernels_and_like_adamw_on_the_others(tiny, faces):
    model = tiny(optimizer="muon").fit(faces.data[:40], faces.target[:40])
    kernel, bias = torch.randn(6, 3, 3, 3), torch.randn(6)
    ours = [torch.nn.Parameter(part.clone()) for part in (kernel, bias)]
    matrix, other = torch.nn.Parameter(kernel.flatten(1).clone()), torch.nn.Parameter(bias.clone())
    optimizer = type(model.net_.optimizer_)(ours, lr=0.1, weight_decay=0.05)
    rivals = [
        torch.optim.Muon([matrix], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([other], lr=0.1, weight_decay=0.05),
    ]
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        ours[0].grad, ours[1].grad = (torch.randn(part.shape, generator=generator) for part in ours)
        matrix.grad, other.grad = ours[0].grad.flatten(1), ours[1].grad.clone()
        optimizer.step()
        for rival in rivals:
            rival.step()
    torch.testing.assert_close(ours[0].flatten(1), matrix)
    torch.testing.assert_close(ours[1], other)


def test_a_failed_fit_removes_the_earlier_model(tiny, faces):
    model = tiny().fit(faces.data, faces.target)
    with pytest.raises(ValueError, match="Expected the name of a backbone"):
        model.set_params(backbone="nope").fit(faces.data, faces.target)
    with pytest.raises(NotFittedError):
        model.predict(faces.data)


def test_an_error_in_training_closes_the_progress_bar(tiny, faces, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, for rich
    monkeypatch.setenv("TERM", "xterm")
    before = threading.enumerate()
    with pytest.raises(ValueError, match="diverged"):
        tiny(verbose=1, lr=1e30, optimizer="sgd", max_epochs=3, lr_schedule=None).fit(faces.data, faces.target)
    drawing = [thread for thread in threading.enumerate() if "Refresh" in type(thread).__name__]
    for thread in set(drawing) - set(before):
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_partial_fit_after_ctrl_c_runs_at_the_constant_rate(tiny, faces):
    interrupt = Interrupt("on_batch_end")
    model = tiny(max_epochs=5, callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        model.fit(faces.data, faces.target)
    interrupt.moment = "never"
    model.partial_fit(faces.data, faces.target)
    assert [row["epoch"] for row in model.history_] == [1, 2, 3]
    assert model.history_[-1]["lr"] == model.lr_


def test_divergence_is_an_error(tiny, faces):
    with pytest.raises(ValueError, match="Training diverged"):
        tiny(lr=1e30, optimizer="sgd", max_epochs=3, lr_schedule=None).fit(faces.data, faces.target)


def test_divergence_in_the_last_step_is_an_error_too(tiny, faces):
    with pytest.raises(ValueError, match="Training diverged"):
        tiny(lr=1e39, batch_size=210, lr_schedule=None).fit(faces.data, faces.target)


def test_progress_shows_epochs_and_scores(tiny, faces, capsys):
    tiny(verbose=1, max_epochs=2, validation_fraction=0.2).fit(faces.data, faces.target)
    shown = capsys.readouterr().out
    assert "2/2" in shown
    tiny(max_epochs=2).fit(faces.data, faces.target)
    assert capsys.readouterr().out == ""


# parameters after fit


def test_tta_applies_to_a_fitted_model(tiny, faces):
    model = tiny(precision="float32").fit(faces.data, faces.target)
    mirrored = faces.images[:, :, ::-1]
    assert np.allclose(model.predict_proba(faces.images), model.predict_proba(mirrored), atol=1e-5)
    model.set_params(tta=None)
    one, other = model.predict_proba(faces.images), model.predict_proba(mirrored)
    assert not np.allclose(one, other, atol=1e-3)
    model.tta = "flip"
    np.testing.assert_allclose(model.predict_proba(faces.images), (one + other) / 2, atol=1e-5)


def test_precision_applies_to_a_fitted_model(tiny, faces):
    model = tiny(precision="float32").fit(faces.data, faces.target)
    exact = model.predict_proba(faces.data)
    model.set_params(precision="bfloat16")
    assert model.precision_ == "bfloat16"
    rounded = model.predict_proba(faces.data)
    assert not np.array_equal(rounded, exact)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(faces.data), rounded)
    model.set_params(precision="float32")
    np.testing.assert_array_equal(model.predict_proba(faces.data), exact)


def test_depthwise_convolutions_train_in_float32(tiny, faces):
    # their gradients in bfloat16 take many times as long on a CPU
    class Gradients(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten.convolution_backward.default:
                dtypes[args[9]].add(args[0].dtype)
            return function(*args, **(kwargs or {}))

    def checkpointed(num_classes, in_channels):
        network = timm.create_model("mobilenetv3_small_050", num_classes=num_classes, in_chans=in_channels)
        network.set_grad_checkpointing()
        return network

    for backbone, precision in product(("mobilenet_v3_small", checkpointed), ("bfloat16", "float32")):
        dtypes = defaultdict(set)  # by the number of groups
        model = tiny(backbone, precision=precision, device="cpu")
        with Gradients():
            model.fit(faces.data[:14], faces.target[:14])
        assert dtypes.pop(1) == {getattr(torch, precision)}
        assert len(dtypes) > 5
        assert set.union(*dtypes.values()) == {torch.float32}


def test_batch_size_applies_to_a_fitted_model(tiny, faces):
    class Count(CNN):
        sizes = []  # noqa: RUF012

        def forward(self, x):
            self.sizes.append(len(x))
            return super().forward(x)

    model = tiny(Count, backbone_params={"widths": (4,)}, tta=None).fit(faces.data, faces.target)
    for batch_size in (7, np.int64(30)):
        Count.sizes.clear()
        model.set_params(batch_size=batch_size).predict(faces.data)
        assert max(Count.sizes) == batch_size


def test_device_applies_to_a_fitted_model(tiny, faces):
    model = tiny().fit(faces.data, faces.target)
    expected = model.predict_proba(faces.data)
    difference = 0 if model.device_ == "cpu" else 0.05  # another device has another precision
    on_cpu = model.set_params(device="cpu").predict_proba(faces.data)
    np.testing.assert_allclose(on_cpu, expected, rtol=0, atol=difference)
    assert model.device_ == "cpu"
    with pytest.raises(ValueError, match="device must be"):
        model.set_params(device="abacus").predict(faces.data)
    model.set_params(device="auto").partial_fit(faces.data, faces.target)
    assert model.device_ in ("cpu", "cuda", "mps")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_fitted_model_moves_between_devices(tiny, faces):
    model = tiny(device="cpu", precision="float32").partial_fit(faces.data, faces.target, classes=range(7))
    expected = model.predict_proba(faces.data)
    np.testing.assert_allclose(model.set_params(device="cuda").predict_proba(faces.data), expected, atol=1e-3)
    model.partial_fit(faces.data, faces.target)
    assert model.device_.startswith("cuda")
    model.set_params(device="cpu").partial_fit(faces.data, faces.target)


@pytest.mark.parametrize("params", [{"tta": "rotate"}, {"precision": "int8"}, {"batch_size": 0}], ids=str)
def test_invalid_parameters_are_also_refused_at_predict(params, tiny, faces):
    model = tiny().fit(faces.data, faces.target)
    with pytest.raises(ValueError, match=next(iter(params))):
        model.set_params(**params).predict(faces.data)


def test_numpy_integers_work_like_python_integers(tiny, faces):
    params = {"batch_size": 32, "max_epochs": 2, "early_stopping": 2, "frozen_epochs": 1, "input_size": 32}
    numbers = {name: np.int64(value) for name, value in params.items()}
    for schedule in ("onecycle", "cosine", "plateau", None):
        plain, numpy = (
            tiny(**values, validation_fraction=0.2, lr_schedule=schedule).fit(faces.data, faces.target)
            for values in (params, numbers)
        )
        assert same(plain, numpy, faces)


# copies of one image


def test_copies_of_one_image_are_in_the_same_split(tiny, faces):
    """Otherwise, after an over-sampler, the classifier would train on copies of its validation faces."""
    rows = np.flatnonzero(np.isin(faces.target, [1, 3]))
    rows = np.r_[rows, np.repeat(rows[faces.target[rows] == 1], 4)]  # disgust five times
    X, y = faces.data[rows], faces.target[rows]
    seen = {}

    class Watch(Callback):
        def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
            for name, part in (("train", dataset_train), ("valid", dataset_valid)):
                seen[name] = {image.cpu().numpy().tobytes() for image in part.X}

    model = tiny(validation_fraction=0.3, callbacks=[Watch()]).fit(X, y)
    assert seen["valid"]
    assert not seen["train"] & seen["valid"]
    assert len(seen["train"] | seen["valid"]) == len(np.unique(X, axis=0))
    assert same(model, tiny(validation_fraction=0.3).fit(X, y), faces)


@pytest.mark.parametrize(("n", "expected"), [(1, 8), (70, 16), (300, 32), (1000, 64), (3000, 128), (28_709, 256)])
def test_the_batch_size_follows_the_number_of_images(n, expected, faces):
    rows = np.arange(max(n, 2)) % 70
    model = FERClassifier("cnn_small", backbone_params={"widths": (1,)}, input_size=4, augment=None, max_epochs=1)
    model.fit(faces.data[rows], rows % 2)
    assert model.batch_size_ == expected
    assert len(model.net_.history[-1]["batches"]) == -(-len(rows) // expected)


def test_a_fit_of_few_steps_warns(faces):
    model = FERClassifier("cnn_small", backbone_params={"widths": (1,)}, augment=None, batch_size=35, max_epochs=24)
    with pytest.warns(
        ConvergenceWarning, match="at least 50 training steps for a network to learn, got 48: increase"
    ) as warned:
        model.fit(faces.data[:70], faces.target[:70])
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(batch_size="auto").fit(faces.data[:70], faces.target[:70])
        model.partial_fit(faces.data[:70], faces.target[:70])


# partial_fit


class Fail(Callback):
    active = False

    def on_epoch_end(self, net, **kwargs):
        if self.active:
            raise OSError("disk full")


@pytest.mark.filterwarnings("ignore:Expected pixels on the scale")
@pytest.mark.parametrize("damage", ["unreadable file", "huge weight", "divergence", "callback"])
def test_a_partial_fit_that_fails_changes_nothing(damage, tiny, faces, tmp_path):
    paths = [tmp_path / f"{row}.png" for row in range(70)]
    for path, image in zip(paths, faces.images, strict=False):
        Image.fromarray(image).save(path)
    fail = Fail()
    X, y, weight = (paths if damage == "unreadable file" else faces.data[:70]), faces.target[:70], np.ones(70)
    model = tiny(callbacks=[fail], batch_size=16).partial_fit(X, y, classes=range(7))
    before, state = model.predict_proba(X), [value.clone() for value in model.network_.state_dict().values()]
    reference = pickle.loads(pickle.dumps(model))
    if damage == "unreadable file":
        content = paths[40].read_bytes()
        paths[40].write_bytes(content[:100])
    elif damage == "huge weight":
        weight[3] = 1e39
    elif damage == "divergence":
        X = faces.data[:70].astype(float)
        X[5] = 3e38
    fail.active = damage == "callback"
    with pytest.raises((ValueError, OSError)):
        model.partial_fit(X, y, sample_weight=weight)
    if damage == "unreadable file":
        paths[40].write_bytes(content)
    fail.active = False
    X = paths if damage == "unreadable file" else faces.data[:70]
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert all(map(torch.equal, state, model.network_.state_dict().values()))
    assert len(model.history_) == len(model.net_.history) == 1
    model.partial_fit(X, y)
    reference.partial_fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), reference.predict_proba(X))


def test_partial_fit_continues_the_training(tiny, faces):
    model = tiny()
    for _ in range(3):
        model.partial_fit(faces.data, faces.target, classes=np.arange(7))
    assert [row["epoch"] for row in model.history_] == [1, 2, 3]
    assert {row["lr"] for row in model.history_} == {model.lr_}
    assert model.history_[2]["train_loss"] < model.history_[0]["train_loss"]
    before = model.predict_proba(faces.data)
    model.partial_fit(faces.data[:50], faces.target[:50])
    assert not np.array_equal(model.predict_proba(faces.data), before)


def test_partial_fit_after_fit_and_pickling(tiny, faces):
    model = pickle.loads(pickle.dumps(tiny().fit(faces.data, faces.target)))
    model.partial_fit(faces.data, faces.target)
    assert len(model.history_) == 2


def test_partial_fit_keeps_the_order_of_classes_of_soft_targets(tiny, faces):
    names = np.array(["neutral", "happy", "sad", "angry", "fear", "disgust", "surprise"])
    model = tiny(random_state=0).fit(faces.data, pd.DataFrame(np.eye(7)[faces.target], columns=names))
    for _ in range(30):
        model.partial_fit(faces.data, np.full(len(faces.data), "sad"))
    assert list(model.classes_) == list(names)
    assert set(model.predict(faces.data)) == {"sad"}


def test_class_weights_of_classes_that_a_call_of_partial_fit_lacks(tiny, faces):
    model = tiny(class_weight={0: 2.0, 1: 3.0}).partial_fit(faces.data, faces.target, classes=range(7))
    model.partial_fit(faces.data[:2], [0, 5])
    with pytest.raises(ValueError, match="labels in class_weight among the classes"):
        tiny(class_weight={"angry": 2.0}).fit(faces.data, faces.target)


def test_partial_fit_needs_to_know_the_classes(tiny, faces):
    with pytest.raises(ValueError, match="Expected `classes` in the first call"):
        tiny().partial_fit(faces.data, faces.target)
    with pytest.raises(ValueError, match=r"among the classes .*got .6"):
        tiny().partial_fit(faces.data, faces.target, classes=range(6))
    model = tiny().partial_fit(faces.data, faces.target, classes=range(7))
    with pytest.raises(ValueError, match="Expected the classes of the first call"):
        model.partial_fit(faces.data, faces.target, classes=range(8))


# bad input


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros((4, 16)), ["a"] * 4, "one class"),
        (np.full((4, 16), np.nan), [0, 1, 0, 1], "NaN"),
        (np.zeros((4, 17)), [0, 1, 0, 1], "17 values are neither square"),
        (["1 2 3 4"] * 4, [0, 1, 0, 1], "put a PixelParser before"),
        (np.zeros((4, 16)), [0, 1, 0], "inconsistent numbers of samples"),
        (np.zeros((4, 16)), [0.5, 1.2, 0.1, 3.3], "Unknown label type"),
        (np.zeros((0, 16)), [], "0 sample"),
    ],
)
def test_bad_data_is_refused(X, y, message, tiny):
    with pytest.raises(ValueError, match=message):
        tiny().fit(X, y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"backbone": "resnet_18"}, "did you mean 'resnet18'"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"lr": "fast"}, "lr"),
        ({"augment": "all"}, "augment"),
        ({"precision": "int8"}, "precision"),
        ({"device": "abacus"}, "device must be"),
        ({"input_size": (64,)}, "input_size must be"),
        ({"augment": ImageAugmenter(scale=3)}, "scale"),
        ({"validation_fraction": 0.001}, "can't be held back"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(params, message, faces):
    with pytest.raises(ValueError, match=message):
        FERClassifier(**{"max_epochs": 1, **params}).fit(faces.data, faces.target)


def test_augment_parameters_need_an_augmenter():
    with pytest.raises(ValueError, match=r"to set augment__rotation, .*augment=ImageAugmenter\(\)"):
        FERClassifier().set_params(augment__rotation=5)
    model = FERClassifier().set_params(augment=ImageAugmenter(), augment__rotation=5)
    assert model.augment.rotation == 5


def test_predict_checks_its_input(fitted, faces):
    with pytest.raises(ValueError, match="features"):
        fitted.predict(faces.data[:, :100])
    with pytest.raises(ValueError, match="NaN"):
        fitted.predict(np.full((1, 2304), np.nan))
    with pytest.raises(ValueError, match=r"got one image of shape \(48, 48\)"):
        fitted.predict(faces.images[0])
    with pytest.raises(ValueError, match="0 sample"):
        fitted.predict(np.empty((0, 48, 48), np.uint8))
    with pytest.raises(ValueError, match="too large"):
        fitted.predict(faces.data * 1e300)
    with pytest.raises(NotFittedError):
        FERClassifier().predict(faces.data)


# composition


def test_labels_are_predicted_by_name_not_by_position(fitted, faces):
    assert list(fitted.classes_) == sorted(faces.target_names)
    best = fitted.predict_proba(faces.data).argmax(axis=1)
    assert (fitted.predict(faces.data) == fitted.classes_[best]).all()


def test_predictions_do_not_depend_on_the_batch(fitted, faces):
    whole = fitted.predict_proba(faces.data)
    single = np.concatenate([fitted.predict_proba(faces.data[row : row + 1]) for row in range(20)])
    np.testing.assert_allclose(single, whole[:20], atol=0.02 if fitted.precision_ == "bfloat16" else 1e-5)


def test_mirrored_faces_get_the_same_probabilities(fitted, faces):
    np.testing.assert_allclose(
        fitted.predict_proba(faces.images), fitted.predict_proba(faces.images[:, :, ::-1]), atol=1e-5
    )


def test_a_whole_pipeline_from_strings(tiny, faces):
    y = faces.target_names[faces.target]
    pipeline = Pipeline(
        [
            ("parse", PixelParser()),
            ("resize", ImageResizer(32)),
            ("balance", RandomOverSampler(random_state=0)),
            ("augment", ImageAugmenter(random_state=0)),
            ("normalize", ImageNormalizer()),
            ("classify", tiny()),
        ]
    ).fit(as_text(faces.data[:150]), y[:150])
    y_pred = pipeline.predict(as_text(faces.data[150:]))
    report = classification_report(y[150:], y_pred, labels=faces.target_names, zero_division=0)
    assert "surprise" in report
    shown = ConfusionMatrixDisplay.from_predictions(y[150:], y_pred, labels=faces.target_names)
    assert shown.confusion_matrix.sum() == 60


def test_resampling_only_acts_in_fit(tiny, faces):
    rows = np.r_[np.flatnonzero(faces.target == 3), np.flatnonzero(faces.target == 1)[:3]]
    pipeline = Pipeline([("balance", RandomOverSampler(random_state=0)), ("classify", tiny(batch_size=1))])
    pipeline.fit(faces.data[rows], faces.target[rows])
    assert pipeline[-1].net_.history[0, "train_batch_count"] == 60
    assert pipeline.predict(faces.data[:5]).shape == (5,)


def test_grid_over_backbones(tiny, faces):
    search = GridSearchCV(
        FERClassifier(max_epochs=1, random_state=0), {"backbone": ["cnn", "resnet18"]}, cv=2, error_score="raise"
    ).fit(faces.data[:42], faces.target[:42])
    assert set(search.cv_results_["param_backbone"]) == {"cnn", "resnet18"}


# persistence


@pytest.mark.parametrize("way", ["pickle", "joblib"])
def test_saved_models_predict_the_same(way, fitted, faces, tmp_path):
    if way == "pickle":
        loaded = pickle.loads(pickle.dumps(fitted))
    else:
        joblib.dump(fitted, tmp_path / "model.joblib")
        loaded = joblib.load(tmp_path / "model.joblib")
    assert same(loaded, fitted, faces)
    np.testing.assert_equal(loaded.history_, fitted.history_)


def test_a_saved_model_is_as_large_as_its_weights(tmp_path, faces):
    model = FERClassifier(max_epochs=1, random_state=0, validation_fraction=0.5).fit(faces.data, faces.target)
    weights = sum(value.nbytes for value in model.network_.state_dict().values())
    assert joblib.dump(model, tmp_path / "m.joblib")
    assert (tmp_path / "m.joblib").stat().st_size < weights + 30_000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_from_a_gpu_loads_without_one(tiny, faces, tmp_path):
    model = tiny(device="cuda").fit(faces.data, faces.target)
    joblib.dump(model, tmp_path / "m.joblib")
    np.save(tmp_path / "X.npy", faces.data)
    code = (
        "import joblib, numpy as np; m = joblib.load('m.joblib'); assert m.device_ == 'cpu';"
        "np.save('p.npy', m.predict_proba(np.load('X.npy')))"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    )
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), model.predict_proba(faces.data), atol=0.05)


def test_a_model_from_a_machine_with_another_device_loads(tiny, faces):
    model = tiny().fit(faces.data, faces.target)
    expected = model.predict_proba(faces.data)
    model.net_.device = "hpu"
    with pytest.warns(DeviceWarning, match="hpu"):
        loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict_proba(faces.data), expected)


# the package


def test_import_is_light():
    code = "import sys, ferkit; print([m for m in ('matplotlib', 'torchvision', 'typer') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_pipeline_is_the_one_of_imbalanced_learn():
    from imblearn.pipeline import Pipeline as theirs

    assert ferkit.Pipeline is theirs


class WithoutChannels(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer = torch.nn.Linear(2304, num_classes)

    def forward(self, images):
        return self.layer(images.flatten(1))


class WithoutClasses(torch.nn.Module):
    def __init__(self, in_channels):
        super().__init__()


class Lazy(torch.nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.layer = torch.nn.LazyLinear(num_classes)

    def forward(self, images):
        return self.layer(images.flatten(1))


@pytest.mark.parametrize("frozen_epochs", [0, 1])
@pytest.mark.parametrize(
    ("backbone", "error", "message"),
    [
        (WithoutChannels, TypeError, r"in_channels in a backbone, got WithoutChannels without it(.|\n)*def build\("),
        (WithoutClasses, TypeError, "parameter num_classes in a backbone, got WithoutClasses without it"),
        (Lazy, ValueError, r"got Lazy with lazy layers such as nn.LazyLinear: write nn\.Linear"),
    ],
)
def test_backbones_that_cannot_be_built_say_what_is_missing(backbone, error, message, frozen_epochs, tiny, faces):
    with pytest.raises(error, match=message):
        tiny(backbone, frozen_epochs=frozen_epochs).fit(faces.data, faces.target)


def test_the_advice_for_a_backbone_without_channels_works(tiny, faces):
    with pytest.raises(TypeError) as raised:
        tiny(WithoutChannels).fit(faces.data, faces.target)
    scope = {"WithoutChannels": WithoutChannels}
    exec("def " + str(raised.value).split("def ")[1], scope)
    tiny(scope["build"]).fit(faces.data, faces.target)


@pytest.mark.parametrize("callback", [print, lambda net: None, ("each", print)])
def test_a_function_in_callbacks_says_how_to_make_a_callback(callback, tiny, faces):
    with pytest.raises(TypeError, match=r"Expected skorch callbacks, got .*(.|\n)*def on_epoch_end"):
        tiny(callbacks=[callback]).fit(faces.data, faces.target)
