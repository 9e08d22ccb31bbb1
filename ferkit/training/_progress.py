"""`ProgressBar`: the skorch callback that shows the progress of a training."""

from multiprocessing import parent_process

from skorch.callbacks import Callback


class ProgressBar(Callback):
    """Show epochs, batches, the time left and the scores of the last epoch. Worker processes show nothing."""

    def on_train_begin(self, net, **kwargs):
        self.bar_ = None
        if parent_process() is not None:
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.bar_ = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}, batch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=8),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[scores]}"),
            speed_estimate_period=60,
            refresh_per_second=2,  # drawing occupies a core that the network could use
        )
        self.bar_.start()
        self.task_ = None

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        if self.bar_ is None:
            return
        if self.task_ is None:
            self.first_ = len(net.history)
            batches = len(net.get_iterator(dataset_train, training=True)) * net.max_epochs
            self.task_ = self.bar_.add_task("fit", total=batches, epochs=net.max_epochs, epoch=1, scores="")
        self.bar_.update(self.task_, epoch=len(net.history) - self.first_ + 1)

    def on_batch_end(self, net, training=False, **kwargs):
        if self.bar_ is not None and training:
            self.bar_.advance(self.task_)

    def on_epoch_end(self, net, **kwargs):
        if self.bar_ is None:
            return
        row = net.history[-1]
        text = f"loss {row['train_loss']:.3f}, acc. {row['train_accuracy']:.1%}"
        if "valid_accuracy" in row:
            text += f", valid. {row['valid_accuracy']:.1%}"
        self.bar_.update(self.task_, scores=text)

    def stop(self):
        """Remove the bar. skorch does not notify callbacks of errors, so the caller must also call this after one."""
        if getattr(self, "bar_", None) is not None:
            self.bar_.stop()
            self.bar_ = None
