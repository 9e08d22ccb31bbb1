"""The web server: its answers, its limits, and what it does with bad uploads."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin
from starlette.testclient import TestClient

import ferkit
from ferkit import serving
from ferkit.cli import main
from ferkit.datasets import make_faces
from ferkit.photos import analyze
from ferkit.serving import create_app

ROOT = Path(__file__).parent.parent
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
PLACES = ((60, 150), (360, 120))


def draw_photo(n_faces=2):
    """Draw a photo of 640×480 pixels with up to two faces."""
    photo = Image.new("RGB", (640, 480), "gray")
    for image, place in zip(make_faces(7, size=200, random_state=3).images, PLACES[:n_faces], strict=False):
        photo.paste(Image.fromarray(image), place)
    return photo


def encode(image, form="JPEG", **options):
    content = BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


@pytest.fixture(scope="module")
def photo():
    return encode(draw_photo())


@pytest.fixture(scope="module")
def app():
    return create_app()


def ask(app, *calls, host="localhost"):
    """Return the answers to calls that are made at the same time. A call gets a client and returns an awaitable."""

    async def run():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}", timeout=60) as client:
            return await asyncio.gather(*(call(client) for call in calls))

    answers = asyncio.run(run())
    return answers[0] if len(answers) == 1 else answers


def get(path, **options):
    return lambda client: client.get(path, **options)


def post(content, name="image", **options):
    return lambda client: client.post("/analyze", files={name: ("a.jpg", content)}, **options)


def body_of(content):
    """Return the headers and the body of an upload."""
    request = httpx.Request("POST", "http://localhost/analyze", files={"image": ("a.jpg", content)})
    return {"Content-Type": request.headers["Content-Type"]}, request.read()


class Slow(ClassifierMixin, BaseEstimator):
    """A classifier that counts the faces of each prediction, which takes some time."""

    def __init__(self, seconds=0.5, broken=False):
        self.seconds = seconds
        self.broken = broken

    def fit(self, X=None, y=None):
        self.classes_ = np.array(["calm", "cross"])
        self.n_features_in_ = 48 * 48
        self.sizes = []
        return self

    def predict_proba(self, X):
        if self.broken:
            raise RuntimeError("broken")
        self.sizes.append(len(X))
        time.sleep(self.seconds)
        share = X.mean(axis=1) / 255
        return np.column_stack([share, 1 - share])


def test_the_answer_is_the_table_of_analyze(app, photo):
    answer = ask(app, post(photo))
    assert answer.status_code == 200
    found = answer.json()
    assert (found["width"], found["height"]) == (640, 480)
    table = analyze(photo)
    assert len(table) == len(found["faces"]) == 2
    for face, (_, row) in zip(found["faces"], table.iterrows(), strict=True):
        assert face["emotion"] == row["emotion"]
        assert face["unsure"] == row["unsure"]
        assert face["score"] == pytest.approx(row["score"], abs=1e-3)
        assert face["box"] == pytest.approx(row[["left", "top", "width", "height"]].to_dict(), abs=0.1)
        assert face["probabilities"] == pytest.approx(row[list(face["probabilities"])].to_dict(), abs=1e-4)
        x, y = np.transpose(face["landmarks"])
        assert x[0] < x[1]  # the person's right eye is on the left
        assert max(y[:2]) < y[2] < min(y[3:])


def test_a_photo_without_faces_has_no_faces(app):
    assert ask(app, post(encode(draw_photo(0)))).json() == {"width": 640, "height": 480, "faces": []}


def test_photos_are_turned_upright(app):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    lying = draw_photo().transpose(Image.Transpose.ROTATE_90)
    found = ask(app, post(encode(lying, exif=exif))).json()
    assert (found["width"], found["height"], len(found["faces"])) == (640, 480, 2)


@pytest.mark.parametrize("form", FORMATS)
def test_usual_formats_are_read(app, form):
    assert len(ask(app, post(encode(draw_photo(), form))).json()["faces"]) == 2


def test_the_first_image_of_an_animation_is_read(app):
    gif = encode(draw_photo(), "GIF", save_all=True, append_images=[draw_photo(0)])
    assert len(ask(app, post(gif)).json()["faces"]) == 2


def test_health_and_model_are_described(app):
    assert ask(app, get("/health")).json() == {"status": "ok", "version": ferkit.__version__}
    model = ask(app, get("/model")).json()
    assert model["name"] == "fer2013-small"
    assert model["classes"] == ferkit.load_model().classes_.tolist()
    assert model["card"].startswith("# fer2013-small")
    for path in ("/health", "/model"):  # which monitors ask
        assert ask(app, lambda client, path=path: client.head(path)).status_code == 200


def test_an_app_can_be_served_again(photo):
    app = create_app()
    for _ in range(2):
        with TestClient(app, base_url="http://localhost") as client:
            assert client.post("/analyze", files={"image": ("a.jpg", photo)}).status_code == 200


def test_own_models_are_served(photo, fitted, tmp_path):
    ferkit.save(fitted, tmp_path / "mine.ferkit", card="My faces.")
    for model in (tmp_path / "mine.ferkit", fitted):
        app = create_app(model, threshold=1)
        faces = ask(app, post(photo)).json()["faces"]
        assert list(faces[0]["probabilities"]) == fitted.classes_.tolist()
        assert all(face["unsure"] for face in faces)
    described = ask(create_app(tmp_path / "mine.ferkit"), get("/model")).json()
    assert described["name"] == "mine.ferkit"  # without its directory
    assert "My faces." in described["card"]


def test_the_interface_is_described_without_other_hosts(app):
    schema = ask(app, get("/openapi.json")).json()
    assert set(schema["paths"]) == {"/analyze", "/health", "/model"}
    answers = schema["paths"]["/analyze"]["post"]["responses"]
    assert set(answers) >= {"200", "400", "408", "413", "415", "422", "503"}
    for page in ("/docs", "/redoc"):  # FastAPI's load scripts from another host
        assert ask(app, get(page)).status_code == 404


def test_the_page_names_no_other_host(app):
    assert ask(app, get("/")).text.startswith("<!doctype html>")
    files = [path for path in Path(serving.__file__).with_name("page").iterdir() if path.is_file()]
    assert {"app.js", "browser.js", "icon.svg", "index.html", "server.js", "style.css"} <= {path.name for path in files}
    for path in files:
        assert ask(app, get(f"/{path.name}")).status_code == 200
        if path.name == "licenses.txt":
            continue  # nothing is loaded from its addresses
        text = path.read_text("utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"(?:https?|wss?):|[\"'(=]//|@import", text), path.name


def test_browsers_are_told_to_load_and_share_nothing(app, photo):
    for answer in ask(app, get("/"), get("/app.js"), get("/model"), get("/missing"), post(photo), post(b"")):
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Cache-Control" in answer.headers


def test_pages_of_other_sites_cannot_use_a_local_server(app, photo):
    assert ask(app, get("/model"), host="rebound.example").status_code == 400
    for origin in ("http://evil.example", "null", "http://localhost:1"):
        assert ask(app, post(photo, headers={"Origin": origin})).status_code == 403
    assert ask(app, post(photo, headers={"Origin": "http://localhost"})).status_code == 200
    for host in ("127.0.0.1:8000", "[::1]:8000"):
        assert ask(app, get("/health"), host=host).status_code == 200
    for host in ("", "[::1", "localhost.evil.example", "192.168.0.7"):
        assert ask(app, get("/health", headers={"Host": host})).status_code == 400
    assert ask(app, post(photo, headers={"Origin": "http://[localhost"})).status_code == 403
    assert ask(create_app(allowed_hosts=["faces.example"]), get("/health"), host="faces.example").status_code == 200
    assert ask(create_app(allowed_hosts=None), get("/health"), host="faces.example").status_code == 200
    for name in ("Faces.Example", "faces.example:8000"):
        assert ask(create_app(allowed_hosts=[name]), get("/health"), host="faces.example:80").status_code == 200
    with pytest.raises(TypeError, match=r"pass \['faces.example'\]"):
        create_app(allowed_hosts="faces.example")
    for name in ("", "http://faces.example", "me@faces.example"):
        with pytest.raises(ValueError, match=f"names of hosts in allowed_hosts, got {name!r}"):
            create_app(allowed_hosts=["faces.example", name])


def bomb(width, height, form="PNG", mode="1"):
    return encode(Image.new(mode, (width, height)), form)


BAD = {
    "no image": (b"some text", 422),
    "no content": (b"", 422),
    "a PNG bomb": (lambda: bomb(12_000, 8_000), 413),
    "a PNG bomb that Pillow refuses": (lambda: bomb(20_000, 20_000), 413),
    "a GIF bomb": (lambda: bomb(9_000, 9_000, "GIF", "L"), 413),
    "floats": (lambda: bomb(10, 10, "TIFF", "F"), 422),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", 422),
    "a page": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422),
    "a zip": (b"PK\x03\x04" + bytes(100), 422),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_no_usable_images_are_refused(app, name):
    content, code = BAD[name]
    answer = ask(app, post(content() if callable(content) else content))
    assert answer.status_code == code
    assert answer.json()["detail"].startswith("Expected ")


@pytest.mark.parametrize("size", [(20_000, 3), (3, 20_000), (1, 1), (2, 640)])
def test_odd_shapes_have_no_faces(app, size):
    answer = ask(app, post(encode(Image.new("L", size), "PNG")))
    assert answer.status_code == 200
    assert answer.json() == {"width": size[0], "height": size[1], "faces": []}


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_images_are_never_an_error_of_the_server(app, form):
    rng = np.random.default_rng(0)
    whole = encode(draw_photo(1).resize((96, 72)), form)
    damaged = [whole[: rng.integers(len(whole))] for _ in range(15)]
    for _ in range(15):
        content = bytearray(whole)
        for position in rng.integers(len(content), size=rng.integers(1, 30)):
            content[position] = rng.integers(256)
        damaged.append(bytes(content))
    assert {answer.status_code for answer in ask(app, *map(post, damaged[:15]), *map(post, damaged[15:]))} <= {
        200,
        413,
        422,
    }


def test_forms_that_are_wrong_are_refused(app, photo):
    headers, body = body_of(photo)
    multipart = {"Content-Type": "multipart/form-data"}

    def send(**options):
        return lambda client: client.post("/analyze", **options)

    cases = {
        415: [send(), send(json={}), send(data={"image": "x"}), send(content=photo)],
        400: [
            send(content=body, headers=multipart),
            send(content=b"nonsense", headers=headers),
            send(content=body, headers={"Content-Type": "multipart/form-data; boundary=another"}),
            send(files=[("image", photo), ("image", photo)]),
        ],
        422: [
            send(content=body[:-100], headers=headers),
            post(photo, "picture"),
            send(files={"image": (None, "text")}),
        ],
    }
    for code, calls in cases.items():
        for answer in ask(app, *calls, calls[0]):
            assert answer.status_code == code, answer.text
            assert answer.json()["detail"]


def test_large_uploads_are_refused_before_they_are_read(photo):
    app = create_app(max_bytes=100_000)
    headers, body = body_of(bytes(90_000))
    sent = []

    async def endless():
        while True:
            sent.append(len(body))
            yield body[:20_000]

    assert ask(app, lambda client: client.post("/analyze", content=endless(), headers=headers)).status_code == 413
    assert len(sent) < 10
    assert ask(app, post(bytes(10_000_000))).status_code == 413
    assert ask(app, post(bytes(100_001))).status_code == 413
    assert ask(app, post(photo[:100_000])).status_code == 200


def test_images_with_many_pixels_are_refused(photo):
    assert ask(create_app(max_pixels=640 * 480), post(photo)).status_code == 200
    answer = ask(create_app(max_pixels=640 * 480 - 1), post(photo))
    assert answer.status_code == 413
    assert "Expected at most 0.307199 million pixels" in answer.json()["detail"]


def test_uploads_are_not_written_to_the_disk(app, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("Expected no temporary file.")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    noise = np.random.default_rng(0).integers(256, size=(1200, 1200, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), "PNG")
    assert len(content) > 4_000_000
    assert ask(app, post(content)).status_code == 200


def test_requests_that_wait_are_predicted_in_one_batch(photo):
    model = Slow().fit()
    app = create_app(model)
    photos = [encode(draw_photo(1 + number % 2).point(lambda value, by=number: value - 8 * by)) for number in range(8)]
    together = [answer.json() for answer in ask(app, *map(post, photos))]
    assert sum(model.sizes) == 12
    assert len(model.sizes) < 8
    model.seconds = 0
    for answer, content in zip(together, photos, strict=True):
        assert answer == ask(app, post(content)).json()
        assert len(answer["faces"]) in (1, 2)


def test_more_requests_than_allowed_are_asked_to_come_back(photo):
    model = Slow().fit()
    app = create_app(model, max_requests=3)
    answers = ask(app, *[post(photo)] * 8, get("/health"))
    assert answers.pop().status_code == 200
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["Retry-After"] == "1"
    assert "busy" in refused.json()["detail"]
    assert ask(app, post(photo)).status_code == 200


def test_slow_uploads_and_slow_predictions_end(photo):
    headers, body = body_of(photo)

    async def stalled():
        yield body[:1000]
        await asyncio.sleep(30)

    app = create_app(Slow(seconds=1).fit(), timeout=0.5, max_requests=1)
    start = time.monotonic()
    assert ask(app, lambda client: client.post("/analyze", content=stalled(), headers=headers)).status_code == 408
    answer = ask(app, post(photo))
    assert answer.status_code == 503
    assert "took more than 0.5 s" in answer.json()["detail"]
    assert time.monotonic() - start < 10


def test_an_error_of_the_model_is_no_end_of_the_server(photo):
    model = Slow(seconds=0, broken=True).fit()
    app = create_app(model)
    with pytest.raises(RuntimeError, match="broken"):  # httpx raises what the app raises; uvicorn answers 500
        ask(app, post(photo))
    model.broken = False
    assert ask(app, post(photo)).status_code == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_bytes": 0}, "max_bytes > 0, got 0"),
        ({"timeout": -1}, "timeout > 0, got -1"),
        ({"threshold": 2}, "from 0 to 1, got 2"),
        ({"model": object()}, "predict_proba"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        create_app(**options)


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r'needs uvicorn: pip install "ferkit\[serve\]"'):
        create_app()
    with pytest.raises(SystemExit, match="1"):
        main(["serve"])
    assert 'pip install "ferkit[serve]"' in capsys.readouterr().err


def test_ports_and_addresses_that_cannot_be_used_are_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments in (["--port", str(port)], ["--host", "203.0.113.1"]):
            with pytest.raises(SystemExit, match="1"):
                main(["serve", *arguments])
            assert "Expected a free port and an address of this machine" in capsys.readouterr().err


@contextmanager
def running(*arguments):
    """Start ``ferkit serve`` in a process of its own, on a free port."""
    command = [sys.executable, "-m", "ferkit", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        url = re.match(r"http://127\.0\.0\.1:\d+", line)
        assert url, line + process.stderr.read()
        yield SimpleNamespace(process=process, url=url[0], port=int(url[0].rpartition(":")[2]))
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_requests_in_progress_are_answered_before_the_server_stops(photo, sent):
    headers, body = body_of(photo)
    lines = ["POST /analyze HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with running() as server, socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body[:1000])
        time.sleep(0.3)
        server.process.send_signal(sent)
        time.sleep(0.3)
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)
        connection.sendall(body[1000:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert answer.count(b'"emotion"') == 2
        code = server.process.wait(30)
        assert code == (0 if sent == signal.SIGINT else -signal.SIGTERM)
        assert server.process.stderr.read() == ""


def damage(rng, photos):
    """Return a bad upload: random bytes, a truncated or changed image, or a bomb."""
    kind, whole = rng.integers(5), photos[rng.integers(len(photos))]
    if kind == 0:
        return rng.bytes(rng.integers(5000))
    if kind == 1:
        return whole[: rng.integers(len(whole))]
    if kind == 2:
        return whole[:30] + rng.bytes(rng.integers(3000))
    if kind == 3:
        content = bytearray(whole)
        for position in rng.integers(len(content), size=rng.integers(1, 50)):
            content[position] = rng.integers(256)
        return bytes(content)
    side = int(rng.integers(7_000, 60_000))
    header = bytearray(encode(Image.new("1", (8, 8)), "PNG"))
    header[16:24] = 2 * side.to_bytes(4, "big")
    header[29:33] = crc32(header[12:29]).to_bytes(4, "big")
    return bytes(header)


@pytest.mark.slow
def test_thousands_of_bad_uploads_do_not_stop_the_server(photo):
    rng = np.random.default_rng(0)
    small = draw_photo(1).resize((160, 120))
    photos = [encode(small, form) for form in FORMATS]
    codes = {}
    with running("--max-bytes", "200000") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        for number in range(5000):
            if number % 10:
                files = {"image": ("a.jpg", damage(rng, photos))}
                code = client.post("/analyze", files=files).status_code
            elif number % 20:  # damaged forms
                headers, body = body_of(photos[0])
                cut = body[: rng.integers(len(body))] + rng.bytes(rng.integers(100))
                code = client.post("/analyze", content=cut, headers=headers).status_code
            else:  # uploads that end early
                with socket.create_connection(("127.0.0.1", server.port)) as connection:
                    connection.sendall(b"POST /analyze HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n")
                    connection.sendall(b"Content-Type: multipart/form-data; boundary=a\r\n\r\n--a\r\n" + rng.bytes(100))
                    code = "ended early"
            codes[code] = codes.get(code, 0) + 1
        sys.stdout.write(f"Answers to {sum(codes.values()):,} bad uploads: {codes}\n")
        assert set(codes) <= {200, 400, 413, 422, "ended early"}  # some changed images can be read
        assert client.post("/analyze", files={"image": photo}).status_code == 200
        assert server.process.poll() is None
