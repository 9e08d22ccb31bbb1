"""FERRegressor: predict numbers such as valence and arousal."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_array
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ._estimator import NetworkEstimator
from ._images import Images, check_images
from ._metrics import score_predictions
from ._targets import keep_weighted
from .training import RegressorNet

__all__ = ["FERRegressor"]


class FERRegressor(RegressorMixin, NetworkEstimator):
    """Predict numbers from faces, such as valence and arousal, with a neural network.

    It trains like :class:`FERClassifier`, with the squared error as loss. Targets are standardized in training, and
    predictions have the scale of the targets.

    Parameters
    ----------
    backbone, backbone_params, input_size, head, dropout
        The network, as in :class:`FERClassifier`. Its output layer has one value per target.
    weights : str, path or None, default=None
        Initial weights, as in :class:`FERClassifier`. Those of a classifier, such as "fer2013-small", are a good start.
        The output layer is initialized at random.
    frozen_epochs, cache_features, frozen_layers, backbone_lr_scale, layer_decay
        Which layers are trained and how fast, as in :class:`FERClassifier`.
    image_shape, augment
        As in :class:`FERClassifier`.
    validation_fraction : float, default=0
        Fraction of the training images that is held out at random and scored after every epoch. Copies of one image
        stay on the same side.
    max_epochs, batch_size, micro_batch_size, optimizer, lr, lr_schedule, weight_decay, ema_decay
        The training, as in :class:`FERClassifier`.
    early_stopping, keep_best, callbacks
        As in :class:`FERClassifier`.
    scoring : str or callable, default="loss"
        Score of the validation images that ``early_stopping`` and ``keep_best`` compare: "loss", or a scikit-learn
        scorer of regressors, by name or as ``callable(estimator, X, y)``.
    net_params : dict, default=None
        More arguments for the skorch net, as in :class:`FERClassifier`. A ``criterion`` gets outputs and standardized
        targets of shape (n, n_targets). With sample weights, it must return one loss per row or value.
    tta : {"auto", "flip", "ten_crop"}, int, callable or None, default="auto"
        Test-time augmentation, as in :class:`FERClassifier`: predictions are averaged over several views.
    device, precision, random_state, checkpoint, checkpoint_every, verbose
        As in :class:`FERClassifier`.

    Attributes
    ----------
    target_mean_, target_scale_ : float, or ndarray of shape (n_targets,)
        Mean and standard deviation of the training targets. The network learns ``(y - target_mean_) / target_scale_``.
    target_names_ : list of str or None
        Columns of ``y`` if it is a data frame whose columns are strings. They are the columns of the predictions.
    history_ : list of dict
        One dict per epoch, as in :class:`FERClassifier`, without accuracies. The losses are mean squared errors of the
        standardized targets: 1 is as good as the mean of the training targets, 0 is perfect.
    net_ : skorch.NeuralNetRegressor
        The trained skorch net. Its predictions are standardized.
    network_, best_epoch_, image_shape_, pixel_range_, augment_, n_features_in_, feature_names_in_
        As in :class:`FERClassifier`. ``network_`` returns standardized predictions.
    optimizer_, lr_, batch_size_, device_, precision_
        As in :class:`FERClassifier`.

    See Also
    --------
    FERClassifier : Predicts emotions.

    Examples
    --------
    >>> from ferkit import FERRegressor
    >>> from ferkit.datasets import make_faces
    >>> faces = make_faces(900, random_state=0)
    >>> y = faces.traits[["valence", "arousal"]]
    >>> model = FERRegressor("cnn_small", augment=None, max_epochs=8, batch_size=32, random_state=0)
    >>> model.fit(faces.data[:700], y[:700])
    FERRegressor(...)
    >>> model.score(faces.data[700:], y[700:]) > 0.5  # R², the mean of both targets
    True
    >>> model.predict(faces.data[:3]).shape
    (3, 2)
    """

    _net = RegressorNet
    _parameter_constraints = {  # noqa: RUF012
        **NetworkEstimator._parameter_constraints,
        "scoring": [StrOptions({"loss", *get_scorer_names()} - {"accuracy"}), callable],
    }

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
        X : array-like
            Images in any form that :meth:`FERClassifier.fit` accepts.
        y : array-like of shape (n,) or (n, n_targets)
            Numbers, on any scale, without NaN.
        sample_weight : array-like of shape (n,), default=None
            Weight of each image in the loss. Images of weight 0 are left out.
        X_val : array-like, default=None
            Images to score after every epoch. They replace ``validation_fraction``.
        y_val : array-like of shape (n_val,) or (n_val, n_targets), default=None
            Numbers of ``X_val``. If both are data frames, it must have the columns of ``y``.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weight of each image in the validation loss.

        Returns
        -------
        self : FERRegressor

        Raises
        ------
        ValueError, OSError, KeyboardInterrupt
            As :meth:`FERClassifier.fit`.
        """
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    def predict(self, X: Images) -> np.ndarray:
        """Return the predicted numbers.

        Parameters
        ----------
        X : array-like
            Images in any form that :meth:`FERClassifier.predict` accepts.

        Returns
        -------
        ndarray of shape (n,) or (n, n_targets), float64
            Of the shape and scale of ``y`` in `fit`.
        """
        return self._to_scale(self._predict(X))

    def score(self, X: Images, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return R², the share of the variance of the targets that is predicted.

        Parameters
        ----------
        X : array-like
            Images in any form that :meth:`FERClassifier.predict` accepts.
        y : array-like of shape (n,) or (n, n_targets)
            Numbers.
        sample_weight : array-like of shape (n,), default=None
            Weight of each image.

        Returns
        -------
        float
            1 if all predictions are exact, 0 if they are as good as the mean. With several targets, the mean of their
            values.
        """
        check_is_fitted(self)
        self._check_names(_column_names(y), "y")
        return super().score(X, y, sample_weight)

    def _to_scale(self, outputs):
        """Return outputs of the net with the shape and scale of ``y``."""
        return outputs.reshape(-1, *np.shape(self.target_mean_)) * self.target_scale_ + self.target_mean_

    def _check_training_data(self, X, y, sample_weight, *, reset):
        if y is None:
            raise ValueError("FERRegressor requires y to be passed, but the target y is None.")
        rows, _ = check_images(self, X, reset=reset, lazy=True)
        names = _column_names(y)
        y = check_array(y, dtype=np.float64, ensure_2d=False, ensure_all_finite="allow-nan", input_name="y")
        check_consistent_length(rows, y)
        if n_missing := np.isnan(y).reshape(len(y), -1).any(axis=1).sum():
            raise ValueError(
                f"Input y contains NaN in {n_missing} of {len(y)} rows: train on X[known] and y[known], "
                f"where known = ~np.isnan(y){'.any(axis=1)' if y.ndim > 1 else ''}."
            )
        if sample_weight is not None:
            rows, y, sample_weight = keep_weighted(rows, y, sample_weight)
        return rows, names, y, sample_weight

    def _learn_targets(self, names, y, sample_weight):
        self.target_names_ = names
        self.target_mean_ = np.average(y, axis=0, weights=sample_weight)
        scale = np.sqrt(np.average((y - self.target_mean_) ** 2, axis=0, weights=sample_weight))
        # rounding keeps the deviation of equal numbers above 0
        self.target_scale_ = np.where((np.ptp(y, axis=0) > 0) & (scale > 0), scale, 1.0)[()]
        return self._encode(names, y)

    def _encode(self, names, y):
        if y.shape[1:] != np.shape(self.target_mean_):
            expected = f"{self._n_outputs} target{'s' * (self._n_outputs > 1)}"
            raise ValueError(
                f"Expected {expected} in y_val as in y, got shape {y.shape}: use the same targets in both."
            )
        self._check_names(names, "y_val")
        standardized = (y - self.target_mean_) / self.target_scale_
        return standardized.reshape(len(y), -1).astype(np.float32)

    def _check_names(self, names, parameter):
        if names and self.target_names_ and names != self.target_names_:
            raise ValueError(
                f"Expected the columns {self.target_names_} of y in `fit`, got {names}: pass "
                f"{parameter}[model.target_names_]."
            )

    def _describe_targets(self):
        return {"target_mean": self.target_mean_.tolist(), "target_scale": self.target_scale_.tolist()}

    def _scorer(self, rows, y, weight):
        y = self._to_scale(y)
        if isinstance(self.scoring, str):
            try:
                score_predictions(self.scoring, rows, y, weight, y)
            except (AttributeError, ValueError) as error:
                raise ValueError(
                    f'Expected a scorer of regressors in scoring, got {self.scoring!r}: pass such as "r2", or "loss".'
                ) from error

        def score(outputs):
            return score_predictions(self.scoring, rows, y, weight, self._to_scale(outputs))

        return score

    def _resolve_settings(self, **changes):
        return super()._resolve_settings(mixup=0.0, **changes)

    @property
    def _n_outputs(self):
        return np.size(self.target_mean_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _column_names(y):
    """Return the names of the columns of a data frame, or None."""
    columns = [*getattr(y, "columns", [])]
    return columns if columns and all(isinstance(name, str) for name in columns) else None
