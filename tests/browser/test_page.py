"""The page of ``ferkit serve`` and ``ferkit export-web`` in Chromium. ``make test-browser`` runs these tests."""

import re

import pytest
from PIL import Image

expect = pytest.importorskip("playwright.sync_api", reason="playwright: pip install '.[browser]'").expect
expect.set_options(timeout=120_000)  # the exported page loads 21 MB with its first picture
ONLY_SERVER = pytest.mark.parametrize("url", ["server"], indirect=True)
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}
COLORED = """canvas => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let colored = 0;
    for (let i = 0; i < pixels.length; i += 4)
        colored += Math.max(...pixels.slice(i, i + 3)) - Math.min(...pixels.slice(i, i + 3)) > 60;
    return colored;
}"""


def count_colored(page):
    """Count pixels of the canvas with a color. The photos are gray, so they belong to boxes and labels."""
    return page.eval_on_selector("#canvas", COLORED)


def open_photo(page, photo):
    page.set_input_files("#file", photo)
    page.wait_for_selector("#faces li")


def test_a_photo_is_analyzed(open_page, photo, screenshots):
    page = open_page()
    page.screenshot(path=screenshots / "empty.png")
    open_photo(page, photo)
    page.screenshot(path=screenshots / "photo.png")
    assert page.locator("#faces li").count() == 5
    for item in page.locator("#faces li").all():
        values = [int(text.rstrip("%")) for text in item.locator(".bar span:last-child").all_text_contents()]
        assert sum(values) == pytest.approx(100, abs=4)
        assert item.locator(".bar.best").text_content().startswith(item.locator("h3 span").nth(1).text_content())
    assert re.match(r"5 faces: 1:\s\w+\s\d+\s%", page.text_content("#summary"))
    assert count_colored(page) > 2000
    assert page.text_content("#error") == ""


def test_a_photo_can_be_dropped(open_page, photo):
    page = open_page()
    page.evaluate(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "photo.jpg", {type: "image/jpeg"}));
            document.getElementById("stage").dispatchEvent(
                new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        list(photo.read_bytes()),
    )
    page.wait_for_selector("#faces li")
    assert page.locator("#faces li").count() == 5


def test_a_photo_without_faces_is_said_to_have_none(open_page, tmp_path):
    Image.new("RGB", (90, 60), "gray").save(tmp_path / "flat.png")
    page = open_page()
    page.set_input_files("#file", tmp_path / "flat.png")
    expect(page.locator("#summary")).to_have_text("No face was found.")


def test_a_file_that_is_no_image_is_named(open_page, photo, tmp_path):
    page = open_page()
    (tmp_path / "notes.jpg").write_text("no image")
    page.set_input_files("#file", tmp_path / "notes.jpg")
    expect(page.locator("#error")).to_contain_text("notes.jpg")
    open_photo(page, photo)
    assert page.text_content("#error") == ""


@ONLY_SERVER
def test_errors_of_the_server_are_shown_in_words(open_page, photo):
    page = open_page()
    page.route("**/analyze", lambda route: route.fulfill(status=503, json={"detail": "The server is busy."}))
    page.set_input_files("#file", photo)
    expect(page.locator("#error")).to_have_text("The server is busy.")
    page.unroute("**/analyze")
    page.route("**/analyze", lambda route: route.abort())
    page.set_input_files("#file", photo)
    expect(page.locator("#error")).to_contain_text("running")
    page.unroute("**/analyze")
    open_photo(page, photo)
    assert page.text_content("#error") == ""
    page.problems[:] = [text for text in page.problems if "Failed to load resource" not in text]


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_camera_is_analyzed_until_it_stops(open_page, screenshots, size):
    page = open_page(**(PHONE if size == "phone" else {}))
    page.click("#camera")
    page.wait_for_selector("#faces li:nth-child(2)")
    expect(page.locator("#rate")).not_to_be_empty()
    assert count_colored(page) > 1000
    page.screenshot(path=screenshots / f"camera_{size}.png")
    page.click("#camera")
    assert page.text_content("#camera") == "Start the camera"
    page.wait_for_timeout(1000)
    assert page.locator("#faces li").count() == 0


