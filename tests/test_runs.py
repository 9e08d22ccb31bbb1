import json
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.base import clone
from sklearn.utils import Bunch

from ferkit import FERClassifier, load
from ferkit.backbones import CNN
from ferkit.comparison import compare_folds
from ferkit.datasets import load_folder, make_faces
from ferkit.display import ComparisonDisplay, FacesDisplay
from ferkit.report import compare_reports
from ferkit.runs import Run, compare_pairs, compare_runs, train_run


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Leave figures empty and small, because they take most of the time of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, file, **options: None)
        # a figure of one face per label in place of eight
        patch.setattr(FacesDisplay, "from_data", partial(FacesDisplay.from_data, n_columns=1))
        yield


@pytest.fixture(scope="module")
def data():
    return make_faces(140, random_state=0)


def build(width=8, **params):
    return FERClassifier(backbone_params={"widths": (width,)}, max_epochs=1, random_state=0, **params)


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Two finished runs."""
    folder = tmp_path_factory.mktemp("runs")
    return [train_run(build(width), data, folder / f"width{width}", data_name="drawn") for width in (8, 16)]


def test_a_run_is_read_as_it_was_written(runs):
    run = Run.read(runs[0].path)
    assert run == runs[0]
    assert run.is_finished
    assert run.scores == run.reports["PublicTest"] == json.loads((run.path / "report.json").read_text())["PublicTest"]
    assert f"{run.scores['accuracy']:.2%}" in str(run)
    assert "Training" not in str(run).splitlines()[0]
    assert [part["n"] for part in run.reports.values()] == [112, 14]


def test_finished_runs_are_compared_without_predicting_again(runs, data):
    reports = [run.read_report() for run in runs]
    for run, report in zip(runs, reports, strict=True):
        assert report.to_dict() == run.scores
        test = data.usage == "PublicTest"
        np.testing.assert_array_equal(report.y_pred, load(run.path / "model.ferkit").predict(data.data[test]))
    assert compare_reports(*reports).n == 14


def test_a_run_records_its_parameters_and_data(runs):
    assert runs[0].matches(build(), "drawn")
    assert runs[0].matches(build(verbose=1), "drawn"), "progress bars don't change the result"
    assert not runs[0].matches(build(16), "drawn")
    assert not runs[0].matches(build(), "others")


def test_the_model_is_fitted_in_place_and_saved(data, tmp_path):
    model = build()
    run = train_run(model, data, str(tmp_path))
    assert (load(run.path / "model.ferkit").predict(data.data) == model.predict(data.data)).all()
    assert run.settings["data"] is None


def test_every_epoch_is_scored_on_the_test_images(runs, data):
    """The training, and with it the score on Training, is the same as without them."""
    run = runs[0]
    assert run.settings["history"][0]["valid_accuracy"] == pytest.approx(run.scores["accuracy"])
    X, y = data.data[data.usage == "Training"], data.target_names[data.target][data.usage == "Training"]
    plain = build().fit(X, y)
    assert (load(run.path / "model.ferkit").predict_proba(X) == plain.predict_proba(X)).all()
    assert run.reports["Training"]["accuracy"] == plain.score(X, y)


def test_of_many_training_images_a_sample_is_scored(data, tmp_path, monkeypatch):
    monkeypatch.setattr("ferkit.runs._runs.MOST_SCORED", 50)
    model = build()
    run = train_run(model, data, tmp_path)
    X, y = data.data[data.usage == "Training"], data.target_names[data.target][data.usage == "Training"]
    assert run.reports["Training"]["n"] == 50
    assert run.reports["Training"]["accuracy"] == pytest.approx(model.score(X, y), abs=0.2)
    assert run.scores["n"] == (data.usage == "PublicTest").sum()


@pytest.mark.parametrize(
    ("params", "is_selected"),
    [
        ({"keep_best": True}, True),
        ({"early_stopping": 1}, True),
        ({"lr_schedule": "plateau"}, True),
        ({"lr_schedule": {"name": "plateau", "monitor": "train_loss"}}, False),
        ({"keep_best": True, "validation_fraction": 0.25}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_report_says_that_the_test_images_chose_the_training(params, is_selected, data, tmp_path):
    run = train_run(build(**params), data, tmp_path)
    assert run.settings["selected_on_test"] == is_selected
    assert ("selected on PublicTest, which makes its score too high" in str(run)) == is_selected
    assert ("selected on PublicTest" in (tmp_path / "report.html").read_text()) == is_selected


def test_validation_fraction_holds_back_training_images(data, tmp_path):
    history = train_run(build(validation_fraction=0.25), data, tmp_path).settings["history"]
    right = history[0]["valid_accuracy"] * 28  # a quarter of the Training images
    assert right == pytest.approx(round(right), abs=1e-4)


def test_parameters_that_json_cannot_hold_are_recorded(data, tmp_path):
    model = build(callbacks=[], net_params={"optimizer__betas": (0.9, 0.99)}).set_params(backbone=CNN)
    run = train_run(model, data, tmp_path)
    assert run.settings["parameters"]["backbone"] == "ferkit.backbones._cnn.CNN"
    assert run.matches(model)
    numbers = build(class_weight=dict.fromkeys(data.target_names, np.float32(2)))
    run = train_run(numbers.set_params(random_state=np.int64(3)), data, tmp_path, overwrite=True)
    assert run.seed == 3
    assert run.matches(clone(numbers).set_params(random_state=3))


def test_a_model_that_cannot_be_saved_is_refused_before_the_training(data, tmp_path):
    with pytest.raises(ValueError, match=r"got augment=<function .*: pass another value, or define its function"):
        train_run(build(augment=lambda images: images), data, tmp_path / "run")
    assert not any(tmp_path.iterdir())


def test_a_run_in_the_home_directory(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert train_run(build(), data, "~/run").path == tmp_path / "run"
    assert Run.read("~/run").is_finished
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not (tmp_path / "run" / ".unfinished").exists()


def test_a_run_is_only_overwritten_with_force(runs, data):
    before = (runs[0].path / "model.ferkit").read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        train_run(build(16), data, runs[0].path)
    assert (runs[0].path / "model.ferkit").read_bytes() == before


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"without a settings\.json"):
        Run.read(tmp_path)


def test_two_runs_are_compared_by_path_or_object(runs):
    table = compare_runs(runs)
    assert table.equals(compare_runs([run.path for run in runs]))
    assert table["accuracy"].is_monotonic_decreasing
    assert set(table["name"]) == {"width8", "width16"}
    for row in table.itertuples():
        (run,) = (run for run in runs if run.path.name == row.name)
        assert row.accuracy == run.scores["accuracy"]
        assert [row.accuracy_low, row.accuracy_high] == run.scores["accuracy_interval_95"]
        assert row.parameters == run.settings["network"]["parameters"]
        assert row.flops == run.settings["network"]["flops"]
    display = ComparisonDisplay(table).plot()
    assert [tick.get_text() for tick in display.ax_.get_yticklabels()] == table["name"].tolist()[::-1]


def test_the_page_of_a_run_says_how_it_was_trained(runs, data):
    page = (runs[0].path / "report.html").read_text()
    settings, report = runs[0].settings, runs[0].read_report()
    assert f"{settings['network']['parameters']:,}" in page
    assert settings["versions"]["torch"] in page
    assert "label_smoothing" in page
    assert "<h2>Learning curve</h2>" in page
    assert "test images" in page.partition("validation in the learning curve")[2][:40]
    assert page.count("<li>") == (report.y_true != report.y_pred).sum() > 0, "its mistakes as pictures"


def test_seeds_of_the_same_settings_are_one_row(runs, data, tmp_path):
    models = {seed: build().set_params(random_state=seed) for seed in (1, 2)}
    seeds = [train_run(model, data, tmp_path / f"{seed}", data_name="drawn") for seed, model in models.items()]
    given = {"narrow": [runs[0], *seeds], "wide": runs[1:]}
    table = compare_runs(given).set_index("name")
    accuracies = [run.scores["accuracy"] for run in given["narrow"]]
    assert table.loc["narrow", "accuracies"] == accuracies
    assert table.loc["narrow", "accuracy"] == pytest.approx(np.mean(accuracies))
    assert table.loc["narrow", "sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert table.loc["narrow", "accuracy_low"] < np.mean(accuracies) < table.loc["narrow", "accuracy_high"]
    assert table["n_runs"].to_dict() == {"narrow": 3, "wide": 1}
    assert table.loc["wide", ["accuracy_low", "accuracy_high"]].tolist() == runs[1].scores["accuracy_interval_95"]
    display = ComparisonDisplay(table.reset_index()).plot()
    points = {line.get_label(): line for line in display.ax_.lines}["each training"]
    assert sorted(points.get_xdata()) == sorted([*accuracies, runs[1].scores["accuracy"]])
    (pair,) = compare_pairs(given).to_dict("records")
    assert pair["covers"] == "images", "nothing is known about other seeds of wide"
    assert compare_pairs({"narrow": given["narrow"], "same": seeds})["covers"].item() == "images and seeds"
    with pytest.raises(ValueError, match="that only differ in their seeds"):
        compare_runs({"both": runs})


def test_folds_of_a_cross_validation_are_one_row(tmp_path):
    def runs_of(name, accuracies):
        for fold, accuracy in enumerate(accuracies, 1):
            tested_on = f"fold {fold} of 3"
            settings = {"data": "drawn", "tested_on": tested_on, "parameters": {"random_state": 0}}
            settings |= {"network": {"input_size": [48, 48], "parameters": 1, "flops": 1}, "history": [{}]}
            settings["training_seconds"] = 1
            scores = {"accuracy": accuracy, "balanced_accuracy": 0.5, "n": 10, "accuracy_interval_95": [0, 1]}
            yield Run(tmp_path / name, settings, {"Training": {"accuracy": 1}, tested_on: scores})

    given = {"a": [*runs_of("a", [0.5, 0.6, 0.7])], "b": [*runs_of("b", [0.6, 0.7, 0.75])][::-1]}
    table = compare_runs(given)
    assert (table["tested_on"] == "3 folds of Training").all()
    assert table["n"].tolist() == [30, 30]
    expected = compare_folds({"a": [0.5, 0.6, 0.7], "b": [0.6, 0.7, 0.75]})
    assert compare_pairs(given).equals(expected)
    assert compare_pairs({**given, "c": [*runs_of("c", [0.9])]}).equals(expected), "c was not tested on all folds"


def test_only_runs_on_the_same_images_are_compared(runs, data, tmp_path):
    other = train_run(build(), data, tmp_path / "other", data_name="others")
    with pytest.raises(ValueError, match=r"PublicTest of drawn \(14 images\), PublicTest of others \(14 images\)"):
        compare_runs([*runs, other])
    with pytest.raises(ValueError, match="no runs"):
        compare_runs([])
    with pytest.raises(ValueError, match="at least one run of b, got none"):
        compare_runs({"a": runs[:1], "b": []})
    (other.path / "report.json").unlink()
    assert not Run.read(other.path).is_finished
    with pytest.raises(ValueError, match="train it again"):
        compare_runs([other.path])


def contents(path):
    """Name and content of the files of a run, which a training must not change before it is complete."""
    return {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}


@pytest.fixture
def stop(monkeypatch):
    """Function that lets the next training raise an error at the beginning of an epoch."""
    randperm = torch.randperm

    def arrange(epoch, error):
        def draw(*args, **kwargs):
            if next(epochs) == epoch:
                monkeypatch.setattr(torch, "randperm", randperm)
                raise error
            return randperm(*args, **kwargs)

        epochs = count(1)
        monkeypatch.setattr(torch, "randperm", draw)

    return arrange


def test_a_training_that_is_not_completed_keeps_the_earlier_run(data, tmp_path, stop, monkeypatch):
    earlier = train_run(build(), data, tmp_path)
    before = contents(tmp_path)

    def fail(error, **params):
        with pytest.raises(error):
            train_run(build(16, **params).set_params(max_epochs=3), data, tmp_path, overwrite=True)
        assert contents(tmp_path) == before
        assert Run.read(tmp_path) == earlier

    for epoch in (1, 3):
        for error in (KeyboardInterrupt, RuntimeError):
            stop(epoch, error)
            fail(error)
    fail(ValueError, lr=1e30)
    monkeypatch.setattr("ferkit.runs._runs.evaluate", None)
    fail(TypeError)


def test_an_unfinished_training_is_continued(data, tmp_path, stop, one_thread):
    model = build().set_params(max_epochs=4)
    expected = train_run(clone(model), data, tmp_path / "expected")
    stop(4, RuntimeError)
    with pytest.raises(RuntimeError):
        train_run(model, data, tmp_path)
    with pytest.raises(FileExistsError, match="pass resume=True to continue it"):
        train_run(model, data, tmp_path)
    with pytest.raises(ValueError, match=r"lr: 'auto' then, 0\.1 now"):
        train_run(clone(model).set_params(lr=0.1), data, tmp_path, resume=True)
    run = train_run(model, data, tmp_path, resume=True)
    assert model.checkpoint is None
    assert model.history_[2]["epoch"] == 3
    for name in ("report.json", "predictions.json"):
        assert json.loads((run.path / name).read_text()).keys() == json.loads((expected.path / name).read_text()).keys()
    assert [row["train_loss"] for row in run.settings["history"]] == [
        row["train_loss"] for row in expected.settings["history"]
    ]
    np.testing.assert_array_equal(run.read_report().y_proba, expected.read_report().y_proba)
    assert not (tmp_path / ".unfinished").exists()
    assert run.matches(model)


def test_a_training_that_fails_in_its_first_epoch_leaves_nothing_to_continue(data, tmp_path):
    with pytest.raises(ValueError, match="diverged"):
        train_run(build(lr=1e30).set_params(max_epochs=3), data, tmp_path)
    assert not list(tmp_path.iterdir())
    train_run(build(), data, tmp_path)


def test_an_unfinished_training_is_discarded(data, tmp_path, stop):
    stop(2, RuntimeError)
    with pytest.raises(RuntimeError):
        train_run(build().set_params(max_epochs=3), data, tmp_path)
    with pytest.raises(ValueError, match="lr"):
        train_run(build(lr="fast"), data, tmp_path, overwrite=True)
    assert (tmp_path / ".unfinished" / "checkpoint.safetensors").exists()
    run = train_run(build(16), data, tmp_path, overwrite=True)
    assert run.matches(build(16))
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == set()


def test_a_run_on_image_files(data, tmp_path):
    for number, (image, code) in enumerate(zip(data.images[:70], data.target, strict=False)):
        path = (
            tmp_path
            / "faces"
            / ("test" if number % 5 == 0 else "train")
            / str(data.target_names[code])
            / f"{number}.png"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    files = load_folder(tmp_path / "faces", image_shape=None)
    assert files.images is None
    run = train_run(build(), files, tmp_path / "run")
    assert run.is_finished
    assert "data:image/png" in (run.path / "report.html").read_text()


def test_soft_targets_are_refused_before_the_training(data, tmp_path):
    soft = Bunch(**{**data, "target": np.eye(7)[data.target]})
    with pytest.raises(ValueError, match="Expected one label per image, got soft targets"):
        train_run(build(), soft, tmp_path / "run")


def test_runs_on_other_numbers_of_images_and_repeated_runs_are_refused(runs, tmp_path):
    other = train_run(build(), make_faces(70, random_state=1), tmp_path / "other", data_name="drawn")
    with pytest.raises(ValueError, match=r"PublicTest of drawn \(14 images\), PublicTest of drawn \(7 images\)"):
        compare_runs([*runs, other])
    with pytest.raises(ValueError, match="Expected different runs of a"):
        compare_runs({"a": [runs[0], runs[0]]})
