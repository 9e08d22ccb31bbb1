"""Networks as plain ``nn.Module`` classes, their registry, and functions that inspect networks.

The registry gives each name a builder and the settings with which the network trains well. A builder is called as
``builder(num_classes=…, in_channels=…, **backbone_params)``. These modules do not depend on scikit-learn or skorch.
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
