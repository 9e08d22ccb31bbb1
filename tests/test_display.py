import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB

from ferkit import FERClassifier, ImageAugmenter, ImageNormalizer, Pipeline, PixelParser
from ferkit.backbones import CNN, summarize
from ferkit.datasets import make_faces
from ferkit.display import (
    AugmentationDisplay,
    BackboneDisplay,
    ClassDistributionDisplay,
    ClassScoresDisplay,
    ComparisonDisplay,
    ConfusionDisplay,
    ExplanationDisplay,
    FacesDisplay,
    FilterDisplay,
    HistoryDisplay,
    PrecisionRecallDisplay,
    PredictionsDisplay,
    ReliabilityDisplay,
    RocDisplay,
)
from ferkit.report import Report, evaluate

# rows are true labels: one of three angry faces is predicted as happy, and both happy ones as angry
TRUE = ["angry"] * 3 + ["happy"] * 2 + ["sad"]
PREDICTED = ["angry", "angry", "happy", "angry", "angry", "sad"]
BETTER = ["angry", "angry", "angry", "happy", "angry", "angry"]


LONG = [f"surprised, astonished {number}" for number in range(8)]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def names(faces):
    return faces.target_names[faces.target]


def texts(display):
    return [[text.get_text() for text in row] for row in display.text_]


def is_whole(figure):
    figure.canvas.draw()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(box.x0, box.y0, width - box.x1, height - box.y1) >= -0.01


def test_confusion_shows_counts():
    display = ConfusionDisplay.from_predictions(TRUE, PREDICTED)
    assert display.values.tolist() == confusion_matrix(TRUE, PREDICTED).tolist()
    assert texts(display) == [["2", "1", ""], ["2", "", ""], ["", "", "1"]]
    assert [tick.get_text() for tick in display.ax_.get_yticklabels()] == ["angry (3)", "happy (2)", "sad (1)"]
    assert display.ax_.get_title() == "accuracy 50.0%, n = 6"


def test_confusion_shows_fractions_in_the_order_of_labels():
    display = ConfusionDisplay.from_predictions(TRUE, PREDICTED, labels=["sad", "happy", "angry"], normalize="true")
    assert texts(display) == [["100%", "", ""], ["", "", "100%"], ["", "33%", "67%"]]
    with pytest.raises(ValueError, match="Expected normalize=None"):
        ConfusionDisplay.from_predictions(TRUE, PREDICTED, normalize="rows")


def test_confusion_shows_the_difference_of_two_models():
    late = pd.Series(PREDICTED, index=range(5, 5 + len(PREDICTED)))
    display = ConfusionDisplay.from_predictions(TRUE, BETTER, baseline=late)
    assert texts(display) == [["+1", "-1", ""], ["-1", "+1", ""], ["+1", "", "-1"]]
    more, less = (display.ax_.images[0].to_rgba(value) for value in (1, -1))
    assert more[0] > more[2], "more is orange"
    assert less[0] < less[2], "less is purple"
    shares = ConfusionDisplay.from_predictions(TRUE, BETTER, baseline=PREDICTED, normalize="true")
    assert texts(shares)[0] == ["+33%", "-33%", ""]
    same = ConfusionDisplay.from_predictions(TRUE, PREDICTED, baseline=PREDICTED)
    assert min(same.ax_.images[0].to_rgba(0)) > 0.9, "equal values are white"


def test_labels_that_are_not_listed_come_last():
    display = ConfusionDisplay.from_predictions(TRUE, PREDICTED, labels=["sad", "angry"])
    assert display.labels == ["sad", "angry", "happy"]
    assert display.ax_.get_title() == "accuracy 50.0%, n = 6"


def test_most_confused_pairs_come_first():
    display = ConfusionDisplay.from_predictions(TRUE, PREDICTED)
    assert display.most_confused() == [("happy", "angry", 2), ("angry", "happy", 1)]
    assert display.most_confused(1) == [("happy", "angry", 2)]
    worse = ConfusionDisplay.from_predictions(TRUE, BETTER, baseline=PREDICTED)
    assert worse.most_confused() == [("sad", "angry", 1)]


