"""FERClassifier: parameters, fit, partial_fit and predict."""

from functools import partial
from numbers import Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length

from ._estimator import NetworkEstimator
from ._images import Images, check_images, match_range, pixel_range
from ._metrics import score_probabilities
from ._targets import check_soft_targets, encode_labels, is_soft, keep_weighted, match_labels, most_probable, weigh_rows
from ._validation import check_known, check_labels
from .training import DIVERGED, ClassifierNet, build_net, resolve_device, seeded

__all__ = ["FERClassifier"]


class FERClassifier(ClassifierMixin, NetworkEstimator):
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
        same shape. Its random values should come from PyTorch. The elements of a list are applied in order.
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
    optimizer : {"auto", "sgd", "adam", "adamw", "muon"}, default="auto"
        "auto" is the optimizer recommended for the backbone. "sgd" has Nesterov momentum 0.9. "muon" [3]_ learns
        convolutions in fewer epochs, and trains the other layers with AdamW.
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
        probable class, and are tried on perfect predictions before the training.
    callbacks : list of skorch callbacks, default=None
        Called during training.
    net_params : dict, default=None
        More arguments for the skorch net, such as ``optimizer__betas``. They override ferkit's settings. With sample or
        class weights, ``criterion`` must return one loss per row; otherwise it may return the mean.

    Regularization
    weight_decay : float or "auto", default="auto"
        Decay of weights, but not of biases and batch norm. "auto" is 0.05 for AdamW and Muon, 5e-4 for SGD and 0 for
        Adam.
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
        same number of threads, in worker processes too. On a GPU, they differ by rounding. Fits in several threads of
        one process run one after the other, because they share PyTorch's random stream.
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
        validation), ``lr`` (at the start of the epoch) and ``seconds`` (the first epoch includes the features of
        frozen layers). ``valid_score`` follows if ``scoring`` is a scorer, and numbers that ``callbacks`` record, such
        as skorch's EpochScoring, under their own names.
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
    .. [3] K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.

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

    classes_: np.ndarray
    _net = ClassifierNet
    _parameter_constraints = {  # noqa: RUF012
        **NetworkEstimator._parameter_constraints,
        "mixup": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
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
        super().__init__(
            backbone,
            backbone_params=backbone_params,
            input_size=input_size,
            head=head,
            dropout=dropout,
            weights=weights,
            frozen_epochs=frozen_epochs,
            cache_features=cache_features,
            frozen_layers=frozen_layers,
            backbone_lr_scale=backbone_lr_scale,
            layer_decay=layer_decay,
            image_shape=image_shape,
            augment=augment,
            validation_fraction=validation_fraction,
            max_epochs=max_epochs,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            optimizer=optimizer,
            lr=lr,
            lr_schedule=lr_schedule,
            early_stopping=early_stopping,
            keep_best=keep_best,
            scoring=scoring,
            callbacks=callbacks,
            net_params=net_params,
            weight_decay=weight_decay,
            ema_decay=ema_decay,
            tta=tta,
            device=device,
            precision=precision,
            random_state=random_state,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            verbose=verbose,
        )
        self.mixup = mixup
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing

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
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

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
            Weight of each image in the loss. Unlike in `fit`, the weights are not divided by their mean, because other
            calls may have other weights.

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
        if not first and not np.array_equal(classes, np.unique(self.classes_)):
            raise ValueError(f"Expected the classes of the first call, {self.classes_}, got classes={classes}.")
        unknown = np.setdiff1d(names, classes)
        if len(unknown):
            raise ValueError(f"Expected labels in y that are among the classes {classes}, got {unknown}.")
        if first:
            self.classes_, self.pixel_range_ = classes, pixel_range(rows)
        else:
            rows = match_range(rows, self.pixel_range_)
        order = np.argsort(self.classes_)  # soft targets of `fit` may have them in another one
        target = order[np.searchsorted(self.classes_, names, sorter=order)][target]
        weight = self._weigh(target, sample_weight)
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
                if net.stopped_by_ is KeyboardInterrupt:
                    raise KeyboardInterrupt
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
            check_known(y)
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
        check_consistent_length(rows, y)
        if sample_weight is not None:
            rows, y, sample_weight = keep_weighted(rows, y, sample_weight)
        if not soft:
            classes, y = encode_labels(y)
        return rows, classes, y, sample_weight

    def _learn_targets(self, names, y, sample_weight):
        if len(names) < 2:
            raise ValueError(f"Expected at least two classes in y, got one class: {names[0]}.")
        self.classes_ = names
        return y

    def _encode(self, names, y):
        return match_labels(names, y, self.classes_)

    def _describe_targets(self):
        return {"classes": self.classes_.tolist()}

    def _weigh(self, y, sample_weight):
        return weigh_rows(y, self.classes_, self.class_weight, sample_weight)

    def _strata(self, y):
        return y if y.ndim == 1 else y.argmax(axis=1)

    def _scorer(self, rows, y, weight):
        strata = self._strata(y)
        score = partial(score_probabilities, self.scoring, rows, self.classes_[strata], weight, self.classes_)
        try:
            score(np.eye(self._n_outputs)[strata])
        except (AttributeError, TypeError, ValueError) as error:
            accepts = "the validation images" + " and sample_weight" * (weight is not None)
            raise ValueError(
                f"Expected a scorer of classifiers in scoring that accepts {accepts}, got {self.scoring!r}: pass such "
                f'as "f1_macro", or "loss". ({error})'
            ) from error
        return score

    def _resolve_settings(self, **changes):
        settings = super()._resolve_settings(**changes)
        self.mixup_ = settings.mixup
        return settings

    @property
    def _n_outputs(self):
        return len(self.classes_)

    # predicting

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
        probability = self._predict(X)
        probability /= probability.sum(axis=1, keepdims=True)  # the sums of a network in float32 are off by 1e-7
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
            Images in any form that `predict` accepts.
        y : array-like of shape (n,) or (n, n_classes)
            Labels, or soft targets as in `fit`. For a soft target, the most probable class counts, or the first one in
            a tie.
        sample_weight : array-like of shape (n,), default=None
            Weight of each image.

        Returns
        -------
        float
        """
        if is_soft(y):
            y = check_labels(most_probable(y), self.classes_)
        return super().score(X, y, sample_weight)


def predicts_best(model):
    """Return whether a model always predicts the most probable class. One with a tuned threshold may not."""
    return isinstance(model[-1] if hasattr(model, "steps") else model, FERClassifier)
