"""Data sets for facial expression recognition: loaders, downloads, drawn faces, duplicates and label errors."""

from ._drawing import make_faces
from ._duplicates import Duplicates, find_duplicates
from ._fer2013 import load_fer2013
from ._ferplus import load_ferplus
from ._fetch import fetch_fer2013, get_data_home
from ._label_errors import LabelErrors, find_label_errors
from ._sample import sample_faces

__all__ = [
    "Duplicates",
    "LabelErrors",
    "fetch_fer2013",
    "find_duplicates",
    "find_label_errors",
    "get_data_home",
    "load_fer2013",
    "load_ferplus",
    "make_faces",
    "sample_faces",
]
