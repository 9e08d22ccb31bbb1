"""Compare the shipped model in PyTorch, as a float32 ONNX file and as an int8 one: accuracy, latency and throughput.

Each predicts single faces and batches of 256, with its test-time views, on all cores and on one. The sides take turns.
With ``--data``, the accuracy is that of PublicTest, and int8 is calibrated with 512 Training faces; otherwise faces are
drawn. Needs `pip install "ferkit[onnx]"`.

    python benchmarks/deployment.py [--data fer2013.csv] [--quick]
"""

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from _common import alternate, count_cores, parse_arguments

import ferkit
from ferkit.datasets import load_fer2013, make_faces
from ferkit.onnx import OnnxClassifier


def get_parts(data):
    if data is None:
        faces = make_faces(1512, random_state=0)
        return (faces.data[:512], faces.target_names[faces.target][:512]), (
            faces.data[512:],
            faces.target_names[faces.target][512:],
        )
    parts = [load_fer2013(data, usage=usage) for usage in ("Training", "PublicTest")]
    return [(part.data, part.target_names[part.target]) for part in parts]


def main():
    arguments = parse_arguments(__doc__)
    (X, _), (X_test, y_test) = get_parts(arguments.data)
    model = ferkit.load_model().set_params(device="cpu")
    with TemporaryDirectory() as folder:
        float32, int8 = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        ferkit.export(model, float32)
        ferkit.export(model, int8, quantize=X[:: -(-len(X) // 512)])
        exported = {f"onnxruntime, {path.stem}": ferkit.load(path) for path in (float32, int8)}
    models = {f"PyTorch, {model.precision_}": model, **exported}
    accuracies = {name: each.score(X_test, y_test) for name, each in models.items()}
    print("| | accuracy | threads | one face, ms | batches of 256, faces/s |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for threads in sorted({1, count_cores()}):
        torch.set_num_threads(threads)
        sides = {
            name: each if each is model else OnnxClassifier(each.content, n_threads=threads)
            for name, each in models.items()
        }
        rounds = 20 if arguments.quick else 300
        one, _ = alternate({n: lambda m=m: m.predict_proba(X_test[:1]) for n, m in sides.items()}, rounds)
        many, _ = alternate(
            {n: lambda m=m: m.predict_proba(X_test[:256]) for n, m in sides.items()}, max(3, rounds // 20)
        )
        for name in models:
            latency, throughput = 1000 * median(one[name]), 256 / median(many[name])
            print(f"| {name} | {accuracies[name]:.2%} | {threads} | {latency:.2f} | {throughput:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
