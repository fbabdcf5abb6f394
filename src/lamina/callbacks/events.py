"""Files that TensorBoard reads, written with its own package and without TensorFlow."""

from __future__ import annotations

import io
import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lamina.runtime import optional
from lamina.runtime.files import NOWHERE
from lamina.runtime.processes import is_first
from lamina.saving.paths import make_folder
from lamina.visualization.diagram import make_diagram

_VERSION = "brain.Event:2"
_BUCKETS = 30
_IMAGES = 3  # of one tag and step, the most that are written
_SECONDS = 10.0  # that events wait, while there are others
_numbers = itertools.count()


def _part(name: str) -> Any:
    """A module of the package ``tensorboard``."""
    return optional.load(f"tensorboard.{name}", "TensorBoard()", "lamina[tensorboard]")


def _proto(name: str) -> Any:
    return _part(f"compat.proto.{name}_pb2")


class EventWriter:
    """Writes one file of events: scalars, histograms, images and graphs by tag and step.

    They are in the file after :meth:`flush`.

    Args:
        folder: Where to write; its name is the name of the run in TensorBoard.

    Raises:
        MissingPackageError: The package ``tensorboard`` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._event, self._summary = _proto("event").Event, _proto("summary")
        self._tensor, self._types = _proto("tensor").TensorProto, _proto("types")
        records = _part("summary.writer.record_writer")
        make_folder(folder)
        unique = f"{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self._path = folder / f"events.out.tfevents.{int(time.time())}.{unique}.v2"
        if not is_first():  # its arrays are needed to gather those of the first process
            self._path = NOWHERE
        self._waiting, self._flushed = io.BytesIO(), time.monotonic()
        self._records = records.RecordWriter(self._waiting)
        self._write(file_version=_VERSION)

    @staticmethod
    def require() -> None:
        """Raise the error about the missing package at once."""
        _proto("event")

    def _write(self, **content: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
        if time.monotonic() - self._flushed > _SECONDS:
            self.flush()

    def _add(self, tag: str, step: int, plugin: str, kind: str, tensor: Any, text: bytes) -> None:
        data = self._summary.SummaryMetadata.PluginData(plugin_name=plugin, content=text)
        metadata = self._summary.SummaryMetadata(plugin_data=data)
        metadata.data_class = self._summary.DataClass.Value(f"DATA_CLASS_{kind}")
        value = self._summary.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
        self._write(step=step, summary=self._summary.Summary(value=[value]))

    def _of(self, dtype: str, shape: tuple[int, ...], **content: Any) -> Any:
        tensor = self._tensor(dtype=self._types.DataType.Value(dtype), **content)
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        return tensor

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a number."""
        tensor = self._of("DT_FLOAT", (), float_val=[float(value)])
        self._add(tag, step, "scalars", "SCALAR", tensor, b"")

    def scalars(self, logs: Mapping[str, Any], prefix: str, step: int) -> None:
        """Add the logs, each under ``prefix`` and its name; of an array, each element."""
        for name, value in logs.items():
            if np.ndim(value) == 0:
                self.scalar(f"{prefix}{name}", value, step)
            else:
                for i, element in enumerate(np.ravel(value)):
                    self.scalar(f"{prefix}{name}_{i}", element, step)

    def histogram(self, tag: str, values: Any, step: int) -> None:
        """Add the distribution of the finite values of an array, in 30 buckets."""
        flat = np.ravel(np.asarray(values, np.float64))
        flat = flat[np.isfinite(flat)]
        buckets = np.zeros((_BUCKETS, 3))
        if flat.size:
            low, high = flat.min(), flat.max()
            if low == high:  # NumPy would widen the range
                buckets[:] = [low, high, 0]
                buckets[-1, 2] = flat.size
            else:
                counts, edges = np.histogram(flat, _BUCKETS, (low, high))
                buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)
        tensor = self._of("DT_DOUBLE", buckets.shape, tensor_content=buckets.tobytes())
        self._add(tag, step, "histograms", "TENSOR", tensor, b"")

    def images(self, tag: str, images: np.ndarray, step: int) -> None:
        """Add up to three images of floats ``(image, height, width, channel)``.

        Each is scaled so that its smallest value is black and its largest white.
        """
        from PIL import Image  # comes with tensorboard

        encoded = []
        for image in images[:_IMAGES]:
            low, high = np.min(image), np.max(image)
            pixels = (255 * (image - low) / max(high - low, np.finfo(np.float32).tiny)).round()
            file = io.BytesIO()
            Image.fromarray(np.squeeze(pixels.astype(np.uint8), 2) if image.shape[2] == 1
                            else pixels.astype(np.uint8)).save(file, "png")  # fmt: skip
            encoded.append(file.getvalue())
        size = [str(n).encode() for n in (images.shape[2], images.shape[1])]
        tensor = self._of("DT_STRING", (2 + len(encoded),), string_val=[*size, *encoded])
        self._add(tag, step, "images", "BLOB_SEQUENCE", tensor, b"")

    def graph(self, model: Any) -> None:
        """Add the graph of a model: nested models are groups, edges have shapes.

        TensorBoard would also read the model's JSON, but fails at outputs in a dict and at numbers
        among the arguments, and leaves out tensors among the keyword arguments.
        """
        found = _proto("graph").GraphDef()
        diagram = make_diagram(model, expand_nested=True)
        nodes = {}
        for box in (b for d in diagram.walk() for b in d.boxes if b.inside is None):
            name = box.path.replace(":", ".")  # TensorBoard reads what follows a colon as an output
            node = nodes[box] = found.node.add(name=name, op=box.kind)
            for call in box.calls:
                for x in call.node.output_leaves:
                    dims = node.attr["_output_shapes"].list.shape.add().dim
                    for size in x.shape:
                        dims.add(size=-1 if size is None else size)
        for start, stop in diagram.edges():
            output = start.port + sum(len(c.outputs) for c in start.box.calls[: start.call])
            nodes[stop.box].input.append(f"{nodes[start.box].name}:{output}")
        self._write(graph_def=found.SerializeToString())

    def flush(self) -> None:
        """Append what waits to the file, where TensorBoard sees it."""
        with self._path.open("ab") as file:  # left open, an error in the loop would not close it
            file.write(self._waiting.getvalue())
        self._waiting.seek(0)
        self._waiting.truncate()
        self._flushed = time.monotonic()


