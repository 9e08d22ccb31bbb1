"""The FastAPI app: what it answers, and what it refuses."""

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request
from fastapi.staticfiles import StaticFiles
from joblib import cpu_count
from PIL import Image
from pydantic import BaseModel, Field
from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers, MutableHeaders, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse

from .. import __version__
from .._files import check_files, read_photo
from ..photos import detect_faces
from ..photos._analysis import Classifier
from ..photos._crops import cut
from ._page import PAGE, find_model, render_page
from ._queue import AnalysisQueue, QueueFull

__all__ = ["build_app"]

FORM_OVERHEAD = 10_000  # bytes of a form around its file
MAX_THREADS = 4  # each may hold a decoded image
RETRY = {"Retry-After": "1"}  # seconds
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary", "description": "An image file."}},
                }
            }
        },
    }
}


class Box(BaseModel):
    """Place of a face, in pixels of the upright image."""

    left: float
    top: float
    width: float
    height: float


class Face(BaseModel):
    box: Box
    landmarks: list[tuple[float, float]] = Field(
        description="x and y of the person's right eye, left eye, tip of the nose, right and left corner of the mouth"
    )
    score: float = Field(description="how sure the detector is that this is a face, from 0 to 1")
    emotion: str = Field(description="the most probable expression")
    probabilities: dict[str, float]
    unsure: bool = Field(description="whether the highest probability is below the threshold")


class Analysis(BaseModel):
    width: int = Field(description="of the upright image, in pixels")
    height: int
    faces: list[Face]


class Model(BaseModel):
    name: str
    classes: list[str]
    threshold: float = Field(description="a face is unsure if its highest probability is below this")
    card: str | None = Field(description="data, scores, limits and licenses of the model, in Markdown")


class Health(BaseModel):
    status: str
    version: str


class Problem(BaseModel):
    detail: str


PROBLEMS = {
    400: "damaged form, or a Host that is not allowed",
    403: "sent by a page of another site",
    408: "the upload took too long",
    413: "too many bytes or pixels",
    415: "not multipart/form-data",
    422: "no file called image, or not a readable image",
    503: "too many requests at the same time",
}


class Guard:
    """Add security headers to all answers, and refuse what pages of other sites send.

    Starlette's TrustedHostMiddleware does not know IPv6 addresses in all supported versions.
    """

    def __init__(self, app, allowed_hosts):
        self.app = app
        self.allowed_hosts = allowed_hosts

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store" if scope["method"] == "POST" else "no-cache")
            await send(message)

        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        app = self.app
        if self.allowed_hosts is not None and _hostname(host) not in self.allowed_hosts:
            app = _refuse(400, f"Expected one of the names {self.allowed_hosts} as Host, got {host[:100]!r}.")
        elif origin not in (None, f"http://{host}", f"https://{host}"):
            app = _refuse(403, f"Expected a request of this site, got one of {origin[:100]!r}: open its own page.")
        await app(scope, receive, send_with_headers)


def _check_host(name):
    is_ipv6 = str(name).count(":") > 1 and not str(name).startswith("[")
    host = _hostname(f"[{name}]" if is_ipv6 else name)
    if not host or not {*"/@?#"}.isdisjoint(name):
        raise ValueError(f"Expected names of hosts in allowed_hosts, got {name!r}: pass such as 'example.org'.")
    return host


def _hostname(host):
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname


def _refuse(code, detail):
    return JSONResponse({"detail": detail}, code)


