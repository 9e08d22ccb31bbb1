import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import GroupKFold

from ferkit.cli import main
from ferkit.datasets import find_duplicates, make_faces

RNG = np.random.default_rng(0)


def compress(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


CHANGES = {
    "brighter": lambda image: np.clip(image.astype(int) + 30, 0, 255),
    "less contrast": lambda image: 40 + image * 0.7,
    "gamma": lambda image: 255 * (image / 255) ** 0.7,
    "noise": lambda image: np.clip(image + RNG.normal(0, 4, image.shape), 0, 255),
    "JPEG": compress,
    "shifted down": lambda image: np.pad(image, ((1, 0), (0, 0)), mode="edge")[:-1],
    "shifted up and left": lambda image: np.pad(image, ((0, 1), (0, 1)), mode="edge")[1:, 1:],
    "mirrored": lambda image: image[:, ::-1],
    "mirrored, shifted and compressed": lambda image: compress(np.roll(image, 1, axis=1)[:, ::-1]),
}


@pytest.fixture(scope="module")
def data():
    return make_faces(300, random_state=1)


@pytest.fixture(scope="module")
def planted(data):
    """Images with copies: rows from 240 are PublicTest, from 270 PrivateTest, all others Training."""
    images = data.images.copy()
    images[[240, 241]] = images[3]
    images[270] = images[5, :, ::-1]
    images[20] = 30 + images[10] // 2
    images[275] = images[245]
    images[[7, 8, 250]] = 0
    images[9] = 200
    return images


def test_planted_duplicates_are_found(planted, data):
    y = data.target.copy()
    y[[240, 241]] = y[3]
    y[[270, 20, 275]] = (y[[5, 10, 245]] + [1, 0, 1]) % 7
    y[[7, 8, 250]] = 0
    found = find_duplicates(planted, y, data.usage)
    assert np.flatnonzero(found.exact).tolist() == [3, 7, 8, 240, 241, 245, 250, 275]
    assert np.flatnonzero(found.near).tolist() == [5, 10, 20, 270]
    assert np.flatnonzero(found.flat).tolist() == [7, 8, 9, 250]
    assert np.flatnonzero(found.conflicting).tolist() == [5, 245, 270, 275]
    assert np.flatnonzero(found.in_training).tolist() == [240, 241, 250, 270]
    assert found.pairs.tolist() == [[5, 270], [10, 20]]
    assert (found.similarity > 0.95).all()
    for one, other in ((3, 240), (3, 241), (7, 250)):
        assert found.group[one] == found.group[other]
        assert found.exact_group[one] == found.exact_group[other]
    assert found.group[5] == found.group[270]
    assert found.exact_group[5] != found.exact_group[270]
    assert len(np.unique(found.group)) == 300 - 7


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_near_duplicates(data, change):
    copies = np.stack([CHANGES[change](image) for image in data.images[:60]]).astype(np.uint8)
    found = find_duplicates(np.concatenate([data.images, copies]))
    assert (found.group[:60] == found.group[300:]).mean() >= 0.95
    assert found.near.sum() <= 124


def test_different_faces_are_not_duplicates(data):
    found = find_duplicates(data.data, data.target, data.usage)
    for mask in (found.exact, found.near, found.conflicting, found.flat, found.in_training):
        assert mask.dtype == bool
        assert not mask.any()
    assert np.array_equal(found.group, np.arange(300))
    assert found.pairs.shape == (0, 2)


def test_flat_images_are_only_duplicates_if_equal():
    images = np.repeat(np.array([90, 200, 90, 133], np.uint8), 48 * 48).reshape(4, 48, 48)
    found = find_duplicates(images)
    assert found.flat.all()
    assert found.group.tolist() == [0, 1, 0, 2]
    assert not found.near.any()
    assert find_duplicates(images[:1]).group.tolist() == [0]


def test_groups_keep_copies_in_one_fold(planted, data):
    group = find_duplicates(planted).group
    for train, test in GroupKFold(3).split(planted, data.target, groups=group):
        assert not set(group[train]) & set(group[test])


def test_groups_connect_images_through_others(data):
    image = data.images[0].astype(float)
    other = data.images[1].astype(float)
    mixed = [(1 - share) * image + share * other for share in (0, 0.25, 0.5, 0.75, 1)]
    found = find_duplicates(np.stack(mixed).astype(np.uint8))
    assert [0, 4] not in found.pairs.tolist()
    assert len(set(found.group)) == 1


def test_the_threshold_determines_the_near_duplicates(data):
    noisy = np.clip(data.images[0] + RNG.normal(0, 40, (48, 48)), 0, 255).astype(np.uint8)
    images = np.concatenate([data.images[[0, 0, 1]], noisy[None]])
    similarity = find_duplicates(images, threshold=0.1).similarity.max()
    assert find_duplicates(images, threshold=float(similarity) - 0.01).near[3]
    assert not find_duplicates(images, threshold=float(similarity) + 0.01).near[3]
    exact = find_duplicates(images, threshold=None)
    assert exact.group.tolist() == [0, 0, 1, 2]
    assert not exact.near.any()


@pytest.mark.parametrize(
    "form",
    [
        lambda images: images.reshape(len(images), -1),
        lambda images: images.reshape(len(images), -1).astype(np.float32) / 255,
        lambda images: np.repeat(images[..., None], 3, axis=3),
        lambda images: np.repeat(images[:, None], 3, axis=1),
        list,
    ],
)
def test_images_are_accepted_in_any_form(planted, form):
    expected, found = find_duplicates(planted), find_duplicates(form(planted))
    for name in ("group", "exact", "near", "flat"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("size", [16, 100])
def test_images_of_any_size_are_accepted(size):
    images = make_faces(60, size=size, random_state=0).images.copy()
    images[50] = images[0, :, ::-1] // 2 + 20
    found = find_duplicates(images)
    assert found.group[50] == found.group[0]
    oblong = find_duplicates(images[:, 2:].reshape(60, -1), image_shape=(size - 2, size))
    assert oblong.group[50] == oblong.group[0]


def test_image_files_are_accepted(data, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, data.images[[0, 1, 0]], strict=True):
        Image.fromarray(image).save(path)
    assert find_duplicates(paths).exact.tolist() == [True, False, True]


def test_labels_and_splits_of_any_type(planted, data):
    names = data.target_names[data.target]
    codes = find_duplicates(planted, data.target, data.usage)
    for y in (names, names.tolist(), names.astype(object)):
        found = find_duplicates(planted, y, data.usage.tolist())
        assert np.array_equal(found.conflicting, codes.conflicting)
        assert np.array_equal(found.in_training, codes.in_training)
    unlabeled = find_duplicates(planted)
    assert unlabeled.conflicting is None
    assert unlabeled.in_training is None
    assert "Training" not in str(unlabeled)
    with pytest.raises(ValueError, match=r'one split "Training".* got .*train'):
        find_duplicates(planted, usage=["train"] * 300)


def test_the_table_and_the_numbers_agree(planted, data):
    found = find_duplicates(planted, np.zeros(300), data.usage)
    numbers = json.loads(json.dumps(found.to_dict()))
    assert numbers["exact"] == {"groups": 3, "faces": 8, "examples": [[3, 240, 241], [7, 8, 250], [245, 275]]}
    assert numbers["near"] == {"groups": 2, "faces": 4, "examples": [[5, 270], [10, 20]]}
    assert numbers["conflicting"] == {"groups": 0, "faces": 0, "examples": []}
    assert numbers["flat"] == {"faces": 4, "examples": [7, 8, 9, 250]}
    assert numbers["in_training"] == {
        "PublicTest": {"n": 30, "exactly": 3, "nearly": 0, "examples": [240, 241, 250]},
        "PrivateTest": {"n": 30, "exactly": 0, "nearly": 1, "examples": [270]},
    }
    lines = [line.split() for line in str(found).splitlines()]
    assert ["near", "duplicates", "2", "4", "5", "270;", "10", "20"] in lines
    assert ["PrivateTest,", "of", "30", "0", "1", "270"] in lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"X": np.zeros((3, 7))}, "image_shape"),
        ({"X": np.full((3, 16), np.nan)}, "NaN"),
        ({"X": ["70 80 82", "1 2 3"]}, "strings"),
        ({"X": np.zeros((0, 16))}, "minimum of 1"),
        ({"X": np.zeros((3, 16)), "y": [0, 1]}, "inconsistent numbers of samples"),
        ({"X": np.zeros((3, 16)), "usage": ["Training"]}, "inconsistent numbers of samples"),
        ({"X": np.zeros((3, 16)), "y": np.zeros((3, 2))}, "1d array"),
        ({"X": np.zeros((3, 16)), "threshold": 1.5}, "threshold"),
    ],
)
def test_invalid_input_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        find_duplicates(**arguments)


