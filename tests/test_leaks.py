"""Repeated fits and predictions leave no tensors, open files or threads behind, and need no more memory.

Each repetition fits two classifiers, trains one of them further, and predicts four times. `make test` repeats this 10
times, `make soak` 500 times. To choose the number:

    python tests/test_leaks.py 500
"""

import gc
import os
import pickle
import sys
import threading
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from PIL import Image

from ferkit import FERClassifier, ImageAugmenter, ImageResizer, NetworkFeatures, Pipeline, evaluate
from ferkit.datasets import make_faces

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts what /proc/self lists")


def repeat(n, folder):
    """Fit and predict n times in every way that may keep something: threads, files, copies, views, features."""
    faces = make_faces(14, size=16, random_state=0)
    paths = [folder / f"{number}.png" for number in range(len(faces.images))]
    for path, image in zip(paths, faces.images, strict=True):
        Image.fromarray(image).save(path)
    params = {"backbone_params": {"widths": (4,)}, "max_epochs": 1, "batch_size": 8}
    for seed in range(n):
        model = FERClassifier(validation_fraction=0.5, early_stopping=True, tta=2, random_state=seed, **params)
        model.fit(faces.data, faces.target)
        model.partial_fit(faces.data, faces.target)
        pickle.loads(pickle.dumps(model)).predict(paths)  # files are loaded by a thread
        evaluate(model, faces.data, faces.target)
        NetworkFeatures(model).fit_transform(faces.data)
        steps = [("augment", ImageAugmenter(random_state=seed)), ("resize", ImageResizer(12))]
        Pipeline([*steps, ("classify", FERClassifier(random_state=seed, **params))]).fit(faces.data, faces.target)


def count():
    gc.collect()
    tensors = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
    files, threads = (len(list(Path("/proc/self", kind).iterdir())) for kind in ("fd", "task"))
    return {"tensors": tensors, "files": files, "threads": threads, "Python's threads": threading.active_count()}


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_left_behind(tmp_path, one_thread):
    repeat(3, tmp_path)
    before = count()
    repeat(10, tmp_path)
    assert count() == before


def main(n):
    """Measure after a tenth of the repetitions and at the end; raise if anything has grown."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        repeat(n // 10, Path(folder))
        before, first = count(), resident_bytes()
        for done in range(n // 10, n, n // 10):
            repeat(n // 10, Path(folder))
            gc.collect()
            now, seconds = resident_bytes(), time.perf_counter() - start
            print(f"{done + n // 10:,} repetitions, {now / 1e6:.1f} MB, {seconds:,.0f} s", flush=True)  # noqa: T201
        after = count()
    print(f"after {n // 10:,}: {before}, {first / 1e6:.1f} MB\nafter {n:,}: {after}, {now / 1e6:.1f} MB")  # noqa: T201
    assert after == before
    assert now - first < 20e6, "Expected at most 20 MB more."


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
