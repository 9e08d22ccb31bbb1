"""Networks as plain ``nn.Module`` objects: a table of names and what each needs to train well.

Nothing here knows scikit-learn. A builder is called as ``builder(num_classes=…, in_channels=…, **backbone_params)``.
"""

from ._cnn import CNN
from ._table import BACKBONES, Backbone, list_backbones, resolve_backbone, set_dropout

__all__ = ["BACKBONES", "CNN", "Backbone", "list_backbones", "resolve_backbone", "set_dropout"]
