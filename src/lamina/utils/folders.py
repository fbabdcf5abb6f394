"""Data sets of the files in a folder: images, texts and sounds, with labels from their folders."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.core.boundary import public
from lamina.errors import ArgumentError, DataError
from lamina.runtime import messages
from lamina.runtime.optional import load
from lamina.serialization import docstrings
from lamina.settings import standardize_data_format
from lamina.training.data.dataset import Dataset, drawn_seed
from lamina.training.data.passes import whole_number
from lamina.transforms.sizes import METHODS
from lamina.utils.reading import MODES, AudioReader, ImageReader, TextReader, WithLabel

_LABEL_MODES = ("int", "categorical", "binary", None)
_SUBSETS = ("training", "validation", "both", None)
_COMMON = """
        directory: The folder. With ``labels="inferred"``, each class is a folder inside.
        labels: ``"inferred"`` from the names of the folders; a list with the label of each file, in
            the order of folders, then names; or None for a data set without labels.
        label_mode: ``"int"`` for numbers of the classes; ``"categorical"`` for one-hot vectors;
            ``"binary"`` for 0 or 1 as float32 of shape ``(1,)``; None for no labels.
        class_names: The folders to read, in the order of their numbers; all, sorted, when None."""
_SPLITTING = """
        shuffle: Whether to shuffle the files, and again in each epoch.
        seed: Seed of the order; drawn from NumPy's global generator when None.
        validation_split: Fraction of the files, at the end, for validation.
        subset: With ``validation_split``: ``"training"``, ``"validation"``, or ``"both"`` for a
            list of both, of which that for validation is not shuffled in each epoch.
        follow_links: Whether to read folders that links refer to, except one that contains the
            link."""
_VERBOSE = """
        verbose: Whether to print how many files there are."""
_RETURNS = """
    Returns:
        A :class:`lamina.utils.Dataset` of batches, with ``class_names`` and ``file_paths``; a list
        of two with ``subset="both"``.

    Raises:
        DataError: No such folder, no files, or numbers of labels and files that differ.
        ArgumentError: Arguments that contradict each other.
        CorruptFileError: While iterating: a file that cannot be read; the error names it. To leave
            such files out: ``dataset.ignore_errors()``.
