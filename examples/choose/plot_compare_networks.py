"""
Compare networks
================

After this example you can train several networks with the same settings and compare their accuracy and cost in a
figure. ``ferkit compare fer2013.csv --backbones cnn,resnet18,googlenet`` does the same on the command line.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

from ferkit import FERClassifier
from ferkit.datasets import sample_faces
from ferkit.display import ComparisonDisplay
from ferkit.runs import compare_runs, train_run

faces = sample_faces(2400, random_state=0)
test = sample_faces(400, usage="PublicTest", random_state=0)
for field in ("data", "images", "target", "usage"):
    faces[field] = np.concatenate([faces[field], test[field]])

# %%
# Each network is one string. The larger ones want more faces and more time than they get here. ``train_run`` writes the
# model, its scores and figures to a directory; ``compare_runs`` reads several such directories.
with TemporaryDirectory() as directory:
    for backbone in ("cnn_small", "cnn", "resnet18"):
        model = FERClassifier(backbone, max_epochs=5, batch_size=64, augment=None, random_state=0)
        train_run(model, faces, Path(directory, backbone))
    runs = compare_runs(Path(directory).iterdir())
runs[["name", "parameters", "training_accuracy", "accuracy", "accuracy_low", "accuracy_high"]]

# %%
ComparisonDisplay(runs).plot()
plt.show()
