"""The page of both commands, drawn photos and clips, and Chromium with a camera that shows a clip."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferkit.datasets import make_faces

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def draw_scene(size, faces):
    """Draw a photo with faces at (emotion, number, left, top, side)."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    light = 120 + 50 * y / height + 25 * np.sin(x / 140) + 15 * np.cos(y / 60)
    photo = Image.fromarray(light.astype(np.uint8)).convert("RGB")
    drawn = make_faces(140, size=170, noise=0.01, random_state=3)
    names = drawn.target_names[drawn.target]
    for emotion, number, left, top, side in faces:
        face = Image.fromarray(drawn.images[np.flatnonzero(names == emotion)[number]])
        photo.paste(face.resize((side, side)).convert("RGB"), (left, top))
    return photo


@pytest.fixture(scope="session")
def draw():
    return draw_scene


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "photo.jpg"
    faces = [("happy", 11, 40, 60, 230), ("surprise", 3, 370, 30, 210), ("sad", 0, 680, 90, 220)]
    faces += [("angry", 3, 220, 340, 250), ("happy", 0, 560, 360, 200)]
    draw_scene((960, 640), faces).save(path, quality=92)
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Two faces that move, as a Motion JPEG of 20 frames."""
    path = tmp_path_factory.mktemp("clips") / "camera.mjpeg"
    with open(path, "wb") as file:
        for frame in range(20):
            faces = [("happy", 11, 60 + frame, 120, 200), ("surprise", 3, 380, 60 + frame, 180)]
            content = BytesIO()
            draw_scene((640, 480), faces).save(content, "JPEG", quality=90)
            file.write(content.getvalue())
    return path


@contextmanager
def run_server(*arguments):
    """Yield the address that a server prints."""
    command = [sys.executable, "-u", "-m", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield re.search(r"http://[^\s)]+", process.stdout.readline())[0]
        process.terminate()


@pytest.fixture(scope="session")
def server():
    """The address of the page of `ferkit serve`."""
    with run_server("ferkit", "serve", "--port", "0") as url:
        yield f"{url}/"


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The address of the page that `ferkit export-web` writes, in a subdirectory of Python's own web server."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "ferkit", "export-web", str(directory / "faces")]
    if "ONNXRUNTIME_WEB" in os.environ:
        command += ["--runtime", os.environ["ONNXRUNTIME_WEB"]]
    elif not shutil.which("npm"):
        pytest.skip("npm is not installed: apt-get install npm, or set ONNXRUNTIME_WEB to a copy of the package")
    subprocess.run(command, cwd=ROOT, check=True)
    with run_server("http.server", "0", "--bind", "127.0.0.1", "--directory", str(directory)) as url:
        yield f"{url}faces/"


@pytest.fixture(params=["server", "exported"])
def url(request):
    """The address of the page; tests run with both pages unless they choose one with indirect parameters."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def chromium(clip):
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium, or set CHROMIUM to its path")
    arguments = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    arguments += [f"--use-file-for-fake-video-capture={clip}", "--no-sandbox"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def screenshots(request):
    """The directory for screenshots of the page, which git ignores."""
    path = Path(os.environ.get("SCREENSHOTS", ROOT / "screenshots"), request.node.callspec.params["url"])
    path.mkdir(exist_ok=True, parents=True)
    return path


@pytest.fixture
def open_page(chromium, url):
    """Open the page in a window; in the end, check that it loaded nothing from other hosts and raised no errors."""
    contexts, problems = [], []

    def check(request):
        if not request.url.startswith((url, "blob:", "data:")):
            problems.append(f"request of {request.url}")

    def build(**options):
        context = chromium.new_context(
            permissions=["camera"], **{"viewport": {"width": 1280, "height": 860}, **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("request", check)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.problems = problems
        page.goto(url)
        page.wait_for_selector("#model:not(:empty)", state="attached")
        return page

    yield build
    for context in contexts:
        context.close()
    assert not problems