# ferkit audit


@pytest.fixture(scope="module")
def csv(planted, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "fer2013.csv"
    frame = make_faces(300, random_state=1, as_frame=True).frame
    frame["pixels"] = [" ".join(map(str, row)) for row in planted.reshape(300, -1)]
    frame.to_csv(path, index=False)
    return path


def audit(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["audit", *map(str, arguments)])
    return stop.value.code or 0


def test_audit_prints_the_result_of_find_duplicates(csv, planted, data, capsys):
    found = find_duplicates(planted, data.target, data.usage)
    assert audit(csv) == 0
    shown = capsys.readouterr().out
    assert "300 faces" in shown
    assert str(found) in shown
    assert audit(csv, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"data": str(csv), **found.to_dict()}


def test_audit_accepts_data_without_labels(csv, tmp_path, capsys):
    lines = [line.partition(",")[2] for line in csv.read_text().splitlines()]
    (tmp_path / "test.csv").write_text("\n".join(line.partition(",")[0] for line in lines))
    assert audit(tmp_path / "test.csv") == 0
    assert "labels differ" not in capsys.readouterr().out


def test_audit_names_missing_data(tmp_path, capsys):
    assert audit(tmp_path / "nothing.csv") == 1
    assert "nothing.csv" in capsys.readouterr().err


def test_audit_uses_the_names_of_faces_in_the_data(tmp_path, capsys):
    faces = make_faces(10, as_frame=True, random_state=0)
    frame = faces.frame.iloc[[0, 1, 2, 3, 1]].assign(Usage=["Training"] * 4 + ["PublicTest"])
    frame.iloc[0, 1] = "no pixels"
    frame.to_csv(tmp_path / "fer2013.csv", index=False)
    assert audit(tmp_path / "fer2013.csv", "--drop-errors") == 0
    assert re.search(r"exact duplicates +1 +2 +1 4$", capsys.readouterr().out, re.MULTILINE)

    for name, image in (("train/happy/a.png", 1), ("train/happy/b.png", 2), ("test/happy/c.png", 1)):
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces.images[image]).save(path)
    assert audit(tmp_path / "faces") == 0
    printed = capsys.readouterr().out
    assert "faces/train/happy/a.png faces/test/happy/c.png" in printed
    assert re.search(r"Test, of 1 +1 +0 +faces/test/happy/c.png$", printed, re.MULTILINE)


def test_audit_of_only_test_faces_does_not_mention_training(tmp_path, capsys):
    make_faces(10, as_frame=True, random_state=0).frame.assign(Usage="PublicTest").to_csv(
        tmp_path / "f.csv", index=False
    )
    assert audit(tmp_path / "f.csv") == 0
    assert "Training" not in capsys.readouterr().out


def test_repr_is_short(faces):
    found = find_duplicates(np.concatenate([faces.images, faces.images[:4], np.zeros((2, 48, 48), np.uint8)]))
    assert repr(found) == f"Duplicates(n=216, exact=10, near={found.near.sum()}, flat=2)"
