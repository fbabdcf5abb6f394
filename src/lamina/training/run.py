"""The arguments of ``fit`` other than the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from lamina import settings
from lamina.core.boundary import warn
from lamina.errors import TrainingWarning


@dataclasses.dataclass(frozen=True)
class Run:
    """The arguments of ``fit`` other than the data.

    Attributes:
        epochs: Number of the last epoch, counted from 1.
        initial_epoch: Epoch at which to start, counted from 0.
        validation_freq: Number of epochs between validations, or a collection of epochs.
        verbose: 0 for no output, 1 for a progress line, 2 for one line per epoch, ``"auto"``.
        callbacks: Callbacks of the user.
        class_weight: Weight of each class index in the loss, or None.
        validation_split: Fraction of the samples, at the end, that is used for validation.
        dry_run: Whether to analyze a step without taking it.
        check_nans: Whether to stop before a step that is not finite changes the weights.
        resume: Folder of checkpoints, or None.
        checkpoint_every: When to write them: ``"epoch"``, a number of steps, or a ``timedelta``.
    """

    epochs: int
    initial_epoch: int
    validation_freq: Any
    verbose: Any
    callbacks: Any
    class_weight: Mapping[int, float] | None
    validation_split: float
    dry_run: bool
    check_nans: bool
    resume: Any
    checkpoint_every: Any

    def limited(self) -> Run:
        """The arguments with ``epochs`` limited to ``lamina.config.max_epochs()``."""
        most = settings.max_epochs()
        if most is None or self.epochs <= most:
            return self
        warn(
            f"`lamina.config.set_max_epochs` limits the {self.epochs} epochs to {most}.",
            TrainingWarning,
        )
        return dataclasses.replace(self, epochs=most)

    def validates(self, epoch: int) -> bool:
        """Whether validation is due after an epoch, counted from 0."""
        freq = self.validation_freq
        return (epoch + 1) in freq if isinstance(freq, Collection) else (epoch + 1) % freq == 0

    @property
    def asks_for_checkpoints(self) -> bool:
        """Whether an argument may ask for checkpoints."""
        asks = self.callbacks or self.resume is not None or self.checkpoint_every != "epoch"
        return bool(asks) and not self.dry_run
