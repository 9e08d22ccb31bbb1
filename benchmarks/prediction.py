"""Compare FERClassifier.predict_proba with a bare forward loop over the same views, a face and its mirror image.

The loop runs the same trained network in the same precision and memory format. It converts rows of uint8 to an array of
probabilities and passes both views in one batch: 256 images are 128 faces, and one face is a batch of two. Targets: at
least 0.95 times the speed of the loop on 4,096 faces, and at most 1.3 times its time on one face, in rounds of ten
calls.

Memory is the peak without the input, including the probabilities, in a new process for each number of rows. It should
grow by 28 bytes per row. Between batch sizes, probabilities may only differ by rounding: at most 1e-5 in float32 and
0.02 in bfloat16. The last rows of the table show the largest difference from batches of 256.

    python benchmarks/prediction.py [--device cuda] [--data fer2013.csv] [--quick]
"""

import tempfile
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import torch
from _common import MB, alternate, get_faces, measure_peak, parse_arguments, print_table, speed_row, time_row, value_row

from ferkit import FERClassifier

CALLS = 10


def predict_bare(net, rows, device, precision, batch_size):
    autocast = torch.autocast(device, precision) if precision != torch.float32 else nullcontext()
    n_faces, probabilities = batch_size // 2, []
    with torch.inference_mode(), autocast:
        for start in range(0, len(rows), n_faces):
            faces = torch.from_numpy(rows[start : start + n_faces]).view(-1, 1, 48, 48).to(device)
            views = net(torch.cat([faces, faces.flip(3)])).float().softmax(1)
            probabilities.append((views[: len(faces)] + views[len(faces) :]) / 2)
    return torch.cat(probabilities).cpu().numpy()


def repeat(run):
    for _ in range(CALLS):
        run()


def prepare_rows(path, n_rows):
    """Return a fitted model that has predicted once, and rows to predict."""
    model = joblib.load(path)
    rows = np.random.default_rng(0).integers(256, size=(n_rows, 2304), dtype=np.uint8)
    model.predict_proba(rows[: model.batch_size])
    return model, rows


def predict_rows(prepared):
    model, rows = prepared
    return model.predict_proba(rows)


def main():
    arguments = parse_arguments(__doc__)
    device = arguments.device
    n_faces, rounds = (512, 2) if arguments.quick else (4096, 7)
    data, target = get_faces(n_faces, arguments.data)
    model = FERClassifier(batch_size=256, max_epochs=1, device=device, random_state=0).fit(data[:512], target[:512])
    precision, net = model.precision_, model.network_.eval()
    print(f"{rounds} rounds, {precision}, batches of {model.batch_size}", end="\n\n")

    bare = partial(predict_bare, net, device=device, precision=getattr(torch, precision), batch_size=model.batch_size)
    sides = {"ferkit": model.predict_proba, "bare PyTorch": bare}
    alternate({side: partial(run, data[:512]) for side, run in sides.items()}, 1, device)
    many, results = alternate({side: partial(run, data) for side, run in sides.items()}, rounds, device)
    single = {side: partial(repeat, partial(run, data[:1])) for side, run in sides.items()}
    alternate(single, 1, device)
    one, _ = alternate(single, 5 * rounds, device)
    one = {side: np.divide(seconds, CALLS) for side, seconds in one.items()}
    rows = [
        speed_row(f"{n_faces:,} faces", many["ferkit"], many["bare PyTorch"], n_images=n_faces),
        time_row("one face", one["ferkit"], one["bare PyTorch"]),
    ]

    if device == "cpu":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.joblib")
            joblib.dump(model, path)
            for n_rows in (512, 1024, 2048) if arguments.quick else (4096, 16_384, 65_536):
                peak = measure_peak(prepare_rows, predict_rows, path, n_rows)
                rows.append(value_row(f"peak memory, {n_rows:,} rows", peak / MB, form="{:.1f} MB"))

    reference = model.predict_proba(data[:512])
    for batch_size in (1, 100, 512):
        model.net_.set_params(batch_size=batch_size)
        difference = np.abs(model.predict_proba(data[:512]) - reference).max()
        rows.append(value_row(f"difference, batches of {batch_size}", difference, form="{:.2g}"))
    print_table(rows)
    difference = np.abs(results["ferkit"] - results["bare PyTorch"]).max()
    print(f"\nLargest difference between the two sides: {difference:.2g}")


if __name__ == "__main__":
    main()
