import io
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferkit.datasets import fetch_fer2013, get_data_home, make_faces

FACES = make_faces(70, as_frame=True, random_state=0)
TABLE = FACES.frame.to_csv(index=False).encode()


@pytest.fixture(autouse=True)
def nothing_is_downloaded(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    monkeypatch.setenv("FERKIT_DATA", str(tmp_path / "not asked for"))


@pytest.fixture
def kagglehub(monkeypatch):
    """Replace kagglehub by one whose download is a function of the folder to write to."""

    def install(download):
        module = types.ModuleType("kagglehub")
        module.calls = []

        def dataset_download(handle, path=None, *, force_download=False, output_dir=None):
            module.calls.append((handle, path))
            return download(Path(output_dir))

        module.dataset_download = dataset_download
        monkeypatch.setitem(sys.modules, "kagglehub", module)
        return module

    return install


def pack_zip(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def pack_tar(name, content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def write(content):
    def download(folder):
        (folder / ".complete").mkdir()  # as kagglehub does
        path = folder / "fer2013.csv"
        path.write_bytes(content)
        return str(path)

    return download


def break_off(error):
    def download(folder):
        write(TABLE[: len(TABLE) // 2])(folder)
        raise error

    return download


def check(faces):
    assert np.array_equal(faces.data, FACES.data)
    assert np.array_equal(faces.target, FACES.target)
    assert np.array_equal(faces.usage, FACES.usage)


@pytest.mark.parametrize(
    ("content", "name"),
    [(TABLE, "fer2013.csv"), (pack_zip({"fer2013.csv": TABLE}), "archive.zip")],
    ids=["csv", "zip"],  # a zip's bytes hold the time, and the processes of pytest-xdist must agree on the names
)
def test_the_first_call_downloads_and_later_ones_do_not(content, name, kagglehub, monkeypatch, tmp_path):
    module = kagglehub(write(content))
    check(fetch_fer2013(data_home=tmp_path))
    assert module.calls == [("deadskull7/fer2013", "fer2013.csv")]
    assert [path.name for path in (tmp_path / "fer2013").iterdir()] == [name]
    assert not (tmp_path / "not asked for").exists()
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    check(fetch_fer2013(data_home=str(tmp_path), download_if_missing=False))


def test_a_download_that_is_mounted_elsewhere_is_copied(kagglehub, tmp_path):
    mounted = tmp_path / "input" / "fer2013.csv"
    mounted.parent.mkdir()
    mounted.write_bytes(TABLE)
    mounted.parent.chmod(0o555)
    kagglehub(lambda folder: str(mounted))
    try:
        check(fetch_fer2013(data_home=tmp_path))
    finally:
        mounted.parent.chmod(0o755)
    assert mounted.read_bytes() == TABLE
    assert (tmp_path / "fer2013" / "fer2013.csv").read_bytes() == TABLE


def test_the_data_home_comes_from_the_environment(kagglehub, tmp_path):
    kagglehub(write(TABLE))
    check(fetch_fer2013())
    assert (tmp_path / "not asked for" / "fer2013" / "fer2013.csv").read_bytes() == TABLE


def as_images():
    names = FACES.target_names[FACES.target]
    images = {}
    for i, (image, name, usage) in enumerate(zip(FACES.images, names, FACES.usage, strict=True)):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        images[f"{'train' if usage == 'Training' else 'test'}/{name}/{usage}_{i}.png"] = file.getvalue()
    return images


BY_HAND = {
    "csv": {"fer2013.csv": TABLE},
    "zip": {"archive.zip": pack_zip({"fer2013.csv": TABLE})},
    "zip of images": {"archive.zip": pack_zip(as_images())},
    "tar.gz": {"fer2013.tar.gz": pack_tar("fer2013/fer2013.csv", TABLE)},
    "images": as_images(),
}


@pytest.mark.parametrize("form", BY_HAND)
def test_files_copied_by_hand_are_found(form, tmp_path):
    for name, content in BY_HAND[form].items():
        path = tmp_path / "fer2013" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    check(fetch_fer2013(data_home=tmp_path))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("no network"),
        RuntimeError("403 Client Error.\n\nYou don't have permission"),
        ValueError("Invalid Kaggle credentials file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_download_leaves_no_files_and_names_the_remedy(error, kagglehub, tmp_path):
    kagglehub(break_off(error))
    with pytest.raises(OSError, match=r"^Could not download FER2013") as caught:
        fetch_fer2013(data_home=tmp_path)
    message = str(caught.value)
    assert caught.value.__cause__ is error
    assert f"({type(error).__name__}: {' '.join(str(error).split())})" in message
    assert "kagglehub.login()" in message
    assert "https://www.kaggle.com/datasets/deadskull7/fer2013" in message
    assert f" {tmp_path / 'fer2013' / 'fer2013.csv'} " in message
    assert list((tmp_path / "fer2013").iterdir()) == []
    kagglehub(write(TABLE))
    check(fetch_fer2013(data_home=tmp_path))


def test_ctrl_c_stops_a_download_and_leaves_no_files(kagglehub, tmp_path):
    kagglehub(break_off(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        fetch_fer2013(data_home=tmp_path)
    assert list((tmp_path / "fer2013").iterdir()) == []


def test_a_partial_download_is_not_used_as_data(kagglehub, tmp_path):
    left = tmp_path / "fer2013" / ".download-abc"
    left.mkdir(parents=True)
    (left / "fer2013.csv").write_bytes(TABLE[: TABLE.index(b"\n", 20_000) + 1])
    module = kagglehub(write(TABLE))
    for _ in range(2):
        check(fetch_fer2013(data_home=tmp_path))
    assert len(module.calls) == 1


def test_without_kagglehub(tmp_path):
    with pytest.raises(ImportError, match=r'pip install "ferkit\[kaggle\]"') as caught:
        fetch_fer2013(data_home=tmp_path)
    assert isinstance(caught.value.__cause__, ImportError)
    assert "https://www.kaggle.com/datasets/deadskull7/fer2013" in str(caught.value)
    assert f" {tmp_path / 'fer2013' / 'fer2013.csv'} " in str(caught.value)


def test_missing_data_is_named_if_downloads_are_off(kagglehub, tmp_path):
    module = kagglehub(write(TABLE))
    with pytest.raises(OSError, match=r"^Found no FER2013 in .*fer2013: pass download_if_missing=True") as caught:
        fetch_fer2013(data_home=tmp_path, download_if_missing=False)
    assert isinstance(caught.value, FileNotFoundError)
    assert module.calls == []


@pytest.mark.parametrize("usage", ["PublicTest", ["Training", "PrivateTest"]])
def test_usage_and_return_X_y(usage, kagglehub, tmp_path):
    kagglehub(write(TABLE))
    data, target = fetch_fer2013(data_home=tmp_path, usage=usage, return_X_y=True)
    wanted = np.isin(FACES.usage, usage)
    assert np.array_equal(data, FACES.data[wanted])
    assert np.array_equal(target, FACES.target[wanted])


def test_decode(kagglehub, tmp_path):
    kagglehub(write(TABLE))
    assert fetch_fer2013(data_home=tmp_path, decode=False).data.tolist() == FACES.frame["pixels"].tolist()


def test_errors(kagglehub, tmp_path):
    kagglehub(write(TABLE + b"3,1 2 3,Training\n"))
    with pytest.raises(ValueError, match=r"^Row 70 of fer2013/fer2013.csv holds 3 pixel values"):
        fetch_fer2013(data_home=tmp_path)
    with pytest.warns(UserWarning, match="Left out 1 of the 71 faces"):
        check(fetch_fer2013(data_home=tmp_path, errors="drop"))


@pytest.mark.parametrize(("verbose", "terminal"), [(0, "xterm"), (1, "xterm"), (1, "dumb")])
def test_terminals_show_a_progress_bar(verbose, terminal, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the output for a terminal
    monkeypatch.setenv("TERM", terminal)
    shown = []
    monkeypatch.setattr("rich.progress.track", lambda images, *_, **__: shown.append(1) or images)
    for name, content in BY_HAND["zip of images"].items():
        (tmp_path / "fer2013").mkdir()
        (tmp_path / "fer2013" / name).write_bytes(content)
    check(fetch_fer2013(data_home=tmp_path, verbose=verbose))
    assert len(shown) == (verbose and terminal == "xterm")


@pytest.mark.parametrize(
    ("argument", "environment", "expected"),
    [
        ("{tmp}/a/b", "{tmp}/c", "{tmp}/a/b"),
        (None, "{tmp}/c/d", "{tmp}/c/d"),
        (None, "~/e", "{tmp}/user/e"),
        ("~/f", "{tmp}/c", "{tmp}/user/f"),
        ("g", "{tmp}/c", "{tmp}/g"),
        (None, None, "{tmp}/user/ferkit_data"),
        (None, "", "{tmp}/user/ferkit_data"),
    ],
)
def test_data_home(argument, environment, expected, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "user"))
    if environment is None:
        monkeypatch.delenv("FERKIT_DATA")
    else:
        monkeypatch.setenv("FERKIT_DATA", environment.format(tmp=tmp_path))
    for _ in range(2):
        home = get_data_home(argument and argument.format(tmp=tmp_path))
        assert home == Path(expected.format(tmp=tmp_path))
        assert home.is_dir()


def test_a_data_home_must_be_a_folder(tmp_path):
    (tmp_path / "fer2013.csv").write_bytes(TABLE)
    with pytest.raises(
        NotADirectoryError, match=r"^Expected a folder, got the file .*csv: set data_home, or FERKIT_DATA"
    ):
        get_data_home(tmp_path / "fer2013.csv")
