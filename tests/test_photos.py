"""Faces in photos, videos and cameras."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from doctest import DocTestParser
from inspect import signature
from io import BytesIO
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ferkit
from ferkit import NetworkFeatures, Pipeline, PixelParser
from ferkit.cli import main
from ferkit.datasets import make_faces
from ferkit.display import PhotoDisplay, TimelineDisplay
from ferkit.photos import (
    Faces,
    analyze,
    analyze_video,
    annotate_photos,
    annotate_video,
    crop_faces,
    detect_faces,
    draw_faces,
    watch,
)

cv2 = pytest.importorskip("cv2")

PLACES = [(40, 60), (260, 200), (470, 30)]
SIDE = 140


def draw_photo(places=PLACES, side=SIDE, size=(640, 480), seed=0):
    """A photo with drawn faces at these places."""
    photo = Image.new("RGB", size, (90, 120, 150))
    for place, face in zip(places, make_faces(max(1, len(places)), random_state=seed).images, strict=False):
        photo.paste(Image.fromarray(face).resize((side, side)), place)
    return photo


def draw_video(path, n_frames=30, fps=10, codec="mp4v", move=3):
    """A video with two faces, one of which moves."""
    faces = [Image.fromarray(face).resize((120, 120)) for face in make_faces(2, random_state=0).images]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (480, 320))
    for index in range(n_frames):
        frame = Image.new("RGB", (480, 320), (90, 120, 150))
        frame.paste(faces[0], (20 + move * index, 40))
        frame.paste(faces[1], (330, 150))
        writer.write(np.asarray(frame)[:, :, ::-1])
    writer.release()
    return path


class Capture:
    """A stub of cv2.VideoCapture that repeats a picture."""

    def __init__(self, picture, n_frames):
        self.picture, self.left = np.asarray(picture)[:, :, ::-1], n_frames
        self.is_released = False

    def isOpened(self):
        return True

    def get(self, _):
        return 0.0

    def grab(self):
        self.left -= 1
        return self.left >= 0

    def retrieve(self):
        return True, self.picture

    def release(self):
        self.is_released = True


class Stalling(Capture):
    """A camera that stops for a second after its first picture."""

    def grab(self):
        if self.left == 6:
            time.sleep(1)
        return super().grab()


class Model(ClassifierMixin, BaseEstimator):
    """A classifier of 48×48 faces that counts its calls."""

    classes_ = np.array(["no", "yes"])
    n_features_in_ = 2304

    def __init__(self):
        self.calls = []

    def predict_proba(self, X):
        self.calls.append(len(X))
        bright = X.mean(axis=1) / 255
        return np.c_[1 - bright, bright]


def run(*arguments):
    """Return the exit code of `ferkit`."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


def centers(boxes):
    boxes = np.asarray(boxes)
    return boxes[:, :2] + boxes[:, 2:] / 2


# detection


def test_drawn_faces_are_found_where_they_are():
    faces = detect_faces(draw_photo())
    assert faces.boxes.shape == (3, 4)
    assert faces.landmarks.shape == (3, 5, 2)
    assert {each.dtype for each in faces} == {np.dtype(np.float32)}
    expected = np.array(PLACES) + SIDE / 2
    distance = np.linalg.norm(centers(faces.boxes)[:, None] - expected, axis=2)
    assert (distance.min(axis=1) < 0.15 * SIDE).all()
    assert sorted(distance.argmin(axis=1)) == [0, 1, 2]
    assert (np.diff(faces.scores) <= 0).all()
    assert ((faces.scores >= 0.7) & (faces.scores <= 1)).all()
    right_eye, left_eye, nose, *_ = faces.landmarks[0]
    assert right_eye[0] < nose[0] < left_eye[0]


def test_boxes_of_a_large_photo_are_in_its_own_pixels():
    photo = draw_photo()
    small, large = detect_faces(photo), detect_faces(photo.resize((2560, 1920), Image.Resampling.NEAREST))
    order, others = (np.argsort(faces.boxes[:, 0]) for faces in (small, large))
    np.testing.assert_allclose(large.boxes[others], 4 * small.boxes[order], atol=20)
    np.testing.assert_allclose(large.landmarks[others], 4 * small.landmarks[order], atol=20)


def test_small_faces_in_a_large_photo_need_a_larger_side():
    photo = draw_photo([(1000, 500)], side=60, size=(2400, 1600))
    assert len(detect_faces(photo, max_side=1600).boxes) == 1
    assert len(detect_faces(photo, max_side=200).boxes) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(tmp_path, orientation):
    upright = draw_photo([(40, 60)])
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's transpositions that the viewer undoes
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    turned.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    expected = detect_faces(upright)
    for photo in (tmp_path / "photo.jpg", str(tmp_path / "photo.jpg"), Image.open(tmp_path / "photo.jpg")):
        np.testing.assert_allclose(detect_faces(photo).boxes, expected.boxes, atol=4)


def test_every_form_of_a_photo_gives_the_same_faces(tmp_path):
    photo = draw_photo()
    photo.save(tmp_path / "photo.png")
    content = (tmp_path / "photo.png").read_bytes()
    rgba = photo.convert("RGBA")
    expected = detect_faces(photo).boxes
    assert len(expected) == 3
    for form in (np.asarray(photo), rgba, np.asarray(rgba), content, BytesIO(content), tmp_path / "photo.png"):
        np.testing.assert_array_equal(detect_faces(form).boxes, expected)


def test_gray_photos_have_faces_too():
    gray = draw_photo().convert("L")
    assert len(detect_faces(gray).boxes) == 3
    assert len(detect_faces(np.asarray(gray)).boxes) == 3
    assert len(detect_faces(np.asarray(gray)[:, :, None]).boxes) == 3


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (20_000, 3), (3, 20_000), (640, 1), (2000, 1), (640, 32)])
def test_odd_sizes_have_no_faces(size):
    faces = detect_faces(np.zeros((size[1], size[0], 3), np.uint8))
    assert [each.shape for each in faces] == [(0, 4), (0, 5, 2), (0,)]


def test_a_real_face_is_found():
    skimage = pytest.importorskip("skimage.data")
    try:
        photo = skimage.astronaut()
    except Exception as error:  # no network
        pytest.skip(str(error))
    table = analyze(photo)
    assert table["emotion"].tolist() == ["happy"]
    assert not table["unsure"].any()
    np.testing.assert_allclose(centers(detect_faces(photo).boxes), [[223, 120]], atol=12)


