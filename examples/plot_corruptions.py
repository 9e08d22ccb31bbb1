"""
Measure robustness to blur, noise and light
===========================================

After this example you can measure how much accuracy a model loses on degraded faces, and which augmentation helps. A
network that has only seen clean faces often fails on noisy ones.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ferkit import FERClassifier, ImageAugmenter
from ferkit.datasets import corrupt, sample_faces
from ferkit.display import FacesDisplay, HeatmapDisplay
from ferkit.report import evaluate_corruptions

train = sample_faces(1000, random_state=0)
test = sample_faces(300, usage="PublicTest", random_state=0)
y, y_test = train.target_names[train.target], test.target_names[test.target]

# %%
# ``corrupt`` degrades images in five ways and five severities. The rows show severities 1 to 5 from left to right.
kinds = ["blur", "jpeg", "light", "occlusion", "noise"]
face = test.data[:1]
shown = [[corrupt(face, kind, severity, random_state=1) for severity in range(1, 6)] for kind in kinds]
FacesDisplay([np.reshape(images, (5, 48, 48)) for images in shown], kinds).plot()

# %%
# Train one network without noise and blur, and one with both as augmentation.
few = {"max_epochs": 10, "batch_size": 64, "random_state": 0}
plain = FERClassifier("cnn_small", augment=ImageAugmenter(), **few).fit(train.data, y)
noisy = FERClassifier("cnn_small", augment=ImageAugmenter(blur=1.5, noise=1), **few).fit(train.data, y)

# %%
# Score both on the same degraded faces. ``relative_loss`` is the share of the accuracy that is lost.
scores = {
    name: evaluate_corruptions(model, test.data, y_test, severities=[1, 3])
    for name, model in {"plain": plain, "blur and noise": noisy}.items()
}
loss = {name: each[1:].groupby("corruption", sort=False).relative_loss.mean() for name, each in scores.items()}
print(pd.DataFrame(loss).map("{:.0%}".format))

# %%
# The heat map shows the accuracies of the second network.
HeatmapDisplay(scores["blur and noise"], rows="corruption", columns="severity").plot()
plt.show()
