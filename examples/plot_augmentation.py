"""
Augmentation
============

What ``ImageAugmenter`` does to a face, and what that does to a training.
"""

import matplotlib.pyplot as plt
import torch

from ferkit import FERClassifier, ImageAugmenter
from ferkit.datasets import make_faces

faces = make_faces(800, random_state=0)
face = torch.from_numpy(faces.images[3]).float()[None, None]

# %%
# One change at a time, drawn six times, and all of them together.
none = {"horizontal_flip": 0, "rotation": 0, "translation": 0, "scale": 0, "contrast": 0}
changes = {"rotation": 20, "translation": 0.2, "scale": 0.3, "shear": 20, "contrast": 0.6, "erasing": 1.0}
rows = {name: ImageAugmenter(**{**none, name: amount}) for name, amount in changes.items()}
rows["all together"] = ImageAugmenter(**{**none, **changes, "horizontal_flip": 0.5})
figure, axes = plt.subplots(len(rows), 7, figsize=(8, 8), layout="constrained")
for axes_of_row, (name, augmenter) in zip(axes, rows.items(), strict=True):
    drawn = augmenter(face.repeat(6, 1, 1, 1), generator=torch.Generator().manual_seed(1))
    for ax, image in zip(axes_of_row, [face[0], *drawn], strict=True):
        ax.imshow(image[0], cmap="gray", vmin=0, vmax=255)
        ax.set(xticks=[], yticks=[])
    axes_of_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
axes[0, 0].set_title("as it is")

# %%
# With few faces a network soon knows them by heart. Augmentation keeps it from that: the training accuracy falls, that
# on unseen faces rises.
test = make_faces(700, random_state=1)
for name, augment in {"without": None, "with": ImageAugmenter(rotation=5, translation=0.05)}.items():
    model = FERClassifier("cnn_small", augment=augment, max_epochs=20, batch_size=64, random_state=0)
    model.fit(faces.data, faces.target)
    print(f"{name:8} {model.score(faces.data, faces.target):.0%} of the training faces", end=", ")
    print(f"{model.score(test.data, test.target):.0%} of unseen ones")
plt.show()
