"""What only the page of ``ferkit export-web`` does: it analyzes pictures in Chromium, without a server of ferkit."""

import re

import numpy as np
import pytest
from PIL import Image

from ferkit.photos import analyze

expect = pytest.importorskip("playwright.sync_api", reason="playwright: pip install '.[browser]'").expect
expect.set_options(timeout=120_000)
pytestmark = pytest.mark.parametrize("url", ["exported"], indirect=True)
ANALYZE = """async ([path, maxSide]) => {
    const bitmap = await createImageBitmap(await (await fetch(path)).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const { port1, port2 } = new MessageChannel();
    window.worker ??= new Worker("worker.js", { type: "module" });
    worker.postMessage({ picture: { data, width, height, channels: 4 }, maxSide, port: port2 }, [port2]);
    return new Promise((resolve, reject) => port1.addEventListener("message", ({ data }) => {
        if (data.analysis) resolve(data.analysis);
        if (data.error) reject(new Error(data.error));
    }) || port1.start());
}"""


def give(page, photo):
    """Let the page load a photo as the file photo.png, so that both sides have the same pixels."""
    from io import BytesIO

    content = BytesIO()
    photo.save(content, "PNG")
    page.route("**/photo.png", lambda route: route.fulfill(body=content.getvalue(), content_type="image/png"))


@pytest.mark.parametrize(
    "kind", ["several sizes", "larger than searched", "across the edges", "gray and narrow", "no face"]
)
def test_faces_and_probabilities_are_those_of_ferkit(open_page, kind, scenes):
    photo, max_side = scenes[kind], 320 if kind == "larger than searched" else 640
    page = open_page()
    give(page, photo)
    faces = page.evaluate(ANALYZE, ["photo.png", max_side])["faces"]
    expected = analyze(photo.convert("RGB"), max_side=max_side)
    assert len(faces) == len(expected)
    assert len(faces) > 0 or kind == "no face"
    for face, (_, row) in zip(faces, expected.iterrows(), strict=True):
        assert [face["box"][side] for side in ("left", "top", "width", "height")] == pytest.approx(
            [row.left, row.top, row.width, row.height], abs=0.5
        )
        assert face["score"] == pytest.approx(row.score, abs=0.01)
        for name, probability in face["probabilities"].items():
            assert probability == pytest.approx(row[name], abs=0.02)
        assert face["emotion"] == row.emotion
        assert face["unsure"] == row.unsure
