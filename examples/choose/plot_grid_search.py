"""
Search for good settings
========================

After this example you can search the parameters of a network and of its augmentation with scikit-learn. Parameters of
the augmentation are written with ``__``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV

from ferkit import FERClassifier, ImageAugmenter
from ferkit.datasets import sample_faces

faces = sample_faces(1200, random_state=0)

# %%
model = FERClassifier("cnn_small", augment=ImageAugmenter(), max_epochs=8, batch_size=32, random_state=0)
grid = {"lr": [1e-3, 3e-3, 1e-2], "augment__rotation": [0, 10, 30]}
search = GridSearchCV(model, grid, cv=2).fit(faces.data, faces.target_names[faces.target])
print(search.best_params_)

# %%
# The figure shows the accuracy of each pair of settings. The best setting for eight epochs on a few drawn faces may not
# be the best one for your data.
scores = np.empty((3, 3))
for params, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    scores[grid["augment__rotation"].index(params["augment__rotation"]), grid["lr"].index(params["lr"])] = score
figure, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
image = ax.imshow(scores, cmap="cividis")
for (row, column), score in np.ndenumerate(scores):
    dark = score < (scores.min() + scores.max()) / 2
    ax.text(column, row, f"{score:.0%}", ha="center", va="center", color="white" if dark else "black")
ax.set_xticks(range(3), grid["lr"])
ax.set_yticks(range(3), [f"{angle}°" for angle in grid["augment__rotation"]])
ax.set(xlabel="learning rate", ylabel="largest rotation", title="accuracy, 2-fold")
plt.show()
