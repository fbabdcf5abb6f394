"""Logs, weights and graphs for TensorBoard."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import numpy as np

from lamina.callbacks.base import NUMBER, Callback
from lamina.callbacks.events import EventWriter, as_images, write_embeddings
from lamina.errors import ArgumentError, unknown_name
from lamina.layers import Embedding
from lamina.serialization.fields import is_integer
from lamina.serialization.registry import builtin


@runtime_checkable
class _SeveralOptimizers(Protocol):
    @property
    def optimizers(self) -> list[Any]: ...


@builtin("callbacks")
class TensorBoard(Callback):
    """Writes what TensorBoard shows; it needs the package ``tensorboard``, not TensorFlow.

    Training is the run ``train``, validation and ``evaluate`` the run ``validation``. The tags are
    Keras's: ``epoch_<log>`` by epoch, with ``epoch_learning_rate``; ``batch_<log>`` by training
    step of this ``fit``; ``evaluation_<log>_vs_iterations`` by update of the optimizer;
    ``<path of the weight>/histogram`` and ``/image`` by epoch. The graph of layers, with nested
    models as groups, is that of the run ``train``. See it with ``tensorboard --logdir logs``.

    Args:
        log_dir: Folder of the runs.
        histogram_freq: Number of epochs between two histograms of all weights; 0 for none.
        write_graph: Whether to write the graph, of a model that is one.
        write_images: Whether to write the weights as images where there are histograms. Each is
            scaled to its own range.
        write_steps_per_second: Whether to write the number of training steps per second.
        update_freq: ``"epoch"``, or the number of steps between two writings of the logs;
            ``"batch"`` is 1. A number makes the loop run a single step at a time.
        profile_batch: Number of the training step to profile, from 1, or first and last one of
            several; 0 for none. The profile is JAX's, which ``xprof`` shows in TensorBoard.
        embeddings_freq: Number of epochs between two writings of the tables of all
            :class:`~lamina.layers.Embedding` layers, for the projector; 0 for none.
        embeddings_metadata: Name of a file in ``log_dir`` with a line for each row of the
            tables, or a dict of such names by name of layer.

    Raises:
        MissingPackageError: ``tensorboard`` is not installed.
        ArgumentError: A wrong ``update_freq`` or ``profile_batch``.
        UnknownNameError: In ``fit``, a name of ``embeddings_metadata`` that no layer has.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit([[1.0]], [[2.0]], verbose=0, callbacks=[TensorBoard("logs")])
    >>> sorted(path.name for path in Path("logs").iterdir())
    ['train']
    """

    _state: ClassVar = {"_step": NUMBER}

    def __init__(
        self,
        log_dir: Any = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: Any = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        self.log_dir, self.histogram_freq, self.write_graph = log_dir, histogram_freq, write_graph
        self.write_images, self.write_steps_per_second = write_images, write_steps_per_second
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self.embeddings_freq = embeddings_freq
        self.embeddings_metadata = embeddings_metadata
        if self.update_freq != "epoch" and not (
            is_integer(self.update_freq) and self.update_freq > 0
        ):
            raise ArgumentError(
                "TensorBoard: `update_freq` must be 'epoch', 'batch' or a positive number of "
                f"steps. Received: {update_freq!r}."
            )
        self._profiled = _steps_to_profile(profile_batch)
        self._writers: dict[str, EventWriter] = {}
        self._step = self._updates = 0
        self._began = self._batch_began = 0.0
        self._profiling = False
        self._marked = contextlib.ExitStack()  # the step that runs, in the profile
        EventWriter.require()
        if self.update_freq != "epoch" or self._profiled is not None:
            # Set on the object: a batch hook of the class would slow down all its objects.
            self.on_train_batch_begin = self._before_step
            self.on_train_batch_end = self._after_step

    def _writer(self, run: str) -> EventWriter:
        if run not in self._writers:
            self._writers[run] = EventWriter(Path(self.log_dir) / run)
        return self._writers[run]

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()

    # ---- training ------------------------------------------------------------------------------

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._step, self._writers = 0, {}
        self._metadata()  # are the names right?
        if self.write_graph and self.model.layer_graph is not None:
            self._writer("train").graph(self.model)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._stop_profile()
        self._flush()
        self._writers = {}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._updates, self._began = int(self.model.optimizer.iterations), time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        seconds = time.perf_counter() - self._began
        train = {k: v for k, v in (logs or {}).items() if not k.startswith("val_")}
        validation = {k[4:]: v for k, v in (logs or {}).items() if k.startswith("val_")}
        train |= self._learning_rates()
        if self.write_steps_per_second:
            updates = int(self.model.optimizer.iterations) - self._updates
            train["steps_per_second"] = updates / seconds
        writer = self._writer("train")
        writer.scalars(train, "epoch_", epoch)
        if validation:
            self._writer("validation").scalars(validation, "epoch_", epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(writer, epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            tables = {x.name: np.asarray(x.embeddings) for x in self._embeddings()}
            write_embeddings(Path(self.log_dir), tables, self._metadata())
        self._flush()

    def _learning_rates(self) -> dict[str, float]:
        optimizer = self.model.optimizer
        if isinstance(optimizer, _SeveralOptimizers):
            several = optimizer.optimizers
            return {f"learning_rate_{one.name}": float(one.learning_rate) for one in several}
        try:
            return {"learning_rate": float(optimizer.learning_rate)}
        except ArgumentError:  # a transformation of optax without a learning rate to read
            return {}

    def _write_weights(self, writer: EventWriter, epoch: int) -> None:
        for layer in self.model.layers:
            for weight in layer.weights:
                tag, value = weight.path.replace(":", "_"), weight.numpy().astype("float32")
                writer.histogram(f"{tag}/histogram", value, epoch)
                images = as_images(value) if self.write_images else None
                if images is not None:
                    writer.images(f"{tag}/image", images, epoch)

    def _embeddings(self) -> list[Any]:
        return [x for x in self.model.layers if isinstance(x, Embedding)]

    def _metadata(self) -> Mapping[str, str]:
        """The names of the files with metadata, by name of layer."""
        names, given = [x.name for x in self._embeddings()], self.embeddings_metadata
        if not isinstance(given, Mapping):
            return {} if given is None else dict.fromkeys(names, str(given))
        for name in given:
            if name not in names:
                raise unknown_name("Embedding layer of `embeddings_metadata`", name, names)
        return given

    # ---- steps ---------------------------------------------------------------------------------

    def _before_step(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._step += 1
        if self._profiled is not None and self._step == self._profiled[0]:
            self._writer("train")  # makes the folder
            jax.profiler.start_trace(str(Path(self.log_dir) / "train"))
            self._profiling = True
        if self._profiling:
            step = jax.profiler.StepTraceAnnotation("train", step_num=self._step)
            self._marked.enter_context(step)
        self._batch_began = time.perf_counter()

    def _after_step(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        seconds = time.perf_counter() - self._batch_began
        self._marked.close()
        if self._profiled is not None and self._step >= self._profiled[1]:
            self._stop_profile()
        if self.update_freq == "epoch" or self._step % self.update_freq:
            return
        shown = dict(logs or {})
        if self.write_steps_per_second:
            shown["steps_per_second"] = 1 / seconds
        self._writer("train").scalars(shown, "batch_", self._step)

    def _stop_profile(self) -> None:
        if self._profiling:
            self._profiling = False
            jax.profiler.stop_trace()

    # ---- evaluation ----------------------------------------------------------------------------

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        optimizer = self.model.optimizer
        if optimizer is None:
            return
        shown = {f"{name}_vs_iterations": value for name, value in (logs or {}).items()}
        writer = self._writer("validation")
        writer.scalars(shown, "evaluation_", int(optimizer.iterations))
        self._flush()


def _steps_to_profile(given: Any) -> tuple[int, int] | None:
    """The first and the last step to profile, or None."""
    steps: Any = given.split(",") if isinstance(given, str) else given
    steps = [steps] if isinstance(steps, str) or is_integer(steps) else steps
    try:
        first, last = int(steps[0]), int(steps[-1])
        if first == last == 0:
            return None
        if len(steps) <= 2 and 0 < first <= last:
            return first, last
    except (TypeError, ValueError, IndexError):
        pass
    raise ArgumentError(
        "TensorBoard: `profile_batch` must be a number of a step from 1, the first and the last "
        f"of several, or 0. Received: {given!r}."
    )
