"""
Follow expressions through a video
==================================

After this example you can follow the faces in a video and draw their expressions over time. The video is drawn, so that
it shows no real people. It needs OpenCV: ``pip install "ferkit[photos]"``.
"""

import tempfile
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ferkit.datasets import make_faces
from ferkit.display import TimelineDisplay
from ferkit.photos import analyze, analyze_video, annotate_video

size, side, seconds, fps = (640, 360), 150, 8, 12
oval = Image.new("L", (side, side))
ImageDraw.Draw(oval).ellipse([0.08 * side, 0, 0.92 * side, side], fill=255)
oval = oval.filter(ImageFilter.GaussianBlur(4))
drawn = make_faces(40, size=side, random_state=3)
faces = {name: drawn.images[drawn.target_names[drawn.target] == name] for name in drawn.target_names}
left, right = ("happy", "surprise", "happy", "neutral"), ("sad", "sad", "fear", "angry")  # two seconds each

folder = Path(tempfile.mkdtemp())
writer = cv2.VideoWriter(str(folder / "talk.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
for index in range(seconds * fps):
    part, angle = index // (2 * fps), index / fps
    frame = Image.new("RGB", size, "#9db4c8")
    for emotion, x, color in ((left[part], 100 + 30 * np.cos(angle), "#5d6d64"), (right[part], 390, "#6d4663")):
        ImageDraw.Draw(frame).rounded_rectangle([x - 30, 200, x + side + 30, 400], radius=40, fill=color)
        frame.paste(Image.fromarray(faces[emotion][0]), (round(x), 70), oval)
    writer.write(np.asarray(frame)[:, :, ::-1])
writer.release()

# %%
# `analyze` follows each face in a track and averages its probabilities over the last half second. Read long videos with
# `analyze_video`: it yields the same table in parts, and memory does not grow.
table = analyze(folder / "talk.mp4")
n_rows = sum(len(part) for part in analyze_video(folder / "talk.mp4", every="0.5s"))
print(f"{len(table)} faces in {table['frame'].nunique()} frames; {n_rows} faces with two frames per second")

# %%
# The timeline shows the probabilities of each track. The average follows a change of expression within a second.
display = TimelineDisplay(table).plot()

# %%
# The annotated copy of the video shows the boxes and emotions. The command is
# ``ferkit video talk.mp4 --out table.csv --annotated annotated.mp4 --timeline timeline.png``.
annotate_video(folder / "talk.mp4", table, folder / "annotated.mp4")
capture = cv2.VideoCapture(str(folder / "annotated.mp4"))
figure, axes = plt.subplots(1, 3, figsize=(12, 2.4), layout="constrained")
for ax, second in zip(axes, (1.5, 3.5, 7.5), strict=True):
    capture.set(cv2.CAP_PROP_POS_FRAMES, second * fps)
    ax.imshow(capture.read()[1][:, :, ::-1])
    ax.set_title(f"{second} s", fontsize=9)
    ax.axis("off")
