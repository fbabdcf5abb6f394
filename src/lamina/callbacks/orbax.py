"""Checkpoints of Orbax, written in the background."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from lamina.callbacks.checkpoint import SavingCallback
from lamina.core.variable import Variable
from lamina.errors import ArgumentError, CorruptFileError, NotBuiltError, StructureError
from lamina.runtime import optional, stalls
from lamina.serialization.registry import builtin

_NUMBERS = ("seed", "steps")


@builtin("callbacks")
class OrbaxCheckpoint(SavingCallback):
    """Saves weights and the optimizer's state as checkpoints of Orbax, while training goes on.

    A checkpoint has two items: ``state``, a pytree of the arrays by group (``trainable``,
    ``non_trainable``, ``optimizer``) and address, which any program with Orbax reads; and
    ``training``, the seed, the number of steps and the shapes. :meth:`restore` gives both back to a
    model, which then trains on as if it had not been interrupted. The layout is Lamina's, not that
    of Keras's callback, and the architecture is not in it.

    Args:
        directory: Folder of the checkpoints, for this training alone.
        monitor: Name of the log that ``save_best_only`` compares.
        verbose: 1 to print what is saved.
        save_best_only: Whether to save only what is better than everything before.
        mode: ``"min"``, ``"max"`` or ``"auto"``: see
            :class:`~lamina.callbacks.monitoring.MonitorCallback`.
        save_freq: ``"epoch"``, where checkpoints have the number of the epoch, from 0; or a number
            of steps, where they have the number of training steps so far.
        initial_value_threshold: Value that the first checkpoint must beat, with
            ``save_best_only``.
        max_to_keep: Number of checkpoints to keep, the last ones; None for all.
        save_on_background: Whether to write while training goes on. At the end of training, all
            checkpoints are complete.
        save_weights_only: Whether to leave out the optimizer's state.

    Raises:
        MissingPackageError: ``orbax-checkpoint`` is not installed.
        ArgumentError: A wrong ``save_freq`` or ``mode``; in training, a folder that holds
            checkpoints of later epochs or steps.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> checkpoint = OrbaxCheckpoint("run", max_to_keep=2)
    >>> history = model.fit([[1.0]], [[2.0]], epochs=3, verbose=0, callbacks=[checkpoint])
    >>> checkpoint.all_steps(), checkpoint.restore(model)
    ([1, 2], 2)
    """

    def __init__(
        self,
        directory: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        mode: str = "auto",
        save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
        max_to_keep: int | None = 1,
        save_on_background: bool = True,
        save_weights_only: bool = False,
    ) -> None:
        super().__init__(monitor, verbose, save_best_only, mode, save_freq, initial_value_threshold)
        self.directory, self.max_to_keep = os.fspath(Path(directory).absolute()), max_to_keep
        self.save_on_background = save_on_background
        self.save_weights_only = save_weights_only
        self._orbax = optional.load("orbax.checkpoint", "OrbaxCheckpoint()", "lamina[distributed]")
        self._open: Any = None
        self._training = self._resumed = False

    def is_multihost_enabled(self) -> bool:
        """Whether this is one of the processes of ``jax.distributed``."""
        return jax.distributed.is_initialized()

    def is_primary_host(self) -> bool:
        """Whether this is the first of the processes, or the only one."""
        return jax.process_index() == 0

    @property
    def _manager(self) -> Any:
        if self._open is None:
            options = self._orbax.CheckpointManagerOptions(
                max_to_keep=self.max_to_keep,
                enable_async_checkpointing=self.save_on_background,
                create=True,
            )
            self._open = self._orbax.CheckpointManager(self.directory, options=options)
        return self._open

    def _variables(self, model: Any) -> dict[str, dict[str, Variable]]:
        """What a checkpoint holds, by group and address."""
        named = model.named_variables()
        groups = {
            "trainable": {a: v for a, (v, trains) in named.items() if trains},
            "non_trainable": {a: v for a, (v, trains) in named.items() if not trains},
        }
        if not self.save_weights_only and model.optimizer is not None:
            model.optimizer.build(groups["trainable"])
            groups["optimizer"] = model.optimizer.state_variables
        return {name: group for name, group in groups.items() if group}

    def save(self, logs: dict[str, Any], epoch: int, batch: int | None) -> Path:
        step = epoch if batch is None else self.model.steps_taken
        latest = self._manager.latest_step()
        if self._resumed:  # what was saved after the state that training continues from
            for later in [n for n in self._manager.all_steps() if n >= step]:
                self._manager.delete(later)
        elif latest is not None and latest >= step:
            raise ArgumentError(
                f"OrbaxCheckpoint cannot save checkpoint {step}: {self.directory!r} holds "
                f"checkpoint {latest} already. Pass another `directory`, or go on from there: "
                "`callback.restore(model)` and fit(..., initial_epoch=...)."
            )
        # The arrays are lent to the writer: no step will change or consume them.
        groups = self._variables(self.model)
        state = {name: {a: v.value for a, v in group.items()} for name, group in groups.items()}
        training = {
            "seed": self.model.run_seed, "steps": self.model.steps_taken, "shapes": _shapes(groups)
        }  # fmt: skip
        args = self._orbax.args
        with stalls.waiting():
            self._manager.save(
                step,
                args=args.Composite(
                    state=args.StandardSave(state), training=args.JsonSave(training)
                ),
            )
        return Path(self.directory) / str(step)

    def wait_until_finished(self) -> None:
        """Wait until all checkpoints are complete."""
        if self._open is not None:
            self._open.wait_until_finished()

    def set_state(self, state: Mapping[str, Any]) -> None:
        super().set_state(state)
        self._resumed = True

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._training, self._resumed = True, False

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._training = False
        self._close()

    def _close(self) -> None:
        """Release Orbax's threads, once all checkpoints are complete."""
        if self._open is not None and not self._training:
            with stalls.waiting():
                self._open.close()
            self._open = None

    def all_steps(self) -> list[int]:
        """The numbers of the checkpoints."""
        found = sorted(self._manager.all_steps())
        self._close()
        return found

    def restore(self, model: Any, step: int | None = None) -> int:
        """Give a model the weights, the optimizer's state and the random draws of a checkpoint.

        Args:
            model: A built model of the same architecture, compiled in the same way.
            step: Number of the checkpoint; the last one when None.

        Returns:
            The number of the checkpoint.

        Raises:
            FileNotFoundError: There is no such checkpoint.
            StructureError: The checkpoint holds other arrays than the model has.
            CorruptFileError: It does not say where the training was.
        """
        found = self.all_steps()
        if not found or (step is not None and step not in found):
            raise FileNotFoundError(
                f"{self.directory!r} has no checkpoint {'' if step is None else step}. It has "
                f"those numbers: {found}."
            )
        if not model.built:
            raise NotBuiltError(f"{model.name!r} has no weights yet. Build it before `restore`.")
        step = found[-1] if step is None else step
        groups = self._variables(model)
        wanted = {name: {a: v.value for a, v in group.items()} for name, group in groups.items()}
        args = self._orbax.args
        training = self._manager.restore(step, args=args.Composite(training=args.JsonRestore()))
        training = training["training"]
        numbers = [training.get(n) if isinstance(training, dict) else None for n in _NUMBERS]
        if not all(type(n) is int and n >= 0 for n in numbers):
            raise CorruptFileError(
                f"Checkpoint {step} of {self.directory!r} does not say where the training was:"
                f" {training!r}."
            )
        expected, received = _shapes(groups), training.get("shapes")
        if received != expected:
            raise StructureError(
                f"Checkpoint {step} of {self.directory!r} does not fit model {model.name!r} "
                f"and its optimizer.\n  expected: {expected}\n  received: {received}"
            )
        restored = self._manager.restore(
            step, args=args.Composite(state=args.StandardRestore(wanted))
        )
        for name, group in groups.items():
            for address, variable in group.items():
                variable.assign(restored["state"][name][address])
        model.resume_at(*numbers)
        self._close()
        return step


def _shapes(groups: dict[str, dict[str, Variable]]) -> dict[str, dict[str, list[int]]]:
    """What a checkpoint holds: lists, as JSON has them."""
    return {name: {a: list(v.shape) for a, v in group.items()} for name, group in groups.items()}
