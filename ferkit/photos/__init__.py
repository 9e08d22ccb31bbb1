"""Faces in photos, videos and cameras: find them, cut them out as in training, and recognize their expressions."""

from ._analysis import analyze, analyze_video, watch
from ._crops import crop_faces
from ._detection import Faces, detect_faces
from ._drawing import annotate_photos, annotate_video, draw_faces

__all__ = [
    "Faces",
    "analyze",
    "analyze_video",
    "annotate_photos",
    "annotate_video",
    "crop_faces",
    "detect_faces",
    "draw_faces",
    "watch",
]
