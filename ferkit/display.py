"""Figures, in scikit-learn's manner: a Display holds what to show, ``plot`` draws it, ``figure_`` is the result.

Colours are Okabe and Ito's, which colour-blind people can tell apart.
"""

import numpy as np

from ._images import as_rows, resolve_shape

__all__ = [
    "BackboneDisplay",
    "ClassDistributionDisplay",
    "ComparisonDisplay",
    "FacesDisplay",
    "LearningCurveDisplay",
    "PredictionsDisplay",
]

_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
_RIGHT, _WRONG = "#008A64", "#B4161B"  # a green and a red that differ in lightness too


class LearningCurveDisplay:
    """Loss and accuracy of each epoch.

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
    >>> from ferkit.display import LearningCurveDisplay
    >>> epochs = [{"epoch": n, "train_loss": 1 / n, "train_accuracy": 1 - 1 / n} for n in (1, 2, 3)]
    >>> LearningCurveDisplay(epochs).plot().axes_[0].get_ylabel()
    'loss'
    """

    def __init__(self, history):
        self.history = history

    @classmethod
    def from_estimator(cls, estimator):
        """Show how a :class:`ferkit.FERClassifier`, or a pipeline that ends in one, was trained.

        Parameters
        ----------
        estimator : FERClassifier or Pipeline
            Fitted.

        Returns
        -------
        LearningCurveDisplay
        """
        last = estimator[-1] if hasattr(estimator, "steps") else estimator
        return cls(last.history_).plot()

    def plot(self):
        """Draw.

        Returns
        -------
        LearningCurveDisplay
        """
        from matplotlib.ticker import MaxNLocator, PercentFormatter

        self.figure_, (self.axes_,) = _subplots(1, 2, 9, 3.6)
        epochs = [row["epoch"] for row in self.history]
        for ax, score in zip(self.axes_, ("loss", "accuracy"), strict=True):
            for split, name, color in zip(
                ("train", "valid"), ("training (augmented)", "validation"), _COLORS, strict=False
            ):
                values = np.array([row.get(f"{split}_{score}", np.nan) for row in self.history], dtype=float)
                if np.isfinite(values).any():
                    ax.plot(epochs, values, marker="o", markersize=3, color=color, label=name)
                    if split == "valid":
                        best = np.nanargmin(values) if score == "loss" else np.nanargmax(values)
                        name = "lowest" if score == "loss" else "highest"
                        ax.plot(epochs[best], values[best], "*", markersize=12, color=color, label=name)
            ax.set(xlabel="epoch", ylabel=score)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.grid(alpha=0.3)
            ax.legend(loc="upper right" if score == "loss" else "lower right")
        self.axes_[1].yaxis.set_major_formatter(PercentFormatter(1))
        return self


class ClassDistributionDisplay:
    """How many images there are of each class, in one or several splits side by side.

    Parameters
    ----------
    counts : dict of str to array of shape (n_labels,)
        For each split, how many images of each label it holds.
    labels : sequence of str
        The labels.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes

    Examples
    --------
    >>> from ferkit.display import ClassDistributionDisplay
    >>> display = ClassDistributionDisplay.from_targets({"train": ["happy", "sad", "sad"]}, labels=["happy", "sad"])
    >>> display.counts["train"]
    array([1, 2])
    """

    def __init__(self, counts, labels):
        self.counts = counts
        self.labels = labels

    @classmethod
    def from_targets(cls, targets, *, labels):
        """Count labels and draw.

        Parameters
        ----------
        targets : dict of str to array-like of shape (n,)
            For each split, its labels.
        labels : array-like
            The labels to show, in order.

        Returns
        -------
        ClassDistributionDisplay
        """
        targets = {split: np.asarray(y) for split, y in targets.items()}
        counts = {split: np.array([(y == label).sum() for label in labels]) for split, y in targets.items()}
        return cls(counts, [str(label) for label in labels]).plot()

    def plot(self):
        """Draw.

        Returns
        -------
        ClassDistributionDisplay
        """
        self.figure_, ((self.ax_,),) = _subplots(1, 1, 2 + 0.9 * len(self.labels), 3.6)
        places, width = np.arange(len(self.labels)), 0.8 / len(self.counts)
        for number, (split, counts) in enumerate(self.counts.items()):
            offset = (number - (len(self.counts) - 1) / 2) * width
            bars = self.ax_.bar(
                places + offset, counts, width, color=_COLORS[number % 4], label=f"{split}, {sum(counts):,}"
            )
            self.ax_.bar_label(bars, [f"{count:,}" for count in counts], fontsize=7, padding=1)
        self.ax_.set_xticks(places, self.labels)
        self.ax_.set_ylabel("images")
        self.ax_.margins(y=0.1)
        self.ax_.spines[["top", "right"]].set_visible(False)
        self.ax_.legend()
        return self


