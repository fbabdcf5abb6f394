"""Recording of constructor arguments, so that classes without ``get_config`` have a config."""

from __future__ import annotations

import inspect
from typing import Any, Self

from lamina.errors import SerializationError


class Captured:
    """An object that keeps the arguments that it was constructed with."""

    _captured: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, "_captured", (args, kwargs))
        return self

    def captured_arguments(self) -> dict[str, Any]:
        """The constructor's arguments by name.

        Raises:
            SerializationError: Further positional arguments, which have no names.
        """
        args, kwargs = self._captured
        signature = inspect.signature(type(self).__init__)
        bound = signature.bind(self, *args, **kwargs).arguments
        config: dict[str, Any] = {}
        for name, parameter in list(signature.parameters.items())[1:]:
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                if bound.get(name):
                    raise SerializationError(
                        f"{type(self).__name__}.__init__ takes *{name}, which cannot be saved by "
                        "name. Write a `get_config` and a `from_config`."
                    )
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                config.update(bound.get(name, {}))
            elif name in bound:
                config[name] = bound[name]
        return config
