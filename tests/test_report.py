import dataclasses
import json
from base64 import b64decode
from datetime import datetime
from html.parser import HTMLParser
from importlib.metadata import version
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binom
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    recall_score,
    top_k_accuracy_score,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC

from ferkit import evaluate
from ferkit.datasets import make_faces
from ferkit.display import ClassDistributionDisplay, FacesDisplay, HistoryDisplay, PredictionsDisplay
from ferkit.report import Report, compare_reports


def test_scores_agree_with_scikit_learn(fitted, faces):
    y = faces.target_names[faces.target]
    y_pred = fitted.predict(faces.data)
    report = evaluate(fitted, faces.data, y, labels=faces.target_names)
    assert report.accuracy == accuracy_score(y, y_pred)
    assert report.balanced_accuracy == pytest.approx(balanced_accuracy_score(y, y_pred))
    for name, recall in zip(
        faces.target_names, recall_score(y, y_pred, labels=faces.target_names, average=None), strict=True
    ):
        assert report.per_class[name]["recall"] == pytest.approx(recall)
    assert report.confusion.sum() == report.n == len(y)
    assert json.loads(json.dumps(report.to_dict()))["accuracy"] == report.accuracy
    assert f"{report.accuracy:.2%}" in str(report)


def test_interval_is_the_wilson_interval():
    # Wilson (1927), 81 of 263: the worked example of Newcombe, Statistics in Medicine 17 (1998), Table I
    report = Report.from_predictions(np.zeros(263), np.r_[np.zeros(81), np.ones(182)])
    assert np.round(report.interval, 4).tolist() == [0.2553, 0.3662]


def test_top_2_and_macro_f1_agree_with_scikit_learn(fitted, faces):
    y = faces.target_names[faces.target]
    report = evaluate(fitted, faces.data, y)
    proba = fitted.predict_proba(faces.data)
    assert report.top_2_accuracy == pytest.approx(top_k_accuracy_score(y, proba, k=2, labels=fitted.classes_))
    assert report.macro_f1 == pytest.approx(f1_score(y, fitted.predict(faces.data), average="macro"))
    assert report.seconds_per_face > 0


def test_calibration_error_by_hand():
    # two images in the bin up to 0.6, one of them right; one right image in the bin up to 0.8; one wrong in the last
    proba = [[0.59, 0.41], [0.43, 0.57], [0.25, 0.75], [0.96, 0.04]]
    report = Report.from_predictions(["a", "a", "b", "b"], list("abba"), y_proba=proba, classes=["a", "b"])
    assert report.calibration_error == pytest.approx((2 * abs(0.5 - 0.58) + abs(1 - 0.75) + abs(0 - 0.96)) / 4)
    sure = Report.from_predictions(["a", "b"], ["a", "b"], y_proba=np.eye(2), classes=["a", "b"])
    assert sure.calibration_error == 0


def test_confidence_is_the_probability_of_the_predicted_label(tmp_path):
    proba = [[0.1, 0.5, 0.4]]
    report = Report.from_predictions(["happy"], ["sad"], y_proba=proba, classes=["fear", "happy", "sad"])
    assert report.calibration_error == pytest.approx(0.4)
    report.to_html(tmp_path / "report.html", images=np.zeros((1, 4, 4), np.uint8))
    assert "sad 40%" in (tmp_path / "report.html").read_text()


def test_confused_pairs_are_the_mistakes_most_frequent_first():
    y_true = ["fear"] * 5 + ["sad"] * 4 + ["happy"]
    y_pred = ["sad", "sad", "sad", "happy", "fear", "fear", "fear", "sad", "sad", "happy"]
    report = Report.from_predictions(y_true, y_pred)
    assert report.confused_pairs == [
        {"true": "fear", "predicted": "sad", "count": 3, "share": 0.6},
        {"true": "sad", "predicted": "fear", "count": 2, "share": 0.5},
        {"true": "fear", "predicted": "happy", "count": 1, "share": 0.2},
    ]
    assert Report.from_predictions(y_true, y_true).confused_pairs == []


