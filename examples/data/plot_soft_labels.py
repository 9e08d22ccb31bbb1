"""
Train on soft labels
====================

After this example you can train on the share of votes for each emotion instead of one label per face. Ten people who
look at the same face often disagree. FER+ provides the votes for FER2013:
``load_ferplus("fer2013new.csv", fer2013="fer2013.csv", target="distribution")``. This example simulates ten voters who
confuse related expressions.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ferkit import FERClassifier
from ferkit.datasets import sample_faces

faces = sample_faces(2400, random_state=0)
test = sample_faces(1000, usage="PublicTest", random_state=0)
names = faces.target_names

# %%
# One third of the voters confuse angry with disgust, fear with surprise, and sad with neutral.
taken_for = np.eye(7)
for a, b in (("angry", "disgust"), ("fear", "surprise"), ("sad", "neutral")):
    a, b = np.flatnonzero(names == a)[0], np.flatnonzero(names == b)[0]
    taken_for[[a, b], [a, b]], taken_for[[a, b], [b, a]] = 2 / 3, 1 / 3
rng = np.random.default_rng(0)
votes = np.array([rng.multinomial(10, taken_for[code]) for code in faces.target])
print(pd.DataFrame(votes[:4], columns=names))

# %%
# The columns of the data frame become the classes.
shared = {"augment": None, "max_epochs": 8, "batch_size": 64, "label_smoothing": 0, "random_state": 0}
soft = FERClassifier("cnn_small", **shared).fit(faces.data, pd.DataFrame(votes / 10, columns=names))
hard = FERClassifier("cnn_small", **shared).fit(faces.data, names[votes.argmax(axis=1)])

# %%
# On unseen faces, the network that was trained on shares is closer to the votes. The network that was trained on
# majorities is overconfident.
shares = {
    "trained on shares of votes": soft.predict_proba(test.data),  # in the order of the columns
    "trained on majorities": hard.predict_proba(test.data)[:, np.searchsorted(hard.classes_, names)],
}
for name, share in shares.items():
    print(f"{name:27} {np.abs(share - taken_for[test.target]).sum(axis=1).mean() / 2:.0%} of the votes misplaced")

# %%
# The histogram shows the confidence of both networks on the faces that one third of the voters confuse.
mixed = test.target != np.flatnonzero(names == "happy")
figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
for color, (name, share) in zip(["#0072B2", "#E69F00"], shares.items(), strict=True):
    ax.hist(share[mixed].max(axis=1), np.linspace(0, 1, 26), color=color, alpha=0.7, label=name)
ax.axvline(2 / 3, color="black", linestyle="--", label="the voters")
ax.set(xlabel="largest share of an emotion", ylabel="unseen faces", xlim=(0, 1))
ax.legend(frameon=False, loc="upper left")
plt.show()
