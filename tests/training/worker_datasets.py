"""Data sets for worker processes, in a module of their own: a worker must not need JAX for it."""

import os
import sys
import threading
import time

import numpy as np

from lamina.utils import PyDataset


class Batches(PyDataset):
    """Batches that tell their number; the log of what was called stays in this process."""

    def __init__(self, count=5, **kwargs):
        super().__init__(**kwargs)
        self.count = count
        self.offset = 0
        self.log = []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.log.append(index)
        x = np.full((4, 2), index + self.offset, "float32")
        return x, x[:, :1]

    def on_epoch_begin(self):
        self.log.append("begin")

    def on_epoch_end(self):
        self.log.append("end")


class Endless(Batches):
    @property
    def num_batches(self):
        return None


class Changing(Batches):
    """The data change after each pass, as in a data set that shuffles its samples."""

    def on_epoch_end(self):
        self.offset += 100


class Uneven(Batches):
    """Early batches take longest, so that unordered workers would mix them up."""

    def __getitem__(self, index):
        time.sleep(0.02 * (self.count - index))
        return super().__getitem__(index)


class WithoutJax(Batches):
    """Proves that the worker is another process, which knows neither JAX nor the main script."""

    def __init__(self, parent, **kwargs):
        super().__init__(**kwargs)
        self.parent = parent

    def __getitem__(self, index):
        loaded = [m for m in ("jax", "jaxlib", "keras", "lamina.core") if m in sys.modules]
        if loaded:
            raise RuntimeError(f"the worker has imported {loaded}")
        if os.getpid() == self.parent:
            raise RuntimeError("this is no worker process")
        return super().__getitem__(index)


class Picky(Exception):
    """An exception that unpickling cannot make: it takes two arguments."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class Failing(Batches):
    def __getitem__(self, index):
        if index == 2:
            self.open_file()
        return super().__getitem__(index)

    def open_file(self):
        raise FileNotFoundError("the third file is missing")


class FailingPickily(Failing):
    def open_file(self):
        raise Picky(1, 2)


class Dying(Failing):
    def open_file(self):
        os._exit(7)


class Slow(Batches):
    """Says in a file which process is at work, and takes its time."""

    def __init__(self, folder, **kwargs):
        super().__init__(**kwargs)
        self.folder = folder

    def __getitem__(self, index):
        with open(os.path.join(self.folder, str(os.getpid())), "w"):
            pass
        if index:
            time.sleep(60)
        return super().__getitem__(index)


class Unpicklable(Batches):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.lock = threading.Lock()
