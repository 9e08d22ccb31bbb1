"""FERClassifier: parameters, validation, fit, partial_fit and predict."""

from numbers import Integral, Real
from os import PathLike
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context, clone
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state, column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted

from ._images import Images, check_images, match_range, number_rows, pixel_range
from .augmentation import ImageAugmenter
from .backbones._registry import OPTIMIZERS
from .training import (
    ImageSet,
    Processes,
    build_net,
    resolve_device,
    resolve_precision,
    resolve_settings,
    seeded,
)

__all__ = ["FERClassifier"]


class FERClassifier(ClassifierMixin, BaseEstimator):
    """Classify facial expressions with a neural network.

    The network standardizes images by the mean and standard deviation of the training pixels, resizes them to
    ``input_size`` and, in training, changes them with ``augment``. All of this happens on the device, one batch at a
    time. The defaults train well on FER2013 from scratch.

    The parameters come in groups: network (``backbone`` to ``layer_decay``), data (``image_shape`` to
    ``validation_fraction``), training (``max_epochs`` to ``net_params``), regularization (``weight_decay`` to
    ``ema_decay``), prediction (``tta``), and hardware and output (``device`` to ``verbose``). On a fitted classifier,
    ``tta``, ``batch_size``, ``device`` and ``precision`` take effect at the next prediction. All others take effect at
    the next `fit`.

    Parameters
    ----------
    backbone : str, nn.Module class or callable, default="cnn"
        A name from :func:`ferkit.backbones.list_backbones`, or a class or function that builds a network when it is
        called as ``backbone(num_classes=…, in_channels=…, **backbone_params)``.
    backbone_params : dict, default=None
        More arguments for the backbone. By default ``in_channels`` is the number of channels of the images, or 3 with
        published weights; gray images are then repeated to RGB. With ``in_channels=1`` the first layer's filters are
        summed instead.
    input_size : int or tuple of (height, width), default=None
        Size at which the network sees the images. None keeps their own size.
    dropout : float, default=None
        Probability in every dropout layer of the backbone, or before its last linear layer if it has none. None keeps
        the backbone's own.
    weights : str, path or None, default=None
        Weights to start from: "imagenet" for the best that torchvision or timm publish for the backbone, the name of
        others such as "IMAGENET1K_V1", or the path of a state dict, .pth or .safetensors. A head for other classes
        starts anew. Published weights are taken from torchvision's cache or downloaded, and images are standardized as
        they expect. None trains from scratch.
    frozen_epochs : int or "all", default=0
        Number of epochs that train only the head; after them all layers train. "all" never trains the backbone. The
        head is the last layer and, without ``weights``, the hidden linear layers in the same module. Frozen epochs use
        features that are computed once, without augmentation, so they cost almost nothing. Batch norm does not change
        in them.
    backbone_lr_scale : float, default=1.0
        Factor on the learning rate of all layers below the head.
    layer_decay : float, default=1.0
        Factor on the learning rate from each layer (convolution or linear) to the one below it.
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of a row of ``X``; one of them may be −1. By default rows are
        square, gray for k² values and RGB for 3k².
    augment : "auto", ImageAugmenter or None, default="auto"
        Random changes, drawn again for every training batch. "auto" is ``ImageAugmenter()``. To search over
        ``augment__rotation`` and the like, pass an ImageAugmenter.
    mixup : float or "auto", default="auto"
        Parameter of the beta distribution that pairs of images are mixed by [2]_; 0 mixes none. "auto" is 0.2 if
        ``max_epochs`` is 40 or more, otherwise 0.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, as in scikit-learn. A soft target gets the mean weight of its classes.
    validation_fraction : float, default=0
        Fraction of the training images, stratified, that is held back and scored after every epoch. Copies of one
        image, such as an over-sampler makes, stay on one side.
    max_epochs : int, default=24
        Passes over the training images.
    batch_size : int, default=256
        Maximum number of images per batch. The batches of an epoch have equal size.
    optimizer : {"auto", "sgd", "adam", "adamw"}, default="auto"
        "auto" is the optimizer recommended for the backbone. "sgd" has Nesterov momentum 0.9.
    lr : float or "auto", default="auto"
        Learning rate; the highest one if a schedule changes it. "auto" is the backbone's recommended rate, divided by
        10 when pretrained layers are trained.
    lr_schedule : {"onecycle", "cosine", "plateau"} or None, default="onecycle"
        "onecycle" [1]_ and "cosine" change the rate after every batch. "plateau" divides it by 10 when the validation
        loss (without validation, the training loss) has not fallen for 5 epochs.
    early_stopping : bool or int, default=False
        Stop when validation accuracy has not improved for this many epochs (True means 10) and restore the best
        weights. Applies during frozen epochs too. Needs ``validation_fraction``.
    callbacks : list of skorch callbacks, default=None
        Called during training.
    net_params : dict, default=None
        More arguments for the skorch net, such as ``optimizer__betas``. They override ferkit's settings. With sample or
        class weights, ``criterion`` must return one loss per row; otherwise it may return the mean.
    weight_decay : float or "auto", default="auto"
        Decay of weights, but not of biases and batch norm. "auto" is 0.05 for AdamW, 5e-4 for SGD and 0 for Adam.
    label_smoothing : float, default=0.1
        Fraction of the target that is spread over all classes.
    ema_decay : float or None, default=0.995
        Per-batch decay of the exponential moving average of the weights. Predictions use the average; with None they
        use the last weights.
    tta : "flip" or None, default="flip"
        Test-time augmentation: "flip" averages the probabilities of an image and its mirror image.
    device : str, default="auto"
        A PyTorch device. "auto" is the accelerator of the machine (CUDA, Apple's MPS, …), otherwise the CPU.
        "accelerate" trains on all GPUs at once: ``accelerate launch`` starts the same script once per GPU, and all end
        with the same model.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of convolutions and matrix products. "auto" is bfloat16 if the hardware multiplies in it, otherwise
        float32.
    random_state : int, RandomState instance or None, default=None
        Determines weights, batches, augmentation and the validation split. Results repeat on the same machine with the
        same number of threads, in worker processes too. Fits in several threads of one process run one after the other,
        because they share PyTorch's random stream.
    verbose : int, default=0
        1 shows a progress bar over epochs and batches in a terminal, and one line per epoch elsewhere. If Python's
        logging is set up for level INFO, the logger "ferkit" gets these lines; otherwise they are printed.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted. For soft targets in a frame, its columns in their order.
    history_ : list of dict
        One dict per epoch: ``epoch`` (from 1), ``train_loss`` and ``train_accuracy`` (on augmented batches, while the
        weights change), ``valid_loss`` and ``valid_accuracy`` (of the weights that predict; nan without validation),
        ``lr`` (at the start of the epoch) and ``seconds``.
    network_ : torch.nn.Module
        The trained PyTorch module. It takes a tensor of pixels of shape (n, channels, height, width) on the scale of
        the training images and returns logits. ``network_.backbone`` is the network without the input preparation.
    net_ : skorch.NeuralNetClassifier
        The trained skorch net. Its ``predict`` and ``score`` count the classes from 0.
    image_shape_ : tuple of int
        (height, width, channels).
    pixel_range_ : tuple of float
        Range of the training pixels: (0, 255), (0, 1), or their lowest and highest value. Images to predict are
        converted between the first two; another range that cannot match gives a warning.
    augment_ : ImageAugmenter or None
        The augmentation that was used.
    optimizer_, lr_, mixup_ : str, float, float
        The values that "auto" resolved to.
    device_, precision_ : str
        The present values of "auto", or of the parameters.
    n_features_in_ : int
        Number of values in a row.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Column names, if `X` was a frame with names.

    See Also
    --------
    ImageAugmenter : Random changes for ``augment``.

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
        "input_size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "weights": [str, PathLike, None],
        "frozen_epochs": [StrOptions({"all"}), Interval(Integral, 0, None, closed="left")],
        "backbone_lr_scale": [Interval(Real, 0, None, closed="left")],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "image_shape": [tuple, list, None],
        "augment": [StrOptions({"auto"}), ImageAugmenter, None],
        "mixup": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions({"auto", *OPTIMIZERS})],
        "lr": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "lr_schedule": [StrOptions({"onecycle", "cosine", "plateau"}), None],
        "early_stopping": ["boolean", Interval(Integral, 1, None, closed="left")],
        "callbacks": [list, None],
        "net_params": [dict, None],
        "weight_decay": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="left"), None],
        "tta": [StrOptions({"flip"}), None],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone="cnn",
        *,
        backbone_params=None,
        input_size=None,
        dropout=None,
        weights=None,
        frozen_epochs=0,
        backbone_lr_scale=1.0,
        layer_decay=1.0,
        image_shape=None,
        augment="auto",
        mixup="auto",
        class_weight=None,
        validation_fraction=0,
        max_epochs=24,
        batch_size=256,
        optimizer="auto",
        lr="auto",
        lr_schedule="onecycle",
        early_stopping=False,
        callbacks=None,
        net_params=None,
        weight_decay="auto",
        label_smoothing=0.1,
        ema_decay=0.995,
        tta="flip",
        device="auto",
        precision="auto",
        random_state=None,
        verbose=0,
    ):
        self.backbone = backbone
        self.backbone_params = backbone_params
        self.input_size = input_size
        self.dropout = dropout
        self.weights = weights
        self.frozen_epochs = frozen_epochs
        self.backbone_lr_scale = backbone_lr_scale
        self.layer_decay = layer_decay
        self.image_shape = image_shape
        self.augment = augment
        self.mixup = mixup
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.early_stopping = early_stopping
        self.callbacks = callbacks
        self.net_params = net_params
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.ema_decay = ema_decay
        self.tta = tta
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def set_params(self, **params: Any) -> Self:
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
    def fit(self, X: Images, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train a new network.

        Parameters
        ----------
        X : array-like of shape (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width)
            Images, uint8 or another numeric dtype (converted to float32), on any scale. Or a list or column of the
            paths of n image files. They are decoded one batch at a time, so they may exceed memory, and brought to
            ``image_shape``, by default the shape of the first one.
        y : array-like of shape (n,) or (n, n_classes)
            Labels of any type, or soft targets: the share of each class in an image. The columns of a frame then name
            the classes, otherwise they are 0, 1, ….
        sample_weight : array-like of shape (n,), default=None
            Weight of each image in the loss. Images of weight 0 are left out.

        Returns
        -------
        self : FERClassifier

        Raises
        ------
        ValueError
            If the images, labels or parameters are not usable, or if training diverges.
        KeyboardInterrupt
            After Ctrl-C. The estimator keeps what it learned if at least one epoch was complete, and is not fitted
            otherwise.
        """
        for fitted in ("net_", "history_"):
            self.__dict__.pop(fitted, None)  # a fit that fails must not leave half of an earlier one behind
        if self.early_stopping and not self.validation_fraction:
            raise ValueError("early_stopping needs images to watch: pass validation_fraction, such as 0.1.")
        soft = _is_soft(y)
        classes, target = _check_soft_targets(y) if soft else (np.empty(0), y)
        rows, target, sample_weight = self._check_training_data(X, target, sample_weight, reset=True, soft=soft)
        self.classes_, target = (classes, target) if soft else _encode_labels(target)
        if len(self.classes_) < 2:
            raise ValueError(f"Expected at least two classes, y holds one class: {self.classes_[0]}.")
        self.pixel_range_ = pixel_range(rows)
        seed, device, valid = self._draw_seed(), resolve_device(self.device), None
        weight = self._weigh_rows(target, sample_weight)
        if weight is not None:
            weight /= weight.mean()
        if self.validation_fraction:
            train, held_back = self._split(rows, target, seed)
            held_back = rows.take(held_back, axis=0), self.image_shape_, target[held_back]
            valid = ImageSet.from_rows(*held_back, device=device)
            rows, target = rows.take(train, axis=0), target[train]
            weight = None if weight is None else weight[train]
        settings = self._resolve_settings()
        with seeded(seed, device):
            net = build_net(settings, rows, self.image_shape_, len(self.classes_), weight=weight, valid=valid)
            self._train(net, rows, target, weight, seed)
        return self._keep(net.end_schedule())

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Images, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one more epoch at the constant rate ``lr_``, starting from the present weights if there are any.

        There is no schedule, weight averaging or validation: after each call the last weights predict. A call that
        fails or is interrupted changes nothing.

        Parameters
        ----------
        X : array-like
            Images, as in `fit`. The first call determines their shape and scale.
        y : array-like of shape (n,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels of all calls; needed on the first call.
        sample_weight : array-like of shape (n,), default=None
            Weight of each image in the loss.

        Returns
        -------
        self : FERClassifier

        Raises
        ------
        ValueError
            If the images or labels are not usable, or do not match earlier calls.
        """
        first = not hasattr(self, "net_")
        if self.class_weight == "balanced":
            raise ValueError(
                'class_weight="balanced" needs all labels at once: pass partial_fit the weights themselves, as a dict.'
            )
        if first and classes is None:
            raise ValueError("The first call to partial_fit needs classes, all the labels that may come.")
        rows, labels, sample_weight = self._check_training_data(X, y, sample_weight, reset=first)
        classes = np.unique(np.asarray(self.classes_ if classes is None else classes))
        if not first and not np.array_equal(classes, self.classes_):
            raise ValueError(f"Expected the classes of the first call, {self.classes_}, got classes={classes}.")
        unknown = np.setdiff1d(labels, classes)
        if len(unknown):
            raise ValueError(f"y holds labels that are not among the classes {classes}: {unknown}.")
        if first:
            self.classes_, self.pixel_range_ = classes, pixel_range(rows)
        else:
            rows = match_range(rows, self.pixel_range_)
        target = np.searchsorted(self.classes_, labels)
        weight = self._weigh_rows(target, sample_weight)
        seed = self._draw_seed() + (0 if first else len(self.history_))  # new order and augmentation in each call
        with seeded(seed, resolve_device(self.device)):
            if first:
                settings = self._resolve_settings(lr_schedule=None, early_stopping=False, verbose=0)
                net, state = build_net(settings, rows, self.image_shape_, len(self.classes_), weight=weight), None
            else:
                net = self._current_net()
                state = net.get_state()
            net.max_epochs, net.ema_decay = 1, None
            try:
                self._train(net, rows, target, weight, seed)
                if net.interrupted_:
                    raise KeyboardInterrupt
            except BaseException:
                if state is not None:
                    net.set_state(state)
                raise
        return self._keep(net)

    def _check_training_data(self, X, y, sample_weight, *, reset, soft=False):
        rows, _ = check_images(self, X, reset=reset, lazy=True)
        if not soft:
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
        check_consistent_length(rows, y)
        if sample_weight is None:
            return rows, y, None
        sample_weight = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        used = sample_weight > 0
        if not used.any():  # scikit-learn before 1.9 lets it pass
            raise ValueError("Expected a non-zero weight in `sample_weight`, got zeros: pass None for equal ones.")
        if used.all():
            return rows, y, sample_weight
        return rows.take(np.flatnonzero(used), axis=0), y[used], sample_weight[used]

    def _weigh_rows(self, y, sample_weight):
        """Return sample and class weights as one weight per row, or None."""
        if self.class_weight is None and sample_weight is None:
            return None
        weight = 1.0 if sample_weight is None else sample_weight
        if self.class_weight is not None:
            weight = weight * _class_weights(self.class_weight, self.classes_, y)
        if not weight.any():
            raise ValueError("class_weight leaves every row without weight: nothing to train on.")
        if not weight.max() < np.finfo(np.float32).max:
            raise ValueError(
                f"Expected weights that float32 can hold, got {weight.max():g}: divide them by their mean."
            )
        return weight.astype(np.float32)

    def _draw_seed(self):
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        return Processes().agree(seed) if self.device == "accelerate" else seed

    def _split(self, rows, y, seed):
        """Return the rows to train on and to hold back. Copies of one image stay together."""
        y = y if y.ndim == 1 else y.argmax(axis=1)
        group = number_rows(rows if isinstance(rows, np.ndarray) else map(str.encode, rows.paths))
        first = np.unique(group, return_index=True)[1]
        try:
            parts = train_test_split(
                np.arange(len(first)), test_size=self.validation_fraction, stratify=y[first], random_state=seed
            )
        except ValueError as error:
            raise ValueError(f"validation_fraction={self.validation_fraction} can't be held back: {error}") from error
        if len(first) == len(rows):
            return parts
        return [np.flatnonzero(np.isin(group, part)) for part in parts]

    def _resolve_settings(self, **changes):
        """Resolve "auto" in all parameters, and note the values in fitted attributes."""
        self.augment_ = ImageAugmenter() if self.augment == "auto" else self.augment and clone(self.augment)
        if self.augment_ is not None:
            self.augment_._validate_params()
        settings = resolve_settings({**self.get_params(deep=False), "augment": self.augment_, **changes})
        self.optimizer_, self.lr_, self.mixup_ = settings.optimizer, settings.lr, settings.mixup
        return settings

    def _train(self, net, rows, y, weight, seed):
        net.generator = torch.Generator(net.device).manual_seed(seed)
        net.processes = Processes() if self.device == "accelerate" else None
        progress = dict(net.callbacks_).get("progress")
        try:
            net.partial_fit(ImageSet.from_rows(rows, self.image_shape_, y, weight, device=net.device))
            if net.processes:
                net.processes.send([*net.module_.parameters(), *net.module_.buffers()])
            net.check_weights()
        finally:
            if progress:
                progress.stop()
            net.release()

    def _keep(self, net):
        """Take a trained net; until then the estimator is as it was."""
        self.history_ = [_epoch(row) for row in net.history]
        self._applied = self._prediction_params()
        self.net_ = net
        if net.interrupted_:
            raise KeyboardInterrupt
        return self

    # predicting

    def _prediction_params(self):
        return {name: getattr(self, name) for name in ("tta", "precision", "batch_size", "device")}

    def _current_net(self):
        """Return the net, with the parameters that act at predict as they are now."""
        params = self._prediction_params()
        if params != self._applied:
            self._validate_params()
            if params["device"] != self._applied["device"]:
                self.net_.move_to(resolve_device(self.device))
            for name in params.keys() - {"device", *(self.net_params or {})}:
                setattr(self.net_, name, int(params[name]) if name == "batch_size" else params[name])
            self._applied = params
        return self.net_

    def predict_proba(self, X: Images) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in `fit`, as rows or as a stack.

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            In the order of ``classes_``. Each row sums to 1.

        Warns
        -----
        UserWarning
            If the pixels are on another scale than the training images were, and it is not certain which.
        """
        check_is_fitted(self)
        rows, _ = check_images(self, X, reset=False, lazy=True)
        rows, net = match_range(rows, self.pixel_range_), self._current_net()
        images = ImageSet.from_rows(rows, self.image_shape_, device=net.device, resident=False)
        probability = net.predict_proba(images).astype(np.float64)  # the sums of a network in float32 are off by 1e-7
        return probability / probability.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X: Images) -> np.ndarray:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in `fit`, as rows or as a stack.

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            -inf where the network's float32 probability is 0.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Images) -> np.ndarray:
        """Return the most probable class.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in `fit`, as rows or as a stack.

        Returns
        -------
        ndarray of shape (n,)
            Labels, of the type of ``y`` in `fit`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    @property
    def network_(self) -> torch.nn.Module:
        return self.net_.module_

    @property
    def device_(self) -> str:
        return self._current_net().device

    @property
    def precision_(self) -> str:
        net = self._current_net()
        return str(resolve_precision(net.precision, net.device)).removeprefix("torch.")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")


_MULTI_LABEL = (
    "Expected one label per image or the share of each class, got several labels per image: train one network per "
    "class with sklearn.multiclass.OneVsRestClassifier(FERClassifier()), or divide each row of 0 and 1 by its sum."
)


def _is_soft(y):
    try:
        shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
    except ValueError as error:  # lists of different lengths
        raise ValueError(_MULTI_LABEL) from error
    return len(shape) == 2 and shape[1] > 1


def _encode_labels(y):
    """(classes, position of each label among them)."""
    try:
        return np.unique(y, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"y mixes labels of types that have no common order: {error}.") from error


def _check_soft_targets(y):
    """(classes, shares as float32) of soft targets."""
    classes = np.asarray(y.columns) if hasattr(y, "columns") else np.arange(np.shape(y)[1])
    y = check_array(y, dtype=np.float32, input_name="y")
    if np.isin(y, (0, 1)).all() and (y.sum(axis=1) != 1).any():
        raise ValueError(_MULTI_LABEL)
    if y.min() < 0 or np.abs(y.sum(axis=1) - 1).max() > 1e-3:
        row = int(np.argmax((y.min(axis=1) < 0) | (np.abs(y.sum(axis=1) - 1) > 1e-3)))
        raise ValueError(
            f"Expected soft targets from 0 to 1 with a sum of 1 in each row, got {y[row]} in row {row}: divide each "
            "row by its sum."
        )
    return classes, y


def _class_weights(class_weight, classes, y):
    """Weight of each row by its class, or by the classes of its soft target."""
    if y.ndim == 1:
        return compute_sample_weight(class_weight, classes[y])
    if class_weight == "balanced":
        counts = y.sum(axis=0, dtype=np.float64)
        occurs = counts > 0
        return y[:, occurs] @ (len(y) / (occurs.sum() * counts[occurs]))
    if unknown := [label for label in class_weight if label not in classes.tolist()]:
        raise ValueError(f"class_weight has labels that are not among the classes {classes.tolist()}: {unknown}.")
    return y @ np.array([class_weight.get(label, 1) for label in classes.tolist()])


def _epoch(row):
    keys = ("epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "lr", "dur")
    return {"seconds" if key == "dur" else key: float(row.get(key, np.nan)) for key in keys} | {"epoch": row["epoch"]}
