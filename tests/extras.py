"""Install the wheel with each extra by itself, and try what the extra is for: `make release-check`.

The environment contains only the packages of one extra: `uv pip install --exact` removes those of the last one. Each
extra also runs `tests/smoke.py`. Nothing but packages is downloaded: calls that would need the Hugging Face Hub or
Kaggle only have to fail because of the network.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TRIALS = {
    "": "",
    "accelerate": """
model = ferkit.FERClassifier("cnn_small", device="accelerate", max_epochs=1, batch_size=32).fit(X, y)
assert len(model.predict(X)) == len(X)
""",
    "dask": """
import joblib
from distributed import Client
from sklearn.model_selection import cross_val_score

with Client(processes=False, n_workers=1, dashboard_address=None), joblib.parallel_backend("dask"):
    model = ferkit.FERClassifier("cnn_small", max_epochs=1, batch_size=32)
    assert len(cross_val_score(model, X, y, cv=2, n_jobs=2, error_score="raise")) == 2
""",
    "explain": """
from ferkit.display import ExplanationDisplay

model = ferkit.FERClassifier("cnn_small", max_epochs=1, batch_size=32).fit(X, y)
for method in ("grad_cam", "occlusion", "integrated_gradients"):
    ExplanationDisplay.from_estimator(model, X[:2], y[:2], method=method)
""",
    "hub": """
import socket

from ferkit.hub import load_from_hub, push_to_hub

def refuse(*_, **__):
    raise OSError("no network")

socket.getaddrinfo = refuse
for call in (lambda: load_from_hub("user/name"), lambda: push_to_hub(ferkit.load_model(), "user/name", token="t")):
    try:
        call()
    except ImportError:
        raise
    except Exception as error:
        assert type(error).__module__.startswith(("huggingface_hub", "httpx")), repr(error)
""",
    "kaggle": """
import socket

from ferkit.datasets import fetch_fer2013

def refuse(*_, **__):
    raise OSError("no network")

socket.getaddrinfo = refuse
try:
    fetch_fer2013(data_home="data")
except OSError as error:
    assert "kagglehub.login()" in str(error), error
""",
    "onnx": """
ferkit.export(ferkit.load_model(), "model.onnx")
assert len(ferkit.load("model.onnx").predict(X)) == len(X)
Image.fromarray(faces.images[0]).save("face.png")
assert run_command("predict", "face.png")
""",
    "photos": """
from ferkit.photos import analyze

assert analyze(photo)["emotion"].isin(ferkit.load_model().classes_).all()
assert len(analyze(photo)) == 2
photo.save("photo.png")
assert "photo.png" in run_command("photo", "photo.png", "--out", "annotated")
""",
    "serve": """
import io
import json
import threading
import traceback
import urllib.request
import uuid

from ferkit.serving import create_app, serve

def ask(address):
    try:
        body = io.BytesIO()
        photo.save(body, "png")
        edge = uuid.uuid4().hex
        head = f'--{edge}\\r\\nContent-Disposition: form-data; name="image"; filename="photo.png"\\r\\n\\r\\n'
        body = head.encode() + body.getvalue() + f"\\r\\n--{edge}--\\r\\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={edge}"}
        answer = urllib.request.urlopen(urllib.request.Request(f"{address}/analyze", body, headers))
        assert len(json.load(answer)["faces"]) == 2
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # the server has no other end than Ctrl-C

serve(create_app(), port=0, started=lambda address: threading.Thread(target=ask, args=[address]).start())
""",
    "skops": """
import warnings

from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

model = make_pipeline(ferkit.NetworkFeatures(ferkit.load_model()), SVC()).fit(X, y)
ferkit.save(model, "svc.ferkit")
assert (ferkit.load("svc.ferkit", trusted=["sklearn.svm.SVC"]).predict(X) == model.predict(X)).all()
""",
    "timm": """
model = ferkit.FERClassifier("timm/resnet10t", max_epochs=1, batch_size=32).fit(X, y)
assert len(model.predict(X)) == len(X)
""",
}

START = """
import os
import subprocess
import sys
from pathlib import Path

import ferkit
from PIL import Image
from ferkit.datasets import make_faces

faces = make_faces(70, random_state=0)
X, y = faces.data, faces.target_names[faces.target]
photo = Image.new("RGB", (640, 480), "gray")
for left, face in zip((50, 350), faces.images):
    photo.paste(Image.fromarray(face).resize((200, 200)), (left, 150))

def run_command(*arguments):
    command = [str(Path(sys.executable).with_name("ferkit")), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

"""


def try_extra(wheel, extra, python, folder):
    """Try one extra in an environment of its packages, and return what failed and the size of the environment in MB."""
    package = f"{wheel}[{extra}]" if extra else str(wheel)
    smoke = Path(__file__).with_name("smoke.py").read_text(encoding="utf-8")
    trials = [trial for name, trial in TRIALS.items() if name in extra.split(",") and trial]  # one process each
    steps = {
        "install": ["uv", "pip", "install", "--quiet", "--exact", "--python", str(python), package],
        "check": ["uv", "pip", "check", "--quiet", "--python", str(python)],
        "smoke.py": [str(python), "-I", "-c", smoke],
        **{f"call {i}": [str(python), "-I", "-c", START + trial] for i, trial in enumerate(trials, 1)},
    }
    failed = []
    for name, command in steps.items():
        variables = {**os.environ, "MPLBACKEND": "agg"}
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=1800)
        if done.returncode:
            failed.append(name)
            print(f"{extra or '(none)'}, {name}:\n{done.stdout[-1000:]}{done.stderr[-3000:]}", file=sys.stderr)
            if name == "install":
                break
    size = sum(path.lstat().st_size for path in python.parent.parent.rglob("*") if path.is_file())
    return failed, size / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", nargs="+", default=["3.11", "3.14"], help="versions or paths of interpreters")
    parser.add_argument("--extra", nargs="+", default=[*TRIALS, "all"], help="default: none, each, and all together")
    options = parser.parse_args()
    print(f"{'extra':12} {'Python':12} {'':28} {'MB':>6}", flush=True)
    any_failed = False
    for version in options.python:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as environment:
            subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", version, environment], check=True)
            for extra in options.extra:
                together = ",".join(filter(None, TRIALS)) if extra == "all" else extra
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    python = Path(environment, "bin", "python")
                    failed, size = try_extra(options.wheel.resolve(), together, python, folder)
                any_failed |= bool(failed)
                print(f"{extra or '(none)':12} {version:12} {', '.join(failed) or 'ok':28} {size:6,.0f}", flush=True)
    sys.exit(any_failed)


if __name__ == "__main__":
    main()
