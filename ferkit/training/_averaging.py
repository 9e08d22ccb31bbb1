"""Moving average of the weights."""

import itertools
import operator
from copy import deepcopy

import torch


class Averaging:
    """The network being trained and the exponential moving average of its weights and buffers.

    The memory of the average grows from nothing up to ``decay``; otherwise short trainings would keep their random
    start. ``part`` returns the part of a network that is trained.
    """

    def __init__(self, trained, decay, part):
        self.trained, self.average, self.decay, self.steps = trained, deepcopy(trained), decay, 0
        pairs = list(zip(_tensors(part(self.average)), _tensors(part(trained)), strict=True))
        has_mean = [tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor, _ in pairs]
        self.blended = list(zip(*itertools.compress(pairs, has_mean), strict=True))
        # integers such as batch norm's counts, and masks of infinities, have no mean
        self.copied = list(zip(*itertools.compress(pairs, map(operator.not_, has_mean)), strict=True))

    @torch.no_grad()
    def update(self):
        self.steps += 1
        average, trained = self.blended
        torch._foreach_lerp_(average, trained, 1 - min(self.decay, self.steps / (9 + self.steps)))
        if self.copied:
            average, trained = self.copied
            torch._foreach_copy_(average, trained)

    def finish(self):
        """Return the network that the optimizer knows, with the averaged weights."""
        self.trained.load_state_dict(self.average.state_dict())
        return self.trained


def _tensors(module):
    return [*module.parameters(), *module.buffers()]