"""


def _documented(function: Any) -> Any:
    parts = {"common": _COMMON, "splitting": _SPLITTING, "verbose": _VERBOSE, "returns": _RETURNS}
    for name, text in parts.items():
        function.__doc__ = function.__doc__.replace("{" + name + "}", text.strip())
    order = inspect.signature(function).parameters
    function.__doc__ = docstrings.completed(function.__doc__, order, {})
    return public(function)


@dataclasses.dataclass(frozen=True)
class _Folder:
    """The arguments that all loaders share."""

    directory: Any
    labels: Any
    label_mode: str | None
    class_names: Sequence[str] | None
    batch_size: int | None
    shuffle: bool
    seed: int | None
    validation_split: float | None
    subset: str | None
    follow_links: bool
    verbose: bool
    kind: str
    suffixes: tuple[str, ...]
    read: Callable[[str], Any]
    pad: bool = False

    def datasets(self) -> Any:
        """The data set, or a list of that for training and that for validation."""
        self._check()
        seed = drawn_seed() if self.seed is None else self.seed
        paths, labels, names = self._files()
        if self.label_mode == "binary" and names is not None and len(names) != 2:
            raise ArgumentError(
                f'`label_mode="binary"` needs two classes. {self.directory} has {names}.'
            )
        if self.shuffle:
            order = np.arange(len(paths))
            np.random.RandomState(seed).shuffle(order)
            paths, labels = paths[order], None if labels is None else labels[order]
        held_out = int((self.validation_split or 0) * len(paths))
        parts = {
            None: slice(None),
            "training": slice(len(paths) - held_out),
            "validation": slice(len(paths) - held_out, None),
        }
        wanted = ("training", "validation") if self.subset == "both" else (self.subset,)
        made = []
        for subset in wanted:
            part = parts[subset]
            if not len(paths[part]):
                raise DataError(
                    f"`validation_split={self.validation_split}` of {len(paths)} files leaves none "
                    f"for {subset}."
                )
            if subset is not None:
                self._say(f"Using {len(paths[part])} files for {subset}.")
            again = self.shuffle and not (self.subset == "both" and subset == "validation")
            of_part = None if labels is None else labels[part]
            made.append(self._dataset(paths[part], of_part, names, seed if again else None))
        return made if self.subset == "both" else made[0]

    def _dataset(self, paths: Any, labels: Any, names: Any, seed: int | None) -> Dataset:
        read = self.read
        if labels is None:
            found = Dataset(paths, file_paths=paths.tolist(), class_names=names)
        else:
            if self.label_mode == "categorical":
                labels = np.eye(len(names), dtype=np.float32)[labels]
            elif self.label_mode == "binary":
                labels = labels.astype(np.float32)[:, None]
            found = Dataset((paths, labels), file_paths=paths.tolist(), class_names=names)
        if seed is not None:
            found = found.shuffle(seed=seed)
        if labels is None:
            found = found.map(read, num_parallel_calls=-1)
        else:
            found = found.map(WithLabel(read), num_parallel_calls=-1)
        if self.batch_size is not None:
            found = found.batch(self.batch_size, pad=self.pad)
        return found.prefetch(-1)

    def _say(self, message: str) -> None:
        if self.verbose:
            print(message, file=messages.stream())

    def _check(self) -> None:
        if self.label_mode not in _LABEL_MODES:
            raise ArgumentError(
                f"`label_mode` is one of {_LABEL_MODES}. Received: {self.label_mode!r}."
            )
        inferred = isinstance(self.labels, str) and self.labels == "inferred"
        if not inferred and self.labels is not None and not isinstance(
            self.labels, (list, tuple, np.ndarray)
        ):  # fmt: skip
            raise ArgumentError(
                '`labels` is "inferred", a list with the label of each file, or None. '
                f"Received: {self.labels!r}."
            )
        if not inferred and self.class_names:
            raise ArgumentError(
                '`class_names` names folders, which are read only with `labels="inferred"`. '
                f"Received: labels={self.labels!r}, class_names={self.class_names!r}."
            )
        split = self.validation_split
        if self.subset not in _SUBSETS or bool(split) != bool(self.subset):
            raise ArgumentError(
                "`validation_split` and `subset` (one of 'training', 'validation', 'both') are "
                f"given together. Received: {split!r} and {self.subset!r}."
            )
        if split and not 0 < split < 1:
            raise ArgumentError(f"`validation_split` is between 0 and 1. Received: {split!r}.")
        if split and self.shuffle and self.seed is None:
            raise ArgumentError(
                "With `validation_split` and `shuffle`, give a `seed`: the same for both subsets, "
                "so that no file is in both."
            )

    def _files(self) -> tuple[np.ndarray, np.ndarray | None, list[str] | None]:
        """Paths, labels and names of classes, before they are shuffled."""
        top = os.fspath(self.directory)
        if not os.path.isdir(top):
            raise DataError(
                f"There is no folder {top!r}.",
                received="the path of a file" if os.path.exists(top) else None,
                cure=f"The current folder is {os.getcwd()!r}.",
            )
        inferred = isinstance(self.labels, str)
        names: list[str] | None = None
        if inferred:
            present = sorted(
                x for x in os.listdir(top)
                if not x.startswith(".") and os.path.isdir(os.path.join(top, x))
            )  # fmt: skip
            names = present if self.class_names is None else list(self.class_names)
            missing = [n for n in names if n not in present]
            if missing:
                raise DataError(
                    f"{top!r} has no folders for these `class_names`: {missing}.",
                    expected=f"some of its folders: {present}",
                    received=names,
                )
            found = [self._inside(os.path.join(top, n)) for n in names]
        else:
            found = [self._inside(top)]
        paths = np.array([p for part in found for p in part], object)
        if not len(paths):
            raise self._nothing(top, names)
        labels: np.ndarray | None = None
        if inferred:
            labels = np.repeat(np.arange(len(found), dtype=np.int32), [len(p) for p in found])
        elif self.labels is not None:
            labels = _narrow(np.asarray(self.labels))
            if len(labels) != len(paths):
                raise DataError(
                    f"`labels` has one label for each file in {top!r}.",
                    expected=f"{len(paths)} labels",
                    received=f"{len(labels)}",
                )
            names = [str(x) for x in sorted(set(self.labels))]
        of = "" if names is None else f" belonging to {len(names)} classes"
        self._say(f"Found {len(paths)} files{of}.")
        if self.label_mode is None:
            labels = None
        return paths, labels, names

    def _inside(self, folder: str) -> list[str]:
        return [
            os.path.join(parent, name)
            for parent, files in sorted(self._walk(folder))
            for name in sorted(files)
            if name.lower().endswith(self.suffixes)
        ]

    def _walk(self, folder: str) -> Iterator[tuple[str, list[str]]]:
        """The folders inside a folder, and their files.

        A link to a folder that contains it is left out: following it would never end.
        """
        top = os.path.realpath(folder)
        above = {folder: frozenset([top, *map(str, Path(top).parents)])}
        for parent, inner, files in os.walk(folder, followlinks=self.follow_links):
            yield parent, files
            if not self.follow_links:
                continue
            around = above.pop(parent)
            targets = {name: os.path.realpath(os.path.join(parent, name)) for name in inner}
            inner[:] = [name for name in inner if targets[name] not in around]
            above |= {os.path.join(parent, name): around | {targets[name]} for name in inner}

    def _nothing(self, top: str, names: list[str] | None) -> DataError:
        loose = self._inside(top)
        if names is not None and loose:
            return DataError(
                f"{top!r} has no folder with {self.kind} for any class; {len(loose)} files of "
                "another place have no label.",
                expected="one folder for each class, such as 'cats/' and 'dogs/'",
                received=f"folders {names}, and files such as {os.path.relpath(loose[0], top)!r}",
                cure="Move the files into folders, give a list of `labels`, or `labels=None`.",
            )
        inside = sorted(os.listdir(top))
        shown = [*inside[:5], "..."] if len(inside) > 5 else inside
        return DataError(
            f"No {self.kind} found in {top!r}.",
            expected=f"files that end with {', '.join(self.suffixes)}",
            received=f"{shown}" if inside else "an empty folder",
        )


def _narrow(labels: np.ndarray) -> np.ndarray:
    """Labels in the dtype that they train in."""
    narrow = {"i": np.int32, "u": np.int32, "f": np.float32}.get(labels.dtype.kind)
    return labels if narrow is None else labels.astype(narrow)


def check_format(format: str) -> None:
    """Raise an error unless ``format`` is a value that Keras has."""
    if format not in ("tf", "grain"):
        raise ArgumentError(f"`format` is 'tf' or 'grain'. Received: {format!r}.")


@_documented
def image_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Images from the files of a folder (BMP, GIF, JPEG, PNG), as float32 from 0 to 255.

    Files are decoded by threads, with Pillow, which the extra ``lamina[image]`` installs.

    Args:
        {common}
        color_mode: ``"grayscale"``, ``"rgb"`` or ``"rgba"``.
        batch_size: Images in a batch; None for single images.
        image_size: ``(height, width)`` to resize to, or a number for both.
        {splitting}
        interpolation: ``"bilinear"``, ``"nearest"``, ``"bicubic"``, ``"area"``, ``"lanczos3"``,
            ``"lanczos5"``, ``"gaussian"`` or ``"mitchellcubic"``; without antialiasing.
        crop_to_aspect_ratio: Whether to cut off what is beyond the target's aspect ratio.
        pad_to_aspect_ratio: Whether to surround images with zeros instead.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting when None.
        format: For compatibility with Keras; both ``"tf"`` and ``"grain"`` give the same.
        {verbose}

    {returns}

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from lamina.utils import save_img
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cats", "dogs"):
    ...         pathlib.Path(folder, name).mkdir()
    ...         save_img(pathlib.Path(folder, name, "1.png"), np.ones((8, 8, 3)), scale=False)
    ...     data = image_dataset_from_directory(folder, image_size=(4, 4), seed=1)
    ...     [(x.shape, sorted(y.tolist())) for x, y in data], data.class_names
    Found 2 files belonging to 2 classes.
    ([((2, 4, 4, 3), [0, 1])], ['cats', 'dogs'])
    """
    check_format(format)
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2:
        raise ArgumentError(f"`image_size` is (height, width). Received: {image_size!r}.")
    size = whole_number(size[0], "image_size"), whole_number(size[1], "image_size")
    method = interpolation.lower()
    if color_mode not in MODES:
        raise ArgumentError(f"`color_mode` is one of {list(MODES)}. Received: {color_mode!r}.")
    if method not in METHODS:
        raise ArgumentError(f"`interpolation` is one of {METHODS}. Received: {interpolation!r}.")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ArgumentError("Only one of `crop_to_aspect_ratio`, `pad_to_aspect_ratio` is True.")
    first = standardize_data_format(data_format) == "channels_first"
    load("PIL.Image", "image_dataset_from_directory()", "lamina[image]")
    read = ImageReader(
        color_mode, size, method, crop_to_aspect_ratio, pad_to_aspect_ratio, first
    )  # fmt: skip
    return _Folder(
        directory, labels, label_mode, class_names, batch_size, shuffle, seed, validation_split,
        subset, follow_links, verbose, "images", (".bmp", ".gif", ".jpeg", ".jpg", ".png"), read,
    ).datasets()  # fmt: skip


