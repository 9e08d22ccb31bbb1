import gzip
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from ferkit.datasets import load_fer2013, load_ferplus, make_faces

EMOTIONS = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
CHOICES = [*EMOTIONS, "unknown", "NF"]
N = 140
FACES = make_faces(N, as_frame=True, random_state=0)
CHOICE_OF_CODE = np.array([4, 5, 6, 1, 3, 2, 0])  # of angry, disgust, fear, happy, sad, surprise, neutral


def cast(winners, runners_up=None, most=7):
    """Votes on faces: `most` for the winners, the others for the runners-up."""
    votes = np.zeros((len(winners), 10), np.int64)
    runners_up = (np.asarray(winners) + 1) % 8 if runners_up is None else runners_up
    np.add.at(votes, (range(len(winners)), winners), most)
    np.add.at(votes, (range(len(winners)), runners_up), 10 - most)
    return votes


VOTES = cast(CHOICE_OF_CODE[FACES.target])
VOTES[5::10] = cast([8] * 14)  # unknown
VOTES[6::10] = cast([9] * 14)  # not a face
VOTES[7::10] = cast([7] * 14, [1] * 14)  # contempt, which FER2013 does not have
VOTES[8::10] = cast(CHOICE_OF_CODE[FACES.target[8::10]], most=5)  # a draw
CLEAR = ~np.isin(np.arange(N) % 10, [5, 6, 8])
DISTRIBUTED = ~np.isin(np.arange(N) % 10, [5, 6])


def write_votes(path, votes=VOTES, usage=FACES.usage, names=None):
    table = pd.DataFrame(votes, columns=CHOICES)
    table.insert(0, "Usage", usage)
    table.insert(1, "Image name", [f"fer{i:07d}.png" for i in range(len(votes))] if names is None else names)
    table.to_csv(path, index=False)
    return path


def write_faces(path, rows=slice(None), **columns):
    FACES.frame.assign(**columns)[rows].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ferplus")
    return write_votes(folder / "fer2013new.csv"), write_faces(folder / "fer2013.csv")


# The votes that are not 0, their majority and their distribution; None if the face is left out.
RULES = [
    ({"neutral": 10}, "neutral", {"neutral": 1}),
    ({"contempt": 8, "anger": 2}, "contempt", {"contempt": 1}),
    ({"fear": 6, "surprise": 4}, "fear", {"fear": 0.6, "surprise": 0.4}),
    ({"fear": 5, "surprise": 5}, None, {"fear": 0.5, "surprise": 0.5}),
    ({"fear": 8, "surprise": 2}, "fear", {"fear": 1}),  # over three quarters
    ({"fear": 7, "surprise": 3}, "fear", {"fear": 0.7, "surprise": 0.3}),
    ({"fear": 6, "surprise": 2}, "fear", {"fear": 1}),  # three quarters
    ({"fear": 5, "surprise": 4, "anger": 1}, "fear", {"fear": 5 / 9, "surprise": 4 / 9}),
    ({"fear": 7, "surprise": 2, "anger": 1}, "fear", {"fear": 1}),  # of 9 votes that count
    ({"fear": 2, "sadness": 1, "anger": 1, "disgust": 1, "neutral": 1, "unknown": 1, "NF": 1}, "fear", {"fear": 1}),
    ({"fear": 4, "surprise": 3, "anger": 3}, None, {"fear": 0.4, "surprise": 0.3, "anger": 0.3}),
    ({"fear": 4, "surprise": 3, "anger": 2, "disgust": 1}, None, {"fear": 4 / 7, "surprise": 3 / 7}),
    ({"fear": 3, "surprise": 3, "anger": 2, "disgust": 2}, None, None),  # four emotions
    ({"fear": 4, "surprise": 2, "anger": 2, "disgust": 2}, None, None),
    ({"fear": 2, "surprise": 2, "anger": 2, "disgust": 2, "happiness": 2}, None, None),
    (dict.fromkeys(CHOICES, 1), None, None),
    ({}, None, None),
    ({"unknown": 10}, None, None),
    ({"NF": 10}, None, None),
    ({"unknown": 6, "fear": 4}, None, None),
    ({"NF": 6, "fear": 4}, None, None),
    ({"unknown": 4, "fear": 3, "anger": 3}, None, None),
    ({"fear": 5, "unknown": 5}, None, None),
    ({"fear": 4, "surprise": 2, "unknown": 4}, None, None),  # unknown comes with fear: 4 of 10
    ({"fear": 4, "surprise": 4, "NF": 2}, None, {"fear": 0.5, "surprise": 0.5}),
    ({"fear": 6, "surprise": 2, "unknown": 2}, "fear", {"fear": 0.75, "surprise": 0.25}),
    ({"fear": 6, "unknown": 4}, "fear", {"fear": 1}),
    ({"fear": 6, "surprise": 1, "unknown": 3}, "fear", {"fear": 1}),
    ({"fear": 5, "surprise": 2, "unknown": 3}, None, None),  # unknown comes before surprise: 5 of 10
    ({"fear": 5, "surprise": 2, "NF": 2, "unknown": 1}, "fear", {"fear": 5 / 7, "surprise": 2 / 7}),
]