def build_app(model, *, threshold, max_bytes, max_pixels, max_requests, timeout, allowed_hosts):
    name, card, model = find_model(model)
    classifier = Classifier(model, threshold)
    n_cores = cpu_count()
    queue = AnalysisQueue(
        partial(_find, shape=classifier.shape, max_pixels=max_pixels),
        lambda crops: classifier.model.predict_proba(crops.reshape(len(crops), -1)),
        max_requests=max_requests,
        n_threads=min(n_cores, MAX_THREADS),
    )

    @asynccontextmanager
    async def lifespan(_):
        yield
        queue.close()

    # FastAPI's own pages of documentation load scripts from another host.
    app = FastAPI(
        title="ferkit",
        version=__version__,
        description="Finds the faces in a photo and recognizes their expressions. Photos are not stored.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    hosts = None if allowed_hosts is None else [*map(_check_host, allowed_hosts)]
    app.add_middleware(Guard, allowed_hosts=hosts)

    @app.post(
        "/analyze",
        openapi_extra=FORM,
        responses={code: {"model": Problem, "description": text} for code, text in PROBLEMS.items()},
    )
    async def analyze(request: Request) -> Analysis:
        """Find the faces in a photo and predict the probability of each expression."""
        try:
            with queue.place():
                content = await _read_upload(request, max_bytes, timeout)
                async with asyncio.timeout(timeout):
                    (size, faces), rows = await queue.analyze(content)
        except QueueFull:
            raise HTTPException(503, "The server is busy: try again in a moment.", RETRY) from None
        except TimeoutError:
            raise HTTPException(503, f"The analysis took more than {timeout:g} s: try again.", RETRY) from None
        width, height = size
        found = [
            _describe(box, landmarks, score, probabilities, classifier)
            for box, landmarks, score, probabilities in zip(*faces, rows, strict=True)
        ]
        return Analysis(width=width, height=height, faces=found)

    @app.head("/model", include_in_schema=False)
    @app.get("/model")
    async def describe_model() -> Model:
        """Describe the model and its limits."""
        return Model(name=name, classes=classifier.names, threshold=threshold, card=card)

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def check_health() -> Health:
        """Say that the server works."""
        return Health(status="ok", version=__version__)

    page = render_page(in_browser=False)
    for path in ("/", "/index.html"):
        app.add_route(path, lambda _: HTMLResponse(page), include_in_schema=False)
    app.mount("/", StaticFiles(directory=PAGE))
    return app


async def _read_upload(request, max_bytes, timeout):
    """Return the content of the file ``image``, without a temporary file."""
    too_large = HTTPException(
        413, f"Expected at most {max_bytes / 1e6:g} MB, got more: send a smaller image, or one with fewer pixels."
    )
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HTTPException(415, "Expected multipart/form-data with a file called image, got another Content-Type.")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes + FORM_OVERHEAD:
        raise too_large

    async def stream():
        n_bytes = 0
        async for chunk in request.stream():
            n_bytes += len(chunk)
            if n_bytes > max_bytes + FORM_OVERHEAD:
                raise too_large
            yield chunk

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=1)
    parser.spool_max_size = max_bytes + FORM_OVERHEAD  # larger files would go to the disk
    try:
        async with asyncio.timeout(timeout):
            form = await parser.parse()
    except TimeoutError:
        raise HTTPException(408, f"Expected the upload within {timeout:g} s, got a part of it: try again.") from None
    except ClientDisconnect:
        raise HTTPException(400, "The upload was not finished.") from None
    except (MultiPartException, FormParserError):
        raise HTTPException(400, "Expected a form with one file, got several or a damaged one.") from None
    image = form.get("image")
    if not isinstance(image, UploadFile):
        raise HTTPException(422, "Expected a form with a file called image, got none or a part of one.")
    content = await image.read()
    await form.close()
    if not content:
        raise HTTPException(422, "Expected an image, got an empty file: choose another one.")
    if len(content) > max_bytes:
        raise too_large
    return content


def _find(content, *, shape, max_pixels):
    """Return the size of the image, its faces, and their crops."""
    too_large = HTTPException(
        413, f"Expected at most {max_pixels / 1e6:g} million pixels, got more: send a smaller image."
    )
    try:
        height, width, _ = check_files([content]).image_shape  # from its header
        if height * width > max_pixels:
            raise too_large
        image = read_photo(content)
    except ValueError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise too_large from None
        raise HTTPException(422, "Expected an image, got a file that can't be read as one: choose another.") from None
    faces = detect_faces(image)
    return ((width, height), faces), cut(image, faces.boxes, shape)


def _describe(box, landmarks, score, probabilities, classifier):
    names = classifier.names
    left, top, width, height = (round(float(value), 1) for value in box)
    best, is_unsure = classifier.decide(probabilities)
    return Face(
        box=Box(left=left, top=top, width=width, height=height),
        landmarks=[(round(float(x), 1), round(float(y), 1)) for x, y in landmarks],
        score=round(float(score), 4),
        emotion=names[best],
        probabilities={name: round(float(value), 6) for name, value in zip(names, probabilities, strict=True)},
        unsure=bool(is_unsure),
    )
