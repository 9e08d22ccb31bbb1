"""Displays of faces in photos and videos."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from ..photos._analysis import classes_of
from ..photos._drawing import box_of, check_columns, check_one_image, describe
from ..photos._sources import to_photo
from ._base import COLORS, DASHES, new_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PhotoDisplay", "TimelineDisplay"]

N_BARS = 12  # faces with bars; more would be too small to read


class PhotoDisplay:
    """Photo with a box around each face, and bars of the probabilities beside it.

    Parameters
    ----------
    image : path, bytes, stream, PIL image or ndarray
        The photo, as :func:`ferkit.photos.analyze` takes it.
    faces : DataFrame
        Its faces, as :func:`ferkit.photos.analyze` returns them.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes
        The photo, then the bars of each face.

    See Also
    --------
    ferkit.photos.draw_faces : The photo itself with boxes, pixel by pixel.

    Examples
    --------
    >>> from PIL import Image
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.display import PhotoDisplay
    >>> photo = Image.new("RGB", (640, 480), "gray")
    >>> photo.paste(Image.fromarray(make_faces(1, random_state=0).images[0]).resize((200, 200)), (300, 150))
    >>> len(PhotoDisplay.from_image(photo).axes_)
    2
    """

    def __init__(self, image: Any, faces: pd.DataFrame):
        self.image = image
        self.faces = faces

    @classmethod
    def from_image(cls, image: Any, model: Any = "fer2013-small", **options: Any) -> Self:
        """Analyze a photo and draw it.

        Parameters
        ----------
        image : path, bytes, stream, PIL image or ndarray
            The photo.
        model, **options
            See :func:`ferkit.photos.analyze`.

        Returns
        -------
        PhotoDisplay
        """
        from ..photos import analyze

        return cls(image, analyze(image, model, **options)).plot()

    def plot(self, *, bars: bool = True) -> Self:
        """Draw and return the display.

        Parameters
        ----------
        bars : bool, default=True
            Draw the probabilities of each face beside the photo, of at most 12 faces. Several faces are numbered as in
            the column ``face``.
        """
        check_one_image(self.faces)
        photo = to_photo(self.image)
        faces = self.faces.to_dict("records")
        shown = faces[:N_BARS] if bars else []
        classes = classes_of(self.faces)
        columns = -(-len(shown) // 4)
        rows = -(-len(shown) // columns) if columns else 1
        height = max(0.3 + 0.19 * len(classes), 1.3) * max(rows, 2)
        width = min(9.0, max(3.0, height * photo.shape[1] / photo.shape[0]))
        self.figure_ = new_figure(width + 2.4 * columns, height)
        grid = self.figure_.add_gridspec(rows, columns + 1, width_ratios=[width, *[2.4] * columns])
        ax = self.figure_.add_subplot(grid[:, 0])
        ax.imshow(photo)
        ax.axis("off")
        if not faces:
            ax.set_title("no face found", fontsize=9)
        for face in faces:
            number = f"{face['face']}: " if len(faces) > 1 else ""
            _draw_box(ax, face, number + describe(face), photo.shape)
        axes = [ax]
        for place, face in enumerate(shown):
            axes.append(self.figure_.add_subplot(grid[place % rows, 1 + place // rows]))
            _draw_bars(axes[-1], face, classes, f"face {face['face']}" if len(faces) > 1 else "")
        self.axes_ = np.array(axes, dtype=object)
        return self


def _draw_box(ax, face, text, shape):
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    left, top, right, bottom = box_of(face)
    ax.add_patch(
        Rectangle(
            (left, top),
            right - left,
            bottom - top,
            fill=False,
            edgecolor="white",
            linewidth=1.6,
            linestyle="--" if face["unsure"] else "-",
            path_effects=[withStroke(linewidth=3.4, foreground="black")],
        )
    )
    below = top < 0.06 * shape[0]
    ax.text(
        np.clip(left, 0, shape[1]),
        bottom if below else top,
        text,
        va="top" if below else "bottom",
        ha="left" if left < 0.8 * shape[1] else "right",
        color="white",
        fontsize=9,
        bbox={"facecolor": "black", "edgecolor": "none", "pad": 2},
        clip_on=False,
    )


def _draw_bars(ax, face, classes, title):
    values = np.array([face[name] for name in classes])
    places = np.arange(len(classes))
    best = values.argmax()
    ax.barh(places, values, 0.75, color=[COLORS[0] if place == best else "#B8CBD9" for place in places])
    for place, value in zip(places, values, strict=True):
        weight = "bold" if place == best else "normal"
        ax.text(value + 0.02, place, f"{value:.0%}", va="center", fontsize=7.5, fontweight=weight)
    ax.set_yticks(places, classes, fontsize=8)
    ax.set(xlim=(0, 1.15), xticks=[])
    ax.invert_yaxis()
    ax.tick_params(length=0)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    title = ", ".join(filter(None, [title, "unsure" * bool(face["unsure"])]))
    if title:
        ax.set_title(title, fontsize=9, loc="left")


class TimelineDisplay:
    """Probabilities of the emotions over the time of a video, one row per track.

    The names above the lines are the emotion with the highest probability; a question mark marks unsure ones.

    Parameters
    ----------
    faces : DataFrame
        Faces of a video, as :func:`ferkit.photos.analyze` returns them.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes
        One per track.

    Examples
    --------
    >>> import pandas as pd
    >>> from ferkit.display import TimelineDisplay
    >>> rows = [{"time": t / 10, "track": 0, "score": 0.9, "happy": t / 20, "sad": 1 - t / 20} for t in range(20)]
    >>> faces = pd.DataFrame(rows).assign(emotion=lambda table: table[["happy", "sad"]].idxmax(axis=1), unsure=False)
    >>> TimelineDisplay(faces).plot().axes_[0].get_ylabel()
    'track 0'
    """

    def __init__(self, faces: pd.DataFrame):
        self.faces = faces

    @classmethod
    def from_video(cls, video: Any, model: Any = "fer2013-small", **options: Any) -> Self:
        """Analyze a video and draw its timeline.

        Parameters
        ----------
        video : path
            The video.
        model, **options
            See :func:`ferkit.photos.analyze`.

        Returns
        -------
        TimelineDisplay
        """
        from ..photos import analyze

        return cls(analyze(video, model, **options)).plot()

    def plot(self, *, n_tracks: int = 6) -> Self:
        """Draw and return the display.

        Parameters
        ----------
        n_tracks : int, default=6
            Draw at most this many tracks, those with the most faces.
        """
        from matplotlib.ticker import PercentFormatter

        check_columns(self.faces, "video", {"time", "track"})
        if not len(self.faces):
            raise ValueError("Expected the faces of a video, got a table without rows: no face was found.")
        counts = self.faces["track"].value_counts(sort=False)
        tracks = sorted(counts.sort_values(ascending=False, kind="stable").index[:n_tracks])
        classes = classes_of(self.faces)
        self.figure_, axes = new_axes(len(tracks), 1, 9, 0.9 + 1.5 * len(tracks), sharex=True, sharey=True)
        self.axes_ = axes[:, 0]
        for ax, track in zip(self.axes_, tracks, strict=True):
            faces = _with_gaps(self.faces[self.faces["track"] == track], classes)
            for place, name in enumerate(classes):
                dashes = DASHES[place % len(DASHES)]
                color = COLORS[place % len(COLORS)]
                ax.plot(faces["time"], faces[name], dashes, color=color, linewidth=1.6, label=name)
            _name_spans(ax, faces)
            ax.set_ylabel(f"track {track}")
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(axis="y", alpha=0.3)
        self.axes_[0].set(ylim=(0, 1.18), yticks=[0, 0.5, 1])
        self.axes_[0].yaxis.set_major_formatter(PercentFormatter(1))
        self.axes_[-1].set_xlabel("time, seconds")
        entries = self.axes_[0].get_legend_handles_labels()
        self.figure_.legend(*entries, loc="outside right upper", frameon=False, handlelength=3)
        return self


def _with_gaps(faces, classes):
    """Return the faces of a track with an empty row wherever the face was missing, so that lines are interrupted."""
    steps = faces["time"].diff()
    breaks = faces[steps > 2.5 * steps.median()].assign(**dict.fromkeys(classes, np.nan))
    breaks["time"] -= 1e-6
    breaks["emotion"] = ""
    return pd.concat([breaks, faces]).sort_values("time", kind="stable")


def _name_spans(ax: "Axes", faces: pd.DataFrame) -> None:
    """Write the emotion above each part of the track in which it stays the same, if there is room."""
    span = (faces["emotion"] != faces["emotion"].shift()).cumsum()
    total = faces["time"].iloc[-1] - faces["time"].iloc[0]
    for _, part in faces.groupby(span):
        start, end = part["time"].iloc[0], part["time"].iloc[-1]
        emotion = str(part["emotion"].iloc[0])
        emotion += " ?" * bool(emotion and part["unsure"].mean() > 0.5)
        if emotion and end - start >= 0.012 * len(emotion) * max(total, 1e-9):
            ax.plot([start, end], [1.05, 1.05], color="black", linewidth=1)
            ax.text((start + end) / 2, 1.06, emotion, ha="center", va="bottom", fontsize=8)
