"""Degraded images, and scores of models on them and across data sets."""

from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.utils import Bunch

from ferkit.datasets import corrupt, harmonize, make_faces
from ferkit.display import HeatmapDisplay
from ferkit.report import evaluate, evaluate_corruptions, evaluate_sets

KINDS = ["blur", "jpeg", "light", "occlusion", "noise"]
DRAWN_AT_RANDOM = ["light", "occlusion", "noise"]
X = make_faces(40, random_state=3).data


def distance(changed, images=X):
    return np.abs(changed.astype(float) - images).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_each_severity_changes_images_more_than_the_one_before(kind):
    before = X.copy()
    distances = [distance(corrupt(X, kind, severity, random_state=0)) for severity in range(1, 6)]
    assert distances == sorted(distances)
    assert distances[0] > 0.5
    assert distances[4] > 1.5 * distances[0]
    assert np.array_equal(X, before)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_depend_on_the_seed_only(kind):
    changed = corrupt(X, kind, 4, random_state=0)
    assert changed.dtype == np.uint8
    assert changed.shape == X.shape
    assert np.array_equal(changed, corrupt(X, kind, 4, random_state=0))
    differs = not np.array_equal(changed, corrupt(X, kind, 4, random_state=1))
    assert differs == (kind in DRAWN_AT_RANDOM)
    twice = corrupt(np.tile(X[:1], (2, 1)), kind, 4, random_state=0)
    assert np.array_equal(*twice) == (kind not in DRAWN_AT_RANDOM)


@pytest.mark.parametrize("kind", KINDS)
def test_forms_of_the_images_do_not_matter(kind):
    changed = corrupt(X, kind, random_state=0)
    stack = X.reshape(-1, 48, 48)
    for form in (stack, stack[..., None], [Image.fromarray(face) for face in stack]):
        assert np.array_equal(corrupt(form, kind, random_state=0), changed)
    color = corrupt(np.repeat(stack[..., None], 3, axis=3), kind, random_state=0).reshape(-1, 48, 48, 3)
    if kind == "noise":
        assert color.std(axis=3).mean() > 10  # each channel has its own
    else:
        assert np.abs(color - changed.reshape(-1, 48, 48, 1).astype(float)).max() <= 1
    wide = np.ascontiguousarray(stack[:, :30])
    assert corrupt(wide, kind).shape == (40, 30 * 48)
    assert np.array_equal(
        corrupt(wide.reshape(40, -1), kind, image_shape=(30, 48), random_state=0), corrupt(wide, kind, random_state=0)
    )


@pytest.mark.parametrize("shape", [(48, 48), (48, 48, 3), (45, 50), (45, 50, 3)])
def test_jpeg_equals_that_of_single_files(shape):
    images = np.random.default_rng(0).integers(0, 256, (1500, *shape), dtype=np.uint8)
    changed = corrupt(images, "jpeg", 3).reshape(images.shape)
    for row in (0, 1, 700, 1499):
        file = BytesIO()
        Image.fromarray(images[row]).save(file, "JPEG", quality=15, subsampling=0)
        assert np.array_equal(changed[row], np.asarray(Image.open(file)))


def test_blur_keeps_flat_areas_and_grows_with_the_image():
    flat = np.full((1, 48, 48), 77, np.uint8)
    assert np.array_equal(corrupt(flat, "blur", 5).reshape(flat.shape), flat)
    edge = np.where(np.arange(96) < 48, 0, 255).astype(np.uint8)
    small, large = np.tile(edge[::2], (1, 48, 1)), np.tile(edge, (1, 96, 1))
    widths = [((row > 0) & (row < 255)).sum() for row in (corrupt(small, "blur", 5)[0], corrupt(large, "blur", 5)[0])]
    assert 1.7 < widths[1] / 96 / (widths[0] / 48) < 2.3


def test_light_is_full_on_one_side_and_weak_on_the_other():
    white = np.full((200, 48, 48), 255, np.uint8)
    changed = corrupt(white, "light", 4, random_state=0).reshape(white.shape)
    assert (changed.max(axis=(1, 2)) > 250).all()
    assert np.allclose(changed.min(axis=(1, 2)), 255 * 0.1, atol=1)
    darkest = changed.reshape(200, -1).argmin(axis=1)
    assert {0, 47, 2256, 2303} <= set(darkest)  # each corner of some image


