"""Configs to objects and back: the class table, declared fields, lookups of each namespace."""
