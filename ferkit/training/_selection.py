"""The epoch whose weights are kept, and the score that chooses it."""

from functools import partial
from math import inf

import numpy as np
import torch
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from skorch.utils import noop

_THRESHOLD = 1e-6  # what rounding can do to an accuracy


class KeepEpoch(Callback):
    """Keep the weights of the last complete epoch, to which a training that is stopped returns."""

    def on_epoch_end(self, net, **kwargs):
        net.check_weights()
        net.keep_epoch()


class KeepBest(EarlyStopping):
    """skorch's EarlyStopping that also restores the best weights if Ctrl-C cut the epoch after the best one short."""

    def on_train_end(self, net, **kwargs):
        if self.best_model_weights_ is not None:
            net.module_.load_state_dict(self.best_model_weights_)
            net.best_epoch_ = self.best_epoch_


def keep_best(scoring, patience):
    """Build the callback that restores the weights of the best epoch.

    It stops the training after ``patience`` epochs without a better one; with a ``patience`` of 0 it never does.
    """
    return KeepBest(
        {"accuracy": "valid_accuracy", "loss": "valid_loss"}.get(str(scoring), "valid_score"),
        patience=patience or inf,
        lower_is_better=scoring == "loss",
        threshold=_THRESHOLD,
        threshold_mode="abs",  # a fraction of a negative score would let worse ones count as better
        load_best=True,
        sink=noop,
    )


def record_score(score):
    """Build the callback that records ``valid_score``, the score of the validation predictions."""
    return EpochScoring(partial(_score, score), lower_is_better=False, name="valid_score")


def _score(score, net, images, y):
    value = float(score(net.predict_proba(images)))  # skorch has kept the predictions of this epoch
    if not np.isfinite(value):
        raise ValueError(f"Expected a finite score of the validation images, got {value}: choose another `scoring`.")
    if net.processes:  # they must agree on the best epoch
        value = net.processes.average(torch.tensor(value, device=net.device)).item()
    return value
