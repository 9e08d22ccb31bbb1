"""The skorch net: loss, training step, evaluation, and the life cycle of one training.

skorch keeps the loop, the history and the callbacks. Its default loop asks the device for the loss after every batch,
which on 48×48 images costs more than the network; here losses leave the device once per epoch.
"""

from contextlib import nullcontext, suppress
from copy import deepcopy
from functools import cached_property
from itertools import pairwise
from traceback import walk_tb

import numpy as np
import torch
import torch.nn.functional as F
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import EarlyStopping, PassthroughScoring
from skorch.dataset import unpack_data
from skorch.utils import to_tensor
from torch.utils.data import Dataset

from .._images import read_images
from ._averaging import Averaging
from ._data import Batches, FileTensor, ImageSet, resolve_batch_size
from ._devices import depthwise_in_float32, find_device, resolve_precision, uncompiled
from ._module import FERModule, load_state
from ._progress import TrainingTimer
from ._transfer import cached_features
from ._views import join_views, make_views

DIVERGED = "Training diverged: try a smaller lr, or check the images for extreme values."
AUXILIARY_WEIGHT = 0.3  # of each auxiliary head's loss, as Szegedy et al. (CVPR 2015) trained GoogLeNet
# callbacks that belong to one complete fit
CALLBACK_NAMES = ("valid_score", "schedule", "last_epoch", "best_epoch", "checkpoint", "progress")


def _whole(module):
    return module


class Diverged(ValueError):
    """A loss or a weight is not finite."""


