"""Draw faces in the format of FER2013, in any number and without a download."""

from numbers import Integral, Real
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._vocabulary import EMOTIONS, FER2013_USAGES
from ._base import apportion, make_bunch, make_frame

# Muscle actions, as displacements from the face at rest. The unit is half the height of a head.
_ACTIONS = (
    "brow",  # brows up
    "frown",  # inner ends of the brows down, outer ends up
    "arch",  # brows bent
    "pinch",  # brows drawn together
    "stare",  # upper lids up
    "squint",  # lower lids up
    "droop",  # outer corners of the eyes down
    "wrinkle",  # nose wrinkled and shortened, 0 to 1
    "cheek",  # cheeks up
    "wide",  # mouth wider
    "smile",  # corners of the mouth up
    "lift",  # upper lip up
    "jaw",  # lower lip down
    "blunt",  # corners of the open mouth: pointed 0, round 1, square 3
    "press",  # lips thinner
    "teeth",  # upper teeth, 0 to 1
    "bare",  # lower teeth, 0 to 1
    "sneer",  # one side of the upper lip up
)

# Each emotion has a restrained and an open expression. A face mixes the two and scales them by its intensity.
_EXPRESSIONS = {
    #    brow  frown  arch  pinch  stare  squint droop wrink cheek wide   smile  lift  jaw  blunt press teeth bare sneer
    "angry": (
        (-0.08, 0.11, -0.03, 0.06, -0.02, 0.020, -0.02, 0.4, 0.00, -0.04, -0.05, 0.00, 0.00, 0.0, 0.7, 0.0, 0.0, 0.00),
        (-0.09, 0.12, -0.03, 0.06, 0.01, 0.030, -0.02, 0.6, 0.02, 0.02, -0.03, 0.07, 0.14, 2.5, 0.5, 1.0, 1.0, 0.00),
    ),
    "disgust": (
        (-0.05, 0.04, -0.02, 0.03, -0.04, 0.045, 0.00, 1.0, 0.05, -0.02, -0.06, 0.01, 0.00, 0.5, 0.1, 0.5, 0.0, 0.06),
        (-0.06, 0.05, -0.02, 0.03, -0.04, 0.055, 0.00, 1.0, 0.08, 0.00, -0.07, 0.08, 0.02, 1.0, 0.0, 1.0, 0.0, 0.06),
    ),
    "fear": (
        (0.08, -0.09, -0.04, 0.05, 0.05, -0.005, 0.01, 0.0, 0.00, 0.04, -0.05, 0.02, 0.04, 1.5, 0.3, 0.5, 0.3, 0.00),
        (0.10, -0.10, -0.04, 0.05, 0.07, -0.010, 0.01, 0.0, 0.00, 0.06, -0.06, 0.04, 0.16, 2.0, 0.3, 0.5, 0.6, 0.00),
    ),
    "happy": (
        (0.02, 0.01, 0.02, 0.00, 0.00, 0.025, 0.00, 0.0, 0.07, 0.06, 0.14, 0.00, 0.02, 0.0, 0.3, 0.5, 0.0, 0.00),
        (0.03, 0.01, 0.03, 0.00, 0.00, 0.035, 0.00, 0.1, 0.10, 0.08, 0.14, 0.01, 0.16, 0.2, 0.4, 1.0, 0.0, 0.00),
    ),
    "sad": (
        (0.01, -0.10, -0.03, 0.04, -0.04, 0.000, 0.04, 0.0, 0.00, -0.03, -0.08, 0.00, 0.00, 0.0, 0.0, 0.0, 0.0, 0.00),
        (0.00, -0.12, -0.04, 0.05, -0.05, 0.020, 0.04, 0.2, 0.03, 0.02, -0.12, 0.02, 0.03, 0.6, 0.2, 0.0, 0.4, 0.00),
    ),
    "surprise": (
        (0.12, 0.00, 0.06, 0.00, 0.05, -0.005, 0.00, 0.0, 0.00, -0.09, 0.00, 0.06, 0.10, 1.0, 0.1, 0.2, 0.0, 0.00),
        (0.16, 0.00, 0.08, 0.00, 0.07, -0.010, 0.00, 0.0, 0.00, -0.10, 0.00, 0.11, 0.21, 1.0, 0.1, 0.2, 0.0, 0.00),
    ),
    "neutral": ((0.0,) * len(_ACTIONS), (0.0,) * len(_ACTIONS)),
}
# Valence and arousal of the full expressions, from Russell and Mehrabian (1977)
_AFFECTS = {
    "angry": (-0.51, 0.59),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "happy": (0.81, 0.51),
    "sad": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
    "neutral": (0.0, 0.0),
}
_TWITCH = np.array(  # standard deviation of each action between faces with the same expression
    (0.018, 0.012, 0.010, 0.006, 0.010, 0.006, 0.010, 0.05, 0.01, 0.02, 0.015, 0.004, 0.008, 0.2, 0.15, 0.1, 0.1, 0.006)
)

