"""
See what a network looks at
===========================

After this example you can draw which regions of a face support a prediction, by three methods, for single faces and on
average over many. It needs ``pip install "ferkit[explain]"``.
"""

import matplotlib.pyplot as plt

from ferkit import FERClassifier
from ferkit.datasets import make_faces
from ferkit.display import ExplanationDisplay

faces = make_faces(1500, random_state=0)
y = faces.target_names[faces.target]
model = FERClassifier("cnn_small", augment=None, max_epochs=12, batch_size=32, random_state=0)
model.fit(faces.data[:1200], y[:1200])
X_test, y_test = faces.data[1200:], y[1200:]

# %%
# Grad-CAM weights the last feature maps of the network. It is quick and coarse.
ExplanationDisplay.from_estimator(model, X_test[:5], y_test[:5])

# %%
# Occlusion covers one region after the other with gray, and shows where the prediction suffers most.
ExplanationDisplay.from_estimator(model, X_test[:5], y_test[:5], method="occlusion")

# %%
# Integrated gradients give every pixel its share of the prediction.
ExplanationDisplay.from_estimator(model, X_test[:5], y_test[:5], method="integrated_gradients")

# %%
# What does the network look at in happy faces, and what in surprised ones? The faces are in the same place in all
# images, so a mean over many of them can tell. It contains only the faces that the network recognized.
ExplanationDisplay.from_estimator(model, X_test, y_test, method="occlusion", average=True)

# %%
# Heat on hair or background would be a warning: the network may have learned something that is only true for these
# pictures. Check it by the accuracy on faces from another source.
plt.show()
