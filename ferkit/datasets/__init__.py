"""Data sets for facial expression recognition: loaders, downloads, drawn faces, corruptions, duplicates."""

from ._corruptions import corrupt
from ._drawing import make_faces
from ._duplicates import Duplicates, find_duplicates
from ._fer2013 import load_fer2013
from ._ferplus import load_ferplus
from ._fetch import fetch_fer2013, get_data_home
from ._folders import load_folder
from ._harmonize import harmonize
from ._sample import sample_faces
from ._sets import load_affectnet, load_ckplus, load_expw, load_jaffe, load_rafdb

__all__ = [
    "Duplicates",
    "corrupt",
    "fetch_fer2013",
    "find_duplicates",
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