@pytest.mark.parametrize("model", [RidgeClassifier(), SVC(kernel="linear")])
def test_models_without_probabilities_have_no_scores_that_need_them(model, faces, tmp_path):
    report = evaluate(model.fit(faces.data[::3], faces.target[::3]), faces.data, faces.target)
    assert report.accuracy == accuracy_score(faces.target, model.predict(faces.data))
    assert report.top_2_accuracy is report.calibration_error is report.y_proba is None
    assert "top-2" not in str(report)
    report.to_html(tmp_path / "report.html")
    assert "Reliability" not in (tmp_path / "report.html").read_text()


def test_probabilities_are_refused_as_predictions(faces):
    class Contrary(DummyClassifier):
        def predict(self, X):
            return np.full(len(X), self.classes_[-1])

    model = Contrary(strategy="constant", constant="angry").fit(faces.data, faces.target_names[faces.target])
    report = evaluate(model, faces.data, ["surprise"] * 210)
    assert (report.accuracy, report.calibration_error) == (1, 1), "it predicts surprise, though sure of angry"


def test_labels_that_the_model_lacks_count_as_mistakes(faces):
    names = faces.target_names[faces.target]
    known = names != "disgust"
    model = GaussianNB().fit(faces.data[known], names[known])
    report = evaluate(model, faces.data, pd.Series(names, dtype="str"), labels=faces.target_names)
    assert report.labels == list(faces.target_names)
    assert report.per_class["disgust"]["recall"] == 0
    of_known = top_k_accuracy_score(names[known], model.predict_proba(faces.data[known]), k=2, labels=model.classes_)
    assert report.top_2_accuracy == pytest.approx(of_known * known.mean())


@pytest.mark.parametrize("form", ["rows", "stacks", "floats", "frames", "text", "files"])
def test_faces_from_the_training_set_are_counted(form, faces, tmp_path):
    X = faces.data
    if form == "files":
        X = [tmp_path / f"{row}.png" for row in range(len(X))]
        for path, image in zip(X, faces.images, strict=True):
            Image.fromarray(image).save(path)
    X = {
        "rows": X,
        "stacks": faces.images,
        "floats": faces.data / 255,
        "frames": pd.DataFrame(faces.data),
        "text": [" ".join(map(str, row)) for row in faces.data],
        "files": X,
    }[form]
    model = DummyClassifier().fit(X[:100], faces.target[:100])
    report = evaluate(model, X[70:], faces.target[70:], X_train=X[:100])
    assert report.n_in_training == 30
    assert report.unseen_accuracy == accuracy_score(faces.target[100:], model.predict(X[100:]))
    assert report.unseen_interval == Report.from_predictions(faces.target[100:], model.predict(X[100:])).interval
    assert ["also", "in", "training", "30"] in [line.split()[:4] for line in str(report).splitlines()]
    assert "110 images" in str(report)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_identical_pixels_may_differ_in_type(dtype, faces):
    model = DummyClassifier().fit(faces.data, faces.target)
    frame = pd.DataFrame(faces.data[:9].astype(dtype))  # not contiguous
    assert evaluate(model, faces.data, faces.target, X_train=frame).n_in_training == 9


def test_without_unseen_faces_there_is_no_accuracy_on_them(faces):
    model = DummyClassifier().fit(faces.data, faces.target)
    report = evaluate(model, faces.data, faces.target, X_train=faces.images)
    assert (report.n_in_training, report.unseen_accuracy, report.unseen_interval) == (210, None, None)
    assert ["also", "in", "training", "210"] in [line.split()[:4] for line in str(report).splitlines()]
    assert "rest" not in str(report)
    assert evaluate(model, faces.data, faces.target, X_train=faces.data + np.uint8(1)).n_in_training == 0
    with pytest.raises(ValueError, match=r"rows of 2,304 values, got rows of 2,300"):
        evaluate(model, faces.data, faces.target, X_train=faces.data[:, :2300])


