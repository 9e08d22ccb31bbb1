"""How networks train here: skorch's loop, history and callbacks, around batches that stay on the device.

skorch indexes one sample at a time and asks the device for the loss after every batch; on 48×48 images that costs
more than the network (skorch #322, #433, #730, #1100). Here a batch is one index into resident uint8 images,
augmentation is batched tensor code, and losses leave the device once an epoch.
"""

import itertools
import operator
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from copy import deepcopy
from traceback import walk_tb

import numpy as np
import torch
import torch.nn.functional as F
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochTimer, PassthroughScoring
from skorch.dataset import Dataset, unpack_data
from skorch.helper import predefined_split
from skorch.utils import to_tensor
from torch import nn

from ._processes import Processes
from .backbones._registry import set_dropout

_DIVERGED = "Training diverged: try a smaller lr, or check the images for extreme values."
AUXILIARY_WEIGHT = 0.3  # of each auxiliary head's loss, as Szegedy et al. (CVPR 2015) trained GoogLeNet


def resolve_device(device):
    """``"auto"`` takes CUDA, then Apple's MPS, then the CPU; ``"accelerate"`` what a process was given."""
    if device == "accelerate":
        return Processes().device
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, is_there in there.items() if is_there)
    kind = device.partition(":")[0]
    if kind not in there:
        raise ValueError(f'device must be "auto", "cpu", "cuda", "cuda:<n>", "mps" or "accelerate", got {device!r}.')
    if not there[kind]:
        raise ValueError(f'device={device!r} was asked for, and PyTorch finds none: use "auto" or "cpu".')
    return device


def resolve_precision(precision, device):
    """``"auto"`` takes bfloat16 where the hardware multiplies in it, else float32."""
    if precision != "auto":
        return getattr(torch, precision)
    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


class Standardized(nn.Module):
    """A backbone behind what every image needs first: float32, the network's size and the scale it was trained at.

    Enlarging happens here, on the device and a batch at a time: FER2013 at 224×224 would fill gigabytes. Gray images
    become RGB where ``mean`` and ``std`` are of three channels. Rows of features go to ``head`` alone, the name of the
    layer that they were taken from.
    """

    head = None

    def __init__(self, build, *, num_classes, mean, std, input_size=None, dropout=None):
        super().__init__()
        self.backbone = build(num_classes=num_classes)
        if dropout is not None:
            set_dropout(self.backbone, dropout)
        self.input_size = input_size
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).view(-1, 1, 1))
        self.to(memory_format=torch.channels_last)

    def forward(self, images):
        if images.ndim == 2:
            head = self.get_head()
            return head(images[..., None, None]).flatten(1) if isinstance(head, nn.Conv2d) else head(images)
        images = (images.float() - self.mean) / self.std
        if self.input_size is not None and tuple(images.shape[2:]) != self.input_size:
            images = F.interpolate(images, self.input_size, mode="bilinear", antialias=True)
        return self.backbone(images.contiguous(memory_format=torch.channels_last))

    def get_head(self):
        return self.backbone.get_submodule(self.head)

    def compute_features(self, images):
        """(features, logits), of which the first went into the head."""
        came = []
        handle = self.get_head().register_forward_pre_hook(lambda head, inputs: came.append(inputs[0]))
        try:
            logits = self(images)
        finally:
            handle.remove()
        return came[0].flatten(1), logits

    def settle_head(self, names, images):
        """Find the head: the layer, of those with these names, that makes the logits out of features by itself."""
        for self.head in names:
            with suppress(Exception):  # it is not called, or not with what it can be called with alone
                features, logits = self.compute_features(images)
                if torch.allclose(self(features).float(), logits.float(), atol=1e-4, rtol=1e-2):
                    return
        raise ValueError(
            "frozen_epochs needs a backbone whose only class-dependent layer is its last one, a linear layer or 1×1 "
            "convolution: pass frozen_epochs=0, or another backbone."
        )


def scale_rates(network, head, backbone_lr_scale, layer_decay):
    """Factor on the learning rate of each parameter, by name; ``head`` holds the names of those above the backbone."""
    depths, depth, last = {}, -1, None
    for name, parameter in network.named_parameters():
        layer = name.rpartition(".")[0]
        if parameter.ndim > 1 and layer != last:  # a new layer, which norms and biases behind it belong to
            depth, last = depth + 1, layer
        depths[name] = max(depth, 0)
    return {
        name: layer_decay ** (depth - depths[name]) * (1.0 if name in head else backbone_lr_scale) for name in depths
    }