# All other properties of a picture, drawn uniformly between two bounds. Lengths are in half heights of a head, angles
# in radians, tones from 0 (black) to 1 (white). The picture extends from -1 to 1.
_TRAITS = {
    # expression
    "intensity": (0.25, 1.15),
    "blend": (0.0, 0.3),  # intensity of a second emotion, as a share of the first
    "sneer_side": (-1.0, 1.0),  # only the sign matters
    # pose
    "shift_x": (-0.10, 0.10),
    "shift_y": (-0.12, 0.04),
    "scale": (0.98, 1.18),
    "roll": (-0.20, 0.20),
    "yaw": (-0.14, 0.14),
    "pitch": (-0.05, 0.05),
    # build
    "width": (0.68, 0.80),
    "taper": (-0.04, 0.18),
    "eye_gap": (0.31, 0.37),
    "eye_width": (0.155, 0.19),
    "eye_open": (0.062, 0.085),
    "eye_slant": (-0.02, 0.02),
    "gaze_x": (-0.035, 0.035),
    "gaze_y": (-0.015, 0.015),
    "brow_height": (0.18, 0.22),
    "brow_thickness": (0.018, 0.042),
    "nose_width": (0.13, 0.19),
    "nose_length": (0.19, 0.27),
    "mouth_height": (0.50, 0.56),
    "mouth_width": (0.24, 0.31),
    "lip_thickness": (0.035, 0.075),
    # looks
    "skin": (0.42, 0.82),
    "lip": (0.55, 0.80),
    "iris": (0.10, 0.45),
    "hair": (0.04, 0.60),
    "hairline": (-0.80, -0.45),
    "parting": (-0.15, 0.15),
    "volume": (0.03, 0.22),
    "streaks": (12.0, 30.0),
    "curtain": (0.58, 0.74),
    "age": (0.0, 1.0),
    "clothes": (0.05, 0.9),
    # picture
    "wall": (0.05, 0.95),
    "wall_slope": (-0.2, 0.2),
    "light_x": (-0.8, 0.8),
    "light_y": (-0.7, 0.1),
    "ambient": (0.38, 0.68),
    "gain": (0.80, 1.10),
    "offset": (-0.06, 0.10),
    "softness": (0.9, 2.1),  # width of an edge in pixels
}
_SHARES = {"long": 0.4, "beard": 0.12, "glasses": 0.14}  # shares of the faces; a beard is drawn only without long hair

_EYE_LINE = -0.16  # height of the eyes; the top of the head is -1, the chin 1

_CHUNK_PIXELS = 32 * 48 * 48  # drawn at a time; arrays of this size stay in the cache of a core

_DESCR = """\
.. _drawn_faces:

Drawn faces
-----------

Gray frontal portraits in the format of FER2013, drawn by `ferkit.datasets.make_faces`: seven expressions made of raised
or lowered brows, lids, cheeks, mouth corners, lips and teeth, from barely visible to full, on heads that differ in
pose, build, skin, hair, light and background. They were made without photographs of people. They are for examples,
tests and benchmarks of code. Results on them say nothing about real faces.

:Number of pixels: {size} x {size}, 0 (black) to 255 (white)
:Faces per emotion: {counts}
:Splits: the first 80 % are Training, then 10 % PublicTest and 10 % PrivateTest
"""


