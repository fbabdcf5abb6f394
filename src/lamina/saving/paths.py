"""The paths that users give, and the names of further files that a file contains."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

from lamina.errors import ArgumentError, CorruptFileError, UnsafeFileError
from lamina.runtime import processes

# A file next to another: letters, digits and what file systems allow everywhere.
_PLAIN = re.compile(r"\w[\w .+=@()-]{0,250}")


def as_path(filepath: Any) -> Path:
    """The path that a user gave, as text, bytes or a path object."""
    return Path(path_text(filepath))


def path_text(filepath: Any) -> str:
    """The text of a path that a user gave.

    Raises:
        ArgumentError: It is not a path, such as an open file.
    """
    try:
        return os.fsdecode(filepath)
    except TypeError as e:
        raise ArgumentError(
            "A file or folder is given by its path.",
            expected="text or a `pathlib.Path`",
            received=f"{str(filepath)[:100]} (of type {type(filepath).__name__})",
            cure="Write the content of an open file to disk, and pass its path."
            if isinstance(filepath, io.IOBase)
            else "",
        ) from e


def must_exist(path: Path) -> None:
    """Raise an error if there is no such file, or if it is no regular one."""
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if not path.is_file():
        raise CorruptFileError(f"{path} is not a regular file.")


def may_write(path: Path, overwrite: bool, *, as_folder: bool = False) -> None:
    """Raise an error if a file or folder exists and must not be replaced, or has no folder.

    A folder is never replaced by a file, nor a file by a folder.

    Of several processes, the first one looks, since another would soon see what that one writes;
    the others raise an error too.
    """
    with processes.together(f"Saving {str(path)!r}"):
        if not processes.is_first():
            return
        if path.exists() and not overwrite:
            raise FileExistsError(f"{str(path)!r} exists. Pass overwrite=True to replace it.")
        if path.is_dir() and not as_folder:
            raise IsADirectoryError(
                f"{str(path)!r} is a folder, and a file is to be saved there. Remove the folder, "
                "or use another name."
            )
        if as_folder and path.exists() and not path.is_dir():
            raise NotADirectoryError(
                f"{str(path)!r} is a file, and a folder is to be saved there. Remove the file, or "
                "use another name."
            )
        if path.exists() and not path.is_dir() and not path.is_file():
            raise FileExistsError(
                f"{str(path)!r} is a device or a pipe, which saving would replace by a file. Use "
                "another name."
            )
        if not os.path.isdir(path.parent):
            raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to save into.")


def beside(path: Path, name: Any) -> Path:
    """The file that the file at ``path`` names, in the same folder.

    Raises:
        UnsafeFileError: It is not a plain name, or a link: it may lead out of the folder.
        CorruptFileError: There is no such file, or it is no regular one.
    """
    if not isinstance(name, str) or not _PLAIN.fullmatch(name) or name.endswith((".", " ")):
        raise UnsafeFileError(
            f"{path} refers to {str(name)[:100]!r}, which is not the plain name of a file in its "
            "folder."
        )
    found = path.with_name(name)
    must_not_be_link(found)
    if not found.exists():
        raise CorruptFileError(f"{path} refers to {name!r}, which is not in its folder.")
    if not found.is_file():
        raise CorruptFileError(f"{found} is not a regular file.")
    return found


def make_folder(path: Path) -> None:
    """Create a folder, and those it is in, unless they exist."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(
            f"{str(path)!r} cannot be a folder, since it, or one that it is in, is a file. Remove "
            "the file, or use another name."
        ) from None


def must_not_be_link(path: Path) -> None:
    """Raise an error if a file that another one refers to is a link, which is never followed."""
    if path.is_symlink():
        raise UnsafeFileError(
            f"{path} is a link to another file. A model in several files must contain them itself.",
            cure="If you trust the folder, copy it with the files that its links lead to.",
        )
