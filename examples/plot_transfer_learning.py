"""
Transfer learning
=================

What a network learnt on many faces helps where there are few. Here it learns seven expressions on one set of faces;
its weights are saved, and serve for another question, with a hundred faces to learn from.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from ferkit import FERClassifier
from ferkit.datasets import sample_faces

# %%
# The network that knows faces. ``net_.module_.backbone`` is an ordinary PyTorch module.
many = sample_faces(3000, random_state=0)
expert = FERClassifier("cnn_small", max_epochs=10, random_state=0).fit(many.data, many.target)
weights = Path(tempfile.mkdtemp(), "faces.pth")
torch.save(expert.net_.module_.backbone.state_dict(), weights)

# %%
# The new question: does a face look pleased? Its head for two classes starts from nothing, all else from the file.
# With networks of torchvision and timm, ``weights="imagenet"`` takes the published weights in the same way.


def is_pleased(faces):
    return np.isin(faces.target_names[faces.target], ["happy", "surprise"])


few = sample_faces(140, random_state=1)
test = sample_faces(1000, usage="PublicTest", random_state=0)
ways = {
    "from scratch": {},
    "head alone": {"weights": weights, "freeze": "backbone", "lr": 1e-2},
    "head, then all": {"weights": weights, "freeze": "backbone", "unfreeze_at": 10, "backbone_lr_scale": 0.1},
    "all, lower layers slower": {"weights": weights, "layer_decay": 0.7},
}
scores, seconds = {}, {}
for name, params in ways.items():
    model = FERClassifier("cnn_small", max_epochs=20, batch_size=32, random_state=0, **params)
    model.fit(few.data, is_pleased(few))
    scores[name] = model.score(test.data, is_pleased(test))
    seconds[name] = sum(row["seconds"] for row in model.history_)
    print(f"{name:25} {scores[name]:.1%} after {seconds[name]:.1f} s")

# %%
# An epoch of the head alone costs next to nothing: what the frozen layers make of each face is computed once.
figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
bars = ax.barh([*scores], [*scores.values()], color=["#BBBBBB"] + ["#0072B2"] * 3)
ax.bar_label(bars, [f"{time:.1f} s" for time in seconds.values()], padding=4)
ax.axvline(1 - is_pleased(test).mean(), color="#D55E00", linestyle="--", label="always the more frequent answer")
ax.invert_yaxis()
ax.set(xlabel="accuracy on 1,000 unseen faces, and time of training", xlim=(0, 1.08))
figure.legend(loc="outside upper center", frameon=False)
plt.show()
