"""Faces in photos, videos and cameras: find them, cut them out as in training, and recognize their expressions."""

from ._analysis import analyze
from ._crops import crop_faces
from ._detection import Faces, detect_faces

__all__ = ["Faces", "analyze", "crop_faces", "detect_faces"]
