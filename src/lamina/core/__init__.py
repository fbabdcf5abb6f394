"""The engine: specs, variables, the graph, and the one ambient value."""

from lamina.runtime import xla as xla  # sets the allocator, before JAX's threads start
