"""
Compare networks
================

After this example you can train several networks with the same settings and several seeds, test which one is better,
and draw their accuracy and cost. ``ferkit compare fer2013.csv --backbones cnn_small,cnn --seeds 3`` does the same on
the command line.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

from ferkit import FERClassifier
from ferkit.datasets import sample_faces
from ferkit.display import ComparisonDisplay
from ferkit.runs import compare_pairs, compare_runs, train_run

faces = sample_faces(1600, random_state=0)
test = sample_faces(400, usage="PublicTest", random_state=0)
for field in ("data", "images", "target", "usage"):
    faces[field] = np.concatenate([faces[field], test[field]])

# %%
# Each network is one string. ``train_run`` writes the model, its scores and figures to a directory. ``compare_runs``
# gives the mean over the seeds with an interval that covers both the test images and the seeds. ``compare_pairs`` tests
# each pair of networks on the same images.
runs = {}
with TemporaryDirectory() as directory:
    for backbone in ("cnn_small", "cnn"):
        runs[backbone] = [
            train_run(
                FERClassifier(backbone, max_epochs=5, batch_size=64, augment=None, random_state=seed),
                faces,
                Path(directory, f"{backbone}-seed{seed}"),
            )
            for seed in range(3)
        ]
    table, pairs = compare_runs(runs), compare_pairs(runs)
table[["name", "parameters", "training_accuracy", "accuracy", "accuracy_low", "accuracy_high", "sd"]]

# %%
# ``p_holm`` is the probability of such a difference between equally good networks, corrected for the number of pairs.
# McNemar's test looks at one seed at a time.
pairs.drop(columns="p_value")

# %%
# Each line is the interval of a mean, and the points below it are the single trainings.
ComparisonDisplay(table).plot()
plt.show()