@pytest.mark.parametrize(("votes", "majority", "distribution"), RULES)
def test_rules(votes, majority, distribution, tmp_path):
    row = np.array([[votes.get(choice, 0) for choice in CHOICES]])
    path = write_votes(tmp_path / "fer2013new.csv", row, ["Training"])
    fer2013 = write_faces(tmp_path / "fer2013.csv", slice(1), emotion="neutral" if majority == "neutral" else "fear")
    faces = load_ferplus(path, fer2013=fer2013)
    assert faces.target_names[faces.target].tolist() == [majority] * (majority is not None)
    faces = load_ferplus(path, fer2013=fer2013, target="distribution")
    expected = [[distribution.get(emotion, 0) for emotion in EMOTIONS]] if distribution else np.empty((0, 8))
    np.testing.assert_allclose(faces.target, expected, rtol=1e-6)


def check(faces, kept, target="majority"):
    assert np.array_equal(faces.data, FACES.data[kept])
    assert faces.data.dtype == np.uint8
    assert faces.images.shape == (np.count_nonzero(kept), 48, 48)
    assert np.shares_memory(faces.images, faces.data)
    assert np.array_equal(faces.usage, FACES.usage[kept])
    assert np.array_equal(faces.votes, VOTES[kept])
    assert faces.votes.dtype == np.int64
    assert faces.target_names.tolist() == EMOTIONS
    assert "fer2013new.csv" in faces.DESCR
    assert f'"{target}"' in faces.DESCR
    assert "1608.01041" in faces.DESCR
    if target == "majority":
        assert faces.target.dtype == np.int64
        assert np.array_equal(faces.target, VOTES[kept].argmax(axis=1))
    else:
        assert faces.target.dtype == np.float32
        np.testing.assert_allclose(faces.target, VOTES[kept, :8] / 10, rtol=1e-6)
        np.testing.assert_allclose(faces.target.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("form", [str, lambda path: path, load_fer2013, lambda path: load_fer2013(str(path.parent))])
@pytest.mark.parametrize(("target", "kept"), [("majority", CLEAR), ("distribution", DISTRIBUTED)])
def test_the_faces_and_their_votes(target, kept, form, files):
    path, fer2013 = files
    check(load_ferplus(path, fer2013=form(fer2013), target=target), kept, target)


@pytest.mark.parametrize("usage", ["PublicTest", ["Training", "PrivateTest"], ("PublicTest",), FACES.usage])
@pytest.mark.parametrize(("target", "kept"), [("majority", CLEAR), ("distribution", DISTRIBUTED)])
def test_usage_and_return_X_y(target, kept, usage, files):
    path, fer2013 = files
    kept = kept & np.isin(FACES.usage, usage)
    check(load_ferplus(path, fer2013=fer2013, usage=usage, target=target), kept, target)
    data, labels = load_ferplus(path, fer2013=fer2013, usage=usage, target=target, return_X_y=True)
    assert np.array_equal(data, FACES.data[kept])
    assert np.array_equal(labels, load_ferplus(path, fer2013=fer2013, usage=usage, target=target).target)


@pytest.mark.parametrize("there", [["Training", "PublicTest"], ["PublicTest"], ["Training", "PrivateTest"]])
def test_fer2013_without_all_usages(there, files, tmp_path):
    rows = np.isin(FACES.usage, there)
    check(load_ferplus(files[0], fer2013=write_faces(tmp_path / "fer2013.csv", rows)), CLEAR & rows)
    check(load_ferplus(files[0], fer2013=load_fer2013(files[1], usage=there)), CLEAR & rows)


def test_faces_without_an_image_name_are_skipped(files, tmp_path):
    # In the published table, names skip some rows, so they are not row numbers.
    names = ["" if i % 10 == 1 else f"fer{i - i // 10:07d}.png" for i in range(N)]
    path = write_votes(tmp_path / "fer2013new.csv", names=names)
    check(load_ferplus(path, fer2013=files[1]), CLEAR & (np.arange(N) % 10 != 1))


def test_pixel_strings(files):
    faces = load_ferplus(files[0], fer2013=load_fer2013(files[1], decode=False))
    assert faces.data.tolist() == FACES.frame["pixels"][CLEAR].tolist()
    assert faces.images is None


FORMS = {
    "blanks": lambda text: text.replace(",", " , "),
    "floats": lambda text: re.sub(r",(\d+)(?=[,\n])", r",\1.0", text),
    "from Windows": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "other columns": lambda text: text.replace("\n", ",\n").replace("NF,", "NF,comment", 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_table(form, files, tmp_path):
    path = tmp_path / "fer2013new.csv"
    path.write_bytes(FORMS[form](files[0].read_text()).encode())
    check(load_ferplus(path, fer2013=files[1]), CLEAR)


def test_a_gzipped_table(files, tmp_path):
    path = tmp_path / "fer2013new.csv.gz"
    path.write_bytes(gzip.compress(files[0].read_bytes()))
    check(load_ferplus(path, fer2013=files[1]), CLEAR)


def test_emotions_that_differ_as_much_as_those_of_fer2013(files, tmp_path):
    emotion = np.where(np.arange(N) % 3 == 0, (FACES.target + 1) % 7, FACES.target)
    check(load_ferplus(files[0], fer2013=write_faces(tmp_path / "fer2013.csv", emotion=emotion)), CLEAR)


OTHER_ROWS = {
    "one missing": (lambda faces: {key: faces[key][1:] for key in ("data", "target", "usage")}, "111 Training and"),
    "one too many": (lambda faces: {key: faces[key][[0, *range(N)]] for key in ("data", "target", "usage")}, "113 Tr"),
    "usages turned round": (lambda faces: {key: faces[key][::-1] for key in ("data", "target", "usage")}, "14 Private"),
    "usages that FER+ lacks": (lambda faces: {"usage": np.full(N, "Test")}, "140 Test"),
}


@pytest.mark.parametrize("case", OTHER_ROWS)
def test_rows_that_do_not_match(case, files):
    change, counts = OTHER_ROWS[case]
    faces = load_fer2013(files[1])
    faces = Bunch(**{**faces, **change(faces)})
    with pytest.raises(
        ValueError,
        match=rf"^Expected the rows of fer2013 to match .* one by one, got {counts}.* number: pass the",
    ):
        load_ferplus(files[0], fer2013=faces)


@pytest.mark.parametrize("emotion", ["shuffled", "none"])
@pytest.mark.parametrize("target", ["majority", "distribution"])
def test_faces_in_another_order(target, emotion, files):
    faces = load_fer2013(files[1])
    faces.target = None if emotion == "none" else np.random.default_rng(0).permutation(faces.target)
    with pytest.raises(
        ValueError, match=r"^Expected the emotions of fer2013 to agree with the votes of .*, got \d+ of 84, so"
    ):
        load_ferplus(files[0], fer2013=faces, target=target)


@pytest.mark.parametrize("usage", ["Validation", "train", [], ["Training", "Test"], "PrivateTest"])
def test_missing_usages_are_named(usage, files):
    fer2013 = load_fer2013(files[1], usage=["Training", "PublicTest"])
    with pytest.raises(
        ValueError,
        match=r"^Expected usage to be one or several of Training, PublicTest, the splits in fer2013, got",
    ):
        load_ferplus(files[0], fer2013=fer2013, usage=usage)


def test_target_is_checked(files):
    with pytest.raises(
        ValueError, match=r"^Expected target=.majority. or target=.distribution., got target='probability'"
    ):
        load_ferplus(files[0], fer2013=files[1], target="probability")


def test_a_missing_path_is_named(files, tmp_path):
    for path in (tmp_path, tmp_path / "fer2013new.csv"):
        with pytest.raises(
            FileNotFoundError, match=r"^Found no file at .*: expected fer2013new.csv from https://github"
        ):
            load_ferplus(path, fer2013=files[1])
    with pytest.raises(FileNotFoundError, match=r"^Found nothing at .*no.csv: expected fer2013.csv"):
        load_ferplus(files[0], fer2013=tmp_path / "no.csv")


HEADER = ",".join(["Usage", "Image name", *CHOICES]) + "\n"
NOT_VOTES = {
    "empty": ("", "is empty or damaged .*: download it again from https://github.com/microsoft/FERPlus"),
    "open quote": (HEADER + 'Training,"a', "is empty or damaged"),
    "fer2013.csv": ("emotion,pixels,Usage\n", "lacks the columns Image name, neutral, .*, NF: pass fer2013new.csv"),
    "no NF": (HEADER.replace(",NF", ""), "lacks the columns NF: pass"),
    "text": (
        HEADER + "Training,a,10,0,0,0,0,0,0,0,0,x\n",
        "^Expected ten numbers from 0 to 10 in row 0 of .*, got 10, .*, 0, x: download",
    ),
    "negative": (HEADER + "Training,a,10,0,0,0,0,0,0,0,0,-1\n", "got 10, .*, -1: download"),
    "too many": (HEADER + "Training,a,11,0,0,0,0,0,0,0,0,0\n", "got 11, 0"),
    "fraction": (HEADER + "Training,a,0.5,0,0,0,0,0,0,0,0,0\n", "got 0.5, 0"),
    "blank": (HEADER + "Training,a,10,,0,0,0,0,0,0,0,0\n", "got 10, , 0"),
    "cut off": (
        HEADER + "Training,a,10,0,0,0,0,0,0,0,0,0\nTraining,a,10,0\n",
        "in row 1 of .*, got 10, 0, .*: download",
    ),
}


@pytest.mark.parametrize("case", NOT_VOTES)
def test_data_without_votes_is_refused(case, files, tmp_path):
    text, message = NOT_VOTES[case]
    path = tmp_path / "fer2013new.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_ferplus(path, fer2013=files[1])
