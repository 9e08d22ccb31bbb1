"""
Soft labels
===========

Ten people who look at a face do not agree. ``fit`` takes the share of votes for each emotion, as FER+ has them for
FER2013: ``load_ferplus("fer2013new.csv", fer2013="fer2013.csv", target="distribution")``. Here ten voters are simulated
who take related expressions for one another.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ferkit import FERClassifier
from ferkit.datasets import sample_faces

faces = sample_faces(1200, random_state=0)
test = sample_faces(700, usage="PublicTest", random_state=0)
names = faces.target_names

# %%
# Angry and disgust, fear and surprise, sad and neutral are mixed up by a third of the voters.
taken_for = np.eye(7)
for a, b in (("angry", "disgust"), ("fear", "surprise"), ("sad", "neutral")):
    a, b = np.flatnonzero(names == a)[0], np.flatnonzero(names == b)[0]
    taken_for[[a, b], [a, b]], taken_for[[a, b], [b, a]] = 2 / 3, 1 / 3
rng = np.random.default_rng(0)
votes = np.array([rng.multinomial(10, taken_for[code]) for code in faces.target])
print(pd.DataFrame(votes[:4], columns=names))

# %%
# A frame's columns become the classes.
shared = {"augment": None, "max_epochs": 12, "batch_size": 64, "label_smoothing": 0, "random_state": 0}
soft = FERClassifier("cnn_small", **shared).fit(faces.data, pd.DataFrame(votes / 10, columns=names))
hard = FERClassifier("cnn_small", **shared).fit(faces.data, names[votes.argmax(axis=1)])

# %%
# What the networks say of unseen angry faces, and what the voters would.
angry = test.data[test.target == 0]
figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
shares = {
    "voters": taken_for[0],
    "trained on shares of votes": soft.predict_proba(angry).mean(axis=0),  # in the order of the columns
    "trained on majorities": hard.predict_proba(angry).mean(axis=0)[np.searchsorted(hard.classes_, names)],
}
for number, (name, share) in enumerate(shares.items()):
    ax.bar(np.arange(7) + 0.27 * (number - 1), share, 0.27, color=["#BBBBBB", "#0072B2", "#E69F00"][number], label=name)
ax.set_xticks(range(7), names)
ax.set(ylabel="mean share for angry faces", ylim=(0, 1))
ax.legend(frameon=False)
plt.show()
