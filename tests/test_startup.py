"""People wait at the start of each command for the libraries that it imports."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import ferkit
from ferkit.datasets import make_faces

HEAVY = (  # without pandas and SciPy, which scikit-learn imports
    "numpy", "sklearn", "imblearn", "matplotlib", "torch", "torch._dynamo", "torchvision", "onnxruntime", "cv2",
)  # fmt: skip

# Run each command in turn, and print which of the libraries are imported after it.
SCRIPT = """
import json, sys
commands, heavy = json.loads(sys.argv[1])
for command in commands:
    exec(command)
    print("imported", *(name for name in heavy if name in sys.modules))
"""


def imports(*commands):
    """Return the libraries that one process has imported after each Python statement."""
    given = json.dumps([commands, HEAVY])
    done = subprocess.run([sys.executable, "-c", SCRIPT, given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [set(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("imported")]


def command(*arguments):
    """Return the statement that runs a command of ferkit."""
    given = [str(argument) for argument in arguments]
    return f"from ferkit.cli import main\ntry: main({given})\nexcept SystemExit as stop: assert not stop.code"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    for name, face in zip("ab", make_faces(2, random_state=0).images, strict=True):
        (folder / "happy").mkdir(exist_ok=True)
        Image.fromarray(face).save(folder / "happy" / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """A copy of the shipped file, which `ferkit.export` has written."""
    return shutil.copy(Path(ferkit.models.__file__).parent / "fer2013-small.onnx", tmp_path_factory.mktemp("exported"))


def test_the_package_its_help_its_version_and_data_need_no_network(folder):
    package, version, usage, audited = imports(
        "import ferkit", command("--version"), command("train", "--help"), command("audit", folder)
    )
    assert package == version == usage == set()
    assert audited == {"numpy", "sklearn"}


def test_a_prediction_needs_neither_figures_nor_an_optimizer(folder):
    (predicted,) = imports(
        "import sys; sys.modules['onnxruntime'] = None  # as if it was not installed\n"
        + command("predict", folder / "happy")
    )
    assert "torch" in predicted
    assert not predicted & {"matplotlib", "torchvision", "torch._dynamo", "cv2"}


def test_onnx_files_and_the_shipped_model_need_no_pytorch_if_onnxruntime_is_installed(folder, onnx_file):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("cv2")
    pytest.importorskip("fastapi")
    *predicted, loaded, found, found_with_file, served, served_with_file = imports(
        command("predict", folder / "happy"),
        command("predict", onnx_file, folder / "happy"),
        f"import ferkit; from ferkit.datasets import make_faces; model = ferkit.load({str(onnx_file)!r}); "
        "faces = make_faces(5, random_state=0); model.predict(faces.data); model.predict(faces.images)",
        command("photo", folder / "happy"),
        command("photo", "--model", onnx_file, folder / "happy"),
        "from ferkit.serving import create_app; create_app()",
        f"from ferkit.serving import create_app; create_app({str(onnx_file)!r})",
    )
    assert predicted[0] == predicted[1] == loaded == {"numpy", "sklearn", "onnxruntime"}
    assert found == found_with_file == served == served_with_file == {"numpy", "sklearn", "onnxruntime", "cv2"}
