"""Networks as plain ``nn.Module`` objects: a table of names and what each needs to train well.

Nothing here knows scikit-learn. A builder is called as ``builder(num_classes=…, in_channels=…, **backbone_params)``.
"""

from ._cnn import CNN, VGGFER
from ._inspect import Layer, Summary, find_sizes, summarize
from ._registry import Backbone, list_backbones, register_backbone, resolve_backbone

__all__ = [
    "CNN",
    "VGGFER",
    "Backbone",
    "Layer",
    "Summary",
    "find_sizes",
    "list_backbones",
    "register_backbone",
    "resolve_backbone",
    "summarize",
]