def test_invalid_predictions_are_refused():
    with pytest.raises(ValueError, match="at least one image"):
        Report.from_predictions([], [])
    with pytest.raises(ValueError, match="inconsistent"):
        Report.from_predictions(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="Expected labels like 'a', got 0"):
        Report.from_predictions([0, 1], ["a", "b"])
    with pytest.raises(ValueError, match=r"of shape \(n, 2\)"):
        Report.from_predictions(["a", "b"], ["a", "b"], y_proba=np.eye(2, 3), classes=["a", "b"])
    with pytest.raises(ValueError, match="Expected `classes` with y_proba"):
        Report.from_predictions(["a", "b"], ["a", "b"], y_proba=np.eye(2))
    with pytest.raises(ValueError, match="from 0 to 1"):
        Report.from_predictions(["a", "b"], ["a", "b"], y_proba=np.full((2, 2), np.nan), classes=["a", "b"])
    with pytest.raises(ValueError, match="Expected labels like 0, got 'a'"):
        Report.from_predictions(["a", "b"], ["a", "b"], labels=[0, 1])


@pytest.mark.parametrize("missing", [np.nan, None])
@pytest.mark.parametrize("form", [list, pd.Series])
def test_missing_labels_and_groups_are_refused(form, missing):
    for arguments in ((form(["a", missing]), ["a", "b"]), (["a", "b"], form(["a", missing]))):
        with pytest.raises(ValueError, match=r"Expected a label for each image, got 1 missing"):
            Report.from_predictions(*arguments)
    with pytest.raises(ValueError, match=r"Expected a group for each image, got 1 missing"):
        Report.from_predictions(["a", "b"], ["a", "b"], groups=form(["x", missing]))


def test_labels_may_be_a_series_with_any_index_and_must_differ():
    labels = pd.Series(["b", "a"], index=[3, 4])
    assert Report.from_predictions(["a", "b"], ["a", "b"], labels=labels).labels == ["b", "a"]
    with pytest.raises(ValueError, match="Expected different labels"):
        Report.from_predictions(["a", "b"], ["a", "b"], labels=["a", "a", "b"])


def test_names_in_the_order_of_the_data_set_name_the_right_rows():
    faces = make_faces(210, proportions="fer2013", random_state=0)
    names, y = faces.target_names, faces.target_names[faces.target]
    assert names.tolist() != sorted(names), "a model sorts its classes"
    model = GaussianNB(var_smoothing=10).fit(faces.data, y)
    y_pred, y_proba = model.predict(faces.data), model.predict_proba(faces.data)
    counts = dict(zip(names.tolist(), np.bincount(faces.target).tolist(), strict=True))
    report = evaluate(model, faces.data, y, labels=names)
    assert report.labels == [*counts]
    assert report.to_frame()["support"].to_dict() == counts
    np.testing.assert_array_equal(report.confusion, confusion_matrix(y, y_pred, labels=names))

    ordered = Report.from_predictions(y, y_pred, labels=names, y_proba=y_proba, classes=model.classes_)
    assert ordered.top_2_accuracy == pytest.approx(top_k_accuracy_score(y, y_proba, k=2))
    with pytest.raises(ValueError, match=r"pass classes=model\.classes_"):
        Report.from_predictions(y, y_pred, labels=names, y_proba=y_proba, classes=names)
    columns = np.searchsorted(model.classes_, names)
    moved = Report.from_predictions(y, y_pred, labels=names, y_proba=y_proba[:, columns], classes=names)
    assert moved.top_2_accuracy == ordered.top_2_accuracy


def test_averages_only_include_classes_that_occur():
    report = Report.from_predictions(["a", "a", "b", "b"], ["a", "b", "b", "b"], labels=list("abcd"))
    assert report.per_class["macro avg"]["f1-score"] == report.macro_f1 == pytest.approx((2 / 3 + 0.8) / 2)
    assert report.per_class["macro avg"]["recall"] == report.balanced_accuracy == 0.75
    assert report.per_class["macro avg"]["precision"] == pytest.approx((1 + 2 / 3) / 2)


