"""The training state, the pure steps, and their compilation and dispatch."""
