"""Displays of networks: layers, filters, Grad-CAM."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import gen_batches

from .._images import Images, check_images, to_stack, to_tensor
from .._validation import check_labels
from ..backbones import Summary
from ..backbones._inspect import find_last_maps
from ._base import TEXT, last_step, new_axes, new_grid, show_prediction

__all__ = ["BackboneDisplay", "ExplanationDisplay", "FilterDisplay"]

METHODS = {"grad_cam": "Grad-CAM", "occlusion": "Occlusion", "integrated_gradients": "Integrated gradients"}
BATCH = 64  # images explained at a time
WINDOWS = 6  # covered regions side by side, without those that overlap them
STEPS = 32  # of integrated gradients


class BackboneDisplay:
    """Diagram of a network: block height is feature map size, width the number of channels, darkness the cost.

    Parameters
    ----------
    summary : ferkit.backbones.Summary
        Summary of the network.
    title : str
        Name of the network.

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

    def __init__(self, summary: Summary, *, title: str):
        self.summary = summary
        self.title = title

    def plot(self) -> Self:
        """Draw the convolutions, linear layers and attention layers, and return the display."""
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize
        from matplotlib.patches import Rectangle
        from matplotlib.ticker import PercentFormatter

        layers = [layer for layer in self.summary.layers if layer.flops and layer.shape]
        extents = [_extent(layer.shape) for layer in layers]
        shares = np.array([layer.flops for layer in layers]) / max(self.summary.flops, 1)
        widths = np.array([0.2 + np.log2(channels) / 8 for _, channels in extents])
        norm, gap = Normalize(0, shares.max()), 0.12
        shades = ListedColormap(colormaps["Blues"](np.linspace(0.15, 0.95, 256)))
        starts = np.concatenate([[0], np.cumsum(widths + gap)[:-1]])
        self.figure_, ((self.ax_,),) = new_axes(1, 1, 10, 3.4)
        tallest = max(height for height, _ in extents)
        stage = None
        for (height, channels), share, start, width in zip(extents, shares, starts, widths, strict=True):
            tall = max(height / tallest, 0.03)
            block = Rectangle(
                (start, -tall / 2), width, tall, facecolor=shades(norm(share)), edgecolor="0.3", linewidth=0.5
            )
            self.ax_.add_patch(block)
            if height != stage:
                self.ax_.text(start, tall / 2 + 0.03, f"{height}", fontsize=7, va="bottom")
                self.ax_.text(start, -tall / 2 - 0.03, f"{channels:,}", fontsize=7, va="top")
            stage = height
        self.ax_.set(xlim=(-0.1, starts[-1] + widths[-1] + 0.1), ylim=(-0.65, 0.65))
        self.ax_.axis("off")
        self.ax_.set_title(
            f"{self.title}: {len(layers)} layers, {self.summary.parameters / 1e6:.2f} M parameters, "
            f"{self.summary.flops / 1e6:,.0f} MFLOP per image\n"
            "above a block: the size of its feature maps; below: their number",
            fontsize=9,
        )
        bar = self.figure_.colorbar(ScalarMappable(norm, shades), ax=self.ax_, shrink=0.8)
        bar.set_label("share of FLOPs")
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
        return self


def _extent(shape):
    """Return (height, channels) of a layer's output; the tokens of a transformer count as a square."""
    if len(shape) == 3:
        channels_last = shape[0] == shape[1]  # as in Swin transformers
        return shape[1], shape[2] if channels_last else shape[0]
    if len(shape) == 2:
        return round(shape[0] ** 0.5), shape[1]
    return 1, shape[-1]


