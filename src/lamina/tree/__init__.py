"""Functions on nested structures of dicts, lists and tuples."""

from lamina.tree.nested import assert_same_structure as assert_same_structure
from lamina.tree.nested import flatten as flatten
from lamina.tree.nested import flatten_with_path as flatten_with_path
from lamina.tree.nested import is_nested as is_nested
from lamina.tree.nested import map_structure as map_structure
from lamina.tree.nested import unflatten as unflatten