def test_columns_are_labels_and_numbers_are_masks():
    report = Report.from_predictions([["a"], ["b"], ["a"], ["a"]], ["a", "b", "b", "b"], in_training=[1, 0, 0, 0])
    assert (report.accuracy, report.n_in_training, report.unseen_accuracy) == (0.5, 1, pytest.approx(1 / 3))


@pytest.mark.parametrize("names", [True, False])
def test_frame_holds_a_row_for_each_class(names, fitted, faces):
    y = faces.target_names[faces.target] if names else faces.target
    y_pred = fitted.predict(faces.data) if names else np.zeros_like(y)
    frame = Report.from_predictions(y, y_pred).to_frame()
    assert frame.index.tolist() == np.unique(y).tolist()
    precision, recall, f1, support = precision_recall_fscore_support(y, y_pred, zero_division=0)
    np.testing.assert_allclose(frame[["precision", "recall", "f1-score"]], np.transpose([precision, recall, f1]))
    assert frame["support"].tolist() == support.tolist()


def _predictions(labels, n_classes=3):
    rng = np.random.default_rng(0)
    y_true, y_pred = np.asarray(labels)[rng.integers(0, n_classes, (2, 50))]
    return {"y_true": y_true, "y_pred": y_pred, "labels": labels[::-1]}


PROBABILITIES = np.random.default_rng(1).dirichlet(np.ones(3), 50)
REPORTS = {
    "text": _predictions(["a", "b", "c"]),
    "objects": _predictions(np.array(["a", "b", "c"], dtype=object)),
    "numbers": _predictions([7, 8, 9]),
    "truth values": _predictions([False, True], 2),
    "float32": {
        **_predictions(["a", "b", "c"]),
        "y_proba": PROBABILITIES.astype(np.float32),
        "classes": ["a", "b", "c"],
    },
    "float64": {**_predictions([7, 8, 9]), "y_proba": PROBABILITIES, "classes": np.array([7, 8, 9], dtype=np.int32)},
    "rest": {**_predictions([7, 8, 9]), "in_training": np.arange(50) % 3 == 0, "seconds_per_face": 1 / 3},
    "groups": {**_predictions(["a", "b", "c"]), "groups": ["x", "y"] * 25},
    "nan": {**_predictions([7, 8, 9]), "in_training": np.ones(50, bool), "seconds_per_face": np.nan},
}


@pytest.mark.parametrize("arguments", REPORTS.values(), ids=REPORTS)
@pytest.mark.parametrize("form", ["text", "str", "path"])
def test_reports_are_read_as_they_were_saved(arguments, form, tmp_path):
    report, path = Report.from_predictions(**arguments), tmp_path / "report.json"
    text = report.to_json(path)
    loaded = Report.from_json({"text": text, "str": str(path), "path": path}[form])
    for field in dataclasses.fields(Report):
        before, after = getattr(report, field.name), getattr(loaded, field.name)
        assert type(after) is type(before), field.name
        assert getattr(after, "dtype", None) == getattr(before, "dtype", None), field.name
        np.testing.assert_equal(after, before, err_msg=field.name)
    assert str(loaded) == str(report)
    assert "interval" not in text, "it is computed when the report is read"


def test_reports_of_two_files_are_compared_without_their_models(fitted, faces, tmp_path):
    y = faces.target_names[faces.target]
    reports = [evaluate(model, faces.data, y) for model in (fitted, DummyClassifier().fit(faces.data, y))]
    for number, report in enumerate(reports):
        report.to_json(tmp_path / f"{number}.json")
    assert compare_reports(*map(Report.from_json, sorted(tmp_path.iterdir()))) == compare_reports(*reports)


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"accuracy": 1}', "got another file"), ('{"ferkit_report": 99}', "got version 99: update ferkit")],
)
def test_other_json_is_no_report(text, message):
    with pytest.raises(ValueError, match=f"Expected a report that Report.to_json has written in version 1.*{message}"):
        Report.from_json(text)