def as_images(weight: np.ndarray) -> np.ndarray | None:
    """A weight as images ``(image, height, width, channel)``, or None where it is like none.

    A vector is one column, a matrix one image in landscape format; of three axes, those that are
    not 1, the last one numbers images.

    >>> as_images(np.zeros((5, 2))).shape, as_images(np.zeros((3, 3, 1, 8))).shape
    ((1, 2, 5, 1), (8, 3, 3, 1))
    """
    weight = np.squeeze(weight)
    if weight.ndim == 1:
        return weight[None, :, None, None]
    if weight.ndim == 2:
        landscape = weight.T if weight.shape[0] > weight.shape[1] else weight
        return landscape[None, :, :, None]
    if weight.ndim == 3:
        return np.moveaxis(weight, 2, 0)[..., None]
    return weight if weight.ndim == 4 and weight.shape[3] in (1, 3, 4) else None


def write_embeddings(
    folder: Path, tables: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write tables of vectors for TensorBoard's projector.

    Args:
        folder: Where TensorBoard looks.
        tables: Rows of vectors, by the name of their layer.
        metadata: Names of files with a line for each row, by the name of their layer.
    """
    if not is_first():
        return
    config = _part("plugins.projector.projector_config_pb2").ProjectorConfig()
    for name, table in tables.items():
        file = f"{name.replace('/', '_')}.tsv"
        np.savetxt(folder / file, table, delimiter="\t")
        entry = config.embeddings.add(tensor_name=name, tensor_path=file)
        if name in metadata:
            entry.metadata_path = metadata[name]
    (folder / "projector_config.pbtxt").write_text(str(config), encoding="utf-8")
