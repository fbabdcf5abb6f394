"""Callbacks that report the logs: to functions, to a CSV file, or to a server."""

from __future__ import annotations

import csv
import io
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lamina.callbacks.base import HOOKS, Callback
from lamina.core.boundary import warn
from lamina.errors import ArgumentError, TrainingWarning, unknown_name
from lamina.saving.paths import make_folder, path_text
from lamina.serialization.registry import builtin


@builtin("callbacks")
class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_begin: ``f(epoch, logs)``.
        on_epoch_end: ``f(epoch, logs)``.
        on_train_begin: ``f(logs)``.
        on_train_end: ``f(logs)``.
        on_train_batch_begin: ``f(batch, logs)``.
        on_train_batch_end: ``f(batch, logs)``.
        kwargs: Functions for the other hooks of :class:`Callback`, by name.

    Raises:
        UnknownNameError: A name that is not a hook.

    >>> losses = []
    >>> keep = LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(logs["loss"]))
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Callable[..., Any],
    ) -> None:
        super().__init__()
        given = {
            "on_epoch_begin": on_epoch_begin, "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin, "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin, "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }  # fmt: skip
        for name, function in given.items():
            if name not in HOOKS:
                raise unknown_name("hook of LambdaCallback()", name, HOOKS)
            if function is not None:
                setattr(self, name, function)


@builtin("callbacks")
class CSVLogger(Callback):
    """Writes the logs of each epoch as a row of a CSV file.

    The file is complete after each epoch. A log that first appears in a later epoch (as with
    ``validation_freq``) gets a new column, which is ``NA`` in the rows before.

    Args:
        filename: Path of the file.
        separator: Separator of the columns.
        append: Whether to continue an existing file, with its columns, instead of replacing it.

    Raises:
        ArgumentError: The file to append to is not a table of epochs.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((1,)), lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit([[1.0]], [[2.0]], epochs=2, verbose=0, callbacks=[CSVLogger("log.csv")])
    >>> Path("log.csv").read_text().splitlines()[0]
    'epoch,loss'
    """

    everywhere: ClassVar[bool] = False

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename, self.sep, self.append = path_text(filename), separator, append
        self._path = Path(self.filename)
        self._columns: list[str] = []
        self._rows = 0
        self._replaces = not append

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        make_folder(self._path.parent)
        # Replaced with the first row: a training that is resumed continues the file.
        self._replaces = not (self.append and self._path.exists())
        self._columns, self._rows = [], 0
        if not self._replaces:
            self._columns = next(iter(lines := self._read()), [])
            self._rows = max(len(lines) - 1, 0)
        if self._columns and self._columns[0] != "epoch":
            raise ArgumentError(
                f"CSVLogger: {self.filename!r} is not a table of epochs to continue.",
                expected="a first line that starts with 'epoch'",
                received=self._columns,
                cure="Pass append=False to replace it.",
            )

    def get_state(self) -> dict[str, Any]:
        return {"columns": self._columns, "rows": self._rows}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue the file after the rows that it had, whatever was added since."""
        self._columns, self._rows = list(state["columns"]), state["rows"]
        self._replaces = False
        known = self._columns and self._path.exists()
        lines = self._read()[: self._rows + 1] if known else []
        if len(lines) != self._rows + bool(self._columns):
            warn(
                f"CSVLogger: {self.filename!r} lacks rows that it had before the training was "
                f"interrupted: it has {max(len(lines) - 1, 0)} of {self._rows}.",
                TrainingWarning,
            )
        width = len(self._columns)
        self._replace([self._columns, *(line[:width] for line in lines[1:])] if width else [])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._replaces:
            self._replace([])
            self._replaces = False
        row = {"epoch": epoch, **{k: _plain(v) for k, v in sorted((logs or {}).items())}}
        new = [name for name in row if name not in self._columns]
        if new:
            lines = self._read()[1:]
            self._columns = [*self._columns, *new]
            self._replace([self._columns, *([*line, *["NA"] * len(new)] for line in lines)])
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(self._text([[row.get(name, "NA") for name in self._columns]]))
        self._rows += 1

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._replaces:
            self._replace([])

    def _read(self) -> list[list[str]]:
        with self._path.open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file, delimiter=self.sep))

    def _replace(self, lines: list[list[Any]]) -> None:
        """Replace the file atomically, so that a crash leaves either the old or the new table."""
        fresh = self._path.with_name(f"{self._path.name}.tmp")
        fresh.write_text(self._text(lines), encoding="utf-8", newline="")
        os.replace(fresh, self._path)

    def _text(self, lines: list[list[Any]]) -> str:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=self.sep, lineterminator="\n").writerows(lines)
        return buffer.getvalue()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, Mapping)):  # what a callback has put there
        return value
    return float(value) if np.ndim(value) == 0 else np.asarray(value).tolist()


_SECONDS = 10.0  # that a server has to answer


@builtin("callbacks")
class RemoteMonitor(Callback):
    """Sends the logs of each epoch to a server, by an HTTP POST.

    What is sent is a JSON object: the logs, and the number of the epoch as ``"epoch"``. A server
    that does not answer within 10 seconds, or refuses, is a warning; training goes on.

    Args:
        root: Start of the URL, such as ``"http://localhost:9000"``.
        path: Rest of the URL.
        field: Name of the form field with the JSON text, without ``send_as_json``.
        headers: Headers of the request.
        send_as_json: Whether to send the JSON object itself, as ``application/json``, instead of
            a form.

    Raises:
        ArgumentError: A URL that is neither HTTP nor HTTPS.

    >>> monitor = RemoteMonitor("http://localhost:9000", send_as_json=True)
    >>> monitor.url
    'http://localhost:9000/publish/epoch/end/'
    """

    everywhere: ClassVar[bool] = False

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        super().__init__()
        self.root, self.path, self.field = root, path, field
        self.headers, self.send_as_json = headers, send_as_json
        self.url = root + path
        if not self.url.startswith(("http://", "https://")):
            raise ArgumentError(
                "RemoteMonitor: `root` must begin with 'http://' or 'https://'. "
                f"Received: {root!r}."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        text = json.dumps({"epoch": epoch, **{k: _plain(v) for k, v in (logs or {}).items()}})
        kind, body = "application/json", text
        if not self.send_as_json:
            kind, body = (
                "application/x-www-form-urlencoded",
                urllib.parse.urlencode({self.field: text}),
            )
        request = urllib.request.Request(  # noqa: S310 - the constructor has checked the scheme
            self.url, body.encode(), {"Content-Type": kind, **(self.headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
                pass
        except OSError as e:
            warn(
                f"RemoteMonitor could not send the logs of epoch {epoch} to {self.url}: {e}.",
                TrainingWarning,
            )
