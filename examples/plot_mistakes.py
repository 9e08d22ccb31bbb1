"""
Look at mistakes with Grad-CAM
==============================

After this example you can list the mistakes of a network and see which regions of a face support the prediction.
Grad-CAM needs ``pip install "ferkit[explain]"``.
"""

import matplotlib.pyplot as plt
import numpy as np

from ferkit import FERClassifier
from ferkit.datasets import sample_faces
from ferkit.display import ConfusionDisplay, ExplanationDisplay, PredictionsDisplay

train = sample_faces(1600, random_state=0)
test = sample_faces(400, usage="PublicTest", random_state=0)
y, y_test = train.target_names[train.target], test.target_names[test.target]
model = FERClassifier("cnn_small", input_size=96, augment=None, max_epochs=8, batch_size=64, random_state=0)
model.fit(train.data, y)

# %%
# First print the most confused pairs of emotions.
confusion = ConfusionDisplay.from_estimator(model, test.data, y_test, labels=train.target_names, normalize="true")
for true, predicted, share in confusion.most_confused(3):
    print(f"{share:.0%} of {true} taken for {predicted}")

# %%
# The most confident mistakes often show more than the accuracy.
PredictionsDisplay.from_estimator(model, test.data, y_test, n_images=16, order="mistakes")

# %%
# Bright regions support the predicted emotion. If a bright region is not part of the face, the network may have learned
# something that is only true for these pictures. The last feature maps have 6×6 values because the faces are enlarged;
# otherwise they would have only 3×3. :ref:`sphx_glr_auto_examples_plot_explanations.py` shows two other methods.
wrong = np.flatnonzero(model.predict(test.data) != y_test)[:6]
ExplanationDisplay.from_estimator(model, test.data[wrong], y_test[wrong])
plt.show()
