"""
A first pipeline
================

From pixel strings, as FER2013's CSV holds them, to a classification report.
"""

from imblearn.over_sampling import RandomOverSampler
from sklearn.metrics import classification_report

from ferkit import FERClassifier, ImageAugmenter, Pipeline, PixelParser
from ferkit.datasets import sample_faces
from ferkit.display import ConfusionDisplay

# %%
# ``sample_faces`` gives some faces of FER2013 where the variable ``FERKIT_DATA`` says where it is, and draws them
# otherwise. For all of FER2013, ``load_fer2013("fer2013.csv", usage="Training", decode=False)``.
train = sample_faces(2400, proportions="fer2013", as_frame=True, random_state=0)
test = sample_faces(300, usage="PublicTest", proportions="fer2013", as_frame=True, random_state=0)

# %%
# The sampler acts in ``fit`` alone; augmentation is drawn afresh for every batch.
model = Pipeline(
    [
        ("parse", PixelParser()),
        ("balance", RandomOverSampler(random_state=0)),
        ("classify", FERClassifier(augment=ImageAugmenter(rotation=10), max_epochs=6, random_state=0)),
    ]
)
model.fit(train.frame["pixels"], train.target_names[train.target])

# %%
y_test, y_pred = test.target_names[test.target], model.predict(test.frame["pixels"])
print(classification_report(y_test, y_pred, labels=train.target_names, zero_division=0))

# %%
ConfusionDisplay.from_predictions(y_test, y_pred, labels=train.target_names, normalize="true")