def test_threads_find_the_same_faces():
    photo, results = draw_photo(), []
    expected = detect_faces(photo).boxes
    threads = [threading.Thread(target=lambda: results.append(detect_faces(photo).boxes)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for boxes in results:
        np.testing.assert_array_equal(boxes, expected)


def test_nothing_is_written_to_standard_error():
    code = "import numpy as np; from ferkit.photos import detect_faces; detect_faces(np.zeros((9, 9), np.uint8))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr == ""


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    photo = draw_photo()
    errors = []

    def find():  # in a thread that has no detector yet
        try:
            detect_faces(photo)
        except ImportError as error:
            errors.append(str(error))

    thread = threading.Thread(target=find)
    thread.start()
    thread.join()
    assert 'pip install "ferkit[photos]"' in errors[0]
    assert len(analyze(photo, detector=lambda _: [[0, 0, 40, 40]])) == 1  # needs no OpenCV


# crops


def test_crops_frame_the_faces():
    photo = draw_photo([(100, 100)], side=200)
    crops = crop_faces(photo, [[100, 100, 200, 200]], margin=0)
    assert crops.shape == (1, 48, 48)
    assert crops.dtype == np.uint8
    face = np.asarray(Image.fromarray(make_faces(1, random_state=0).images[0]).convert("L"), float)
    assert np.abs(crops[0] - face).mean() < 6


def test_crops_have_the_chosen_size_and_color():
    boxes = detect_faces(draw_photo())
    assert crop_faces(draw_photo(), boxes, size=64).shape == (3, 64, 64)
    assert crop_faces(draw_photo(), boxes, color=True).shape == (3, 48, 48, 3)
    assert crop_faces(draw_photo(), boxes.boxes[:0]).shape == (0, 48, 48)


def test_crops_repeat_the_edge_outside_of_the_image():
    image = np.full((40, 40), 200, np.uint8)
    assert (crop_faces(image, [[-20, -20, 40, 40], [30, 30, 200, 200]]) == 200).all()
    one = np.full((1, 1), 7, np.uint8)
    assert (crop_faces(one, [[0, 0, 1, 1]]) == 7).all()


def test_crops_of_huge_boxes_take_little_memory():
    assert crop_faces(np.zeros((40, 40), np.uint8), [[-4e5, -4e5, 8e5, 8e5]]).shape == (1, 48, 48)


# analyze


def test_analyze_returns_one_row_per_face():
    table = analyze(draw_photo())
    classes = ferkit.load_model().classes_.tolist()
    box = ["left", "top", "width", "height"]
    assert table.columns.tolist() == ["file", "face", *box, "score", "emotion", *classes, "unsure"]
    assert table["face"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(table[classes].sum(axis=1), 1, atol=1e-5)
    assert (table["emotion"] == table[classes].idxmax(axis=1)).all()
    assert (table["unsure"] == (table[classes].max(axis=1) < 0.5)).all()
    assert analyze(draw_photo(), threshold=1)["unsure"].all()
    assert not analyze(draw_photo(), threshold=0)["unsure"].any()


def test_analyze_predicts_what_the_model_predicts_for_the_crops():
    photo, model = draw_photo(), ferkit.load_model()
    table = analyze(photo, model)
    proba = model.predict_proba(crop_faces(photo, detect_faces(photo)))
    np.testing.assert_allclose(table[model.classes_.tolist()], proba, atol=1e-6)


@pytest.mark.parametrize("size", [(50, 50), (480, 640), (1, 1)])
def test_without_a_face_there_are_no_rows(size):
    photo = np.zeros(size, np.uint8)
    table = analyze(photo)
    assert len(table) == 0
    expected = analyze(draw_photo())
    assert table.columns.tolist() == expected.columns.tolist()
    assert table.dtypes.drop("file").tolist() == expected.dtypes.drop("file").tolist()
    assert not len(analyze([photo, photo]))


def test_photos_directories_and_lists_have_names(tmp_path):
    (tmp_path / "more").mkdir()
    for name, n_faces in {"a.jpg": 2, "more/b.png": 1, "more/c.png": 0}.items():
        draw_photo(PLACES[:n_faces]).save(tmp_path / name)
    table = analyze(tmp_path)
    assert table["file"].tolist() == [str(tmp_path / "a.jpg")] * 2 + [str(tmp_path / "more" / "b.png")]
    pd.testing.assert_frame_equal(analyze(str(tmp_path)), table)
    pd.testing.assert_frame_equal(analyze([tmp_path / "a.jpg", str(tmp_path / "more" / "b.png")]), table)
    stack = np.stack([np.asarray(draw_photo(PLACES[:count])) for count in (0, 2, 1)])
    assert analyze(stack)["file"].tolist() == [1, 1, 2]
    assert analyze([tmp_path / "a.jpg", stack[1]])["file"].tolist() == [str(tmp_path / "a.jpg")] * 2 + [1, 1]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="Expected images in"):
        analyze(tmp_path / "empty")


def test_the_faces_of_several_photos_are_classified_together():
    model = Model()
    table = analyze([draw_photo()] * 5, model)
    assert model.calls == [15]
    assert table.columns[-3:].tolist() == ["no", "yes", "unsure"]


def test_very_many_faces_are_classified_in_batches():
    model = Model()
    grid = [[x, y, 10, 10] for x in range(0, 640, 10) for y in range(0, 480, 10)]
    assert len(analyze([draw_photo()] * 2, model, detector=lambda _: grid)) == 2 * len(grid)
    assert len(model.calls) == 2


def test_images_that_are_faces_are_classified_as_by_predict():
    faces, model = make_faces(6, random_state=0).images, ferkit.load_model()
    table = analyze(faces, model, detector=None)
    np.testing.assert_allclose(table[model.classes_.tolist()], model.predict_proba(faces), atol=1e-6)
    assert table[["left", "top", "width", "height"]].to_numpy().tolist() == [[0, 0, 48, 48]] * 6
    assert table["score"].isna().all()


def test_boxes_can_be_given():
    photo = draw_photo()
    boxes = detect_faces(photo).boxes
    expected = analyze(photo).drop(columns="score")
    for given in (boxes, boxes.tolist(), [boxes], detect_faces(photo)):
        pd.testing.assert_frame_equal(analyze(photo, boxes=given).drop(columns="score"), expected)
    pd.testing.assert_frame_equal(
        analyze(photo, boxes=expected[["left", "top", "width", "height"]]).drop(columns="score"), expected
    )
    two = analyze([photo, photo], boxes=(part for part in (boxes[:1], boxes[1:])))
    assert two["file"].tolist() == [0, 1, 1]
    assert analyze([photo, photo], boxes=[detect_faces(photo)] * 2)["file"].tolist() == [0, 0, 0, 1, 1, 1]
    assert len(analyze(photo, boxes=[])) == 0
    with pytest.raises(ValueError, match=r"Expected boxes \(n, 4\) for each photo, got 3 for 2 photos"):
        analyze([photo, photo], boxes=boxes)


def test_functions_can_detect():
    photo = draw_photo()
    seen = []

    def detect(image):
        seen.append((image.shape, image.dtype, image[0, 0].tolist()))
        return detect_faces(image)

    pd.testing.assert_frame_equal(analyze(photo, detector=detect), analyze(photo))
    assert seen == [((480, 640, 3), np.uint8, [90, 120, 150])]
    assert analyze(photo, detector=lambda _: [(1, 2, 30, 40)])["score"].isna().all()
    assert not len(analyze(photo, detector=lambda _: []))
    assert not len(analyze(photo, detector=lambda _: np.empty((0, 4))))


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        "faces",
        5,
        [1, 2, 3, 4],
        [[1, 2, 3]],
        [[1, 2, 3, 4, 5]],
        [[1, 2, np.nan, 4]],
        [[1, 2, 0, 4]],
        [[1, 2, 3, -4]],
        [[700, 2, 30, 40]],
        [[-50, 2, 30, 40]],
        [[-1e30, -1e30, 2e30, 2e30]],
        [[1, 2, 3, 4], [1, 2]],
        Faces(np.ones((2, 4)), np.ones((1, 5, 2)), np.ones(2)),
        {"left": 1},
    ],
)
def test_functions_that_return_nonsense_get_a_clear_error(nonsense):
    with pytest.raises(ValueError, match="Expected the detector to return boxes"):
        analyze(draw_photo(), detector=lambda _: nonsense)


