"""Checkpoints of ``fit``: when they are written, what is in them, and how training continues."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self

import jax
import numpy as np

from lamina.callbacks import BackupAndRestore, Callback, CallbackList
from lamina.callbacks.backup import check_frequency
from lamina.callbacks.callback_list import flatten_callbacks
from lamina.core.boundary import warn
from lamina.core.sharding import is_on_mesh, put_parts
from lamina.core.variable import Variable, copied, read
from lamina.errors import (
    ArgumentError,
    CorruptFileError,
    LaminaError,
    StructureError,
    TrainingWarning,
)
from lamina.execution.interrupts import StopRequests
from lamina.execution.state import GROUPS, Live, TrainState
from lamina.layers.state import saved_addresses
from lamina.runtime import messages, processes, xla
from lamina.runtime.budget import one_family
from lamina.saving.checkpoint import (
    TRAINING,
    WEIGHTS,
    Checkpoint,
    Split,
    StoredArray,
)
from lamina.saving.json_values import decode, encode
from lamina.saving.optimizer import addresses_of
from lamina.training.data.samples import ArrayData
from lamina.training.data.stream import StreamData
from lamina.training.run import Run

_NUMBERS = ("epoch", "batch", "seed", "runs")


def checkpoints_of(model: Any, run: Run) -> Checkpoints | None:
    """What writes the checkpoints of a call of ``fit``; None if it writes none."""
    backup = _backup_of(run)
    return None if backup is None else Checkpoints(backup, model)


def _backup_of(run: Run) -> BackupAndRestore | None:
    """What decides about the checkpoints of a call of ``fit``; None if it writes none."""
    found = [c for c in flatten_callbacks(run.callbacks) if isinstance(c, BackupAndRestore)]
    check_frequency(run.checkpoint_every, "`checkpoint_every`")
    if run.resume is not None:
        found.append(BackupAndRestore(run.resume, run.checkpoint_every, True, False))
    elif run.checkpoint_every != "epoch":
        raise ArgumentError(
            "`checkpoint_every` needs a folder for the checkpoints. Pass `resume='folder'` too."
        )
    if len(found) > 1:
        raise ArgumentError(
            f"Checkpoints of one training belong in one folder. Received: "
            f"{[str(c.backup_dir) for c in found]}."
        )
    return found[0] if found else None


class _Steps(Protocol):
    """What runs the steps of an epoch."""

    done: int
    trained: bool
    last_logs: Any
    live: Live


class Checkpoints:
    """The checkpoints of one call of ``fit``, around all of which this is a context manager.

    Args:
        backup: Where and when to save.
        model: The model.

    Attributes:
        resumes: Whether there is a checkpoint to continue from.
    """

    def __init__(self, backup: BackupAndRestore, model: Any) -> None:
        self._backup, self._model = backup, model
        freq = backup.save_freq
        self._steps = None if isinstance(freq, (str, dt.timedelta)) else int(freq)
        self._seconds = freq.total_seconds() if isinstance(freq, dt.timedelta) else None
        self._requests = StopRequests()
        self._saved_at = time.monotonic()  # no clock that can be set
        self._latest: tuple[int, int] | None = None
        self._before_validation: tuple[list[Any], int, Any] | None = None
        self._epoch = self._first = self._done = 0
        self._logs: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        self._folder = self._backup.open(self._model)
        try:
            self._saved = self._folder.newest()
            if self._saved is not None:
                _check_numbers(self._saved, {n: self._saved.host.get(n) for n in _NUMBERS})
        except BaseException:
            self._backup.close(completed=False, failed=True)
            raise
        if not self._requests.installed:
            warn(
                "`fit` does not run in the main thread, so SIGTERM ends it without a last "
                "checkpoint.",
                TrainingWarning,
            )
        self._requests.__enter__()
        return self

    def __exit__(self, _: object, error: BaseException | None, *more: object) -> None:
        try:
            self._backup.close(completed=error is None, failed=error is not None)
            if error is None and self._requests.received is not None:
                self._requests.leave()
        except (OSError, LaminaError) as e:
            if error is None:
                raise
            error.add_note(f"Besides, the last checkpoint is not complete: {e}")  # no new error
        finally:
            self._requests.__exit__()

    # ---- restoring -----------------------------------------------------------------------------

    @property
    def resumes(self) -> bool:
        return self._saved is not None

    def place_model(self, run: Run) -> Run:
        """Set the model's seed and counters, from which the order of data and draws derive.

        Returns:
            The arguments of ``fit`` with the epoch to continue with.
        """
        if self._saved is None:
            return run
        host = self._saved.host
        self._model.resume_at(host["seed"], self._saved.step, host["runs"])
        return dataclasses.replace(run, initial_epoch=host["epoch"])

    def place_data(
        self, training: ArrayData | StreamData, validation: ArrayData | StreamData | None
    ) -> None:
        """Go to the positions in the data, before anything of it is drawn."""
        self._training = training
        self._validation = validation if isinstance(validation, StreamData) else None
        training.track()
        if self._validation is not None:
            self._validation.track()
        if self._saved is not None:
            with one_family(str(self._folder.path)):
                self._place_data(self._saved, training)

    def _place_data(self, saved: Checkpoint, training: ArrayData | StreamData) -> None:
        host, arrays = saved.host, saved.arrays[TRAINING]
        state, held = (decode(saved.data[name], arrays) for name in ("training", "validation"))
        for position in (state, held or {}):
            _check_numbers(saved, {k: position.get(k, 0) for k in ("taken", "position", "passes")})
        done = 0 if host["trained"] else host["batch"]
        expected, received = state["data"], training.get_state()["data"]
        if (done or state["taken"]) and expected != received:
            raise ArgumentError(
                f"The data differs from that of the training in {str(self._folder.path)!r}, which "
                "was interrupted within an epoch.",
                expected=expected, received=received,
                cure="Pass the same data and `batch_size`, or another folder to start anew.",
            )  # fmt: skip
        training.set_state(state, done)
        if held is not None and self._validation is not None:
            self._validation.set_state(held, 0)

    def prepare_optimizer(self) -> None:
        """Create the optimizer's state of weights that were trained, then frozen."""
        if self._model.optimizer is None or self._saved is None:
            return
        known = saved_addresses(self._model)
        with one_family(str(self._folder.path)):
            optimized = self._saved.host["optimized"]
            if optimized and set(optimized) <= known.keys():
                self._model.optimizer.build({address: known[address] for address in optimized})

    def begin(self, outside: frozenset[str], runner: _Steps) -> None:
        """Restore the arrays.

        Args:
            outside: Addresses of variables that the model does not hold.
            runner: What runs the steps, with the state of the training.
        """
        self._runner = runner
        self._weights = saved_addresses(self._model).keys() - outside
        if self._saved is not None:
            with one_family(str(self._folder.path)):
                self._restore(self._saved)

    def resume(self, hooks: CallbackList) -> Mapping[str, Any]:
        """Restore everything else, after ``on_train_begin``.

        Within an epoch, ``on_epoch_begin`` is called first, so that callbacks have what they create
        there. The arrays are restored once more, as these hooks may have changed them.

        Returns:
            The logs of the last epoch.
        """
        self._hooks, saved = hooks, self._saved
        if saved is None:
            return {}
        host = saved.host
        if host["batch"]:
            hooks.on_epoch_begin(host["epoch"])
        with one_family(str(self._folder.path)):
            return self._resume(saved)

    def _resume(self, saved: Checkpoint) -> Mapping[str, Any]:
        host, arrays = saved.host, saved.arrays[TRAINING]
        self._restore(saved)
        self._set_states([(name, decode(state, arrays)) for name, state in host["callbacks"]])
        self._model.stop_training = host["stopped"]
        runner = self._runner
        runner.done, runner.trained = host["batch"], host["trained"]
        runner.last_logs = {
            name.removeprefix("logs/"): np.asarray(x)
            for name, x in arrays.items()
            if name.startswith("logs/")
        }
        self._latest = saved.step, host["epoch"]
        logs = decode(host["logs"], arrays)
        if not isinstance(logs, dict):
            raise CorruptFileError(f"The checkpoint after step {saved.step} has no logs: {logs!r}.")
        self._saved, self._logs = None, logs
        return logs

    def _set_states(self, saved: list[tuple[str, Any]]) -> None:
        """Restore the states of callbacks: for each class, in the order of its objects."""
        for callback in self._own_callbacks():
            for i, (name, state) in enumerate(saved):
                if name == type(callback).__name__:
                    callback.set_state(state)
                    del saved[i]
                    break
        if saved:
            warn(
                f"The checkpoint has states of callbacks that this `fit` does not have: "
                f"{[name for name, _ in saved]}.",
                TrainingWarning,
            )

    def _own_callbacks(self) -> list[Callback]:
        return [c for c in self._hooks.callbacks if isinstance(c, Callback)]

    def _names(self, state: TrainState) -> Iterator[tuple[str, str, str, str]]:
        """Group, address, file and name in the file of each array of the state."""
        for group in GROUPS:
            for address in state.group(group):
                if group in ("optimizer", "metrics"):
                    yield group, address, TRAINING, f"{group}/{address}"
                elif address in self._weights:
                    yield group, address, WEIGHTS, address
                else:
                    yield group, address, TRAINING, f"other/{address}"

    def _frozen(self, state: TrainState) -> dict[str, Variable]:
        """The optimizer's state of weights that are not trained now, by name in the file."""
        optimizer = self._model.optimizer
        return {
            f"optimizer/{key}": v for key, v in optimizer.state_variables.items()
            if key not in state.optimizer
        }  # fmt: skip

    def _restore(self, saved: Checkpoint) -> None:
        state, frozen = self._runner.live.state, self._frozen(self._runner.live.state)
        wanted = {(file, name): (g, a) for g, a, file, name in self._names(state)}
        stored = {(f, name): x for f, table in saved.arrays.items() for name, x in table.items()}
        metrics = {
            k for k in {**wanted, **stored} if k[1].startswith("metrics/") and k[0] == TRAINING
        }
        if not saved.host["batch"]:  # the next epoch resets them
            stored = {k: x for k, x in stored.items() if k not in metrics}
            wanted = {k: place for k, place in wanted.items() if k not in metrics}
        self._check_structure(state, wanted, frozen, stored)
        del state  # so that each array makes room for the next
        for key, (group, address) in wanted.items():
            self._runner.live.replace(
                group, address, _placed(stored[key], self._runner.live.get(group, address))
            )
        self._runner.live.state = self._runner.live.state.replace(
            step=np.int32(saved.step),
            first_nonfinite=np.asarray(stored[TRAINING, "first_nonfinite"]),
        )  # fmt: skip
        for name, variable in frozen.items():
            variable.assign(_placed(stored[TRAINING, name], variable.value))

    def _check_structure(
        self, state: TrainState, wanted: Mapping[tuple[str, str], tuple[str, str]],
        frozen: Mapping[str, Variable], stored: Mapping[tuple[str, str], StoredArray],
    ) -> None:  # fmt: skip
        """Check that the arrays of the checkpoint are those of this training."""
        expected = {key: state.group(g)[a] for key, (g, a) in wanted.items()}
        expected |= {(TRAINING, name): v for name, v in frozen.items()}
        own = ("optimizer/", "metrics/", "other/")
        found = {k: x for k, x in stored.items() if k[0] == WEIGHTS or k[1].startswith(own)}
        differences = {
            "only here": [name for _, name in expected.keys() - found],
            "only in the checkpoint": [name for _, name in found.keys() - expected],
            "different": [],
        }
        for key in expected.keys() & found:
            here, there = [(str(x.dtype), tuple(x.shape)) for x in (expected[key], found[key])]
            if here != there:
                differences["different"].append(f"{key[1]} ({here} here, {there} there)")
        shown = [
            f"\n  {what}: " + ", ".join(sorted(names)[:5])
            + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            for what, names in differences.items() if names
        ]  # fmt: skip
        if shown:
            raise StructureError(
                f"The checkpoint in {str(self._folder.path)!r} is of another model, optimizer or "
                "metrics." + "".join(shown),
                cure="Train with the same code, or pass another folder to start anew.",
            )

    # ---- saving --------------------------------------------------------------------------------

    def epoch_begins(self, epoch: int) -> None:
        """Note where the epoch begins; the host counts steps itself, so as not to wait for one."""
        self._epoch, self._done = epoch, self._runner.done
        self._first = self._model.steps_taken - self._done

    def most_steps(self, done: int) -> int:
        """How many steps may be dispatched at once after ``done`` steps of the epoch."""
        if self._steps is None:
            return sys.maxsize
        return self._steps - (self._first + done) % self._steps

    def after_steps(self, done: int) -> None:
        """Save if a checkpoint is due; stop if a signal asks to.

        Args:
            done: Number of steps of the epoch so far.

        Raises:
            OSError: An earlier checkpoint could not be written.
        """
        self._folder.check()
        self._done = done
        step = self._first + done
        due = self._steps is not None and step % self._steps == 0
        if self._requests.are_due():
            self._stop(self._epoch, done)
        elif due or self._is_time():
            self._save(self._epoch, done)

    def _is_time(self) -> bool:
        if self._seconds is None:
            return False
        return processes.any_of(time.monotonic() - self._saved_at >= self._seconds)

    def validation_begins(self) -> None:
        """Note what a validation changes: one that is interrupted is repeated as a whole."""
        self._before_validation = self._host_parts()

    def in_validation(self) -> None:
        """Stop if a signal asks to, in a state from which the validation is repeated."""
        if self._requests.are_due():
            self._stop(self._epoch, self._done, trained=True)

    def epoch_ended(self, epoch: int, logs: Mapping[str, Any], last: bool) -> None:
        """Save after an epoch, all its callbacks included, if a checkpoint is due.

        Args:
            epoch: The epoch.
            logs: Its logs.
            last: Whether training ends with it.
        """
        self._folder.check()
        self._before_validation, self._logs = None, logs
        score = self._backup.current(logs) if self._backup.keep_best else None
        if self._requests.are_due() and not last:
            self._stop(epoch + 1, 0, score=score)
        if last or self._backup.save_freq == "epoch" or self._is_time():
            self._save(epoch + 1, 0, score=score)

    def _stop(self, epoch: int, batch: int, **options: Any) -> None:
        if self._latest != (self._first + self._done, epoch):
            self._save(epoch, batch, **options)
        self._folder.wait()
        step = self._first + self._done
        messages.stream().write(
            f"\nTraining was stopped by a signal after step {step}. Its state is in "
            f"{str(self._folder.path)!r}; the same call of fit() continues from there.\n"
        )
        self._requests.leave()

    def _host_parts(self) -> tuple[list[Any], int, Any]:
        """The states of callbacks, the number of evaluations, the position in the validation."""
        states = [[type(c).__name__, s] for c in self._own_callbacks() if (s := c.get_state())]
        held = None if self._validation is None else self._validation.get_state()
        return states, self._model.runs_taken, held

    def _save(
        self, epoch: int, batch: int, trained: bool = False, score: float | None = None
    ) -> None:
        """Write a checkpoint in the background, of copies that no step changes."""
        state, model = self._runner.live.state, self._model
        step = self._first + self._done
        tables: dict[str, dict[str, Any]] = {WEIGHTS: {}, TRAINING: {}}
        for group, address, file, name in self._names(state):
            tables[file][name] = state.group(group)[address]
        own = tables[TRAINING]
        own |= read(self._frozen(state))
        own |= {f"logs/{name}": x for name, x in self._runner.last_logs.items()}
        own["first_nonfinite"] = state.first_nonfinite
        arrays = _on_host(tables)
        own = arrays[TRAINING]
        number = processes.number()
        states, runs, held = self._before_validation or self._host_parts()
        host = {
            "epoch": epoch, "batch": batch, "seed": model.run_seed, "runs": runs,
            "trained": batch > 0 and (trained or model.stop_training),
            "stopped": bool(model.stop_training),
            "optimized": addresses_of(model),
            "logs": encode(dict(self._logs), own, "host/logs"),
            "callbacks": [
                [name, encode(s, own, f"callbacks/{i}/{name}")]
                for i, (name, s) in enumerate(states)
            ],
        }  # fmt: skip
        data = {
            "training": encode(self._training.get_state(), own, f"data{number}/training"),
            "validation": encode(held, own, f"data{number}/validation"),
        }
        if number:  # what all processes have, process 0 writes
            arrays = {
                file: {k: x for k, x in table.items()
                       if isinstance(x, Split) or k.startswith(f"data{number}/")}
                for file, table in arrays.items()
            }  # fmt: skip
        self._folder.save(Checkpoint(step, arrays, host, data, score))
        self._latest, self._saved_at = (step, epoch), time.monotonic()


