"""
Improve the recall of rare expressions
======================================

After this example you can compare class weights and resamplers on imbalanced data. In FER2013, happy is sixteen times
as frequent as disgust. Class weights and resamplers raise the recall of rare expressions and lower the accuracy on
frequent ones.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.metrics import recall_score

from ferkit import FERClassifier, Pipeline
from ferkit.datasets import sample_faces

train = sample_faces(1500, proportions="fer2013", random_state=0)
test = sample_faces(700, usage="PublicTest", random_state=0)
y, y_test = train.target_names[train.target], test.target_names[test.target]
counts = pd.Series(y).value_counts(ascending=True)
print(counts.to_dict())

# %%
# Resamplers make the training set larger. Fewer epochs keep the number of training steps about the same.


def network(max_epochs=9, **params):
    return FERClassifier("cnn_small", augment=None, max_epochs=max_epochs, batch_size=64, random_state=0, **params)


ways = {
    "baseline": network(),
    "class weights": network(class_weight="balanced"),
    "over-sampling": Pipeline([("balance", RandomOverSampler(random_state=0)), ("classify", network(max_epochs=5))]),
    "SMOTE": Pipeline([("balance", SMOTE(k_neighbors=3, random_state=0)), ("classify", network(max_epochs=5))]),
}
recalls = {
    name: recall_score(y_test, model.fit(train.data, y).predict(test.data), labels=counts.index, average=None)
    for name, model in ways.items()
}

# %%
# The figure shows the recall of each emotion, from the rarest to the most frequent one.
figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
for number, (name, recall) in enumerate(recalls.items()):
    color = ["#BBBBBB", "#0072B2", "#E69F00", "#009E73"][number]
    ax.bar(np.arange(7) + 0.2 * (number - 1.5), recall, 0.2, color=color, label=name)
ax.set_xticks(range(7), counts.index)
ax.set(ylabel="recall on unseen faces", ylim=(0, 1))
figure.legend(loc="outside upper center", ncols=4, frameon=False)
plt.show()