class FacesDisplay:
    """A grid of faces, one row for each class.

    Parameters
    ----------
    images : list of arrays of shape (n, height, width) or (n, height, width, channels)
        For each label the images to show.
    labels : sequence of str
        The labels.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes

    Examples
    --------
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.display import FacesDisplay
    >>> faces = make_faces(70, random_state=0)
    >>> FacesDisplay.from_data(faces.images, faces.target_names[faces.target], n_columns=5).axes_.shape
    (7, 5)
    """

    def __init__(self, images, labels):
        self.images = images
        self.labels = labels

    @classmethod
    def from_data(cls, images, y, *, labels=None, n_columns=8, random_state=0):
        """Draw a random sample of each class.

        Parameters
        ----------
        images : array of shape (n, height, width) or (n, height, width, channels)
            Images.
        y : array-like of shape (n,)
            Their labels.
        labels : array-like, default=None
            Labels to show, in order. By default all in ``y``, sorted.
        n_columns : int, default=8
            Images of each class.
        random_state : int, default=0
            Determines the sample.

        Returns
        -------
        FacesDisplay
        """
        y, rng = np.asarray(y), np.random.default_rng(random_state)
        labels = np.unique(y) if labels is None else labels
        chosen = [rng.permutation(np.flatnonzero(y == label))[:n_columns] for label in labels]
        return cls([images[rows] for rows in chosen], [str(label) for label in labels]).plot()

    def plot(self):
        """Draw.

        Returns
        -------
        FacesDisplay
        """
        columns = max(1, *(len(images) for images in self.images))
        self.figure_, self.axes_ = _subplots(len(self.images), columns, columns + 1, len(self.images) + 0.2)
        for row, images, label in zip(self.axes_, self.images, self.labels, strict=True):
            for ax, image in zip(row, images, strict=False):
                _show(ax, image)
            for ax in row:
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
            row[0].set_ylabel(label, rotation=0, ha="right", va="center")
        return self


