"""Data sets for facial expression recognition: loaders, downloads, drawn faces, and a search for duplicates."""

from ._drawing import make_faces
from ._duplicates import Duplicates, find_duplicates
from ._fer2013 import load_fer2013
from ._ferplus import load_ferplus
from ._fetch import fetch_fer2013, get_data_home
from ._sample import sample_faces

__all__ = [
    "Duplicates",
    "fetch_fer2013",
    "find_duplicates",
    "get_data_home",
    "load_fer2013",
    "load_ferplus",
    "make_faces",
    "sample_faces",
]
