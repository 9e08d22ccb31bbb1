import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import KNeighborsClassifier

import ferkit
from ferkit.cli import main
from ferkit.datasets import find_label_errors, make_faces
from ferkit.display import LabelErrorsDisplay

LABELS = np.array(["happy", "sad", "surprise"])


@pytest.fixture(scope="module")
def planted():
    """Labels, of which rows 3 and 8 are wrong, and probabilities of a model that is surer of row 8 than of row 3."""
    true = LABELS[np.arange(30) % 3]
    y_proba = np.where(true[:, None] == LABELS, 0.8, 0.1)
    y = true.copy()
    y[3], y[8] = "sad", "happy"
    y_proba[3], y_proba[8] = [0.85, 0.1, 0.05], [0.02, 0.01, 0.97]
    return y, y_proba


def slowly(y, y_proba, labels):
    """Return the suspects by the definition of confident learning, face by face."""
    average = {label: np.mean([row[k] for row, own in zip(y_proba, y, strict=True) if own == label])
               for k, label in enumerate(labels)}  # fmt: skip
    suspects = []
    for number, (row, own) in enumerate(zip(y_proba, y, strict=True)):
        candidates = [(p, label) for p, label in zip(row, labels, strict=True) if p >= average[label] - 1e-9]
        if candidates and max(candidates)[1] != own:
            suspects.append((row[list(labels).index(own)], number))
    return [number for _, number in sorted(suspects)]


def test_wrong_labels_come_first_with_the_right_ones_as_suggestions(planted):
    errors = find_label_errors(*planted)
    assert errors.row.tolist() == [8, 3]
    assert errors.label.tolist() == ["happy", "sad"]
    assert errors.suggested.tolist() == ["surprise", "happy"]
    assert errors.label_probability.tolist() == [0.02, 0.1]
    assert errors.suggested_probability.tolist() == [0.97, 0.85]


@pytest.mark.parametrize("seed", range(5))
def test_suspects_are_those_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    y_proba = rng.dirichlet(np.ones(3), 200)
    y = LABELS[[rng.choice(3, p=row) for row in y_proba]]
    errors = find_label_errors(y, y_proba)
    assert errors.row.tolist() == slowly(y, y_proba, LABELS)
    assert not (errors.suggested == errors.label).any()


def test_columns_may_be_in_another_order_and_of_labels_that_no_face_has(planted):
    y, y_proba = planted
    labels = ["surprise", "fear", "sad", "happy"]
    moved = np.column_stack([y_proba[:, 2], np.full(30, 0.001), y_proba[:, 1], y_proba[:, 0]])
    errors = find_label_errors(y, moved, labels=labels)
    assert errors.row.tolist() == [8, 3]
    assert errors.suggested.tolist() == ["surprise", "happy"]


def test_the_text_the_frame_and_the_dict_name_the_suspects(planted):
    errors = find_label_errors(*planted, names=[f"{row}.png" for row in range(30)])
    assert (
        str(errors)
        == """\
2 of 30 labels are suspect (6.7%)

label suggested faces
happy  surprise     1
  sad     happy     1

image label  probability suggested  probability 
8.png happy        0.020  surprise         0.970
3.png   sad        0.100     happy         0.850"""
    )
    assert errors.to_frame().to_dict("records") == [
        {"row": 8, "name": "8.png", "label": "happy", "suggested": "surprise"}
        | {"label_probability": 0.02, "suggested_probability": 0.97},
        {"row": 3, "name": "3.png", "label": "sad", "suggested": "happy"}
        | {"label_probability": 0.1, "suggested_probability": 0.85},
    ]
    found = json.loads(json.dumps(errors.to_dict()))
    assert (found["n"], found["suspects"]) == (30, 2)
    assert {"label": "sad", "suggested": "happy", "faces": 1} in found["pairs"]
    assert found["examples"][0]["name"] == "8.png"
    assert repr(errors) == "LabelErrors(n=30, suspects=2)"


def test_labels_without_suspects_are_one_line():
    errors = find_label_errors(["a", "b"] * 10, [[0.9, 0.1], [0.1, 0.9]] * 10)
    assert str(errors) == "0 of 20 labels are suspect (0.0%)"
    assert errors.to_frame().empty


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y": np.tile(LABELS, 9)}, "inconsistent numbers"),
        ({"y": ["happy", "fear"] * 15, "labels": LABELS}, r"without \['fear'\]"),
        ({"y": [0, 1, 2] * 10, "labels": LABELS}, "names or numbers"),
        ({"y_proba": np.full((30, 2), 0.5)}, "one column per label"),
        ({"y_proba": np.full((30, 3), np.nan)}, "from 0 to 1"),
        ({"names": range(3)}, "inconsistent numbers"),
        ({"labels": [*LABELS[:2], LABELS[0]]}, "Expected different labels"),
        ({"y": pd.Series([None, *"ab"] * 10)}, "Expected a label for each image, got 10 missing"),
    ],
)
def test_invalid_input_is_named(planted, changes, words):
    y, y_proba = planted
    with pytest.raises(ValueError, match=words):
        find_label_errors(**{"y": y, "y_proba": y_proba, **changes})


def test_suspects_are_those_of_cleanlab(planted):
    with warnings.catch_warnings():  # its import ignores all warnings of the process
        rank = pytest.importorskip("cleanlab.filter").find_label_issues
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 300)
    y_proba = 0.1 * rng.dirichlet(np.ones(3), 300) + 0.9 * np.eye(3)[true]
    y = np.where(rng.random(300) < 0.1, (true + 1) % 3, true)
    expected = rank(y, y_proba, filter_by="confident_learning", return_indices_ranked_by="self_confidence", n_jobs=1)
    assert len(expected) > 10
    assert find_label_errors(y, y_proba).row.tolist() == expected.tolist()


