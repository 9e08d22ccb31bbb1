import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ferkit import FERClassifier
from ferkit.datasets import make_faces

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
TRAINING_COUNTS = (3995, 436, 4097, 7215, 4830, 3171, 4965)  # FER2013's Training faces of each emotion


@pytest.mark.parametrize(("n_samples", "size"), [(1, 16), (5, 48), (3, 97), (40, 48)])
def test_shapes_and_dtypes(n_samples, size):
    faces = make_faces(n_samples, size=size, random_state=0)
    assert faces.data.shape == (n_samples, size * size)
    assert faces.images.shape == (n_samples, size, size)
    assert faces.data.dtype == faces.images.dtype == np.uint8
    assert np.shares_memory(faces.data, faces.images)
    assert faces.target.shape == faces.usage.shape == (n_samples,)
    assert faces.target.dtype == np.int64
    assert tuple(faces.target_names) == EMOTIONS
    assert f"{size} x {size}" in faces.DESCR
    assert "frame" not in faces


def test_random_state_determines_the_faces():
    faces = make_faces(50, random_state=0)
    for same in (make_faces(50, random_state=0), make_faces(50, random_state=np.random.RandomState(0))):
        np.testing.assert_array_equal(same.data, faces.data)
        np.testing.assert_array_equal(same.target, faces.target)
    other = make_faces(50, random_state=1)
    assert (other.data != faces.data).any(axis=1).all()
    assert (other.target != faces.target).any()


def test_every_face_is_different():
    assert len(np.unique(make_faces(200, noise=0, random_state=0).data, axis=0)) == 200


