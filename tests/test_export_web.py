"""``ferkit export-web``: what it refuses. tests/browser opens the pages that it writes."""

import os
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from ferkit import serving
from ferkit.cli import main
from ferkit.serving import export_web

ROOT = Path(__file__).parent.parent
NAMES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["export-web", *map(str, arguments)])
    return stopped.value.code or 0


def write_package(path, names=NAMES):
    """Write an npm package whose files are not those of onnxruntime-web."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = 5
            archive.addfile(member, BytesIO(b"other"))
    return path


def install_npm(tmp_path, monkeypatch, script):
    """Put a program on the path that is called npm; it can read its last argument, the directory to write to."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "npm").write_text(f"#!{sys.executable}\nimport shutil, sys\n{script}\n")
    (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))


def test_a_missing_npm_is_named_with_two_ways_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(tmp_path / "page") == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "Expected npm" in message
    assert "https://nodejs.org" in message
    assert "or run `npm pack onnxruntime-web@1.30.0` on another machine" in message
    assert "give the path of its file as `runtime` (--runtime)" in message
    assert not (tmp_path / "page").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows runs no scripts without a suffix")
def test_the_error_of_npm_is_shown(tmp_path, monkeypatch):
    install_npm(tmp_path, monkeypatch, "sys.exit('npm error code ENOTFOUND')")
    with pytest.raises(OSError, match=r"check the network, or run .* npm says: npm error code ENOTFOUND"):
        export_web(tmp_path / "page")
    assert not (tmp_path / "page").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows runs no scripts without a suffix")
def test_a_download_with_other_content_is_refused(tmp_path, monkeypatch):
    package = write_package(tmp_path / "package.tgz")
    script = f"""
assert sys.argv[1:4] == ["pack", "onnxruntime-web@1.30.0", "--pack-destination"]
shutil.copy({str(package)!r}, sys.argv[4] + "/onnxruntime-web-1.30.0.tgz")"""
    install_npm(tmp_path, monkeypatch, script)
    with pytest.raises(ValueError, match=r"Expected dist/ort\.wasm\.bundle\.min\.mjs of onnxruntime-web 1\.30\.0, got"):
        export_web(tmp_path / "page")
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("kind", ["missing", "empty directory", "text", "cut", "other package"])
def test_copies_that_are_no_package_are_refused(kind, tmp_path):
    path = tmp_path / "package.tgz"
    if kind == "empty directory":
        path.mkdir()
    elif kind == "text":
        path.write_text("no package")
    elif kind != "missing":
        write_package(path, NAMES if kind == "cut" else ["index.js"])
        path.write_bytes(path.read_bytes()[: 60 if kind == "cut" else None])
    with pytest.raises(
        ValueError, match=r"Expected the package onnxruntime-web 1\.30\.0 as a \.tgz file or a directory"
    ):
        export_web(tmp_path / "page", runtime=path)
    assert not (tmp_path / "page").exists()


def test_a_copy_in_a_directory_is_verified_too(tmp_path):
    (tmp_path / "dist").mkdir()
    for name in NAMES:
        (tmp_path / "dist" / name).write_bytes(b"other")
    with pytest.raises(ValueError, match="use the package of this version"):
        export_web(tmp_path / "page", runtime=tmp_path)


def test_bad_arguments_are_named(tmp_path, capsys):
    with pytest.raises(ValueError, match="Expected a threshold from 0 to 1, got 2"):
        export_web(tmp_path / "page", threshold=2)
    with pytest.raises(FileNotFoundError, match="the names are"):
        export_web(tmp_path / "page", "fer2014")
    (tmp_path / "notes.txt").write_text("mine")
    assert run(tmp_path) == 2
    assert "not empty" in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_licenses_of_all_parts_are_in_the_page():
    text = Path(serving.__file__).with_name("page").joinpath("licenses.txt").read_text()
    for path in ("LICENSE", "ferkit/photos/yunet.LICENSE.txt"):
        assert (ROOT / path).read_text().strip() in text
    assert "Copyright (c) Microsoft Corporation" in text
