"""The engine: specs, names, variables, randomness, the class table, the graph."""