def test_size_changes_the_resolution_but_not_the_face():
    small = make_faces(20, noise=0, random_state=0)
    large = make_faces(20, size=144, noise=0, random_state=0)
    np.testing.assert_array_equal(small.target, large.target)
    averaged = large.images.reshape(20, 48, 3, 48, 3).mean(axis=(2, 4))
    for one, other in zip(small.images, averaged, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95


def test_noise_is_a_fraction_of_the_pixel_range():
    clean, noisy = (make_faces(50, noise=noise, random_state=0).data.astype(float) for noise in (0, 0.06))
    unclipped = (clean > 80) & (clean < 175)
    assert (noisy - clean)[unclipped].std() == pytest.approx(0.06 * 255, rel=0.03)


@pytest.mark.parametrize(
    ("n_samples", "proportions", "expected"),
    [
        (70, None, [10] * 7),
        (9, None, [2, 2, 1, 1, 1, 1, 1]),
        (8, [1, 0, 0, 3, 0, 0, 0], [2, 0, 0, 6, 0, 0, 0]),
        (10, np.arange(7) / 21, [0, 1, 1, 1, 2, 2, 3]),
    ],
)
def test_proportions(n_samples, proportions, expected):
    target = make_faces(n_samples, size=16, proportions=proportions, random_state=0).target
    np.testing.assert_array_equal(np.bincount(target, minlength=7), expected)


def test_proportions_of_fer2013():
    target = make_faces(2871, size=16, proportions="fer2013", random_state=0).target
    np.testing.assert_allclose(np.bincount(target), np.array(TRAINING_COUNTS) / 10, atol=1)


def test_splits_follow_each_other_and_mix_the_emotions():
    faces = make_faces(700, size=16, random_state=0)
    np.testing.assert_array_equal(faces.usage, ["Training"] * 560 + ["PublicTest"] * 70 + ["PrivateTest"] * 70)
    for usage in np.unique(faces.usage):
        assert set(faces.target[faces.usage == usage]) == set(range(7))


def test_frame_is_a_fer2013_csv():
    faces = make_faces(10, as_frame=True, random_state=0)
    assert list(faces.frame.columns) == ["emotion", "pixels", "Usage"]
    np.testing.assert_array_equal(faces.frame["emotion"], faces.target)
    np.testing.assert_array_equal(faces.frame["Usage"], faces.usage)
    np.testing.assert_array_equal([list(map(int, row.split(" "))) for row in faces.frame["pixels"]], faces.data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 0}, "'n_samples' parameter of make_faces must be an int"),
        ({"n_samples": 2.5}, "'n_samples' parameter of make_faces must be an int"),
        ({"size": 8}, "'size' parameter of make_faces must be an int in the range .16, inf.. Got 8"),
        ({"noise": -0.1}, "'noise' parameter of make_faces must be a float"),
        ({"noise": float("nan")}, "'noise' parameter of make_faces must be a float"),
        ({"random_state": "zero"}, "'random_state' parameter of make_faces"),
        ({"proportions": "balanced"}, "'proportions' parameter of make_faces must be .*'fer2013'.* Got 'balanced'"),
        ({"proportions": [1, 2, 3]}, r"7 non-negative numbers.*angry, disgust.*got \[1, 2, 3\]: pass None"),
        ({"proportions": [1, 1, 1, 1, 1, 1, -1]}, "7 non-negative numbers"),
        ({"proportions": [1, 1, 1, 1, 1, 1, np.nan]}, "7 non-negative numbers"),
        ({"proportions": [0] * 7}, "not all 0"),
        ({"proportions": list(EMOTIONS)}, "7 non-negative numbers"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_faces(**arguments)


def test_codes_match_the_names_of_emotions():
    faces = make_faces(1400, noise=0, random_state=0)
    mean = {name: faces.images[faces.target == code].mean(axis=0) for code, name in enumerate(faces.target_names)}
    mouth = {name: face[34:39, 21:27].mean() for name, face in mean.items()}
    assert mouth.pop("surprise") < min(mouth.values()) - 20  # wide open, so dark
    # lowered brows make the strip below their inner ends darker than the strip above
    inner = {name: np.hstack([face[:, 18:22], face[:, 26:30]]).mean(axis=1) for name, face in mean.items()}
    lowered = {name: rows[10:13].mean() - rows[15:18].mean() for name, rows in inner.items()}
    assert max(lowered, key=lowered.get) == "angry"
    assert min(lowered, key=lowered.get) == "fear"
    assert lowered["angry"] > lowered["neutral"] + 15 > lowered["sad"] + 15


def edges(images, cell=6):
    """Strength of the edges of eight directions in every cell of every image, as features of a convolution."""
    images = images.astype(np.float32)
    right, down = np.diff(images, axis=2)[:, :-1], np.diff(images, axis=1)[:, :, :-1]
    maps = np.stack([sign * step for step in (right, down, right + down, right - down) for sign in (1, -1)], axis=1)
    maps = np.pad(maps.clip(0), ((0, 0), (0, 0), (0, 1), (0, 1)))
    n, count = len(images), images.shape[1] // cell
    cells = maps.reshape(n, 8, count, cell, count, cell).mean(axis=(3, 5)).reshape(n, -1)
    return cells / np.linalg.norm(cells, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def faces():
    return make_faces(3000, random_state=0)


def accuracy(classifier, faces, features):
    """Accuracy on the last 20 % of the faces of a classifier that is trained on the others."""
    train, test = slice(0, 2400), slice(2400, 3000)
    return classifier.fit(features[train], faces.target[train]).score(features[test], faces.target[test])


def test_emotions_are_easier_to_find_in_edges_than_in_pixels(faces):
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, tol=1e-2))
    pixels = accuracy(linear, faces, faces.data.astype(np.float32))
    assert 0.3 < pixels < 0.6  # chance is 0.14
    linear.set_params(logisticregression__C=1e-2)
    assert pixels + 0.1 < accuracy(linear, faces, edges(faces.images)) < 0.9
    assert accuracy(make_pipeline(StandardScaler(), NearestCentroid()), faces, edges(faces.images)) > 0.3


def test_a_linear_model_does_clearly_worse_than_a_network(faces):
    linear = accuracy(make_pipeline(StandardScaler(), LogisticRegression(C=1e-2, tol=1e-2)), faces, faces.data)
    network = FERClassifier(backbone_params={"widths": (16, 32, 64)}, max_epochs=5, batch_size=32, random_state=0)
    assert linear > 0.3
    assert accuracy(network, faces, faces.data) > linear + 0.15
