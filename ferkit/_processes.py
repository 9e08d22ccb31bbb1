"""One fit in several processes, one for each GPU: what ``accelerate launch`` starts."""

__all__ = ["Processes"]


class Processes:
    """The processes of one training, each with its share of every batch.

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
        self.accelerator = Accelerator(mixed_precision="no")  # which ferkit does itself

    @property
    def device(self):
        device = self.accelerator.device
        return str(device) if device.type == "cuda" else device.type  # there is no second CPU

    @property
    def is_main(self):
        return self.accelerator.is_main_process

    def agree(self, value):
        """What the main process has for a value."""
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def share(self, batch):
        """The rows of a batch that this process trains on; all of them where there are too few to share."""
        number, count = self.accelerator.process_index, self.accelerator.num_processes
        return batch[number::count] if len(batch) >= 2 * count else batch

    def reseed(self, generator):
        """A generator of this process's own."""
        return generator.clone_state().manual_seed(generator.initial_seed() + 1 + self.accelerator.process_index)

    def wrap(self, module):
        """A module whose gradients are the mean over all processes."""
        return self.accelerator.prepare_model(module)

    def average(self, values):
        """Mean of a tensor over all processes."""
        return self.accelerator.reduce(values, "mean")

    def send(self, tensors):
        """Overwrite tensors with those of the main process."""
        from accelerate.utils import broadcast

        for tensor in tensors:
            tensor.data.copy_(broadcast(tensor.data))