def test_errors_say_what_to_pass(tmp_path):
    photo = draw_photo()
    with pytest.raises(ValueError, match='Expected detector="yunet", None or a function'):
        analyze(photo, detector="haar")
    with pytest.raises(ValueError, match='Expected errors="raise" or errors="drop"'):
        analyze(photo, errors="ignore")
    with pytest.raises(FileNotFoundError, match=r"got nothing\.png, which does not exist"):
        analyze("nothing.png")
    with pytest.raises(ValueError, match="Expected a photo, a list of photos or a video, got a float"):
        analyze(1.5)
    with pytest.raises(ValueError, match="Expected an image, got a"):
        analyze([object()])
    with pytest.raises(ValueError, match=r"Expected an image as uint8 .* got float64"):
        analyze(np.zeros((20, 20)))
    with pytest.raises(ValueError, match="Expected an image as uint8"):
        detect_faces(np.zeros((0, 5), np.uint8))
    with pytest.raises(FileNotFoundError, match=r"Expected the name of a model, a \.ferkit"):
        analyze(photo, "x")
    with pytest.raises(ValueError, match="Expected a fitted classifier with predict_proba, got a StandardScaler"):
        analyze(photo, StandardScaler())
    with pytest.raises(ValueError, match="Expected a fitted classifier with predict_proba, got a LogisticRegression"):
        analyze(photo, LogisticRegression())


def test_unreadable_photos_are_named_or_skipped(tmp_path):
    draw_photo(PLACES[:1]).save(tmp_path / "good.jpg")
    content = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image")
    Image.fromarray(np.full((50, 50), 40_000, np.uint16)).save(tmp_path / "deep.png")
    for name in ("cut.jpg", "empty.png", "text.png", "deep.png"):
        with pytest.raises(ValueError, match=rf"{name} can't be read as an image"):
            analyze(tmp_path / name)
    table = analyze(tmp_path, errors="drop")
    assert table["file"].tolist() == [str(tmp_path / "good.jpg")]
    skipped = {Path(path).name for path in table.attrs["skipped"]}
    assert skipped == {"cut.jpg", "empty.png", "text.png", "deep.png"}
    with pytest.raises(ValueError, match="Image 1 can't be read"):
        analyze([content, content[:50]])
    boxes = [[[left, 0, 50, 50]] for left in range(4)]
    table = analyze([content, b"", b"", content], boxes=boxes, errors="drop")
    assert table["left"].tolist() == [0, 3], "each photo has its own boxes"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_not_decoded(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match=r"bomb.png can't be read as an image \(Image size"):
        analyze(tmp_path / "bomb.png")


def test_any_classifier_of_faces_will_do(tmp_path, faces, fitted):
    names = faces.target_names[faces.target]
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=20)).fit(faces.data, names)
    parsing = Pipeline([("parse", PixelParser()), ("classify", LogisticRegression(max_iter=20))])
    parsing.fit([" ".join(map(str, row)) for row in faces.data], names)
    numbers = LogisticRegression(max_iter=20).fit(faces.data, faces.target)
    photo = draw_photo()
    for model in (linear, parsing, fitted):
        assert set(analyze(photo, model)["emotion"]) <= set(names)
    table = analyze(photo, numbers)
    assert table.columns[8:-1].tolist() == [str(code) for code in range(7)]
    assert table["emotion"].dtype.kind == "i"
    draw_faces(photo, table)
    ferkit.save(fitted, tmp_path / "model.ferkit")
    pd.testing.assert_frame_equal(analyze(photo, tmp_path / "model.ferkit"), analyze(photo, fitted))


def test_models_get_faces_of_their_own_size_and_color(faces, tiny):
    color = np.stack([faces.images] * 3, axis=3)[:, ::2, ::2]
    model = tiny().fit(color, faces.target)
    assert len(analyze(draw_photo(), model)) == 3


