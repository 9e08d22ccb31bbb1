"""FER data: what users have, and faces that ferkit draws."""

from ._faces import make_faces
from ._fer2013 import load_fer2013

__all__ = ["load_fer2013", "make_faces"]
