"""Models: graphs of layers that can be trained, evaluated, described and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.models.cloning import clone_model as clone_model
from lamina.models.cloning import model_from_json as model_from_json
from lamina.models.model import Functional as Functional
from lamina.models.model import Model as Model
from lamina.models.sequential import Sequential as Sequential
from lamina.runtime.lazy import names_of

if TYPE_CHECKING:
    from lamina.saving import load_model as load_model
    from lamina.saving import save_model as save_model

__getattr__, __dir__ = names_of(
    __name__,
    {"lamina.saving": "load_model save_model"},
    defined="Functional Model Sequential clone_model model_from_json",
)
