"""A window that shows pictures, where there is a screen and an OpenCV with windows."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from ._sources import import_cv2

__all__ = ["open_window"]

END = (ord("q"), 27)  # keys: q and Escape


@contextmanager
def open_window(title: str) -> Iterator[Callable[[np.ndarray], bool] | None]:
    """Yield a function that shows an RGB image and returns whether to go on; None where no window can be opened."""
    cv2 = import_cv2()
    # OpenCV ends the process if it finds no screen
    has_screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not has_screen:
        yield None
        return
    try:
        cv2.namedWindow(title, cv2.WINDOW_NORMAL)
    except cv2.error:  # opencv-python-headless
        yield None
        return

    def show(image):
        cv2.imshow(title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        is_closed = cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1
        return cv2.waitKey(1) & 0xFF not in END and not is_closed

    try:
        yield show
    finally:
        cv2.destroyWindow(title)
