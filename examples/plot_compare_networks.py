"""
Comparing networks
==================

Which network suits the data? ``ferkit compare fer2013.csv --backbones cnn,resnet18,googlenet`` trains several alike and
draws this figure; here is what it does.
"""

import matplotlib.pyplot as plt

from ferkit import FERClassifier, evaluate
from ferkit.backbones import summarize
from ferkit.datasets import sample_faces
from ferkit.display import ComparisonDisplay

train = sample_faces(2400, random_state=0)
test = sample_faces(400, usage="PublicTest", random_state=0)

# %%
# Each is one string. The larger ones want more faces and more time than they get here.
runs = []
for backbone in ("cnn_small", "cnn", "resnet18"):
    model = FERClassifier(backbone, max_epochs=5, batch_size=64, augment=None, random_state=0)
    model.fit(train.data, train.target)
    report = evaluate(model, test.data, test.target)
    cost = summarize(model.network_.backbone, (1, 48, 48))
    runs.append(
        {
            "name": backbone,
            "accuracy": report.accuracy,
            "interval": report.interval,
            "training_accuracy": model.score(train.data, train.target),
            "parameters": cost.parameters,
            "flops": cost.flops,
            "seconds": sum(row["seconds"] for row in model.history_),
        }
    )

# %%
ComparisonDisplay(runs, tested_on="Unseen faces").plot()
plt.show()