@ONLY_SERVER
def test_frames_of_the_camera_do_not_queue(open_page):
    page = open_page()
    running, most, sent = set(), [], []

    def start(request):
        if request.url.endswith("/analyze"):
            running.add(request)
            sent.append(request)
            most.append(len(running))

    page.on("request", start)
    page.on("requestfinished", lambda request: running.discard(request))
    page.click("#camera")
    expect(page.locator("#rate")).not_to_be_empty()
    page.click("#camera")
    page.wait_for_timeout(1000)
    n_sent = len(sent)
    page.wait_for_timeout(1000)
    assert len(sent) == n_sent  # nothing is sent after the camera has stopped
    assert n_sent >= 3
    assert max(most) == 1  # a frame is sent when the last one has been answered


def test_a_camera_that_is_refused_is_explained(open_page):
    page = open_page()
    page.evaluate(
        """() => {
            navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); };
        }"""
    )
    page.click("#camera")
    expect(page.locator("#error")).to_contain_text("allow it")


def test_the_page_is_used_by_keyboard(open_page, photo):
    page = open_page()
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        focus = "document.activeElement"
        reached.append(page.evaluate(f"{focus}.id || {focus}.tagName"))
        outline = page.evaluate(
            f"getComputedStyle({focus}.id === 'file' ? {focus}.nextElementSibling : {focus}).outline"
        )
        assert "solid 3px" in outline
    is_server = page.locator("#server").count()
    assert reached == ["file", "camera", "SUMMARY", "SUMMARY" if is_server else "A"]
    page.focus("#file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(photo)
    page.wait_for_selector("#faces li")
    page.focus("#camera")
    page.keyboard.press("Space")
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Enter")
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "false")


def test_everything_has_a_name_for_screen_readers(open_page, photo):
    page = open_page()
    open_photo(page, photo)
    assert page.get_by_label("Choose a photo").count() == 1
    assert page.get_by_role("button", name="Start the camera").count() == 1
    assert page.get_by_role("img", name="5 faces").count() == 1  # the canvas
    assert page.get_by_role("complementary", name="Consent and law").count() == 1
    assert "AI Act" in page.text_content("aside")
    assert page.get_attribute("#summary", "aria-live") == "polite"
    assert page.get_attribute("#error", "role") == "alert"
    assert page.get_attribute("html", "lang") == "en"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_small_screens_need_no_horizontal_scrolling(open_page, photo, screenshots, width):
    page = open_page(**{**PHONE, "viewport": {"width": width, "height": 844}})
    for element in page.locator("summary").all():
        element.click()
    open_photo(page, photo)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 390:
        page.screenshot(path=screenshots / "phone.png", full_page=True)


def test_colors_follow_the_dark_mode_and_text_can_be_read(open_page, photo, screenshots):
    def luminance(color):
        parts = [int(value) / 255 for value in re.findall(r"\d+", color)[:3]]
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        open_photo(page, photo)
        page.screenshot(path=screenshots / f"{scheme}.png")
        pairs = page.evaluate(
            """() => [...document.querySelectorAll("p, h1, h2, h3 span, small, .bar span, .button, summary")]
                .filter(each => each.checkVisibility() && each.textContent.trim())
                .map(each => {
                    let behind = each;
                    const clear = "rgba(0, 0, 0, 0)";
                    while (behind && getComputedStyle(behind).backgroundColor === clear) behind = behind.parentElement;
                    return [getComputedStyle(each).color, getComputedStyle(behind).backgroundColor, each.textContent];
                })"""
        )
        assert (luminance(pairs[0][1]) < 0.1) == (scheme == "dark")
        for color, behind, text in pairs:
            light, dark = sorted([luminance(color), luminance(behind)], reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, color, behind)


@ONLY_SERVER
def test_reduced_motion_slows_the_camera(open_page):
    page = open_page(reduced_motion="reduce")
    sent = []
    page.on("request", lambda request: request.url.endswith("/analyze") and sent.append(request))
    page.click("#camera")
    page.wait_for_selector("#faces li")
    n_sent = len(sent)
    page.wait_for_timeout(2500)
    assert len(sent) - n_sent <= 3
