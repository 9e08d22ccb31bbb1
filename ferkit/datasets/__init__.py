"""Data sets for facial expression recognition: load, download, draw, degrade and check faces and their labels."""

from ._corruptions import corrupt
from ._drawing import make_faces
from ._duplicates import Duplicates, find_duplicates
from ._fer2013 import load_fer2013
from ._ferplus import load_ferplus
from ._fetch import fetch_fer2013, get_data_home
from ._folders import load_folder
from ._harmonize import harmonize
from ._label_errors import LabelErrors, find_label_errors
from ._sample import sample_faces
from ._sets import load_affectnet, load_ckplus, load_expw, load_jaffe, load_rafdb

__all__ = [
    "Duplicates",
    "LabelErrors",
    "corrupt",
    "fetch_fer2013",
    "find_duplicates",
    "find_label_errors",
    "get_data_home",
    "harmonize",
    "load_affectnet",
    "load_ckplus",
    "load_expw",
    "load_fer2013",
    "load_ferplus",
    "load_folder",
    "load_jaffe",
    "load_rafdb",
    "make_faces",
    "sample_faces",
]
