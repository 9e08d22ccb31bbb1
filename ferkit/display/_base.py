"""Colors, axes and images that all figures share.

The colors are those of Okabe and Ito, which color-blind readers can tell apart. Lines also differ in their dashes, for
print.
"""

from base64 import b64encode
from collections.abc import Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import BytesIO

import numpy as np
from PIL import Image
from sklearn.utils.validation import check_is_fitted

from .._images import Images, as_rows, check_images, resolve_shape, to_stack
from ..classifier import FERClassifier, predicts_best
from ..transformers import PixelParser

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
DASHES = ("-", "--", "-.", ":")
TEXT = 11  # points, of texts in grids of images
RIGHT, WRONG = "#008A64", "#B4161B"  # a green and a red that also differ in lightness

_offscreen = ContextVar("offscreen", default=False)


@contextmanager
def offscreen():
    """Let displays draw without pyplot.

    Code that only saves figures must not choose a backend, need a screen or add to the user's open figures.
    """
    token = _offscreen.set(True)
    try:
        yield
    finally:
        _offscreen.reset(token)


def new_figure(width, height):
    """Return a new figure of ``width`` by ``height`` inches."""
    if _offscreen.get():
        from matplotlib.figure import Figure

        return Figure(figsize=(width, height), layout="constrained")
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained")


def new_axes(rows, columns, width, height, **options):
    """Return a new figure of ``width`` by ``height`` inches and a 2-D array of its axes."""
    figure = new_figure(width, height)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def new_grid(n_images, height, labels):
    """Return a figure and hidden axes for images ``height`` inches high and as wide as the longest label."""
    if not n_images:
        raise ValueError("Expected at least one image to show, got none.")
    width = max(1.45, 0.6 + 0.1 * max(len(str(label)) for label in labels))
    rows = -(-n_images // min(6, max(1, int(10 / width))))
    columns = -(-n_images // rows)  # rows of similar length
    figure, axes = new_axes(rows, columns, max(width * columns, 3), height * rows)
    for ax in axes.flat:
        ax.axis("off")
    return figure, axes


def encode_figure(figure):
    """Return a figure as the source of an HTML image."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def encode_image(image, like):
    """Return an image as the source of an HTML image of at most 192 pixels."""
    image, file = np.squeeze(image), BytesIO()
    if image.dtype != np.uint8:
        image = np.rint(255 * _scale(image, like)).astype(np.uint8)
    picture = Image.fromarray(image)
    picture.thumbnail((192, 192))
    picture.save(file, format="png")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def show(ax, image, like=None):
    """Draw an image. Pixels that are not uint8 are scaled by the range of ``like``, by default the image itself."""
    image = np.squeeze(image)
    if image.dtype != np.uint8:
        image = _scale(image, image if like is None else like)
    ax.imshow(image, cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)


def _scale(image, like):
    return ((image - like.min()) / max(np.ptp(like), 1e-9)).clip(0, 1)


def show_rows(images, labels, like=None):
    """Return a figure and axes with one row of images per label."""
    if not images:
        raise ValueError("Expected images of at least one label, got none.")
    columns = max(1, *(len(row) for row in images))
    figure, axes = new_axes(len(images), columns, columns + 0.4 + 0.09 * max(map(len, labels)), len(images) + 0.4)
    for row, shown, label in zip(axes, images, labels, strict=True):
        for ax, image in zip(row, shown, strict=False):
            show(ax, image, like)
        for ax in row:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure, axes


def show_prediction(ax, image, predicted, probability, true=None):
    """Draw an image below its prediction, marked as right or wrong if the true label is given."""
    show(ax, image)
    text, color = f"{predicted} {probability:.0%}", "black"
    if true is not None:
        text, color = (f"✓ {text}\n", RIGHT) if true == predicted else (f"✗ {text}\n(is {true})", WRONG)
    ax.set_title(text, fontsize=TEXT, color=color)


def to_images(X: Images) -> np.ndarray:
    """Return rows or a stack as (n, height, width, channels)."""
    return to_stack(*to_rows_and_shape(X))


def to_rows_and_shape(X: Images, image_shape: Sequence[int] | None = None) -> tuple[np.ndarray, tuple]:
    """Return rows or a stack of any dtype as ``(rows, (height, width, channels))``."""
    rows, shape = as_rows(X, image_shape)
    rows = np.ascontiguousarray(rows)
    return rows, shape or resolve_shape(rows.shape[1], image_shape)


def seen_images(estimator, X):
    """Return the images in the input of an estimator, (n, height, width, channels)."""
    steps = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
    if isinstance(steps[0], PixelParser):
        X, steps = steps[0].transform(X), steps[1:]
    knows_shape = next((step for step in steps if hasattr(step, "image_shape_")), None)
    if knows_shape is None:
        return to_images(X)
    rows, shape = check_images(knows_shape, X, reset=False)
    return to_stack(rows, shape)


def predict(estimator, X):
    """Return the predicted labels and the probability of each class."""
    y_proba = estimator.predict_proba(X)
    if predicts_best(estimator):  # one pass through the network is enough
        return estimator.classes_[y_proba.argmax(axis=1)], y_proba
    return estimator.predict(X), y_proba


def last_step(estimator, kinds=(FERClassifier,)):
    """Return the fitted classifier itself, or the one at the end of a pipeline."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if not isinstance(last, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"Expected a {names} or a pipeline that ends in one, got a {type(last).__name__}.")
    check_is_fitted(last)
    return last
