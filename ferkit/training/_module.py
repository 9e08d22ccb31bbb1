"""The module that is trained: input preparation and backbone."""

import torch
import torch.nn.functional as F
from torch import nn

from ..backbones._registry import set_dropout


class FERModule(nn.Module):
    """A backbone with its input preparation: cast to float32, standardize, resize.

    Resizing happens here, on the device and one batch at a time, because FER2013 at 224×224 would fill gigabytes. Gray
    images become RGB if ``mean`` and ``std`` have three channels. Rows of cached features are only passed to the part
    of the backbone that ``head`` names.
    """

    head = None

    def __init__(self, build, *, num_classes, mean, std, input_size=None, dropout=None):
        super().__init__()
        self.backbone = build(num_classes=num_classes)
        if dropout is not None:
            set_dropout(self.backbone, dropout)
        self.input_size = input_size
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).view(-1, 1, 1))
        self.to(memory_format=torch.channels_last)

    def forward(self, images):
        if images.ndim == 2:
            head = self.get_head()
            return head(images[..., None, None]).flatten(1) if isinstance(head, nn.Conv2d) else head(images)
        images = (images.float() - self.mean) / self.std
        if self.input_size is not None and tuple(images.shape[2:]) != self.input_size:
            images = F.interpolate(images, self.input_size, mode="bilinear", antialias=True)
        return self.backbone(images.contiguous(memory_format=torch.channels_last))

    def get_head(self):
        return self.backbone.get_submodule(self.head)
