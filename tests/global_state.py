"""The state of a process: settings of Python, PyTorch, NumPy, matplotlib and others. This module imports no ferkit."""

import csv
import locale
import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
import torch
from PIL import Image, ImageFile


def plain_loggers():
    """Settings of all loggers, except ferkit's own and those that PyTorch configures when it imports its parts.

    New loggers without settings are no difference.
    """
    loggers = {"": logging.root, **logging.root.manager.loggerDict}
    settings = {
        name: (each.level, tuple(each.handlers), tuple(each.filters), each.propagate, each.disabled)
        for name, each in loggers.items()
        if isinstance(each, logging.Logger) and not name.startswith(("ferkit", "torch", "c10d", "strobelight"))
    }
    return {name: values for name, values in settings.items() if values != (0, (), (), True, False)}


STATE = {
    "random stream of PyTorch": lambda: bytes(torch.get_rng_state().numpy()),
    "random streams of GPUs": lambda: list(map(bytes, torch.cuda.get_rng_state_all())),
    "gradients": lambda: (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    "threads of PyTorch": lambda: (torch.get_num_threads(), torch.get_num_interop_threads()),
    "defaults of tensors": lambda: (torch.get_default_dtype(), torch.get_default_device(), torch.is_anomaly_enabled()),
    "deterministic algorithms": lambda: (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    ),
    "autocast": lambda: (
        torch.is_autocast_cache_enabled(),
        [(torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in ("cpu", "cuda")],
    ),
    "cuDNN": lambda: [
        getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
    ],
    "matrix products": lambda: (torch.get_float32_matmul_precision(), torch.backends.mkldnn.enabled),
    "tensors of other processes": torch.multiprocessing.get_sharing_strategy,
    "random stream of NumPy": lambda: repr(np.random.get_state(legacy=False)),  # noqa: NPY002
    "errors of NumPy": lambda: (np.geterr(), np.geterrcall()),
    "printing of NumPy": np.get_printoptions,
    "random stream of Python": random.getstate,
    "scikit-learn": sklearn.get_config,
    "pandas": lambda: [pd.get_option(name) for name in ("display.width", "mode.copy_on_write", "io.excel.xlsx.reader")],
    "warnings": lambda: (list(warnings.filters), warnings.showwarning),
    "logging": lambda: (plain_loggers(), logging.root.manager.disable, logging.raiseExceptions),
    "backend of matplotlib": plt.get_backend,
    "settings of matplotlib": lambda: dict(plt.rcParams),
    "figures": plt.get_fignums,
    "Pillow": lambda: (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK),
    "csv": csv.field_size_limit,
    "locale": lambda: locale.setlocale(locale.LC_ALL),
    "working directory": os.getcwd,
    "environment": lambda: {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
    "signals": lambda: {number: signal.getsignal(number) for number in signal.valid_signals()},
    "imports": lambda: (list(sys.path), list(sys.meta_path), list(sys.path_hooks)),
    "interpreter": lambda: (sys.getrecursionlimit(), sys.getswitchinterval(), sys.stdout, sys.stderr),
    "uncaught exceptions": lambda: (sys.excepthook, threading.excepthook, sys.unraisablehook),
    "processes": lambda: multiprocessing.get_start_method(allow_none=True),
    "temporary files": lambda: tempfile.tempdir,
    "threads": lambda: {thread.name for thread in threading.enumerate() if not thread.daemon},
}


def read_state():
    return {name: read() for name, read in STATE.items()}


def compare(before, after, allowed=()):
    changed = [name for name in STATE if before[name] != after[name] and name not in allowed]
    values = "".join(f"\n{name}: {before[name]!r:.2000}\nnow {after[name]!r:.2000}" for name in changed)
    assert not changed, f"Expected no change of the state of the process, got other values of {changed}:{values}"
