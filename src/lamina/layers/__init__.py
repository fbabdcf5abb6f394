"""Every layer, by name."""

import sys
from typing import TYPE_CHECKING
from typing import Any as _Any

from lamina.layers import scaling as scaling  # which files of architectures refer to
from lamina.layers.activation import *  # noqa: F403
from lamina.layers.attention import *  # noqa: F403
from lamina.layers.attention_unprojected import *  # noqa: F403
from lamina.layers.base import InputSpec as InputSpec
from lamina.layers.base import Layer as Layer
from lamina.layers.bidirectional import *  # noqa: F403
from lamina.layers.convolution import *  # noqa: F403
from lamina.layers.convolution_recurrent import *  # noqa: F403
from lamina.layers.core import *  # noqa: F403
from lamina.layers.einsum import *  # noqa: F403
from lamina.layers.functions import *  # noqa: F403
from lamina.layers.lookup import *  # noqa: F403
from lamina.layers.merging import *  # noqa: F403
from lamina.layers.normalization import *  # noqa: F403
from lamina.layers.pooling import *  # noqa: F403
from lamina.layers.recurrent import *  # noqa: F403
from lamina.layers.recurrent_cells import *  # noqa: F403
from lamina.layers.regularization import *  # noqa: F403
from lamina.layers.reshaping import *  # noqa: F403
from lamina.layers.reversible_embedding import *  # noqa: F403
from lamina.layers.spatial import *  # noqa: F403
from lamina.layers.wrappers import *  # noqa: F403
from lamina.serialization import deferred

if TYPE_CHECKING:
    from lamina.layers.image import *  # noqa: F403
    from lamina.layers.preprocessing import *  # noqa: F403


def _public(module: _Any) -> dict[str, _Any]:
    """The layers and functions of a module."""
    return {k: v for k, v in vars(module).items() if k[0] != "_" and callable(v)}


def _complete() -> None:
    """Import the layers that prepare data too: most programs have none of them."""
    for module in deferred.complete_namespace("layers"):
        globals().update(_public(module))


def __getattr__(name: str) -> _Any:
    if name == "__all__":
        return __dir__()
    if not name.startswith("_"):
        _complete()
        if name in globals():
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    _complete()
    return sorted(_public(sys.modules[__name__]))
