"""
Mistakes, and where a network looks
===================================

The most confident mistakes say more than the accuracy. Grad-CAM shows what in a face spoke for what was predicted; it
needs ``pip install "ferkit[explain]"``.
"""

import matplotlib.pyplot as plt
import numpy as np

from ferkit import FERClassifier
from ferkit.datasets import sample_faces
from ferkit.display import ConfusionDisplay, GradCAMDisplay, PredictionsDisplay

train = sample_faces(1600, random_state=0)
test = sample_faces(400, usage="PublicTest", random_state=0)
y, y_test = train.target_names[train.target], test.target_names[test.target]
model = FERClassifier("cnn_small", input_size=96, augment=None, max_epochs=8, batch_size=64, random_state=0)
model.fit(train.data, y)

# %%
confusion = ConfusionDisplay.from_estimator(model, test.data, y_test, labels=train.target_names, normalize="true")
for true, predicted, share in confusion.most_confused(3):
    print(f"{share:.0%} of {true} taken for {predicted}")

# %%
PredictionsDisplay.from_estimator(model, test.data, y_test, n_images=16, order="mistakes")

# %%
# Bright is what spoke for the answer. Where that is no part of a face, the network may have learnt something that is
# true of these pictures alone. Enlarged faces leave the last layer maps of 6×6, unenlarged ones 3×3.
wrong = np.flatnonzero(model.predict(test.data) != y_test)[:8]
GradCAMDisplay.from_estimator(model, test.data[wrong], y_test[wrong])
plt.show()