@pytest.mark.parametrize("verbose", [0, 1])
def test_generators_of_photos_can_have_boxes(verbose):
    photos = [np.zeros((40, 40), np.uint8)] * 2
    table = analyze((photo for photo in photos), Model(), boxes=[[[0, 0, 9, 9]], [[1, 1, 9, 9]]], verbose=verbose)
    assert table["file"].tolist() == [0, 1]
    assert table["left"].tolist() == [0, 1]


WRONG_OPTIONS = [
    *[("max_side", wrong) for wrong in (0, -5, "x")],
    *[("min_score", wrong) for wrong in (2, -0.1)],
    *[("threshold", wrong) for wrong in (2, -1, "x", None)],
    *[("smoothing", wrong) for wrong in (-1, "a")],
    *[("max_frames", wrong) for wrong in (0, -1, "x")],
]


@pytest.mark.parametrize(("name", "wrong"), WRONG_OPTIONS)
def test_wrong_options_are_named_before_anything_is_read(name, wrong):
    functions = {
        "analyze": ["nothing.png"],
        "analyze_video": ["nothing.mp4"],
        "watch": [97],
        "detect_faces": ["no.png"],
    }
    for function, arguments in functions.items():
        call = getattr(ferkit.photos, function)
        if name in signature(call).parameters:
            with pytest.raises(ValueError, match=f"The '{name}' parameter of {function} must be"):
                call(*arguments, **{name: wrong})


def test_every_is_checked_for_photos_too():
    with pytest.raises(ValueError, match="Expected every=n frames"):
        analyze(draw_photo(), Model(), every=0)
    with pytest.raises(ValueError, match="Expected every=n frames"):
        analyze_video("nothing.mp4", Model(), every=0)


def test_missing_photos_are_named_or_skipped(tmp_path):
    missing, there = tmp_path / "nope.png", tmp_path / "there.png"
    Image.new("L", (8, 8)).save(there)
    for source in (missing, [missing], [there, missing]):
        with pytest.raises(FileNotFoundError, match=r"Expected an image, got .*nope\.png, which does not exist"):
            analyze(source, Model(), detector=None)
        table = analyze(source, Model(), detector=None, errors="drop")
        assert [*table.attrs["skipped"]] == [str(missing)]
        assert len(table) == (len(source) - 1 if isinstance(source, list) else 0)
    with pytest.raises(ValueError, match=r"got a DataFrame: .*one column of a table"):
        analyze(pd.DataFrame({"path": [str(there)]}), Model())


def test_photos_and_videos_in_the_wrong_place_are_named(tmp_path):
    photo = tmp_path / "party.jpg"
    Image.new("L", (8, 8)).save(photo)
    with pytest.raises(
        ValueError, match=r"Expected a video, got the photo .*party\.jpg: .* analyze, or to `ferkit photo"
    ):
        next(analyze_video(photo, Model()))
    with pytest.raises(ValueError, match=r"Expected a photo, got the video talk\.mp4: .*`ferkit video`"):
        analyze([photo, "talk.mp4"], Model(), detector=None)


def test_models_are_read_from_every_file_that_cannot_run_code(tmp_path, tiny, faces):
    model = tiny().fit(faces.images[:40], faces.target[:40])
    (tmp_path / "run").mkdir()
    ferkit.save(model, tmp_path / "run" / "model.ferkit")
    dark = np.zeros((40, 40), np.uint8)
    expected = analyze(dark, model, detector=None)
    pd.testing.assert_frame_equal(analyze(dark, tmp_path / "run", detector=None), expected)
    joblib.dump(model, tmp_path / "model.joblib")
    with pytest.raises(
        ValueError, match=r"Expected a model file that can't run code, .* pass joblib\.load\('.*model\."
    ):
        analyze(dark, tmp_path / "model.joblib", detector=None)
    with pytest.raises(FileNotFoundError, match=r"Expected the name of a model, .* the names are"):
        analyze(dark, tmp_path / "missing.onnx", detector=None)


def test_errors_of_given_boxes_and_deep_photos_say_what_to_do(tmp_path):
    dark = np.zeros((40, 40), np.uint8)
    for wrong in ([[1, 2, 3]], [[1, 2, 0, 4]], "boxes"):
        with pytest.raises(ValueError, match=r"^Expected boxes(,| \(n, 4\)| of left)"):
            crop_faces(dark, wrong)
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png .*convert it to 8 bits\.$"):
        detect_faces(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"Image 1 can't be read .*got mode I;16"):
        analyze([draw_photo(), Image.open(tmp_path / "deep.png")])


@pytest.mark.parametrize(
    "around",
    [
        lambda model, X, y: CalibratedClassifierCV(FrozenEstimator(model), cv=2).fit(X, y),
        lambda model, X, y: CalibratedClassifierCV(model, cv=2).fit(X, y),
        lambda model, X, y: GridSearchCV(model, {"lr": [1e-3]}, cv=2).fit(X, y),
        lambda model, X, y: VotingClassifier([("a", model)], voting="soft").fit(X, y),
        lambda model, X, y: make_pipeline(NetworkFeatures(model), GradientBoostingClassifier(n_estimators=2)).fit(X, y),
    ],
    ids=["calibrated", "calibrated in folds", "searched", "voting", "boosted features"],
)
def test_models_around_a_network_know_the_shape_of_its_images(around, tiny):
    X = make_faces(42, size=64, random_state=0).images[:, :36]  # 2,304 values, which could be 48×48 too
    y = np.arange(42) % 2
    model = around(tiny().fit(X, y), X, y)
    table = analyze([*X[:5]], model, detector=None)
    expected = model.predict_proba(X[:5])
    np.testing.assert_allclose(table[["0", "1"]], expected, atol=1e-5)


def test_classes_must_not_be_named_like_other_columns():
    model = Model()
    model.classes_ = np.array(["left", "right"])
    with pytest.raises(ValueError, match=r"Expected classes whose names are not .* got \['left'\]"):
        analyze(draw_photo(), model)


# videos


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return draw_video(tmp_path_factory.mktemp("video") / "video.mp4")


@pytest.fixture(scope="module")
def video_table(video):
    return analyze(video)


def test_tracks_follow_faces_through_a_video(video_table):
    assert video_table.columns[:4].tolist() == ["frame", "time", "track", "face"]
    assert video_table["frame"].unique().tolist() == list(range(30))
    np.testing.assert_allclose(video_table["time"], video_table["frame"] / 10, atol=1e-6)
    assert sorted(video_table["track"].unique()) == [0, 1]
    moved = video_table.groupby("track")["left"].agg(lambda left: left.iloc[-1] - left.iloc[0])
    assert sorted(moved.round(-1).abs()) == [0, 90]
    still = video_table[video_table["track"] == moved.abs().idxmin()]
    assert still["left"].std() < 3


