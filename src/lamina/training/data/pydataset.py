"""Data sets that give a batch by its number, and the workers that fetch several at a time.

Nothing here imports JAX or NumPy: this module is what a worker process loads.
"""

from __future__ import annotations

import abc
import collections
import contextlib
import hashlib
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
import types
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

from lamina.errors import ArgumentError, DataError


class PyDataset(abc.ABC):
    """A data set that gives a batch by its number, so that several can be made at a time.

    Subclass it with ``__getitem__(index)``, which returns batch number ``index`` as ``x``,
    ``(x, y)`` or ``(x, y, sample_weight)``, and ``__len__``, the number of batches. Then pass it as
    ``x`` to ``fit``, ``evaluate`` or ``predict``. ``fit(shuffle=True)`` draws a new order of the
    batches for each pass; whatever the workers do, batches arrive in that order.

    Args:
        workers: How many batches are made at a time. By threads, which suits reading, decoding and
            NumPy: these let other threads run. 0 makes them in the thread of the training.
        use_multiprocessing: Make them in processes instead, which suits pure Python. The data set
            is pickled to fresh processes (again before a pass if it has changed), and the
            batches back. A process imports the module of the class and what that imports, nothing
            else of Lamina and no JAX; so put the class into a module of its own. A class in the
            script itself makes each process run the script's top level, where the training then
            has to stand under ``if __name__ == "__main__":``.
        max_queue_size: How many batches may be made or waiting at a time.

    Raises:
        ArgumentError: A number that is not an integer, or is too small.

    >>> import numpy as np
    >>> class Squares(PyDataset):
    ...     def __len__(self):
    ...         return 10
    ...
    ...     def __getitem__(self, index):
    ...         x = np.linspace(index, index + 1, 32)[:, None]
    ...         return x, x**2
    >>> x, y = Squares(workers=2)[3]
    >>> x.shape, float(y[0, 0])
    ((32, 1), 9.0)
    """

    # Also the values of a subclass whose constructor does not call this one.
    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        for name, value, least in (("workers", workers, 0), ("max_queue_size", max_queue_size, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ArgumentError(f"`{name}` is an integer >= {least}. Received: {value!r}.")
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Any:
        """Batch number ``index``: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``."""

    @property
    def num_batches(self) -> int | None:
        """Batches in a pass; None for a data set without end. ``len(self)`` unless overridden."""
        try:
            return len(self)  # pyright: ignore[reportArgumentType]
        except TypeError as e:
            raise DataError(
                f"{type(self).__name__} does not say how many batches it has. Define `__len__`, or "
                "the property `num_batches` (None: without end)."
            ) from e

    def on_epoch_begin(self) -> None:  # noqa: B027 - need not be overridden
        """Called before the first batch of a pass."""

    def on_epoch_end(self) -> None:  # noqa: B027 - need not be overridden
        """Called after the last batch of a pass; the place to rearrange the data."""


class Workers:
    """Fetches batches of a data set by number: several at a time, in the order asked for.

    Args:
        dataset: Its ``workers``, ``use_multiprocessing`` and ``max_queue_size`` decide how.
    """

    def __init__(self, dataset: PyDataset) -> None:
        self._dataset = dataset
        self._threads: ThreadPoolExecutor | None = None
        self._processes: list[_Process] = []
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._sent = b""
        self._preparing, self._closing = threading.Lock(), threading.Lock()
        self._closed = False

    def run(self, numbers: Iterable[Any]) -> Iterator[Any]:
        """The batches of these numbers.

        Raises:
            DataError: a data set that cannot be pickled, or a process that died.
        """
        dataset = self._dataset
        if dataset.workers < 1 or (dataset.workers == 1 and not dataset.use_multiprocessing):
            for number in numbers:  # `map` would end at a StopIteration of the user's code
                yield dataset[number]
            return
        fetch: Any = dataset.__getitem__
        with self._preparing:  # two passes at a time would wait for each other's processes
            if self._threads is None:
                self._threads = ThreadPoolExecutor(dataset.workers, "lamina-data")
            if dataset.use_multiprocessing:
                self._update_processes()
                fetch = self._ask_idle
        waiting: collections.deque[Future[Any]] = collections.deque()
        try:
            for number in numbers:
                waiting.append(self._threads.submit(fetch, number))
                if len(waiting) >= dataset.max_queue_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def run_once(self, numbers: Iterable[Any]) -> Iterator[Any]:
        """:meth:`run`, and close afterwards."""
        try:
            yield from self.run(numbers)
        finally:
            self.close()

    def close(self) -> None:
        """End the processes at once, and the threads as soon as they have made their batch."""
        with self._closing:
            self._closed = True
        for process in self._processes:
            process.kill()
        if self._threads is not None:
            # A thread that waited for a process has its answer now: that the process is gone.
            self._threads.shutdown(wait=bool(self._processes), cancel_futures=True)
        for process in self._processes:
            process.release()
        self._processes, self._threads = [], None

    def _ask_idle(self, number: int) -> Any:
        process = self._idle.get()
        try:
            process.send(number)
            return process.receive()
        finally:
            self._idle.put(process)

    def pickled(self) -> tuple[bytes, bool]:
        """The data set as bytes, and whether processes need the module ``__main__`` for it."""
        name = type(self._dataset).__name__
        try:
            found = pickle.dumps(self._dataset, pickle.HIGHEST_PROTOCOL)
        except Exception as e:
            raise DataError(
                f"{name} cannot be sent to worker processes: {e}",
                cure=(
                    "`use_multiprocessing=True` pickles the data set. Define its class at "
                    "the top of a module, open files in `__getitem__` rather than in "
                    "`__init__`, or use threads: `use_multiprocessing=False`."
                ),
            ) from e
        return found, b"__main__" in found

    def _update_processes(self) -> None:
        """Start the processes, and give them the data set where theirs is older than ours."""
        name = type(self._dataset).__name__
        pickled, needs_main = self.pickled()
        digest = hashlib.blake2b(pickled).digest()
        if digest == self._sent:
            return
        while len(self._processes) < self._dataset.workers:
            with self._closing:  # so that none is started once close() has been called
                if self._closed:
                    raise CancelledError
                process = _Process(needs_main)
                self._processes.append(process)
            self._idle.put(process)
        # Taking all of them out waits for what an interrupted pass has left unfinished.
        taken = [self._idle.get() for _ in self._processes]
        for process in taken:
            process.send(pickled)
        for process in taken:
            try:
                process.receive()
            except (AttributeError, ImportError) as e:
                raise DataError(
                    f"A worker process cannot load {name}: {e}",
                    cure=(
                        "It finds a class by its module and name: put the class into a module of "
                        "its own (one defined in a notebook or an interactive session has none), "
                        "or use threads: `use_multiprocessing=False`."
                    ),
                ) from e
            self._idle.put(process)
        self._sent = digest


class _Process:
    """A worker process, as the training process sees it."""

    def __init__(self, needs_main: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._needs_main = needs_main
        with _main_module(needs_main):
            self._process.start()
        other.close()

    def send(self, message: int | bytes) -> None:
        with self._noticing_death():
            self._pipe.send(message)

    def receive(self) -> Any:
        with self._noticing_death():
            fine, reply = self._pipe.recv()
        if not fine:
            raise reply
        return reply

    @contextlib.contextmanager
    def _noticing_death(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as e:
            self._process.join(timeout=10)
            raise DataError(
                f"A worker process ended with exit code {self._process.exitcode}; what it printed "
                "is above."
                + ' In a script, the training stands under `if __name__ == "__main__":`.'
                * self._needs_main
                + " A negative code is a signal: -9 often means that memory ran out."
            ) from e

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def release(self) -> None:
        self._pipe.close()
        self._process.close()


_starting = threading.Lock()


@contextlib.contextmanager
def _main_module(needed: bool) -> Iterator[None]:
    """Start a process with or without the module that is run as ``__main__``.

    A spawned process imports that module again, which is needed only when the data set's class is
    there. It may import JAX or start a training, so it is hidden otherwise.
    """
    with _starting:
        main = sys.modules["__main__"]
        if not needed:
            sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _serve(pipe: Any) -> None:
    """Run in a worker process: take the data set, then numbers of batches, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training process decides what Ctrl-C means
    os.environ["JAX_PLATFORMS"] = "cpu"  # the accelerator is taken, should JAX be imported here
    threading.Thread(target=_end_with_parent, daemon=True).start()
    dataset: Any = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = pipe.recv()
            try:
                if isinstance(message, bytes):
                    dataset = pickle.loads(message)  # noqa: S301 - from the process that started us
                    reply = True, None
                else:
                    reply = True, dataset[message]
                answer = pickle.dumps(reply, pickle.HIGHEST_PROTOCOL)
            except Exception as e:  # noqa: BLE001 - whatever it is, the training process raises it
                answer = pickle.dumps((False, _portable(e)), pickle.HIGHEST_PROTOCOL)
            pipe.send_bytes(answer)


def _end_with_parent() -> None:
    """Do not outlive a training process that was killed, whatever this one is doing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note, since a traceback itself cannot be sent."""
    note = f"In the worker process:\n{''.join(traceback.format_exception(error))}"
    try:
        sent = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - an exception that pickle cannot carry
        sent = DataError(f"{type(error).__name__}: {error}")
    sent.add_note(note)
    return sent


__all__ = ["PyDataset", "Workers"]
