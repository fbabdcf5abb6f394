"""Settings of XLA and of the allocator, file access, and the cost of traced programs."""