def test_occlusion_covers_one_square_of_one_tone():
    images = np.random.default_rng(0).integers(0, 256, (300, 48, 48), dtype=np.uint8)
    changed = corrupt(images, "occlusion", 5, random_state=0).reshape(images.shape)
    tones = []
    for before, after in zip(images, changed, strict=True):
        rows, columns = np.nonzero(before != after)
        part = after[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert len(np.unique(part)) == 1
        assert all(abs(side - 0.6 * 48) <= 1 for side in part.shape)
        tones.append(part[0, 0])
    assert np.min(tones) < 20
    assert np.max(tones) > 235


def test_noise_has_the_stated_deviation():
    gray = np.full((100, 48, 48), 128, np.uint8)
    assert np.std(corrupt(gray, "noise", 2, random_state=0).astype(float)) == pytest.approx(16, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X / 255, "noise"), "^Expected uint8 pixels from 0 to 255, got float64: pass the images before"),
        ((X, "fog"), "'kind' parameter of corrupt must be a str among"),
        ((X, "blur", 6), "'severity' parameter of corrupt must be an int in the range"),
        ((X[:, :-1], "blur"), "neither square gray images"),
    ],
)
def test_images_and_names_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        corrupt(*arguments)


# scores


@pytest.fixture(scope="module")
def ridge():
    faces = make_faces(600, random_state=0)
    return RidgeClassifier().fit(faces.data, faces.target_names[faces.target])


def test_scores_under_corruptions_are_those_of_the_corrupted_images(fitted):
    faces = make_faces(150, random_state=1)
    y = faces.target_names[faces.target]
    scores = evaluate_corruptions(fitted, faces.data, y, kinds=["noise", "jpeg"], severities=[1, 5], random_state=7)
    assert scores[["corruption", "severity"]].values.tolist() == [
        ["none", 0], ["noise", 1], ["noise", 5], ["jpeg", 1], ["jpeg", 5],
    ]  # fmt: skip
    report = evaluate(fitted, corrupt(faces.data, "noise", 5, random_state=7), y)
    row, plain = scores.iloc[2], evaluate(fitted, faces.data, y)
    assert (row.accuracy, row.accuracy_low, row.accuracy_high) == (report.accuracy, *report.interval)
    assert row.relative_loss == pytest.approx(1 - report.accuracy / plain.accuracy)
    assert (scores.iloc[0].accuracy, scores.iloc[0].relative_loss) == (plain.accuracy, 0)


