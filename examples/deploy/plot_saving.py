"""
Save, load and serve a model
============================

After this example you can save a fitted model, load it again and choose how many faces to predict per call.
"""

import tempfile
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import ferkit
from ferkit import FERClassifier
from ferkit.datasets import sample_faces
from ferkit.display import PredictionsDisplay

faces = sample_faces(1500, random_state=0)
new = sample_faces(512, usage="PublicTest", random_state=0)
names = faces.target_names
model = FERClassifier("cnn_small", augment=None, max_epochs=8, batch_size=128, random_state=0)
model.fit(faces.data, names[faces.target])

# %%
# The file is as large as the weights. It cannot contain code, so it may come from anybody.
path = Path(tempfile.mkdtemp(), "model.ferkit")
ferkit.save(model, path)
again = ferkit.load(path)
same = (again.predict(new.data) == model.predict(new.data)).all()
print(f"{path.stat().st_size / 1e6:.1f} MB, the same predictions: {same}")

# %%
# The time per face is shorter if many faces are predicted in one call.
sizes, milliseconds = [1, 4, 16, 64, 256], []
for size in sizes:
    times = []
    for _ in range(9):
        start = perf_counter()
        again.predict_proba(new.data[:size])
        times.append(perf_counter() - start)
    milliseconds.append(1000 * np.median(times) / size)
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.semilogx(sizes, milliseconds, "o-", color="#0072B2")
ax.set(xlabel="faces per call", ylabel="milliseconds per face", ylim=(0, None))
ax.set_xticks(sizes, sizes)
ax.grid(alpha=0.3)

# %%
# The loaded model predicts new faces.
PredictionsDisplay.from_estimator(again, new.data, names[new.target], n_images=16)
plt.show()
