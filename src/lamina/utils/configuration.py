"""Configuration objects: named values that can be frozen and converted to JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

from lamina.errors import ArgumentError, SerializationError


class Config(MutableMapping[str, Any]):
    """Named values, accessible as attributes and as a dict, which can be frozen.

    It has the interface of a dict: ``config["seed"]``, ``get``, ``pop``, ``update``, ``keys``,
    ``values``, ``items``, ``in``, ``len``, ``==``. An entry whose name is a method of this class
    (``"items"``) is accessible as ``config["items"]`` only.

    Args:
        **kwargs: The initial entries.

    >>> config = Config(learning_rate=0.1, momentum=0.9)
    >>> config.seed = 123
    >>> config["seed"], config.as_dict()
    (123, {'learning_rate': 0.1, 'momentum': 0.9, 'seed': 123})
    >>> import json
    >>> Config(**json.loads(config.to_json())) == config
    True
    >>> config.freeze()
    >>> config.seed = 7
    Traceback (most recent call last):
    ...
    lamina.errors.ArgumentError: This Config is frozen, so 'seed' cannot be set. ...
    """

    _entries: dict[str, Any]
    _frozen: bool

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(_entries=dict(kwargs), _frozen=False)

    # ---- entries -----------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        return self._entries[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._check_open(key, "set")
        self._entries[key] = value

    def __delitem__(self, key: str) -> None:
        self._check_open(key, "removed")
        del self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, keyname: str, value: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The entry of that name.

        Args:
            keyname: The name.
            value: The result if there is no such entry.
        """
        return self._entries.get(keyname, value)

    # ---- attributes --------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        # The dict does not exist yet while a copy is being created.
        entries = self.__dict__.get("_entries", {})
        if name not in entries:
            raise AttributeError(f"This Config has no entry {name!r}. It has: {sorted(entries)}.")
        return entries[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise ArgumentError(
                f"{name!r} is a member of Config, so it cannot be an attribute of your own. "
                f"Write config[{name!r}] = ... to have an entry of that name."
            )
        self[name] = value

    def __delattr__(self, name: str) -> None:
        self._check_open(name, "removed")
        if name not in self._entries:
            raise AttributeError(f"This Config has no entry {name!r}. It has: {sorted(self)}.")
        del self._entries[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._entries})

    def __repr__(self) -> str:
        return f"<Config {self._entries}>"

    # ---- freezing ----------------------------------------------------------------------------

    @property
    def frozen(self) -> bool:
        """Whether entries cannot be set or removed."""
        return self._frozen

    def freeze(self) -> None:
        """Disallow changes of entries; mutable values can still be changed in place."""
        self.__dict__["_frozen"] = True

    def unfreeze(self) -> None:
        """Allow changes again."""
        self.__dict__["_frozen"] = False

    def _check_open(self, key: str, verb: str) -> None:
        if self._frozen:
            raise ArgumentError(
                f"This Config is frozen, so {key!r} cannot be {verb}. Call its `unfreeze()` first, "
                "or change a copy: Config(**config.as_dict())."
            )

    # ---- conversions -------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """The entries as a new dict; nested configs are converted too."""
        return {
            key: value.as_dict() if isinstance(value, Config) else value
            for key, value in self._entries.items()
        }

    def to_json(self) -> str:
        """The entries as a JSON object, a string.

        ``Config(**json.loads(text))`` is an equal config if the entries are numbers, strings,
        booleans, None, lists, and dicts with strings as keys.

        Raises:
            SerializationError: An entry cannot be converted to JSON.
        """
        try:
            return json.dumps(self.as_dict())
        except (TypeError, ValueError) as error:
            raise SerializationError(
                f"This Config cannot be converted to JSON: {error}. Its entries must be numbers, "
                "strings, booleans, None, lists or dicts of these. Received: "
                f"{ {key: type(value).__name__ for key, value in self._entries.items()} }."
            ) from error
