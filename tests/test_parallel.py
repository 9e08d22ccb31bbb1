"""Worker processes of joblib. These tests are in one file because two workers, which start once, can serve them all."""

import pickle

import joblib
import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from torchvision.transforms import v2

from ferkit import FERClassifier, ImageAugmenter, Pipeline, PixelParser
from ferkit.datasets import make_faces


@pytest.fixture
def workers():
    with joblib.parallel_config("loky", inner_max_num_threads=1):  # joblib starts new ones if this changes
        yield


def test_workers_predict_from_a_memory_map(fitted, faces, one_thread, workers):
    X = np.tile(faces.data, (3, 1))
    assert X.nbytes > 2**20, "joblib maps it, read-only"
    expected = fitted.predict_proba(X)
    for proba in joblib.Parallel(2)(joblib.delayed(fitted.predict_proba)(X) for _ in range(2)):
        np.testing.assert_allclose(proba, expected, atol=1e-5)


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("backbone", ["cnn", "mobilenet_v3_small"])
def test_parallel_scores_equal_serial_ones(backend, backbone, tiny, faces, one_thread, workers):
    model = tiny(backbone, dropout=0.5)
    X, y = faces.data[:84], faces.target[:84]
    serial = cross_val_score(model, X, y, cv=2, error_score="raise")
    with joblib.parallel_config(*([] if backend == "loky" else [backend])):
        together = cross_val_score(model, X, y, cv=2, n_jobs=2, error_score="raise")
    np.testing.assert_array_equal(together, serial)


def test_parallelism_inside_parallelism(tiny, faces, workers):
    """A search over an ensemble, both in threads or in processes. Each network has threads of its own."""
    members = [("a", tiny()), ("b", tiny(random_state=1))]

    def search(n_jobs):
        ensemble = VotingClassifier(members, voting="soft", n_jobs=n_jobs)
        search = GridSearchCV(ensemble, {"a__lr": [1e-3, 1e-2]}, cv=2, n_jobs=n_jobs, error_score="raise")
        return search.fit(faces.data, faces.target).cv_results_["mean_test_score"]

    with joblib.parallel_backend("threading"):
        together = search(2)
    np.testing.assert_array_equal(together, search(None))
    np.testing.assert_allclose(search(2), together, atol=0.02)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search(n_jobs, tiny, faces, workers):
    X = [" ".join(map(str, row)) for row in faces.data[:70]]
    pipeline = Pipeline([("parse", PixelParser()), ("classify", tiny(augment=ImageAugmenter()))])
    grid = {"classify__backbone": ["cnn"], "classify__lr": [1e-3, 1e-2], "classify__augment__rotation": [0, 20]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs, error_score="raise")
    search.fit(X, faces.target[:70])
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_[-1].lr_ == search.best_params_["classify__lr"]
    assert search.best_estimator_[-1].augment_.rotation == search.best_params_["classify__augment__rotation"]


def test_scores_of_files_equal_those_of_pixels(tiny, faces, tmp_path, one_thread, workers):
    paths = [tmp_path / f"{number}.png" for number in range(120)]
    for path, image in zip(paths, faces.images[:120], strict=True):
        Image.fromarray(image).save(path)
    together = cross_val_score(tiny(), np.array(paths), faces.target[:120], cv=2, n_jobs=2, error_score="raise")
    alone = cross_val_score(tiny(), faces.data[:120], faces.target[:120], cv=2, error_score="raise")
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("augment", [v2.ColorJitter(0.3), [v2.ColorJitter(0.3), ImageAugmenter()]], ids=["one", "list"])
def test_transforms_work_in_searches_and_pickles(augment, tiny, faces, workers):
    model = tiny(augment=augment, backbone_params={"widths": (8,)})
    assert clone(model).augment is not augment
    assert Pipeline([("model", model)]).get_params()["model__augment"] is augment
    search = GridSearchCV(model, {"lr": [1e-2]}, cv=2, n_jobs=2).fit(faces.data, faces.target)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(faces.data), search.predict(faces.data))
    grid = GridSearchCV(model, {"augment": [v2.Compose([v2.ColorJitter(0.3)]), ImageAugmenter(), None]}, cv=2)
    assert np.isfinite(grid.fit(faces.data, faces.target).cv_results_["mean_test_score"]).all()


NOTEBOOK = """
from torch import nn

class Linear(nn.Sequential):
    def __init__(self, num_classes, in_channels):
        super().__init__(nn.Flatten(), nn.Linear(in_channels * 24 * 24, num_classes))
"""


def test_networks_of_a_notebook_travel_to_workers_and_back(workers):
    names = {"__name__": "__main__"}
    exec(NOTEBOOK, names)
    faces = make_faces(60, size=24, random_state=0)
    X, y = faces.data, faces.target
    model = FERClassifier(names["Linear"], max_epochs=1, batch_size=32, random_state=0)
    for tool in (
        VotingClassifier([("a", model), ("b", model)], voting="soft", n_jobs=2),
        BaggingClassifier(model, n_estimators=2, n_jobs=2),
        CalibratedClassifierCV(model, cv=2, n_jobs=2),
    ):
        assert tool.fit(X, y).predict_proba(X[:2]).shape == (2, 7)
    assert len(cross_validate(model, X, y, cv=2, n_jobs=2, return_estimator=True)["estimator"]) == 2
