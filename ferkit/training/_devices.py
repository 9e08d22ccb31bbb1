"""Functions for the device, precision, memory budget and random stream of a training, and for its processes."""

from contextlib import contextmanager
from functools import partial
from threading import RLock

import torch
from torch import nn

_RANDOM_STREAM = RLock()  # PyTorch has one for the whole process


def resolve_device(device):
    """Return the name of the device: "auto" is the GPU or another accelerator if available, otherwise the CPU."""
    if device == "accelerate":
        return Processes().device
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if device == "auto":
        return accelerator.type if accelerator else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(
            f'device must be "auto", "cpu", "cuda", "cuda:<n>", "mps" or "accelerate", got {device!r}.'
        ) from error
    if kind not in ("cpu", accelerator and accelerator.type):
        raise ValueError(f'device={device!r} is not available to PyTorch here: use "auto" or "cpu".')
    return device


def find_device(name):
    """Return the device of a net that is loaded: the given one if this machine has it, otherwise the CPU."""
    device, own = torch.device(name), torch.accelerator.current_accelerator(check_available=True)
    is_here = own is not None and device.type == own.type and (device.index or 0) < torch.accelerator.device_count()
    return name if is_here else "cpu"


def uncompiled(module):
    """Return the module that torch.compile has wrapped, or the module itself."""
    return getattr(module, "_orig_mod", module)


def resolve_precision(precision, device):
    """Return the torch dtype: "auto" is bfloat16 if the hardware multiplies in it, otherwise float16 or float32.

    float16 is for NVIDIA GPUs with tensor cores but without bfloat16, such as the T4.
    """
    if precision != "auto":
        return getattr(torch, precision)
    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        if not native and torch.version.hip is None and torch.cuda.get_device_capability(device) >= (7, 0):
            return torch.float16
    elif device == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


@contextmanager
def depthwise_in_float32(network):
    """Let depthwise convolutions compute in float32 under autocast, in forward passes with gradients on a CPU.

    Gradients of such convolutions in bfloat16, as in MobileNet and EfficientNet, take oneDNN many times as long. If
    ``benchmarks/depthwise.py`` shows no gain any more, delete this. The context includes the backward pass, which
    repeats the forward pass of networks with gradient checkpointing.
    """
    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
        and 1 < layer.groups == layer.in_channels
        and layer.weight.dtype == torch.float32
        and "forward" not in vars(layer)
    ]
    for layer in layers:
        layer.forward = partial(_forward_in_float32, layer.forward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward_in_float32(forward, images, *others):
    if not torch.is_autocast_enabled("cpu") or not torch.is_grad_enabled():
        return forward(images, *others)
    with torch.autocast("cpu", enabled=False):
        output = forward(images.float(), *others)
    return output.to(torch.get_autocast_dtype("cpu"))


def resident_bytes(device):
    """Return how many bytes of the device's memory the images of a fit may use. The rest is for the network."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.startswith("cuda") else float("inf")


def get_stream(device):
    """Return the state of the random stream of an accelerator."""
    return torch.get_device_module(device).get_rng_state(*_numbered(device))


def set_stream(device, state):
    """Restore the state that `get_stream` has returned."""
    torch.get_device_module(device).set_rng_state(state, *_numbered(device))


def _numbered(device):
    return () if device.type == "mps" else (device,)  # PyTorch has only one MPS device


@contextmanager
def seeded(seed, device):
    """Seed PyTorch's random streams of the CPU and of this device, and restore them. Other threads wait meanwhile."""
    device = torch.device(device)
    gradients, autocast = torch.is_grad_enabled(), torch.is_autocast_enabled(device.type)
    is_accelerator = device.type != "cpu"
    with _RANDOM_STREAM, torch.random.fork_rng([]):
        stream = get_stream(device) if is_accelerator else None
        try:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed also seeds all other devices
            if is_accelerator:
                set_stream(device, torch.Generator(device).manual_seed(seed).get_state())
            yield
        finally:  # Ctrl-C may interrupt PyTorch while it restores gradients and autocast itself
            torch.set_grad_enabled(gradients)
            torch.set_autocast_enabled(device.type, autocast)
            if is_accelerator:
                set_stream(device, stream)


class Processes:
    """The processes of one training, started by ``accelerate launch``. Each trains on its share of every batch.

    Raises
    ------
    ImportError
        If accelerate is not installed.
    """

    def __init__(self):
        try:
            from accelerate import Accelerator
        except ImportError:
            raise ImportError('device="accelerate" needs accelerate: pip install "ferkit[accelerate]"') from None
        self.accelerator = Accelerator(mixed_precision="no")  # ferkit casts by itself

    @property
    def device(self):
        device = self.accelerator.device
        return str(device) if device.type == "cuda" else device.type  # there is no second CPU

    @property
    def is_main(self):
        return self.accelerator.is_main_process

    def agree(self, value):
        """Return the value of the main process."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def share(self, batch):
        """Return the rows of a batch that this process trains on; all of them if there are too few to share."""
        number, count = self.accelerator.process_index, self.accelerator.num_processes
        return batch[number::count] if len(batch) >= 2 * count else batch

    def reseed(self, generator):
        """Return a generator that differs between processes."""
        return generator.clone_state().manual_seed(generator.initial_seed() + 1 + self.accelerator.process_index)

    def wrap(self, module):
        """Return the module with gradients that are averaged over all processes."""
        return self.accelerator.prepare_model(module)

    def average(self, values):
        """Return the mean of a tensor over all processes."""
        return self.accelerator.reduce(values, "mean")

    def send(self, tensors):
        """Overwrite the tensors of all processes with those of the main process."""
        from accelerate.utils import broadcast

        for tensor in tensors:
            tensor.data.copy_(broadcast(tensor.data))
