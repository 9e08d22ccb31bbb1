"""The queue of photos: it is bounded, and predicts the faces of all photos that wait in one batch."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

__all__ = ["AnalysisQueue", "QueueFull"]

MAX_BATCH = 256  # faces


class QueueFull(Exception):
    """No further photo is accepted at the moment."""


class AnalysisQueue:
    """Analyze photos in threads, on behalf of coroutines of one event loop.

    Parameters
    ----------
    find : callable
        Takes the content of an image file and returns ``(found, crops)``: anything, and an array of n faces. Several
        threads call it at the same time.
    predict : callable
        Takes an array of faces and returns an array with one row per face. One thread calls it.
    max_requests : int
        Maximum number of photos that are uploaded, wait or are analyzed at the same time.
    n_threads : int
        Number of threads that call ``find``.
    """

    def __init__(self, find, predict, *, max_requests, n_threads):
        self._find, self._predict = find, predict
        self._max_requests = max_requests
        self._n_requests = 0
        self._waiting: list[tuple] = []  # pairs of crops and the future of their probabilities
        self._is_predicting = False
        self._n_threads = n_threads
        self._make_pools()

    def _make_pools(self):
        """Make pools, whose threads start when they are needed."""
        self._finders = ThreadPoolExecutor(self._n_threads, "ferkit-find")
        self._predictor = ThreadPoolExecutor(1, "ferkit-predict")

    @contextmanager
    def place(self):
        """Hold a place in the queue; raise `QueueFull` if there is none."""
        if self._n_requests >= self._max_requests:
            raise QueueFull
        self._n_requests += 1
        try:
            yield
        finally:
            self._n_requests -= 1

    async def analyze(self, content):
        """Return what ``find`` found, and the probabilities of each face."""
        loop = asyncio.get_running_loop()
        found, crops = await loop.run_in_executor(self._finders, self._find, content)
        if not len(crops):
            return found, []
        future = loop.create_future()
        self._waiting.append((crops, future))
        if not self._is_predicting:
            self._is_predicting = True
            self._task = asyncio.create_task(self._predict_waiting())
        return found, await future

    async def _predict_waiting(self):
        """Predict batches until nobody waits. A batch consists of the faces that came during the last prediction."""
        loop = asyncio.get_running_loop()
        try:
            while batch := self._next_batch():
                crops, futures = zip(*batch, strict=True)
                try:
                    rows = await loop.run_in_executor(self._predictor, self._predict, np.concatenate(crops))
                    parts = np.split(rows, np.cumsum([len(some) for some in crops])[:-1])
                except Exception as error:
                    for future in futures:
                        if not future.done():
                            future.set_exception(error)
                    continue
                for future, part in zip(futures, parts, strict=True):
                    if not future.done():  # cancelled by a time limit
                        future.set_result(part)
        finally:
            self._is_predicting = False

    def _next_batch(self):
        self._waiting = [(crops, future) for crops, future in self._waiting if not future.done()]
        batch: list[tuple] = []
        n_faces = 0
        while self._waiting and (not batch or n_faces + len(self._waiting[0][0]) <= MAX_BATCH):
            batch.append(self._waiting.pop(0))
            n_faces += len(batch[-1][0])
        return batch

    def close(self):
        """Stop the threads when they have finished what they are doing. The queue can be used again."""
        for threads in (self._finders, self._predictor):
            threads.shutdown(wait=False, cancel_futures=True)
        self._make_pools()
