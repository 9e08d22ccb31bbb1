"""Small files in the layout of each data set. The faces are drawn."""

import pickle
import shutil
import tarfile
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.utils import Bunch

from ferkit.datasets import (
    harmonize,
    load_affectnet,
    load_ckplus,
    load_expw,
    load_fer2013,
    load_ferplus,
    load_folder,
    load_jaffe,
    load_rafdb,
    make_faces,
)

DRAWN = make_faces(24, size=64, random_state=0).images


def draw(path, number=0, side=64):
    """Save a face, as PNG to any name, so that its pixels can be compared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(DRAWN[number])
    (image if side == 64 else image.resize((side, side))).save(path, "TIFF" if path.suffix == ".tiff" else "PNG")


def resized(number):
    return np.asarray(Image.fromarray(DRAWN[number]).resize((48, 48), Image.Resampling.BILINEAR))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def names_of(faces):
    return faces.target_names[faces.target].tolist()


def write_rafdb(folder):
    rows = ["train_00001.jpg 5", "train_00002.jpg 4", "test_0001.jpg 1", "test_0002.jpg 7"]
    write(folder / "basic/EmoLabel/list_patition_label.txt", "\n".join(rows) + "\n")
    for number, row in enumerate(rows):
        draw(folder / f"basic/Image/aligned/{row[:-6]}_aligned.jpg", number)
        draw(folder / f"basic/Image/original/{row[:-6]}.jpg", 9)  # whole photos
    return folder


AFFECTNET_COLUMNS = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def write_affectnet_tables(folder, expressions=(1, 7, 9, 0)):
    for table, subset, header in (("training", 689, True), ("validation", 12, False)):
        rows = [
            f"{subset}/{number}d9.jpg,{number},0,40,40,12.5;30.1;13.2;35,{expression},0.2,-0.3"
            for number, expression in enumerate(expressions)
        ]
        rows = [AFFECTNET_COLUMNS, *rows] if header else rows  # as in some published copies
        write(folder / f"Manually_Annotated_file_lists/{table}.csv", "\n".join(rows) + "\n")
        for number in range(len(expressions)):
            draw(folder / f"Manually_Annotated/Manually_Annotated_Images/{subset}/{number}d9.jpg", number)
    return folder


def write_affectnet_arrays(folder):
    for part in ("train_set", "val_set"):
        for number, label in ((10, "3"), (2, 0), (1, ["6"])):
            draw(folder / part / f"images/{number}.jpg", number)
            (folder / part / "annotations").mkdir(exist_ok=True)
            np.save(folder / part / f"annotations/{number}_exp.npy", label)
            np.save(folder / part / f"annotations/{number}_val.npy", np.array("-0.5"))
            np.save(folder / part / f"annotations/{number}_aro.npy", 0.1)
    return folder


def write_ckplus(folder, landmarks=False):
    for person, sequence, label in (("S005", "001", "3"), ("S010", "002", "7"), ("S010", "004", None)):
        for frame in range(1, 5):
            name = f"{person}/{sequence}/{person}_{sequence}_{frame:08d}"
            draw(folder / f"cohn-kanade-images/{name}.png", 4 * int(sequence) + frame)
            if landmarks:
                points = "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in ((8, 6), (40, 30), (24, 38)))
                write(folder / f"Landmarks/{name}_landmarks.txt", points)
        (folder / f"Emotion/{person}/{sequence}").mkdir(parents=True)  # empty if there is no label
        if label:
            write(folder / f"Emotion/{name}_emotion.txt", f"   {label}.0000000e+00\n")
    return folder


def write_jaffe(folder):
    for number, name in enumerate(["KA.AN1.39.tiff", "KA.NE2.27.tiff", "YM.SU3.60.tiff"]):
        draw(folder / "jaffedbase" / name, number)
    write(folder / "jaffedbase/README", "about")
    return folder


def write_expw(folder):
    rows = ["shock_1.jpg 0 10 20 44 50 98.3 5", "shock_1.jpg 1 0 0 24 24 30 6", "angry_2.jpg 0 4 4 60 60 59.9 0"]
    write(folder / "label/label.lst", "\n".join(rows) + "\n")
    for number, name in enumerate(("shock_1.jpg", "angry_2.jpg", "unlabeled.jpg")):
        draw(folder / "image/origin" / name, number)
    return folder


def write_folder(folder):
    for number, place in enumerate(("train/glad/2.png", "train/Bored/10.png", "test/glad/1.png", "train/glad/1.png")):
        draw(folder / place, number)
    return folder


SETS = {  # loader, writer, names of the faces, their usages, their groups
    "rafdb": (
        *(load_rafdb, write_rafdb, ["sadness", "happiness", "surprise", "neutral"]),
        *(["Training"] * 2 + ["Test"] * 2, None),
    ),
    "affectnet, tables": (
        *(load_affectnet, write_affectnet_tables, ["happy", "contempt", "neutral"] * 2),
        *(["Training"] * 3 + ["Validation"] * 3, None),
    ),
    "affectnet, arrays": (
        *(load_affectnet, write_affectnet_arrays, ["anger", "neutral", "surprise"] * 2),
        *(["Training"] * 3 + ["Validation"] * 3, None),
    ),
    "ckplus": (load_ckplus, write_ckplus, ["disgust", "surprise"], ["Training"] * 2, ["S005", "S010"]),
    "ckplus, landmarks": (
        *(load_ckplus, partial(write_ckplus, landmarks=True), ["disgust", "surprise"]),
        *(["Training"] * 2, ["S005", "S010"]),
    ),
    "jaffe": (load_jaffe, write_jaffe, ["angry", "neutral", "surprise"], ["Training"] * 3, ["KA", "KA", "YM"]),
    "expw": (load_expw, write_expw, ["surprise", "neutral", "angry"], ["Training"] * 3, None),
    "folder": (
        *(load_folder, write_folder, ["glad", "glad", "Bored", "glad"]),
        *(["Training"] * 3 + ["Test"], None),
    ),
}


@pytest.fixture(params=SETS)
def layout(request, tmp_path):
    load, write_files, labels, usage, groups = SETS[request.param]
    return load, write_files(tmp_path / "data"), labels, usage, groups


def test_each_set_gives_the_bunch_of_fer2013(layout, capsys):
    load, folder, labels, usage, groups = layout
    with warnings.catch_warnings(action="error"):
        faces = load(folder)
    assert capsys.readouterr() == ("", "")
    assert faces.data.shape == (len(labels), 2304)
    assert faces.data.dtype == np.uint8
    assert faces.images.shape == (len(labels), 48, 48)
    assert np.shares_memory(faces.images, faces.data)
    assert faces.target.dtype == np.int64
    assert names_of(faces) == labels
    assert faces.usage.tolist() == usage
    assert (None if faces.groups is None else faces.groups.tolist()) == groups
    assert len(faces.origin) == len(labels)
    assert folder.name in faces.DESCR
    data, target = load(folder, return_X_y=True)
    assert np.array_equal(data, faces.data)
    assert np.array_equal(target, faces.target)


def test_files_are_decoded_by_the_estimator_and_give_the_same_pixels(layout, tiny):
    load, folder, labels, _, _ = layout
    arrays, files = load(folder, image_shape=(40, 40, 3)), load(folder, image_shape=None)
    assert arrays.images.shape == (len(labels), 40, 40, 3)
    assert files.images is None
    assert files.data.shape == (len(labels),)
    assert names_of(files) == labels
    if len(set(labels)) == 1:
        return
    models = [tiny(image_shape=(40, 40, 3)).fit(faces.data, labels) for faces in (arrays, files)]
    probabilities = models[0].predict_proba(arrays.data)
    assert np.array_equal(probabilities, models[1].predict_proba(files.data))
    assert np.array_equal(probabilities, models[1].predict_proba(pickle.loads(pickle.dumps(files.data))))
    assert np.array_equal(probabilities, models[1].predict_proba(pd.Series(files.data)))


@pytest.mark.parametrize("pack", ["zip", "tar"])
def test_archives_are_read_in_place(layout, pack, tmp_path):
    load, folder = layout[:2]
    archive = tmp_path / f"packed.{pack}"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    with zipfile.ZipFile(archive, "w") if pack == "zip" else tarfile.open(archive, "w:gz") as packed:
        for path in files:
            (packed.write if pack == "zip" else packed.add)(path, path.relative_to(folder))
    assert np.array_equal(load(archive).data, load(folder).data)
    with pytest.raises(ValueError, match=r"^Expected a folder for image_shape=None, got the file .*: extract it"):
        load(archive, image_shape=None)


def test_whole_images_are_resized_and_faces_in_photos_are_cut_out(tmp_path):
    faces = load_rafdb(write_rafdb(tmp_path / "rafdb"))
    assert all(np.array_equal(image, resized(number)) for number, image in enumerate(faces.images))
    faces = load_expw(write_expw(tmp_path / "expw"), image_shape=(40, 40))
    # the first box is 40 high and 24 wide: a square around its center
    assert np.array_equal(faces.images[0], DRAWN[0][10:50, 12:52])
    faces = load_expw(tmp_path / "expw", image_shape=(24, 24))
    assert np.array_equal(faces.images[1], DRAWN[0][:24, :24])
    faces = load_affectnet(write_affectnet_tables(tmp_path / "affectnet"), usage="Training", image_shape=(40, 40))
    assert np.array_equal(faces.images[1], DRAWN[1][:40, 1:41])
    folder = write_ckplus(tmp_path / "ckplus", landmarks=True)
    assert np.array_equal(load_ckplus(folder, image_shape=(32, 32)).images[0], DRAWN[8][6:38, 8:40])


def test_all_sets_have_the_same_attributes(layout, tmp_path):
    load, folder, *_ = layout
    make_faces(10, as_frame=True, random_state=0).frame.to_csv(tmp_path / "fer2013.csv", index=False)
    assert {*load(folder)} == {*load_fer2013(tmp_path / "fer2013.csv")}


def test_valence_and_arousal_of_affectnet_are_traits(tmp_path):
    faces = load_affectnet(write_affectnet_tables(tmp_path / "tables"))
    assert faces.traits.to_dict("list") == {"valence": [0.2] * 6, "arousal": [-0.3] * 6}
    folder = write_affectnet_arrays(tmp_path / "arrays")
    (folder / "val_set/annotations/1_aro.npy").unlink()
    np.save(folder / "val_set/annotations/2_val.npy", -2)  # which AffectNet gives where nothing is known
    faces = load_affectnet(folder, usage="Validation")
    expected = {"valence": [-0.5, np.nan, -0.5], "arousal": [np.nan, 0.1, 0.1]}
    assert all(np.array_equal(faces.traits[name], values, equal_nan=True) for name, values in expected.items())
    assert load_jaffe(write_jaffe(tmp_path / "jaffe")).traits is None


def test_the_edge_is_repeated_where_a_box_leaves_the_photo(tmp_path):
    folder = write_expw(tmp_path)
    write(folder / "label/label.lst", "shock_1.jpg 0 -8 40 72 24 90 3\n")
    image = load_expw(folder, image_shape=(32, 32)).images[0]
    assert np.array_equal(image[8:, :24], DRAWN[0][:24, 40:])
    assert np.array_equal(image[:8], np.tile(image[8], (8, 1)))
    assert np.array_equal(image[:, 24:], np.tile(image[:, 23:24], 8))


NAMES = {  # in the order of the codes of each set
    "rafdb": "surprise fear disgust happiness sadness anger neutral",
    "affectnet, tables": "neutral happy sad surprise fear disgust anger contempt",
    "ckplus": "neutral anger contempt disgust fear happy sadness surprise",
    "jaffe": "angry disgust fear happy neutral sad surprise",
    "expw": "angry disgust fear happy sad surprise neutral",
    "folder": "Bored glad",
}


@pytest.mark.parametrize("name", NAMES)
def test_target_names_have_the_order_of_the_set(name, tmp_path):
    load, write_files, _, _, _ = SETS[name]
    assert load(write_files(tmp_path)).target_names.tolist() == NAMES[name].split()


@pytest.mark.parametrize("name", ["affectnet, tables", "affectnet, arrays"])
def test_usage_selects_splits_of_affectnet(name, tmp_path):
    load, write_files, labels, _, _ = SETS[name]
    faces = load(write_files(tmp_path), usage="Validation")
    assert faces.usage.tolist() == ["Validation"] * 3
    assert names_of(faces) == labels[3:]


def test_affectnet_without_folders_of_splits_is_training_and_labels_may_be_floats(tmp_path):
    for number, label in enumerate((3.0, "6.0", 0)):
        draw(tmp_path / f"images/{number}.jpg", number)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        np.save(tmp_path / f"annotations/{number}_exp.npy", label)
    faces = load_affectnet(tmp_path)
    assert names_of(faces) == ["surprise", "anger", "neutral"]
    assert set(faces.usage) == {"Training"}


@pytest.mark.parametrize("usage", ["Test", ["Test", "Training"]])
def test_usage_selects_splits(usage, tmp_path):
    faces = load_rafdb(write_rafdb(tmp_path), usage=usage)
    assert set(faces.usage) == set(np.atleast_1d(usage))
    with pytest.raises(ValueError, match=r"^Expected Validation faces in .*, got only Training \(2\), Test \(2\)"):
        load_rafdb(tmp_path, usage="Validation")


def test_ckplus_gives_the_last_frames_and_on_request_the_first_one_as_neutral(tmp_path):
    folder = write_ckplus(tmp_path)
    faces = load_ckplus(folder, n_frames=2, neutral=True)
    assert names_of(faces) == ["neutral", "disgust", "disgust", "neutral", "surprise", "surprise"]
    assert [Path(name).name[9:17].lstrip("0") for name in faces.origin] == ["1", "3", "4"] * 2
    assert faces.groups.tolist() == ["S005"] * 3 + ["S010"] * 3
    with pytest.raises(ValueError, match=r"^Expected a whole number of 1 or more in n_frames, got 0"):
        load_ckplus(folder, n_frames=0)


def test_no_frame_of_ckplus_has_two_labels(tmp_path):
    folder = write_ckplus(tmp_path)
    assert names_of(load_ckplus(folder, n_frames=9, neutral=True)) == [
        "neutral",
        *["disgust"] * 3,
        "neutral",
        *["surprise"] * 3,
    ]
    for path in sorted(folder.rglob("*.png"))[1:4]:
        path.unlink()
    faces = load_ckplus(folder, neutral=True)
    assert names_of(faces) == ["disgust", "neutral", "surprise"], "the only frame of a sequence is its peak"
    with pytest.raises(ValueError, match=r"got 1\.5"):
        load_ckplus(folder, n_frames=1.5)


def test_links_to_directories_are_followed_once(tmp_path):
    data = tmp_path / "data"
    draw(tmp_path / "happy/0.png", 0)
    draw(data / "sad/1.png", 1)
    (data / "happy").symlink_to(tmp_path / "happy")
    (data / "fear").symlink_to(data / "sad")  # of a neighbor, whose faces have a name already
    (data / "sad/loop").symlink_to(data)
    assert names_of(load_folder(data)) == ["happy", "sad"]


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path):
    folder = write_rafdb(tmp_path)
    labels = next(folder.rglob("list_patition_label.txt"))
    labels.write_text(labels.read_text(), encoding="utf-8-sig")
    assert len(load_rafdb(folder).data) == 4


def test_groups_keep_people_apart(tmp_path, tiny):
    faces = load_ckplus(write_ckplus(tmp_path), n_frames=2, neutral=True)
    predicted = cross_val_predict(
        tiny(), faces.data, names_of(faces), groups=faces.groups, cv=GroupKFold(2), method="predict"
    )
    assert len(predicted) == 6


def test_rafdb_is_also_read_from_folders_of_codes(tmp_path):
    labels = {
        "test/7/test_1_aligned.jpg": "neutral",
        "train/5/train_2_aligned.jpg": "sadness",
        "train/4/train_10_aligned.jpg": "happiness",
    }
    for place in labels:
        draw(tmp_path / "DATASET" / place)
    draw(tmp_path / "DATASET/train/5/train_3.jpg")  # not aligned
    faces = load_rafdb(tmp_path)
    assert names_of(faces) == list(labels.values())
    assert faces.origin.tolist() == [f"{tmp_path.name}/DATASET/{place}" for place in labels]
    assert faces.usage.tolist() == ["Test", "Training", "Training"]


PAGES = {
    load_rafdb: ("RAF-DB .*http://www.whdeng.cn/RAF/model1.html", "list_patition_label.txt"),
    load_affectnet: ("AffectNet .*http://mohammadmahoor.com/pages/databases/affectnet/", "_exp.npy"),
    load_ckplus: ("CK.*http://www.jeffcohn.net/Resources/", "cohn-kanade-images"),
    load_jaffe: ("JAFFE .*https://zenodo.org/record/3451524", "KA.AN1.39.tiff"),
    load_expw: ("http://mmlab.ie.cuhk.edu.hk/projects/socialrelation/index.html", "label.lst"),
}


@pytest.mark.parametrize("load", PAGES)
def test_a_set_that_is_missing_says_where_to_request_it(load, tmp_path):
    page, layout = PAGES[load]
    with pytest.raises(FileNotFoundError, match=f"Found nothing at .*: expected .*{layout}.*{page}"):
        load(tmp_path / "missing")
    write(tmp_path / "notes.txt", "")
    with pytest.raises(ValueError, match=f"^Expected .*{layout}.* got .*/notes.txt.*{page}"):
        load(tmp_path)


def spoil_row(file, row, text):
    def spoil(folder):
        lines = (folder / file).read_bytes().splitlines()
        lines[row] = text if isinstance(text, bytes) else text.encode()
        (folder / file).write_bytes(b"\n".join(lines) + b"\n")

    return spoil


def spoil_image(file):
    return lambda folder: (folder / file).write_bytes(b"no image")


def spoil_array(label):
    return lambda folder: np.save(folder / "train_set/annotations/2_exp.npy", label)


def remove_frames(folder):
    shutil.rmtree(folder / "cohn-kanade-images/S010/002")


LIST = "basic/EmoLabel/list_patition_label.txt"
TABLE = "Manually_Annotated_file_lists/training.csv"
DAMAGES = {
    "rafdb, label": ("rafdb", spoil_row(LIST, 1, "train_00002.jpg 8"), "Row 1 of .* has label '8', expected 1 to 7"),
    "rafdb, image": ("rafdb", spoil_row(LIST, 0, "train_9.jpg 1"), "Row 0 of .* names train_9_aligned.jpg, which is"),
    "rafdb, encoding": (
        *("rafdb", spoil_row(LIST, 1, b"train_\xff.jpg 1")),
        "Row 1 of .* names train_\ufffd_aligned.jpg, which is missing",
    ),
    "rafdb, pixels": ("rafdb", spoil_image("basic/Image/aligned/test_0001_aligned.jpg"), "Image .*test_0001_aligned"),
    "affectnet, label": (
        *("affectnet, tables", spoil_row(TABLE, 1, "689/0d9.jpg,0,0,9,9,1;2,11,0,0")),
        "Row 0 of .*training.csv has label '11', expected 0 to 7",
    ),
    "affectnet, box": (
        *("affectnet, tables", spoil_row(TABLE, 2, "689/1d9.jpg,NULL,0,9,9,1;2,1,0,0")),
        r"Row 1 of .*training.csv has the box \['NULL', '0', '9', '9'\], expected four numbers",
    ),
    "affectnet, flat box": (
        *("affectnet, tables", spoil_row(TABLE, 2, "689/1d9.jpg,5,0,0,9,1;2,1,0,0")),
        "Image .*689/1d9.jpg cannot be read .*positive width",
    ),
    "affectnet, short row": (
        *("affectnet, tables", spoil_row(TABLE, 4, "689/3d9.jpg,1")),
        "Row 3 of .*training.csv has label ''",
    ),
    "affectnet, valence": (
        *("affectnet, tables", spoil_row(TABLE, 2, "689/1d9.jpg,1,0,40,40,1;2,1,high,0")),
        "Row 1 of .*training.csv has the valence 'high', expected a number",
    ),
    "affectnet, array": (
        "affectnet, arrays",
        spoil_array(np.array([1, 2])),
        "2_exp.npy has label 'in no readable form'",
    ),
    "affectnet, pickle": (
        *("affectnet, arrays", spoil_array(np.array([{"happy": 1}], dtype=object))),
        "2_exp.npy has label 'in no readable form'",
    ),
    "ckplus, images": ("ckplus", remove_frames, "S010_002_00000004_emotion.txt labels a sequence whose images are"),
    "ckplus, landmarks": (
        *("ckplus, landmarks", spoil_row("Landmarks/S005/001/S005_001_00000004_landmarks.txt", 1, "9.0 left")),
        "S005_001_00000004_landmarks.txt holds no lines of two numbers",
    ),
    "ckplus, label": (
        *("ckplus", spoil_row("Emotion/S010/002/S010_002_00000004_emotion.txt", 0, "happy")),
        "S010_002_00000004_emotion.txt has label 'in no readable form'",
    ),
    "expw, row": ("expw", spoil_row("label/label.lst", 1, "shock_1.jpg 1 0 0 3"), "Row 1 of .* has 5 values, expected"),
    "expw, box": (
        *("expw", spoil_row("label/label.lst", 1, "shock_1.jpg 1 0 left 24 24 30 6")),
        r"Row 1 of .*label.lst has the box \['0', 'left', '24', '24'\], expected four numbers",
    ),
    "expw, image": ("expw", spoil_row("label/label.lst", 2, "no.jpg 0 1 1 9 9 50 3"), "Row 2 of .* names no.jpg"),
    "jaffe, pixels": ("jaffe", spoil_image("jaffedbase/KA.NE2.27.tiff"), "Image .*KA.NE2.27.tiff cannot be read"),
    "folder, pixels": ("folder", spoil_image("train/glad/1.png"), "Image .*train/glad/1.png cannot be read"),
}


@pytest.mark.parametrize(("name", "spoil", "message"), DAMAGES.values(), ids=DAMAGES)
def test_bad_entries_are_named_or_left_out(name, spoil, message, tmp_path):
    load, write_files, labels, _, _ = SETS[name]
    folder = write_files(tmp_path / "data")
    before = load(folder)
    spoil(folder)
    with pytest.raises(ValueError, match=f'{message}.*errors="drop"'):
        load(folder)
    left_out = f"Left out 1 of the {len(labels)} faces in .*, the first: .*{message}"
    with pytest.warns(UserWarning, match=left_out):
        faces = load(folder, errors="drop")
    rest = [np.delete(np.arange(len(labels)), bad) for bad in range(len(labels))]
    assert any(
        np.array_equal(faces.data, before.data[kept]) and names_of(faces) == [labels[row] for row in kept]
        for kept in rest
    )


@pytest.mark.parametrize(("name", "spoil", "message"), DAMAGES.values(), ids=DAMAGES)
def test_warnings_point_to_the_call(name, spoil, message, tmp_path):
    load, write_files, _, _, _ = SETS[name]
    spoil(write_files(tmp_path / "data"))
    with pytest.warns(UserWarning, match=message) as warned:
        load(tmp_path / "data", errors="drop")
    assert warned[0].filename == __file__


def test_parameters_are_checked(tmp_path):
    folder = write_folder(tmp_path)
    with pytest.raises(ValueError, match='Expected errors="raise" or errors="drop"'):
        load_folder(folder, errors="ignore")
    with pytest.raises(ValueError, match="Expected usage to be one or several of Training"):
        load_folder(folder, usage="train")
    with pytest.raises(ValueError, match="image_shape must be"):
        load_folder(folder, image_shape=(48,))
    for shape in ((48, -1), (48, 48, 4)):
        with pytest.raises(ValueError, match=r"image_shape must be \(height, width\), or \(height, width, 3\)"):
            load_folder(folder, image_shape=shape)


def test_folders_without_images_in_folders_of_labels_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"^Expected images in folders such as train/glad/1.jpg in .*, got no files\.$"
    ):
        load_folder(tmp_path)
    for number in range(7):
        write(tmp_path / f"notes{number}.txt", "")
    with pytest.raises(ValueError, match=r"got .*/notes0.txt, .*notes4.txt, …\.$"):
        load_folder(tmp_path)
    draw(tmp_path / "train/1.png")
    with pytest.raises(
        ValueError, match=r"^Expected images in folders of labels, such as train/glad/1.png, got .*/1.png"
    ):
        load_folder(tmp_path)
    with pytest.raises(ValueError, match=r"^Expected Test faces in .*train, got only Training \(3\)"):
        load_folder(write_folder(tmp_path / "data") / "train", usage="Test")


def test_folders_of_bad_images_are_refused(tmp_path):
    (tmp_path / "glad").mkdir()
    (tmp_path / "glad/1.png").write_bytes(b"no image")
    with pytest.raises(
        ValueError, match=r"^Expected faces in .*, got none that can be loaded, the first: Image .*1.png"
    ):
        load_folder(tmp_path, errors="drop")


def test_damaged_archives_are_named(tmp_path):
    folder = write_folder(tmp_path / "data")
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as packed:
        packed.add(folder, "data")
    content = (tmp_path / "packed.tar.gz").read_bytes()
    (tmp_path / "packed.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"packed.tar.gz"):
        load_folder(tmp_path / "packed.tar.gz")


def test_a_relative_path_gives_files_that_exist(tmp_path, monkeypatch):
    write_folder(tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert all(path.is_file() for path in load_folder("../data", image_shape=None).data)


def test_ferplus_says_where_its_faces_come_from(tmp_path):
    faces = make_faces(20, as_frame=True, random_state=0)
    faces.frame.to_csv(tmp_path / "fer2013.csv", index=False)
    choices = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]
    votes = pd.DataFrame(10 * np.eye(10, dtype=int)[np.array([4, 5, 6, 1, 3, 2, 0])[faces.target]], columns=choices)
    votes.insert(0, "Usage", faces.usage)
    votes.insert(1, "Image name", ["", *[f"fer{row}.png" for row in range(1, 20)]])
    votes.to_csv(tmp_path / "votes.csv", index=False)
    assert load_ferplus(tmp_path / "votes.csv", fer2013=tmp_path / "fer2013.csv").origin.tolist() == [*range(1, 20)]


# harmonize


def bunch(names, labels, **fields):
    data = np.arange(4 * len(labels), dtype=np.uint8).reshape(-1, 4)
    target = np.array([names.index(label) for label in labels])
    return Bunch(data=data, images=data.reshape(-1, 2, 2), target=target, target_names=np.array(names), **fields)


SYNONYMS = ["Anger", "disgusted", "Fearful", "happiness", "SADNESS", "surprised", "neutrality"]


def test_harmonize_matches_synonyms():
    faces = harmonize(bunch(SYNONYMS, SYNONYMS[::-1]))
    assert names_of(faces) == ["neutral", "surprise", "sad", "happy", "fear", "disgust", "angry"]
    assert faces.target_names.tolist() == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert faces.dropped == {}
    assert np.shares_memory(faces.images, faces.data)


def test_harmonize_drops_and_counts_faces_without_a_new_name():
    names = ["neutral", "anger", "contempt", "disgust", "none"]
    labels = ["anger", "contempt", "none", "contempt", "neutral"]
    given = bunch(names, labels, origin=np.arange(5), groups=np.array([*"abcde"]), usage=np.array(["Test"] * 5))
    faces = harmonize(given)
    assert names_of(faces) == ["angry", "neutral"]
    assert faces.dropped == {"contempt": 2, "none": 1}
    assert faces.origin.tolist() == [0, 4]
    assert faces.groups.tolist() == ["a", "e"]
    assert faces.usage.tolist() == ["Test", "Test"]
    assert np.array_equal(faces.images, given.images[[0, 4]])
    faces = harmonize(given, "ferplus")
    assert names_of(faces) == ["anger", "contempt", "contempt", "neutral"]
    assert faces.dropped == {"none": 1}
    assert names_of(harmonize(given, ["Angry", "Contempt"])) == ["Angry", "Contempt", "Contempt"]


@pytest.mark.parametrize("name", ["rafdb", "affectnet, tables", "ckplus", "jaffe", "expw"])
@pytest.mark.parametrize("names", ["fer2013", "ferplus", "affectnet", "rafdb"])
def test_sets_can_be_brought_to_the_names_of_each_other(name, names, tmp_path):
    load, write_files, labels, _, _ = SETS[name]
    faces = harmonize(load(write_files(tmp_path)), names)
    has_contempt = names in ("ferplus", "affectnet")
    assert len(faces.data) == len([label for label in labels if has_contempt or label != "contempt"])
    back = harmonize(faces, SYNONYMS)
    assert len(back.data) + back.dropped.get("contempt", 0) == len(faces.data)


def test_harmonize_reads_the_codes_of_a_set(tmp_path):
    for code in range(1, 8):
        draw(tmp_path / f"train/{code}/{code}.png", code)
    faces = load_folder(tmp_path)
    with pytest.raises(ValueError, match=r"got 1, 2, .*numbering= with the set whose codes they are"):
        harmonize(faces)
    faces = harmonize(faces, numbering="rafdb")
    assert names_of(faces) == ["surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"]


def test_harmonize_keeps_distributions():
    names = ["neutral", "happiness", "contempt"]
    shares = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0, 1, 0]], np.float32)
    votes = np.arange(9).reshape(3, 3)
    data = np.zeros((3, 2304), np.uint8)
    faces = harmonize(Bunch(data=data, target=shares, target_names=np.array(names), votes=votes), ["happy", "neutral"])
    np.testing.assert_allclose(faces.target, [[0.375, 0.625], [1, 0]], rtol=1e-6)
    assert faces.target.dtype == np.float32
    assert faces.dropped == {"contempt": 1}
    assert np.array_equal(faces.votes, votes[[0, 2]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": "kdef"}, "^Expected names to be one of fer2013, .*, got 'kdef'"),
        ({"numbering": "kdef"}, "^Expected numbering to be one of fer2013, .*, got 'kdef'"),
        ({"names": ["happy", "happiness"]}, "^Expected names of different emotions"),
        ({"names": ["contempt"]}, "^Expected emotions among contempt, got Anger, .*: pass the names"),
    ],
)
def test_harmonize_refuses_names_that_fit_nothing(arguments, message):
    with pytest.raises(ValueError, match=message):
        harmonize(bunch(SYNONYMS, SYNONYMS), **arguments)


def test_a_model_of_one_set_trains_on_another_after_harmonize(tmp_path, tiny):
    faces = harmonize(load_rafdb(write_rafdb(tmp_path / "rafdb")))
    others = make_faces(20, random_state=0)
    model = tiny().fit(others.data, others.target_names[others.target])
    assert set(model.predict(faces.data)) <= set(faces.target_names)
