"""
Compare HOG, network features and a network
===========================================

After this example you can feed the features of a network to any estimator of scikit-learn, and you know what to expect
from them with few faces. A histogram of oriented gradients (HOG) with a support vector machine was the standard before
deep networks. scikit-image computes it.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage.feature import hog
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from ferkit import FERClassifier, NetworkFeatures
from ferkit.datasets import sample_faces

# %%
# A network learns the seven emotions on many faces. The new task, with few faces, is to tell whether a face looks
# pleased.
faces = sample_faces(2600, random_state=0)
emotions = faces.target_names[faces.target]
X_many, X, emotions_many, emotions = train_test_split(faces.data, emotions, test_size=600, random_state=0)
expert = FERClassifier("cnn_small", augment=None, max_epochs=8, batch_size=64, random_state=0)
expert.fit(X_many, emotions_many)

test = sample_faces(600, usage="PublicTest", random_state=0)
pleased = ["happy", "surprise"]
y, y_test = np.isin(emotions, pleased), np.isin(test.target_names[test.target], pleased)


# %%
# scikit-learn's ``FunctionTransformer`` makes a pipeline step of a function. ``NetworkFeatures`` takes the fitted
# network; with ``NetworkFeatures("vgg16", weights="imagenet", input_size=224)`` it would take a published one.
def describe(rows):
    return np.array([hog(row.reshape(48, 48), pixels_per_cell=(8, 8)) for row in rows])


models = {
    "HOG and SVM": make_pipeline(FunctionTransformer(describe), SVC(C=10)),
    "NetworkFeatures and SVM": make_pipeline(NetworkFeatures(expert), StandardScaler(), SVC(C=10)),
    "FERClassifier": FERClassifier("cnn_small", augment=None, max_epochs=50, batch_size=32, random_state=0),
}

# %%
# Each model learns the new task from 30, 120 and 480 faces.
sizes = [30, 120, 480]
scores = {name: [] for name in models}
for size in sizes:
    X_few, _, y_few, _ = train_test_split(X, y, train_size=size, stratify=y, random_state=0)
    for name, model in models.items():
        scores[name].append(clone(model).fit(X_few, y_few).score(test.data, y_test))
        print(f"{size:5} faces, {name:24} {scores[name][-1]:.1%}")

# %%
# HOG keeps the directions of edges, here drawn as an image. The expert has learned from many faces which features
# matter, so few faces are enough for a support vector machine. A network that starts from scratch needs more of them.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", width_ratios=[1.2, 1])
edges = hog(test.images[0], pixels_per_cell=(8, 8), visualize=True)[1]
left.imshow(np.hstack([test.images[0] / 255, edges / edges.max()]), cmap="gray")
left.set_title("a face and its HOG features")
left.axis("off")
for color, (name, values) in zip(["#0072B2", "#E69F00", "#009E73"], scores.items(), strict=True):
    right.plot(sizes, values, "o-", color=color, label=name)
right.axhline(1 - y_test.mean(), color="0.4", linestyle="--", label="always the more frequent answer")
right.set(xscale="log", xlabel="training faces", ylabel=f"accuracy on {len(y_test):,} unseen faces", ylim=(0.5, 1))
right.set_xticks(sizes, sizes)
right.minorticks_off()
right.legend(frameon=False, loc="lower right")
plt.show()
