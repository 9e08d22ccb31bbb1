"""
A first pipeline
================

From pixel strings, as FER2013's CSV holds them, to a classification report.
"""

from imblearn.over_sampling import RandomOverSampler
from sklearn.metrics import classification_report

from ferkit import FERClassifier, ImageAugmenter, Pipeline, PixelParser
from ferkit.datasets import make_faces
from ferkit.display import ConfusionDisplay

# %%
# These faces are drawn by ferkit. With FER2013 at hand, this is
# ``load_fer2013("fer2013.csv", usage="Training", decode=False)``.
faces = make_faces(3000, class_weights="fer2013", as_frame=True, random_state=0)
train, test = faces.frame.query("Usage == 'Training'"), faces.frame.query("Usage == 'PublicTest'")

# %%
# The sampler acts in ``fit`` alone; augmentation is drawn afresh for every batch.
model = Pipeline(
    [
        ("parse", PixelParser()),
        ("balance", RandomOverSampler(random_state=0)),
        ("classify", FERClassifier(augment=ImageAugmenter(rotation=10), max_epochs=6, random_state=0)),
    ]
)
model.fit(train["pixels"], faces.target_names[train["emotion"]])

# %%
y_test, y_pred = faces.target_names[test["emotion"]], model.predict(test["pixels"])
print(classification_report(y_test, y_pred, labels=faces.target_names, zero_division=0))

# %%
ConfusionDisplay.from_predictions(y_test, y_pred, labels=faces.target_names, normalize="true")
