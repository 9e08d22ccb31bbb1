"""
Recognize expressions in a photo
================================

After this example you can find the faces in a photo and draw their expressions. The photo is drawn, so that it shows no
real people. It needs OpenCV: ``pip install "ferkit[photos]"``.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ferkit.datasets import make_faces
from ferkit.display import FacesDisplay, PhotoDisplay
from ferkit.photos import analyze, crop_faces, detect_faces

width, height, side = 960, 540, 190
sky = np.linspace([150, 180, 210], [225, 230, 225], height).astype(np.uint8)
photo = Image.fromarray(np.repeat(sky[:, None], width, axis=1))
draw = ImageDraw.Draw(photo)
oval = Image.new("L", (side, side))
ImageDraw.Draw(oval).ellipse([0.08 * side, 0, 0.92 * side, side], fill=255)
oval = oval.filter(ImageFilter.GaussianBlur(4))
drawn = make_faces(3, size=side, random_state=1)
for face, (x, y), color in zip(
    drawn.images, [(110, 130), (400, 90), (690, 150)], ["#5d6d64", "#6d4663", "#838163"], strict=True
):
    draw.rounded_rectangle([x - 50, y + 160, x + 240, 590], radius=60, fill=color)
    photo.paste(Image.fromarray(face), (x, y), oval)

# %%
# `analyze` finds the faces and recognizes their expressions. It returns one row per face, with its box and the
# probability of each emotion. A face is unsure if no emotion has at least half of the probability.
table = analyze(photo)
table.round(2)

# %%
# Unsure faces have dashed boxes and a question mark. `ferkit photo party.jpg --out annotated` does the same for files.
display = PhotoDisplay(photo, table).plot()

# %%
# The steps are also functions of their own. The model sees the faces as FER2013's are cut: 48×48 gray pixels.
faces = detect_faces(photo)
crops = crop_faces(photo, faces)
display = FacesDisplay([crops], ["what the model sees"]).plot()
