"""The engine: specs, variables, randomness, scopes, graphs; and how XLA and memory are driven."""

from lamina.core import xla as xla
