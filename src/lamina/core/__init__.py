"""The engine: specs, variables, the graph, and the scope of the call in progress."""

from lamina.runtime import xla as xla  # sets the allocator, before JAX's threads start
