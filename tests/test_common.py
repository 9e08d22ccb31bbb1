"""scikit-learn's and imbalanced-learn's own checks: any row is a one-line image."""

import tempfile
from pathlib import Path

import pytest
import torch
from imblearn.utils.estimator_checks import parametrize_with_checks as parametrize_with_sampler_checks
from sklearn.datasets import make_blobs
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from ferkit import FERClassifier, FERRegressor, ImageAugmenter, ImageNormalizer, ImageResizer, NetworkFeatures
from ferkit.backbones import CNN

LINE = (1, -1)
FOLDER = tempfile.TemporaryDirectory()


class Weights:
    """A file of weights with the same repr in all processes, because they compare the names of their tests."""

    def __fspath__(self):
        return str(Path(FOLDER.name, "weights.pth"))

    def __repr__(self):
        return "Weights()"


torch.save(CNN(num_classes=2, in_channels=1, widths=(8,)).state_dict(), Weights())
TRANSFORMERS = [
    ImageResizer((1, 3), image_shape=LINE),
    NetworkFeatures(backbone_params={"widths": (8,)}, weights=Weights(), image_shape=LINE),
    *(ImageNormalizer(method=method, image_shape=LINE) for method in ("dataset", "image", "minmax", "equalize")),
]
# a mirrored line has its features in another order, so no augmentation; the others save time
QUICK = {
    "backbone_params": {"widths": (16, 32)},
    "image_shape": LINE,
    "augment": None,
    "precision": "float32",
    "lr": 0.03,
    "max_epochs": 6,
    "random_state": 0,
}
CLASSIFIER = FERClassifier(**QUICK)
REGRESSOR = FERRegressor(**QUICK)
EXCUSED = {"check_sample_weight_equivalence_on_dense_data": "as for scikit-learn's own SGD: batches differ"}


@parametrize_with_checks(TRANSFORMERS)
def test_transformers(estimator, check):
    check(estimator)


@parametrize_with_checks([CLASSIFIER], expected_failed_checks=lambda estimator: EXCUSED)
def test_classifier(estimator, check):
    check(estimator)


@parametrize_with_checks([REGRESSOR], expected_failed_checks=lambda estimator: EXCUSED)
def test_regressor(estimator, check):
    check(estimator)


@parametrize_with_sampler_checks([ImageAugmenter(image_shape=LINE, random_state=0)])
def test_sampler(estimator, check):
    check(estimator)


def test_defaults_learn_a_few_hundred_rows():
    X, y = make_blobs(300, random_state=0)  # the data and the accuracy of scikit-learn's check_classifiers_train
    X = StandardScaler().fit_transform(X)
    assert FERClassifier(image_shape=LINE, augment=None).fit(X, y).score(X, y) > 0.83


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FERClassifier, FERRegressor])
def test_defaults_pass_all_checks(kind):
    check_estimator(kind(image_shape=LINE, augment=None), expected_failed_checks=EXCUSED)
