"""Draw docs/images/party.jpg, a photo of drawn people, and docs/images/party.png, with their expressions.

The faces are among those of ``make_faces`` that the shipped model recognizes, so the picture says nothing about its
accuracy.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ferkit.datasets import make_faces
from ferkit.display import PhotoDisplay

IMAGES = Path(__file__).with_name("images")
PEOPLE = [  # row of make_faces, left and top of the face, color of the clothes
    (1, 380, 165, "#31688e"),
    (8, 745, 150, "#a0525e"),
    (12, 70, 175, "#6c5b7b"),
    (2, 560, 300, "#c06c3e"),
]
SIDE = 200  # of a face, in pixels


def draw_party():
    """Return the photo: a wall with a garland, and four people."""
    width, height = 1010, 690
    wall = np.linspace([202, 214, 224], [236, 226, 212], height).astype(np.uint8)
    photo = Image.fromarray(np.repeat(wall[:, None], width, axis=1))
    draw = ImageDraw.Draw(photo)
    for number, x in enumerate(range(0, width, 56)):  # a garland of flags
        y = 14 + 26 * np.sin(np.pi * (x % 560) / 560)
        draw.polygon([(x, y), (x + 44, y), (x + 22, y + 40)], fill=["#e4b363", "#7fa99b", "#d98880"][number % 3])
    oval = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(oval).ellipse([0.08 * SIDE, 0, 0.92 * SIDE, SIDE], fill=255)
    oval = oval.filter(ImageFilter.GaussianBlur(4))
    faces = make_faces(42, size=SIDE, random_state=1).images
    for row, x, y, color in PEOPLE:
        draw.rounded_rectangle([x - 45, y + 165, x + 245, height + 60], radius=80, fill=color)
        photo.paste(Image.fromarray(faces[row]), (x, y), oval)
    return photo


if __name__ == "__main__":
    draw_party().save(IMAGES / "party.jpg", quality=88)
    PhotoDisplay.from_image(Image.open(IMAGES / "party.jpg")).figure_.savefig(IMAGES / "party.png", dpi=110)
