"""Train one epoch on a million faces in different containers, predict them, and check that memory stays flat.

10,000 drawn faces of 48×48 are repeated and stored under ``--folder`` as a memory-mapped .npy file, a zarr array and
JPEG files; it needs 10 GB, and stored faces are used again. Each container is used in a new process. "in memory" is the
array that the others are compared with. Memory is anonymous memory beyond that of the imports: pages of a mapped file
do not count, because the system drops them when memory is short. It is given after a tenth of the time and at its peak,
so that growth can be seen. zarr arrays are read into memory as a whole.

    python benchmarks/large.py [--folder large] [--faces 1000000] [--device cuda] [--quick]
"""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

import numpy as np
import torch
import zarr
from _common import MB, parse_arguments, read_memory
from PIL import Image

from ferkit import FERClassifier
from ferkit.datasets import make_faces

DRAWN = 10_000
PARTS = 1000  # files per directory


def store(folder, n):
    """Write the faces in each form, unless the folder has them."""
    done = folder / f"{n}.done"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    faces = make_faces(DRAWN, random_state=0)
    np.save(folder / "labels.npy", np.resize(faces.target, n))
    mapped = np.lib.format.open_memmap(folder / "faces.npy", "w+", np.uint8, (n, faces.data.shape[1]))
    chunks = {"chunks": (4096, mapped.shape[1]), "dtype": "u1", "overwrite": True}
    chunked = zarr.create_array(folder / "faces.zarr", shape=mapped.shape, **chunks)
    for start in range(0, n, DRAWN):
        mapped[start : start + DRAWN] = faces.data[: n - start]
        chunked[start : start + DRAWN] = faces.data[: n - start]
    mapped.flush()
    encoded = []
    for face in faces.images:
        stream = BytesIO()
        Image.fromarray(face).save(stream, "JPEG", quality=90)
        encoded.append(stream.getvalue())
    for number, path in enumerate(get_paths(folder, n)):
        if number % PARTS == 0:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(encoded[number % DRAWN])
    done.touch()


def get_paths(folder, n):
    return [f"{folder}/files/{number // PARTS:04d}/{number % PARTS:03d}.jpg" for number in range(n)]


OPEN = {
    "array in memory": lambda folder, n: np.load(folder / "faces.npy"),
    "memory-mapped .npy": lambda folder, n: np.load(folder / "faces.npy", mmap_mode="r"),
    "zarr": lambda folder, n: zarr.open_array(folder / "faces.zarr", mode="r"),
    "JPEG files": get_paths,
}


def watch(run):
    """Return the seconds that ``run()`` takes, and the anonymous memory after a tenth of them and at its peak."""
    samples, done = [], Event()

    def sample():
        while not done.wait(0.1):
            samples.append((perf_counter(), read_memory("RssAnon")))

    thread, start = Thread(target=sample), perf_counter()
    thread.start()
    run()
    seconds = perf_counter() - start
    done.set()
    thread.join()
    early = [memory for time, memory in samples if time < start + seconds / 10]
    return seconds, max(early, default=0), max(memory for _, memory in samples)


def measure(name, folder, n, device):
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    y = np.load(folder / "labels.npy")
    model = FERClassifier("cnn_small", max_epochs=1, device=device, random_state=0)
    model.fit(np.load(folder / "faces.npy", mmap_mode="r")[:512], y[:512])  # first calls allocate
    before = read_memory("RssAnon")
    X = OPEN[name](folder, n)
    results = [watch(partial(model.fit, X, y)), watch(partial(model.predict, X))]
    return [(n / seconds, (early - before) / MB, (peak - before) / MB) for seconds, early, peak in results]


def main():
    arguments = parse_arguments(__doc__, folder="folder for the faces", faces="their number")
    folder, n = Path(arguments.folder or "large"), int(arguments.faces or 1_000_000)
    if arguments.quick:
        n = 20_000
    store(folder, n)
    print("| container | fit, images/s | memory, MB | predict, images/s | memory, MB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in OPEN:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            rows = process.submit(measure, name, folder, n, arguments.device).result()
        cells = [cell for speed, early, peak in rows for cell in (f"{speed:,.0f}", f"{early:,.0f} to {peak:,.0f}")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
