"""
Train on your own images
========================

After this example you can train on a directory of images with one folder per label. The images may have any size, and
are decoded one batch at a time.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.model_selection import train_test_split

from ferkit import FERClassifier, evaluate
from ferkit.datasets import sample_faces
from ferkit.display import ConfusionDisplay, FacesDisplay

# %%
# These images stand for yours: three labels, in color, and of different sizes.
folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
faces = sample_faces(1400, random_state=0)
labels = {"happy": "pleased", "surprise": "pleased", "neutral": "calm", "sad": "upset", "angry": "upset"}
for number, (face, emotion) in enumerate(zip(faces.images, faces.target_names[faces.target], strict=True)):
    if emotion in labels:
        path = folder / labels[emotion] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        side = int(rng.integers(60, 120))
        tinted = face[:, :, None] * rng.uniform([0.9, 0.75, 0.6], [1, 0.85, 0.75])
        Image.fromarray(tinted.astype(np.uint8)).resize((side, side)).save(path)

# %%
# The paths are the input, and the names of the folders are the labels. ``image_shape`` is the size to which all images
# are brought.
paths = sorted(folder.glob("*/*.jpg"))
y = np.array([path.parent.name for path in paths])
X, X_test, y, y_test = train_test_split(paths, y, test_size=0.25, stratify=y, random_state=0)
print({str(label): int((y == label).sum()) for label in np.unique(y)}, X[0].relative_to(folder))
shown = [path for label in np.unique(y) for path in sorted((folder / label).iterdir())[:6]]
images = np.stack([Image.open(path).resize((64, 64)) for path in shown])
FacesDisplay.from_data(images, [path.parent.name for path in shown])

# %%
# Some labels are rarer than others, so the rare ones get a larger weight.
model = FERClassifier(
    "cnn_small", image_shape=(48, 48, 3), class_weight="balanced", max_epochs=12, batch_size=64, random_state=0
)
model.fit(X, y)
report = evaluate(model, X_test, y_test)
print(f"accuracy {report.accuracy:.1%}, balanced accuracy {report.balanced_accuracy:.1%}")

# %%
ConfusionDisplay.from_predictions(y_test, model.predict(X_test), normalize="true")
plt.show()
