"""
Use transfer learning
=====================

After this example you can start a training from the weights of another network. First a network learns seven
expressions on many faces, and its weights are saved. Then they are used for a different task with only 140 training
faces.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.model_selection import train_test_split

from ferkit import FERClassifier
from ferkit.datasets import sample_faces

# %%
# Train the first network. ``network_.backbone`` is an ordinary PyTorch module.
faces = sample_faces(3140, random_state=0)
emotions = faces.target_names[faces.target]
X, X_few, y, y_few = train_test_split(faces.data, emotions, test_size=140, stratify=emotions, random_state=0)
expert = FERClassifier("cnn_small", max_epochs=10, random_state=0).fit(X, y)
weights = Path(tempfile.mkdtemp(), "faces.pth")
torch.save(expert.network_.backbone.state_dict(), weights)

# %%
# The new task is to tell whether a face looks pleased. The head for its two classes is initialized at random; all other
# layers start from the file. For networks of torchvision and timm, ``weights="imagenet"`` uses the published weights in
# the same way.
test = sample_faces(1000, usage="PublicTest", random_state=0)
is_pleased = np.isin(y_few, ["happy", "surprise"])
is_pleased_test = np.isin(test.target_names[test.target], ["happy", "surprise"])
ways = {
    "from scratch": {},
    "head only": {"weights": weights, "frozen_epochs": "all", "lr": 1e-2},
    "head, then all": {"weights": weights, "frozen_epochs": 10, "backbone_lr_scale": 0.1},
    "all, lower layers slower": {"weights": weights, "layer_decay": 0.7},
}
scores, seconds = {}, {}
for name, params in ways.items():
    model = FERClassifier("cnn_small", max_epochs=20, batch_size=32, random_state=0, **params)
    model.fit(X_few, is_pleased)
    scores[name] = model.score(test.data, is_pleased_test)
    seconds[name] = sum(row["seconds"] for row in model.history_)
    print(f"{name:25} {scores[name]:.1%} after {seconds[name]:.1f} s")

# %%
# An epoch that only trains the head costs almost nothing, because the features of the frozen layers are computed once
# per face.
figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
bars = ax.barh([*scores], [*scores.values()], color=["#BBBBBB"] + ["#0072B2"] * 3)
ax.bar_label(bars, [f"{time:.1f} s" for time in seconds.values()], padding=4)
ax.axvline(1 - is_pleased_test.mean(), color="#D55E00", linestyle="--", label="always the more frequent answer")
ax.invert_yaxis()
ax.set(xlabel=f"accuracy on {len(test.data):,} unseen faces, and training time", xlim=(0, 1.08))
figure.legend(loc="outside upper center", frameon=False)
plt.show()
