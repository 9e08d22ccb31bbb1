"""
Augment training images
=======================

After this example you can draw the changes of an ``ImageAugmenter`` and measure their effect on a training.
"""

import matplotlib.pyplot as plt
from torchvision.transforms import v2

from ferkit import FERClassifier, ImageAugmenter
from ferkit.datasets import sample_faces
from ferkit.display import AugmentationDisplay

train = sample_faces(800, random_state=0)
test = sample_faces(700, usage="PublicTest", random_state=0)
y, y_test = train.target_names[train.target], test.target_names[test.target]

# %%
# The figure shows each change separately and all of them together.
# Where a rotation or a shift leaves an area empty, the image is continued by its mirror image. After a shift upwards,
# you therefore see a second chin or neck at the bottom. The mirrored area has the brightness and the texture of the
# image, which a black one would not have.
augmenter = ImageAugmenter(rotation=20, shear=15, brightness=0.6, contrast=0.6, erasing=1.0)
face = train.images[33]  # it looks to one side, so that a flip shows
AugmentationDisplay.from_estimator(augmenter, face)

# %%
# Crops, blur and noise are off by default. Transforms of other libraries are drawn in the same way.
AugmentationDisplay.from_estimator(
    ImageAugmenter(horizontal_flip=0, crop=0.3, blur=2, noise=0.5, rotation=0, translation=0, scale=0.3, contrast=0),
    face,
)
AugmentationDisplay.from_estimator([v2.RandomPerspective(0.3), v2.RandomPosterize(2), v2.GaussianBlur(5)], face)

# %%
# With few training faces, a network soon memorizes them. Augmentation prevents this: the training accuracy comes closer
# to the accuracy on unseen faces.
for name, augment in {"without": None, "with": ImageAugmenter(rotation=5, translation=0.05)}.items():
    model = FERClassifier("cnn_small", augment=augment, max_epochs=20, batch_size=64, random_state=0)
    model.fit(train.data, y)
    print(f"{name:8} {model.score(train.data, y):.0%} of the training faces", end=", ")
    print(f"{model.score(test.data, y_test):.0%} of unseen ones")
plt.show()