def test_confusion_of_an_estimator_goes_into_given_axes(fitted, faces, names):
    _, (left, right) = plt.subplots(1, 2)
    counts = confusion_matrix(names, fitted.predict(faces.data))
    display = ConfusionDisplay.from_estimator(fitted, faces.data, names, ax=right, name="all")
    assert display.ax_ is right
    assert display.values.tolist() == counts.tolist()
    assert right.get_title().startswith("all: accuracy")
    assert not left.images


@pytest.mark.parametrize(
    ("display_class", "score"), [(RocDisplay, roc_auc_score), (PrecisionRecallDisplay, average_precision_score)]
)
def test_each_label_has_its_curve_and_score(fitted, faces, names, display_class, score):
    _, ax = plt.subplots()
    display = display_class.from_estimator(fitted, faces.data, names, ax=ax)
    assert display.ax_ is ax
    proba = fitted.predict_proba(faces.data)
    expected = {label: score(names == label, column) for label, column in zip(fitted.classes_, proba.T, strict=True)}
    assert display.scores == pytest.approx(expected)
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == [f"{label} {value:.2f}" for label, value in expected.items()]
    looks = {(line.get_color(), line.get_linestyle()) for line in display.ax_.lines}
    assert len(looks) >= len(expected), "no two alike"


def test_classes_have_a_bar_of_each_score():
    _, ax = plt.subplots()
    display = ClassScoresDisplay(Report.from_predictions(TRUE, PREDICTED).to_frame()).plot(ax)
    assert display.ax_ is ax
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([1 / 2, 0, 1, 2 / 3, 0, 1])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["angry (3)", "happy (2)", "sad (1)"]


def test_labels_that_do_not_occur_have_no_curve():
    proba = [[0.7, 0.2, 0.1], [0.3, 0.5, 0.2]]
    assert list(RocDisplay.from_predictions([1, 2], proba, labels=[1, 2, 3]).curves) == [1, 2]


def test_reliability_sorts_probabilities_into_bins():
    happy = np.array([0.95, 0.95, 0.95, 0.95, 0.65, 0.55, 0.2])
    y = ["happy", "happy", "happy", "sad", "sad", "happy", "sad"]
    display = ReliabilityDisplay.from_predictions(y, np.c_[happy, 1 - happy], labels=["happy", "sad"], n_bins=10)
    assert display.counts.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 4]
    curve, shares = display.axes_
    assert curve.lines[-1].get_xdata() == pytest.approx([0.55, 0.65, 0.8, 0.95])
    assert curve.lines[-1].get_ydata() == pytest.approx([1, 0, 1, 0.75])
    assert [bar.get_height() for bar in shares.patches] == pytest.approx(display.counts / 7)
    assert display.expected_calibration_error == pytest.approx((0.45 + 0.65 + 0.2 + 4 * 0.2) / 7)


def test_reliability_counts_as_it_averages_on_the_edges():
    confidence = np.array([0.5, 0.6, 0.8, 1.0])
    display = ReliabilityDisplay.from_predictions([0] * 4, np.c_[confidence, 1 - confidence], labels=[0, 1], n_bins=5)
    assert len(display.accuracy) == np.count_nonzero(display.counts)
    assert np.dot(display.confidence, display.counts[display.counts > 0]) == pytest.approx(confidence.sum())


def test_reliability_agrees_with_the_report(fitted, faces, names):
    display = ReliabilityDisplay.from_estimator(fitted, faces.data, names)
    assert display.expected_calibration_error == pytest.approx(evaluate(fitted, faces.data, names).calibration_error)


def test_reliability_of_an_estimator(fitted, faces, names):
    display = ReliabilityDisplay.from_estimator(fitted, faces.data, names, n_bins=4)
    assert display.counts.sum() == len(names)
    accuracy = np.average(display.accuracy, weights=display.counts[display.counts > 0])
    assert accuracy == pytest.approx(fitted.score(faces.data, names))