def test_scores_are_json_types(fitted, faces):
    scores = evaluate(fitted, faces.data, faces.target_names[faces.target], X_train=faces.data[:9]).to_dict()
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_soft_targets_count_by_the_most_probable_class(fitted, faces):
    shares = np.random.default_rng(0).dirichlet(np.ones(7), 210)
    votes = pd.DataFrame(shares, columns=faces.target_names)
    y = votes.idxmax(axis=1)
    for model in (fitted, DummyClassifier().fit(faces.data, y)):
        assert (
            evaluate(model, faces.data, votes).to_dict()["confusion_matrix"]
            == confusion_matrix(y, model.predict(faces.data), labels=model.classes_).tolist()
        )
    with pytest.raises(ValueError, match="sum of 1 in each row"):
        evaluate(fitted, faces.data, votes * 2)


def _in_groups(**counts):
    """A report with the number of right and of all predictions of each group."""
    right = np.concatenate([np.arange(n) < n_right for n_right, n in counts.values()])
    groups = np.repeat([*counts], [n for _, n in counts.values()])
    return Report.from_predictions(np.ones(len(right)), right, groups=groups)


def test_scores_of_groups_agree_with_reports_on_each(faces):
    rng, y = np.random.default_rng(0), faces.target_names[faces.target]
    y_pred, groups = np.where(rng.random(210) < 0.5, y, rng.permutation(y)), rng.choice(["x", "y", "z"], 210)
    report = Report.from_predictions(y, y_pred, groups=groups)
    for group, scores in report.per_group.items():
        own = Report.from_predictions(y[groups == group], y_pred[groups == group])
        assert (scores["n"], scores["accuracy"]) == (own.n, own.accuracy)
        assert scores["accuracy_interval_95"] == list(own.interval)
        assert scores["balanced_accuracy"] == pytest.approx(own.balanced_accuracy)
        low, high = scores["balanced_accuracy_interval_95"]
        assert low < own.balanced_accuracy < high
        assert scores["recall"] == {label: own.per_class[label]["recall"] for label in own.labels}
    ranked = sorted(report.per_group, key=lambda group: report.per_group[group]["accuracy"])
    assert (report.gaps["accuracy"]["lowest"], report.gaps["accuracy"]["highest"]) == (ranked[0], ranked[-1])
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["gaps"] == report.gaps


def test_gap_of_two_groups_has_newcombes_interval():
    # Newcombe, Statistics in Medicine 17 (1998), Table II, method 10: 56 of 70 and 48 of 80
    gap = _in_groups(a=(56, 70), b=(48, 80)).gaps["accuracy"]
    assert gap["difference"] == pytest.approx(0.2)
    assert np.round(gap["difference_interval_95"], 4).tolist() == [0.0524, 0.3339]
    assert (gap["lowest"], gap["highest"], gap["ratio"]) == ("b", "a", pytest.approx(0.75))


def test_intervals_of_difference_and_ratio_agree_on_what_is_noise():
    for n_right in range(30, 71, 4):
        gap = _in_groups(a=(50, 100), b=(n_right, 100)).gaps["accuracy"]
        (low, _), (least, most) = gap["difference_interval_95"], gap["ratio_interval_95"]
        assert (low > 0) == (most < 1)
        assert least <= gap["ratio"] <= most


@pytest.mark.parametrize("n_groups", [2, 4])
def test_gaps_between_equal_groups_are_noise(n_groups):
    rng, noise = np.random.default_rng(0), []
    for counts in rng.binomial(200, 0.7, size=(60, n_groups)):
        gap = _in_groups(**{f"group{number}": (count, 200) for number, count in enumerate(counts)}).gaps["accuracy"]
        noise.append(gap["difference_interval_95"][0] <= 0)
    assert np.mean(noise) >= 0.9


def test_balanced_accuracies_of_groups_only_include_shared_labels():
    y, y_pred, groups = list("aabbaac"), list("abbbaba"), list("xxxxyyy")
    report = Report.from_predictions(y, y_pred, groups=groups)
    assert report.per_group["x"]["balanced_accuracy"] == report.per_group["y"]["balanced_accuracy"] == 0.5
    assert report.per_group["y"]["recall"] == {"a": 0.5, "b": None, "c": 0}
    without_shared = Report.from_predictions(list("aab"), list("aaa"), groups=list("xxy"))
    assert without_shared.gaps.keys() == {"accuracy"}
    assert "balanced accuracy (95" not in str(without_shared)


