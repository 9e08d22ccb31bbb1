"""Compare load_fer2013 with pandas and NumPy on a CSV of pixel strings, and with Pillow on folders of JPEGs.

The CSV has 35,887 rows, as many as FER2013. It is drawn and written to a temporary file; ``--data`` uses a real file.
load_fer2013 checks every value. Targets: at least 8 times as fast as ``np.array(s.split(), dtype=np.uint8)``, and
faster than ``np.fromstring(s, sep=" ", dtype=np.uint8)``, which checks nothing. Both alternatives read the file with
pandas and parse one row at a time. All three results must be equal.

On folders of JPEGs, the alternative is a loop over Pillow, which checks no names and separates no splits. load_fer2013
decodes 48×48 faces one after the other, because the Python overhead per image is larger than the decoding time. It
decodes larger images on all cores. Target: at least 0.8 times the speed of the loop.

Memory is the peak in a new process without the imports, including the result, in multiples of the size of the pixels.
Target: at most 3 for ferkit, without the text of the CSV. load_fer2013 never holds the text, so nothing is subtracted.

    python benchmarks/loading.py [--data fer2013.csv] [--quick]
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from _common import alternate, measure_peak, parse_arguments, print_table, speed_row, value_row
from PIL import Image

from ferkit import PixelParser
from ferkit.datasets import load_fer2013, make_faces


def load_ferkit(path):
    return load_fer2013(path).data


def load_split(path):
    return np.stack([np.array(row.split(), dtype=np.uint8) for row in pd.read_csv(path)["pixels"]])


def load_fromstring(path):
    return np.stack([np.fromstring(row, sep=" ", dtype=np.uint8) for row in pd.read_csv(path)["pixels"]])


def read_text(path):
    return pd.read_csv(path)["pixels"]


def parse_text(text):
    return PixelParser().fit_transform(text)


def load_images(path):
    return np.stack([np.asarray(Image.open(file)).reshape(-1) for file in sorted(Path(path).rglob("*.jpg"))])


def load_resized(path):
    return np.stack(
        [np.asarray(Image.open(file).convert("L").resize((48, 48))).reshape(-1) for file in Path(path).rglob("*.jpg")]
    )


def write_images(folder, n, side):
    faces = make_faces(n, size=side, random_state=0)
    for emotion in faces.target_names:
        Path(folder, emotion).mkdir(parents=True)
    for row, (image, code) in enumerate(zip(faces.images, faces.target, strict=True)):
        Image.fromarray(image).save(Path(folder, faces.target_names[code], f"{row:05}.jpg"))
    return folder


def main():
    arguments = parse_arguments(__doc__)
    n_rows, rounds = (1000, 2) if arguments.quick else (35_887, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.data
        if path is None:
            path = Path(folder, "fer2013.csv")
            make_faces(n_rows, as_frame=True, random_state=0).frame.to_csv(path, index=False)
        expected = load_ferkit(path)  # also loads the file into the cache of the operating system
        print(f"{rounds} rounds of {len(expected):,} rows", end="\n\n")

        readers = {"ferkit": load_ferkit, "split": load_split, "fromstring": load_fromstring}
        seconds, results = alternate({side: partial(read, path) for side, read in readers.items()}, rounds)
        for result in results.values():
            np.testing.assert_array_equal(result, expected)
        rows = [
            speed_row("vs. pandas and np.array(s.split())", seconds["ferkit"], seconds["split"]),
            speed_row("vs. pandas and np.fromstring(s)", seconds["ferkit"], seconds["fromstring"]),
        ]

        for side, load, n_images in ((48, load_images, n_rows // 4), (224, load_resized, n_rows // 32)):
            folder_of_images = write_images(Path(folder, str(side)), n_images, side)
            sides = {"ferkit": partial(load_ferkit, folder_of_images), "Pillow": partial(load, folder_of_images)}
            alternate(sides, 1)
            seconds, _ = alternate(sides, rounds)
            what = f"{n_images:,} JPEGs of {side}×{side}, vs. Pillow in a loop"
            rows.append(speed_row(what, seconds["ferkit"], seconds["Pillow"]))

        def peak_row(what, prepare, run):
            peak = measure_peak(prepare, run, path) / expected.nbytes
            return value_row(f"peak memory, {what}", peak, form="{:.2f} × pixels")

        rows += [
            peak_row("load_fer2013", Path, load_ferkit),
            peak_row("PixelParser, beyond its input", read_text, parse_text),
            peak_row("pandas and np.array(s.split())", Path, load_split),
            peak_row("pandas and np.fromstring(s)", Path, load_fromstring),
        ]
        print_table(rows)


if __name__ == "__main__":
    main()
