"""Displays of training: the history of one network, the results of several."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from ..classifier import FERClassifier
from ..regressor import FERRegressor
from ._base import COLORS, DASHES, last_step, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ComparisonDisplay", "HistoryDisplay"]

_SPLITS = {"train_": "training batches", "valid_": "validation", "": "callback"}
_TRAINED = (FERClassifier, FERRegressor)
_NO_SCORES = ("epoch", "lr", "seconds")


class HistoryDisplay:
    """Loss, accuracy and other metrics per epoch, of one network or several.

    Parameters
    ----------
    history : list of dict, or dict of lists
        ``FERClassifier.history_``, or the histories of several networks by name.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes
        One per score.

    Examples
    --------
    >>> from ferkit.display import HistoryDisplay
    >>> epochs = [
    ...     {"epoch": n, "train_loss": 2 / n**0.5, "valid_loss": 2 / n**0.5 + n / 20,
    ...      "train_accuracy": 1 - 0.9 / n**0.5, "valid_accuracy": 0.9 - 0.8 / n**0.5 - n / 60}
    ...     for n in range(1, 13)
    ... ]
    >>> HistoryDisplay(epochs).plot().axes_[0].get_ylabel()
    'loss'
    """

    def __init__(self, history: list[dict[str, Any]] | Mapping[str, list[dict[str, Any]]]):
        self.history = history

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator | Mapping[str, BaseEstimator],
        *,
        scores: Sequence[str] | None = None,
        ax: "Axes | Sequence[Axes] | None" = None,
    ) -> Self:
        """Draw the training history of a :class:`ferkit.FERClassifier` or :class:`ferkit.FERRegressor`.

        Parameters
        ----------
        estimator : FERClassifier, FERRegressor or Pipeline, or dict of these
            Fitted estimator, or several by name. A pipeline must end in a classifier or regressor of ferkit.
        scores : list of str, default=None
            Scores to draw. By default all in the histories: "loss", "accuracy" and others, such as those of skorch's
            EpochScoring.
        ax : matplotlib Axes or sequence of them, default=None
            Axes to draw in, one per score. By default, those of a new figure.

        Returns
        -------
        HistoryDisplay
        """
        if isinstance(estimator, Mapping):
            history = {name: last_step(one, _TRAINED).history_ for name, one in estimator.items()}
        else:
            history = last_step(estimator, _TRAINED).history_
        return cls(history).plot(ax, scores=scores)

    def plot(self, ax: "Axes | Sequence[Axes] | None" = None, *, scores: Sequence[str] | None = None) -> Self:
        """Draw and return the display.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, default=None
            Axes to draw in, one per score. By default, those of a new figure.
        scores : list of str, default=None
            Scores to draw. By default all in the histories.
        """
        histories = self.history if isinstance(self.history, Mapping) else {"": self.history}
        if scores is None:
            keys = dict.fromkeys(key for rows in histories.values() for row in rows for key in row)
            known = (key.removeprefix("train_").removeprefix("valid_") for key in keys if key not in _NO_SCORES)
            scores = list(dict.fromkeys(known))
        if ax is None:
            axes = new_axes(1, len(scores), 4.5 * len(scores), 3.6)[1][0]
        else:
            axes = np.ravel(np.asarray(ax, dtype=object))
        if len(axes) != len(scores):
            raise ValueError(
                f"Expected one Axes for each of {', '.join(scores)}, got {len(axes)}: pass as many Axes as `scores`."
            )
        for one, score in zip(axes, scores, strict=True):
            _draw_score(one, score, histories)
        entries = {name: line for one in axes for line, name in zip(*one.get_legend_handles_labels(), strict=True)}
        self.figure_, self.axes_ = axes[0].figure, axes
        if ax is None:
            self.figure_.legend(entries.values(), entries, loc="outside upper center", ncols=3, frameon=False)
        else:
            axes[0].legend(entries.values(), entries, frameon=False)
        return self


def _draw_score(ax: "Axes", score: str, histories: Mapping[str, list[dict[str, Any]]]) -> None:
    """Draw one line per split and network: its color says which network or, if there is only one, which split."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    several = len(histories) > 1
    for network, (name, rows) in enumerate(histories.items()):
        epochs = [row["epoch"] for row in rows]
        for split, (prefix, kind) in enumerate(_SPLITS.items()):
            values = np.array([row.get(f"{prefix}{score}", np.nan) for row in rows], dtype=float)
            if not np.isfinite(values).any():
                continue
            color = COLORS[(network if several else split) % len(COLORS)]
            dashes = DASHES[1] if several and prefix == "train_" else DASHES[0]
            label, marker = f"{name}, {kind}" if name else kind, "o" if len(epochs) < 60 else None
            ax.plot(epochs, values, dashes, marker=marker, markersize=3, color=color, label=label)
            if prefix == "valid_" and score in ("loss", "accuracy"):
                best = np.nanargmin(values) if score == "loss" else np.nanargmax(values)
                ax.plot(epochs[best], values[best], "*", markersize=12, color=color, label="best epoch")
    ax.set(xlabel="epoch", ylabel=score)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.3)
    if score == "accuracy":
        ax.yaxis.set_major_formatter(PercentFormatter(1))