def _draw_traits(target, rng):
    """Draw all properties of each face, as a Bunch of float32 arrays of shape (n, 1, 1)."""

    def uniform(low, high):
        return rng.uniform(low, high, len(target))

    traits = {name: uniform(*bounds) for name, bounds in _TRAITS.items()}
    traits |= {name: uniform(0, 1) < share for name, share in _SHARES.items()}

    def expression(codes, intensity):
        restrained, opened = np.array(list(_EXPRESSIONS.values())).swapaxes(0, 1)[:, codes]
        return intensity[:, None] * (restrained + uniform(0, 1)[:, None] * (opened - restrained))

    actions = expression(target, traits["intensity"])
    second = rng.integers(len(EMOTIONS), size=len(target))
    actions += expression(second, traits["blend"] * traits["intensity"])
    affects = np.array([_AFFECTS[name] for name in EMOTIONS])
    affect = traits["intensity"][:, None] * (affects[target] + traits["blend"][:, None] * affects[second])
    traits |= zip(("valence", "arousal"), affect.T.clip(-1, 1), strict=True)
    actions += _TWITCH * rng.standard_normal(actions.shape).clip(-2.5, 2.5)
    traits |= zip(_ACTIONS, actions.T, strict=True)
    return Bunch(**{name: values.astype(np.float32)[:, None, None] for name, values in traits.items()})


def _bump(squared_distance):
    """Return a smooth hill: 1 in the middle, 0 from distance 1."""
    hill = np.maximum(1 - squared_distance, 0)
    hill *= hill
    return hill


def _paint(canvas, cover, tone):
    """Lay ``tone`` over ``canvas`` where ``cover`` is 1."""
    layer = tone - canvas
    layer *= cover
    canvas += layer


def _draw_eyes(face, a, b, right, f, inside):
    """Draw creases, eyes, brows and glasses on the upper rows of ``face``."""
    forehead = np.maximum(3.5 * f.brow, 0) * f.age * _bump((a / 0.5) ** 2 + ((b + 0.55) / 0.17) ** 2)
    frown = np.maximum(4 * f.pinch, 0) * _bump(((a - 0.05) / 0.035) ** 2) * _bump(((b + 0.32) / 0.14) ** 2)
    bridge = 0.35 * np.clip(f.wrinkle, 0, 1) * _bump((a / 0.16) ** 2 + ((b + 0.10) / 0.16) ** 2)
    face *= 1 - frown - (forehead + bridge) * (0.5 + 0.5 * np.sin(70 * b))

    p = (a - f.eye_gap) / f.eye_width  # -1 and 1 are the corners of the eye
    arc = np.maximum(1 - p * p, 0)
    y = b - _EYE_LINE - (f.eye_slant + f.droop) * p
    top = -np.maximum(f.eye_open + f.stare, 0.012) * arc
    low = np.maximum(0.6 * f.eye_open - f.squint + 0.3 * f.stare, 0.006) * arc
    pouch = 0.1 + 0.2 * f.age + 4 * np.maximum(f.squint, 0)
    _paint(face, 0.3 * _bump(p * p / 1.7 + ((y - top + 0.05) / 0.06) ** 2), 0.5 * f.skin)  # fold of the upper lid
    _paint(face, pouch * _bump(p * p / 1.3) * _bump(((y - low - 0.05) / 0.035) ** 2), 0.55 * f.skin)
    ball = inside(np.maximum(top - y, y - low)) * np.minimum(3 * arc, 1)
    lid_shadow = np.clip(0.55 + 7 * (y - top), 0.5, 1)
    _paint(face, ball, lid_shadow * (0.66 + 0.48 * f.ambient))
    x, y_iris = a - f.eye_gap - f.gaze_x * right, y - f.gaze_y
    radius = np.sqrt(x * x + y_iris * y_iris)
    _paint(face, ball * inside(radius - 0.072), f.iris * np.minimum(14 * radius, 1))
    _paint(face, ball * _bump(((x - 0.02 * right) / 0.03) ** 2 + ((y_iris + 0.03) / 0.03) ** 2), 0.9)  # glint
    lashes = inside(np.abs(y - top + 0.004) - 0.012) * np.clip(4 * (1.15 - p * p), 0, 1)
    _paint(face, 0.85 * lashes, 0.06)

    p = (a - f.eye_gap - 0.02 + f.pinch) / (f.eye_width + 0.05)
    line = _EYE_LINE - f.brow_height - f.brow - (f.arch + 0.03) * (1 - p * p) - (f.frown - 0.015) * p
    brows = inside(np.abs(b - line) - f.brow_thickness * (1 - 0.35 * p)) * np.clip(5 - 5 * np.abs(p), 0, 1)
    _paint(face, 0.9 * brows, 0.55 * f.hair)

    rims = np.abs(np.sqrt(((a - f.eye_gap) / 1.15) ** 2 + (b - _EYE_LINE - 0.02) ** 2) - 0.19)
    bridge = np.maximum(np.abs(b - _EYE_LINE), a - 0.12)
    _paint(face, 0.85 * f.glasses * inside(np.minimum(rims, bridge) - 0.014), 0.1)


