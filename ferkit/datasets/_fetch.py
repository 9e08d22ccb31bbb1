"""Download FER2013 from Kaggle once, and find it again later."""

import os
import shutil
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from zipfile import is_zipfile

from sklearn.datasets import get_data_home as make_data_home

from ._fer2013 import load_fer2013

__all__ = ["fetch_fer2013", "get_data_home"]

HANDLE, FILE = "deadskull7/fer2013", "fer2013.csv"  # the challenge's table, with usages
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"


def get_data_home(data_home: str | PathLike | None = None) -> Path:
    """Return the path of the folder where ferkit keeps downloaded data.

    The folder is created if it does not exist.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder. By default, it is the value of the environment variable ``FERKIT_DATA``, or ``~/ferkit_data`` if
        that is not set.

    Returns
    -------
    data_home : pathlib.Path
        The folder, as an absolute path.

    Raises
    ------
    NotADirectoryError
        If a file has that name.

    Examples
    --------
    >>> import tempfile
    >>> from ferkit.datasets import get_data_home
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     home = get_data_home(f"{folder}/faces")
    ...     home.is_dir(), home.name
    (True, 'faces')
    """
    data_home = Path(data_home or os.environ.get("FERKIT_DATA") or "~/ferkit_data").expanduser().absolute()
    if data_home.is_file():
        raise NotADirectoryError(
            f"Expected a folder, got the file {data_home}: set data_home, or FERKIT_DATA, to the folder that contains "
            "the folder fer2013."
        )
    return Path(make_data_home(data_home))


def fetch_fer2013(
    *,
    data_home: str | PathLike | None = None,
    usage: str | Sequence[str] | None = None,
    decode: bool = True,
    errors: Literal["raise", "drop"] = "raise",
    download_if_missing: bool = True,
    return_X_y: bool = False,
    verbose: int = 0,
) -> Any:
    """Load FER2013, and download it from Kaggle the first time.

    The data are kept in the folder ``fer2013`` of the data home. If that folder contains anything, it is loaded with
    :func:`load_fer2013` and nothing is downloaded. If you downloaded FER2013 by hand, put the file or files there:
    ``fer2013.csv``, ``archive.zip``, ``fer2013.tar.gz`` or the folders of images.

    Otherwise ``fer2013.csv`` (300 MB) is downloaded from the data set [1]_ on Kaggle. This needs the package kagglehub,
    ``pip install "ferkit[kaggle]"``, which also finds your credentials if Kaggle asks for them. An interrupted download
    is never mistaken for the data.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Where to find and keep the data, see :func:`get_data_home`.
    usage : str or list of str, default=None
        The split or splits to load: ``"Training"``, ``"PublicTest"`` or ``"PrivateTest"``. By default, all are loaded.
    decode : bool, default=True
        Whether to decode the pixel strings into arrays. They are checked in both cases.
    errors : {"raise", "drop"}, default="raise"
        What to do with a row that cannot be read: raise an error, or skip it and warn.
    download_if_missing : bool, default=True
        Whether to download the data if they are missing. If False, an error is raised.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of the Bunch.
    verbose : int, default=0
        With 1, show a progress bar in terminals while images are decoded. kagglehub shows its own for a download.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        The Bunch that :func:`load_fer2013` returns: ``data`` of shape (n, 2304) and dtype uint8, ``images``
        (n, 48, 48), ``target`` (n,) int64, ``target_names`` (7,), ``usage`` (n,), ``origin`` (n,) and ``DESCR``.

    Raises
    ------
    ImportError
        If the data have to be downloaded and kagglehub is not installed.
    OSError
        If the data are missing and may not be downloaded (a FileNotFoundError), or the download fails because of the
        network, credentials or terms that were not accepted.
    ValueError
        If :func:`load_fer2013` cannot load the data.

    References
    ----------
    .. [1] https://www.kaggle.com/datasets/deadskull7/fer2013

    .. [2] I. J. Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning
       contests", ICONIP 2013, https://arxiv.org/abs/1307.0414

    Examples
    --------
    >>> import tempfile
    >>> from ferkit.datasets import fetch_fer2013, get_data_home, make_faces
    >>> with tempfile.TemporaryDirectory() as home:
    ...     folder = get_data_home(f"{home}/fer2013")
    ...     make_faces(100, as_frame=True).frame.to_csv(folder / "fer2013.csv", index=False)  # downloaded by hand
    ...     faces = fetch_fer2013(data_home=home, usage="Training")
    >>> faces.images.shape
    (80, 48, 48)
    """
    folder = get_data_home(data_home) / "fer2013"
    folder.mkdir(exist_ok=True)
    if all(file.name.startswith(".") for file in folder.iterdir()):
        by_hand = f"download {PAGE} by hand and save it as {folder / FILE} or {folder / 'archive.zip'}"
        if not download_if_missing:
            raise FileNotFoundError(
                f"Found no FER2013 in {folder}: pass download_if_missing=True, or another data_home, or {by_hand}."
            )
        _download(folder, by_hand)
    return load_fer2013(folder, usage=usage, decode=decode, errors=errors, return_X_y=return_X_y, verbose=verbose)


def _download(folder, by_hand):
    try:
        import kagglehub
    except ImportError as error:
        raise ImportError(
            f'Downloading FER2013 needs kagglehub: pip install "ferkit[kaggle]", or {by_hand}.'
        ) from error
    # Inside the folder, because files can only be renamed on one disk. Hidden, because the loader skips hidden files.
    with TemporaryDirectory(prefix=".download-", dir=folder) as unfinished:
        try:
            file = Path(kagglehub.dataset_download(HANDLE, FILE, output_dir=unfinished))
            if folder not in file.parents:  # on Kaggle and Colab it is in a read-only folder
                file = Path(shutil.copyfile(file, Path(unfinished, FILE)))
            # Kaggle may send a zip under the name of the table. kagglehub unpacks it, except on Windows (#252).
            file.replace(folder / ("archive.zip" if is_zipfile(file) else FILE))
        except Exception as error:  # kagglehub has a dozen exceptions without a common base class
            reason = " ".join(str(error).split())
            raise OSError(
                f"Could not download FER2013 ({type(error).__name__}: {reason}): check the network, log in with "
                f"kagglehub.login(), accept the terms on its page if Kaggle asks for it, or {by_hand}."
            ) from error
