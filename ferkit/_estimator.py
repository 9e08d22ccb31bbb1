"""`NetworkEstimator`: what a classifier and a regressor share. Parameters, the phases of `fit`, and predictions."""

import warnings
from copy import copy, deepcopy
from datetime import timedelta
from importlib.metadata import version
from numbers import Integral, Real
from os import PathLike
from threading import Lock
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._documentation import DocumentedMixin
from ._held_out import check_validation_source, hold_back
from ._images import check_images, match_range, pixel_range
from ._targets import weigh_rows
from .augmentation import ImageAugmenter, resolve_augment
from .backbones._optimizers import OPTIMIZERS
from .training import (
    DIVERGED,
    SCHEDULES,
    FERNet,
    ImageSet,
    Processes,
    build_net,
    count_steps,
    describe_history,
    open_checkpoint,
    resolve_batch_size,
    resolve_device,
    resolve_precision,
    resolve_settings,
    seeded,
)

_APPLYING = Lock()  # not an attribute, because estimators are pickled
_VERSIONS = {package: version(package) for package in ("ferkit", "torch", "scikit-learn")}
_FEW_STEPS = 50  # with 24 and 48, networks were no better than a linear SVM on pixels (docs/performance.md)


class NetworkEstimator(DocumentedMixin, BaseEstimator):
    """An estimator that owns a net.

    A subclass says which kind of net it needs, how it checks and encodes targets, and what the outputs mean.
    """

    _net: type[FERNet]

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
        validation_fraction=0,
        max_epochs=24,
        batch_size="auto",
        micro_batch_size=None,
        optimizer="auto",
        lr="auto",
        lr_schedule="onecycle",
        early_stopping=False,
        keep_best=False,
        scoring="loss",
        callbacks=None,
        net_params=None,
        weight_decay="auto",
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
        self.ema_decay = ema_decay
        self.tta = tta
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.verbose = verbose

    # scikit-learn must not call the `get_params` of torchvision's transforms, which means something else

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
        other = super(NetworkEstimator, plain).__sklearn_clone__()
        if plain.augment is None:
            other.augment = deepcopy(self.augment)
        return other

    def set_params(self, **params: Any) -> Self:
        augment = params.get("augment", self.augment)
        nested = next((name for name in params if name.startswith("augment__")), None)
        if nested and not isinstance(augment, ImageAugmenter):
            raise ValueError(
                f"Expected augment to be an ImageAugmenter to set {nested}, got augment={augment!r}: pass "
                f"{type(self).__name__}(augment=ImageAugmenter())."
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
        self._follow_device()

    def _follow_device(self):
        """With device="auto", move a net that is loaded to the accelerator of this machine."""
        if self.device == "auto" and hasattr(self, "net_"):
            device = resolve_device("auto")
            if torch.device(device).type != torch.device(self.net_.device).type:
                self.net_.move_to(device)

    # what a subclass adds

    def _check_training_data(self, X, y, sample_weight, *, reset):
        """Return rows, the names of the targets or None, the targets, and weights or None.

        Images of weight 0 are left out.
        """
        raise NotImplementedError

    def _learn_targets(self, names, y, sample_weight):
        """Note what all targets of the training have in common, and return them encoded for the net."""
        raise NotImplementedError

    def _encode(self, names, y):
        """Return targets of validation images encoded in the same way."""
        raise NotImplementedError

    def _describe_targets(self):
        """Return what `_learn_targets` has noted, as settings that a training must continue with."""
        raise NotImplementedError

    def _scorer(self, rows, y, weight):
        """Return the function that scores predictions of the net by ``scoring``."""
        raise NotImplementedError

    @property
    def _n_outputs(self):
        raise NotImplementedError

    def _weigh(self, y, sample_weight):
        """Return the weight of each row in the loss, or None."""
        return weigh_rows(y, sample_weight=sample_weight)

    def _strata(self, y):
        """Return the classes whose shares are the same among training and validation images, or None."""
        return None

    # fitting

    def _fit(self, X, y, sample_weight, X_val, y_val, sample_weight_val):
        for fitted in ("net_", "history_", "best_epoch_"):
            self.__dict__.pop(fitted, None)  # a fit that fails must not keep parts of an earlier one
        check_validation_source(self, X_val, y_val, sample_weight_val)
        rows, names, target, sample_weight = self._check_training_data(X, y, sample_weight, reset=True)
        target = self._learn_targets(names, target, sample_weight)
        self.pixel_range_ = pixel_range(rows)
        held_back = None if X_val is None else self._check_validation_data(X_val, y_val, sample_weight_val)
        seed, device = self._draw_seed(), resolve_device(self.device)
        weight = self._weigh(target, sample_weight)
        if weight is not None:
            weight /= weight.mean()
        checkpoint = self._open_checkpoint(seed, device, rows, target, sample_weight, held_back or (None, None, None))
        if checkpoint:
            seed = checkpoint.head["seed"]
        if self.validation_fraction:
            train, valid = hold_back(rows, self._strata(target), self.validation_fraction, seed)
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
                self._n_outputs,
                weight=weight,
                valid=valid,
                score=score,
                checkpoint=checkpoint,
            )
            steps = count_steps(net.max_epochs, net.batch_size, len(rows))
            if steps < _FEW_STEPS:
                warnings.warn(
                    f"Expected at least {_FEW_STEPS} training steps for a network to learn, got {steps}: increase "
                    "max_epochs, or decrease batch_size.",
                    ConvergenceWarning,
                    stacklevel=4,  # the caller of fit, which scikit-learn wraps
                )
            self._train(net, rows, target, weight, seed)
        return self._keep(net.end_schedule(), checkpoint.explain() if checkpoint else "")

    def _check_validation_data(self, X, y, sample_weight):
        """Return validation images, their encoded targets, and weights or None."""
        try:
            rows, names, target, weight = self._check_training_data(X, y, sample_weight, reset=False)
        except ValueError as error:
            raise ValueError(
                f"The validation data are not usable: {error} In a pipeline, X_val must be transformed like X, for "
                "instance by pipeline[:-1].transform(X_val)."
            ) from error
        if weight is not None:
            weight = (weight / weight.mean()).astype(np.float32)
        return match_range(rows, self.pixel_range_), self._encode(names, target), weight

    def _build_validation(self, rows, y, weight, *, device):
        """Return validation images as a set, and the function that scores their predictions, or None."""
        score = None if self.scoring in ("accuracy", "loss") else self._scorer(rows, y, weight)
        return ImageSet.from_rows(rows, self.image_shape_, y, weight, device=device), score

    def _draw_seed(self):
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        return Processes().agree(seed) if self.device == "accelerate" else seed

    def _open_checkpoint(self, seed, device, rows, y, weight, held_back):
        """Return the checkpoint of this training, or None."""
        if self.checkpoint is None:
            return None
        settings = self.get_params(deep=False) | self._describe_targets()
        names = ("X", "y", "sample_weight", "X_val", "y_val", "sample_weight_val")
        data = dict(zip(names, (rows, y, weight, *held_back), strict=True))
        return open_checkpoint(settings, data, seed=seed, device=device)

    def _resolve_settings(self, **changes):
        """Resolve "auto" in all parameters, and note the values in fitted attributes."""
        self.augment_ = resolve_augment(self.augment, self.pixel_range_)
        resolved = {"augment": self.augment_, "pixel_range": self.pixel_range_, "net": self._net}
        settings = resolve_settings({**self.get_params(deep=False), **resolved, **changes})
        self.optimizer_, self.lr_ = settings.optimizer, settings.lr
        return settings

    def _train(self, net, rows, y, weight, seed):
        images = ImageSet.from_rows(rows, self.image_shape_, y, weight, device=net.device)
        net.train_on(images, seed, Processes() if self.device == "accelerate" else None)
        self.batch_size_ = resolve_batch_size(net.batch_size, len(rows))

    def _keep(self, net, advice=""):
        """Store a trained net. Until this call, `partial_fit` leaves the earlier net in place."""
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

    def _predict(self, X):
        """Return the predictions of the net as float64."""
        check_is_fitted(self)
        rows, _ = check_images(self, X, reset=False, lazy=True)
        rows, net = match_range(rows, self.pixel_range_), self._current_net()
        images = ImageSet.from_rows(rows, self.image_shape_, device=net.device, resident=False)
        return net.predict_proba(images).astype(np.float64)

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
