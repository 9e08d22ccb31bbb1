"""
Calibrate probabilities
=======================

After this example you can calibrate the probabilities of a trained network. If a network is well calibrated, 80 % of
the faces that it predicts with a probability of 80 % are correct. Label smoothing and augmentation make the
probabilities too low. A sigmoid that is fitted on other faces corrects them and hardly changes the predicted classes.
"""

import matplotlib.pyplot as plt
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from ferkit import FERClassifier, evaluate
from ferkit.datasets import sample_faces
from ferkit.display import ReliabilityDisplay

faces = sample_faces(1700, random_state=0)
test = sample_faces(1000, usage="PublicTest", random_state=0)
y, y_test = faces.target_names[faces.target], test.target_names[test.target]
X, X_others, y, y_others = train_test_split(faces.data, y, train_size=1200, random_state=0)
model = FERClassifier("cnn_small", label_smoothing=0.3, max_epochs=12, batch_size=128, random_state=0)
model.fit(X, y)

# %%
# ``FrozenEstimator`` keeps the network unchanged, so only the calibration is fitted.
calibrated = CalibratedClassifierCV(FrozenEstimator(model)).fit(X_others, y_others)
for name, each in {"as trained": model, "calibrated": calibrated}.items():
    report = evaluate(each, test.data, y_test)
    print(f"{name:10} accuracy {report.accuracy:.1%}, calibration error {report.calibration_error:.3f}")

# %%
# As trained, the network is underconfident: the accuracy is higher than the confidence.
ReliabilityDisplay.from_estimator(model, test.data, y_test)

# %%
# After calibration, confidence and accuracy are closer to each other.
ReliabilityDisplay.from_estimator(calibrated, test.data, y_test)
plt.show()
