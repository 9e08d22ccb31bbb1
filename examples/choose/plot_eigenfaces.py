"""
Compare eigenfaces with a network
=================================

After this example you can compare a classic pipeline with a CNN on the same faces. Images are rows of pixels between
steps, so ``PCA`` and a support vector machine work without any conversion.
"""

import matplotlib.pyplot as plt
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from ferkit import FERClassifier, ImageNormalizer, ImageResizer, Pipeline
from ferkit.datasets import sample_faces
from ferkit.display import ConfusionDisplay

train = sample_faces(1600, random_state=0)
test = sample_faces(400, usage="PublicTest", random_state=0)
y, y_test = train.target_names[train.target], test.target_names[test.target]

# %%
eigenfaces = Pipeline(
    [
        ("resize", ImageResizer(32)),
        ("normalize", ImageNormalizer(method="image")),
        ("components", PCA(60, whiten=True, random_state=0)),
        ("classify", SVC(C=10)),
    ]
)
network = FERClassifier("cnn_small", augment=None, max_epochs=8, batch_size=128, random_state=0)
models = {"eigenfaces and SVM": eigenfaces, "network": network}
for model in models.values():
    model.fit(train.data, y)

# %%
# The first principal components mostly show the direction of the light and the pose of the head. Each title states the
# share of the variance that a component explains.
pca = eigenfaces["components"]
figure, axes = plt.subplots(2, 6, figsize=(8, 3.4), layout="constrained")
for number, (ax, component) in enumerate(zip(axes.flat, pca.components_, strict=False)):
    ax.imshow(component.reshape(32, 32), cmap="gray")
    ax.set_title(f"{number + 1}: {pca.explained_variance_ratio_[number]:.0%}", fontsize=10)
    ax.axis("off")
figure.suptitle("The first twelve eigenfaces, and the variance that they explain")
plt.show()

# %%
# These are the confusion matrices of both models on unseen faces.
figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    ConfusionDisplay.from_estimator(
        model, test.data, y_test, labels=train.target_names, normalize="true", ax=ax, name=name
    )
plt.show()
