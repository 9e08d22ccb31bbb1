"""FERClassifier: a network, its training and its predictions as one scikit-learn estimator."""

import warnings
from contextlib import contextmanager
from functools import partial
from math import inf
from numbers import Integral, Real
from os import PathLike
from threading import RLock

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context, clone
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state, column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.helper import predefined_split
from skorch.utils import noop
from torch.optim import lr_scheduler

from ._files import ImageFiles
from ._images import check_images, check_size, pixel_statistics
from ._processes import Processes
from ._progress import ProgressBar
from ._training import (
    FERNet,
    FileTensor,
    Images,
    Standardized,
    resident_bytes,
    resolve_device,
    resolve_precision,
    scale_rates,
)
from .augmentation import ImageAugmenter
from .backbones import find_sizes, resolve_backbone
from .backbones._inspect import find_head
from .backbones._weights import load_weights, read_weights

__all__ = ["FERClassifier"]

MIXUP_EPOCHS = 40  # from here on mixup="auto" mixes

_RANDOM_STREAM = RLock()  # PyTorch has one for the whole process

_FERKITS_OWN = ("dataset", "iterator_train", "iterator_valid", "predict_nonlinearity")

# name: class, its arguments, weight_decay="auto", and its rate in units of an Adam's
_OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "fused": True}, 5e-4, 25),
    "adam": (torch.optim.Adam, {"fused": True}, 0, 1),
    "adamw": (torch.optim.AdamW, {"fused": True}, 0.05, 1),
}


