"""Fast implementations of operations on arrays, shared by layers and public ops."""
