"""Measure how long commands take from the start of their process to the end of their output, and how much memory.

Each command runs in fresh processes, and all commands take turns. For `ferkit serve`, the time ends with its answer to
a photo. ``model.ferkit`` is a copy of the shipped model, which the commands otherwise read from its ONNX file. Memory
is the largest resident size. The last column lists how long the imports of libraries took, in one more process under
`python -X importtime`; a library is counted with those that it imports first. A command that fails has a row with the
reason.

    python benchmarks/startup.py [--quick]

This takes about three minutes.

It needs `pip install "ferkit[serve,onnx]"`.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from time import perf_counter
from urllib.request import Request, urlopen

from _common import MB, parse_arguments
from PIL import Image
from serving import draw_photo

import ferkit
from ferkit.datasets import make_faces

LIBRARIES = ("numpy", "sklearn", "pandas", "imblearn", "skorch", "torch", "torch._dynamo", "torchvision", "matplotlib",
             "onnxruntime", "cv2", "fastapi")  # fmt: skip

TIMEOUT = 60  # seconds

# Run a command and print its seconds and its peak memory. A process starts with the peak of its parent, so the parent
# must be small.
LAUNCHER = f"""
import json, os, resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True, timeout={TIMEOUT})
seconds = time.perf_counter() - start
print(json.dumps([seconds, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def measure(command):
    """Return the seconds and the peak memory in bytes of a command."""
    if "serve" in command:
        return measure_server(command)
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def measure_server(command):
    photo = b'--x\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n\r\n' + draw_photo()
    start = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().split(" ")[0]
            if not url.startswith("http"):
                raise RuntimeError("the server did not start")
            form = {"Content-Type": "multipart/form-data; boundary=x"}
            with urlopen(Request(f"{url}/analyze", photo + b"\r\n--x--\r\n", form), timeout=TIMEOUT) as answer:
                assert len(json.load(answer)["faces"]) == 2
            seconds = perf_counter() - start
            status = Path(f"/proc/{server.pid}/status").read_text()
        finally:
            server.terminate()
    return seconds, 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


def list_imports(command):
    """Return the libraries that a command imports, with their seconds."""
    with TemporaryFile("w+") as log:  # a pipe that nobody reads would fill up before a server has started
        with subprocess.Popen(
            [command[0], "-X", "importtime", *command[1:]], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process:
            if "serve" in command:
                process.stdout.readline()
                process.terminate()
            process.communicate(timeout=TIMEOUT)
        log.seek(0)
        text = log.read()
    times = {name: int(micro) / 1e6 for micro, name in re.findall(r"\|\s*(\d+) \|\s+(\S+)", text)}
    return ", ".join(f"{name} {times[name]:.2f}" for name in LIBRARIES if name in times)


def main():
    rounds = 1 if parse_arguments(__doc__).quick else 6
    with TemporaryDirectory() as folder:
        face, photo, model = (Path(folder, name) for name in ("face.png", "photo.jpg", "model.ferkit"))
        Image.fromarray(make_faces(1, size=200, random_state=0).images[0]).save(face)
        photo.write_bytes(draw_photo())
        shutil.copy(Path(ferkit.__file__).parent / "models" / "fer2013-small.ferkit", model)
        command = [sys.executable, "-m", "ferkit"]
        commands = {
            "`import ferkit`": [sys.executable, "-c", "import ferkit"],
            "`import torch`, for comparison": [sys.executable, "-c", "import torch"],
            "`import sklearn.base`, for comparison": [sys.executable, "-c", "import sklearn.base"],
            "`ferkit --help`": [*command, "--help"],
            "`ferkit predict face.png`": [*command, "predict", face],
            "`ferkit predict model.ferkit face.png`": [*command, "predict", model, face],
            "`ferkit photo photo.jpg`": [*command, "photo", photo],
            "`ferkit photo --model model.ferkit photo.jpg`": [*command, "photo", "--model", model, photo],
            "`ferkit serve`": [*command, "serve", "--port", "0"],
            "`ferkit serve model.ferkit`": [*command, "serve", model, "--port", "0"],
        }
        commands = {name: [*map(str, each)] for name, each in commands.items()}
        measured, failed = {name: [] for name in commands}, {}
        for _ in range(rounds):
            for name in [name for name in commands if name not in failed]:
                try:
                    measured[name].append(measure(commands[name]))
                except Exception as error:  # the other rows are still worth having
                    failed[name] = f"{type(error).__name__}: {error}"
        print("| | seconds | range | peak memory | imports, in seconds |")
        print("| --- | ---: | ---: | ---: | --- |")
        for name, each in commands.items():
            if name in failed:
                print(f"| {name} | {failed[name]} | | | |")
                continue
            # the first round reads files from the disk
            seconds, memory = zip(*measured[name][rounds > 1 :], strict=True)
            print(
                f"| {name} | {median(seconds):.2f} | {min(seconds):.2f} to {max(seconds):.2f} | "
                f"{median(memory) / MB:,.0f} MB | {list_imports(each)} |"
            )


if __name__ == "__main__":
    main()