def test_groups_without_right_predictions_have_no_ratio():
    gap = _in_groups(a=(0, 5), b=(0, 9)).gaps["accuracy"]
    assert (gap["difference"], gap["ratio"], gap["ratio_interval_95"]) == (0, None, None)
    assert _in_groups(a=(0, 5), b=(9, 9)).gaps["accuracy"]["ratio_interval_95"][0] == 0
    assert _in_groups(a=(3, 5)).gaps == {}


def test_scores_of_groups_are_in_text_and_page(fitted, faces, tmp_path):
    groups = np.where(faces.traits["glasses"], "glasses & more", "none")
    report = evaluate(fitted, faces.data, faces.target_names[faces.target], groups=groups)
    report.to_html(tmp_path / "report.html")
    page = _Page((tmp_path / "report.html").read_text())
    assert page.seen.count("img") == 4
    for text in (str(report), page.text):
        assert "glasses & more and none" in text or "none and glasses & more" in text
        assert f"{report.per_group['none']['accuracy']:.2%} (" in text
        assert f"{100 * report.gaps['accuracy']['difference']:.2f} (" in text


def test_invalid_groups_are_refused(fitted, faces):
    with pytest.raises(ValueError, match="got 1 missing values"):
        Report.from_predictions(["a", "b"], ["a", "b"], groups=["x", None])
    with pytest.raises(ValueError, match=r"of shape \(n,\), got \(2, 1\)"):
        Report.from_predictions(["a", "b"], ["a", "b"], groups=[["x"], ["y"]])
    with pytest.raises(ValueError, match="inconsistent"):
        evaluate(fitted, faces.data, faces.target_names[faces.target], groups=["x"])


