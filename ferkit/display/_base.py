"""What all figures share: colours, axes, faces.

Colours are Okabe and Ito's, which colour-blind people can tell apart; lines differ in their dashes too, for print.
"""

import numpy as np

from .._images import as_rows, resolve_shape

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
DASHES = ("-", "--", "-.", ":")
RIGHT, WRONG = "#008A64", "#B4161B"  # a green and a red that differ in lightness too


def new_axes(rows, columns, width, height, **options):
    """A figure of inches and its axes, always as an array of two dimensions."""
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **options)


def new_grid(n_images, height):
    """A figure and axes without frames for so many images, at most eight in a row, each of ``height`` inches."""
    columns = min(8, n_images)
    rows = -(-n_images // columns)
    figure, axes = new_axes(rows, columns, max(1.45 * columns, 3), height * rows)
    for ax in axes.flat:
        ax.axis("off")
    return figure, axes


def show(ax, image):
    """Draw an image: uint8 as it is, others from their lowest value to their highest."""
    image = np.squeeze(image)
    if image.dtype != np.uint8:
        image = (image - image.min()) / max(np.ptp(image), 1e-9)
    ax.imshow(image, cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)


def show_rows(images, labels):
    """A figure and axes with a row of images for each label."""
    columns = max(1, *(len(row) for row in images))
    figure, axes = new_axes(len(images), columns, columns + 0.4 + 0.09 * max(map(len, labels)), len(images) + 0.4)
    for row, shown, label in zip(axes, images, labels, strict=True):
        for ax, image in zip(row, shown, strict=False):
            show(ax, image)
        for ax in row:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure, axes


def show_prediction(ax, image, predicted, probability, true=None):
    """Draw an image under what was predicted, and where ``true`` is known, whether that is right."""
    show(ax, image)
    text, color = f"{predicted} {probability:.0%}", "black"
    if true is not None:
        text, color = (f"✓ {text}\n", RIGHT) if true == predicted else (f"✗ {text}\n(is {true})", WRONG)
    ax.set_title(text, fontsize=8, color=color)


def to_images(X, image_shape=None):
    """Rows or a stack as (n, height, width, channels)."""
    rows, shape = as_rows(X, image_shape)
    return np.reshape(rows, (len(rows), *(shape or resolve_shape(rows.shape[1], image_shape))))
