"""What only the page of ``ferkit export-web`` does: it analyzes pictures in Chromium, without a server of ferkit."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from threading import Thread

import numpy as np
import pytest
from PIL import Image

import ferkit
from ferkit.photos import analyze, detect_faces

expect = pytest.importorskip("playwright.sync_api", reason="playwright: pip install '.[browser]'").expect
pytestmark = pytest.mark.parametrize("url", ["exported"], indirect=True)
LOADED = {"onnxruntime.js", "onnxruntime.wasm", "yunet.onnx", "model.onnx"}
ANALYZE = """async ([path, maxSide]) => {
    const bitmap = await createImageBitmap(await (await fetch(path)).blob());
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const { port1, port2 } = new MessageChannel();
    const worker = new Worker("worker.js", { type: "module" });
    worker.postMessage({ picture: { data, width, height, channels: 4 }, maxSide, port: port2 }, [port2]);
    return new Promise((resolve, reject) => {
        port1.onmessage = ({ data }) => {
            if (data.analysis) resolve(data.analysis);
            if (data.error) reject(new Error(data.error));
        };
    });
}"""


def list_requests(page):
    """Return a list to which the name of each file is added that the page or its worker asks for."""
    names = []
    page.on("request", lambda request: names.append(request.url.rpartition("/")[2]))
    return names


SCENES = {
    "several sizes": (
        (640, 480),
        640,
        [("happy", 11, 20, 30, 260), ("sad", 0, 330, 40, 150), ("angry", 3, 520, 300, 90)],
    ),
    "shrunk to search": ((960, 640), 320, [("happy", 11, 40, 60, 330), ("surprise", 3, 500, 130, 410)]),
    "at the edges": ((500, 330), 640, [("happy", 11, -30, -10, 240), ("surprise", 3, 280, 120, 230)]),
    "tall": ((170, 700), 640, [("happy", 0, 5, 100, 160), ("sad", 0, 0, 400, 170)]),
    "small": ((48, 40), 640, [("happy", 11, 2, 0, 40)]),
    "no face": ((300, 200), 640, []),
}


@pytest.mark.parametrize("kind", SCENES)
def test_faces_and_probabilities_are_those_of_ferkit(open_page, draw, kind):
    size, max_side, faces = SCENES[kind]
    photo = draw(size, faces)
    photo = Image.merge("RGB", [photo.getchannel(0).point(lambda value, k=k: value * k // 4) for k in (4, 3, 2)])
    content = BytesIO()
    photo.save(content, "PNG")
    page = open_page()
    page.route("**/photo.png", lambda route: route.fulfill(body=content.getvalue(), content_type="image/png"))
    found = page.evaluate(ANALYZE, ["photo.png", max_side])
    assert (found["width"], found["height"]) == size
    expected = detect_faces(photo, max_side=max_side)
    assert len(found["faces"]) == len(expected.boxes) >= (kind not in ("no face", "small"))
    boxes = [[face["box"][side] for side in ("left", "top", "width", "height")] for face in found["faces"]]
    np.testing.assert_allclose(np.reshape(boxes, (-1, 4)), expected.boxes, atol=0.5)
    landmarks = np.reshape([face["landmarks"] for face in found["faces"]], (-1, 5, 2))
    np.testing.assert_allclose(landmarks, expected.landmarks, atol=0.5)
    np.testing.assert_allclose([face["score"] for face in found["faces"]], expected.scores, atol=0.01)
    # The same boxes, because a shift of a tenth of a pixel changes some probabilities by 0.02.
    table = analyze(photo, ferkit.load_model().set_params(precision="float32"), boxes=boxes)
    for face, (_, row) in zip(found["faces"], table.iterrows(), strict=True):
        assert face["probabilities"] == pytest.approx({name: row[name] for name in face["probabilities"]}, abs=0.01)
        assert (face["emotion"], face["unsure"]) == (row.emotion, row.unsure)


def test_the_networks_are_loaded_once_and_with_the_first_picture(open_page, photo):
    page = open_page()
    names = list_requests(page)
    held = []
    page.route("**/model.onnx", lambda route: held.append(route))
    page.set_input_files("#file", photo)
    expect(page.locator("#summary")).to_contain_text("Loading the networks (18 MB): ")
    while not held:
        page.wait_for_timeout(100)
    held[0].continue_()
    page.wait_for_selector("#faces li")
    assert {*names} >= LOADED
    assert len(names) == len({*names})
    n_requests = len(names)
    page.set_input_files("#file", photo)
    expect(page.locator("#summary")).to_contain_text("5 faces")
    page.click("#camera")
    expect(page.locator("#rate")).not_to_be_empty()
    assert len(names) == n_requests


def test_nothing_is_loaded_before_the_first_picture(open_page, url):
    page = open_page()
    names = list_requests(page)
    page.goto(url)
    page.wait_for_selector("#model:not(:empty)", state="attached")
    page.wait_for_timeout(1000)
    assert "app.js" in names
    assert not LOADED.intersection(names)


def test_a_camera_that_stops_while_the_networks_are_loaded_stays_off(open_page):
    page = open_page()
    held = []
    page.route("**/model.onnx", lambda route: held.append(route))
    page.click("#camera")
    expect(page.locator("#summary")).to_contain_text("Loading the networks")
    while not held:
        page.wait_for_timeout(100)
    page.click("#camera")
    held[0].continue_()
    page.wait_for_timeout(2000)
    expect(page.locator("#summary")).to_have_text("The camera is off.")
    page.click("#camera")
    page.wait_for_selector("#faces li:nth-child(2)")


def test_a_network_that_cannot_be_loaded_is_named_and_tried_again(open_page, photo):
    page = open_page()
    page.route("**/yunet.onnx", lambda route: route.fulfill(status=404))
    page.set_input_files("#file", photo)
    expect(page.locator("#error")).to_contain_text("yunet.onnx can't be loaded (404)")
    page.unroute("**/yunet.onnx")
    page.set_input_files("#file", photo)
    page.wait_for_selector("#faces li")
    assert page.text_content("#error") == ""
    page.problems[:] = [text for text in page.problems if "Failed to load resource" not in text]


@pytest.fixture
def foreign():
    """Another host: its address, and the list of the paths that it was asked for."""
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            paths.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


def test_neither_the_page_nor_its_worker_can_send_to_other_hosts(open_page, url, photo, foreign):
    address, paths = foreign
    page = open_page()
    page.set_input_files("#file", photo)
    page.wait_for_selector("#faces li")
    send = """address => fetch(address, {method: "POST", mode: "no-cors", body: "photo"}).then(() => 1, () => 0)"""
    places = {"page": page, "worker": page.workers[0]}
    for name, place in places.items():
        assert place.evaluate(send, f"{address}/{name}") == 0
    free = page.context.new_page()
    free.goto(f"{url}model.json")  # has no policy
    assert free.evaluate(send, f"{address}/free") == 1
    assert paths == ["/free"]
    page.problems.clear()  # the browser reports each attempt


def test_the_camera_needs_no_special_headers_and_the_rate_is_printed(open_page, capsys):
    page = open_page()
    assert page.evaluate("crossOriginIsolated") is False
    page.click("#camera")
    page.wait_for_selector("#faces li:nth-child(2)")
    page.wait_for_timeout(5000)
    rate = page.text_content("#rate")
    assert "frames per second" in rate
    with capsys.disabled():
        print(f"\n  the exported page analyzes {rate} of 640×480 pixels with two faces")
