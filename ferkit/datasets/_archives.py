"""List the files of a folder or of an archive, which is read in place."""

import csv
import gzip
import lzma
import os
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO

from .._files import IMAGE_SUFFIXES

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
LARGEST_IMAGE = 100_000_000  # bytes
MOST_IMAGE_BYTES = 1_000_000_000  # of the images in a tar, which are read at once
MOST_HEADER_BYTES = 1_000_000  # of the types of tar headers that tarfile reads at once
READ_TYPES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
# Errors of the readers of archives and tables for damaged data. zipfile raises RuntimeError for encrypted files.
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError,
    csv.Error, UnicodeError, RuntimeError,
)  # fmt: skip


def list_members(path, stack):
    """Return a dict from the name of each visible file at `path` to a function that opens it.

    An archive stays open in `stack`. A file that is no archive is the only member.
    """
    if path.is_dir():
        root = os.path.abspath(path)
        files = (os.path.join(folder, name) for folder, names in _walk(root) for name in names)
        # Names begin with the name of the folder itself, which may be "test".
        above = len(os.path.dirname(root))
        return {
            file[above:].replace(os.sep, "/").lstrip("/"): partial(open, file, "rb")
            for file in files
            if _is_visible(file[len(root) :])
        }
    open_file = partial(open, path, "rb")
    members = list_archive(open_file, stack)
    return {path.name: open_file} if members is None else members


def _walk(root):
    """Yield (directory, names of its files). Links to directories are followed; each directory is visited once."""
    seen = {os.path.realpath(root)}
    for folder, folders, names in os.walk(root, followlinks=True):
        yield folder, names
        # directories first, because a link to a neighbor must not hide its name
        folders.sort(key=lambda name: (os.path.islink(os.path.join(folder, name)), name))
        for name in folders.copy():
            target = os.path.realpath(os.path.join(folder, name))
            if target in seen:
                folders.remove(name)
            seen.add(target)


def list_archive(open_file, stack):
    """Return the members of a zip or tar archive as `list_members` does; None if the file is no archive."""
    file = stack.enter_context(open_file())
    is_zip = file.read(4) in ZIP_MAGICS
    file.seek(0)
    try:
        if is_zip:
            members = _list_zip(stack.enter_context(zipfile.ZipFile(file)))
        else:
            try:
                archive = tarfile.open(fileobj=file, tarinfo=_TarInfo)  # noqa: SIM115
            except tarfile.ReadError:
                return None
            members = _list_tar(stack.enter_context(archive))
    except (*DAMAGE, OSError, MemoryError):
        raise
    except Exception as error:  # for damaged headers, zipfile and tarfile raise many kinds of errors
        raise tarfile.TarError(f"{type(error).__name__}: {error}") from error
    members = {posixpath.normpath(name): member for name, member in members.items()}
    return {name: member for name, member in members.items() if _is_visible(name)}


def _list_zip(archive):
    files = [info for info in archive.infolist() if not info.filename.endswith("/")]
    if any(info.header_offset < 0 for info in files):
        raise zipfile.BadZipFile("a file in it begins before its start")
    return {info.filename: partial(_open_member, archive, info) for info in files}


def _open_member(archive, info):
    if not is_image(info.filename):
        return archive.open(info)
    if info.file_size > LARGEST_IMAGE:
        raise zipfile.BadZipFile(f"an image of more than {LARGEST_IMAGE:,} bytes")
    return BytesIO(archive.read(info))  # all of it, because the checksum is verified at the end


def _list_tar(archive):
    members, size = {}, 0
    for member in archive:
        if not member.isfile():
            continue
        if is_image(member.name):
            # A compressed tar can only be read forwards, so its images, which are many and small, are read at once.
            size += abs(member.size)
            if size > MOST_IMAGE_BYTES:
                raise tarfile.TarError(
                    f"its images have more than {MOST_IMAGE_BYTES:,} bytes: extract it, load the folder"
                )
            members[member.name] = partial(BytesIO, archive.extractfile(member).read())
        else:
            members[member.name] = partial(archive.extractfile, member)
    # The checksum of a compressed tar comes after its last member.
    while archive.fileobj.read(2**20):
        pass
    return members


class _TarInfo(tarfile.TarInfo):
    """A header that cannot fill the memory."""

    def _proc_member(self, archive):
        if self.type in READ_TYPES and self.size > MOST_HEADER_BYTES:
            raise tarfile.HeaderError(f"a header has {self.size:,} bytes")
        return super()._proc_member(archive)  # type: ignore[misc] # not documented


def list_nested(members, stack, unread):
    """Return the members of the archives in `members`; archives that cannot be read go to `unread` with the error."""
    nested: dict[str, Callable] = {}
    for name in members:
        if has_suffix(name, ARCHIVE_SUFFIXES):
            try:
                archive = list_archive(members[name], stack)
                if archive is None:
                    raise tarfile.ReadError("it is neither a zip nor a tar archive")
            except (*DAMAGE, OSError) as error:
                unread[name] = error
            else:
                nested |= {f"{name}/{file}": open_file for file, open_file in archive.items()}
    return nested


def has_suffix(name, suffixes):
    return name.lower().endswith(suffixes)


def is_image(name):
    return has_suffix(name, IMAGE_SUFFIXES)


def _is_visible(name):
    return not re.search(r"(^|[/\\])(\.|__MACOSX)", name)
