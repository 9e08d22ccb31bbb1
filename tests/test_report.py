import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

from ferkit.display import ClassDistributionDisplay, FacesDisplay, LearningCurveDisplay, PredictionsDisplay
from ferkit.report import Report, evaluate


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


def test_interval_is_wilsons():
    # Wilson (1927), 81 of 263: the worked example of Newcombe, Statistics in Medicine 17 (1998), Table I
    report = Report.from_predictions(np.zeros(263), np.r_[np.zeros(81), np.ones(182)])
    assert np.round(report.interval, 4).tolist() == [0.2553, 0.3662]


def test_learning_curve_shows_each_epoch(fitted):
    loss, accuracy = LearningCurveDisplay.from_estimator(fitted).axes_
    assert loss.lines[0].get_xdata().tolist() == [1, 2]
    assert accuracy.lines[0].get_ydata().tolist() == [row["train_accuracy"] for row in fitted.history_]
    assert len(loss.lines) == 1, "no validation, no second line"


def test_class_distribution_counts(faces):
    names = faces.target_names[faces.target]
    display = ClassDistributionDisplay.from_targets({"a": names, "b": names[:70]}, labels=faces.target_names)
    assert display.counts["a"].sum() == 210
    assert [bar.get_height() for bar in display.ax_.patches] == [*display.counts["a"], *display.counts["b"]]


def test_faces_stand_in_the_row_of_their_label(faces):
    names = faces.target_names[faces.target]
    display = FacesDisplay.from_data(faces.images, names, labels=faces.target_names, n_columns=3)
    assert [row[0].get_ylabel() for row in display.axes_] == list(faces.target_names)
    shown = display.axes_[2, 1].images[0].get_array()
    assert any((shown == image).all() for image in faces.images[names == "fear"])


def test_predictions_say_right_and_wrong(fitted, faces):
    names = faces.target_names[faces.target]
    display = PredictionsDisplay.from_estimator(fitted, faces.data, names, n_images=20)
    for ax, true, predicted in zip(display.axes_.flat, display.y_true, display.y_pred, strict=False):
        assert ax.get_title().startswith(f"{'✓' if true == predicted else '✗'} {predicted}")
    assert len({ax.title.get_color() for ax in display.axes_.flat[:20]}) == 2
