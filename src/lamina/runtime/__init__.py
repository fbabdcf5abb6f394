"""How XLA, the allocator and the file system are driven; what a traced program costs."""
