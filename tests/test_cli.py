import json
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from functools import partial
from itertools import count

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from global_state import compare, read_state
from matplotlib.figure import Figure
from PIL import Image
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ferkit import FERClassifier, Pipeline, PixelParser, load, save
from ferkit.backbones import list_backbones
from ferkit.cli import main
from ferkit.datasets import make_faces
from ferkit.display import FacesDisplay
from ferkit.recipes import RECIPES
from ferkit.runs import Run

TRAIN = ("--backbone", "cnn_small", "--input-size", 24, "--epochs", 1)
FIGURES = {"class_distribution", "confusion_matrix", "history", "predictions", "samples"}


def run(*arguments):
    """Return the exit code of `ferkit`."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


@pytest.fixture(scope="module", autouse=True)
def small_figures():
    """One face per label in place of eight in the figure of samples, which takes longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FacesDisplay, "from_data", partial(FacesDisplay.from_data, n_columns=1))
        yield


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "fer2013.csv"
    make_faces(200, random_state=0, as_frame=True).frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def finished(csv, tmp_path_factory):
    """A run folder."""
    out = tmp_path_factory.mktemp("run") / "first"
    assert run("train", csv, *TRAIN, "--out", out) == 0
    return out


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, face in enumerate(make_faces(3, size=96, random_state=1).images):
        Image.fromarray(face).convert("RGB").save(folder / f"{number}.png")
    return folder


@contextmanager
def ctrl_c(backbone, after):
    """Interrupt all trainings of a network after some epochs."""

    def fit_with_interrupt(self, X, y, **validation):
        def draw(*args, **kwargs):  # the order of the images of an epoch
            if self.backbone == backbone and next(epochs) == after:
                raise KeyboardInterrupt
            return randperm(*args, **kwargs)

        epochs = count()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randperm", draw)
            return fit(self, X, y, **validation)

    fit, randperm = FERClassifier.fit, torch.randperm
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FERClassifier, "fit", fit_with_interrupt)
        yield


def test_train_writes_model_report_figures_and_settings(finished, csv):
    assert {path.stem for path in finished.glob("*.png")} == FIGURES
    for path in finished.glob("*.png"):
        assert np.asarray(Image.open(path).convert("L")).std() > 5, f"{path} is blank"
    report = json.loads((finished / "report.json").read_text())
    assert list(report) == ["Training", "PublicTest"]
    assert report["Training"]["n"] == 160
    assert report["PublicTest"]["n"] == 20
    for part in report.values():
        low, high = part["accuracy_interval_95"]
        assert low <= part["accuracy"] <= high
        assert set(part["per_class"]["happy"]) == {"precision", "recall", "f1-score", "support"}
    text = (finished / "report.txt").read_text()
    assert f"{report['PublicTest']['accuracy']:.2%}" in text
    assert f"{report['PublicTest']['top_2_accuracy']:.2%}" in (finished / "report.html").read_text()
    assert [part["n_in_training"] for part in report.values()] == [None, 0]
    settings = json.loads((finished / "settings.json").read_text(), parse_constant=pytest.fail)
    assert settings["parameters"]["max_epochs"] == 1
    assert settings["versions"]["ferkit"]
    assert settings["data"] == str(csv)
    model = load(finished / "model.ferkit")
    assert isinstance(model, FERClassifier)
    assert "happy" in model.classes_


def test_an_earlier_run_is_only_overwritten_with_force(finished, csv, quick, capsys):
    before = (finished / "model.ferkit").read_bytes()
    assert run("train", csv, *TRAIN, "--out", finished) == 2
    assert "--force" in capsys.readouterr().err
    assert (finished / "model.ferkit").read_bytes() == before
    assert run("train", csv, *TRAIN, "--out", finished, "--force", "--seed", 1) == 0
    assert (finished / "model.ferkit").read_bytes() != before


