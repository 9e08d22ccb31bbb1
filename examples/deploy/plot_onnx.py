"""
Deploy with ONNX
================

After this example you can export a model to one ONNX file, make it smaller with int8, and predict with onnxruntime,
without PyTorch and ferkit. It needs ``pip install "ferkit[onnx]"``.
"""

import tempfile
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import ferkit
from ferkit.datasets import make_faces
from ferkit.display import PredictionsDisplay

# %%
# The graph contains everything from pictures of any size to probabilities. For int8, some hundred images determine the
# range of the values in each layer.
folder, faces = Path(tempfile.mkdtemp()), make_faces(256, random_state=0)
model = ferkit.load_model("fer2013-small").set_params(precision="float32")
ferkit.export(model, folder / "float32.onnx")
ferkit.export(model, folder / "int8.onnx", quantize=faces.images)

# %%
# ``ferkit.load`` returns a scikit-learn classifier. Other programs read the file with any ONNX runtime
# (:doc:`guide </guide/export>`).
models = {"PyTorch": model} | {name: ferkit.load(folder / f"{name}.onnx") for name in ("float32", "int8")}
expected = model.predict_proba(faces.images)
milliseconds = {}
for name, each in models.items():
    times = []
    for face in faces.images[:30, None]:
        start = perf_counter()
        each.predict_proba(face)
        times.append(1000 * (perf_counter() - start))
    milliseconds[name] = np.median(times)
    difference = np.abs(each.predict_proba(faces.images) - expected).max()
    print(f"{name:8} largest difference of a probability {difference:.4f}")

# %%
# The figure shows the latency of one face, which depends on the machine.
figure, ax = plt.subplots(figsize=(6, 2), layout="constrained")
bars = ax.barh([*milliseconds], [*milliseconds.values()], color=["#BBBBBB", "#8ABFE5", "#0072B2"])
ax.bar_label(bars, fmt="{:.1f} ms", padding=4)
ax.invert_yaxis()
ax.margins(x=0.15)
ax.set(xlabel="milliseconds for one face")
plt.show()

# %%
# The model has learned from photographs. It recognizes some of the drawn faces.
PredictionsDisplay.from_estimator(models["int8"], faces.images, faces.target_names[faces.target], n_images=16)
plt.show()
