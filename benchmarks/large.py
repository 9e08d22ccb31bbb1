"""Train one epoch on a million faces in different containers, predict them, and check that memory stays flat.

10,000 drawn faces of 48×48 are repeated and stored in ``--folder`` as a memory-mapped .npy file, a zarr array, an HDF5
file and JPEG files, one per face. That needs 12 GB, and stored faces are used again; delete the folder afterwards. The
network only averages blocks of pixels in front of one linear layer, without augmentation, so that loading is what the
times measure. *Reading alone* is one pass in order without ferkit: slices of 4,096 faces, or Pillow in a loop.

Each row is a new process. Memory is anonymous memory beyond that of the imports: pages of a mapped file do not count,
because the system drops them when memory is short. Each container is measured with a tenth of the faces and with all of
them, so that growth can be seen. The last lines state the size of all faces and of their probabilities, and how long it
takes to read a random batch of 256 faces, which shuffled training needs.

    python benchmarks/large.py [--folder large] [--faces 1000000] [--files 200000] [--quick]

``--files`` is the largest number of JPEG files. HDF5 has a row if h5py is installed. On two cores, it takes about ten
minutes, of which two write the faces.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import perf_counter
from timeit import repeat
from warnings import simplefilter

import numpy as np
import torch
import zarr
from _common import MB, count_cores, parse_arguments, read_memory
from PIL import Image
from torch import nn

from ferkit import FERClassifier
from ferkit.datasets import make_faces

DRAWN = 10_000
PIXELS = 48 * 48
CHUNK = 4096  # faces per chunk of zarr and HDF5, and per slice that is read
FILES = "JPEG files"


class Tiny(nn.Sequential):
    """A linear model on averages of 8×8 pixels."""

    def __init__(self, num_classes, in_channels):
        super().__init__(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(36 * in_channels, num_classes))


def store(folder, n, n_files):
    """Write `n` faces in each form, and a number of them as files, unless the folder has them."""
    done = folder / ("done" + "-hdf5" * bool(find_spec("h5py")))
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    faces = make_faces(DRAWN, random_state=0)
    np.save(folder / "labels.npy", np.resize(faces.target, n))
    form = {"shape": (n, PIXELS), "dtype": "u1", "chunks": (min(CHUNK, n), PIXELS)}
    with ExitStack() as opened:
        arrays = [
            np.lib.format.open_memmap(folder / "faces.npy", "w+", np.uint8, (n, PIXELS)),
            zarr.create_array(folder / "faces.zarr", **form, overwrite=True),
        ]
        if find_spec("h5py"):
            import h5py

            file = opened.enter_context(h5py.File(folder / "faces.h5", "w"))
            arrays.append(file.create_dataset("faces", **form, compression="lzf"))
        for start in range(0, n, CHUNK):
            part = faces.data.take(range(start, min(start + CHUNK, n)), axis=0, mode="wrap")
            for array in arrays:
                array[start : start + CHUNK] = part
    encoded = []
    for face in faces.images:
        stream = BytesIO()
        Image.fromarray(face).save(stream, "JPEG", quality=90)
        encoded.append(stream.getvalue())
    for number, path in enumerate(list_files(folder, n_files)):
        if number % 1000 == 0:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(encoded[number % DRAWN])
    done.touch()


def list_files(folder, n):
    return [f"{folder}/files/{number // 1000:04d}/{number % 1000:03d}.jpg" for number in range(n)]


def open_hdf5(folder, n):
    import h5py

    return h5py.File(folder / "faces.h5")["faces"]


OPEN = {
    "array in memory": lambda folder, n: np.load(folder / "faces.npy"),
    "memory-mapped .npy": lambda folder, n: np.load(folder / "faces.npy", mmap_mode="r"),
    "zarr": lambda folder, n: zarr.open_array(folder / "faces.zarr", mode="r"),
    **({"HDF5": open_hdf5} if find_spec("h5py") else {}),
    FILES: list_files,
}


def read(X):
    """Read all faces once, in order."""
    if isinstance(X, list):
        for path in X[:CHUNK]:
            np.asarray(Image.open(path))
        return CHUNK
    for start in range(0, X.shape[0], CHUNK):
        np.asarray(X[start : start + CHUNK]).sum()
    return X.shape[0]


def watch(run):
    """Return the seconds that ``run()`` takes, and the peak of the anonymous memory in bytes."""
    peak, done = [0], Event()

    def sample():
        while not done.wait(0.05):
            peak.append(read_memory("RssAnon"))

    thread, start = Thread(target=sample), perf_counter()
    thread.start()
    run()
    seconds = perf_counter() - start
    done.set()
    thread.join()
    return seconds, max(peak)


def measure(name, folder, n):
    simplefilter("ignore")  # about the few steps of the first fit
    torch.set_num_threads(count_cores())
    y, first = np.load(folder / "labels.npy"), np.load(folder / "faces.npy", mmap_mode="r")[:512]
    model = FERClassifier(Tiny, augment=None, batch_size=256, max_epochs=1, device="cpu", random_state=0)
    model.fit(first, y[:512]).predict(first)  # first calls allocate
    before = read_memory("RssAnon")
    X = OPEN[name](folder, n)
    start = perf_counter()
    alone = read(X) / (perf_counter() - start)
    results = [watch(partial(model.fit, X, y[:n])), watch(partial(model.predict, X))]
    return alone, [(n / seconds, (peak - before) / MB) for seconds, peak in results]


def time_random_batches(folder, n):
    """Yield each container of pixels and the seconds in which it reads 256 random faces."""
    rows = np.sort(np.random.default_rng(0).choice(n, 256, replace=False))
    for name in OPEN.keys() - {"array in memory", FILES}:
        X = OPEN[name](folder, n)
        yield name, median(repeat(lambda X=X: getattr(X, "oindex", X)[rows], number=1, repeat=3))


def main():
    arguments = parse_arguments(__doc__, folder="folder for the faces", faces="their number", files="number of files")
    folder, n = Path(arguments.folder or "large"), int(arguments.faces or 1_000_000)
    n_files = min(n, int(arguments.files or 200_000))
    if arguments.quick:
        n, n_files = 20_000, 5000
    start = perf_counter()
    sizes = {n // 10: n_files // 10, n: n_files}
    for size, files in sizes.items():
        store(folder / str(size), size, files)
    print(f"Stored in {perf_counter() - start:.0f} s.\n")
    print("| container | faces | only reading, faces/s | fit, faces/s | memory, MB | predict, faces/s | memory, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in OPEN:
        for size, files in sizes.items():
            used = files if name == FILES else size
            try:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                    alone, rows = process.submit(measure, name, folder / str(size), used).result()
                cells = [f"{alone:,.0f}", *(f"{value:,.0f}" for row in rows for value in row)]
            except Exception as error:  # the other rows are still worth having
                cells = [f"{type(error).__name__}: {error}", "", "", "", ""]
            print(f"| {name} | {used:,} | {' | '.join(cells)} |", flush=True)
    print(f"\n{n:,} faces take {n * PIXELS / MB:,.0f} MB as bytes, their probabilities {n * 7 * 8 / MB:,.0f} MB.")
    for name, seconds in time_random_batches(folder / str(n), n):
        print(f"- {name}: {1000 * seconds:,.1f} ms to read 256 random faces")


if __name__ == "__main__":
    main()