def test_the_display_shows_the_first_suspects(planted):
    errors, images = find_label_errors(*planted), np.arange(30, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    display = LabelErrorsDisplay.from_errors(errors, images, n_images=1)
    (ax,) = display.axes_.flat
    assert ax.get_title() == "happy?\nsurprise 97%"
    assert (ax.images[0].get_array() == 8).all()
    with pytest.raises(ValueError, match="the 30 images that were checked, got 2"):
        LabelErrorsDisplay.from_errors(errors, images[:2])


# ferkit audit --labels


@pytest.fixture(scope="module")
def frame():
    """Faces of three emotions, with four copies of a face that all have the same wrong label."""
    faces = make_faces(120, size=48, proportions=[0, 0, 0, 1, 1, 1, 0], as_frame=True, noise=0, random_state=0)
    frame = faces.frame
    wrong = frame.index[frame["emotion"] == 3][0]
    frame.loc[wrong, "emotion"] = 4
    return pd.concat([frame, *[frame.loc[[wrong]]] * 3], ignore_index=True), [wrong, 120, 121, 122]


def audit(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["audit", *map(str, arguments)])
    return stop.value.code or 0


def test_audit_checks_labels_with_copies_in_one_fold(frame, tmp_path, monkeypatch, capsys, quick):
    class SeesTheTruth(KNeighborsClassifier):
        """Predicts the label of the same image in training if there is one, and otherwise that faces are happy."""

        def predict_proba(self, X):
            y_proba = super().predict_proba(X)
            seen = self.kneighbors(X, 1)[0][:, 0] == 0
            return np.where(seen[:, None], y_proba, np.eye(len(self.classes_))[0])

    table, copies = frame
    table.to_csv(tmp_path / "fer2013.csv", index=False)
    monkeypatch.setattr(ferkit.recipes, "make_classifier", lambda *_, **__: SeesTheTruth(1))
    suspects, figure = tmp_path / "suspects.csv", tmp_path / "suspects.png"
    assert audit(tmp_path / "fer2013.csv", "--labels", "--csv", suspects, "--figure", figure) == 0
    printed = capsys.readouterr().out
    assert "exact duplicates" in printed
    assert "Training 3 networks." in printed
    assert "labels are suspect" in printed
    assert f"All suspects are in {suspects}" in printed
    written = pd.read_csv(suspects)
    assert set(copies) <= set(written["name"]), "a network that has seen a copy would not doubt its label"
    assert set(written["suggested"]) == {"happy"}
    assert figure.exists()


def test_audit_says_that_no_figure_is_drawn_without_a_suspect(frame, tmp_path, monkeypatch, capsys):
    frame[0].iloc[:60].to_csv(tmp_path / "fer2013.csv", index=False)
    faces = ferkit.datasets.load_fer2013(tmp_path / "fer2013.csv")
    agrees = FrozenEstimator(KNeighborsClassifier(1).fit(faces.data, faces.target_names[faces.target]))
    monkeypatch.setattr(ferkit.recipes, "make_classifier", lambda *_, **__: agrees)
    figure = tmp_path / "suspects.png"
    assert audit(tmp_path / "fer2013.csv", "--labels", "--figure", figure) == 0
    assert f"No label is suspect, so {figure} is not drawn." in capsys.readouterr().err
    assert not figure.exists()


def test_audit_trains_networks_and_prints_json(frame, tmp_path, capsys):
    table, _ = frame
    table.iloc[:60].to_csv(tmp_path / "fer2013.csv", index=False)
    assert audit(tmp_path / "fer2013.csv", "--labels", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == found["labels"]["n"] == 60


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--csv", "a.csv"], "add --labels"),
        (["--labels", "--figure", "a.txt"], "Expected a .png or .svg file"),
        (["--labels", "--csv", "fer2013.csv"], "another file"),
    ],
)
def test_audit_refuses_options_before_it_reads(frame, options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fer2013.csv").write_text("")
    assert audit("fer2013.csv", *options) == 2
    assert words in " ".join(capsys.readouterr().err.replace("│", "").split())


def test_audit_does_not_replace_a_file_of_the_data(frame, tmp_path, capsys):
    frame[0].to_csv(tmp_path / "fer2013.csv", index=False)
    before = (tmp_path / "fer2013.csv").read_bytes()
    assert audit(tmp_path, "--labels", "--csv", tmp_path / "fer2013.csv") == 2
    assert "Expected a new file among those that are read" in " ".join(capsys.readouterr().err.replace("│", "").split())
    assert (tmp_path / "fer2013.csv").read_bytes() == before


def test_audit_needs_faces_for_each_network(frame, tmp_path, capsys):
    frame[0].iloc[:2].to_csv(tmp_path / "two.csv", index=False)
    assert audit(tmp_path / "two.csv", "--labels") == 1
    assert "Expected at least 3 different faces for --labels, got 2" in capsys.readouterr().err


def test_audit_says_that_labels_are_missing_before_it_trains(frame, tmp_path, capsys):
    frame[0].drop(columns="emotion").to_csv(tmp_path / "test.csv", index=False)
    assert audit(tmp_path / "test.csv", "--labels") == 1
    assert "Expected faces with labels" in capsys.readouterr().err
