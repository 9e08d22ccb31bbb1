import numpy as np
import pytest

from ferkit import PixelParser
from ferkit.datasets import make_faces, sample_faces

SPLITS = ["Training", "PublicTest", "PrivateTest"]
TABLE = make_faces(700, proportions="fer2013", as_frame=True, random_state=0)


@pytest.fixture(params=["drawn", "FER2013"])
def source(request, monkeypatch, tmp_path):
    """Without FERKIT_DATA, and with a table in the folder that it names."""
    monkeypatch.delenv("FERKIT_DATA", raising=False)
    if request.param == "FER2013":
        (tmp_path / "fer2013").mkdir()
        TABLE.frame.to_csv(tmp_path / "fer2013" / "fer2013.csv", index=False)
        monkeypatch.setenv("FERKIT_DATA", str(tmp_path))
    return request.param


@pytest.mark.parametrize("usage", SPLITS)
def test_faces_come_from_the_split(source, usage):
    faces = sample_faces(20, usage=usage, proportions="fer2013", as_frame=True, random_state=0)
    assert faces.images.shape == (20, 48, 48)
    assert set(faces.usage) == set(faces.frame["Usage"]) == {usage}
    np.testing.assert_array_equal(PixelParser().fit_transform(faces.frame["pixels"]), faces.data)
    np.testing.assert_array_equal(faces.frame["emotion"], faces.target)
    if source == "FER2013":
        split = TABLE.usage == usage
        rows = {(*row, code) for row, code in zip(TABLE.data[split], TABLE.target[split], strict=True)}
        assert all((*row, code) in rows for row, code in zip(faces.data, faces.target, strict=True))


def test_a_random_state_repeats_the_sample(source):
    first, again, other = (sample_faces(50, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.data, again.data)
    assert (first.data[:40] != other.data[:40]).any(axis=1).all()


def test_no_face_is_drawn_twice(source):
    every = np.concatenate([sample_faces(50, usage=usage, random_state=0).data for usage in SPLITS])
    assert len(np.unique(every, axis=0)) == len(every)


def test_proportions_of_emotions(source):
    wanted = [3, 0, 2, 0, 0, 0, 5]
    np.testing.assert_array_equal(
        np.bincount(sample_faces(10, proportions=wanted, random_state=0).target, minlength=7), wanted
    )


@pytest.mark.parametrize("source", ["FER2013"], indirect=True)
def test_a_large_sample_contains_every_face(source):
    there = np.bincount(TABLE.target[TABLE.usage == "Training"])
    taken = np.bincount(sample_faces(350, random_state=0).target)
    np.testing.assert_array_equal(taken, np.minimum(there, 50))
    assert taken.sum() < 350


def test_invalid_arguments_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("FERKIT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"^Expected a folder fer2013 in FERKIT_DATA=.*, got none"):
        sample_faces(10)
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    monkeypatch.setenv("FERKIT_DATA", str(tmp_path / "fer2013.csv"))
    with pytest.raises(FileNotFoundError, match=r"^Expected a folder fer2013 in FERKIT_DATA=.*, got none"):
        sample_faces(10)
    with pytest.raises(ValueError, match="usage"):
        sample_faces(10, usage="Test")