def _placed(stored: StoredArray, current: Any) -> Any:
    """A stored array where the current one lies; each process reads what its devices need."""
    if is_on_mesh(current):
        return put_parts(stored.shape, stored.dtype, current.sharding, stored.read)
    return copied(np.asarray(stored))


def _on_host(tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Copies of arrays in the host's memory, complete before the next step consumes the arrays.

    Of an array that is split over several processes, it is the parts of this one.
    """
    if processes.are_several():
        return {
            file: {name: y for name, x in table.items() if (y := _own_parts(x)) is not None}
            for file, table in tables.items()
        }
    if not xla.has_own_memory():
        # The copies are seen by NumPy, not the arrays: those could not be donated any more.
        tables = jax.block_until_ready(copied(tables))
        return jax.tree.map(np.asarray, tables)
    for x in jax.tree.leaves(tables):
        if isinstance(x, jax.Array):
            x.copy_to_host_async()
    return jax.tree.map(np.array, tables)


def _own_parts(x: Any) -> Any:
    """A copy of what this process writes of an array; None if another one writes all of it."""
    if not isinstance(x, jax.Array):
        return np.array(x) if processes.is_first() else None
    # They are copied by JAX, as what NumPy has seen could not be donated any more.
    if x.is_fully_replicated:
        return np.asarray(copied(x.addressable_data(0))) if processes.is_first() else None
    parts = {}
    for shard in x.addressable_shards:
        if shard.replica_id == 0:
            start = tuple(s.indices(n)[0] for s, n in zip(shard.index, x.shape, strict=True))
            parts[start] = np.asarray(copied(shard.data))
    return Split(x.shape, np.dtype(x.dtype), parts)


def _check_numbers(saved: Checkpoint, numbers: Mapping[str, Any]) -> None:
    if not all(type(n) is int and 0 <= n < 2**63 for n in numbers.values()) or saved.step >= 2**31:
        raise CorruptFileError(
            f"The checkpoint after step {saved.step} does not say where the training was: "
            f"{numbers}."
        )
