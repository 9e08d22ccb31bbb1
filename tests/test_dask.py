"""A search on a cluster."""

import os
import signal
import threading
import time
from itertools import chain

import joblib
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from ferkit import FERClassifier
from ferkit.datasets import make_faces

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def client(request):
    """Two workers, processes or threads. Each keeps the scattered data, so that either one may be lost."""
    with (
        dask.config.set({"distributed.scheduler.active-memory-manager.start": False}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=request.param, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def search(splits, n_jobs=None):
    model = FERClassifier(
        backbone_params={"widths": (8, 16)}, max_epochs=4, batch_size=32, precision="float32", random_state=0
    )
    return GridSearchCV(model, {"lr": [1e-3, 1e-2, 3e-2]}, cv=splits, n_jobs=n_jobs, error_score="raise")


def compare_searches(client, faces):
    """Search on the cluster and without it, and compare the scores."""
    splits = list(StratifiedKFold(2).split(faces.data, faces.target))
    serial = search(splits).fit(faces.data, faces.target)
    with joblib.parallel_backend("dask", scatter=[faces.data, faces.target, *chain(*splits)]):
        together = search(splits, n_jobs=-1).fit(faces.data, faces.target)
    scores = [search.cv_results_["mean_test_score"] for search in (together, serial)]
    np.testing.assert_allclose(*scores, atol=0.02)
    assert together.best_params_ == serial.best_params_


@pytest.mark.parametrize("client", [False], indirect=True, ids=["threads"])
def test_a_search_on_a_cluster_equals_a_serial_one(client):
    compare_searches(client, make_faces(150, random_state=0))


@pytest.mark.timeout(120)  # they waited forever
@pytest.mark.parametrize("client", [False], indirect=True, ids=["threads"])
def test_fits_on_image_files_do_not_wait_for_each_other(client, tmp_path):
    faces = make_faces(24, random_state=0)
    paths = [tmp_path / f"{number}.png" for number in range(24)]
    for path, image in zip(paths, faces.images, strict=True):
        Image.fromarray(image).save(path)
    y = np.arange(24) % 2
    with joblib.parallel_backend("dask"):
        found = search(list(StratifiedKFold(2).split(paths, y)), n_jobs=-1).fit(paths, y)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("client", [True], indirect=True, ids=["processes"])
def test_a_search_on_a_cluster_survives_a_worker(client):
    pids = list(client.run(os.getpid).values())

    def kill():
        while not any(client.processing().values()):
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    compare_searches(client, make_faces(300, random_state=0))
    killer.join()
    assert set(client.run(os.getpid).values()) != set(pids)