def test_the_most_confident_mistakes_come_first(fitted, faces, names):
    display = PredictionsDisplay.from_estimator(fitted, faces.data, names, n_images=12, order="mistakes")
    proba = fitted.predict_proba(faces.data)
    wrong = fitted.classes_[proba.argmax(axis=1)] != names
    assert display.probability == pytest.approx(np.sort(proba.max(axis=1)[wrong])[::-1][:12])
    assert (display.y_true != display.y_pred).all()
    assert all(ax.get_title().startswith("✗") for ax in display.axes_.flat[:12])
    with pytest.raises(ValueError, match="Expected order="):
        PredictionsDisplay.from_estimator(fitted, faces.data, names, order="worst")


def test_predictions_are_those_of_the_estimator_and_not_the_most_probable_label(faces):
    y = np.where(faces.target == 3, "happy", "other")
    model = FixedThresholdClassifier(GaussianNB(), threshold=1e-9, pos_label="happy", response_method="predict_proba")
    y_pred = model.fit(faces.data, y).predict(faces.data)
    proba = model.predict_proba(faces.data)
    wrong = y_pred != y
    assert (model.classes_[proba.argmax(axis=1)] != y_pred).any()
    display = PredictionsDisplay.from_estimator(model, faces.data, y, n_images=wrong.sum(), order="mistakes")
    assert (display.y_true != display.y_pred).all()
    column = (y_pred == "other").astype(int)
    assert sorted(display.probability) == sorted(proba[np.arange(len(y)), column][wrong])
    display = ReliabilityDisplay.from_estimator(model, faces.data, y)
    assert np.average(display.accuracy, weights=display.counts[display.counts > 0]) == pytest.approx((~wrong).mean())


def test_correct_predictions_follow_the_mistakes(faces):
    proba = np.array([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7]])
    display = PredictionsDisplay.from_predictions(faces.images[:3], [1, 0, 0], proba, labels=[0, 1], order="mistakes")
    assert display.probability.tolist() == [0.7, 0.6, 0.9]
    assert (display.images[..., 0] == faces.images[[2, 0, 1]]).all()


@pytest.mark.parametrize("shape", [(2304,), (48, 48), (48, 48, 3)])
def test_each_augmentation_has_its_row(faces, shape):
    face = np.resize(faces.images[0][..., None] if len(shape) == 3 else faces.images[0], shape)
    augmenter = ImageAugmenter(rotation=0, translation=0, scale=0, erasing=1)
    display = AugmentationDisplay.from_estimator(augmenter, face, n_draws=3)
    assert display.labels == ["contrast=0.2", "erasing=1", "horizontal_flip=0.5", "all together"]
    assert display.axes_.shape == (4, 4)
    for row in display.images:
        assert row.dtype == np.uint8
        assert (row[0].ravel() == face.ravel()).all(), "the original comes first"
    flipped = display.images[2]
    assert all(any((image == view).all() for view in (flipped[0], flipped[0][:, ::-1])) for image in flipped)
    assert augmenter.get_params() == ImageAugmenter(rotation=0, translation=0, scale=0, erasing=1).get_params()


def test_augmentation_is_repeatable(faces):
    first, second = (
        AugmentationDisplay.from_estimator(ImageAugmenter(), faces.images[0], random_state=1) for _ in range(2)
    )
    assert all((one == other).all() for one, other in zip(first.images, second.images, strict=True))


def test_filters_come_from_the_first_convolution(fitted, faces):
    display = FilterDisplay.from_estimator(Pipeline([("model", fitted)]))
    shown = [ax.images[0].get_array() for ax in display.axes_.flat if ax.images]
    weights = fitted.network_.backbone.features[0][0].weight.detach().cpu().numpy()
    assert np.allclose(shown, weights[:, 0])
    assert len({ax.images[0].get_clim() for ax in display.axes_.flat}) == 1, "one scale"