class FilterDisplay:
    """Filters of a network's first convolution on a common scale. In RGB filters, gray means 0.

    Parameters
    ----------
    filters : array of shape (n_filters, channels, height, width)
        Weights, with 1 or 3 channels.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes

    Examples
    --------
    >>> from ferkit import FERClassifier
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.display import FilterDisplay
    >>> faces = make_faces(70, random_state=0)
    >>> y = faces.target_names[faces.target]
    >>> model = FERClassifier(backbone_params={"widths": (8, 16)}, max_epochs=1).fit(faces.data, y)
    >>> FilterDisplay.from_estimator(model).filters.shape
    (8, 1, 5, 5)
    """

    def __init__(self, filters: np.ndarray):
        self.filters = filters

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator) -> Self:
        """Draw the filters of a :class:`ferkit.FERClassifier` or of a pipeline that ends in one.

        Parameters
        ----------
        estimator : FERClassifier or Pipeline
            Fitted estimator whose backbone has a convolution.

        Returns
        -------
        FilterDisplay
        """
        last = last_step(estimator)
        for module in last.network_.modules():
            if isinstance(module, torch.nn.Conv2d):
                return cls(module.weight.detach().float().cpu().numpy()).plot()
        raise ValueError(f"Expected a backbone with a convolution, got {last.backbone!r}, which has no convolution.")

    def plot(self) -> Self:
        """Draw and return the display."""
        columns = min(8, len(self.filters))
        rows = -(-len(self.filters) // columns)
        self.figure_, self.axes_ = new_axes(rows, columns, 0.75 * columns + 1, max(0.75 * rows, 1.2))
        for ax in self.axes_.flat:
            ax.axis("off")
        top = np.abs(self.filters).max()
        for ax, weights in zip(self.axes_.flat, self.filters, strict=False):
            if len(weights) == 1:
                shown = ax.imshow(weights[0], cmap="PuOr_r", vmin=-top, vmax=top)
            else:
                ax.imshow(0.5 + weights.transpose(1, 2, 0) / (2 * top))
        if self.filters.shape[1] == 1:
            self.figure_.colorbar(shown, ax=self.axes_, label="weight")
        return self


class ExplanationDisplay:
    """Heat maps of the regions that a network looks at: bright regions support the predicted label.

    Parameters
    ----------
    images : array of shape (n, height, width, channels)
        Images.
    heat : array of shape (n, height, width)
        Evidence for the predicted label at each pixel, 0 or more.
    y_pred : array-like of shape (n,)
        Predicted labels.
    probability : array-like of shape (n,)
        Probability of the predicted label.
    y_true : array-like of shape (n,), default=None
        True labels.
    counts : sequence of int, default=None
        Number of images that each image is the mean of.
    title : str, default=None
        Title of the figure.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : ndarray of matplotlib Axes

    Notes
    -----
    captum computes the heat maps: ``pip install "ferkit[explain]"``. Compare several methods. They answer different
    questions, and a plausible map does not always show what the network uses [4]_.

    References
    ----------
    .. [1] R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
       ICCV 2017.

    .. [2] M. D. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.

    .. [3] M. Sundararajan, A. Taly and Q. Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.

    .. [4] J. Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.

    Examples
    --------
    >>> from ferkit import FERClassifier
    >>> from ferkit.datasets import make_faces
    >>> from ferkit.display import ExplanationDisplay
    >>> faces = make_faces(70, random_state=0)
    >>> y = faces.target_names[faces.target]
    >>> model = FERClassifier(backbone_params={"widths": (8, 16)}, max_epochs=1).fit(faces.data, y)
    >>> ExplanationDisplay.from_estimator(model, faces.data[:4], y[:4], method="occlusion").heat.shape
    (4, 48, 48)
    """

    def __init__(
        self,
        images: np.ndarray,
        heat: np.ndarray,
        y_pred: Sequence | np.ndarray,
        probability: Sequence | np.ndarray,
        y_true: Sequence | np.ndarray | None = None,
        *,
        counts: Sequence[int] | None = None,
        title: str | None = None,
    ):
        self.images = images
        self.heat = heat
        self.y_pred = y_pred
        self.probability = probability
        self.y_true = y_true
        self.counts = counts
        self.title = title

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Images,
        y: ArrayLike | None = None,
        *,
        method: Literal["grad_cam", "occlusion", "integrated_gradients"] = "grad_cam",
        layer: str | None = None,
        average: bool = False,
    ) -> Self:
        """Predict images, compute their heat maps and draw.

        Parameters
        ----------
        estimator : FERClassifier or Pipeline
            Fitted estimator. It is not changed.
        X : array-like
            Images to show.
        y : array-like of shape (n,), default=None
            True labels, to mark mistakes. With ``average=True``, mistakes are left out.
        method : {"grad_cam", "occlusion", "integrated_gradients"}, default="grad_cam"
            - "grad_cam" weights the feature maps of a layer by their gradients. It needs a backbone with a
              convolution, and is as coarse as these maps. The last layers of a deep network return small maps, for
              example 2×2 for a ``resnet18`` on 48×48 images: choose an earlier `layer`, or train with a larger
              ``input_size``, to see more detail.
            - "occlusion" covers one region after the other with the mean gray of the training images, and shows how
              much the network's output for the label falls. Regions have a sixth of the height and the width of
              the image. It takes about 120 predictions per image.
            - "integrated_gradients" sums the gradients of the pixels on the way from an image of this mean gray to the
              image. It is the finest and the noisiest, and takes 32 gradients per image.
        layer : str, default=None
            Only for "grad_cam": layer of the backbone, as listed by ``ferkit backbones NAME``. By default, the
            outermost block around the last convolution that has maps of the same size.
        average : bool, default=False
            Show one mean image and one mean heat map per predicted label. This needs images in which faces are aligned,
            as in FER2013. Each image counts equally.

        Returns
        -------
        ExplanationDisplay
        """
        if method not in METHODS:
            raise ValueError(f"Expected a method among {', '.join(METHODS)}, got {method!r}: choose one of them.")
        if layer is not None and method != "grad_cam":
            raise ValueError(f'Expected layer=None with method="{method}", got {layer!r}: only "grad_cam" has a layer.')
        for _, step in getattr(estimator, "steps", [])[:-1]:
            X = step.transform(X) if hasattr(step, "transform") else X  # samplers only act in fit
        model = last_step(estimator)
        rows, shape = check_images(model, X, reset=False)
        images = to_stack(rows, shape)
        y = None if y is None else check_labels(y, model.classes_, images)
        probabilities = model.predict_proba(rows)
        best = probabilities.argmax(axis=1)
        heat, title = _explain(model, rows, shape, best, method, layer)
        y_pred, probability = model.classes_[best], probabilities.max(axis=1)
        if not average:
            return cls(images, heat, y_pred, probability, y, title=title).plot()
        heat = heat / np.maximum(heat.sum(axis=(1, 2), keepdims=True), 1e-9)
        kept = np.ones(len(y_pred), bool) if y is None else y_pred == y
        labels = np.unique(y_pred[kept])
        groups = [np.flatnonzero(kept & (y_pred == label)) for label in labels]
        images, heat, probability = (
            np.array([values[group].mean(axis=0) for group in groups]) for values in (images, heat, probability)
        )
        return cls(images, heat, labels, probability, counts=[*map(len, groups)], title=f"Mean of {title}").plot()

    def plot(self) -> Self:
        """Draw and return the display."""
        y_true = [None] * len(self.images) if self.y_true is None else self.y_true
        self.figure_, self.axes_ = new_grid(len(self.images), 1.9, [*y_true, *self.y_pred])
        faces = zip(self.images, self.y_pred, self.probability, y_true, strict=True)
        for ax, face, heat in zip(self.axes_.flat, faces, self.heat, strict=False):
            show_prediction(ax, *face)
            ax.imshow(heat, cmap="inferno", vmin=0, vmax=max(heat.max(), 1e-9), alpha=0.5)
        for ax, label, count in zip(self.axes_.flat, self.y_pred, self.counts or [], strict=False):
            ax.set_title(f"{label}\n{count:,} images", fontsize=TEXT)
        if self.title:
            self.figure_.suptitle(self.title, fontsize=TEXT + 1)
        return self