def _draw_mouth(face, lit, a, b, right, f, inside):
    """Draw lips, teeth and tongue on the lower rows of ``face``."""
    p = a / np.maximum(f.mouth_width + f.wide, 0.12)  # 1 is the corner of the mouth
    arc = np.maximum(1 - p * p, 0)
    opening = arc ** (1 / (1 + np.maximum(f.blunt, 0)))
    y = b - f.mouth_height + f.smile * (p * p - 0.4)
    sneer = np.maximum(f.sneer, 0) * _bump(((p * right * np.sign(f.sneer_side) - 0.5) / 1.2) ** 2)
    top = -np.maximum(f.lift, 0) * opening - sneer
    low = np.maximum(f.jaw, 0) * opening - 0.35 * sneer
    lip = f.lip_thickness * (1 - 0.5 * np.clip(f.press, 0, 1)) * np.minimum(1.3 * arc, 1)
    cupids_bow = 0.85 - 0.25 * _bump((a / 0.05) ** 2)
    lips = inside(np.maximum(top - cupids_bow * lip - y, y - low - 1.1 * lip)) * inside(0.2 * (p * p - 1))
    _paint(face, lips, f.lip * f.skin * lit)
    _paint(face, 0.5 * _bump(p * p) * _bump(((y - low - 1.1 * lip - 0.05) / 0.05) ** 2), 0.6 * f.skin)  # below the lip
    gap = inside(np.maximum(top - y, y - low) - 0.011) * np.minimum(6 * arc, 1)
    tongue = _bump((p / 0.8) ** 2 + ((y - low) / 0.09) ** 2)
    _paint(face, gap, 0.06 + 0.35 * f.skin * tongue)
    teeth = np.maximum(inside(y - top + 0.02 - 0.10 * f.teeth), inside(low - y + 0.02 - 0.08 * f.bare))
    _paint(face, gap * teeth * np.minimum(2 * arc, 1), 0.4 + 0.6 * f.skin)


