"""Saving the model during training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from lamina.callbacks.base import NUMBER, OPTIONAL_NUMBER
from lamina.callbacks.monitoring import MonitorCallback
from lamina.errors import ArgumentError, UnknownNameError
from lamina.saving.paths import make_folder, path_text
from lamina.serialization.registry import builtin


@builtin()
class SavingCallback(MonitorCallback):
    """Base class of callbacks that save after epochs or steps: all, or only what is better.

    Args:
        monitor: Name of the log that ``save_best_only`` compares.
        verbose: 1 to print what is saved.
        save_best_only: Whether to save only what is better than everything before.
        mode: ``"min"``, ``"max"`` or ``"auto"``.
        save_freq: ``"epoch"``, or a number of steps.
        initial_value_threshold: Value that the first save must beat, with ``save_best_only``.

    Raises:
        ArgumentError: A wrong ``save_freq`` or ``mode``.
    """

    saves_without_log: ClassVar[bool] = False  # if there is none of the monitored name
    _state: ClassVar = {"best": OPTIONAL_NUMBER, "batches_since_save": NUMBER}

    def __init__(
        self, monitor: str, verbose: int, save_best_only: bool, mode: str, save_freq: Any,
        initial_value_threshold: float | None,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode)
        self.verbose, self.save_best_only, self.save_freq = verbose, save_best_only, save_freq
        if save_freq != "epoch":
            if isinstance(save_freq, bool) or not isinstance(save_freq, int) or save_freq < 1:
                raise ArgumentError(
                    f"{type(self).__name__}: `save_freq` must be 'epoch' or a positive number of "
                    f"steps. Received: {save_freq!r}."
                )
            # Set on the object: a batch hook of the class would slow down all its objects.
            self.on_train_batch_end = self._after_step
        self.best = initial_value_threshold
        self.batches_since_save = 0
        self._epoch = 0

    def save(self, logs: dict[str, Any], epoch: int, batch: int | None) -> Any:
        """Save, and return where.

        Args:
            logs: The logs.
            epoch: Number of the epoch, from 0.
            batch: Number of the step in it, from 0; None at its end.
        """
        raise NotImplementedError

    def expect_logs(self, names: Any) -> None:
        if self.save_best_only:
            super().expect_logs(names)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(logs or {}, epoch, None)

    def _after_step(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.batches_since_save += 1
        if self.batches_since_save >= self.save_freq:
            self.batches_since_save = 0
            self._save(logs or {}, self._epoch, batch)

    def _save(self, logs: dict[str, Any], epoch: int, batch: int | None) -> None:
        when = f"Epoch {epoch + 1}" + ("" if batch is None else f", batch {batch + 1}")
        why, value = "", None
        if self.save_best_only:
            value = self.current(logs)
            if value is None and not (self.saves_without_log and self.misses_log):
                return
        if value is not None:
            if not self.better(value, self.best):
                if self.verbose:
                    self._print(f"{when}: {self.monitor} did not improve from {self.best:.5g}.")
                return
            before = "" if self.best is None else f" from {self.best:.5g}"
            why = f"{self.monitor} improved{before} to {value:.5g}; "
            self.best = value
        where = self.save(logs, epoch, batch)
        if self.verbose:
            self._print(f"{when}: {why}saved to {where}.")


@builtin("callbacks")
class ModelCheckpoint(SavingCallback):
    """Saves the model or its weights after each epoch, or after every ``save_freq`` steps.

    Args:
        filepath: Path of the file, which may contain the epoch and logs, as in
            ``"run/{epoch:02d}-{val_loss:.2f}.keras"`` (epochs and batches count from 1 here).
            It ends in ``.weights.h5`` or ``.safetensors`` for weights only, else in
            ``.keras``, ``.h5`` or ``.hdf5``.
        monitor: Name of the log that ``save_best_only`` compares. If there is no log of that name,
            every model is saved, with a warning; in an epoch without it, none.
        verbose: 1 to print what is saved.
        save_best_only: Whether to save only what is better than everything before.
        save_weights_only: Whether to save the weights instead of the whole model.
        mode: ``"min"``, ``"max"`` or ``"auto"``: see
            :class:`~lamina.callbacks.monitoring.MonitorCallback`.
        save_freq: ``"epoch"``, or a number of steps.
        initial_value_threshold: Value that the first saved model must beat, with
            ``save_best_only``.

    Raises:
        ArgumentError: A wrong file extension, ``save_freq`` or ``mode``; when saving, a format in
            ``filepath`` that does not fit.
        UnknownNameError: A name in ``filepath`` that is not in the logs.

    Attributes:
        best: The best value so far.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> checkpoint = ModelCheckpoint("{epoch}.weights.h5", save_weights_only=True)
    >>> _ = model.fit([[1.0]], [[2.0]], epochs=2, verbose=0, callbacks=[checkpoint])
    >>> sorted(path.name for path in Path().glob("*.h5"))
    ['1.weights.h5', '2.weights.h5']
    """

    saves_without_log: ClassVar[bool] = True

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, verbose, save_best_only, mode, save_freq, initial_value_threshold)
        self.filepath, self.save_weights_only = path_text(filepath), save_weights_only
        whole = (".keras", ".h5", ".hdf5")
        weights = (".weights.h5", ".safetensors")
        endings, others = (weights, whole) if save_weights_only else (whole, weights)
        wrong = () if save_weights_only else ".weights.h5"
        if not self.filepath.endswith(endings) or self.filepath.endswith(wrong):
            raise ArgumentError(
                f"ModelCheckpoint: with save_weights_only={save_weights_only}, `filepath` must end "
                f"in {' or '.join(map(repr, endings))}. Received: {self.filepath!r}.",
                cure=f"This ending is for save_weights_only={not save_weights_only}."
                if self.filepath.endswith(others)
                else "",
            )

    def save(self, logs: dict[str, Any], epoch: int, batch: int | None) -> Path:
        numbers = {"epoch": epoch + 1} | ({} if batch is None else {"batch": batch + 1})
        path = self._path(logs, numbers)
        make_folder(path.parent)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        return path

    def _path(self, logs: dict[str, Any], numbers: dict[str, int]) -> Path:
        names = {**logs, **numbers}
        try:
            return Path(self.filepath.format(**names))
        except KeyError as e:
            raise UnknownNameError(
                f"ModelCheckpoint: `filepath` {self.filepath!r} contains {e}, which is not in the "
                f"logs. It may contain: {list(names)}."
            ) from None
        except (ValueError, IndexError, AttributeError, TypeError) as e:
            raise ArgumentError(
                f"ModelCheckpoint: `filepath` {self.filepath!r} is no format for the logs: {e}.",
                expected="names with formats of numbers, such as '{epoch:02d}-{loss:.2f}.keras'",
                received=str(names),
            ) from None