class _Page(HTMLParser):
    """Parser that fails on unbalanced tags and collects tags, sources and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.links, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_page_is_well_formed_and_needs_no_other_file(fitted, faces, tmp_path):
    y = np.where(faces.target == 0, "<b>angry", faces.target_names[faces.target])
    report = evaluate(fitted, faces.data, y, X_train=faces.data[:9])
    report.to_html(tmp_path / "report.html", title="faces & co")
    text = (tmp_path / "report.html").read_text()
    page = _Page(text)
    assert "://" not in text
    assert "@import" not in text
    assert not {"script", "link", "iframe"} & {*page.seen}
    assert page.seen.count("img") == len(page.links) == 3
    for link in page.links:
        head, png = link.split(",")
        assert head == "data:image/png;base64"
        Image.open(BytesIO(b64decode(png))).verify()
    for shown in ("faces & co", "<b>angry", f"{report.accuracy:.2%}", f"{report.top_2_accuracy:.2%}"):
        assert shown in page.text
    assert f"{report.accuracy:.2%}" in _Page(report._repr_html_()).text


def test_page_shows_the_most_confident_mistakes(fitted, faces, tmp_path):
    y, path = faces.target_names[faces.target], tmp_path / "report.html"
    report = evaluate(fitted, faces.data, y)
    report.to_html(path, images=faces.images)
    page = _Page(path.read_text())
    wrong = np.flatnonzero(report.y_pred != y)
    worst = wrong[report.y_proba[wrong].max(axis=1).argmax()]
    shown = [np.asarray(Image.open(BytesIO(b64decode(link.partition(",")[2])))) for link in page.links[2:26]]
    np.testing.assert_array_equal(shown[0], faces.images[worst])
    assert all(any((face == faces.images[row]).all() for row in wrong) for face in shown)
    assert f"{report.y_pred[worst]} {report.y_proba[worst].max():.0%}" in page.text
    assert "only share it if you may share them" in page.text
    report.to_html(path, images=faces.images / 255)
    assert path.read_text().count("data:image/png") == 3 + 24
    with pytest.raises(ValueError, match="inconsistent"):
        report.to_html(path, images=faces.images[1:])


def test_page_says_when_and_how_a_model_was_trained(fitted, faces, tmp_path):
    report = evaluate(fitted, faces.data, faces.target_names[faces.target], X_train=faces.data[:9])
    details = {"Settings": {"learning rate": 0.01}, "Parameters": {f"parameter {n}": n for n in range(20)}}
    report.to_html(tmp_path / "report.html", history=fitted.history_, details=details)
    page = _Page((tmp_path / "report.html").read_text())
    assert page.seen.count("img") == 5, "loss and accuracy too"
    for text in (f"{datetime.now():%Y-%m-%d}", f"ferkit {version('ferkit')}", "learning rate", "parameter 19"):
        assert text in page.text
    assert "201 images" in page.text, "without those that are also in training"
    assert page.seen.count("details") == 1, "only long tables are folded"


def test_accuracy_is_not_repeated_if_no_image_is_in_training(fitted, faces):
    y = faces.target_names[faces.target]
    assert "accuracy without them" not in str(evaluate(fitted, faces.data, y, X_train=faces.data + np.uint8(1)))
    assert "accuracy without them" in str(evaluate(fitted, faces.data, y, X_train=faces.data[:9]))


def test_pages_do_not_change_the_state_of_matplotlib(tmp_path, pyplot_state):
    before = pyplot_state()
    report = Report.from_predictions(["a", "b"], ["a", "a"], y_proba=np.eye(2), classes=["a", "b"])
    report.to_html(tmp_path / "report.html")
    assert pyplot_state() == before


def _right(*counts):
    """Predictions of two models for faces of class 1, which both models, the first, the second or none get right."""
    return np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


def _pair(*counts):
    """Reports on these predictions."""
    return tuple(Report.from_predictions(np.ones_like(right), right) for right in _right(*counts))


def test_mcnemar_on_known_values():
    # airway reactivity of 21 children, Bentur et al. (2009), as in Fagerland, Lydersen and Laake, BMC Medical Research
    # Methodology 13 (2013): the exact test gives p = 0.070
    comparison = compare_reports(*_pair(1, 1, 7, 12))
    assert comparison.p_value == pytest.approx(0.0703, abs=5e-5)
    assert comparison.n_only == (1, 7)
    assert comparison.difference == pytest.approx(6 / 21)
    # Bonett and Price: one is added to both counts, two to the number of faces
    margin = 1.959964 * np.sqrt((10 / 23 - (6 / 23) ** 2) / 23)
    assert comparison.interval == pytest.approx((6 / 23 - margin, 6 / 23 + margin), abs=1e-6)
    assert comparison.is_noise
    assert "can be sampling noise" in str(comparison)


def test_comparison_covers_the_true_difference():
    rng = np.random.default_rng(0)
    covered = noise = 0
    report = Report.from_predictions(np.ones(400), np.ones(400))
    for counts in rng.multinomial(400, [0.5, 0.1, 0.1, 0.3], size=150):
        # only the predictions matter, so the scores, which take long, are those of one report
        comparison = compare_reports(*(dataclasses.replace(report, y_pred=right) for right in _right(*counts)))
        covered += comparison.interval[0] <= 0 <= comparison.interval[1]
        noise += comparison.is_noise
    assert covered / 150 == pytest.approx(0.95, abs=0.04)
    assert noise / 150 >= 0.95


def test_comparison_says_which_is_better():
    a, b = _pair(200, 20, 60, 20)
    forth, back = (compare_reports(*pair, names=names) for pair, names in (((a, b), ("x", "y")), ((b, a), ("y", "x"))))
    for comparison in (forth, back):
        assert "y is better by 13.33 points, 95 % interval 7.56 to 18.93" in str(comparison)
        assert "only y is right on 60, only x on 20" in str(comparison)
        assert "more than sampling noise" in str(comparison)
    assert forth.p_value == back.p_value == pytest.approx(2 * binom.cdf(20, 80, 0.5))
    assert forth.difference == -back.difference


@pytest.mark.parametrize("counts", [(200, 20, 60, 20), (200, 20, 22, 20)])
def test_verdict_is_about_two_trained_models_and_not_their_settings(counts):
    verdict = str(compare_reports(*_pair(*counts))).splitlines()[-2:]
    assert "these two trained models" in verdict[0]
    assert "another seed" in verdict[1]


def test_a_model_does_not_beat_itself(fitted, faces):
    report = evaluate(fitted, faces.data, faces.target_names[faces.target])
    comparison = compare_reports(report, report)
    assert comparison.difference == 0
    assert comparison.p_value == 1
    assert "no difference" in str(comparison)
    with pytest.raises(ValueError, match="same images"):
        compare_reports(report, Report.from_predictions(["sad", "fear"], ["sad", "fear"]))


def test_learning_curve_shows_each_epoch(fitted):
    loss, accuracy = HistoryDisplay.from_estimator(fitted).axes_
    assert loss.lines[0].get_xdata().tolist() == [1, 2]
    assert accuracy.lines[0].get_ydata().tolist() == [row["train_accuracy"] for row in fitted.history_]
    assert len(loss.lines) == 1, "no validation, no second line"


def test_learning_curves_of_several_models_in_axes_of_ones_own(fitted, tiny, faces):
    other = tiny(validation_fraction=0.2).fit(faces.data, faces.target)
    _, axes = plt.subplots(1, 2)
    display = HistoryDisplay.from_estimator({"a": fitted, "b": other}, ax=axes)
    assert list(display.axes_) == list(axes)
    assert display.figure_ is axes[0].figure
    labels = axes[1].get_legend_handles_labels()[1]
    assert labels == ["a, training batches", "b, training batches", "b, validation", "best epoch"]
    a, *of_b = (line.get_color() for line in axes[1].lines)
    assert len({*of_b}) == 1
    assert a != of_b[0]
    assert axes[1].lines[0].get_ydata().tolist() == [row["train_accuracy"] for row in fitted.history_]
    _, ax = plt.subplots()
    assert HistoryDisplay.from_estimator(fitted, ax=ax, scores=["accuracy"]).axes_[0].get_ylabel() == "accuracy"
    with pytest.raises(ValueError, match="Expected one Axes for each of loss, accuracy, got 1"):
        HistoryDisplay.from_estimator(fitted, ax=ax)


def test_learning_curve_shows_metrics_of_callbacks():
    rows = [
        {"epoch": n, "train_loss": 1 / n, "lr": 0.1, "train_f1": n / 9, "valid_f1": n / 8, "norm": n} for n in (1, 2)
    ]
    axes = HistoryDisplay(rows).plot().axes_
    assert [ax.get_ylabel() for ax in axes] == ["loss", "f1", "norm"]
    assert [line.get_ydata().tolist() for line in axes[1].lines] == [[1 / 9, 2 / 9], [1 / 8, 2 / 8]]
    assert [line.get_ydata().tolist() for line in axes[2].lines] == [[1, 2]]


def test_class_distribution_counts(faces):
    names = faces.target_names[faces.target]
    display = ClassDistributionDisplay.from_targets({"a": names, "b": names[:70]}, labels=faces.target_names)
    assert display.counts["a"].sum() == 210
    assert [bar.get_height() for bar in display.ax_.patches] == [*display.counts["a"], *display.counts["b"]]


def test_faces_are_in_the_row_of_their_label(faces):
    names = faces.target_names[faces.target]
    display = FacesDisplay.from_data(faces.images, names, labels=faces.target_names, n_columns=3)
    assert [row[0].get_ylabel() for row in display.axes_] == list(faces.target_names)
    shown = display.axes_[2, 1].images[0].get_array()
    assert any((shown == image).all() for image in faces.images[names == "fear"])


def test_predictions_show_which_are_correct(fitted, faces):
    names = faces.target_names[faces.target]
    display = PredictionsDisplay.from_estimator(fitted, faces.data, names, n_images=20)
    for ax, true, predicted in zip(display.axes_.flat, display.y_true, display.y_pred, strict=False):
        assert ax.get_title().startswith(f"{'✓' if true == predicted else '✗'} {predicted}")
    assert len({ax.title.get_color() for ax in display.axes_.flat[:20]}) == 2