def _draw(f, size):
    """Return gray images (n, size, size) of the faces with traits ``f``: float32, about 0 to 1, without noise."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    x, y = axis - f.shift_x, axis[:, None] - f.shift_y
    cos, sin = np.cos(f.roll) / f.scale, np.sin(f.roll) / f.scale
    u, v = cos * x + sin * y, cos * y - sin * x  # the head's axes: its middle at 0, its chin at v = 1
    sharpness = size / 2 * f.scale / f.softness

    def inside(distance):
        """Return 1 for negative signed distances and 0 for positive ones, with an edge of f.softness pixels."""
        cover = 0.5 - distance * sharpness
        return np.clip(cover, 0, 1, out=cover)

    half_width = f.width * (1 - f.taper * np.maximum(v, 0) ** 2)
    rim = (u / half_width) ** 2 + v * v
    dome = np.maximum(1 - rim, 0)
    a, b = u + f.yaw * dome, v + f.pitch * dome  # the features' axes: nearer parts move more when the head turns
    right, a = np.sign(a), np.abs(a)  # both halves of the face are drawn at once
    nose_tip = f.nose_length - 0.05 * f.wrinkle

    # The face as a relief, and the light that falls on it
    along = (b - _EYE_LINE) / (nose_tip - _EYE_LINE)
    nose = np.clip(along, 0, 1)
    relief = 0.50 * np.sqrt(dome + 0.02)
    relief += 0.16 * nose * np.clip(4.9 - 4 * along, 0, 1) * _bump((a / (0.6 + 0.6 * nose) / f.nose_width) ** 2)
    relief -= 0.07 * _bump(((a - f.eye_gap + 0.03) / 0.24) ** 2 + ((b - _EYE_LINE) / 0.17) ** 2)
    relief += (0.05 + 0.5 * f.cheek) * _bump(((a - 0.42) / 0.27) ** 2 + ((b - 0.20 + f.cheek) / 0.25) ** 2)
    relief += 0.06 * _bump((a / 0.42) ** 2 + ((b - f.mouth_height) / 0.25) ** 2)
    relief += 0.05 * _bump((a / 0.22) ** 2 + ((b - 0.86) / 0.16) ** 2)
    slope_x, slope_y = np.gradient(relief, 2 / size, axis=(2, 1))
    lit = 1 - f.light_x * slope_x - f.light_y * slope_y
    lit /= np.sqrt((1 + slope_x**2 + slope_y**2) * (1 + 0.8 * (f.light_x**2 + f.light_y**2)))
    lit = 1.1 * (f.ambient + (1 - f.ambient) * np.maximum(lit, 0))

    # Behind the face: wall, hair, neck, clothes, ears
    image = np.broadcast_to(f.wall + f.wall_slope * axis, u.shape).copy()
    hair = f.hair * (1 + 0.05 * np.sin(f.streaks * a + 5 * v) + 0.04 * np.sin(1.7 * f.streaks * a - 3 * b))
    crown = np.where(f.long, np.minimum(v, 0), (v + 0.22) / 0.8) / (1 + f.volume)  # long hair falls straight
    crown = (u / (f.width + 0.8 * f.volume)) ** 2 + crown * crown - 1
    _paint(image, inside(0.45 * crown), hair * (1.1 - 0.4 * np.clip(rim - 1, 0, 1)))
    _paint(image, inside(np.abs(u) - 0.45) * inside(0.5 - v), 0.55 * f.skin)
    _paint(image, inside(1.35 - v - 0.35 * np.minimum(np.abs(u), 0.8)), f.clothes)
    ear = ((np.abs(u) - f.width - 0.01) / 0.10) ** 2 + ((v + 0.02) / 0.20) ** 2
    _paint(image, (1 - f.long) * inside(0.08 * (ear - 1)), f.skin * (0.55 + 0.25 * np.minimum(ear, 1)))

    # The face: folds beside the nose, nostrils, beard, features, hair on the forehead
    face = f.skin * lit
    depth = 0.35 * np.clip(0.25 * f.age + np.maximum(6 * f.cheek + 0.25 * f.wrinkle, 0), 0, 1)
    fold = 0.19 + 0.5 * (b - nose_tip) + 0.6 * f.smile
    face *= 1 - depth * _bump(((a - fold) / 0.06) ** 2) * _bump(((b - 0.36) / 0.2) ** 2)
    face *= 1 - 0.55 * _bump(((a - 0.42 * f.nose_width) / 0.05) ** 2 + ((b - nose_tip - 0.015) / 0.035) ** 2)
    beard = np.clip(5 * (b - 0.58 + 1.6 * np.maximum(a - 0.1, 0) ** 2), 0, 1)
    moustache_line = 0.5 * (nose_tip + f.mouth_height) + 0.03 + 0.4 * a * a
    moustache = 2 * _bump((a / 0.36) ** 2) * _bump(((b - moustache_line) / 0.08) ** 2)
    beard = 0.65 * f.beard * (1 - f.long) * np.maximum(beard, np.minimum(moustache, 1))
    _paint(face, beard, hair * (0.4 + 0.5 * lit))
    upper, lower = np.s_[:, : round(0.70 * size)], np.s_[:, round(0.45 * size) :]  # contain eyes and mouth in any pose
    _draw_eyes(face[upper], a[upper], b[upper], right[upper], f, inside)
    _draw_mouth(face[lower], lit[lower], a[lower], b[lower], right[lower], f, inside)
    drape = (0.55 + 0.35 * f.long) * (a / 0.66) ** 3
    fringe = (b - f.hairline - f.parting * a * right - drape * a / 0.66) / (1 + 6 * drape)  # as steep as a distance
    fringe = np.where(f.long, np.minimum(fringe, f.curtain - a), np.maximum(fringe, 0.5 * b))
    _paint(face, inside(fringe), hair * (0.6 + 0.5 * lit))

    _paint(image, inside(0.5 * f.width * (rim - 1)), face)
    return f.offset + f.gain * image


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "size": [Interval(Integral, 16, None, closed="left")],
        "proportions": [None, StrOptions({"fer2013"}), "array-like"],
        "noise": [Interval(Real, 0, None, closed="left")],
        "as_frame": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_faces(
    n_samples: int = 1000,
    *,
    size: int = 48,
    proportions: Literal["fer2013"] | ArrayLike | None = None,
    noise: float = 0.025,
    as_frame: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Draw faces with the seven expressions of FER2013.

    The faces have FER2013's format, codes and splits and need no download. They are for examples, tests and benchmarks.
    Heads differ in pose, build, skin, hair, glasses, beard, light, background and sharpness. An expression may be weak
    or mixed with another one, so a linear model on pixels does clearly worse than a convolutional network.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of faces.
    size : int, default=48
        Height and width of a face in pixels, at least 16. A larger face shows more detail.
    proportions : None, "fer2013" or array-like of shape (7,), default=None
        Frequencies of the emotions: equal (None), as in the training split of FER2013 (16 times as many happy faces as
        disgusted ones), or proportional to seven non-negative numbers in the order of ``target_names``. The counts are
        exact except for rounding.
    noise : float, default=0.025
        Standard deviation of the noise in every pixel, as a fraction of the range from black to white.
    as_frame : bool, default=False
        Whether to add a ``frame`` with the columns of the FER2013 CSV.
    random_state : int, RandomState instance or None, default=None
        Determines the faces. Pass an int to get the same faces in every call.

    Returns
    -------
    faces : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : ndarray of shape (n_samples, size * size), dtype uint8
            One face per row; 0 is black.
        images : ndarray of shape (n_samples, size, size), dtype uint8
            A view of ``data``.
        target : ndarray of shape (n_samples,), dtype int64
            Emotions, as the codes 0 to 6 of FER2013.
        target_names : ndarray of shape (7,), dtype str
            The emotion of each code.
        usage : ndarray of shape (n_samples,), dtype str
            Split of each face: "Training" for the first 80 %, "PublicTest" for the next 10 %, "PrivateTest" for the
            rest.
        frame : DataFrame of shape (n_samples, 3)
            Only with ``as_frame=True``: ``emotion``, ``pixels`` (values separated by spaces) and ``Usage``.
        traits : DataFrame of shape (n_samples, 7)
            Other properties of the faces: ``valence`` and ``arousal`` (from -1 to 1: those of the emotion [1]_
            times the intensity of the expression, which is barely visible to full, plus those of the emotion that is
            mixed in), ``skin`` (tone from dark, 0.42, to light, 0.82), ``age`` (wrinkles, from 0 to 1), ``light`` (from
            0.38, with dark shadows, to 0.68), ``glasses`` and ``beard``.
        DESCR : str
            Description of the data set.

    See Also
    --------
    sample_faces : Takes faces of FER2013 instead, if they are available.

    References
    ----------
    .. [1] J. A. Russell and A. Mehrabian, "Evidence for a three-factor theory of emotions", Journal of Research in
       Personality 11 (1977), 273-294.

    Examples
    --------
    >>> import numpy as np
    >>> from ferkit.datasets import make_faces
    >>> faces = make_faces(1000, proportions="fer2013", random_state=0)
    >>> faces.images.shape
    (1000, 48, 48)
    >>> dict(zip(faces.target_names.tolist(), np.bincount(faces.target).tolist()))
    {'angry': 139, 'disgust': 15, 'fear': 143, 'happy': 251, 'sad': 168, 'surprise': 111, 'neutral': 173}
    """
    state = check_random_state(random_state)
    counts = apportion(n_samples, proportions)
    target = state.permutation(np.repeat(np.arange(len(EMOTIONS), dtype=np.int64), counts))
    rng = np.random.default_rng(state.randint(2**31, size=4))  # draws float32 several times faster
    traits = _draw_traits(target, rng)
    images = np.empty((n_samples, size, size), np.uint8)
    for chunk in gen_batches(n_samples, max(1, _CHUNK_PIXELS // size**2)):
        faces = _draw(Bunch(**{name: values[chunk] for name, values in traits.items()}), size)
        faces += np.float32(noise) * rng.standard_normal(faces.shape, dtype=np.float32)
        images[chunk] = np.rint(255 * faces.clip(0, 1))

    bounds = np.rint(n_samples * np.array([0, 0.8, 0.9, 1])).astype(int)
    usage = np.repeat(FER2013_USAGES, np.diff(bounds))
    descr = _DESCR.format(size=size, counts=", ".join(map("{} {}".format, counts, EMOTIONS)))
    bunch = make_bunch(images.reshape(n_samples, -1), target, usage, image_shape=(size, size), descr=descr)
    shown = {
        "valence": traits.valence,
        "arousal": traits.arousal,
        "skin": traits.skin,
        "age": traits.age,
        "light": traits.ambient,
    }
    shown |= {"glasses": traits.glasses > 0, "beard": (traits.beard > 0) & (traits.long == 0)}
    bunch.traits = pd.DataFrame({name: values.ravel() for name, values in shown.items()})
    if as_frame:
        bunch.frame = make_frame(bunch)
    return bunch
