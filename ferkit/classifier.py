"""FERClassifier: parameters, validation, fit, partial_fit and predict."""

import warnings
from copy import copy, deepcopy
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from numbers import Integral, Real
from os import PathLike
from threading import Lock
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ._documentation import DocumentedMixin
from ._held_out import check_validation_source, hold_back
from ._images import Images, check_images, match_range, pixel_range
from ._metrics import score_probabilities
from ._targets import check_soft_targets, encode_labels, is_soft, keep_weighted, match_labels, most_probable, weigh_rows
from ._validation import check_labels
from .augmentation import ImageAugmenter, resolve_augment
from .backbones._registry import OPTIMIZERS
from .training import (
    DIVERGED,
    SCHEDULES,
    ImageSet,
    Processes,
    build_net,
    describe_history,
    open_checkpoint,
    resolve_batch_size,
    resolve_device,
    resolve_precision,
    resolve_settings,
    seeded,
)

__all__ = ["FERClassifier"]

_APPLYING = Lock()  # not an attribute, because estimators are pickled
_VERSIONS = {package: version(package) for package in ("ferkit", "torch", "scikit-learn")}
_FEW_STEPS = 50  # with 24 and 48, networks were no better than a linear SVM on pixels (docs/performance.md)


class FERClassifier(DocumentedMixin, ClassifierMixin, BaseEstimator):
    """Classify facial expressions with a neural network.

    The network standardizes images by the mean and standard deviation of the training pixels, resizes them to
    ``input_size`` and, in training, changes them with ``augment``. All of this happens on the device, one batch at a
    time. The defaults train well on FER2013 from scratch.

    On a fitted classifier, ``tta``, ``batch_size``, ``device`` and ``precision`` take effect at the next prediction.
    The other parameters take effect at the next `fit`. Several threads may predict at the same time. Do not change
    parameters or train the same classifier meanwhile.

    Parameters
    ----------
    Network
    backbone : str, nn.Module class or callable, default="cnn"
        A name from :func:`ferkit.backbones.list_backbones`, or a class or function that builds a network when it is
        called as ``backbone(num_classes=…, in_channels=…, **backbone_params)``.
    backbone_params : dict, default=None
        More arguments for the backbone. By default ``in_channels`` is the number of channels of the images, or 3 with
        published weights; gray images are then repeated to RGB. With ``in_channels=1`` the first layer's filters are
        summed instead.
    input_size : int or tuple of (height, width), default=None
        Size at which the network sees the images. None keeps their own size.
    head : tuple of int, default=()
        Sizes of hidden linear layers before the output layer, each followed by ReLU and dropout. They belong to the
        head, so they start at random and train in frozen epochs.
    dropout : float, default=None
        Probability in every dropout layer of the backbone and of ``head``, or before its last linear layer if there are
        none. None keeps the backbone's own; ``head`` then has none.
    weights : str, path or None, default=None
        Initial weights. "imagenet" means the best weights that torchvision or timm publish for the backbone. You can
        also pass the name of other published weights, such as "IMAGENET1K_V1", the path of a state dict (.pth or
        .safetensors) or of a model (.ferkit), or the name of a model that ships with ferkit, such as "fer2013-small". A
        head for other classes is initialized at random. Published weights come from the cache or are downloaded, and
        images are standardized as they expect. A backbone class of your own needs a path; a function such as
        ``torchvision.models.resnet18`` has published weights. None trains from scratch.
    frozen_epochs : int or "all", default=0
        Number of epochs that only train the head; after them all layers train, except ``frozen_layers``. "all" never
        trains the backbone. The head is the last layer with the layers of ``head`` and, without ``weights``, the hidden
        linear layers in the same module. Frozen epochs do not change batch norm.
    cache_features : bool, default=True
        Whether frozen epochs use features of the backbone that are computed once, without augmentation, so that they
        cost almost nothing. With False, the features are computed in every epoch, from augmented images.
    frozen_layers : int or list of str, default=None
        Layers that never train, and whose batch norm keeps its statistics: names of modules of the backbone as in
        ``named_modules()``, such as ``["features.0"]``, or the number of layers (convolution or linear) from the first.
    backbone_lr_scale : float, default=1.0
        Factor on the learning rate of all layers below the head.
    layer_decay : float, default=1.0
        Factor on the learning rate from each layer (convolution or linear) to the one below it.

    Data
    image_shape : tuple, default=None
        (height, width) or (height, width, channels) of a row of ``X``; one of them may be −1. By default rows are
        square, gray for k² values and RGB for 3k².
    augment : "auto", ImageAugmenter, callable, list of these or None, default="auto"
        Random changes, drawn again for every training batch. "auto" is ``ImageAugmenter()``. To search over
        ``augment__rotation`` and the like, pass an ImageAugmenter. A callable, such as a transform of torchvision,
        takes a batch as a uint8 tensor (n, channels, height, width) and returns uint8, or floats from 0 to 1, of the
        same shape. Its random values should come from PyTorch. Those of a list act one after the other.
    mixup : float or "auto", default="auto"
        Parameter of the beta distribution from which the mixing weights of pairs of images are drawn [2]_; 0 switches
        mixup off. "auto" is 0.2 if ``max_epochs`` is 40 or more, otherwise 0.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, as in scikit-learn. A soft target gets the mean weight of its classes.
    validation_fraction : float, default=0
        Fraction of the training images that is held out, stratified, and scored after every epoch. Copies of one image,
        such as those of RandomOverSampler, stay on the same side, but the mixtures of SMOTE do not. To score on images
        of your own, pass ``X_val`` and ``y_val`` to `fit` instead.

    Training
    max_epochs : int, default=24
        Passes over the training images.
    batch_size : int or "auto", default="auto"
        Maximum number of images per batch; the batches of an epoch have equal size. "auto" is the power of two near
        twice the square root of the number of training images, from 8 to 256, because few images need many small
        steps. At predict, "auto" is 256.
    micro_batch_size : int or None, default=None
        Maximum number of images that pass through the network at once in training, to need less memory. The gradients
        of the parts of a batch are added up before each step. The steps stay the same, except that batch norm uses the
        statistics of each part. None passes the whole batch. Not available with ``device="accelerate"``.
    optimizer : {"auto", "sgd", "adam", "adamw"}, default="auto"
        "auto" is the optimizer recommended for the backbone. "sgd" has Nesterov momentum 0.9.
    lr : float or "auto", default="auto"
        Learning rate; with a schedule, the highest rate. "auto" is the backbone's recommended rate, divided by
        10 when pretrained layers are trained.
    lr_schedule : str, dict, callable or None, default="onecycle"
        How the rate changes. "onecycle" [1]_ and "cosine" change it after every batch; the others after every epoch:
        "step" divides it by 10 after each third of the epochs, "exponential" lowers it to a hundredth over all epochs,
        "warm_restarts" is two cosines; the first takes a third of the epochs. "plateau" divides the rate
        by 10 when the validation loss (without validation, the training loss) has not fallen for 5 epochs. A dict
        changes these numbers: its keys are "name" and the arguments of PyTorch's scheduler, and for "plateau"
        "monitor", a score of ``history_``. A callable returns a PyTorch scheduler for an optimizer; it steps after
        every epoch.
    early_stopping : bool or int, default=False
        Stop when ``scoring`` has not improved for this many epochs (True means 10) and restore the best weights.
        Applies during frozen epochs too. Needs ``validation_fraction`` or ``X_val``.
    keep_best : bool, default=False
        Train for all epochs, then restore the weights of the epoch with the best ``scoring``. Needs
        ``validation_fraction`` or ``X_val``.
    scoring : str or callable, default="accuracy"
        Score of the validation images that ``early_stopping`` and ``keep_best`` compare: "accuracy", "loss", or a
        scikit-learn scorer, by name or as ``callable(estimator, X, y)``. Scorers get soft targets as their most
        probable class.
    callbacks : list of skorch callbacks, default=None
        Called during training.
    net_params : dict, default=None
        More arguments for the skorch net, such as ``optimizer__betas``. They override ferkit's settings. With sample or
        class weights, ``criterion`` must return one loss per row; otherwise it may return the mean.

    Regularization
    weight_decay : float or "auto", default="auto"
        Decay of weights, but not of biases and batch norm. "auto" is 0.05 for AdamW, 5e-4 for SGD and 0 for Adam.
    label_smoothing : float, default=0.1
        Fraction of the target that is spread over all classes.
    ema_decay : float or None, default=0.995
        Per-batch decay of the exponential moving average of the weights. Predictions use the average; with None they
        use the last weights.

    Prediction
    tta : {"auto", "flip", "ten_crop"}, int, callable or None, default="auto"
        Test-time augmentation: probabilities are averaged over several views of an image. "flip" means the image and
        its mirror image. "ten_crop" means crops of the corners and the center, 7/8 of the size, and their mirror
        images. An int adds this number of random views, drawn with ``augment``; they are the same in each prediction. A
        callable takes a batch, as ``augment`` does, and returns a list of batches or a tensor (views, n, channels,
        height, width). "auto" is "flip" if ``augment`` flips images, otherwise None.

    Hardware and output
    device : str, default="auto"
        A PyTorch device. "auto" is the accelerator of the machine (CUDA, Apple's MPS, …), otherwise the CPU.
        "accelerate" trains on all GPUs at once: ``accelerate launch`` starts the same script once per GPU, and all end
        with the same model.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Type of convolutions and matrix products. "auto" is bfloat16 if the hardware multiplies in it, float16 on other
        NVIDIA GPUs with tensor cores, such as the T4, and otherwise float32. float16 scales the loss and leaves out
        steps whose gradients overflow.
    random_state : int, RandomState instance or None, default=None
        Determines weights, batches, augmentation and the validation split. Results repeat on the same machine with the
        same number of threads, in worker processes too. Fits in several threads of one process run one after the other,
        because they share PyTorch's random stream.
    checkpoint : str or path, default=None
        Directory in which `fit` saves the complete state of the training, in one file that no code runs from. If the
        file exists, `fit` continues the training, and the result is the same as without an interruption: bit by bit on
        a CPU with the same number of threads. Other parameters or data raise an error that lists the differences. The
        result of a complete training is loaded without training again. Give each training its own directory, and
        delete the file to start anew. The state of ``callbacks`` is not saved, except that of skorch's EarlyStopping,
        EpochScoring and LRScheduler. Needs a single process.
    checkpoint_every : int or timedelta, default=1
        Number of epochs between checkpoints, or the time: ``timedelta(minutes=5)`` saves after the first epoch that
        ends at least five minutes after the last checkpoint. Ctrl-C saves the last complete epoch in any case.
    verbose : int, default=0
        1 shows a progress bar over epochs and batches in a terminal, and one line per epoch elsewhere. If Python's
        logging is set up for level INFO, the logger "ferkit" gets these lines; otherwise they are printed.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted. For soft targets in a frame, its columns in their order.
    history_ : list of dict
        One dict per epoch: ``epoch`` (from 1), ``train_loss`` and ``train_accuracy`` (on augmented batches, while the
        weights change), ``valid_loss`` and ``valid_accuracy`` (with the weights that predictions use; nan without
        validation), ``lr`` (at the start of the epoch) and ``seconds``. ``valid_score`` follows if ``scoring`` is a
        scorer, and numbers that ``callbacks`` record, such as skorch's EpochScoring, under their own names.
    best_epoch_ : int or None
        The epoch whose weights predictions use, with ``keep_best`` or ``early_stopping``; None otherwise.
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
    augment_ : callable or None
        The augmentation that was used: an ImageAugmenter, or an object that calls the given ones.
    optimizer_, lr_, mixup_, batch_size_ : str, float, float, int
        The values that "auto" resolved to in training.
    device_, precision_ : str
        The device and the precision in use.
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
        "head": [tuple, list],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "weights": [str, PathLike, None],
        "frozen_epochs": [StrOptions({"all"}), Interval(Integral, 0, None, closed="left")],
        "cache_features": ["boolean"],
        "frozen_layers": [Interval(Integral, 0, None, closed="left"), list, tuple, None],
        "backbone_lr_scale": [Interval(Real, 0, None, closed="left")],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "image_shape": [tuple, list, None],
        "augment": [StrOptions({"auto"}), callable, list, tuple, None],
        "mixup": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "micro_batch_size": [Interval(Integral, 2, None, closed="left"), None],
        "optimizer": [StrOptions({"auto", *OPTIMIZERS})],
        "lr": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "lr_schedule": [StrOptions({*SCHEDULES}), dict, callable, None],
        "early_stopping": ["boolean", Interval(Integral, 1, None, closed="left")],
        "keep_best": ["boolean"],
        "scoring": [StrOptions({"loss", *get_scorer_names()}), callable],
        "callbacks": [list, None],
        "net_params": [dict, None],
        "weight_decay": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="left"), None],
        "tta": [StrOptions({"auto", "flip", "ten_crop"}), Interval(Integral, 1, None, closed="left"), callable, None],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16", "float16"})],
        "random_state": ["random_state"],
        "checkpoint": [str, PathLike, None],
        "checkpoint_every": [Interval(Integral, 1, None, closed="left"), timedelta],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone="cnn",
        *,
        backbone_params=None,
        input_size=None,
        head=(),
        dropout=None,
        weights=None,
        frozen_epochs=0,
        cache_features=True,
        frozen_layers=None,
        backbone_lr_scale=1.0,
        layer_decay=1.0,
        image_shape=None,
        augment="auto",
        mixup="auto",
        class_weight=None,
        validation_fraction=0,
        max_epochs=24,
        batch_size="auto",
        micro_batch_size=None,
        optimizer="auto",
        lr="auto",
        lr_schedule="onecycle",
        early_stopping=False,
        keep_best=False,
        scoring="accuracy",
        callbacks=None,
        net_params=None,
        weight_decay="auto",
        label_smoothing=0.1,
        ema_decay=0.995,
        tta="auto",
        device="auto",
        precision="auto",
        random_state=None,
        checkpoint=None,
        checkpoint_every=1,
        verbose=0,
    ):
        self.backbone = backbone
        self.backbone_params = backbone_params
        self.input_size = input_size
        self.head = head
        self.dropout = dropout
        self.weights = weights
        self.frozen_epochs = frozen_epochs
        self.cache_features = cache_features
        self.frozen_layers = frozen_layers
        self.backbone_lr_scale = backbone_lr_scale
        self.layer_decay = layer_decay
        self.image_shape = image_shape
        self.augment = augment
        self.mixup = mixup
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.optimizer = optimizer
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.early_stopping = early_stopping
        self.keep_best = keep_best
        self.scoring = scoring
        self.callbacks = callbacks
        self.net_params = net_params
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.ema_decay = ema_decay
        self.tta = tta
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.verbose = verbose

    # torchvision's transforms have a `get_params` that is not scikit-learn's, which therefore must not call it

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        params = super().get_params(deep=False)
        if deep:
            for name, value in list(params.items()):
                if isinstance(value, BaseEstimator):
                    params |= {f"{name}__{key}": part for key, part in value.get_params().items()}
        return params

    def __sklearn_clone__(self) -> Self:
        plain = copy(self)
        if not isinstance(self.augment, ImageAugmenter):
            plain.augment = None
        other = super(FERClassifier, plain).__sklearn_clone__()
        if plain.augment is None:
            other.augment = deepcopy(self.augment)
        return other

    def set_params(self, **params: Any) -> Self:
        augment = params.get("augment", self.augment)
        nested = next((name for name in params if name.startswith("augment__")), None)
        if nested and not isinstance(augment, ImageAugmenter):
            raise ValueError(
                f"Expected augment to be an ImageAugmenter to set {nested}, got augment={augment!r}: pass "
                "FERClassifier(augment=ImageAugmenter())."
            )
        return super().set_params(**params)

    # a joblib file is only as durable as the private attributes of these packages

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_versions": _VERSIONS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        versions = state.pop("_versions", _VERSIONS)
        if versions != _VERSIONS:
            warnings.warn(
                f"Expected a pickle written with {_VERSIONS}, got one written with {versions}, which may predict "
                "wrongly: load it with those versions and save it by ferkit.save, whose files do not depend on them.",
                stacklevel=2,
            )
        super().__setstate__(state)

    # fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Images,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Images | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train a new network.

        Parameters
        ----------
        X : array-like of shape (n, pixels), (n, height, width), (n, height, width, 1|3) or (n, 1|3, height, width)
            Images, uint8 or another numeric dtype (converted to float32), on any scale. Or a list or column of n
            images: arrays of one shape, PIL images, or image files as paths, bytes or streams. PIL images and files are
            brought to ``image_shape``, by default the shape of the first one. Files are decoded one batch at a time, so
            they may exceed memory.
        y : array-like of shape (n,) or (n, n_classes)
            Labels of any type, or soft targets: the share of each class in an image. The columns of a frame then name
            the classes, otherwise they are 0, 1, ….
        sample_weight : array-like of shape (n,), default=None
            Weight of each image in the loss. Images of weight 0 are left out.
        X_val : array-like, default=None
            Images to score after every epoch, in any form and on any scale that `predict` takes. They replace
            ``validation_fraction``. A pipeline transforms them only with ``transform_input=["X_val"]``; see
            :ref:`validate-in-a-pipeline`.
        y_val : array-like of shape (n_val,) or (n_val, n_classes), default=None
            Labels of ``X_val``, matched with those in ``y`` by name, or soft targets.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weight of each image in the validation loss and accuracy.

        Returns
        -------
        self : FERClassifier

        Raises
        ------
        ValueError
            If the images, labels or parameters are not usable, or if training diverges.
            If training diverges or Ctrl-C interrupts it, the estimator keeps the weights of the last complete epoch.
            If there is none, it is not fitted.
        OSError
            If ``checkpoint`` cannot be written to when training starts. Later, this gives a warning, and the training
            goes on.
        KeyboardInterrupt
            After Ctrl-C.
        """
        for fitted in ("net_", "history_", "best_epoch_"):
            self.__dict__.pop(fitted, None)  # a fit that fails must not keep parts of an earlier one
        check_validation_source(self, X_val, y_val, sample_weight_val)
        rows, self.classes_, target, sample_weight = self._check_training_data(X, y, sample_weight, reset=True)
        if len(self.classes_) < 2:
            raise ValueError(f"Expected at least two classes in y, got one class: {self.classes_[0]}.")
        self.pixel_range_ = pixel_range(rows)
        held_back = None if X_val is None else self._check_validation_data(X_val, y_val, sample_weight_val)
        seed, device = self._draw_seed(), resolve_device(self.device)
        weight = weigh_rows(target, self.classes_, self.class_weight, sample_weight)
        if weight is not None:
            weight /= weight.mean()
        checkpoint = self._open_checkpoint(seed, device, rows, target, sample_weight, held_back or (None, None, None))
        if checkpoint:
            seed = checkpoint.head["seed"]
        if self.validation_fraction:
            train, valid = hold_back(rows, target, self.validation_fraction, seed)
            held_back = rows.take(valid, axis=0), target[valid], None
            rows, target = rows.take(train, axis=0), target[train]
            weight = None if weight is None else weight[train]
        valid, score = self._build_validation(*held_back, device=device) if held_back else (None, None)
        settings = self._resolve_settings()
        with seeded(seed, device):
            net = build_net(
                settings,
                rows,
                self.image_shape_,
                len(self.classes_),
                weight=weight,
                valid=valid,
                score=score,
                checkpoint=checkpoint,
            )
            steps = net.max_epochs * -(-len(rows) // resolve_batch_size(net.batch_size, len(rows)))
            if steps < _FEW_STEPS:
                warnings.warn(
                    f"Expected at least {_FEW_STEPS} training steps for a network to learn, got {steps}: increase "
                    "max_epochs, or decrease batch_size.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            self._train(net, rows, target, weight, seed)
        return self._keep(net.end_schedule(), checkpoint.explain() if checkpoint else "")

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Images, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one more epoch at the constant rate ``lr_``, starting from the present weights if there are any.

        There is no schedule, weight averaging or validation. Predictions use the weights after the last call. A call
        that fails or is interrupted changes nothing.

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
            raise ValueError("Expected `classes` in the first call to partial_fit, got None: pass all labels.")
        y = column_or_1d(y, warn=True)
        rows, names, target, sample_weight = self._check_training_data(X, y, sample_weight, reset=first)
        classes = np.unique(np.asarray(self.classes_ if classes is None else classes))
        if not first and not np.array_equal(classes, self.classes_):
            raise ValueError(f"Expected the classes of the first call, {self.classes_}, got classes={classes}.")
        unknown = np.setdiff1d(names, classes)
        if len(unknown):
            raise ValueError(f"Expected labels in y that are among the classes {classes}, got {unknown}.")
        if first:
            self.classes_, self.pixel_range_ = classes, pixel_range(rows)
        else:
            rows = match_range(rows, self.pixel_range_)
        target = np.searchsorted(self.classes_, names)[target]
        weight = weigh_rows(target, self.classes_, self.class_weight, sample_weight)
        seed = self._draw_seed() + (0 if first else len(self.history_))  # new order and augmentation in each call
        with seeded(seed, resolve_device(self.device)):
            if first:
                settings = self._resolve_settings(lr_schedule=None, early_stopping=False, keep_best=False, verbose=0)
                net, state = build_net(settings, rows, self.image_shape_, len(self.classes_), weight=weight), None
            else:
                net = self._current_net()
                state = net.get_state()
            net.max_epochs, net.ema_decay = 1, None
            try:
                self._train(net, rows, target, weight, seed)
                if net.stopped_by_:
                    raise net.stopped_by_(DIVERGED)
            except BaseException:
                if state is not None:
                    net.set_state(state)
                raise
        return self._keep(net)

    def _check_training_data(self, X, y, sample_weight, *, reset):
        """Return rows, classes, targets as positions in or shares of the classes, and weights or None.

        Images of weight 0 are left out, and so are classes that have no other images.
        """
        soft = is_soft(y)
        classes, y = check_soft_targets(y) if soft else (None, y)
        rows, _ = check_images(self, X, reset=reset, lazy=True)
        if not soft:
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
        check_consistent_length(rows, y)
        if sample_weight is not None:
            rows, y, sample_weight = keep_weighted(rows, y, sample_weight)
        if not soft:
            classes, y = encode_labels(y)
        return rows, classes, y, sample_weight

    def _check_validation_data(self, X, y, sample_weight):
        """Return validation images, their targets as positions in or shares of ``classes_``, and weights or None."""
        try:
            rows, names, target, weight = self._check_training_data(X, y, sample_weight, reset=False)
        except ValueError as error:
            raise ValueError(
                f"The validation data are not usable: {error} In a pipeline, X_val must be transformed like X, for "
                "instance by pipeline[:-1].transform(X_val)."
            ) from error
        if weight is not None:
            weight = (weight / weight.mean()).astype(np.float32)
        return match_range(rows, self.pixel_range_), match_labels(names, target, self.classes_), weight

    def _build_validation(self, rows, y, weight, *, device):
        """Return validation images as a set, and the function that scores their probabilities, or None."""
        score = None
        if self.scoring not in ("accuracy", "loss"):
            labels = self.classes_[y if y.ndim == 1 else y.argmax(axis=1)]
            score = partial(score_probabilities, self.scoring, rows, labels, weight, self.classes_)
        return ImageSet.from_rows(rows, self.image_shape_, y, weight, device=device), score

    def _draw_seed(self):
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        return Processes().agree(seed) if self.device == "accelerate" else seed

    def _open_checkpoint(self, seed, device, rows, y, weight, held_back):
        """Return the checkpoint of this training, or None."""
        if self.checkpoint is None:
            return None
        names = ("X", "y", "sample_weight", "X_val", "y_val", "sample_weight_val")
        data = dict(zip(names, (rows, y, weight, *held_back), strict=True))
        return open_checkpoint(self.get_params(deep=False), self.classes_, data, seed=seed, device=device)

    def _resolve_settings(self, **changes):
        """Resolve "auto" in all parameters, and note the values in fitted attributes."""
        self.augment_ = resolve_augment(self.augment, self.pixel_range_)
        resolved = {"augment": self.augment_, "pixel_range": self.pixel_range_}
        settings = resolve_settings({**self.get_params(deep=False), **resolved, **changes})
        self.optimizer_, self.lr_, self.mixup_ = settings.optimizer, settings.lr, settings.mixup
        return settings

    def _train(self, net, rows, y, weight, seed):
        images = ImageSet.from_rows(rows, self.image_shape_, y, weight, device=net.device)
        net.train_on(images, seed, Processes() if self.device == "accelerate" else None)
        self.batch_size_ = resolve_batch_size(net.batch_size, len(rows))

    def _keep(self, net, advice=""):
        """Store a trained net. Until this call, the estimator is unchanged."""
        self.history_, self.best_epoch_ = describe_history(net), net.best_epoch_
        self._applied = self._prediction_params()
        self.net_ = net
        epochs = f"{len(self.history_)} of {net.max_epochs}"
        kept = f"The estimator keeps the weights of epoch {self.best_epoch_ or len(self.history_)}."
        if net.stopped_by_ is KeyboardInterrupt:
            raise KeyboardInterrupt(f"Training was interrupted after epoch {epochs}. {kept} {advice}".rstrip())
        if net.stopped_by_:
            raise ValueError(f"{DIVERGED} This was after epoch {epochs}. {kept}")
        return self

    # predicting

    def _prediction_params(self):
        return {name: getattr(self, name) for name in ("tta", "precision", "batch_size", "device")}

    def _current_net(self):
        """Return the net, updated with the present values of the parameters that act at predict."""
        if self._prediction_params() != self._applied:
            with _APPLYING:  # threads that predict at the same time wait until all values are set
                params = self._prediction_params()
                if params != self._applied:
                    self._apply_params(params)
        return self.net_

    def _apply_params(self, params):
        self._validate_params()
        if params["device"] != self._applied["device"]:
            self.net_.move_to(resolve_device(self.device))
        for name in params.keys() - {"device", *(self.net_params or {})}:
            setattr(self.net_, name, params[name])
        self._applied = params

    def predict_proba(self, X: Images) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like
            Images in any form that `fit` accepts. Stacks, lists of arrays of several shapes, PIL images and image files
            are turned gray or RGB and resized to ``image_shape_``. Rows must have ``n_features_in_`` values.

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            In the order of ``classes_``. Each row sums to 1.

        Warns
        -----
        UserWarning
            If the pixels are on another scale than the training images and cannot be converted with certainty.
        """
        check_is_fitted(self)
        rows, _ = check_images(self, X, reset=False, lazy=True)
        rows, net = match_range(rows, self.pixel_range_), self._current_net()
        images = ImageSet.from_rows(rows, self.image_shape_, device=net.device, resident=False)
        probability = net.predict_proba(images).astype(np.float64)  # the sums of a network in float32 are off by 1e-7
        probability /= probability.sum(axis=1, keepdims=True)
        return probability

    def predict_log_proba(self, X: Images) -> np.ndarray:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like
            Images in any form that `fit` accepts. Stacks, lists of arrays of several shapes, PIL images and image files
            are turned gray or RGB and resized to ``image_shape_``. Rows must have ``n_features_in_`` values.

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
            Images in any form that `fit` accepts. Stacks, lists of arrays of several shapes, PIL images and image files
            are turned gray or RGB and resized to ``image_shape_``. Rows must have ``n_features_in_`` values.

        Returns
        -------
        ndarray of shape (n,)
            Labels, of the type of ``y`` in `fit`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def score(self, X: Images, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in `fit`, as rows or as a stack.
        y : array-like of shape (n,) or (n, n_classes)
            Labels, or soft targets as in `fit`. Of a soft target, the most probable class counts; of equally probable
            ones the first.
        sample_weight : array-like of shape (n,), default=None
            Weight of each image.

        Returns
        -------
        float
        """
        if is_soft(y):
            y = check_labels(most_probable(y), self.classes_)
        return super().score(X, y, sample_weight)

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