def to_files(images, folder):
    paths = [folder / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize(
    "form",
    [lambda images, folder: images, lambda images, folder: [*map(Image.fromarray, images)], to_files],
    ids=["stack", "PIL", "files"],
)
def test_corrupted_images_of_any_size_are_resized_by_the_model(form, fitted, tmp_path):
    faces = make_faces(21, size=96, random_state=1)
    y = faces.target_names[faces.target]
    scores = evaluate_corruptions(fitted, form(faces.images, tmp_path), y, kinds=["light"], severities=[2])
    degraded = corrupt(faces.data, "light", 2, random_state=0).reshape(-1, 96, 96, 1)
    assert scores.accuracy.tolist() == [fitted.score(faces.images, y), fitted.score(degraded, y)]


def test_a_model_is_scored_on_each_set(ridge):
    sets = {"drawn": make_faces(100, random_state=1), "others": make_faces(50, random_state=2)}
    scores = evaluate_sets({"ridge": ridge, "dummy": DummyClassifier().fit(X, ["happy"] * len(X))}, sets)
    assert scores[["model", "tested_on", "n"]].values.tolist() == [
        ["ridge", "drawn", 100], ["ridge", "others", 50],
        ["dummy", "drawn", 14], ["dummy", "others", 7],
    ]  # fmt: skip
    report = evaluate(ridge, sets["drawn"].data, sets["drawn"].target_names[sets["drawn"].target])
    row = scores.iloc[0]
    assert (row.accuracy, row.accuracy_low, row.accuracy_high) == (report.accuracy, *report.interval)
    assert (row.balanced_accuracy, row.macro_f1) == (report.balanced_accuracy, report.macro_f1)
    assert scores.n_dropped.tolist() == [0, 0, 86, 43]
    assert scores.n_classes.tolist() == [7, 7, 1, 1]


NAMES = np.array(["Neutral", "happiness", "surprised", "sadness", "anger", "disgusted", "fear", "contempt"])


def test_sets_of_other_names_and_emotions_are_matched(fitted):
    faces = make_faces(140, random_state=1)
    meant = ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear"]
    target = np.array([meant.index(name) for name in faces.target_names[faces.target]])
    target[::10] = 7  # contempt
    renamed = Bunch(data=faces.data, images=faces.images, target=target, target_names=NAMES)
    kept = np.arange(140) % 10 != 0
    report = evaluate(fitted, faces.data[kept], faces.target_names[faces.target][kept])
    row = evaluate_sets({"cnn": fitted}, {"renamed": renamed}).iloc[0]
    assert (row.accuracy, row.n, row.n_dropped, row.n_classes) == (report.accuracy, 126, 14, 7)
    votes = Bunch(data=faces.data, images=faces.images, target=0.6 * np.eye(8)[target] + 0.05, target_names=NAMES)
    assert evaluate_sets({"cnn": fitted}, {"votes": votes}).iloc[0].accuracy == report.accuracy


class Certain:
    """A model that gives contempt the greatest probability, and happy the second one."""

    classes_ = np.array(["contempt", "happy", "sad"])

    def predict_proba(self, X):
        return np.tile([0.5, 0.3, 0.2], (len(X), 1))


class Merged(Certain):
    """A model of two sets, whose names for one emotion differ."""

    classes_ = np.array(["anger", "angry", "sad"])

    def predict_proba(self, X):
        return np.tile([0.3, 0.3, 0.4], (len(X), 1))


def test_probabilities_of_synonyms_are_added():
    faces = Bunch(data=X, images=None, target=np.zeros(40, int), target_names=np.array(["angry", "sad"]))
    assert evaluate_sets({"merged": Merged()}, {"angry": faces}).accuracy[0] == 1


def test_a_model_chooses_among_the_emotions_of_the_set():
    faces = Bunch(data=X, images=None, target=np.arange(40) % 2, target_names=np.array(["happy", "sad"]))
    assert evaluate_sets({"certain": Certain()}, {"two": faces}).accuracy[0] == 0.5


def test_images_of_another_size_and_files_are_scored(fitted, tmp_path):
    small = make_faces(30, random_state=1)
    large = np.repeat(np.repeat(small.images, 2, axis=1), 2, axis=2)
    enlarged = small | {"data": large.reshape(30, -1), "images": large}
    paths = []
    for number, face in enumerate(small.images):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(face).save(paths[-1])
    files = small | {"data": np.array(paths, dtype=object), "images": None}
    scores = evaluate_sets({"cnn": fitted}, {"small": small, "enlarged": enlarged, "files": files})
    assert scores.accuracy[0] == scores.accuracy[2]
    assert abs(scores.accuracy[0] - scores.accuracy[1]) < 0.2


def test_sets_without_labels_are_refused():
    unlabeled = Bunch(data=X, images=None, target=None, target_names=np.array(["happy", "sad"]))
    with pytest.raises(ValueError, match="no labels in unlabeled"):
        evaluate_sets({"certain": Certain()}, {"unlabeled": unlabeled})
    with pytest.raises(ValueError, match="faces with no labels"):
        harmonize(unlabeled)


def test_numbers_and_sets_without_a_common_emotion_are_refused(ridge):
    faces = make_faces(30, random_state=0)
    numbers = RidgeClassifier().fit(faces.data, faces.target)
    with pytest.raises(ValueError, match=r"^Expected models that predict names, got the labels \[0 1 .* in numbers"):
        evaluate_sets({"numbers": numbers}, {"drawn": faces})
    others = faces | {"target_names": np.array([*"abcdefg"])}
    with pytest.raises(ValueError, match=r"^Expected emotions that ridge and others share, got angry, .* and a, b"):
        evaluate_sets({"ridge": ridge}, {"others": others})


# figure


def test_heat_maps_show_each_score_at_its_place():
    scores = pd.DataFrame(
        {
            "model": ["a", "a", "b"],
            "tested_on": ["x", "y", "y"],
            "accuracy": [0.9, 0.5, 0.25],
            "accuracy_low": [0.88, 0.45, 0.2],
            "accuracy_high": [0.92, 0.55, 0.301],
        }
    )
    display = HeatmapDisplay(scores, rows="model", columns="tested_on").plot()
    ax = display.ax_
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["x", "y"]
    shown = {text.get_position(): text.get_text() for text in display.text_}
    assert shown == {(0, 0): "90.0%\n88.0–92.0", (1, 0): "50.0%\n45.0–55.0", (1, 1): "25.0%\n20.0–30.1"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("tested on", "model")
    np.testing.assert_array_equal(np.ma.filled(ax.images[0].get_array(), np.nan), [[0.9, 0.5], [np.nan, 0.25]])
    light, dark = display.text_[2], display.text_[0]
    assert (light.get_color(), dark.get_color()) == ("black", "white")