def test_each_nth_frame_or_one_per_interval_is_analyzed(video):
    assert analyze(video, every=7)["frame"].unique().tolist() == [0, 7, 14, 21, 28]
    assert analyze(video, every="1s")["frame"].unique().tolist() == [0, 10, 20]
    assert analyze(video, every="0.5s", max_frames=2)["frame"].unique().tolist() == [0, 5]
    for wrong in (0, -1, 1.5, "often", "0s", "-1s", "5", None, True):
        with pytest.raises(ValueError, match=r'Expected every=n frames or a time such as every="0.5s"'):
            analyze(video, every=wrong)


def test_faces_of_several_frames_are_classified_together(video):
    model = Model()
    tables = list(analyze_video(video, model))
    assert model.calls == [16, 16, 16, 12]  # of the two faces in 30 frames
    assert len(tables) == 4
    assert sum(map(len, tables)) == 60


def test_frames_that_a_camera_has_missed_are_not_caught_up_on():
    table = analyze(Stalling(np.zeros((64, 64, 3), np.uint8), 7), Model(), detector=None, every="0.1s", max_frames=7)
    assert table["frame"].tolist()[:2] == [0, 1]
    assert len(table) < 5


def test_probabilities_are_averaged_over_time(tmp_path):
    bright = [Image.new("RGB", (64, 64), (level,) * 3) for level in (0, 255, 255, 255)]
    writer = cv2.VideoWriter(str(tmp_path / "blink.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 2, (64, 64))
    for frame in bright:
        writer.write(np.asarray(frame))
    writer.release()
    options = {"detector": None, "model": Model()}
    raw = analyze(tmp_path / "blink.avi", smoothing=0, **options)
    np.testing.assert_allclose(raw["yes"], [0, 1, 1, 1], atol=0.02)
    smooth = analyze(tmp_path / "blink.avi", smoothing=1.0, **options)
    np.testing.assert_allclose(smooth["yes"], 1 - np.exp(-np.arange(4) / 2), atol=0.02)
    assert smooth["emotion"].tolist() == ["no", "no", "yes", "yes"]


def test_a_track_ends_when_its_face_is_gone(tmp_path):
    def detect(image):
        return [[10, 10, 30, 30]] if image.mean() > 100 else []

    writer = cv2.VideoWriter(str(tmp_path / "gone.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 2, (64, 64))
    for level in [255, 0, 255, 0, 0, 0, 255]:  # gone for a second and for two
        writer.write(np.full((64, 64, 3), level, np.uint8))
    writer.release()
    table = analyze(tmp_path / "gone.avi", Model(), detector=detect)
    assert table["frame"].tolist() == [0, 2, 6]
    assert table["track"].tolist() == [0, 0, 1]


@pytest.mark.parametrize("every", ["1s", "2s", 45])
def test_tracks_last_however_few_frames_are_analyzed(tmp_path, every):
    writer = cv2.VideoWriter(str(tmp_path / "tv.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 29.97, (64, 64))
    for _ in range(130):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    table = analyze(tmp_path / "tv.avi", Model(), detector=lambda image: [[10, 10, 30, 30]], every=every)
    assert len(table) > 2
    assert (table["track"] == 0).all()


def test_a_capture_of_a_file_has_the_times_of_the_file(video):
    capture = cv2.VideoCapture(str(video))
    expected = analyze(video, every="1s", smoothing=0)
    pd.testing.assert_frame_equal(analyze(capture, every="1s", smoothing=0), expected)
    capture.release()


def test_damaged_frames_in_a_video_are_left_out(tmp_path):
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for level in range(8):
        writer.write(np.full((64, 64, 3), 30 * level, np.uint8))
    writer.release()
    content = bytearray(path.read_bytes())
    starts = [found.start() for found in re.finditer(b"\xff\xd8\xff", content)]
    content[starts[3] : starts[4] - 8] = bytes(starts[4] - 8 - starts[3])
    path.write_bytes(content)
    table = analyze(path, Model(), detector=None)
    assert table["frame"].tolist() == [0, 1, 2, 4, 5, 6, 7]
    annotate_video(path, table, tmp_path / "copy.avi")
    assert len(analyze(tmp_path / "copy.avi", Model(), detector=None)) == 7


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no colon in names")
def test_names_with_a_colon_are_files_and_playlists_are_refused(video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(video, "12:30.mp4")
    assert analyze("12:30.mp4", Model(), detector=None, max_frames=2)["frame"].tolist() == [0, 1]
    Path("list.mp4").write_text("ffconcat version 1.0\nfile 12:30.mp4\n")
    with pytest.raises(ValueError, match=r"Expected a video, got list\.mp4, a playlist"):
        analyze("list.mp4")


def test_a_video_without_faces_has_no_rows(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "still.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 2, (64, 64))
    for _ in range(3):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    table = analyze(tmp_path / "still.avi")
    assert len(table) == 0
    assert table.columns[:4].tolist() == ["frame", "time", "track", "face"]
    annotate_video(tmp_path / "still.avi", table, tmp_path / "copy.avi")
    assert (tmp_path / "copy.avi").stat().st_size > 0
    with pytest.raises(ValueError, match="no face was found"):
        TimelineDisplay(table).plot()


def test_files_that_are_no_videos_are_named(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    cv2.VideoWriter(str(tmp_path / "none.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 2, (64, 64)).release()
    for name in ("text.mp4", "empty.mp4", "none.avi"):
        with pytest.raises(ValueError, match=f"Expected a video.*{name}"):
            analyze(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"Expected a video, got .*nothing\.mp4"):
        analyze(tmp_path / "nothing.mp4")
    with pytest.raises(ValueError, match="Expected boxes only for photos"):
        analyze(tmp_path / "text.mp4", boxes=[[1, 2, 3, 4]])


def test_a_truncated_video_is_analyzed_as_far_as_it_goes(tmp_path):
    path = draw_video(tmp_path / "video.avi", codec="MJPG")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    frames = analyze(path, Model(), detector=None)["frame"]
    assert 5 < len(frames) < 30


def test_annotated_videos_have_all_frames_and_boxes(video, video_table, tmp_path):
    for name in ("copy.mp4", "copy.avi"):
        annotate_video(video, video_table[video_table["frame"] % 3 == 0], tmp_path / name, every=3)
        before, after = cv2.VideoCapture(str(video)), cv2.VideoCapture(str(tmp_path / name))
        assert after.get(cv2.CAP_PROP_FPS) == 10
        n_frames = 0
        while (frame := before.read()[1]) is not None:
            copy = after.read()[1]
            changed = np.abs(frame.astype(int) - copy).max(axis=2) > 100
            assert changed.mean() > 0.005
            n_frames += 1
        assert n_frames == 30
        assert not after.read()[0]
    with pytest.raises(ValueError, match="Expected another file than the video itself"):
        annotate_video(video, video_table, video)
    for path in (tmp_path / "missing" / "copy.mp4", tmp_path, tmp_path / "copy.txt"):
        with pytest.raises(ValueError, match=rf"Expected an \.mp4, \.webm or \.avi file .*got .*{path.name}: choose"):
            annotate_video(video, video_table, path)


def test_copies_on_a_full_disk_are_errors(video, video_table, tmp_path, file_size_limit):
    photo = tmp_path / "three.jpg"
    draw_photo().save(photo)
    table = analyze([photo])
    for copy, write in {
        tmp_path / "copy.avi": lambda: annotate_video(video, video_table, tmp_path / "copy.avi"),
        tmp_path / "copy.mp4": lambda: annotate_video(video, video_table, tmp_path / "copy.mp4"),
        tmp_path / "out" / "three.jpg": lambda: annotate_photos([photo], table, tmp_path / "out", overwrite=True),
    }.items():
        write()
        before = copy.read_bytes()
        with file_size_limit(8192), pytest.raises(OSError, match="Expected a directory with free space"):
            write()
        assert copy.read_bytes() == before
        assert [path.name for path in copy.parent.iterdir() if path.name.startswith(".")] == []


def draw_blink(path, levels, fps=2):
    """A video whose frames have one gray level each."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 64))
    for level in levels:
        writer.write(np.full((64, 64, 3), level, np.uint8))
    writer.release()
    return path


def find_in_bright(image):
    return [[10, 10, 40, 40]] if image.mean() > 100 else []


@pytest.mark.parametrize(
    ("every", "levels", "expected"),
    [
        (2, [255, 0, 0, 0, 0, 0, 255, 0], [0, 1, 6, 7]),  # faces in analyzed frames 0 and 6, none in 2 and 4
        (3, [0, 0, 0, 255, 0, 0, 0], [3, 4, 5]),  # one analyzed frame with a face
        ("1s", [255, 0, 0, 0, 255, 0], [0, 1, 4, 5]),
    ],
)
@pytest.mark.parametrize("from_csv", [False, True])
def test_annotated_videos_have_boxes_until_the_next_analyzed_frame(tmp_path, every, levels, expected, from_csv):
    video = draw_blink(tmp_path / "blink.avi", levels)
    table = analyze(video, Model(), detector=find_in_bright, every=every)
    if from_csv:
        table.to_csv(tmp_path / "table.csv", index=False)
        table = pd.read_csv(tmp_path / "table.csv")
    annotate_video(video, table, tmp_path / "copy.avi", **({"every": every} if from_csv else {}))
    copy = cv2.VideoCapture(str(tmp_path / "copy.avi"))
    drawn = [index for index in range(len(levels)) if copy.read()[1].std() > 10]
    assert drawn == expected


def test_tables_of_parts_know_every(tmp_path):
    video = draw_blink(tmp_path / "blink.avi", [255] * 3)
    for part in analyze_video(video, Model(), detector=find_in_bright, every="1s"):
        assert part.attrs["every"] == "1s"


def test_the_documented_loop_writes_one_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_blink(tmp_path / "talk.avi", [0, 0, 0]).rename("talk.mp4")
    examples = DocTestParser().get_examples(analyze_video.__doc__)
    for _ in range(2):
        exec("".join(example.source for example in examples), {})
    assert len((tmp_path / "talk.csv").read_text().splitlines()) == 1  # the header


def test_tables_of_the_wrong_source_are_named(tmp_path):
    dark = np.zeros((40, 40), np.uint8)
    table = analyze([dark, dark], Model(), detector=None)
    with pytest.raises(ValueError, match="Expected the table of a video, with frame"):
        annotate_video("talk.mp4", table, tmp_path / "copy.mp4")
    with pytest.raises(ValueError, match="Expected the table of a video, with time and track"):
        TimelineDisplay(table).plot()
    with pytest.raises(ValueError, match="Expected the table of a photo, with face and file"):
        annotate_photos([], table.drop(columns="file"), tmp_path / "out")
    for draw in (draw_faces, lambda image, faces: PhotoDisplay(image, faces).plot()):
        with pytest.raises(ValueError, match=r'Expected the faces of one image, got those of 2.*table\["file"\] == 0'):
            draw(dark, table)


def test_cameras_are_watched_frame_by_frame(monkeypatch):
    stub = Capture(draw_photo(), 4)
    pictures = list(watch(stub))
    assert len(pictures) == 4
    for image, table in pictures:
        np.testing.assert_array_equal(image, np.asarray(draw_photo()))
        assert table["track"].tolist() == [0, 1, 2]
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: Capture(draw_photo(), 10**9))
    model = Model()
    assert len(analyze(0, model, max_frames=3)) == 9
    assert model.calls == [3, 3, 3]
    with pytest.raises(ValueError, match="Expected max_frames=n for a camera"):
        analyze(0)


def test_cameras_are_released(monkeypatch):
    stub = Capture(draw_photo(), 10**9)
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: stub)
    tables = analyze_video(0, Model())
    next(tables)
    assert not stub.is_released
    tables.close()
    assert stub.is_released


def test_without_a_camera_the_error_names_its_index():
    with pytest.raises(ValueError, match="Expected the index of a camera, got 97"):
        analyze(97, max_frames=1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self")
def test_memory_does_not_grow_with_the_length_of_a_video():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    frame = np.zeros((720, 1280, 3), np.uint8)  # 2.8 MB
    boxes = [[100 * left, 50, 80, 80] for left in range(8)]
    tables = analyze_video(Capture(frame, 400), Model(), detector=lambda _: boxes)
    sizes = [(len(table), resident())[1] for table in tables]
    assert len(sizes) > 10
    assert sizes[-1] - sizes[3] < 30e6


# figures


def test_drawn_boxes_stay_inside_of_the_photo():
    photo = np.full((100, 120, 3), 128, np.uint8)
    boxes = [[-20, -20, 60, 60], [100, 80, 40, 40], [0, 0, 120, 100], [50, 50, 1, 1]]
    table = analyze(photo, Model(), boxes=boxes)
    drawn = draw_faces(photo, table)
    assert drawn.shape == photo.shape
    assert (drawn != 128).any()
    assert (photo == 128).all()
    sure, unsure = (draw_faces(photo, table.assign(unsure=unsure)) for unsure in (False, True))
    assert (sure != unsure).any()


@pytest.mark.parametrize("names", [("радость", "спокойно"), ("χαρά", "λύπη"), ("äöüß", "éèçñ")], ids=["ru", "el", "de"])
def test_names_are_drawn_with_their_letters(names):
    face = {"left": 20, "top": 60, "width": 200, "height": 200, "unsure": False}
    drawn = []
    for name in (*names, "\uffff" * 4):  # the last one has no letter in any font
        table = pd.DataFrame([{**face, "emotion": name[:4], name[:4]: 0.5}])
        drawn.append(draw_faces(Image.new("RGB", (300, 300)), table))
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_photo_display_shows_boxes_and_probabilities():
    photo = draw_photo()
    display = PhotoDisplay.from_image(photo)
    assert isinstance(display.figure_, Figure)
    assert len(display.axes_) == 4
    assert [patch.get_linestyle() for patch in display.axes_[0].patches].count("--") == display.faces["unsure"].sum()
    labels = [text.get_text() for text in display.axes_[0].texts]
    for label, face in zip(labels, display.faces.to_dict("records"), strict=True):
        assert label.startswith(f"{face['face']}: {face['emotion']} {face[face['emotion']]:.0%}")
        assert label.endswith("?") == face["unsure"]
    widths = [bar.get_width() for bar in display.axes_[1].patches]
    np.testing.assert_allclose(widths, display.faces.iloc[0, 8:15].astype(float))
    assert len(PhotoDisplay(photo, display.faces).plot(bars=False).axes_) == 1
    nothing = PhotoDisplay.from_image(np.zeros((40, 40), np.uint8))
    assert nothing.axes_[0].get_title() == "no face found"


def test_timeline_display_has_one_row_per_track(video_table):
    display = TimelineDisplay(video_table).plot()
    assert [ax.get_ylabel() for ax in display.axes_] == ["track 0", "track 1"]
    happy = video_table[video_table["track"] == 0]["happy"]
    lines = {line.get_label(): line for line in display.axes_[0].lines}
    np.testing.assert_allclose(lines["happy"].get_ydata(), happy)
    assert len(TimelineDisplay(video_table).plot(n_tracks=1).axes_) == 1


# commands


def test_the_photo_command_prints_writes_and_draws(tmp_path, capsys):
    draw_photo().save(tmp_path / "three.jpg")
    draw_photo([]).save(tmp_path / "none.png")
    assert run("photo", tmp_path, "--csv", tmp_path / "t.csv", "--out", tmp_path / "annotated") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{tmp_path / 'none.png'}: no face"
    assert out[1].startswith(f"{tmp_path / 'three.jpg'}: ")
    assert out[1].count("%") == 3
    assert len(pd.read_csv(tmp_path / "t.csv")) == 3
    assert Image.open(tmp_path / "annotated" / "three.jpg").size == (640, 480)
    assert run("photo", tmp_path / "three.jpg", "--json", "--threshold", 1) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["unsure"] for row in rows] == [True] * 3


def test_the_photo_command_names_bad_files(tmp_path, capsys):
    draw_photo().save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("not an image")
    assert run("photo", tmp_path) == 1
    assert "bad.png can't be read as an image" in capsys.readouterr().err
    (tmp_path / "._good.png").write_text("what macOS writes")
    (tmp_path / "folder.png").mkdir()
    assert run("photo", tmp_path, "--drop-errors") == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"Skipped {tmp_path / 'bad.png'}: ")
    assert captured.err.count("Skipped") == 1
    assert captured.out.startswith(f"{tmp_path / 'good.png'}: ")
    assert run("photo", tmp_path / "good.png", "--out", tmp_path) == 2
    assert "Expected another directory" in capsys.readouterr().err
    assert run("photo", "nothing.png") == 2


def test_copies_of_photos_with_the_same_name_get_numbers(tmp_path):
    paths = [tmp_path / folder / "photo.png" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        draw_photo().save(path)
    written = annotate_photos(paths, analyze(paths, Model()), tmp_path / "out")
    assert [path.name for path in written] == ["photo.png", "photo_1.png"]


def dark_photos(*paths):
    """Save small photos and return a table in which each of them is a face."""
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40)).save(path)
    return analyze([*paths], Model(), detector=None)


def test_copies_never_replace_a_file(tmp_path):
    paths = [tmp_path / folder / "photo.png" for folder in "ab"]
    table = dark_photos(*paths)
    content = paths[1].read_bytes()
    with pytest.raises(FileExistsError, match=r"Expected another directory than .*, which already contains photo\.png"):
        annotate_photos(paths, table, tmp_path / "b")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo_1.png").write_text("notes")
    with pytest.raises(FileExistsError, match=r"photo_1\.png"):
        annotate_photos(paths, table, tmp_path / "out")
    assert paths[1].read_bytes() == content
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_1.png"]
    assert (tmp_path / "out" / "photo_1.png").read_text() == "notes"
    assert run("photo", *paths, "--out", tmp_path / "b") == 2
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["photo.png"]


def test_a_second_run_only_replaces_copies_with_force(tmp_path, capsys):
    photo, out = tmp_path / "x.png", tmp_path / "out"
    dark_photos(photo)
    assert run("photo", photo, "--out", out) == 0
    (out / "x.png").write_text("an earlier copy")
    assert run("photo", photo, "--out", out) == 2
    assert "--force" in capsys.readouterr().err
    assert (out / "x.png").read_text() == "an earlier copy"
    assert run("photo", photo, "--out", out, "--force") == 0
    assert Image.open(out / "x.png").size == (40, 40)


@pytest.mark.parametrize("link", [None, Path.symlink_to, Path.hardlink_to])
def test_copies_never_replace_a_photo_even_with_overwrite(tmp_path, link):
    photo, out = tmp_path / "photos" / "x.png", tmp_path / "out"
    table = dark_photos(photo)
    content = photo.read_bytes()
    if link:
        out.mkdir()
        link(out / "x.png", photo)
    with pytest.raises(FileExistsError, match=r"already contains x\.png: choose a new one\."):
        annotate_photos([photo], table, out if link else photo.parent, overwrite=True)
    assert run("photo", photo, "--out", out if link else photo.parent, "--force") == 2
    assert photo.read_bytes() == content


def test_copies_never_replace_a_photo_that_was_skipped(tmp_path):
    photo, damaged = tmp_path / "a" / "x.png", tmp_path / "out" / "x.png"
    dark_photos(photo)
    damaged.parent.mkdir()
    damaged.write_text("not an image")
    table = analyze([photo, damaged], Model(), detector=None, errors="drop")
    with pytest.raises(FileExistsError, match=r"x\.png"):
        annotate_photos([photo, damaged], table, damaged.parent, overwrite=True)
    assert damaged.read_text() == "not an image"


def test_copies_have_boxes_whatever_the_spelling_of_their_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dark_photos(Path("x.png"), Path("y.png"))
    Path("bad.png").write_text("not an image")
    table = analyze(["./x.png", "./bad.png"], Model(), detector=None, errors="drop")
    [copy] = annotate_photos(["x.png", tmp_path / "bad.png"], table, "out")
    assert np.asarray(Image.open(copy)).any()
    with pytest.raises(ValueError, match=r"Expected the photos of the table, such as \./x\.png, got \['y\.png'\]"):
        annotate_photos(["y.png"], table, "other")


def test_photos_that_are_given_twice_appear_once(tmp_path, capsys):
    photo = tmp_path / "x.png"
    once, twice = dark_photos(photo), analyze([photo, photo], Model(), detector=None)
    copies = [annotate_photos([photo] * n, table, tmp_path / str(n)) for n, table in ((1, once), (2, twice))]
    assert [len(each) for each in copies] == [1, 1]
    assert copies[0][0].read_bytes() == copies[1][0].read_bytes()
    assert run("photo", photo, photo) == 0
    assert capsys.readouterr().out.splitlines() == [f"{photo}: no face"]


@pytest.mark.parametrize("option", ["--out", "--annotated", "--timeline"])
def test_the_video_command_checks_its_files_first(tmp_path, monkeypatch, option):
    monkeypatch.setattr(ferkit.photos, "analyze", lambda *_, **__: pytest.fail("analyzed"))
    suffix = {"--out": ".csv", "--annotated": ".mp4", "--timeline": ".png"}[option]
    video = tmp_path / "one.mp4"
    video.write_bytes(b"video")
    for wrong in (video, tmp_path / "x.txt", tmp_path / "missing" / f"x{suffix}"):
        assert run("video", video, option, wrong) == 2
    assert video.read_bytes() == b"video"


def test_the_photo_command_checks_its_table_first(tmp_path, monkeypatch):
    dark_photos(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    monkeypatch.setattr(ferkit.photos, "analyze", lambda *_, **__: pytest.fail("analyzed"))
    for wrong in ("x.png", "x.txt", "missing/x.csv"):
        assert run("photo", tmp_path / "x.png", "--csv", tmp_path / wrong) == 2
    assert (tmp_path / "x.png").read_bytes() == content


def test_the_commands_name_each_other(tmp_path, capsys):
    dark_photos(tmp_path / "party.png")
    (tmp_path / "talk.mp4").touch()
    assert run("video", tmp_path / "party.png") == 2
    assert "ferkit photo" in capsys.readouterr().err
    assert run("photo", tmp_path / "talk.mp4") == 1
    assert "ferkit video" in capsys.readouterr().err


def test_the_video_command_writes_what_is_asked_for(video, tmp_path, capsys):
    out, copy, timeline = (tmp_path / name for name in ("t.csv", "copy.mp4", "t.png"))
    assert run("video", video, "--out", out, "--annotated", copy, "--timeline", timeline, "--every", "0.5s") == 0
    assert len(pd.read_csv(out)) == 12
    assert cv2.VideoCapture(str(copy)).get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert Image.open(timeline).width > 500
    assert "track 0, 0.0 to 2.5 s: " in capsys.readouterr().out
    assert run("video", video, "--every", "10") == 0
    assert "Written" not in capsys.readouterr().out
    assert run("video", video, "--timeline", tmp_path / "t.txt") == 2
    assert run("video", video, "--out", out, "--every", "x") == 2


def test_the_video_command_writes_an_empty_table_if_there_is_no_face(tmp_path, capsys):
    video, out, timeline = draw_blink(tmp_path / "dark.avi", [0, 0]), tmp_path / "t.csv", tmp_path / "t.png"
    assert run("video", video, "--out", out, "--timeline", timeline) == 0
    assert len(pd.read_csv(out)) == 0
    assert not timeline.exists()
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["no face", f"There is nothing to draw in {timeline}, which is not written.", f"Written: {out}"]


def test_the_webcam_command_prints_without_a_window(monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: Capture(draw_photo(), 3))
    assert run("webcam") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1  # nothing changes
    assert lines[0].count("%") == 3


def test_the_webcam_command_shows_a_window_until_q_is_pressed(monkeypatch, capsys):
    shown = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: Capture(draw_photo(), 10**9))
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "destroyWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append(image))
    monkeypatch.setattr(cv2, "waitKey", lambda _: ord("q") if len(shown) == 3 else -1)
    assert run("webcam") == 0
    assert len(shown) == 3
    assert shown[0].shape == (480, 640, 3)
    assert (shown[0] != np.asarray(draw_photo())[:, :, ::-1]).any()
    assert capsys.readouterr().out == ""


def test_help_needs_neither_torch_nor_opencv():
    code = """
import sys
from ferkit.cli import main
try:
    main(["--help"])
finally:
    print(*sys.modules, file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "webcam" in result.stdout
    assert not {"torch", "cv2"} & set(result.stderr.split())
