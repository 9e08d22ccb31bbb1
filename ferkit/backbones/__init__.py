"""Networks as plain ``nn.Module`` objects: a table of names and what each needs to train well.

Nothing here knows scikit-learn. A builder is called as ``builder(num_classes=…, in_channels=…, **backbone_params)``.
"""

from ._inspect import Layer, Summary, build_meta, find_head, find_sizes, summarize
from ._own import CNN, VGGFER
from ._table import BACKBONES, Backbone, list_backbones, register_backbone, resolve_backbone, set_dropout
from ._weights import load_weights, read_weights

__all__ = [
    "BACKBONES",
    "CNN",
    "VGGFER",
    "Backbone",
    "Layer",
    "Summary",
    "build_meta",
    "find_head",
    "find_sizes",
    "list_backbones",
    "load_weights",
    "read_weights",
    "register_backbone",
    "resolve_backbone",
    "set_dropout",
    "summarize",
]
