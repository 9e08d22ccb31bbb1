"""
Fine-tune the shipped model on your own labels
==============================================

After this example you can train a model for labels of your own with a few hundred faces, starting from the model that
ships with ferkit.
"""

import matplotlib.pyplot as plt
import numpy as np

from ferkit import FERClassifier
from ferkit.datasets import sample_faces
from ferkit.display import PredictionsDisplay

# %%
# The new labels tell whether a face looks pleased, upset or neither. 200 faces have such labels.
groups = {"happy": "pleased", "surprise": "pleased", "neutral": "neither"}
faces, test = sample_faces(200, random_state=0), sample_faces(600, usage="PublicTest", random_state=0)
y, y_test = (np.array([groups.get(name, "upset") for name in part.target_names[part.target]]) for part in (faces, test))

# %%
# ``weights="fer2013-small"`` starts from the shipped model. The layer for other classes is replaced by a new one, which
# is trained first (``frozen_epochs``); the other layers then train at a lower rate.
settings = {"max_epochs": 20, "random_state": 0}
models = {
    "from scratch": FERClassifier(**settings),
    "only the last layer": FERClassifier(weights="fer2013-small", frozen_epochs="all", **settings),
    "all layers": FERClassifier(weights="fer2013-small", frozen_epochs=10, **settings),
}
accuracy = {name: model.fit(faces.data, y).score(test.data, y_test) for name, model in models.items()}

# %%
# Drawn faces differ from the photographs that the model has learned from. Nevertheless, its layers are a better start
# than random ones.
most_common = max((y_test == label).mean() for label in set(y_test))
figure, ax = plt.subplots(figsize=(6, 2.5), layout="constrained")
bars = ax.barh([*accuracy], [*accuracy.values()], color="#0072B2")
ax.bar_label(bars, fmt="{:.1%}", padding=3)
ax.axvline(most_common, color="0.5", linestyle="--")
ax.text(most_common, -0.5, "always the most common label", ha="center", va="bottom", color="0.4")
ax.set(xlabel=f"accuracy on {len(y_test)} held-out faces", xlim=(0, 1))
ax.invert_yaxis()

# %%
# The best model on held-out faces.
PredictionsDisplay.from_estimator(max(models.values(), key=lambda m: m.score(test.data, y_test)), test.data, y_test)
plt.show()
