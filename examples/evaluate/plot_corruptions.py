"""
Measure robustness to blur, noise and light
===========================================

After this example you can measure how much accuracy a model loses on degraded faces.
"""

import matplotlib.pyplot as plt
import numpy as np

from ferkit import load_model
from ferkit.datasets import corrupt, sample_faces
from ferkit.display import FacesDisplay, HeatmapDisplay
from ferkit.report import evaluate_corruptions

faces = sample_faces(500, usage="PublicTest", random_state=0)
y = faces.target_names[faces.target]

# %%
# ``corrupt`` degrades images in five ways and five severities. The rows show severities 1 to 5 from left to right.
kinds = ["blur", "jpeg", "light", "occlusion", "noise"]
face = faces.data[:1]
shown = [[corrupt(face, kind, severity, random_state=1) for severity in range(1, 6)] for kind in kinds]
FacesDisplay([np.reshape(images, (5, 48, 48)) for images in shown], kinds).plot()

# %%
# Score a model on the same faces, degraded more and more. ``relative_loss`` is the share of the accuracy that is lost.
scores = evaluate_corruptions(load_model(), faces.data, y, severities=[1, 3, 5])
scores[1:].groupby("corruption", sort=False).relative_loss.mean().map("{:.0%}".format)

# %%
# Of the five, noise harms the model that ships with ferkit most. For a network of your own, try to train with
# ``ImageAugmenter(blur=1.5, noise=1)``.
HeatmapDisplay(scores, rows="corruption", columns="severity").plot()
plt.show()