def test_filters_of_color_images_are_colored(tiny, faces):
    model = tiny().fit(np.repeat(faces.images[:14, ..., None], 3, axis=3), faces.target[:14])
    ax = FilterDisplay.from_estimator(model).axes_.flat[0]
    assert ax.images[0].get_array().shape == (5, 5, 3)


class Linear(torch.nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.linear = torch.nn.Linear(in_channels * 48 * 48, num_classes)

    def forward(self, images):
        return self.linear(images.flatten(1))


@pytest.mark.parametrize("display_class", [FilterDisplay, ExplanationDisplay])
def test_a_backbone_without_convolutions_is_refused(tiny, faces, display_class):
    model = tiny(Linear).fit(faces.data[:14], faces.target[:14])
    images = () if display_class is FilterDisplay else (faces.data[:2],)
    with pytest.raises(ValueError, match="no convolution"):
        display_class.from_estimator(model, *images)


@pytest.mark.parametrize(
    ("backbone", "layer", "size"),
    [
        ("cnn", "features", 12),
        ("resnet18", "layer4", 2),
        pytest.param("vgg11_bn", "features.25", 3, marks=pytest.mark.slow),
        ("mobilenet_v3_small", "features", 2),
        ("googlenet", "inception5b", 2),  # has parallel branches
        ("squeezenet1_1", "classifier.1", 2),  # is overwritten by an in-place ReLU
        ("timm/resnet10t", "layer4", 2),
    ],
)
def test_grad_cam_finds_the_last_maps_and_changes_nothing(tiny, faces, names, backbone, layer, size):
    model = tiny(backbone, precision="bfloat16").fit(faces.data[:14], names[:14])
    network, proba = model.network_, model.predict_proba(faces.data[:4])
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.zero_grad()
    display = ExplanationDisplay.from_estimator(model, faces.images[:4], names[:4])
    assert display.title == f"Grad-CAM at {layer}, {size}×{size}"
    assert display.heat.shape == (4, 48, 48)
    assert np.isfinite(display.heat).all()
    assert display.heat.min() >= 0
    for ax, label, share in zip(display.axes_.flat, model.classes_[proba.argmax(axis=1)], proba.max(1), strict=True):
        assert f"{label} {share:.0%}" in ax.get_title()
        assert len(ax.images) == 2
    assert all((weights[name] == tensor).all() for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    assert (model.predict_proba(faces.data[:4]) == proba).all()


class Corners(torch.nn.Module):
    """Classifier that compares the brightness of the upper left and the lower right corner."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.convolution = torch.nn.Conv2d(in_channels, 2, 8, stride=8)
        self.register_buffer("corners", torch.zeros(2, 6, 6))
        self.corners[0, 0, 0] = self.corners[1, -1, -1] = 1
        self.scale = torch.nn.Parameter(torch.ones(1))
        torch.nn.init.constant_(self.convolution.weight, 1 / 64)

    def forward(self, images):
        return self.scale * (self.convolution(images).relu() * self.corners).sum(dim=(2, 3))


@pytest.mark.parametrize("freeze_weights", [False, True])
def test_grad_cam_shows_where_the_evidence_is(tiny, freeze_weights):
    images = np.zeros((40, 48, 48), dtype=np.uint8)
    images[:20, :8, :8] = images[20:, -8:, -8:] = 255
    model = tiny(Corners, augment=None, tta=None, max_epochs=1, lr=1e-4).fit(images, [0] * 20 + [1] * 20)
    model.network_.requires_grad_(not freeze_weights)
    display = ExplanationDisplay.from_estimator(model, images[[0, -1]])
    assert display.y_pred.tolist() == [0, 1]
    for heat, corner in zip(display.heat, [slice(8), slice(-8, None)], strict=True):
        assert heat[corner, corner].max() == heat.max() > 0
        assert heat[corner, corner].sum() > 0.5 * heat.sum()


def test_grad_cam_at_another_layer_of_a_pipeline(faces, names):
    model = FERClassifier(backbone_params={"widths": (8, 16)}, max_epochs=1, batch_size=64, random_state=0)
    pipeline = Pipeline([("normalize", ImageNormalizer()), ("augment", ImageAugmenter()), ("model", model)])
    pipeline.fit(faces.data[:70], names[:70])
    display = ExplanationDisplay.from_estimator(pipeline, faces.data[:3], layer="features.0")
    assert display.title == "Grad-CAM at features.0, 24×24"
    assert display.y_pred.tolist() == pipeline.predict(faces.data[:3]).tolist()
    assert "✓" not in display.axes_.flat[0].get_title()


METHODS = ["grad_cam", "occlusion", "integrated_gradients"]
SIDE = 48
# rows and columns of drawn faces, whose heads differ in position, size and angle
REGIONS = {"mouth": (slice(31, 44), slice(14, 34)), "brows": (slice(7, 19), slice(9, 39))}


@pytest.fixture(scope="module", params=REGIONS)
def told_by(request):
    """Name of a region, and a model and faces in which only the half with this region says what the label is."""
    faces = make_faces(700, proportions=[1, 0, 0, 0, 0, 1, 0], random_state=0)  # angry, surprise
    images, y = faces.images.copy(), faces.target_names[faces.target]
    half = slice(0, 27) if request.param == "mouth" else slice(27, SIDE)
    images[:, half] = np.random.default_rng(0).permutation(images)[:, half]
    model = FERClassifier(
        backbone_params={"widths": (16, 32)}, max_epochs=8, batch_size=32, augment=None, random_state=0
    )
    return request.param, model.fit(images[:600], y[:600]), images[600:660], y[600:660]


@pytest.mark.parametrize("method", METHODS)
def test_explanations_show_the_region_that_matters(told_by, method):
    region, model, images, y = told_by
    display = ExplanationDisplay.from_estimator(model, images, y, method=method, average=True)
    assert display.y_pred.tolist() == ["angry", "surprise"]
    heat = display.heat.mean(axis=0) / display.heat.mean(axis=0).sum()
    shares = {name: heat[place].sum() for name, place in REGIONS.items()}
    assert shares[region] == max(shares.values())
    assert shares[region] > 2 * heat[REGIONS[region]].size / heat.size


@pytest.mark.parametrize("method", METHODS)
def test_explanations_of_every_method_change_nothing(fitted, faces, names, method):
    proba = fitted.predict_proba(faces.data[:5])
    fitted.network_.zero_grad()
    display = ExplanationDisplay.from_estimator(fitted, faces.data[:5], names[:5], method=method)
    assert display.heat.shape == (5, 48, 48)
    assert np.isfinite(display.heat).all()
    assert display.heat.min() >= 0
    assert display.heat.max() > 0
    assert all(parameter.grad is None for parameter in fitted.network_.parameters())
    assert (fitted.predict_proba(faces.data[:5]) == proba).all()
    again = ExplanationDisplay.from_estimator(fitted, faces.data[2:3], method=method).heat
    np.testing.assert_allclose(again[0], display.heat[2], rtol=1e-3, atol=1e-5)  # no image depends on the others


@pytest.mark.parametrize("method", ["occlusion", "integrated_gradients"])
def test_only_grad_cam_needs_a_convolution(tiny, faces, method):
    images = faces.data[:14].reshape(-1, 36, 64)
    model = tiny(Linear).fit(images, faces.target[:14])
    assert ExplanationDisplay.from_estimator(model, images[:2], method=method).heat.shape == (2, 36, 64)


def test_occlusion_finds_the_evidence_in_a_corner(tiny):
    images = np.zeros((40, 48, 48), dtype=np.uint8)
    images[:20, :8, :8] = images[20:, -8:, -8:] = 255
    model = tiny(Corners, augment=None, tta=None, lr=1e-4).fit(images, [0] * 20 + [1] * 20)
    for method in ("occlusion", "integrated_gradients"):
        display = ExplanationDisplay.from_estimator(model, images[[0, -1]], method=method)
        for heat, corner in zip(display.heat, [slice(8), slice(-8, None)], strict=True):
            assert heat[corner, corner].sum() > 0.5 * heat.sum() > 0


def test_averages_count_right_predictions_of_each_label(fitted, faces, names):
    y_pred = fitted.predict(faces.data)
    display = ExplanationDisplay.from_estimator(fitted, faces.data, average=True)
    labels, counts = np.unique(y_pred, return_counts=True)
    assert display.y_pred.tolist() == labels.tolist()
    assert display.counts == counts.tolist()
    np.testing.assert_allclose(display.images[0, ..., 0], faces.images[y_pred == labels[0]].mean(axis=0))
    np.testing.assert_allclose(display.heat.sum(axis=(1, 2)), 1, rtol=1e-4)
    assert display.axes_.flat[0].get_title() == f"{labels[0]}\n{counts[0]:,} images"
    display = ExplanationDisplay.from_estimator(fitted, faces.data, names, average=True)
    right = y_pred == names
    assert dict(zip(display.y_pred, display.counts, strict=True)) == dict(
        zip(*np.unique(y_pred[right], return_counts=True), strict=True)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "lime"}, "Expected a method among"),
        ({"method": "occlusion", "layer": "features"}, "only .grad_cam."),
    ],
)
def test_invalid_options_of_explanations_are_named(fitted, faces, options, words):
    with pytest.raises(ValueError, match=words):
        ExplanationDisplay.from_estimator(fitted, faces.data[:2], **options)


def test_the_old_name_of_grad_cam_still_works(fitted, faces):
    with pytest.warns(FutureWarning, match="ExplanationDisplay"):
        from ferkit.display import GradCAMDisplay
    old = GradCAMDisplay.from_estimator(fitted, faces.data[:2])
    assert (old.heat == ExplanationDisplay.from_estimator(fitted, faces.data[:2]).heat).all()
    with pytest.raises(ImportError, match="cannot import name"):
        from ferkit.display import NoSuchDisplay  # noqa: F401


def test_without_captum_the_extra_is_named(fitted, faces, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ImportError, match=r"ferkit\[explain\]"):
        ExplanationDisplay.from_estimator(fitted, faces.data[:2])


DISPLAYS = {
    "augmentation": lambda model, X, y: AugmentationDisplay.from_estimator(ImageAugmenter(), X[0]),
    "backbone": lambda model, X, y: BackboneDisplay(summarize(CNN(7), (1, 48, 48)), title="cnn").plot(),
    "class distribution": lambda model, X, y: ClassDistributionDisplay.from_targets(
        {"one": y, "other": y}, labels=np.unique(y)
    ),
    "comparison": lambda model, X, y: ComparisonDisplay(
        pd.DataFrame(
            {
                "name": ["a_backbone_of_a_long_name"],
                "tested_on": ["PublicTest"],
                "accuracy": [0.63],
                "accuracy_low": [0.61],
                "accuracy_high": [0.65],
                "training_accuracy": [0.97],
                "parameters": [138_000_000],
                "flops": [115_516_928],
                "seconds": [290],
            }
        )
    ).plot(),
    "scores of classes": lambda model, X, y: ClassScoresDisplay(evaluate(model, X, y).to_frame()).plot(),
    "scores of long names": lambda model, X, y: ClassScoresDisplay(
        Report.from_predictions(LONG, LONG[::-1]).to_frame()
    ).plot(),
    "counts": lambda model, X, y: ConfusionDisplay.from_estimator(model, X, y),
    "difference of two classes": lambda model, X, y: ConfusionDisplay.from_predictions(
        y == "sad", y == "happy", baseline=y == "fear", normalize="true"
    ),
    "long names": lambda model, X, y: ConfusionDisplay.from_predictions(LONG, LONG[::-1], normalize="true"),
    "class distribution of long names": lambda model, X, y: ClassDistributionDisplay.from_targets(
        {"one": LONG}, labels=LONG
    ),
    "ROC of long names": lambda model, X, y: RocDisplay.from_predictions(LONG, np.eye(8), labels=LONG),
    "predictions of long names": lambda model, X, y: PredictionsDisplay.from_predictions(
        X[:8], LONG, np.eye(8)[::-1], labels=LONG
    ),
    "two classes": lambda model, X, y: ConfusionDisplay.from_predictions(y == "sad", y == "happy", normalize="true"),
    "difference": lambda model, X, y: ConfusionDisplay.from_estimator(model, X, y, baseline=model),
    "many labels": lambda model, X, y: ConfusionDisplay.from_predictions(np.arange(30), np.arange(30)),
    "faces": lambda model, X, y: FacesDisplay.from_data(X.reshape(-1, 48, 48), y),
    "filters": lambda model, X, y: FilterDisplay.from_estimator(model),
    "Grad-CAM": lambda model, X, y: ExplanationDisplay.from_estimator(model, X[:10], y[:10]),
    "Grad-CAM of one": lambda model, X, y: ExplanationDisplay.from_estimator(model, X[:1], y[:1]),
    "learning curve": lambda model, X, y: HistoryDisplay.from_estimator(model),
    "precision and recall": lambda model, X, y: PrecisionRecallDisplay.from_estimator(model, X, y),
    "predictions": lambda model, X, y: PredictionsDisplay.from_estimator(model, X, y),
    "one prediction": lambda model, X, y: PredictionsDisplay.from_estimator(model, X, y, n_images=1),
    "reliability": lambda model, X, y: ReliabilityDisplay.from_estimator(model, X, y),
    "ROC": lambda model, X, y: RocDisplay.from_estimator(model, X, y),
}


@pytest.mark.parametrize("draw", DISPLAYS.values(), ids=DISPLAYS)
def test_nothing_is_clipped(draw, fitted, faces, names):
    assert is_whole(draw(fitted, faces.data, names).figure_)


NUMBERS = {
    "confusion": lambda model, X, y: ConfusionDisplay.from_estimator(model, X, y),
    "distribution": lambda model, X, y: ClassDistributionDisplay.from_targets({"all": y}, labels=model.classes_),
    "faces": lambda model, X, y: FacesDisplay.from_data(X, y, labels=model.classes_),
    "Grad-CAM": lambda model, X, y: ExplanationDisplay.from_estimator(model, X, y),
    "precision and recall": lambda model, X, y: PrecisionRecallDisplay.from_estimator(model, X, y),
    "predictions": lambda model, X, y: PredictionsDisplay.from_estimator(model, X, y),
    "reliability": lambda model, X, y: ReliabilityDisplay.from_estimator(model, X, y),
    "ROC": lambda model, X, y: RocDisplay.from_estimator(model, X, y),
}


@pytest.mark.parametrize("draw", NUMBERS.values(), ids=NUMBERS)
def test_labels_of_another_type_or_number_are_refused(draw, fitted, faces, names):
    with pytest.raises(ValueError, match=r"Expected labels like|Mix of label input types"):
        draw(fitted, faces.data, faces.target)
    if draw is not NUMBERS["distribution"]:
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            draw(fitted, faces.data, names[:-1])


def test_invalid_probabilities_are_refused(faces):
    for display in (
        lambda proba: ReliabilityDisplay.from_predictions(["a", "b"], proba, labels=["a", "b"]),
        lambda proba: PredictionsDisplay.from_predictions(faces.data[:2], ["a", "b"], proba, labels=["a", "b"]),
    ):
        with pytest.raises(ValueError, match="from 0 to 1"):
            display([[3.0, -2.0], [0.5, np.nan]])
        with pytest.raises(ValueError, match=r"of shape \(n, 2\)"):
            display(np.eye(2, 3))


def test_rocs_need_two_labels():
    with pytest.raises(ValueError, match="at least two labels, got 2 images of a"):
        RocDisplay.from_predictions(["a", "a"], np.eye(2), labels=["a", "b"])


@pytest.mark.parametrize("display", [FilterDisplay, ExplanationDisplay, HistoryDisplay])
def test_displays_of_networks_need_a_fitted_classifier(display, faces):
    arguments = (faces.data[:2],) if display is ExplanationDisplay else ()
    with pytest.raises(NotFittedError):
        display.from_estimator(FERClassifier(), *arguments)
    with pytest.raises(ValueError, match="Expected a FERClassifier"):
        display.from_estimator(DummyClassifier().fit(faces.data, faces.target), *arguments)


@pytest.mark.parametrize("form", ["rows that are not square", "strings", "paths"])
def test_predictions_show_the_images_that_the_model_sees(form, tmp_path, names):
    faces = make_faces(40, as_frame=True, random_state=0)
    model, X, expected = FERClassifier(backbone_params={"widths": (8,)}, max_epochs=1), faces.data, faces.images
    if form == "strings":
        model, X = Pipeline([("parse", PixelParser()), ("classify", model)]), faces.frame["pixels"]
    elif form == "paths":
        X = [tmp_path / f"{number}.png" for number in range(40)]
        for path, image in zip(X, faces.images, strict=True):
            Image.fromarray(image).save(path)
    else:
        expected = faces.images[:, :, :36]  # 3 · 24² values
        X, model = expected.reshape(40, -1), model.set_params(image_shape=(48, 36))
    display = PredictionsDisplay.from_estimator(model.fit(X, faces.target), X, faces.target, n_images=40)
    assert sorted(image.tobytes() for image in display.images) == sorted(image.tobytes() for image in expected)


def test_augmented_floats_are_on_the_scale_of_the_original(faces):
    augmenter = ImageAugmenter(brightness=1, contrast=0, rotation=0, scale=0, translation=0, horizontal_flip=0)
    drawn = [
        [ax.images[0].get_array().mean() for ax in AugmentationDisplay.from_estimator(augmenter, face).axes_[0]]
        for face in (faces.images[0], faces.images[0] / np.float32(255))
    ]
    assert np.ptp(drawn[1]) > 0.1
    assert np.corrcoef(*drawn)[0, 1] > 0.99


def test_a_single_epoch_is_labeled_1():
    curve = HistoryDisplay([{"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5}]).plot().axes_[0]
    curve.figure.canvas.draw()
    low, high = curve.get_xlim()
    assert [tick for tick in curve.get_xticks() if low <= tick <= high] == [1]


def test_only_the_rows_that_are_shown_are_parsed(monkeypatch):
    faces = make_faces(60, as_frame=True, random_state=0)
    model = Pipeline([("parse", PixelParser()), ("classify", FERClassifier("cnn_small", max_epochs=1))])
    model.fit(faces.frame["pixels"], faces.target)
    parsed, transform = [], PixelParser.transform

    def count(self, X):
        parsed.append(len(X))
        return transform(self, X)

    monkeypatch.setattr(PixelParser, "transform", count)
    display = PredictionsDisplay.from_estimator(
        model, faces.frame["pixels"], faces.target, n_images=5, order="mistakes"
    )
    assert parsed == [60, 5], "all to predict them, five to show them"
    wrong = [true != predicted for true, predicted in zip(display.y_true, display.y_pred, strict=True)]
    assert wrong == sorted(wrong, reverse=True)


def test_frames_keep_their_column_names(recwarn, faces):
    frame = pd.DataFrame(faces.data, columns=[f"p{number}" for number in range(faces.data.shape[1])])
    model = FERClassifier("cnn_small", max_epochs=1).fit(frame, faces.target)
    PredictionsDisplay.from_estimator(model, frame, faces.target, n_images=3)
    assert not [warning for warning in recwarn if "feature names" in str(warning.message)]


def test_labels_longer_than_the_figure(faces):
    labels = ["a" * 200, "b"]
    display = PredictionsDisplay.from_predictions(faces.data[:2], labels, np.eye(2), labels=labels)
    assert display.axes_.shape == (2, 1)
