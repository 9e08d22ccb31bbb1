"""Tracks: which faces in the frames of a video belong together, and their probabilities over time."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

__all__ = ["Smoother", "Tracker", "overlaps"]

MIN_OVERLAP = 0.1  # faces of two people hardly overlap; those of one person overlap less, the more frames are skipped
MAX_GAP = 1.0  # seconds; a track ends if its face is missing for longer, and in an analyzed frame


def overlaps(boxes, others):
    """Return the intersection over union of boxes (n, 4) with others (m, 4), as (n, m)."""
    corner = np.maximum(boxes[:, None, :2], others[:, :2])
    end = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:], others[:, :2] + others[:, 2:])
    shared = (end - corner).clip(0).prod(axis=2)
    return shared / (boxes[:, None, 2:].prod(axis=2) + others[:, 2:].prod(axis=1) - shared)


class Tracker:
    """Number the faces of a video, so that a face keeps its number from frame to frame."""

    def __init__(self):
        self.tracks: dict[int, tuple] = {}  # number: (last box, time)
        self.previous = 0.0  # time of the previous frame, which may be long ago if few frames are analyzed
        self.count = 0

    def update(self, boxes: np.ndarray, time: float) -> list[int]:
        """Return the track of each box in the next frame."""
        start = min(time - MAX_GAP, self.previous)
        self.tracks = {track: seen for track, seen in self.tracks.items() if seen[1] >= start}
        self.previous = time
        numbers = [-1] * len(boxes)
        if len(boxes) and self.tracks:
            known = list(self.tracks)
            shared = overlaps(boxes, np.array([self.tracks[track][0] for track in known]))
            for row, column in zip(*linear_sum_assignment(shared, maximize=True), strict=True):
                if shared[row, column] >= MIN_OVERLAP:
                    numbers[row] = known[column]
        for row, box in enumerate(boxes):
            if numbers[row] < 0:
                numbers[row], self.count = self.count, self.count + 1
            self.tracks[numbers[row]] = box, time
        return numbers


class Smoother:
    """Average the probabilities of each track with weights that fall exponentially with their age.

    The average starts with the first frame and uses no later ones, so that it also works for a camera.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.last: dict[int, tuple] = {}  # track: (time, average)

    def update(self, tracks: Sequence[int], times: Sequence[float], proba: np.ndarray) -> np.ndarray:
        """Return the averages for faces in the order of their frames."""
        if not self.seconds:
            return proba
        smooth = np.empty_like(proba)
        for row, (track, time) in enumerate(zip(tracks, times, strict=True)):
            before, average = self.last.get(track, (time, proba[row]))
            weight = 1 - np.exp(-(time - before) / self.seconds)
            smooth[row] = average + weight * (proba[row] - average)
            self.last[track] = time, smooth[row]
        newest = max(times, default=0)
        self.last = {track: seen for track, seen in self.last.items() if newest - seen[0] <= MAX_GAP}
        return smooth