def _explain(model, rows, shape, targets, method, layer):
    """Return the evidence for a class of each image, (n, height, width), and the name of the method."""
    try:
        from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion
    except ImportError:
        raise ImportError('Expected captum for ExplanationDisplay: pip install "ferkit[explain]"') from None

    network = deepcopy(model.network_).eval()
    title = METHODS[method]
    if method == "grad_cam":
        layer = layer or find_last_maps(network.backbone, (len(network.mean), *(network.input_size or shape[:2])))
        grad_cam = LayerGradCam(network, network.backbone.get_submodule(layer))
    gray = network.mean if len(network.mean) == shape[2] else network.mean.mean()
    heat = []
    for batch in gen_batches(len(rows), BATCH):
        images = to_tensor(rows[batch], shape).to(model.device_).float()
        target = torch.as_tensor(targets[batch], device=model.device_)
        baseline = torch.zeros_like(images[:1]) + gray
        if method == "grad_cam":
            maps = grad_cam.attribute(images, target=target, relu_attributions=True)
            title = f"{METHODS[method]} at {layer}, {maps.shape[2]}×{maps.shape[3]}"
            maps = LayerAttribution.interpolate(maps, shape[:2], "bilinear")
        elif method == "occlusion":
            window = [max(1, side // WINDOWS) for side in shape[:2]]
            maps = Occlusion(network).attribute(
                images,
                (shape[2], *window),
                strides=(shape[2], *(max(1, side // 2) for side in window)),
                baselines=baseline,
                target=target,
                perturbations_per_eval=4,
            )
        else:
            maps = IntegratedGradients(network).attribute(
                images, baseline, target=target, n_steps=STEPS, internal_batch_size=4 * BATCH
            )
        heat.append(maps.detach().sum(dim=1).clamp(min=0).cpu().numpy())
    return np.concatenate(heat), title