def test_evaluate_agrees_with_the_report(finished, csv, capsys):
    assert run("evaluate", finished / "model.ferkit", csv, "--usage", "PublicTest", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    report = json.loads((finished / "report.json").read_text())["PublicTest"]
    for score in ("accuracy", "macro_f1", "top_2_accuracy", "confused_pairs"):
        assert shown[score] == report[score]
    assert shown["calibration_error"] == pytest.approx(report["calibration_error"])
    for usage, n in (("PrivateTest", 20), ("all", 200)):
        assert run("evaluate", finished, csv, "--usage", usage) == 0
        assert f"{n} images" in capsys.readouterr().out
    assert run("evaluate", finished, csv) == 0
    shown = capsys.readouterr().out
    assert "PublicTest" in shown
    assert "20 images" in shown


def test_evaluate_accepts_models_that_predict_codes(csv, tmp_path, capsys, faces, tiny):
    joblib.dump(tiny().fit(faces.data, faces.target), tmp_path / "codes.joblib")
    assert run("evaluate", tmp_path / "codes.joblib", csv, "--usage", "all", "--json") == 0
    assert json.loads(capsys.readouterr().out)["n"] == 200


def test_predict_as_table_json_and_csv(finished, pictures, capsys):
    model = finished / "model.ferkit"
    assert run("predict", model, pictures / "0.png", pictures) == 0
    shown = capsys.readouterr()
    assert "surprise" in shown.out
    assert "no face was searched for" in shown.err
    assert run("predict", model, pictures, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["image"] for row in rows] == [str(pictures / f"{n}.png") for n in range(3)]
    for row in rows:
        probabilities = {name: value for name, value in row.items() if name not in ("image", "emotion")}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
        assert max(probabilities, key=probabilities.get) == row["emotion"]
    assert run("predict", model, pictures, "--csv") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("image,emotion,angry")
    assert len(out) == 4


def test_folders_and_zips_train_the_same_model_as_the_csv(csv, tmp_path, quick):
    faces = make_faces(200, random_state=0)
    folder = tmp_path / "fer"
    for number, (image, target, usage) in enumerate(zip(faces.images, faces.target, faces.usage, strict=True)):
        place = folder / ("train" if usage == "Training" else "test") / faces.target_names[target]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{usage}_{number}.png")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path))
    accuracies = []
    for name, data in (("a", csv), ("b", folder), ("c", tmp_path / "archive.zip")):
        assert run("train", data, *TRAIN, "--out", tmp_path / name) == 0
        accuracies.append(json.loads((tmp_path / name / "report.json").read_text())["Training"]["accuracy"])
    assert len(set(accuracies)) == 1


def test_train_scores_other_splits(csv, tmp_path, quick):
    frame = pd.read_csv(csv)
    frame.loc[frame.Usage != "Training", "Usage"] = "Test"
    frame.to_csv(tmp_path / "other.csv", index=False)
    assert run("train", tmp_path / "other.csv", *TRAIN, "--out", tmp_path / "a") == 0
    assert list(json.loads((tmp_path / "a/report.json").read_text())) == ["Training", "Test"]
    frame[["emotion", "pixels"]].to_csv(tmp_path / "train.csv", index=False)
    assert run("train", tmp_path / "train.csv", *TRAIN, "--out", tmp_path / "b") == 0
    report = json.loads((tmp_path / "b/report.json").read_text())
    assert report["Training"]["n"] == 180
    assert report["a tenth of Training"]["n"] == 20


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "missing.csv"], 1, "Found nothing at"),
        (["train", "empty.csv"], 1, "empty.csv"),
        (["train", "columns.csv"], 1, "no 'pixels' column"),
        (
            ["train", "short.csv"],
            1,
            "Row 1 holds 2 pixel values, expected 2,304 (48×48): drop it, or add --drop",
        ),
        (["train", "cut.zip"], 1, "truncated or damaged"),
        (["train", "unlabeled.csv"], 1, "Expected labeled images"),
        (["train", "test_only.csv"], 1, "Expected Training images"),
        (["train", "one_class.csv"], 1, "one class"),
        (["train", "DATA", "--device", "abacus"], 2, "device must be"),
        (["train", "DATA", "--seed", "-1"], 2, "--seed"),
        (["train", "DATA", "--out", "empty.csv/run"], 2, "can be written to"),
        (["train", "DATA", "--backbone", "resnet_18"], 2, "did you mean 'resnet18'"),
        (["train", "DATA", "--epochs", "0"], 2, "--epochs"),
        (["train", "DATA", "--nonsense"], 2, "--nonsense"),
        (["train", "DATA", "--out", "empty.csv"], 2, "is a file"),
        (["evaluate", "missing.joblib", "DATA"], 2, "'missing.joblib' does not exist"),
        (["evaluate", "empty.csv", "DATA"], 1, "damaged or of another kind"),
        (["evaluate", "MODEL", "DATA", "--usage", "Exam"], 2, "'Exam' is not one of"),
        (["evaluate", "MODEL", "unlabeled.csv", "--usage", "Test"], 1, "no labels"),
        (["predict", "MODEL", "missing.png"], 2, "'missing.png' does not exist"),
        (["photo", "DATA", "--model", "missing"], 2, "for --model: 'missing' does not exist, and is no model"),
        (["predict", "MODEL", "empty.csv"], 1, "Expected an image, got empty.csv"),
        (["predict", "MODEL", "DATA", "--json", "--csv"], 2, "exclude each other"),
        (["dance"], 2, "dance"),
    ],
    ids=str,
)
def test_errors_are_one_clear_line(arguments, code, message, csv, finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    row = " ".join(["7"] * 2304)
    files = {
        "empty.csv": "",
        "columns.csv": "label,image\n1,2\n",
        "short.csv": f"emotion,pixels,Usage\n1,{row},Training\n2,1 2,Training\n",
        "unlabeled.csv": f"pixels\n{row}\n",
        "test_only.csv": f"emotion,pixels\n1,{row}\n",
        "one_class.csv": "emotion,pixels,Usage\n" + f"1,{row},Training\n" * 4 + f"1,{row},PublicTest\n",
        "cut.zip": "PK\x03\x04 and no more",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    places = {"DATA": csv, "MODEL": finished / "model.ferkit"}
    assert run(*(places.get(argument, argument) for argument in arguments)) == code
    shown = capsys.readouterr()
    assert message in " ".join(shown.err.replace("│", " ").split())
    assert "Traceback" not in shown.err
    if code == 1:
        assert shown.err.strip().count("\n") == 0
    assert not (tmp_path / "run" / "model.ferkit").exists()


def test_debug_raises_the_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["train", str(tmp_path / "missing.csv"), "--debug"])


def test_predict_skips_unreadable_images_with_drop_errors(finished, pictures, capsys):
    Image.fromarray(np.full((60, 60), 40_000, np.uint16)).save(pictures / "16bit.png")
    (pictures / "notes.pdf").write_text("no picture")
    model = finished / "model.ferkit"
    assert run("predict", model, pictures, "--json") == 1
    assert "16bit.png (expected 8-bit pixels, got mode" in " ".join(capsys.readouterr().err.split())
    assert run("predict", model, pictures, "--json", "--drop-errors") == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


@pytest.mark.parametrize("kind", ["ensemble", "ensemble of wide images", "pipeline of rows"])
def test_predict_takes_models_of_rows(kind, pictures, tmp_path, capsys, faces, tiny):
    y, (height, width) = faces.target_names[faces.target], (48, 48)
    if kind == "ensemble of wide images":
        height, width = 36, 64  # as many pixels as 48×48
    network = tiny(image_shape=(height, width)).fit(faces.data, y)
    if kind.startswith("ensemble"):
        model = VotingClassifier([(name, FrozenEstimator(network)) for name in "ab"], voting="soft")
    else:
        model = make_pipeline(StandardScaler(), GaussianNB())
    save(model.fit(faces.data, y), tmp_path / "model.ferkit")
    assert run("predict", tmp_path / "model.ferkit", pictures, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 3
    images = [Image.open(row["image"]).convert("L") for row in rows]
    images = [image.resize((width, height), Image.Resampling.BILINEAR) for image in images]
    expected = model.predict_proba(np.stack([np.asarray(image).ravel() for image in images]))
    np.testing.assert_allclose([[row[name] for name in model.classes_] for row in rows], expected, atol=0.005)


def test_predict_refuses_models_that_accept_no_images(pictures, tmp_path, capsys, faces, tiny):
    pipeline = Pipeline([("parse", PixelParser()), ("classify", tiny())])
    joblib.dump(pipeline.fit([" ".join(map(str, row)) for row in faces.data], faces.target), tmp_path / "p.joblib")
    assert run("predict", tmp_path / "p.joblib", pictures) == 1
    assert "begins with a PixelParser" in capsys.readouterr().err
    joblib.dump(tiny(), tmp_path / "unfitted.joblib")
    assert run("predict", tmp_path / "unfitted.joblib", pictures) == 1
    assert "Expected a fitted classifier" in capsys.readouterr().err


def test_an_emotion_missing_in_training_is_reported(csv, tmp_path, quick):
    frame = pd.read_csv(csv)
    frame = frame[(frame.emotion != 1) | (frame.Usage != "Training")]
    frame.loc[frame.index[-1], ["emotion", "Usage"]] = [1, "PublicTest"]
    frame.to_csv(tmp_path / "rare.csv", index=False)
    assert run("train", tmp_path / "rare.csv", *TRAIN, "--out", tmp_path / "a") == 0
    report = json.loads((tmp_path / "a/report.json").read_text())["PublicTest"]
    assert report["per_class"]["disgust"]["recall"] == 0
    assert report["per_class"]["disgust"]["support"] >= 1
    (epoch,) = json.loads((tmp_path / "a/settings.json").read_text())["history"]
    assert epoch["valid_loss"] is not None, "disgust is left out of it"


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("ferkit ")


def test_drop_errors_trains_on_the_rest(csv, tmp_path, quick):
    lines = csv.read_text().splitlines()
    (tmp_path / "bad.csv").write_text("\n".join([lines[0], "3,1 2 3,Training", *lines[1:]]))
    assert run("train", tmp_path / "bad.csv", *TRAIN, "--out", tmp_path / "a") == 1
    with pytest.warns(UserWarning, match="Left out 1"):
        assert run("train", tmp_path / "bad.csv", *TRAIN, "--out", tmp_path / "a", "--drop-errors") == 0
    assert json.loads((tmp_path / "a/report.json").read_text())["Training"]["n"] == 160


def test_ctrl_c_saves_the_model_so_far(csv, tmp_path, quick, capsys):
    with ctrl_c("cnn_small", after=2):
        assert run("train", csv, *TRAIN, "--epochs", 9, "--out", tmp_path / "a") == 1
    assert "Interrupted after 2 epochs" in capsys.readouterr().out
    assert len(load(tmp_path / "a/model.ferkit").history_) == 2
    assert json.loads((tmp_path / "a/settings.json").read_text())["interrupted"] is True
    assert (tmp_path / "a/report.json").exists()


def test_an_interrupted_training_is_resumed(csv, tmp_path, quick, one_thread, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "300")
    arguments = ("train", csv, *TRAIN, "--epochs", 3, "--set", "mixup=0.2", "--no-augment")
    out, other = tmp_path / "out", tmp_path / "other"
    with ctrl_c("cnn_small", after=2):
        assert run(*arguments, "--out", out) == 1
    assert f"To continue: ferkit train --resume {out}" in capsys.readouterr().out
    assert run(*arguments, "--out", out) == 2
    assert "already contains an unfinished training" in capsys.readouterr().err
    assert run("train", "--resume", out, "--epochs", 4) == 2
    assert "leave --epochs out" in capsys.readouterr().err
    assert run("train", "--resume", out) == 0
    shown = capsys.readouterr().out
    assert "epoch 3/3" in shown
    assert "epoch 2/3" not in shown
    assert run(*arguments, "--out", other) == 0
    resumed, expected = (json.loads((folder / "settings.json").read_text()) for folder in (out, other))
    for epochs in (resumed.pop("history"), expected.pop("history")):
        for row in epochs:
            del row["seconds"]
        assert epochs[-1]["epoch"] == 3
    assert resumed["parameters"] == expected["parameters"]
    assert resumed["data"] == expected["data"] == str(csv)
    reports = [Run.read(folder).read_report() for folder in (out, other)]
    np.testing.assert_array_equal(reports[0].y_proba, reports[1].y_proba)
    assert not (out / ".unfinished").exists()
    assert run("train", "--resume", out) == 2
    assert "Expected a directory with an unfinished training" in capsys.readouterr().err


def test_data_that_have_moved_are_named_again(csv, tmp_path, quick, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "300")
    data, out = shutil.copy(csv, tmp_path / "data.csv"), tmp_path / "out"
    with ctrl_c("cnn_small", after=1):
        assert run("train", data, *TRAIN, "--epochs", 2, "--out", out) == 1
    data.unlink()
    assert run("train", "--resume", out) == 2
    assert "add DATA" in capsys.readouterr().err
    assert run("train", csv, "--resume", out) == 0


def test_command_is_installed():
    shown = subprocess.run([sys.executable, "-m", "ferkit", "--help"], capture_output=True, text=True, check=True)
    for command in ("train", "evaluate", "predict", "demo"):
        assert command in shown.stdout


def test_a_warning_is_printed_without_the_code_that_gave_it(csv, tmp_path):
    spoiled = tmp_path / "spoiled.csv"
    spoiled.write_text(csv.read_text() + "0,not pixels,Training\n")
    command = [sys.executable, "-m", "ferkit", "audit", spoiled, "--drop-errors"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert shown.startswith("ferkit: Warning: Left out 1 of")
    assert len(shown.splitlines()) == 1


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    assert run("demo", "--out", tmp_path / "demo") == 0
    assert run("demo", "--out", tmp_path / "demo") == 2, "a run is not overwritten unasked"
    report = json.loads((tmp_path / "demo/report.json").read_text())
    assert report["PublicTest"]["accuracy"] > 0.6
    history = json.loads((tmp_path / "demo/settings.json").read_text())["history"]
    assert history[-1]["valid_accuracy"] == pytest.approx(report["PublicTest"]["accuracy"])
    assert all(epoch["valid_loss"] for epoch in history), "the learning curve shows validation too"
    assert str(tmp_path / "demo/model.ferkit") in capsys.readouterr().out


# comparing networks


def test_other_options_override_a_recipe(csv, tmp_path, quick):
    options = ["--recipe", "best", "--epochs", 2, "--backbone", "cnn_small"]
    assert run("train", csv, *options, "--out", tmp_path / "run") == 0
    parameters = json.loads((tmp_path / "run" / "settings.json").read_text())["parameters"]
    assert (parameters["max_epochs"], parameters["mixup"]) == (2, RECIPES["best"]["mixup"])
    assert run("train", csv, "--recipe", "slow", "--out", tmp_path / "slow") == 2


@pytest.fixture(scope="module")
def compared(csv, tmp_path_factory):
    """Folder of a comparison and its options. Only the figure that compares the runs is drawn."""

    def savefig(self, file, **options):
        if not hasattr(file, "write"):
            draw(self, file, **options) if file.stem == "comparison" else file.touch()

    draw, out = Figure.savefig, tmp_path_factory.mktemp("comparison")
    options = ["--epochs", 1, "--set", "optimizer=adam", "--set", "ema_decay=null", "--set", "augment__rotation=5"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        assert run("compare", csv, "--backbones", "cnn_small,timm/resnet10t", "--out", out, *options) == 0
    return out, options


def test_compare_writes_a_table_a_chart_and_each_run(compared):
    out, _ = compared
    assert {path.name for path in out.iterdir()} == {
        "cnn_small",
        "timm_resnet10t",
        "comparison.csv",
        "comparison.json",
        "comparison.md",
        "comparison.png",
        "comparison.tex",
        "pairs.csv",
    }
    table, pairs = (out / "comparison.md").read_text().split("\n\n")
    header, rule, *rows = table.splitlines()
    assert header.split("|")[1].strip() == "network"
    assert set(rule) == set("|:-")
    assert len(rows) == 2
    runs = json.loads((out / "comparison.json").read_text())
    assert runs[0]["accuracy"] >= runs[1]["accuracy"]
    for row, entry in zip(rows, runs, strict=True):
        assert entry["name"] in row
        report = json.loads((out / entry["name"] / "report.json").read_text())
        assert entry["accuracy"] == report["PublicTest"]["accuracy"]
        assert f"{entry['accuracy']:.2%}" in row
        assert f"{report['Training']['accuracy']:.2%}" in row
        settings = json.loads((out / entry["name"] / "settings.json").read_text())
        assert settings["parameters"]["optimizer"] == "adam"
        assert settings["parameters"]["ema_decay"] is None
        assert settings["parameters"]["augment__rotation"] == 5
    assert np.asarray(Image.open(out / "comparison.png").convert("L")).std() > 5
    (pair,) = pd.read_csv(out / "pairs.csv").to_dict("records")
    assert pair["first"] == runs[0]["name"]
    assert pair["covers"] == "images"
    assert f"{pair['p_holm']:.2g}" in pairs
    assert pd.read_csv(out / "comparison.csv")["accuracy"].tolist() == [run["accuracy"] for run in runs]
    latex = (out / "comparison.tex").read_text()
    assert latex.count(r"\begin{tabular}") == 2
    assert r"cnn\_small" in latex


def test_compare_trains_each_network_with_several_seeds(csv, tmp_path, quick, capsys):
    arguments = ("compare", csv, "--backbones", "cnn_small", *TRAIN[2:], "--out", tmp_path)
    assert run(*arguments, "--seed", 3) == 0
    first = (tmp_path / "cnn_small-24" / "model.ferkit").stat().st_mtime_ns
    assert run(*arguments, "--seed", 3, "--seeds", 2) == 0
    assert (tmp_path / "cnn_small-24" / "model.ferkit").stat().st_mtime_ns == first
    (row,) = json.loads((tmp_path / "comparison.json").read_text())
    assert (row["name"], row["n_runs"]) == ("cnn_small-24", 2)
    seeds = [Run.read(tmp_path / name) for name in ("cnn_small-24", "cnn_small-24-seed4")]
    assert [each.seed for each in seeds] == [3, 4]
    assert row["accuracies"] == [each.scores["accuracy"] for each in seeds]
    shown = capsys.readouterr().out
    assert "cover the sampling of the test images and the seeds" in shown
    assert "Training cnn_small with seed 4" in shown


def test_compare_cross_validates_with_copies_in_one_fold(tmp_path, quick, capsys):
    frame = make_faces(100, random_state=0, as_frame=True).frame
    frame["Usage"] = np.where(frame.index < 80, "Training", "PublicTest")
    frame = pd.concat([frame, frame[:20], frame[:10]])  # some faces occur two or three times
    frame.to_csv(tmp_path / "fer2013.csv", index=False)
    out, options = tmp_path / "out", ("--backbones", "cnn_small", *TRAIN[2:], "--folds", 2)
    assert run("compare", tmp_path / "fer2013.csv", *options, "--out", out) == 0
    folds = [Run.read(out / f"cnn_small-24-fold{number}of2") for number in (1, 2)]
    assert [each.fold for each in folds] == [(1, 2), (2, 2)]
    assert sum(each.scores["n"] for each in folds) == 110, "PublicTest is not used"
    assert [each.reports["Training"]["n"] for each in folds] == [each.scores["n"] for each in folds[::-1]]
    assert [each.scores["n_in_training"] for each in folds] == [0, 0]
    (row,) = json.loads((out / "comparison.json").read_text())
    assert (row["tested_on"], row["n"], row["n_runs"]) == ("2 folds of Training", 110, 2)
    assert "corrected resampled t-test" in capsys.readouterr().out
    assert run("compare", tmp_path / "fer2013.csv", *options, "--out", out) == 0
    assert "is already trained" in capsys.readouterr().out


def test_compare_says_what_its_intervals_do_not_cover(compared, csv, capsys):
    out, options = compared
    assert run("compare", csv, "--backbones", "cnn_small", "--out", out, *options) == 0
    shown = capsys.readouterr().out
    assert "one trained model" in shown
    assert "another seed" in shown


def test_compare_skips_finished_runs(compared, csv, quick, capsys):
    out, options = compared
    before = (out / "cnn_small" / "model.ferkit").stat().st_mtime_ns
    assert run("compare", csv, "--backbones", "cnn_small", "--out", out, *options, "--seed", 1) == 2
    assert "--force" in capsys.readouterr().err
    assert run("compare", csv, "--backbones", "cnn_small", "--input-size", 32, "--out", out, *options) == 0
    assert run("compare", csv, "--backbones", "cnn_small,timm/resnet10t", "--out", out, *options) == 0
    assert (out / "cnn_small" / "model.ferkit").stat().st_mtime_ns == before
    names = {entry["name"] for entry in json.loads((out / "comparison.json").read_text())}
    assert names == {"cnn_small", "timm_resnet10t", "cnn_small-32"}


def test_ctrl_c_in_the_first_epoch_stops_everything(compared, csv, tmp_path, quick):
    def press_ctrl_c(self, X, y):
        raise KeyboardInterrupt

    earlier, options = compared
    out = shutil.copytree(earlier, tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FERClassifier, "fit", press_ctrl_c)
        arguments = ("--backbones", "cnn_small,vgg_fer", "--out", out, *options, "--seed", 1, "--force")
        assert run("compare", csv, *arguments) != 0
    assert not (out / "vgg_fer" / "model.ferkit").exists()
    for name in ("model.ferkit", "settings.json", "report.json"):
        assert (out / "cnn_small" / name).read_bytes() == (earlier / "cnn_small" / name).read_bytes()
    names = {entry["name"] for entry in json.loads((out / "comparison.json").read_text())}
    assert names & {"cnn_small", "timm_resnet10t"} == {"timm_resnet10t"}, "the other has settings not asked for"


def test_compare_continues_after_an_interruption(csv, tmp_path, quick, capsys):
    arguments = ("compare", csv, "--backbones", "cnn_small,cnn", "--input-size", 24, "--epochs", 2, "--out", tmp_path)
    with ctrl_c("cnn", after=1):
        assert run(*arguments) == 1
    printed = capsys.readouterr().out
    assert "Training was interrupted. To continue: repeat this command" in printed
    assert "--resume" not in printed, "which would not continue a fold"
    assert (tmp_path / "comparison.md").is_file()
    before = (tmp_path / "cnn_small-24" / "model.ferkit").stat().st_mtime_ns
    assert run(*arguments) == 0
    assert (tmp_path / "cnn_small-24" / "model.ferkit").stat().st_mtime_ns == before
    runs = json.loads((tmp_path / "comparison.json").read_text())
    assert [(run["epochs"]) for run in runs] == [2, 2]


def test_an_interrupted_fold_is_only_continued_by_the_same_comparison(csv, tmp_path, quick, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    arguments = ("compare", csv, "--backbones", "cnn_small", *TRAIN[2:], "--folds", 2, "--out", tmp_path)
    with ctrl_c("cnn_small", after=1):
        assert run(*arguments, "--epochs", 2) == 1
    printed = capsys.readouterr()
    assert run(*arguments, "--epochs", 3) == 2
    refused = capsys.readouterr().err
    assert "already contains an unfinished training" in refused
    assert "--resume" not in printed.out + refused
    assert run(*arguments, "--epochs", 2) == 0
    assert capsys.readouterr().out.count("epoch 1/2") == 1, "the first fold continues from its checkpoint"


@pytest.fixture
def moments():
    """Function that copies a folder before each later change, that is before files are opened, renamed or removed."""
    watched = {}

    def copy(event, arguments):
        if event not in ("open", "os.rename", "os.remove") or not watched or watched["busy"]:
            return
        folder, copies = watched["folder"], watched["copies"]
        if str(arguments[0]).startswith(str(folder)):
            watched["busy"] = True
            content = {path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")}
            if content != watched["content"]:  # files are also opened to be read
                copies.append(shutil.copytree(folder, folder.with_name(f"moment{len(copies)}")))
            watched.update(busy=False, content=content)

    def watch(folder):
        watched.update(folder=folder, copies=[], content=None, busy=False)
        return watched["copies"]

    sys.addaudithook(copy)  # it can't be removed
    yield watch
    watched.clear()


def test_a_kill_at_any_moment_leaves_no_score_of_other_settings(csv, tmp_path, quick, moments, monkeypatch, capsys):
    def compare(out, seed, *more):
        return run(
            "compare", csv, "--backbones", "cnn_small", "--epochs", 1, "--seed", seed, "--out", out, *more
        )  # fmt: skip

    def results(out):
        return (out / "cnn_small" / "model.ferkit").read_bytes(), json.loads((out / "comparison.json").read_text())[0]

    out, expected = tmp_path / "out", {}
    assert compare(out, 1) == 0
    expected[1] = results(out)
    copies = moments(out)
    assert compare(out, 2, "--force") == 0
    expected[2] = results(out)
    assert expected[1][1]["training_accuracy"] != expected[2][1]["training_accuracy"]
    assert len(copies) > 10

    monkeypatch.delattr(FERClassifier, "fit")  # only finished runs are shown
    shown = {1: 0, 2: 0}
    for folder in [*copies, out]:
        whole = []
        for seed in (1, 2):
            (folder / "comparison.json").unlink(missing_ok=True)
            if compare(folder, seed) == 0:
                model, row = results(folder)
                assert row == expected[seed][1], f"the row of seed {seed}"
                assert model == expected[seed][0], f"the model of seed {seed}"
                shown[seed] += 1
                whole.append(seed)
        assert len(whole) == 1, f"{folder} has lost both runs"
    assert shown[1] > 0, "before anything is written the earlier run is whole"
    assert shown[2] > 0, "in the end the later one is"


def test_compare_trains_the_other_networks_if_one_fails(csv, tmp_path, quick, capsys):
    assert run("compare", csv, "--backbones", "alexnet,,cnn_small", "--epochs", 1, "--out", tmp_path) == 1
    assert "pass input_size=" in capsys.readouterr().err
    assert [entry["name"] for entry in json.loads((tmp_path / "comparison.json").read_text())] == ["cnn_small"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "--backbones", "cnn,resnet_18"), "Invalid value for --backbones: Expected the name of a backbone"),
        (("train", "--set", "optimizer"), "NAME=VALUE"),
        (("train", "--set", "depth=3"), "Invalid parameter"),
        (("train", "--set", "lr=fast"), "The 'lr' parameter of FERClassifier must be"),
        (("train", "--set", "net_params__lr=3"), "Invalid value for --set"),
        (("serve", "--host", ""), "Expected an address"),
        (("compare", "--set", "backbone=cnn"), "other than the backbone"),
        (("compare", "--backbones", ","), "at least one network, got none"),
        (("train", "--no-augment", "--set", "augment__rotation=3"), "Expected augment to be an ImageAugmenter"),
        (("backbones", "resnet_18"), "did you mean"),
        (("backbones", "--figure", "all.png"), "add its NAME"),
        (("backbones", "cnn", "--figure", "cnn.txt"), "--figure"),
        (("backbones", "cnn", "--figure", "missing/cnn.png"), "create missing"),
    ],
)
def test_bad_usage(arguments, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


def test_backbones_shows_the_layers_of_a_network(tmp_path, capsys):
    for suffix in ("png", "svg"):
        assert run("backbones", "cnn", "--figure", tmp_path / f"cnn.{suffix}") == 0
        assert (tmp_path / f"cnn.{suffix}").stat().st_size > 5000
    shown = capsys.readouterr().out
    assert "1,680,375" in shown
    assert "48×24×24" in shown
    assert run("backbones", "vgg11_bn", "--input-size", 16) == 1
    assert "such as 32, 48" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "DATA", *TRAIN, "--out", "OUT"),
        ("compare", "DATA", "--backbones", "cnn_small", "--epochs", 1, "--out", "OUT"),
        ("backbones", "cnn", "--figure", "OUT.png"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_change_no_global_state(arguments, csv, tmp_path, pyplot_state):
    before = read_state()
    places = {"DATA": csv, "OUT": tmp_path / "out", "OUT.png": tmp_path / "out.png"}
    assert run(*(places.get(argument, argument) for argument in arguments)) == 0
    assert list(tmp_path.rglob("*.png"))
    compare(before, read_state(), allowed=["uncaught exceptions"])  # typer shows them


@pytest.mark.slow
def test_backbones_lists_every_network(capsys):
    assert run("backbones") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == list_backbones()
    assert "too small" not in "".join(lines)
