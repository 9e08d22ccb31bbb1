"""The page for photos and cameras, which `ferkit serve` and `export_web` share."""

from os import PathLike
from pathlib import Path

from ..models._read import find_card, read_predictor

__all__ = ["PAGE", "POLICY", "find_model", "render_page"]

PAGE = Path(__file__).parent / "page"
# WebAssembly needs 'wasm-unsafe-eval', and a worker from a blob is subject to this policy.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self'; "
    "style-src 'self'; img-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'"
)


def render_page(*, in_browser: bool) -> str:
    """Return the HTML of the page whose pictures are analyzed in the browser, or of the one of the server."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template("index.html").render(in_browser=in_browser, policy=POLICY)


def find_model(model):
    """Return the name, the card or None, and the fitted classifier."""
    if not isinstance(model, (str, PathLike)):
        return type(model).__name__, getattr(model, "card", None) or None, model
    classifier = read_predictor(model, allow_pickles=True)
    return Path(model).name, find_card(model) or getattr(classifier, "card", None) or None, classifier
