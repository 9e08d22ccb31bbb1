"""
Use your own network
====================

After this example you can train your own network. Pass any ``nn.Module`` class that accepts ``num_classes`` and
``in_channels`` in place of a name.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

from ferkit import FERClassifier
from ferkit.backbones import list_backbones, register_backbone, summarize
from ferkit.datasets import sample_faces


class Dilated(nn.Module):
    """Dilated convolutions, which have a large receptive field without pooling."""

    def __init__(self, num_classes, in_channels, width=24):
        super().__init__()
        channels, layers = in_channels, []
        for dilation in (1, 2, 4, 8):
            layers += [
                nn.Conv2d(channels, width, 3, stride=2 if dilation == 1 else 1, dilation=dilation, padding=dilation),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x):
        x = self.features(x)
        return self.head(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))


# %%
# ``backbone_params`` are the arguments of the class. They can also be searched.
train = sample_faces(960, random_state=0)
test = sample_faces(240, usage="PublicTest", random_state=0)
model = FERClassifier(Dilated, backbone_params={"width": 32}, augment=None, lr=1e-2, max_epochs=10, batch_size=64)
model.fit(train.data, train.target_names[train.target])
print(f"{model.score(test.data, test.target_names[test.target]):.0%} of unseen faces")

# %%
# Register the class with a name, a learning rate and a reference. It then works like all other backbones.
register_backbone("dilated", Dilated, lr=1e-2, reference="this example")
print("dilated" in list_backbones())

# %%
# All convolutions except the first cost the same, because the feature maps stay large until the end. A value of the
# last feature maps depends on a part of the image. Dilation makes this part large: the figure shows the gradients of
# the value in the middle, averaged over 100 faces. The grid is typical of dilated convolutions, which skip pixels.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=[1, 1.3])
layers = [layer for layer in summarize(Dilated(num_classes=7, in_channels=1), (1, 48, 48)).layers if layer.flops]
left.barh([layer.name for layer in layers], [layer.flops / 1e6 for layer in layers], color="#0072B2")
left.invert_yaxis()
left.set(xlabel="MFLOP per image", title="cost of the layers")

images = torch.as_tensor(test.images[:100], dtype=torch.float32)[:, None].requires_grad_()
features = model.network_.float().cpu().eval().backbone.features
features(images)[:, :, 12, 12].sum().backward()
right.imshow(images.grad.abs().mean(dim=(0, 1)).sqrt(), cmap="cividis")
right.set(title="what the middle of the last maps depends on", xticks=[], yticks=[])
plt.show()
