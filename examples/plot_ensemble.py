"""
Combine networks in an ensemble
===============================

After this example you can combine several networks with the ensembles of scikit-learn. Networks make different
mistakes, so several of them together are often better than each one. ``VotingClassifier`` averages their probabilities,
and ``StackingClassifier`` learns how much weight to give to each network.
"""

import matplotlib.pyplot as plt
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression

from ferkit import FERClassifier, evaluate
from ferkit.datasets import sample_faces

train = sample_faces(1600, random_state=0)
test = sample_faces(400, usage="PublicTest", random_state=0)
y, y_test = train.target_names[train.target], test.target_names[test.target]

# %%
# The members differ in network, input size or random seed.
shared = {"augment": None, "max_epochs": 6, "batch_size": 128}
members = [
    ("small", FERClassifier("cnn_small", random_state=0, **shared)),
    ("enlarged", FERClassifier("cnn_small", input_size=64, random_state=1, **shared)),
    ("larger", FERClassifier("cnn", random_state=2, **shared)),
]

# %%
# ``voting="soft"`` averages probabilities. Stacking trains a linear model on the predictions of the members. These come
# from three-fold cross-validation, so no member has seen the faces that it predicts.
models = {
    **dict(members),
    "voting": VotingClassifier(members, voting="soft"),
    "stacking": StackingClassifier(members, LogisticRegression(max_iter=1000), cv=3, stack_method="predict_proba"),
}
reports = {name: evaluate(model.fit(train.data, y), test.data, y_test) for name, model in models.items()}
for name, report in reports.items():
    print(f"{name:10} {report.accuracy:.1%}")

# %%
# The bars show the accuracy of each member and of both ensembles.
accuracy = [report.accuracy for report in reports.values()]
low, high = zip(*(report.interval for report in reports.values()), strict=True)
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.barh(
    [*reports],
    accuracy,
    xerr=[[a - b for a, b in zip(accuracy, low, strict=True)], [b - a for a, b in zip(accuracy, high, strict=True)]],
    color=["#8ABFE5"] * 3 + ["#0072B2"] * 2,
    capsize=3,
)
ax.invert_yaxis()
ax.set(xlabel="accuracy on unseen faces, with its 95 % interval", xlim=(0, 1))
plt.show()