def resident_bytes(device):
    """How much of the device's memory the images of a fit may take; the rest is the network's."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.startswith("cuda") else float("inf")


class FileTensor:
    """Image files as far as a data set needs a tensor of them: a batch is decoded when it is indexed."""

    nbytes = float("inf")

    def __init__(self, files, view):
        self.files, self.view = files, view

    def __len__(self):
        return len(self.files)

    def __getitem__(self, batch):
        return self.view(self.files[batch if isinstance(batch, slice) else batch.tolist()])

    def to(self, device):
        return self


class Images(Dataset):
    """Tensors of images, labels and weights, indexed a whole batch at a time.

    Resident ones move to the device at once; of others each batch follows by itself, through pinned memory.
    """

    def __init__(self, images, y=None, sample_weight=None, *, device, resident):
        self.device = torch.device(device)
        self.home = self.device if resident else torch.device("cpu")
        self.loads = isinstance(images, FileTensor)
        images, y, sample_weight = (None if part is None else part.to(self.home) for part in (images, y, sample_weight))
        X = images if sample_weight is None else {"images": images, "sample_weight": sample_weight}
        super().__init__(X, y, length=len(images))

    def __getitem__(self, batch):
        def take(part):
            if part is None:
                return None
            part = part[batch]
            if self.home != self.device and self.device.type == "cuda":
                part = part.pin_memory()
            return part.to(self.device, non_blocking=True)

        if isinstance(self.X, dict):
            return {name: take(part) for name, part in self.X.items()}, take(self.y)
        return take(self.X), take(self.y)

    def with_features(self, features):
        """The same labels and weights with features in place of the images."""
        weight = self.X["sample_weight"] if isinstance(self.X, dict) else None
        return Images(features, self.y, weight, device=str(self.device), resident=True)


class Batches:
    """Batches of a data set that is indexed as a whole: what skorch takes for a DataLoader."""

    def __init__(self, dataset, batch_size, *, shuffle=False, generator=None, processes=None):
        self.dataset, self.batch_size, self.shuffle, self.generator = dataset, batch_size, shuffle, generator
        self.processes = processes

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        return self._load_ahead() if self.dataset.loads else map(self.dataset.__getitem__, self._draw())

    def _draw(self):
        n = len(self.dataset)
        if not self.shuffle:
            for start in range(0, n, self.batch_size):
                yield slice(start, start + self.batch_size)
            return
        order = torch.randperm(n, generator=self.generator, device=self.generator.device).to(self.dataset.home)
        for batch in order.tensor_split(len(self)):  # of equal size, so that no small last batch gets a full step
            batch = self.processes.share(batch) if self.processes else batch
            # batch norm can't learn from a single value: a lone row comes twice
            yield batch if len(batch) > 1 else batch.repeat(2)

    def _load_ahead(self):
        """Load each batch while the one before it is worked on."""
        with ThreadPoolExecutor(1) as loader:
            ahead = deque()
            for batch in self._draw():
                ahead.append(loader.submit(self.dataset.__getitem__, batch))
                if len(ahead) > 1:
                    yield ahead.popleft().result()
            yield ahead.popleft().result()


class FERNet(NeuralNetClassifier):
    """skorch's net with augmentation, mixup, soft losses, weight averaging and test-time views.

    ``module_`` holds the weights that predict (the averaged ones) whenever no training epoch is running, so that
    callbacks which save or restore weights see the right ones.
    """

    def __init__(
        self,
        module,
        *,
        augment=None,
        mixup=0,
        ema_decay=None,
        tta=None,
        precision="auto",
        rate_scales=None,
        frozen_epochs=0,
        generator=None,
        processes=None,
        **kwargs,
    ):
        super().__init__(module, **kwargs)
        self.augment = augment
        self.mixup = mixup
        self.ema_decay = ema_decay
        self.tta = tta
        self.precision = precision
        self.rate_scales = rate_scales
        self.frozen_epochs = frozen_epochs
        self.generator = generator
        self.processes = processes

    @property
    def _default_callbacks(self):
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", PassthroughScoring("train_loss", on_train=True)),
            ("train_accuracy", PassthroughScoring("train_accuracy", on_train=True, lower_is_better=False)),
            ("valid_loss", PassthroughScoring("valid_loss")),
            ("valid_accuracy", PassthroughScoring("valid_accuracy", lower_is_better=False)),
        ]

    def check_data(self, X, y=None):
        """Nothing left to check: the estimator did."""

    def get_params_for_optimizer(self, prefix, named_parameters):
        named_parameters = list(named_parameters)
        _, kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        groups = {}
        for name, parameter in named_parameters:
            scale = (self.rate_scales or {}).get(name.removeprefix("backbone."), 1.0)
            groups.setdefault((scale, parameter.ndim > 1), []).append(parameter)
        lr = kwargs.pop("lr", self.lr)
        return (
            [
                # weight decay is for weights: on biases and batch norm it only costs accuracy (He et al., CVPR 2019)
                {"params": parameters, "lr": lr * scale} | ({} if is_weight else {"weight_decay": 0.0})
                for (scale, is_weight), parameters in sorted(groups.items(), key=lambda group: group[0], reverse=True)
            ],
        ), kwargs

    def autocast(self):
        dtype = resolve_precision(self.precision, self.device)
        if dtype == torch.float32:
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype)

    def get_iterator(self, dataset, training=False):
        processes = self.sharing_ if training else None
        return Batches(dataset, self.batch_size, shuffle=training, generator=self.generator, processes=processes)

    # training

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        self.interrupted_ = False
        self.rng_ = np.random.default_rng(self.generator.initial_seed())
        # the order of images is the same in all processes, what augmentation draws is not
        self.augmenting_ = self.processes.reseed(self.generator) if self.processes else self.generator
        epochs = self.max_epochs if epochs is None else epochs
        frozen = min(max(self.frozen_epochs - len(self.history), 0), epochs)
        try:
            if frozen:
                with self._on_features(X) as features:
                    self._train_phase(features, frozen, None, Standardized.get_head)  # too little work to share
            if frozen < epochs:
                self._train_phase(X, epochs - frozen, self.processes)
        except KeyboardInterrupt as interrupt:
            # skorch swallows it, be it Ctrl-C or its own EarlyStopping; Ctrl-C the estimator raises again
            *_, (frame, _) = walk_tb(interrupt.__traceback__)
            self.interrupted_ = frame.f_code is not EarlyStopping.on_epoch_end.__code__
            raise
        return self

    def _train_phase(self, X, epochs, processes, part=lambda module: module):
        self.averaging_ = _Averaging(self.module_, self.ema_decay, part) if self.ema_decay else None
        self.sharing_ = processes
        self.trained_ = processes.wrap(self.module_).__call__ if processes else self.infer
        try:
            super().fit_loop(X, epochs=epochs)
        finally:
            if self.averaging_:
                self.module_ = self.averaging_.finish()

    @contextmanager
    def _on_features(self, X):
        """The training images as what the head gets of them; the validation images too, while this lasts."""
        split = self.train_split
        _, valid = self.get_split_datasets(X)
        if valid is not None:
            self.train_split = predefined_split(valid.with_features(self._compute_features(valid)))
        try:
            yield X.with_features(self._compute_features(X))
        finally:
            self.train_split = split

    def _compute_features(self, images):
        self._set_training(False)
        features = []
        for batch, _ in Batches(images, self.batch_size):
            with torch.no_grad(), self.autocast():
                features.append(self.module_.compute_features(batch["images"] if isinstance(batch, dict) else batch)[0])
        return torch.cat(features).float()

    def on_epoch_begin(self, net, **kwargs):
        super().on_epoch_begin(net, **kwargs)
        if self.averaging_:
            self.module_ = self.averaging_.trained  # before callbacks that freeze layers look for them

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        if training:
            self.history.record("lr", max(group["lr"] for group in self.optimizer_.param_groups))
        scores = []
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            scores.append(torch.stack([step["loss"].detach(), step["accuracy"]]))
            self.history.record_batch(f"{prefix}_batch_size", len(step["y_pred"]))
            self.notify("on_batch_end", batch=batch, training=training, **step)
        if training and self.averaging_:
            self.module_ = self.averaging_.average
        scores = torch.stack(scores)
        scores = (self.processes.average(scores) if self.processes else scores).tolist()
        if not np.isfinite(scores).all():
            raise ValueError(_DIVERGED)
        for row, (loss, accuracy) in zip(self.history[-1]["batches"][-len(scores) :], scores, strict=True):
            row[f"{prefix}_loss"], row[f"{prefix}_accuracy"] = loss, accuracy
        self.history.record(f"{prefix}_batch_count", len(scores))

    def check_weights(self):
        """Raise unless the network can predict: the last step's damage shows in no loss."""
        if not all(parameter.isfinite().all() for parameter in self.module_.parameters()):
            raise ValueError(_DIVERGED)

    def train_step(self, batch, **fit_params):
        step = super().train_step(batch, **fit_params)
        if self.averaging_:
            self.averaging_.update()
        return step

    def train_step_single(self, batch, **fit_params):
        self._set_training(True)
        images, y = unpack_data(batch)
        weight = None
        if isinstance(images, dict):
            images, weight = images["images"], images["sample_weight"]
        images = images.float()
        if self.augment is not None and images.ndim == 4:
            images = self.augment(images, generator=self.augmenting_)
        share = 1.0
        if self.mixup:
            # the batch is in random order, so its reverse is a random partner for each image
            share = self.rng_.beta(self.mixup, self.mixup)
            images = torch.lerp(images.flip(0), images, share)
        with self.autocast():
            outputs = self.trained_(images)
        outputs = [logits.float() for logits in (outputs if isinstance(outputs, tuple) else (outputs,))]
        loss = sum(
            (AUXILIARY_WEIGHT if head else 1.0) * self._loss(logits, y, weight, share)
            for head, logits in enumerate(outputs)
        )
        loss.backward()
        logits = outputs[0].detach()
        return {"loss": loss, "y_pred": logits, "accuracy": _accuracy(logits, y if share >= 0.5 else y.flip(0))}

    def _loss(self, logits, y, weight, share):
        def mean_loss(y, weight):
            losses = self.criterion_(logits, y)
            if weight is None:
                return losses.mean()
            if losses.shape != weight.shape:
                raise ValueError(
                    f"With weights, criterion must return a loss for each of the {len(y)} rows, got shape "
                    f'{tuple(losses.shape)}: pass net_params={{"criterion__reduction": "none", …}}.'
                )
            return (losses * weight).mean()

        loss = mean_loss(y, weight)
        if share == 1.0:
            return loss
        return share * loss + (1 - share) * mean_loss(y.flip(0), None if weight is None else weight.flip(0))

    # validation and prediction

    def validation_step(self, batch, **fit_params):
        _, y = unpack_data(batch)
        probabilities = self.evaluation_step(batch)
        logs = probabilities.clamp_min(torch.finfo(torch.float32).tiny).log()
        loss = F.nll_loss(logs, y) if y.ndim == 1 else -(y * logs).sum(1).mean()
        return {"loss": loss, "y_pred": probabilities, "accuracy": _accuracy(probabilities, y)}

    def evaluation_step(self, batch, training=False):
        """Probabilities, averaged over the test-time views."""
        images, _ = unpack_data(batch)
        images = to_tensor(images, device=self.device)
        views = [images, images.flip(3)] if self.tta == "flip" and images.ndim == 4 else [images]
        if len(views) * len(images) <= self.batch_size:
            views = [torch.cat(views)]  # a small batch costs what reading the weights costs: read them once
        if self.module_.training != training:
            self._set_training(training)
        with torch.inference_mode(), self.autocast():
            probabilities = torch.cat([_first(self.infer(view)).float().softmax(1) for view in views])
        return probabilities.unflatten(0, (-1, len(images))).mean(0)

    def _get_predict_nonlinearity(self):
        return lambda probabilities: probabilities


