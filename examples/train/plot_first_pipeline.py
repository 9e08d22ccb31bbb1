"""
Build a first pipeline
======================

After this example you can train a pipeline on the pixel strings of the FER2013 CSV and print a classification report.
"""

from imblearn.over_sampling import RandomOverSampler
from sklearn.metrics import classification_report

from ferkit import FERClassifier, ImageAugmenter, Pipeline, PixelParser
from ferkit.datasets import sample_faces
from ferkit.display import ConfusionDisplay

# %%
# If the environment variable ``FERKIT_DATA`` is set, ``sample_faces`` returns faces of FER2013, otherwise drawn faces.
# To load all of FER2013, use ``load_fer2013("fer2013.csv", usage="Training", decode=False)``.
train = sample_faces(2400, proportions="fer2013", as_frame=True, random_state=0)
test = sample_faces(300, usage="PublicTest", proportions="fer2013", as_frame=True, random_state=0)

# %%
# The sampler only acts in ``fit``. Augmentation makes new random changes for every batch.
model = Pipeline(
    [
        ("parse", PixelParser()),
        ("balance", RandomOverSampler(random_state=0)),
        ("classify", FERClassifier(augment=ImageAugmenter(rotation=10), max_epochs=6, random_state=0)),
    ]
)
model.fit(train.frame["pixels"], train.target_names[train.target])

# %%
# The report gives precision, recall and F1 per class.
y_test, y_pred = test.target_names[test.target], model.predict(test.frame["pixels"])
print(classification_report(y_test, y_pred, labels=train.target_names, zero_division=0))

# %%
# Each row of the confusion matrix shows how the faces of one class were predicted.
ConfusionDisplay.from_predictions(y_test, y_pred, labels=train.target_names, normalize="true")
