"""Tickets of the functional guide, and a data set of them for worker processes."""

import numpy as np

from lamina.utils import PyDataset

SAMPLES, BATCH = 128, 32


def make():
    """Inputs and targets by name, in the order in which the model declares them."""
    rng = np.random.default_rng(7)
    x = {
        "title": rng.integers(0, 1000, (SAMPLES, 10)),
        "body": rng.integers(0, 1000, (SAMPLES, 100)),
        "tags": rng.integers(0, 2, (SAMPLES, 12)).astype("float32"),
    }
    y = {
        "priority": rng.random((SAMPLES, 1)),
        "department": np.eye(4)[rng.integers(0, 4, SAMPLES)],
    }
    return x, y


def cut(data, at, size=BATCH):
    return {k: v[at : at + size] for k, v in data.items()}


class Tickets(PyDataset):
    """Batches of tickets, as a user would write them."""

    def __init__(self, x, y, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x, y

    def __len__(self):
        return SAMPLES // BATCH

    def __getitem__(self, index):
        return cut(self.x, index * BATCH), cut(self.y, index * BATCH)


class Samples:
    """Single tickets by number: what a PyTorch or grain loader draws from."""

    def __init__(self, x, y, form=dict):
        self.x, self.y, self.form = x, y, form

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        x, y = ({k: v[index] for k, v in part.items()} for part in (self.x, self.y))
        return (x, y) if self.form is dict else (list(x.values()), list(y.values()))