class FERClassifier(ClassifierMixin, BaseEstimator):
    """Classify facial expressions with a neural network.

    Any ``backbone`` is trained on the images as they come: the network standardises them by the training pixels' own
    mean and deviation, enlarges them to ``input_size``, and sees them changed by ``augment``, all on the device and a
    batch at a time. The defaults train well on FER2013 from scratch.

    Parameters
    ----------
    backbone : str, nn.Module class or callable, default="cnn"
        A name from :func:`ferkit.backbones.list_backbones`, or what builds a network when called as
        ``backbone(num_classes=…, in_channels=…, **backbone_params)``.
    backbone_params : dict, default=None
        More arguments for the backbone. ``in_channels`` is the images' own number by default, and 3 with published
        weights: gray images are then repeated to RGB. With 1 the first layer's filters are summed instead.
    weights : str, path or None, default=None
        Weights to start from: "imagenet" for the best that torchvision or timm publish for the backbone, the name of
        others such as "IMAGENET1K_V1", or the path of a state dict, .pth or .safetensors. A head for other classes
        starts anew. Published ones are taken from torchvision's cache, or fetched, and images are standardised as they
        expect. None trains from scratch.
    frozen_epochs : int or "all", default=0
        Number of epochs that train only the head; after them all layers train. "all" never trains the backbone. Frozen
        epochs use features that are computed once from the images without augmentation, so they cost almost nothing.
        Batch norm does not change in them.
    backbone_lr_scale : float, default=1.0
        Factor on the learning rate below the head.
    layer_decay : float, default=1.0
        Factor on the learning rate from each layer (convolution or linear) to the one below it.
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of a row of ``X``, of which one may be −1. By default rows are
        square, gray for k² values and RGB for 3k².
    input_size : int or tuple of (height, width), default=None
        Size at which the network sees the images. By default their own.
    augment : "auto", ImageAugmenter or None, default="auto"
        Changes drawn afresh for every training batch; "auto" is ``ImageAugmenter()``. A search over
        ``augment__rotation`` and the like needs one passed here.
    max_epochs : int, default=24
        Passes over the training images.
    batch_size : int, default=256
        Images in a batch, at most; batches of an epoch are of equal size.
    optimizer : {"auto", "sgd", "adam", "adamw"}, default="auto"
        "auto" is the one recommended for the backbone. "sgd" has Nesterov momentum 0.9.
    lr : float or "auto", default="auto"
        Learning rate, the highest where a schedule changes it. "auto" is the one recommended for the backbone, and a
        tenth of that where layers are trained that have ``weights``.
    weight_decay : float or "auto", default="auto"
        Of weights, not of biases and batch norm. "auto" is 0.05 for AdamW, 5e-4 for SGD and 0 for Adam.
    lr_schedule : {"onecycle", "cosine", "plateau"} or None, default="onecycle"
        "onecycle" [1]_ and "cosine" change the rate after every batch; "plateau" divides it by 10 when the validation
        loss (the training loss where nothing is held back) has not fallen for 5 epochs.
    label_smoothing : float, default=0.1
        Share of the target spread over all classes.
    dropout : float, default=None
        Probability in every dropout layer of the backbone, or before its last linear layer where it has none. By
        default the backbone's own.
    mixup : float or "auto", default="auto"
        Parameter of the beta distribution that pairs of images are mixed by [2]_; 0 mixes none. "auto" is 0.2 from
        40 epochs on, against overfitting, else 0.
    ema_decay : float or None, default=0.995
        Decay for each batch of the moving average of the weights, which is what predicts. None predicts with the last
        weights.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, as in scikit-learn. A soft target weighs what its classes do on average.
    validation_fraction : float, default=0
        Share of the training images that is held back, stratified, to be scored after every epoch.
    early_stopping : bool or int, default=False
        Stop when the validation accuracy has not risen for so many epochs (True: 10), and keep the best weights; also
        where the backbone is frozen still. Needs ``validation_fraction``.
    tta : "flip" or None, default="flip"
        Views of an image over which probabilities are averaged: "flip" adds its mirror image.
    device : str, default="auto"
        As for PyTorch; "auto" takes CUDA, then Apple's MPS, then the CPU. "accelerate" trains on all GPUs at once: the
        same script runs on each, started by ``accelerate launch``, and ends with the same model.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of convolutions and matrix products. "auto" is bfloat16 where the hardware multiplies in it, else float32.
    random_state : int, RandomState instance or None, default=None
        Determines weights, batches, augmentation and the validation split. Repeatable on the same machine with as many
        threads, in workers too; fits in threads of one process wait for each other, as they share PyTorch's random
        stream.
    verbose : int, default=0
        1 shows a progress bar over epochs and batches.
    callbacks : list of skorch callbacks, default=None
        Called during training.
    net_params : dict, default=None
        More arguments for the skorch net, such as ``optimizer__betas``. They win over ferkit's. A ``criterion`` returns
        the loss of each row; where there are no weights, the mean will do.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; of soft targets in a frame, its columns in their order.
    history_ : list of dict
        For each epoch: ``epoch`` (from 1), ``train_loss`` and ``train_accuracy`` (on augmented batches, while the
        weights change), ``valid_loss`` and ``valid_accuracy`` (of what predicts; nan where nothing is held back),
        ``lr`` (at its start) and ``seconds``.
    net_ : skorch.NeuralNetClassifier
        The trained skorch net.
    network_ : torch.nn.Module
        The trained PyTorch module. It takes pixels as `fit` did, (n, channels, height, width), and returns logits;
        ``network_.backbone`` is the network without the input preparation.
    image_shape_ : tuple of int
        (height, width, channels).
    augment_ : ImageAugmenter or None
        What changed the batches.
    optimizer_, lr_, mixup_ : str, float, float
        What "auto" became.
    device_, precision_ : str
        Where and how the network computes now.
    n_features_in_ : int
        Values in a row.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Column names, where `X` was a frame that has them.

    See Also
    --------
    ImageAugmenter : The changes that ``augment`` takes.

    References
    ----------
    .. [1] L. N. Smith, N. Topin, "Super-Convergence", 2018, arXiv:1708.07120.
    .. [2] H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz, "mixup", ICLR 2018.

    Examples
    --------
    >>> from ferkit import FERClassifier
    >>> from ferkit.datasets import make_faces
    >>> faces = make_faces(900, random_state=0)
    >>> model = FERClassifier("cnn_small", augment=None, max_epochs=8, batch_size=32, random_state=0)
    >>> model.fit(faces.data[:700], faces.target_names[faces.target[:700]])
    FERClassifier(...)
    >>> model.score(faces.data[700:], faces.target_names[faces.target[700:]]) > 0.5  # seven emotions
    True
    >>> model.predict_proba(faces.data[:3]).shape
    (3, 7)
    """

    _parameter_constraints = {  # noqa: RUF012
        "backbone": [str, callable],
        "backbone_params": [dict, None],
        "weights": [str, PathLike, None],
        "frozen_epochs": [StrOptions({"all"}), Interval(Integral, 0, None, closed="left")],
        "backbone_lr_scale": [Interval(Real, 0, None, closed="left")],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "image_shape": [tuple, list, None],
        "input_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "augment": [StrOptions({"auto"}), ImageAugmenter, None],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions({"auto", *_OPTIMIZERS})],
        "lr": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "weight_decay": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "lr_schedule": [StrOptions({"onecycle", "cosine", "plateau"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "mixup": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="left"), None],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean", Interval(Integral, 1, None, closed="left")],
        "tta": [StrOptions({"flip"}), None],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "callbacks": [list, None],
        "net_params": [dict, None],
    }

    def __init__(
        self,
        backbone="cnn",
        *,
        backbone_params=None,
        weights=None,
        frozen_epochs=0,
        backbone_lr_scale=1.0,
        layer_decay=1.0,
        image_shape=None,
        input_size=None,
        augment="auto",
        max_epochs=24,
        batch_size=256,
        optimizer="auto",
        lr="auto",
        weight_decay="auto",
        lr_schedule="onecycle",
        label_smoothing=0.1,
        dropout=None,
        mixup="auto",
        ema_decay=0.995,
        class_weight=None,
        validation_fraction=0,
        early_stopping=False,
        tta="flip",
        device="auto",
        precision="auto",
        random_state=None,
        verbose=0,
        callbacks=None,
        net_params=None,
    ):
        self.backbone = backbone
        self.backbone_params = backbone_params
        self.weights = weights
        self.frozen_epochs = frozen_epochs
        self.backbone_lr_scale = backbone_lr_scale
        self.layer_decay = layer_decay
        self.image_shape = image_shape
        self.input_size = input_size
        self.augment = augment
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.label_smoothing = label_smoothing
        self.dropout = dropout
        self.mixup = mixup
        self.ema_decay = ema_decay
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.tta = tta
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks
        self.net_params = net_params

    def set_params(self, **params):
        augment = params.get("augment", self.augment)
        nested = next((name for name in params if name.startswith("augment__")), None)
        if nested and not isinstance(augment, ImageAugmenter):
            raise ValueError(
                f"{nested} needs an ImageAugmenter to set it on, and augment is {augment!r}: "
                "pass FERClassifier(augment=ImageAugmenter())."
            )
        return super().set_params(**params)

    # fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train a new network.

        Parameters
        ----------
        X : array-like of shape (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width)
            Images, uint8 or of another numeric dtype (which becomes float32), on any scale; or a list or column of the
            paths of n image files, which are decoded a batch at a time and brought to ``image_shape``, by default the
            first one's. They may be more than memory holds.
        y : array-like of shape (n,) or (n, n_classes)
            Labels, of any type; or soft targets, the share of each class in an image. Classes are then called by the
            columns of a frame, else 0, 1, ….
        sample_weight : array-like of shape (n,), default=None
            Weight of each image in the loss; an image of weight 0 is left out.

        Returns
        -------
        self : FERClassifier

        Raises
        ------
        ValueError
            If the images, labels or parameters are not usable, or if training diverges.
        KeyboardInterrupt
            After Ctrl-C, which leaves the estimator fitted as far as it got.
        """
        for fitted in ("net_", "history_"):
            vars(self).pop(fitted, None)  # a fit that fails must not leave half of an earlier one behind
        if self.early_stopping and not self.validation_fraction:
            raise ValueError("early_stopping needs images to watch: pass validation_fraction, such as 0.1.")
        soft = _is_soft(y)
        if soft:
            self.classes_, y = _check_soft_targets(y)
        X, y, sample_weight = self._check_training_data(X, y, sample_weight, reset=True, soft=soft)
        if not soft:
            try:
                self.classes_, y = np.unique(y, return_inverse=True)
            except TypeError as error:
                raise ValueError(f"y mixes labels of types that have no common order: {error}.") from error
        if len(self.classes_) < 2:
            raise ValueError(f"Expected at least two classes, y holds one class: {self.classes_[0]}.")
        seed = self._draw_seed()
        valid = None
        weight = self._row_weights(y, sample_weight)
        if weight is not None:
            weight /= weight.mean()
        if self.validation_fraction:
            train, held_back = self._split(y, seed)
            valid = self._images(X.take(held_back, axis=0), y[held_back])
            X, y, weight = X.take(train, axis=0), y[train], None if weight is None else weight[train]
        with self._seeded(seed):
            self._build_net(X, y, weight, valid)
            self._train(X, y, weight, seed)
        _end_schedule(self.net_)
        self.net_.initialize_optimizer()  # momenta of a complete fit would only double the size of a saved model
        return self._finish()

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch at the constant rate ``lr_``, from the present weights if there are any.

        There is no schedule, weight averaging or validation here: after each call, the last weights predict.

        Parameters
        ----------
        X : array-like
            Images, as in `fit`. The first call settles their shape and scale.
        y : array-like of shape (n,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that any call will bring; needed on the first call.
        sample_weight : array-like of shape (n,), default=None
            Weight of each image in the loss.

        Returns
        -------
        self : FERClassifier

        Raises
        ------
        ValueError
            If the images or labels are not usable or differ from what earlier calls brought.
        """
        first = not hasattr(self, "net_")
        if self.class_weight == "balanced":
            raise ValueError(
                'class_weight="balanced" needs all labels at once: pass partial_fit the weights themselves, as a dict.'
            )
        if first and classes is None:
            raise ValueError("The first call to partial_fit needs classes, all the labels that may come.")
        X, y, sample_weight = self._check_training_data(X, y, sample_weight, reset=first)
        if classes is not None:
            classes = np.unique(classes)
            if not first and not np.array_equal(classes, self.classes_):
                raise ValueError(f"classes={classes} is not what the first call brought: {self.classes_}.")
            self.classes_ = classes
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y holds labels that are not among the classes {self.classes_}: {unknown}.")
        y = np.searchsorted(self.classes_, y)
        weight = self._row_weights(y, sample_weight)
        seed = self._draw_seed() + (0 if first else len(self.history_))  # a fresh order and augmentation each call
        with self._seeded(seed):
            if first:
                self._build_net(X, y, weight, None)
            _end_schedule(self.net_)
            self.net_.set_params(max_epochs=1, ema_decay=None)
            self._train(X, y, weight, seed)
        return self._finish()

    def _check_training_data(self, X, y, sample_weight, *, reset, soft=False):
        X, _ = check_images(self, X, reset=reset, lazy=True)
        if not soft:
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
        check_consistent_length(X, y)
        if sample_weight is None:
            return X, y, None
        sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        used = sample_weight > 0
        if used.all():
            return X, y, sample_weight
        return X.take(np.flatnonzero(used), axis=0), y[used], sample_weight[used]

    def _row_weights(self, y, sample_weight):
        """Sample and class weights as one weight for each row, or None."""
        if self.class_weight is None:
            return None if sample_weight is None else sample_weight.astype(np.float32)
        if y.ndim == 1:
            weight = compute_sample_weight(self.class_weight, self.classes_[y])
        elif self.class_weight == "balanced":
            counts = y.sum(axis=0, dtype=np.float64)
            there = counts > 0
            weight = y[:, there] @ (len(y) / (there.sum() * counts[there]))
        else:
            classes = self.classes_.tolist()
            if unknown := [label for label in self.class_weight if label not in classes]:
                raise ValueError(f"class_weight has labels that are not among the classes {classes}: {unknown}.")
            weight = y @ np.array([self.class_weight.get(label, 1) for label in classes])
        weight = (weight if sample_weight is None else weight * sample_weight).astype(np.float32)
        if not weight.any():
            raise ValueError("class_weight leaves every row without weight: nothing to train on.")
        return weight

    def _draw_seed(self):
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        return Processes().agree(seed) if self.device == "accelerate" else seed

    def _split(self, y, seed):
        y = y if y.ndim == 1 else y.argmax(axis=1)
        try:
            return train_test_split(
                np.arange(len(y)), test_size=self.validation_fraction, stratify=y, random_state=seed
            )
        except ValueError as error:
            raise ValueError(f"validation_fraction={self.validation_fraction} can't be held back: {error}") from error

    @contextmanager
    def _seeded(self, seed):
        """PyTorch's own random stream, seeded for this fit and put back afterwards; other threads wait for it."""
        device = torch.device(resolve_device(self.device))
        with _RANDOM_STREAM, torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
            torch.manual_seed(seed)
            yield

    def _build_net(self, X, y, weight, valid):
        own = self.net_params or {}
        refused = [name for name in own if name.split("__")[0] in _FERKITS_OWN or name == "optimizer__param_groups"]
        if refused:
            raise ValueError(
                f"net_params can't set {', '.join(refused)}: ferkit's batches stay on the device, and its groups of "
                "parameters come from weight_decay, backbone_lr_scale and layer_decay."
            )
        backbone = resolve_backbone(self.backbone)
        self.augment_ = ImageAugmenter() if self.augment == "auto" else self.augment and clone(self.augment)
        if self.augment_ is not None:
            self.augment_._validate_params()
        self.mixup_ = (0.2 if self.max_epochs >= MIXUP_EPOCHS else 0.0) if self.mixup == "auto" else self.mixup
        state, mean, std = self._read_weights(backbone, X, weight)
        build_params = {"in_channels": len(mean), **(self.backbone_params or {})}
        if build_params["in_channels"] != len(mean):
            mean, std = _fit_channels(mean, std, build_params["in_channels"])
        build = partial(backbone.build, **build_params)
        fine_tuned = state is not None or self.frozen_epochs or self.backbone_lr_scale != 1
        head = find_head(build) if fine_tuned else ()
        params = {
            "module": Standardized,
            "module__build": build,
            "module__num_classes": len(self.classes_),
            "module__mean": mean,
            "module__std": std,
            "module__input_size": None if self.input_size is None else check_size(self.input_size, "input_size"),
            "module__dropout": self.dropout,
            "frozen_epochs": inf if self.frozen_epochs == "all" else self.frozen_epochs,
            "classes": np.arange(len(self.classes_)),
            "max_epochs": self.max_epochs,
            "batch_size": self.batch_size,
            "train_split": valid and predefined_split(valid),
            "device": resolve_device(self.device),
            "precision": self.precision,
            "augment": self.augment_,
            "mixup": self.mixup_,
            "ema_decay": self.ema_decay,
            "tta": self.tta,
        }
        optimizer = self._optimizer_params(backbone)
        if "optimizer" not in own:
            params |= optimizer
        if "criterion" not in own:
            params |= {
                "criterion": torch.nn.CrossEntropyLoss,
                "criterion__reduction": "none",
                "criterion__label_smoothing": self.label_smoothing,
            }
        params = {"lr": self.lr_, **params, **own}
        steps = params["max_epochs"] * -(-len(y) // params["batch_size"])
        net = FERNet(**{"callbacks": self._callbacks(steps, valid), **params}).initialize()
        network = net.module_.backbone
        if state is not None:
            load_weights(network, head, state)
        if self.backbone_lr_scale != 1 or self.layer_decay != 1:
            net.rate_scales = scale_rates(network, head, self.backbone_lr_scale, self.layer_decay)
            net.initialize_optimizer()
        self._check_network(net, build, head if self.frozen_epochs else ())
        self.net_ = net

    def _read_weights(self, backbone, X, weight):
        """State dict to start from, or None, and the mean and standard deviation of the pixels it expects."""
        if isinstance(X, ImageFiles):  # of which some thousands say enough
            some = slice(None, None, -(-len(X) // 4096))
            X, weight = X[some], None if weight is None else weight[some]
        own = pixel_statistics(X, self.image_shape_[2], weight)
        if self.weights is None:
            return None, *own
        if isinstance(self.weights, PathLike) or "." in self.weights:
            return read_weights(self.weights), *own
        if backbone.pretrained is None:
            raise ValueError(
                f"There are no published weights for the backbone {self.backbone!r}: pass the path of a .pth or "
                f".safetensors file, got weights={self.weights!r}."
            )
        state, mean, std = backbone.pretrained(self.weights)
        if X.min() < 0:  # standardised already
            return state, *(np.resize(part, 3) for part in own)
        scale = 255.0 if X.dtype == np.uint8 or X.max() > 2 else 1.0  # of pixels to 1, resizing may leave some above
        return state, np.multiply(mean, scale), np.multiply(std, scale)

    def _check_network(self, net, build, head):
        """Raise unless the network takes images of this size (many are too deep for small faces) and has one head."""
        module, (height, width, channels) = net.module_, self.image_shape_
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        try:
            with torch.random.fork_rng([]), torch.no_grad(), net.autocast():
                images = torch.rand(2, channels, height, width, device=net.device) * module.std.mean()
                logits = module.train()(images)
        except (RuntimeError, ValueError, AssertionError) as error:
            sizes = find_sizes(build, in_channels=len(module.mean))
            size = module.input_size or (height, width)
            if size[0] == size[1] and size[0] in sizes:
                raise
            needed = f"pass input_size={sizes[0]}{' or more' * (len(sizes) > 1)}." if sizes else "it takes no others."
            raise ValueError(
                f"The backbone {self.backbone!r} can't take images of {size[0]}×{size[1]} ({error}): {needed}"
            ) from error
        finally:
            for name, buffer in module.named_buffers():
                buffer.copy_(buffers[name])
        shape = tuple((logits[0] if isinstance(logits, tuple) else logits).shape)
        if shape != (2, len(self.classes_)):
            raise ValueError(
                f"The backbone {self.backbone!r} returned logits of shape {shape} for two images, expected "
                f"{(2, len(self.classes_))}: it must take num_classes."
            )
        if head:
            with torch.no_grad(), net.autocast():  # auxiliary heads come before the one that predicts
                module.eval().settle_head([name.rpartition(".")[0] for name in reversed(head)], images)

    def _optimizer_params(self, backbone):
        """Settle ``optimizer_`` and ``lr_``; return what skorch needs of them."""
        self.optimizer_ = backbone.optimizer if self.optimizer == "auto" else self.optimizer
        optimizer, arguments, weight_decay, lr_unit = _OPTIMIZERS[self.optimizer_]
        adam_lr = backbone.lr / _OPTIMIZERS[backbone.optimizer][3]
        keeps_layers = self.weights is not None and self.frozen_epochs != "all"
        auto_lr = adam_lr * lr_unit * (0.1 if keeps_layers else 1.0)
        self.lr_ = float(auto_lr if self.lr == "auto" else self.lr)
        return {
            "optimizer": optimizer,
            "optimizer__weight_decay": weight_decay if self.weight_decay == "auto" else self.weight_decay,
            **{f"optimizer__{name}": value for name, value in arguments.items()},
        }

    def _callbacks(self, steps, valid):
        monitor = "valid_loss" if valid else "train_loss"
        schedules = {
            "onecycle": {
                "policy": _one_cycle,
                "total_steps": steps,
                "step_every": "batch",
            },
            "cosine": {"policy": lr_scheduler.CosineAnnealingLR, "T_max": steps, "step_every": "batch"},
            "plateau": {"policy": lr_scheduler.ReduceLROnPlateau, "patience": 5, "monitor": monitor},
        }
        callbacks = []
        if self.lr_schedule:
            callbacks.append(("schedule", LRScheduler(**schedules[self.lr_schedule])))
        if self.early_stopping:
            patience = 10 if isinstance(self.early_stopping, (bool, np.bool_)) else self.early_stopping
            stopping = EarlyStopping("valid_accuracy", patience, lower_is_better=False, load_best=True, sink=noop)
            callbacks.append(("stopping", stopping))
        if self.verbose and (self.device != "accelerate" or Processes().is_main):
            callbacks.append(("progress", ProgressBar()))
        return callbacks + (self.callbacks or [])

    def _view(self, X):
        """Rows as a tensor (n, channels, height, width) of the same memory; of files, what makes one of a batch."""
        if isinstance(X, ImageFiles):
            return FileTensor(X, self._view)
        height, width, channels = self.image_shape_
        if X.flags.writeable:
            rows = torch.from_numpy(X)
        else:  # joblib's memory maps: nobody writes to them here
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                rows = torch.from_numpy(X)
        return rows.view(-1, height, width, channels).permute(0, 3, 1, 2)

    def _images(self, X, y, weight=None):
        """A data set on the device, if it fits there."""
        device, images = resolve_device(self.device), self._view(X)
        y, weight = (None if part is None else torch.tensor(part) for part in (y, weight))
        return Images(images, y, weight, device=device, resident=images.nbytes <= resident_bytes(device))

    def _train(self, X, y, weight, seed):
        net = self.net_
        net.generator = torch.Generator(net.device).manual_seed(seed)
        net.processes = Processes() if self.device == "accelerate" else None
        progress = dict(net.callbacks_).get("progress")
        try:
            net.partial_fit(self._images(X, y, weight))
            if net.processes:
                net.processes.send([*net.module_.parameters(), *net.module_.buffers()])
            net.check_weights()
        except BaseException:
            del self.net_
            raise
        finally:
            if progress:
                progress.stop()
            # neither a generator nor the images held back belong into a saved model
            for name in ("generator", "augmenting_", "averaging_", "trained_", "sharing_", "processes", "train_split"):
                setattr(net, name, None)
        if net.history and "train_loss" not in net.history[-1]:
            del net.history[-1]  # an epoch that was interrupted
        self.history_ = [_epoch(row) for row in net.history]

    def _finish(self):
        if self.net_.interrupted_:
            raise KeyboardInterrupt
        return self

    # predicting

    def predict_proba(self, X):
        """Probability of each class.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in `fit`, as rows or as a stack.

        Returns
        -------
        ndarray of shape (n, n_classes), float32
            In the order of ``classes_``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If these are no images, or not of the shape seen in `fit`.
        """
        check_is_fitted(self)
        X, _ = check_images(self, X, reset=False, lazy=True)
        return self.net_.predict_proba(Images(self._view(X), device=self.device_, resident=False))

    def predict_log_proba(self, X):
        """Logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in `fit`, as rows or as a stack.

        Returns
        -------
        ndarray of shape (n, n_classes), float32

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If these are no images, or not of the shape seen in `fit`.
        """
        return np.log(self.predict_proba(X))

    def predict(self, X):
        """The most probable class.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in `fit`, as rows or as a stack.

        Returns
        -------
        ndarray of shape (n,)
            Labels, of the type of ``y`` in `fit`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If these are no images, or not of the shape seen in `fit`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    @property
    def network_(self):
        return self.net_.module_

    @property
    def device_(self):
        return self.net_.device

    @property
    def precision_(self):
        return str(resolve_precision(self.precision, self.device_)).removeprefix("torch.")

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")


def _is_soft(y):
    shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
    return len(shape) == 2 and shape[1] > 1


def _check_soft_targets(y):
    """(classes, shares as float32) of soft targets."""
    classes = np.asarray(y.columns) if hasattr(y, "columns") else np.arange(np.shape(y)[1])
    y = check_array(y, dtype=np.float32, input_name="y")
    if y.min() < 0 or np.abs(y.sum(axis=1) - 1).max() > 1e-3:
        row = int(np.argmax((y.min(axis=1) < 0) | (np.abs(y.sum(axis=1) - 1) > 1e-3)))
        raise ValueError(
            f"Soft targets are shares of the classes, from 0 to 1 with a sum of 1; row {row} is {y[row]}: divide each "
            "row by its sum."
        )
    return classes, y


def _fit_channels(mean, std, channels):
    """Statistics for a network of another number of channels than they are of: gray to RGB or the other way round."""
    if (len(mean), channels) == (1, 3):
        return np.repeat(mean, 3), np.repeat(std, 3)
    if (len(mean), channels) == (3, 1):
        return np.mean(mean, keepdims=True), np.mean(std, keepdims=True)
    raise ValueError(f"in_channels must be 1 or 3, got {channels}.")


def _one_cycle(optimizer, **params):
    """OneCycleLR with each group's own rate for a peak."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    return lr_scheduler.OneCycleLR(optimizer, peaks, cycle_momentum=False, **params)


def _end_schedule(net):
    """Take off the callbacks that belong to one complete fit."""
    ended = ("schedule", "stopping", "progress")
    net.callbacks = [entry for entry in net.callbacks if not (isinstance(entry, tuple) and entry[0] in ended)]
    net.callbacks_ = [entry for entry in net.callbacks_ if entry[0] not in ended]


def _epoch(row):
    keys = ("epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "lr", "dur")
    return {"seconds" if key == "dur" else key: float(row.get(key, np.nan)) for key in keys} | {"epoch": row["epoch"]}
