"""Displays of training: the history of one network, the results of several."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from ._base import COLORS, last_step, new_axes

__all__ = ["ComparisonDisplay", "HistoryDisplay"]


class HistoryDisplay:
    """Loss and accuracy per epoch.

    Parameters
    ----------
    history : list of dict
        ``FERClassifier.history_``.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of two matplotlib Axes

    Examples
    --------
    >>> from ferkit.display import HistoryDisplay
    >>> epochs = [{"epoch": n, "train_loss": 1 / n, "train_accuracy": 1 - 1 / n} for n in (1, 2, 3)]
    >>> HistoryDisplay(epochs).plot().axes_[0].get_ylabel()
    'loss'
    """

    def __init__(self, history: list[dict[str, Any]]):
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator) -> Self:
        """Draw the training history of a :class:`ferkit.FERClassifier` or of a pipeline that ends in one.

        Parameters
        ----------
        estimator : FERClassifier or Pipeline
            Fitted estimator.

        Returns
        -------
        HistoryDisplay
        """
        return cls(last_step(estimator).history_).plot()

    def plot(self) -> Self:
        """Draw and return the display."""
        from matplotlib.ticker import MaxNLocator, PercentFormatter

        self.figure_, (self.axes_,) = new_axes(1, 2, 9, 3.6)
        epochs = [row["epoch"] for row in self.history]
        for ax, score in zip(self.axes_, ("loss", "accuracy"), strict=True):
            for split, name, color in zip(("train", "valid"), ("training batches", "validation"), COLORS, strict=False):
                values = np.array([row.get(f"{split}_{score}", np.nan) for row in self.history], dtype=float)
                if np.isfinite(values).any():
                    marker = "o" if len(epochs) < 60 else None
                    ax.plot(epochs, values, marker=marker, markersize=3, color=color, label=name)
                    if split == "valid":
                        best = np.nanargmin(values) if score == "loss" else np.nanargmax(values)
                        ax.plot(epochs[best], values[best], "*", markersize=12, color=color, label="best epoch")
            ax.set(xlabel="epoch", ylabel=score)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            ax.grid(alpha=0.3)
        entries = {name: line for ax in self.axes_ for line, name in zip(*ax.get_legend_handles_labels(), strict=True)}
        self.figure_.legend(entries.values(), entries, loc="outside upper center", ncols=3, frameon=False)
        self.axes_[1].yaxis.set_major_formatter(PercentFormatter(1))
        return self


class ComparisonDisplay:
    """Bar chart of the accuracies of several networks, with their intervals and cost.

    Parameters
    ----------
    runs : DataFrame
        One row per network, as returned by :func:`ferkit.runs.compare_runs`. Required columns: ``name``, ``tested_on``,
        ``accuracy``, ``accuracy_low``, ``accuracy_high``, ``training_accuracy``, ``parameters``, ``flops`` and
        ``seconds``.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from ferkit.display import ComparisonDisplay
    >>> scores = {"accuracy": 0.63, "accuracy_low": 0.61, "accuracy_high": 0.65, "training_accuracy": 0.7}
    >>> cost = {"parameters": 1_680_375, "flops": 115_516_928, "seconds": 290}
    >>> runs = pd.DataFrame([{"name": "cnn", "tested_on": "PublicTest", **scores, **cost}])
    >>> ComparisonDisplay(runs).plot().ax_.get_xlabel()
    'accuracy'
    """

    def __init__(self, runs: pd.DataFrame):
        self.runs = runs

    def plot(self) -> Self:
        """Draw with the most accurate network on top, and return the display."""
        from matplotlib.ticker import PercentFormatter

        runs = self.runs.sort_values("accuracy")
        self.figure_, ((self.ax_,),) = new_axes(1, 1, 11, 1.6 + 0.45 * len(runs))
        places = np.arange(len(runs))
        self.ax_.barh(
            places,
            runs["accuracy"],
            0.6,
            xerr=[runs["accuracy"] - runs["accuracy_low"], runs["accuracy_high"] - runs["accuracy"]],
            color="#8ABFE5",
            error_kw={"capsize": 3},
            label=f"{runs['tested_on'].iloc[0]}, with 95 % interval",
        )
        self.ax_.plot(runs["training_accuracy"], places, "D", markersize=5, color=COLORS[1], label="Training")
        for place, run in zip(places, runs.itertuples(), strict=True):
            cost = (
                f"{run.accuracy:.1%}   {run.parameters / 1e6:.1f} M parameters, {run.flops / 1e6:,.0f} MFLOP, "
                f"trained in {_duration(run.seconds)}"
            )
            self.ax_.text(1.02, place, cost, va="center", fontsize=8, transform=self.ax_.get_yaxis_transform())
        self.ax_.set_yticks(places, runs["name"])
        highest = runs[["accuracy_high", "training_accuracy"]].max(axis=None)
        self.ax_.set(xlabel="accuracy", xlim=(0, max(0.75, 1.03 * highest)))
        self.ax_.xaxis.set_major_formatter(PercentFormatter(1))
        self.ax_.spines[["top", "right"]].set_visible(False)
        self.figure_.legend(loc="outside upper center", ncols=2, frameon=False)
        return self


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
