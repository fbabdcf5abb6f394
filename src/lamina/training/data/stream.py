"""Batches from a source, each made in the background while the one before is computed with."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from lamina.core.boundary import warn
from lamina.errors import ArgumentError, DataError, StructureError, TrainingWarning
from lamina.execution.batches import Batch, unpack_x_y_sample_weight
from lamina.training.data.arrays import Rows, arrays_of
from lamina.training.data.batches import Weigh, common_length, describe, map_arrays, separate
from lamina.training.data.passes import Pass
from lamina.training.data.sources import Source
from lamina.tree import nested


class StreamData:
    """Batches from a source, each made in the background while the one before is computed with.

    A single thread draws from the source, never more than two batches ahead, and never beyond
    ``steps``: what is left in a generator stays in it. The thread ends with the pass.

    Args:
        source: Gives ``x``, ``(x, y)`` or ``(x, y, sample_weight)``.
        over: The steps of a pass, and the names that separate targets from inputs.

    Raises:
        ArgumentError: A source without end, and no number of steps.
    """

    def __init__(self, source: Source, over: Pass) -> None:
        if over.steps is None and source.endless:
            raise ArgumentError(
                "This data has no end. Say how many batches make a pass: `steps_per_epoch` (and "
                "`validation_steps`) in fit(), `steps` in evaluate() and predict()."
            )
        self._source, self.over = source, over
        self.steps = over.steps or source.steps
        self._most: int | None = None
        self._weigh: Weigh | None = None
        self._structure: dict[Any, bool] | None = None
        self._example = ""
        self._running: Any = None
        self._peeked: list[Batch] = []
        self._kept: list[Batch] | None = None  # what a single pass has given, for later ones
        self._keeps = False
        self._passes = self._less = 0
        self._used: Batch | None = None  # the example of a pass that is resumed
        self._resumes = False

    def peek(self) -> Batch:
        """The first batch of the pass that :meth:`batches` goes on with."""
        if self._resumes and self._used is None:
            self._used = next(self._begin())
        if self._used is not None:
            return self._used
        if self._kept:
            return self._kept[0]
        if not self._peeked:
            self._peeked = [next(self._running or self._begin())]
        return self._peeked[0]

    def batches(self) -> Iterator[Batch]:
        """The batches of one pass.

        Raises:
            DataError: there is none.
        """
        if self._kept is not None:
            yield from self._kept
            return
        kept = []
        if self._resumes:
            self.peek()
        self._resumes, self._used = False, None
        running = self._running or self._begin()
        self._source.begin_pass()
        try:
            for batch in itertools.chain(self._rest_of_peeked(), running):
                if self._keeps:
                    kept.append(batch)
                self._source.given += 1
                yield batch
        finally:
            self._running = None
            running.close()
            self._source.end_pass(self.over)
        if self._keeps:
            self._kept = kept
        self._passes += 1
        self._source.epoch_end()

    def _rest_of_peeked(self) -> Iterator[Batch]:
        while self._peeked:
            yield self._peeked.pop()

    def keep(self) -> None:
        """Let every pass have the batches of the first one, if the source gives them once only.

        Not where a number of steps was asked for: then each pass goes on where the one before
        stopped.
        """
        self._keeps = self._source.once and self.over.steps is None

    @property
    def is_used_up(self) -> bool:
        """Whether a source that gives its batches once has no more of them."""
        if not self._source.once or self._kept is not None:
            return False
        if self._resumes:
            self.peek()
        self._resumes, self._used = False, None
        try:
            self.peek()
        except (DataError, StopIteration):
            return True
        return False

    def get_state(self) -> dict[str, Any]:
        """The position after the batches that were used, as JSON has it."""
        if self._keeps:  # every pass has the batches of the first, which is made anew
            state: dict[str, Any] = {"taken": 0, "position": 0, "iterator": None}
        else:
            state = self._source.get_state(self.over)
        return {**state, "passes": self._passes, "data": {"steps": self.steps}}

    def set_state(self, state: Mapping[str, Any], done: int) -> None:
        """Go to the position that :meth:`get_state` returned, before anything is drawn.

        Until the next pass begins, :meth:`peek` returns the last batch that was used: there may
        be no other.

        Args:
            state: What it returned.
            done: Number of batches used in the current pass.
        """
        self._source.repeat_hooks(state["passes"])
        self._passes = state["passes"]
        self._resumes = state["taken"] > 0
        self._source.set_state(state, done, again=1)
        self._less = done - self._resumes
        if self._resumes and state["iterator"] is None and not self._source.skips_cheaply:
            warn(
                f"{state['taken']} batches of the data are made and dropped, to continue after "
                "them. Arrays, a `PyDataset` and iterators with `get_state` and `set_state` (as "
                "grain's) continue at once.",
                TrainingWarning,
            )

    def track(self) -> None:
        """Keep what :meth:`get_state` needs; to be called before the first batch is made."""
        self._source.tracks = True

    def weighted(self, weigh: Weigh) -> StreamData:
        """The same batches, with the sample weights that ``weigh`` makes of targets and weights.

        To be called before the first batch is made.
        """
        self._weigh = weigh
        return self

    def limit(self, steps: int) -> None:
        """End passes after that many batches, if not before."""
        self._most = steps
        if self.steps is not None:
            self.steps = steps
        if self.over.steps is not None:
            self.over.steps = steps

    def close(self) -> None:
        """End the thread, and what the source has started."""
        self._source.close()
        if self._running is not None:
            self._running.close()

    def _begin(self) -> Any:
        self._source.epoch_begin()
        self._running = ahead(self._made())
        return self._running

    def _made(self) -> Iterator[Batch]:
        most = None if self._most is None else self._most - self._less
        number = self._less = 0
        for number, data in enumerate(itertools.islice(self._source.batches(self.over), most), 1):
            yield self._arrays(data, number)
        if number == 0:
            raise DataError(
                "The data yields no batch. If it is a generator, it is used up: one pass takes "
                "all of it. Make a new one, give `steps_per_epoch` for a generator that goes on, "
                "or pass an object that can be iterated again."
            )

    def _arrays(self, data: Any, number: int) -> Batch:
        """A batch as arrays, checked against the first one."""
        x, y, sample_weight = separate(unpack_x_y_sample_weight(data), self.over)
        prepare = self.over.prepare
        raw = prepare is not None
        batch: Batch = (arrays_of(x, raw), arrays_of(y), arrays_of(sample_weight))
        batch = map_arrays(lambda a: a[:] if isinstance(a, Rows) else a, batch)
        structure = {path: leaf is None for path, leaf in nested.flatten_with_path(batch)}
        if self._structure is None:
            self._structure, self._example = structure, describe(batch)
        elif structure != self._structure:
            raise StructureError(
                f"Batch {number} is put together differently from the first.\n  first: "
                f"{self._example}\n  batch {number}: {describe(batch)}"
            )
        try:
            common_length(batch)
        except DataError as e:
            raise DataError(f"Batch {number}: {e}") from None
        x, y, sample_weight = batch
        if prepare is not None:
            x = prepare(x)
        if self._weigh is not None:
            sample_weight = self._weigh(y, sample_weight)
        return x, y, sample_weight


def ahead(items: Iterator[Any], most: int = 1) -> Any:
    """The same items, made by a background thread while earlier ones are in use; ``most`` wait.

    An error of ``items`` is raised here with its own traceback. Closing this generator ends the
    thread, as soon as the item that it is making is done.
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(maxsize=most)
    closed = threading.Event()
    end = StopIteration()

    def run() -> None:
        try:
            for item in items:
                ready.put((item, None))
                if closed.is_set():
                    return
            ready.put((None, end))
        except BaseException as e:  # noqa: BLE001 - the consumer raises it
            ready.put((None, e))
        finally:
            items.close()  # pyright: ignore[reportAttributeAccessIssue]

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(run,), name="lamina-data", daemon=True
    )
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is end:
                return
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # which refers to this frame
            yield item
    finally:
        closed.set()
        with contextlib.suppress(queue.Empty):  # room for the one item that may still come
            ready.get_nowait()
        thread.join(timeout=1)