class ComparisonDisplay:
    """Accuracies of several networks with their intervals, the accuracy of each run, and their cost.

    Parameters
    ----------
    runs : DataFrame
        One row per network, as returned by :func:`ferkit.runs.compare_runs`. Required columns: ``name``, ``tested_on``,
        ``accuracy``, ``accuracy_low``, ``accuracy_high``, ``training_accuracy``, ``parameters``, ``flops`` and
        ``seconds``. With ``accuracies``, the accuracy of each run is drawn too if there are several.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from ferkit.display import ComparisonDisplay
    >>> cnn = {"name": "cnn", "accuracy": 0.63, "parameters": 1_680_375, "flops": 115_516_928, "seconds": 190}
    >>> small = {"name": "cnn_small", "accuracy": 0.59, "parameters": 423_063, "flops": 40_116_224, "seconds": 75}
    >>> runs = pd.DataFrame([cnn, small]).assign(tested_on="PublicTest", training_accuracy=[0.66, 0.6])
    >>> runs = runs.assign(accuracy_low=runs["accuracy"] - 0.016, accuracy_high=runs["accuracy"] + 0.016)
    >>> ComparisonDisplay(runs).plot().ax_.get_xlabel()
    'accuracy'
    """

    def __init__(self, runs: pd.DataFrame):
        self.runs = runs

    def plot(self) -> Self:
        """Draw with the most accurate network on top, and return the display."""
        from matplotlib.ticker import PercentFormatter

        runs = self.runs[::-1].sort_values("accuracy", kind="stable")  # ties as in the table
        self.figure_, ((self.ax_,),) = new_axes(1, 1, 9, 1.6 + 0.6 * len(runs))
        places = np.arange(len(runs))
        self.ax_.errorbar(
            runs["accuracy"],
            places,
            xerr=[runs["accuracy"] - runs["accuracy_low"], runs["accuracy_high"] - runs["accuracy"]],
            fmt="o",
            color=COLORS[0],
            capsize=4,
            label=f"{runs['tested_on'].iloc[0]}, with 95 % interval",
        )
        if "accuracies" in runs and runs["accuracies"].map(len).max() > 1:
            each = runs["accuracies"].reset_index(drop=True).explode().astype(float)
            self.ax_.plot(each, each.index - 0.22, "o", markersize=4, color=COLORS[4], label="each training")
        self.ax_.plot(runs["training_accuracy"], places, "D", markersize=5, color=COLORS[1], label="Training")
        for place, run in zip(places, runs.itertuples(), strict=True):
            cost = (
                f"{run.accuracy:.1%}, {run.parameters / 1e6:.1f} M parameters\n"
                f"{run.flops / 1e6:,.0f} MFLOP, trained in {_duration(run.seconds)}"
            )
            self.ax_.text(1.02, place, cost, va="center", fontsize=10, transform=self.ax_.get_yaxis_transform())
        self.ax_.set_yticks(places, runs["name"])
        self.ax_.set(xlabel="accuracy", ylim=(-0.5, len(runs) - 0.5))
        self.ax_.grid(axis="x", alpha=0.3)
        self.ax_.xaxis.set_major_formatter(PercentFormatter(1))
        self.ax_.spines[["top", "right"]].set_visible(False)
        self.figure_.legend(loc="outside upper center", ncols=3, frameon=False)
        return self


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
