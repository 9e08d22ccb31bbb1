"""FER data: what users have, what Kaggle has for them, and faces that ferkit draws."""

from ._faces import make_faces
from ._fer2013 import load_fer2013
from ._ferplus import load_ferplus
from ._fetch import fetch_fer2013, get_data_home

__all__ = ["fetch_fer2013", "get_data_home", "load_fer2013", "load_ferplus", "make_faces"]
