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
from ferkit.display import FacesDisplay

# %%
# In this data set each face occurs up to four times: brighter, darker or flipped.
faces = sample_faces(350, random_state=1)
rng = np.random.default_rng(0)
copies = np.repeat(np.arange(350), rng.integers(1, 5, 350))
X = np.clip(faces.data[copies] * rng.uniform(0.7, 1.1, (len(copies), 1)) + rng.uniform(0, 30, (len(copies), 1)), 0, 255)
X = X.astype(np.uint8)
X[1::3] = X[1::3].reshape(-1, 48, 48)[:, :, ::-1].reshape(-1, 48 * 48)
y = faces.target_names[faces.target[copies]]
found = find_duplicates(X, y)
print(found)

# %%
# Each row of the figure shows the copies of one photograph: the pixels differ, the face does not.
groups = np.bincount(found.group).argsort()[::-1][:4]
copies_of = [X[found.group == group][:4].reshape(-1, 48, 48) for group in groups]
FacesDisplay(copies_of, [f"group {group}" for group in groups]).plot()

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
