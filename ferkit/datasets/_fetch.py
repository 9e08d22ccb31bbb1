"""FER2013 from Kaggle, downloaded once and found again ever after."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import is_zipfile

from ferkit.datasets._fer2013 import load_fer2013

__all__ = ["fetch_fer2013", "get_data_home"]

HANDLE, FILE = "deadskull7/fer2013", "fer2013.csv"  # the challenge's table, its usages included
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"


def get_data_home(data_home=None):
    """Path of the folder where ferkit keeps what it downloads.

    The folder is made if it is not there.

    Parameters
    ----------
    data_home : str or path-like, default=None
        The folder; by default what the environment variable ``FERKIT_DATA`` says, else ``~/ferkit_data``.

    Returns
    -------
    data_home : pathlib.Path
        The folder, absolute.

    Raises
    ------
    NotADirectoryError
        If there is a file of that name.

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
            f"{data_home} is a file: data_home, or FERKIT_DATA, is the folder above the folder fer2013 that has it"
        )
    data_home.mkdir(parents=True, exist_ok=True)
    return data_home


def fetch_fer2013(
    *,
    data_home=None,
    usage=None,
    decode=True,
    errors="raise",
    download_if_missing=True,
    return_X_y=False,
    verbose=0,
):
    """Load FER2013, downloading it from Kaggle the first time.

    The data are in the folder ``fer2013`` of the data home. If there is anything in it, that is loaded, as by
    :func:`load_fer2013`, and the network is not touched: who has downloaded FER2013 by hand puts the file there,
    ``fer2013.csv``, ``archive.zip``, ``fer2013.tar.gz`` or the folders of images.

    Else ``fer2013.csv``, 300 MB, is downloaded from the data set [1]_ on Kaggle. This needs the package kagglehub,
    ``pip install "ferkit[kaggle]"``, which also finds the credentials if Kaggle asks for them. A download that breaks
    off is never taken for the data.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Where to find and keep the data, see :func:`get_data_home`.
    usage : str or list of str, default=None
        The split or splits to load, of ``"Training"``, ``"PublicTest"`` and ``"PrivateTest"``; by default all.
    decode : bool, default=True
        Whether to turn the pixel strings into arrays; they are checked either way.
    errors : {"raise", "drop"}, default="raise"
        What to do with a row that can't be read: raise, or leave it out and warn.
    download_if_missing : bool, default=True
        Whether to download what is not there; if False, raise.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of the Bunch.
    verbose : int, default=0
        1 shows a progress bar while images are decoded. That of a download is kagglehub's own.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        As :func:`load_fer2013` returns it: ``data`` of shape (n, 2304) and dtype uint8, ``images`` (n, 48, 48),
        ``target`` (n,) int64, ``target_names`` (7,), ``usage`` (n,) and ``DESCR``.

    Raises
    ------
    ImportError
        If the data are to be downloaded and kagglehub is not installed.
    OSError
        If the data are not there and must not be downloaded (a FileNotFoundError), or can't be, for want of a
        network, credentials or consent.
    ValueError
        If :func:`load_fer2013` can't load what is there.

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
    ...     make_faces(100, as_frame=True).frame.to_csv(folder / "fer2013.csv", index=False)  # put there by hand
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
                f"Found no FER2013 in {folder}: pass download_if_missing=True, or another data_home, or {by_hand}"
            )
        _download(folder, by_hand)
    return load_fer2013(folder, usage=usage, decode=decode, errors=errors, return_X_y=return_X_y, verbose=verbose)


def _download(folder, by_hand):
    try:
        import kagglehub
    except ImportError as error:
        raise ImportError(f'Downloading FER2013 needs kagglehub: pip install "ferkit[kaggle]", or {by_hand}') from error
    # In the folder itself, as a file can only be renamed on its own disk, and hidden, as such files are not loaded.
    with TemporaryDirectory(prefix=".download-", dir=folder) as unfinished:
        try:
            file = Path(kagglehub.dataset_download(HANDLE, FILE, output_dir=unfinished))
            if folder not in file.parents:  # notebooks on Kaggle and Colab have it elsewhere, read-only
                file = Path(shutil.copyfile(file, Path(unfinished, FILE)))
            # kagglehub unpacks a zip that comes under the table's name, but not on Windows (kagglehub #252)
            file.replace(folder / ("archive.zip" if is_zipfile(file) else FILE))
        except Exception as error:  # kagglehub has a dozen of its own, without a common ancestor
            reason = " ".join(str(error).split())
            raise OSError(
                f"Could not download FER2013 ({type(error).__name__}: {reason}). Check the network, log in with "
                f"kagglehub.login() and accept the terms on its page if Kaggle asks for that, or {by_hand}"
            ) from error