@_documented
def text_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Texts from the ``.txt`` files of a folder, as NumPy arrays of strings (of dtype object).

    Args:
        {common}
        batch_size: Texts in a batch; None for single texts.
        max_length: Characters after which a text is cut off; None to keep it whole.
        {splitting}
        format: For compatibility with Keras; both ``"tf"`` and ``"grain"`` give the same.
        {verbose}

    {returns}

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("bad", "good"):
    ...         pathlib.Path(folder, name).mkdir()
    ...         _ = pathlib.Path(folder, name, "1.txt").write_text(f"It was {name}.")
    ...     data = text_dataset_from_directory(folder, shuffle=False, verbose=False)
    ...     [(x.tolist(), y.tolist()) for x, y in data]
    [(['It was bad.', 'It was good.'], [0, 1])]
    """
    check_format(format)
    read = TextReader(max_length)
    return _Folder(
        directory, labels, label_mode, class_names, batch_size, shuffle, seed, validation_split,
        subset, follow_links, verbose, "text files", (".txt",), read,
    ).datasets()  # fmt: skip


@_documented
def audio_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    sampling_rate: int | None = None,
    output_sequence_length: int | None = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> Any:
    """Sounds from the ``.wav`` files (16-bit PCM) of a folder, as float32 from -1 to 1.

    An element has the shape ``(samples, channels)``.

    Args:
        {common}
        batch_size: Sounds in a batch; None for single sounds.
        sampling_rate: Samples per second to convert sounds to, by ``scipy.signal``, which has
            to be installed where a file has another rate; None to keep their own.
        output_sequence_length: Samples that sounds are cut off or padded with zeros to. When None,
            those of a batch are padded to the longest.
        ragged: Only False: there are no batches of sounds of different length. Use
            ``batch_size=None`` for single sounds in their own length.
        {splitting}
        {verbose}

    {returns}

    >>> import pathlib, tempfile, wave
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with wave.open(str(pathlib.Path(folder, "a.wav")), "wb") as file:
    ...         file.setparams((1, 2, 8000, 0, "NONE", ""))
    ...         file.writeframes(bytes(8))  # four samples
    ...     data = audio_dataset_from_directory(folder, labels=None, verbose=False)
    ...     [x.shape for x in data]
    [(1, 4, 1)]
    """
    if ragged:
        raise ArgumentError(
            "`ragged=True` needs tensors with rows of different length, which Lamina does not "
            "have. Leave it out to pad with zeros, or use `batch_size=None`."
        )
    if sampling_rate is not None:
        whole_number(sampling_rate, "sampling_rate")
    if output_sequence_length is not None:
        whole_number(output_sequence_length, "output_sequence_length")
    read = AudioReader(sampling_rate, output_sequence_length)
    return _Folder(
        directory, labels, label_mode, class_names, batch_size, shuffle, seed, validation_split,
        subset, follow_links, verbose, "WAV files", (".wav",), read,
        pad=output_sequence_length is None,
    ).datasets()  # fmt: skip


__all__ = [
    "audio_dataset_from_directory", "check_format", "image_dataset_from_directory",
    "text_dataset_from_directory",
]  # fmt: skip