class FERNet(NeuralNet):
    """skorch's net with augmentation, mixup, soft losses, weight averaging and test-time views.

    `ClassifierNet` and `RegressorNet` add what the outputs of the network mean.

    Whenever no training epoch is running, ``module_`` holds the averaged weights, which are the ones that predict.
    Callbacks that save or restore weights therefore see the right ones. Outside of training the module is in evaluation
    mode, so that threads which predict at the same time do not change it.
    """

    def __init__(
        self,
        module,
        *,
        augment=None,
        mixup=0,
        ema_decay=None,
        tta=None,
        pixel_range=None,
        precision="auto",
        rate_scales=None,
        frozen_epochs=0,
        cache_features=True,
        micro_batch_size=None,
        generator=None,
        processes=None,
        image_shape=None,
        **kwargs,
    ):
        super().__init__(module, **kwargs)
        self.augment = augment
        self.mixup = mixup
        self.ema_decay = ema_decay
        self.tta = tta
        self.pixel_range = pixel_range
        self.precision = precision
        self.rate_scales = rate_scales
        self.frozen_epochs = frozen_epochs
        self.cache_features = cache_features
        self.micro_batch_size = micro_batch_size
        self.generator = generator
        self.processes = processes
        self.image_shape = image_shape

    def __setattr__(self, name, attr):
        if name == "tta":  # may be a transform that is a module, which skorch would take for a part of the network
            object.__setattr__(self, name, attr)
        else:
            super().__setattr__(name, attr)

    @property
    def _default_callbacks(self):
        scores = [
            PassthroughScoring(f"{prefix}_{name}", lower_is_better=name == "loss", on_train=prefix == "train")
            for prefix in ("train", "valid")
            for name in self.score_names
        ]
        return [("epoch_timer", TrainingTimer()), *((score.name, score) for score in scores)]

    def check_data(self, X, y=None):
        """Accept the data, which the estimator has checked."""

    def get_params_for_optimizer(self, prefix, named_parameters):
        named_parameters = list(named_parameters)
        _, kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        groups = {}
        for name, parameter in named_parameters:
            scale = (self.rate_scales or {}).get(name.removeprefix("_orig_mod.").removeprefix("backbone."), 1.0)
            groups.setdefault((scale, parameter.ndim > 1), []).append(parameter)
        lr = kwargs.pop("lr", self.lr)
        return (
            [
                # weight decay is for weights: on biases and batch norm it only costs accuracy (He et al., CVPR 2019)
                {"params": parameters, "lr": lr * scale} | ({} if is_weight else {"weight_decay": 0.0})
                for (scale, is_weight), parameters in sorted(groups.items(), key=lambda group: group[0], reverse=True)
            ],
        ), kwargs

    @cached_property
    def optimizer_(self):
        """The optimizer, built when training needs it: PyTorch's import a compiler, which takes a second."""
        args, kwargs = self.get_params_for_optimizer("optimizer", self.get_all_learnable_params())
        optimizer = self.optimizer(*args, **kwargs)
        if self._saved_optimizer is not None:
            _load_optimizer(optimizer, _map_nested(np.ndarray, torch.tensor, self._saved_optimizer))
            self._saved_optimizer = None
        return optimizer

    def initialize_optimizer(self, triggered_directly=None):
        """Drop the optimizer and its state."""
        vars(self).pop("optimizer_", None)
        self._saved_optimizer = None
        if "optimizer" not in self._optimizers:
            self._register_attribute("optimizer_", None)
        return self

    def autocast(self):
        dtype = resolve_precision(self.precision, self.device)
        if dtype == torch.float32:
            return nullcontext()
        # Each weight is used once per pass, so a cache of cast weights saves nothing. If Ctrl-C has left an autocast
        # open, the cache is never cleared, and later trainings would use old weights.
        return torch.autocast(torch.device(self.device).type, dtype, cache_enabled=False)

    def get_dataset(self, X, y=None):
        """Wrap images, which `predict` and `score` accept in the forms and on the scale that `fit` accepts.

        Tensors are taken as they are: skorch's callbacks pass the ones of an ImageSet.
        """
        if isinstance(X, Dataset):
            return X
        if isinstance(X, dict):
            X = X["images"]  # without their weights
        if isinstance(X, (torch.Tensor, FileTensor)):
            return ImageSet(X, y, device=self.device, resident=False)
        rows, shape = read_images(X, self.image_shape, lazy=True)
        return ImageSet.from_rows(rows, shape, y, device=self.device, resident=False)

    def get_iterator(self, dataset, training=False):
        processes = self.sharing_processes_ if training else None
        size = resolve_batch_size(self.batch_size, len(dataset) if training else None)
        return Batches(dataset, size, shuffle=training, generator=self.generator, processes=processes)

    # training

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        """Train like skorch's ``partial_fit``, but note in ``stopped_by_`` the type of the error that ended it.

        The type is KeyboardInterrupt or Diverged. The net is then as it was after the last complete epoch; if there was
        none, the error is raised. skorch swallows KeyboardInterrupt, because its own EarlyStopping raises it too.
        """
        self.stopped_by_, self.average_, self.best_epoch_, self.last_epoch_ = None, None, None, None
        checkpoint = dict(self.callbacks_).get("checkpoint")
        if checkpoint and checkpoint.is_finished:
            checkpoint.count_epochs(self)
            checkpoint.take_result(self)
            return self
        self.notify("on_train_begin", X=X, y=y)
        try:
            self.fit_loop(X, y, **fit_params)
        except (KeyboardInterrupt, Diverged) as error:
            if not _is_early_stopping(error):
                if self.last_epoch_ is None:
                    raise
                self.stopped_by_ = type(error)
            if self.average_:
                self.module_ = self.average_.finish()  # again, because Ctrl-C may have interrupted it
            if self.stopped_by_:
                n_epochs, part, weights = self.last_epoch_
                part(self.module_).load_state_dict(weights)
                del self.history[n_epochs:]
                if checkpoint:
                    checkpoint.flush()
        self.notify("on_train_end", X=X, y=y)
        self.check_weights()  # again, because early stopping may have ended the last epoch before its check
        if checkpoint and not self.stopped_by_:
            checkpoint.finish(self)
        return self

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        self.mixup_rng_ = np.random.default_rng(self.generator.initial_seed())
        # all processes draw the same order of images, but different augmentation
        self.augment_generator_ = self.processes.reseed(self.generator) if self.processes else self.generator
        is_float16 = resolve_precision(self.precision, self.device) == torch.float16
        # PyTorch's own first scale overflows at once, and a schedule that steps without the optimizer warns
        self.scaler_ = torch.amp.GradScaler(torch.device(self.device).type, init_scale=2**10) if is_float16 else None
        epochs = self.max_epochs if epochs is None else epochs
        if checkpoint := dict(self.callbacks_).get("checkpoint"):
            epochs -= checkpoint.count_epochs(self)
        frozen = min(max(self.frozen_epochs - len(self.history), 0), epochs)
        if frozen and not self.cache_features:
            with self.module_.only_head():
                self._train_phase(X, frozen, self.processes, FERModule.get_head)
        elif frozen:
            with cached_features(self, X) as features:
                self._train_phase(features, frozen, None, FERModule.get_head)  # too little work to share
        if frozen < epochs or not epochs:
            self._train_phase(X, epochs - frozen, self.processes)
        return self

    def _train_phase(self, X, epochs, processes, part=_whole):
        self.average_ = Averaging(self.module_, self.ema_decay, part) if self.ema_decay else None
        self.trained_part_ = part
        if checkpoint := dict(self.callbacks_).get("checkpoint"):
            checkpoint.begin(self)
        if self.history:
            self.keep_epoch(whole=True)
        self.sharing_processes_ = processes
        self.train_forward_ = processes.wrap(self.module_).__call__ if processes else self.infer
        try:
            super().fit_loop(X, epochs=epochs)
        finally:
            if self.average_:
                self.module_ = self.average_.finish()

    def keep_epoch(self, whole=False):
        """Copy the weights of the part that is trained, to which the net returns if the next epoch is not completed."""
        part = _whole if whole else self.trained_part_
        module = part(self.average_.average if self.average_ else self.module_)
        self.last_epoch_ = len(self.history), part, deepcopy(module.state_dict())

    def train_on(self, images, seed, processes=None):
        """Train on an ImageSet, and drop what only the training needs. All processes end with the same weights."""
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.processes = processes
        try:
            self.partial_fit(images)
            if processes:
                processes.send([*self.module_.parameters(), *self.module_.buffers()])
        finally:
            if progress := dict(self.callbacks_).get("progress"):
                progress.stop()
            self.release()

    def release(self):
        """Drop the objects that only a training needs, and switch to evaluation mode."""
        for name in (
            "generator", "mixup_rng_", "augment_generator_", "average_", "scaler_", "train_forward_",
            "sharing_processes_", "processes", "train_split", "trained_part_", "last_epoch_",
        ):  # fmt: skip
            setattr(self, name, None)
        self._set_training(False)
        return self

    def end_schedule(self):
        """Drop the callbacks of a complete fit, and the momenta, which would double the size of a saved model."""
        self.callbacks = [
            entry for entry in self.callbacks if not (type(entry) is tuple and entry[0] in CALLBACK_NAMES)
        ]
        self.callbacks_ = [entry for entry in self.callbacks_ if entry[0] not in CALLBACK_NAMES]
        return self.initialize_optimizer()

    def get_state(self):
        """Copy everything that training changes, for `set_state`."""
        return deepcopy((self.module_.state_dict(), self.optimizer_.state_dict())), len(self.history)

    def set_state(self, state):
        """Restore the state and drop the later epochs from the history."""
        (weights, optimizer), n_epochs = state
        self.module_.load_state_dict(weights)
        self.optimizer_.load_state_dict(optimizer)
        del self.history[n_epochs:]

    def load_optimizer(self, state):
        """Load the state of the optimizer from a file."""
        _load_optimizer(self.optimizer_, state)

    def move_to(self, device):
        """Move the network and its optimizer."""
        self.device = device
        self.module_.to(device)
        self.criterion_.to(device)
        if "optimizer_" in vars(self):
            self.optimizer_.load_state_dict(self.optimizer_.state_dict())  # moves its tensors to the device

    def __getstate__(self):
        """Return the state with the weights as arrays, from which loading builds the module, loss and optimizer again.

        skorch would nest a plain pickle of these three. Such a pickle cannot contain a class that is defined in a
        notebook, and skops cannot see what it runs.
        """
        state = self.__dict__.copy()
        if "module_" in state:
            module = uncompiled(self.module_)
            state["module_"] = {
                "weights": _map_nested(torch.Tensor, _to_array, module.state_dict()),
                "head": module.head,
                "frozen": module.frozen_names,
            }
            state["criterion_"] = _map_nested(torch.Tensor, _to_array, self.criterion_.state_dict())
            if "optimizer_" in state:
                state["optimizer_"] = _map_nested(torch.Tensor, _to_array, self.optimizer_.state_dict())
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        if "module_" not in state:
            return
        self.device = self._check_device(self.device, find_device(self.device))  # warns if it is another
        with torch.random.fork_rng([]):  # the network's random start must not change what follows
            self.initialize_module().initialize_criterion()
        module = self.module_.to(self.device)
        load_state(module, _map_nested(np.ndarray, torch.tensor, state["module_"]["weights"]))
        module.head = state["module_"]["head"]
        for name in state["module_"]["frozen"]:
            module.get_parameter(name).requires_grad_(False)
        self.criterion_.to(self.device).load_state_dict(_map_nested(np.ndarray, torch.tensor, state["criterion_"]))
        self._saved_optimizer = vars(self).pop("optimizer_", None) or self._saved_optimizer
        self.module_ = self.torch_compile(module, name="module")
        self._set_training(False)

    def on_epoch_begin(self, net, **kwargs):
        super().on_epoch_begin(net, **kwargs)
        if self.average_:
            self.module_ = self.average_.trained  # before callbacks that freeze layers look for them

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        if training:
            self.history.record("lr", max(group["lr"] for group in self.optimizer_.param_groups))
        scores = []
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            scores.append(torch.stack([step[name].detach() for name in self.score_names]))
            self.history.record_batch(f"{prefix}_batch_size", len(step["y_pred"]))
            self.notify("on_batch_end", batch=batch, training=training, **step)
        if training and self.average_:
            self.module_ = self.average_.average
        scores = torch.stack(scores)
        scores = (self.processes.average(scores) if self.processes else scores).tolist()
        if not np.isfinite(scores).all():
            raise Diverged(DIVERGED)
        for row, values in zip(self.history[-1]["batches"][-len(scores) :], scores, strict=True):
            row.update({f"{prefix}_{name}": value for name, value in zip(self.score_names, values, strict=True)})
        self.history.record(f"{prefix}_batch_count", len(scores))

    def check_weights(self):
        """Raise unless all weights are finite. The last step has no later loss that would show the damage."""
        if not all(parameter.isfinite().all() for parameter in self.module_.parameters()):
            raise Diverged(DIVERGED)

    def train_step(self, batch, **fit_params):
        step = None
        with suppress(torch.OutOfMemoryError):
            step = self._scaled_step(batch, **fit_params) if self.scaler_ else super().train_step(batch, **fit_params)
        if step is None:  # after the error is dropped, because it holds the tensors that filled the memory
            raise torch.OutOfMemoryError(self._find_batch_size(batch))
        if self.average_:
            self.average_.update()
        return step

    def _find_batch_size(self, batch):
        """Say which batch size fits into the memory of the device, by trying smaller and smaller parts of a batch."""
        n, fits = len(_unpack(batch)[1]), False
        size = min(n, self.micro_batch_size or n)
        while size > 2 and not fits:  # a lone image is used twice
            size = max(size // 2, 2)
            self.optimizer_.zero_grad()
            with suppress(torch.OutOfMemoryError):
                self.train_step_single(_map_nested(torch.Tensor, lambda part, end=size: part[:end], batch))
                fits = True
        advice = (
            f"pass batch_size={size}, or micro_batch_size={size} to keep steps of the same number of images"
            if fits
            else "pass a smaller input_size or another backbone"
        )
        return f"Expected memory for a batch of {n} images on {self.device!r}, got too little: {advice}."

    def _scaled_step(self, batch, **fit_params):
        """Train like skorch's ``train_step``, but leave out steps whose gradients overflow float16."""
        self.optimizer_.zero_grad()
        step = self.train_step_single(batch, **fit_params)
        self.scaler_.unscale_(self.optimizer_)  # before callbacks that clip gradients
        self.notify("on_grad_computed", named_parameters=list(self.get_all_learnable_params()), batch=batch)
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()
        return step

    def train_step_single(self, batch, **fit_params):
        self._set_training(True)
        images, y, weight = _unpack(batch)
        images = images.float()
        if self.augment is not None and images.ndim == 4:
            images = self.augment(images, generator=self.augment_generator_)
        images, share = self.mix(images) if self.mixup else (images, 1.0)
        targets = [(share, y, weight)]
        if share != 1.0:
            targets.append((1 - share, y.flip(0), None if weight is None else weight.flip(0)))
        # a compiled network would be compiled again
        depthwise = nullcontext() if self.compile or self.device != "cpu" else depthwise_in_float32(self.module_)
        with depthwise:
            parts = [self._add_gradients(images, targets, part) for part in self._split_batch(len(images))]
        losses, logits = zip(*parts, strict=True)
        logits = torch.cat(logits)
        return {"loss": sum(losses), "y_pred": logits, **self.score_batch(logits, y if share >= 0.5 else y.flip(0))}

    def _add_gradients(self, images, targets, part):
        """Add the gradients of a part of the batch to those of the weights, and return its loss and logits."""
        with self.autocast():
            outputs = self.train_forward_(images[part])
        outputs = [scores.float() for scores in (outputs if isinstance(outputs, tuple) else (outputs,))]
        loss = sum(
            (AUXILIARY_WEIGHT if head else 1.0) * self._loss(scores, targets, part)
            for head, scores in enumerate(outputs)
        ) * (len(outputs[0]) / len(images))
        (self.scaler_.scale(loss) if self.scaler_ else loss).backward()
        return loss.detach(), outputs[0].detach()

    def mix(self, images):
        """Mix each image with one other, and return the images and the share of the first one."""
        share = self.mixup_rng_.beta(self.mixup, self.mixup)
        # the batch is in random order, so its reverse is a random partner for each image
        return torch.lerp(images.flip(0), images, share), share

    def _split_batch(self, n_images):
        """Return slices of equal size of at most ``micro_batch_size`` images, but of at least two for batch norm."""
        n_parts = min(-(-n_images // (self.micro_batch_size or n_images)), n_images // 2)
        return [slice(*edges) for edges in pairwise(n_images * part // n_parts for part in range(n_parts + 1))]

    def _loss(self, logits, targets, part):
        """Return the mean loss of a part of the batch; ``targets`` are shares, labels and weights of the batch."""

        def mean_loss(y, weight):
            losses = self.criterion_(logits, y)
            if losses.ndim == 2:  # of several targets
                losses = losses.mean(1)
            if weight is None:
                return losses.mean()
            if losses.shape != weight.shape:
                raise ValueError(
                    f"With weights, criterion must return a loss for each of the {len(y)} rows, got shape "
                    f'{tuple(losses.shape)}: pass net_params={{"criterion__reduction": "none", …}}.'
                )
            return (losses * weight).mean()

        return sum(share * mean_loss(y[part], None if weight is None else weight[part]) for share, y, weight in targets)

    # validation and prediction

    def evaluation_step(self, batch, training=False):
        """Return predictions, averaged over the test-time views."""
        images, _, _ = _unpack(batch)
        images = to_tensor(images, device=self.device)
        is_features = images.ndim == 2
        views = iter([images]) if is_features else make_views(images, self.tta, self.augment, self.pixel_range)
        if self.module_.training != training:
            self._set_training(training)
        parts = []
        with torch.inference_mode():
            for batch in join_views(views, resolve_batch_size(self.batch_size)):
                parts += self._infer_in_parts(batch)
        predictions = torch.cat(parts)
        return predictions.unflatten(0, (-1, len(images))).mean(0)

    def _infer_in_parts(self, images):
        """Return a list of predictions: of the whole batch, or of as few images at a time as the memory allows."""
        try:
            with self.autocast():  # not while views are made
                return [self.to_predictions(_first(self.infer(images)).float())]
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
        # after the except clause, because the error holds the tensors that filled the memory
        return [part for half in images.tensor_split(2) for part in self._infer_in_parts(half)]

    def _get_predict_nonlinearity(self):
        return lambda predictions: predictions


class ClassifierNet(FERNet, NeuralNetClassifier):
    """A net whose outputs are logits and whose predictions are probabilities."""

    default_criterion = torch.nn.CrossEntropyLoss
    score_names = ("loss", "accuracy")

    def to_predictions(self, outputs):
        return outputs.softmax(1)

    def score_batch(self, outputs, y):
        """Return the scores of a training batch besides its loss."""
        return {"accuracy": _hits(outputs, y).mean()}

    def validation_step(self, batch, **fit_params):
        _, y, weight = _unpack(batch)
        probabilities = self.evaluation_step(batch)
        logs = probabilities.clamp_min(torch.finfo(torch.float32).tiny).log()
        losses = F.nll_loss(logs, y, reduction="none") if y.ndim == 1 else -(y * logs).sum(1)
        scores = torch.stack([losses, _hits(probabilities, y)])
        loss, accuracy = (scores if weight is None else scores * weight).mean(1)  # the mean of all weights is 1
        return {"loss": loss, "y_pred": probabilities, "accuracy": accuracy}


class RegressorNet(FERNet, NeuralNetRegressor):
    """A net whose outputs are its predictions."""

    default_criterion = torch.nn.MSELoss
    score_names = ("loss",)

    def to_predictions(self, outputs):
        return outputs

    def score_batch(self, outputs, y):
        """Return the scores of a training batch besides its loss."""
        return {}

    def validation_step(self, batch, **fit_params):
        _, y, weight = _unpack(batch)
        predictions = self.evaluation_step(batch)
        return {"loss": self._loss(predictions, [(1.0, y, weight)], slice(None)), "y_pred": predictions}


def _is_early_stopping(interrupt):
    """Return whether skorch's EarlyStopping raised this KeyboardInterrupt, rather than Ctrl-C."""
    if not isinstance(interrupt, KeyboardInterrupt):
        return False
    *_, (frame, _) = walk_tb(interrupt.__traceback__)
    if frame.f_code is not EarlyStopping.on_epoch_end.__code__:
        return False
    stopping = frame.f_locals["self"]
    return stopping.misses_ == stopping.patience


def _load_optimizer(optimizer, state):
    """Load the state of an optimizer, with tensors in the order in memory that files do not keep."""
    optimizer.load_state_dict(state)
    for parameter, averages in optimizer.state.items():
        for name, value in averages.items():
            if getattr(value, "shape", None) == parameter.shape:  # fused optimizers expect the parameter's order
                averages[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _to_array(tensor):
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()  # NumPy has no bfloat16


def _map_nested(kind, convert, value):
    """Convert all values of a type in nested dicts, lists and tuples."""
    if isinstance(value, kind):
        return convert(value)
    if isinstance(value, dict):
        return {key: _map_nested(kind, convert, part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_map_nested(kind, convert, part) for part in value)
    return value


def _first(outputs):
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _unpack(batch):
    """(images, labels, weights or None) of a batch of an ImageSet."""
    images, y = unpack_data(batch)
    return (images["images"], y, images["sample_weight"]) if isinstance(images, dict) else (images, y, None)


def _hits(scores, y):
    """1.0 for each row whose most probable class is right, otherwise 0.0."""
    return (scores.argmax(1) == (y if y.ndim == 1 else y.argmax(1))).float()
