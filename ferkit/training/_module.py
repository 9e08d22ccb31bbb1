"""The module that is trained: input preparation and backbone."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..backbones._registry import set_dropout
from ._transfer import find_frozen


class FERModule(nn.Module):
    """A backbone with its input preparation: cast to float32, standardize, resize.

    Resizing happens here, on the device and one batch at a time, because FER2013 at 224×224 would fill gigabytes. Gray
    images become RGB if ``mean`` and ``std`` have three channels. Rows of cached features are only passed to the part
    of the backbone that ``head`` names. ``frozen_layers`` never train. ``build_params`` are more arguments of the
    backbone, which skorch's callbacks can set.
    """

    head: Any = None
    trains_head_only = False

    def __init__(
        self,
        build: Callable[..., nn.Module],
        *,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        input_size: tuple[int, int] | None = None,
        dropout: float | None = None,
        frozen_layers: int | Sequence[str] | None = None,
        **build_params: Any,
    ) -> None:
        super().__init__()
        self.backbone = build(num_classes=num_classes, **build_params)
        if dropout is not None:
            set_dropout(self.backbone, dropout)
        frozen, self.frozen_modules = find_frozen(self.backbone, frozen_layers)
        for name in frozen:
            self.backbone.get_parameter(name).requires_grad_(False)
        self.input_size = input_size
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).view(-1, 1, 1))
        self.to(memory_format=torch.channels_last)

    @property
    def frozen_names(self):
        """Names of the parameters that are not trained."""
        return [name for name, part in self.named_parameters() if not part.requires_grad]

    def forward(self, images):
        if images.ndim == 2:
            head = self.get_head()
            first = next(layer for layer in head.modules() if isinstance(layer, (nn.Linear, nn.Conv2d)))
            return head(images[..., None, None]).flatten(1) if isinstance(first, nn.Conv2d) else head(images)
        images = (images.float() - self.mean) / self.std
        if self.input_size is not None and tuple(images.shape[2:]) != self.input_size:
            images = F.interpolate(images, self.input_size, mode="bilinear", antialias=True)
        return self.backbone(images.contiguous(memory_format=torch.channels_last))

    def get_head(self):
        return self.backbone.get_submodule(self.head)

    def train(self, mode=True):
        """Switch to training mode, except in frozen layers, where batch norm must keep its statistics."""
        super().train(mode)
        if mode and self.trains_head_only:
            self.backbone.eval()
            self.get_head().train()
        for name in self.frozen_modules:
            self.backbone.get_submodule(name).eval()
        return self

    @contextmanager
    def only_head(self):
        """Train only the head meanwhile, although whole images pass through the backbone."""
        head = set(self.get_head().parameters())
        others = [parameter for parameter in self.parameters() if parameter.requires_grad and parameter not in head]
        try:
            self.trains_head_only = True
            for parameter in others:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)
            self.trains_head_only = False


def with_layer_versions(module, weights):
    """Return weights as a state dict with the version of each layer, which some layers cannot load without."""
    state: Any = OrderedDict(weights)
    state._metadata = module.state_dict()._metadata
    return state


def load_state(module, weights):
    """Load weights that were stored without the versions of layers."""
    module.load_state_dict(with_layer_versions(module, weights))
