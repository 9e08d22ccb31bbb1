"""skorch callbacks that show the progress of a training and measure its time."""

import logging
import sys
from multiprocessing import parent_process
from time import time
from typing import Any

from skorch.callbacks import Callback, EpochTimer

from .._files import show_progress

_LOGGER = logging.getLogger("ferkit")


class TrainingTimer(EpochTimer):
    """Measure the time of each epoch from the end of the previous one.

    The first epoch therefore includes the features of a frozen backbone, which may take longer than all epochs.
    """

    def on_train_begin(self, net, **kwargs):
        self.epoch_start_time_ = time()

    def on_epoch_begin(self, net, **kwargs):
        pass

    def on_epoch_end(self, net, **kwargs):
        super().on_epoch_end(net, **kwargs)
        self.epoch_start_time_ = time()


class ProgressBar(Callback):
    """Show epochs, batches, the time left and the scores of the last epoch.

    Notebooks, files and pipes, which cannot show or keep a moving bar, get one line per epoch: through the logger
    "ferkit" if logging is set up for messages of level INFO, otherwise on standard output. Worker processes show
    nothing.
    """

    bar_: Any
    task_: Any

    def on_train_begin(self, net, **kwargs):
        self.bar_, self.first_, self.is_shown_ = None, len(net.history), parent_process() is None
        from rich.console import Console

        console = Console()  # rich's own was made earlier, perhaps with another output
        if not self.is_shown_ or not console.is_interactive:
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
            console=console,
            speed_estimate_period=60,
            refresh_per_second=2,  # drawing occupies a core that the network could use
        )
        self.task_ = None

    def track(self, batches):
        """Return an iterator over batches, before the first epoch, that shows its progress."""
        return show_progress(batches, "Frozen layers", lambda: len(batches)) if self.is_shown_ else batches

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        if self.bar_ is None:
            return
        if self.task_ is None:
            self.bar_.start()
            batches = len(net.get_iterator(dataset_train, training=True))
            self.task_ = self.bar_.add_task(
                "fit",
                total=batches * net.max_epochs,
                completed=batches * (len(net.history) - 1 - self.first_),  # of a training that continues
                epochs=net.max_epochs,
                epoch=1,
                scores="",
            )
        self.bar_.update(self.task_, epoch=len(net.history) - self.first_)

    def on_batch_end(self, net, training=False, **kwargs):
        if self.bar_ is not None and training:
            self.bar_.advance(self.task_)

    def on_epoch_end(self, net, **kwargs):
        if not self.is_shown_:
            return
        row = net.history[-1]
        text = f"loss {row['train_loss']:.3f}"
        if "train_accuracy" in row:
            text += f", acc. {row['train_accuracy']:.1%}"
        if "valid_accuracy" in row:
            text += f", valid. {row['valid_accuracy']:.1%}"
        elif "valid_loss" in row:
            text += f", valid. {row['valid_loss']:.3f}"
        if self.bar_ is not None:
            self.bar_.update(self.task_, scores=text)
            return
        line = f"epoch {len(net.history) - self.first_}/{net.max_epochs}: {text}, {row['dur']:.1f} s"
        if _LOGGER.isEnabledFor(logging.INFO) and _LOGGER.hasHandlers():
            _LOGGER.info(line)
        else:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()  # files and pipes are buffered

    def stop(self):
        """Remove the bar. skorch does not notify callbacks of errors, so the caller must also call this after one."""
        if getattr(self, "bar_", None) is not None:
            self.bar_.stop()
            self.bar_ = None
