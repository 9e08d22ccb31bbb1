"""
Mistakes, and where a network looks
===================================

The most confident mistakes say more than the accuracy. Grad-CAM shows what in a face spoke for what was predicted; it
needs ``pip install "ferkit[explain]"``.
"""

import matplotlib.pyplot as plt
import numpy as np

from ferkit import FERClassifier
from ferkit.datasets import make_faces
from ferkit.display import ConfusionDisplay, GradCAMDisplay, PredictionsDisplay

faces = make_faces(2000, random_state=0)
names = faces.target_names[faces.target]
train, test = faces.usage == "Training", faces.usage != "Training"
model = FERClassifier("cnn_small", augment=None, max_epochs=8, batch_size=128, random_state=0)
model.fit(faces.data[train], names[train])

# %%
confusion = ConfusionDisplay.from_estimator(
    model, faces.data[test], names[test], labels=faces.target_names, normalize="true"
)
print(confusion.most_confused(3))

# %%
PredictionsDisplay.from_estimator(model, faces.data[test], names[test], n_images=16, order="mistakes")

# %%
# The mouth and the brows, mostly. Where it is elsewhere, the network may have learnt something that is true of these
# faces alone.
wrong = np.flatnonzero(model.predict(faces.data[test]) != names[test])[:8]
GradCAMDisplay.from_estimator(model, faces.data[test][wrong], names[test][wrong])
plt.show()