def _first(outputs):
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _accuracy(scores, y):
    return (scores.argmax(1) == (y if y.ndim == 1 else y.argmax(1))).float().mean()


class _Averaging:
    """The network being trained and the exponential moving average of its weights and buffers.

    The average's memory grows from nothing up to ``decay``: short trainings would else keep their random start.
    ``part`` returns the part of a network that is trained.
    """

    def __init__(self, trained, decay, part):
        self.trained, self.average, self.decay, self.steps = trained, deepcopy(trained), decay, 0
        pairs = list(zip(_tensors(part(self.average)), _tensors(part(trained)), strict=True))
        has_mean = [tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor, _ in pairs]
        self.blended = list(zip(*itertools.compress(pairs, has_mean), strict=True))
        # batch norm's counts, and masks of infinities
        self.copied = list(zip(*itertools.compress(pairs, map(operator.not_, has_mean)), strict=True))

    @torch.no_grad()
    def update(self):
        self.steps += 1
        torch._foreach_lerp_(*self.blended, 1 - min(self.decay, self.steps / (9 + self.steps)))
        if self.copied:
            torch._foreach_copy_(*self.copied)

    def finish(self):
        """The average, in the network that the optimizer knows."""
        self.trained.load_state_dict(self.average.state_dict())
        return self.trained


def _tensors(module):
    return [*module.parameters(), *module.buffers()]
