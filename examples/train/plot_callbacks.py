"""
Stop early and use callbacks
============================

After this example you can stop a training early and write a skorch callback. ``validation_fraction`` holds out a share
of the faces. ``early_stopping`` stops when the accuracy on them no longer improves. Any skorch callback can react to
every batch and epoch.
"""

import matplotlib.pyplot as plt
from skorch.callbacks import Callback

from ferkit import FERClassifier
from ferkit.datasets import sample_faces
from ferkit.display import HistoryDisplay

faces = sample_faces(1000, random_state=0)


# %%
# This callback records how far the weights of the head move in each epoch.
class Movement(Callback):
    def on_train_begin(self, net, **kwargs):
        self.before = None

    def on_epoch_end(self, net, **kwargs):
        now = net.module_.backbone.head.weight.detach().clone()
        if self.before is not None:
            net.history.record("movement", float((now - self.before).norm()))
        self.before = now


# %%
model = FERClassifier(
    "cnn_small",
    augment=None,
    lr_schedule=None,
    lr=3e-3,
    max_epochs=60,
    batch_size=64,
    validation_fraction=0.25,
    early_stopping=8,
    callbacks=[Movement()],
    random_state=0,
).fit(faces.data, faces.target_names[faces.target])
print(f"stopped after {len(model.history_)} of 60 epochs")
print("movement of the head:", [round(row["movement"], 2) for row in model.history_[1:]][:5], "…")

# %%
# The figure includes what callbacks record. The stars mark the best epochs on the faces that were held out.
HistoryDisplay.from_estimator(model)
plt.show()
