"""Serialization: the registry of classes, declared fields, and lookups by name."""
