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
from ferkit.report import compare_reports

train = sample_faces(1600, random_state=0)
test = sample_faces(1500, usage="PublicTest", random_state=0)
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
# All models predict the same faces. The figure therefore shows the difference to the best member, with the interval of
# the paired comparison: where it does not touch 0, the difference is more than sampling noise.
best = max(dict(members), key=lambda name: reports[name].accuracy)
comparisons = {name: compare_reports(reports[best], reports[name]) for name in reports if name != best}
figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
for name, comparison in comparisons.items():
    (low, high), color = comparison.interval, "#0072B2" if name in ("voting", "stacking") else "#8ABFE5"
    difference = comparison.difference
    ax.errorbar(difference, name, xerr=[[difference - low], [high - difference]], fmt="o", color=color, capsize=4)
ax.axvline(0, color="0.4", linestyle="--")
ax.invert_yaxis()
ax.margins(y=0.2)
ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f}")
ax.set(xlabel=f"accuracy on unseen faces, points above that of {best!r}, with 95 % interval")
plt.show()
