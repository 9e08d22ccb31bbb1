"""Sets of images that are indexed one batch at a time.

skorch and DataLoader index one sample at a time, which on 48×48 images costs more than the network (skorch #322, #433,
#730, #1100). Here a batch is one index into uint8 images that stay on the device.
"""

import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from skorch.dataset import Dataset

from .._files import ImageFiles
from .._images import to_tensor
from ._devices import resident_bytes


class FileTensor:
    """Lazy stand-in for a tensor of images: indexing a batch decodes its files."""

    nbytes = float("inf")

    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    @property
    def shape(self):
        height, width, channels = self.files.image_shape
        return len(self), channels, height, width

    def __getitem__(self, batch):
        return to_tensor(self.files[batch if isinstance(batch, slice) else batch.tolist()], self.files.image_shape)

    def to(self, device):
        return self


class ImageSet(Dataset):
    """Images, labels and weights as tensors, indexed a whole batch at a time.

    A resident set moves to the device at once. Otherwise each batch moves when it is indexed, through pinned memory.
    """

    def __init__(self, images, y=None, sample_weight=None, *, device, resident):
        self.device = torch.device(device)
        self.home = self.device if resident else torch.device("cpu")
        self.loads = isinstance(images, FileTensor)
        images, y, sample_weight = (None if part is None else part.to(self.home) for part in (images, y, sample_weight))
        X = images if sample_weight is None else {"images": images, "sample_weight": sample_weight}
        super().__init__(X, y, length=len(images))
        self.shape = tuple(images.shape)  # skorch's InputShapeSetter looks for it

    @classmethod
    def from_rows(cls, rows, shape, y=None, sample_weight=None, *, device, resident=None):
        """Build a set from rows or files of (height, width, channels). By default it is resident if it fits."""
        images = FileTensor(rows) if isinstance(rows, ImageFiles) else to_tensor(rows, shape)
        y, sample_weight = (None if part is None else torch.tensor(part) for part in (y, sample_weight))
        if resident is None:
            resident = images.nbytes <= resident_bytes(device)
        return cls(images, y, sample_weight, device=device, resident=resident)

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
        """Return the same labels and weights with features in place of the images."""
        weight = self.X["sample_weight"] if isinstance(self.X, dict) else None
        return ImageSet(features, self.y, weight, device=str(self.device), resident=True)


def resolve_batch_size(batch_size, n_images=None):
    """Return the number of images per batch; ``n_images`` is that of the training set, or None for a prediction."""
    if batch_size != "auto":
        return int(batch_size)
    return 256 if n_images is None else 2 ** round(min(max(1 + math.log2(n_images) / 2, 3), 8))


def count_steps(epochs, batch_size, n_images):
    """Return the number of batches in a training."""
    return epochs * -(-n_images // resolve_batch_size(batch_size, n_images))


class Batches:
    """Batches of an ImageSet; skorch iterates over it as over a DataLoader."""

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
            # batch norm cannot learn from a single value, so a lone row is used twice
            yield batch if len(batch) > 1 else batch.repeat(2)

    def _load_ahead(self):
        """Load each batch while the previous one is processed."""
        with ThreadPoolExecutor(1) as loader:
            ahead: deque[Future] = deque()
            for batch in self._draw():
                ahead.append(loader.submit(self.dataset.__getitem__, batch))
                if len(ahead) > 1:
                    yield ahead.popleft().result()
            yield ahead.popleft().result()
