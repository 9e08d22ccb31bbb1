"""
Find duplicates and split fairly
================================

After this example you can find duplicate faces and keep them on one side of a split. Image searches return the same
photograph more than once: one in six PublicTest faces of FER2013 is also in Training, exactly or nearly
(``ferkit audit fer2013.csv``). A network memorizes the Training faces, so its score is too high.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold, KFold, cross_val_score

from ferkit import FERClassifier
from ferkit.datasets import find_duplicates, sample_faces

# %%
# In this data set each face occurs up to four times, a little brighter or darker.
faces = sample_faces(350, random_state=1)
rng = np.random.default_rng(0)
copies = np.repeat(np.arange(350), rng.integers(1, 5, 350))
X = np.clip(faces.data[copies] * rng.uniform(0.85, 1.1, (len(copies), 1)), 0, 255).astype(np.uint8)
y = faces.target_names[faces.target[copies]]
found = find_duplicates(X, y)
print(found)

# %%
# These rows are copies of one photograph.
group = np.bincount(found.group).argmax()
rows = np.flatnonzero(found.group == group)[:4]
figure, axes = plt.subplots(1, len(rows), figsize=(2 * len(rows), 2.2), layout="constrained", squeeze=False)
for ax, row in zip(axes.flat, rows, strict=True):
    ax.imshow(X[row].reshape(48, 48), cmap="gray", vmin=0, vmax=255)
    ax.set_title(f"row {row}", fontsize=9)
    ax.axis("off")

# %%
# With ``group``, all copies of a photograph are on one side of the split. The plain split gives a higher score, because
# the network has seen copies of its test faces.
model = FERClassifier("cnn_small", augment=None, max_epochs=12, batch_size=64, random_state=0)
plain = cross_val_score(model, X, y, cv=KFold(3, shuffle=True, random_state=0))
honest = cross_val_score(model, X, y, cv=GroupKFold(3), groups=found.group)
figure, ax = plt.subplots(figsize=(6, 2), layout="constrained")
bars = ax.barh(["plain split", "copies kept together"], [plain.mean(), honest.mean()], color=["#BBBBBB", "#0072B2"])
ax.bar_label(bars, fmt="{:.0%}", padding=4)
ax.invert_yaxis()
ax.set(xlabel="accuracy, three-fold", xlim=(0, 1.1))
plt.show()