class PredictionsDisplay:
    """A grid of faces with what was predicted: green and ✓ where right, red and ✗ where wrong.

    Parameters
    ----------
    images : array of shape (n, height, width) or (n, height, width, channels)
        Images.
    y_true, y_pred : array-like of shape (n,)
        True and predicted labels.
    probability : array-like of shape (n,)
        Of what was predicted.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes
    """

    def __init__(self, images, y_true, y_pred, probability):
        self.images = images
        self.y_true = y_true
        self.y_pred = y_pred
        self.probability = probability

    @classmethod
    def from_estimator(cls, estimator, X, y, *, images=None, n_images=32, random_state=0):
        """Predict a random sample and draw it.

        Parameters
        ----------
        estimator : classifier
            Fitted, with ``predict_proba``.
        X : array-like
            What it takes.
        y : array-like of shape (n,)
            True labels.
        images : array of shape (n, height, width) or (n, height, width, channels), default=None
            What to show; by default ``X``.
        n_images : int, default=32
            Size of the sample.
        random_state : int, default=0
            Determines the sample.

        Returns
        -------
        PredictionsDisplay
        """
        rows = np.random.default_rng(random_state).permutation(len(y))[:n_images]
        X, y = np.asarray(X)[rows], np.asarray(y)[rows]
        if images is None:
            flat, shape = as_rows(X)
            images = np.reshape(flat, (len(rows), *(shape or resolve_shape(flat.shape[1]))))
        else:
            images = np.asarray(images)[rows]
        probabilities = estimator.predict_proba(X)
        y_pred = estimator.classes_[probabilities.argmax(axis=1)]
        return cls(images, y, y_pred, probabilities.max(axis=1)).plot()

    def plot(self):
        """Draw.

        Returns
        -------
        PredictionsDisplay
        """
        columns = min(8, len(self.images))
        rows = -(-len(self.images) // columns)
        self.figure_, self.axes_ = _subplots(rows, columns, 1.35 * columns, 1.75 * rows)
        for ax in self.axes_.flat:
            ax.axis("off")
        faces = zip(self.images, self.y_true, self.y_pred, self.probability, strict=True)
        for ax, (image, true, predicted, probability) in zip(self.axes_.flat, faces, strict=False):
            _show(ax, image)
            right = true == predicted
            text = f"✓ {predicted} {probability:.0%}\n" if right else f"✗ {predicted} {probability:.0%}\n(is {true})"
            ax.set_title(text, fontsize=8, color=_RIGHT if right else _WRONG)
        return self


class ComparisonDisplay:
    """Networks side by side: accuracy with its interval, and what each cost.

    Parameters
    ----------
    runs : list of dict
        For each network ``name``, ``accuracy`` and ``interval`` (its bounds) on unseen images, ``training_accuracy``,
        ``parameters``, ``operations`` (multiply-adds for one image) and ``seconds`` of training.
    tested_on : str
        What the unseen images are called.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes

    Examples
    --------
    >>> from ferkit.display import ComparisonDisplay
    >>> cost = {"parameters": 1_680_375, "operations": 57_758_464, "seconds": 290}
    >>> run = {"name": "cnn", "accuracy": 0.63, "interval": (0.61, 0.65), "training_accuracy": 0.7, **cost}
    >>> ComparisonDisplay([run], tested_on="PublicTest").plot().ax_.get_xlabel()
    'accuracy'
    """

    def __init__(self, runs, *, tested_on):
        self.runs = runs
        self.tested_on = tested_on

    def plot(self):
        """Draw, the most accurate on top.

        Returns
        -------
        ComparisonDisplay
        """
        from matplotlib.ticker import PercentFormatter

        runs = sorted(self.runs, key=lambda run: run["accuracy"])
        self.figure_, ((self.ax_,),) = _subplots(1, 1, 9, 1.6 + 0.45 * len(runs))
        accuracy, training = (np.array([run[key] for run in runs]) for key in ("accuracy", "training_accuracy"))
        low, high = np.array([run["interval"] for run in runs]).T
        places = np.arange(len(runs))
        self.ax_.barh(
            places,
            accuracy,
            0.6,
            xerr=[accuracy - low, high - accuracy],
            color="#8ABFE5",
            error_kw={"capsize": 3},
            label=f"{self.tested_on}, with its 95 % interval",
        )
        self.ax_.plot(training, places, "D", markersize=5, color=_COLORS[1], label="Training")
        for place, run in enumerate(runs):
            cost = (
                f"{run['accuracy']:.1%}   {run['parameters'] / 1e6:.1f} M parameters, "
                f"{2 * run['operations'] / 1e6:,.0f} MFLOP, trained in {_duration(run['seconds'])}"
            )
            self.ax_.text(0.008, place, cost, va="center", fontsize=8)
        self.ax_.set_yticks(places, [run["name"] for run in runs])
        self.ax_.set(xlabel="accuracy", xlim=(0, max(0.75, 1.03 * max(*high, *training))))
        self.ax_.xaxis.set_major_formatter(PercentFormatter(1))
        self.ax_.spines[["top", "right"]].set_visible(False)
        self.figure_.legend(loc="outside upper center", ncols=2, frameon=False)
        return self


def _duration(seconds):
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


class BackboneDisplay:
    """A network from left to right: as high as its feature maps, as wide as its channels, as dark as its work.

    Parameters
    ----------
    summary : ferkit.backbones.Summary
        Of the network.
    title : str
        What to call it.

    Attributes
    ----------
    figure_ : matplotlib Figure
    ax_ : matplotlib Axes

    Examples
    --------
    >>> from ferkit.backbones import CNN, summarize
    >>> from ferkit.display import BackboneDisplay
    >>> display = BackboneDisplay(summarize(CNN(num_classes=7), (1, 48, 48)), title="cnn").plot()
    >>> len(display.ax_.patches)
    9
    """

    def __init__(self, summary, *, title):
        self.summary = summary
        self.title = title

    def plot(self):
        """Draw the layers that compute: convolutions, linear and attention layers.

        Returns
        -------
        BackboneDisplay
        """
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize
        from matplotlib.patches import Rectangle
        from matplotlib.ticker import PercentFormatter

        layers = [layer for layer in self.summary.layers if layer.operations and layer.shape]
        extents = [_extent(layer.shape) for layer in layers]
        shares = np.array([layer.operations for layer in layers]) / max(self.summary.operations, 1)
        widths = np.array([0.2 + np.log2(channels) / 8 for _, channels in extents])
        norm, gap = Normalize(0, shares.max()), 0.12
        starts = np.concatenate([[0], np.cumsum(widths + gap)[:-1]])
        self.figure_, ((self.ax_,),) = _subplots(1, 1, 10, 3.4)
        tallest = max(height for height, _ in extents)
        stage = None
        for (height, channels), share, start, width in zip(extents, shares, starts, widths, strict=True):
            tall = max(height / tallest, 0.03)
            face = colormaps["Blues"](0.15 + 0.8 * norm(share))
            self.ax_.add_patch(
                Rectangle((start, -tall / 2), width, tall, facecolor=face, edgecolor="0.3", linewidth=0.5)
            )
            if height != stage:
                self.ax_.text(start, tall / 2 + 0.03, f"{height}", fontsize=7, va="bottom")
                self.ax_.text(start, -tall / 2 - 0.03, f"{channels:,}", fontsize=7, va="top")
            stage = height
        self.ax_.set(xlim=(-0.1, starts[-1] + widths[-1] + 0.1), ylim=(-0.65, 0.65))
        self.ax_.axis("off")
        self.ax_.set_title(
            f"{self.title}: {len(layers)} layers, {self.summary.parameters / 1e6:.2f} M parameters, "
            f"{2 * self.summary.operations / 1e6:,.0f} MFLOP an image\n"
            "above a block the height of its feature maps, below it their number",
            fontsize=9,
        )
        bar = self.figure_.colorbar(
            ScalarMappable(Normalize(0, shares.max()), _shades(colormaps["Blues"])), ax=self.ax_, shrink=0.8
        )
        bar.set_label("share of the work")
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
        return self


def _extent(shape):
    """(height, channels) of what a layer returns; tokens of a transformer count as a square of them."""
    if len(shape) == 3:
        channels_last = shape[0] == shape[1]  # as in Swin transformers
        return shape[1], shape[2] if channels_last else shape[0]
    if len(shape) == 2:
        return round(shape[0] ** 0.5), shape[1]
    return 1, shape[-1]


def _shades(colormap):
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormap(np.linspace(0.15, 0.95, 256)))


def _show(ax, image):
    image = np.squeeze(image)
    top = 255 if image.dtype == np.uint8 else None
    ax.imshow(image, cmap="gray", vmin=0 if top else None, vmax=top)


def _subplots(rows, columns, width, height):
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False)
