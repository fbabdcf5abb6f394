"""Counts over the source: what one module may know of another."""

import ast
import re
from pathlib import Path

import lamina

ROOT = Path(lamina.__file__).parent
SOURCES = {p.relative_to(ROOT): ast.parse(p.read_text()) for p in sorted(ROOT.rglob("*.py"))}
# Names that are public in spite of their underscore: of named tuples, and of Python itself.
_PUBLIC = {"_fields", "_asdict", "_replace", "_make", "_repr_html_", "_getframe", "_name_"}


def _is_private(name):
    return name.startswith("_") and not name.startswith("__") and name not in _PUBLIC


def _defined(tree):
    """Every private name that a module defines: functions, classes, attributes, fields."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)  # `__slots__`, `__dict__.update(...)`, `vars(x)["_name"]`
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
    return found


def test_no_module_takes_private_names_from_another():
    taken = []
    for path, tree in SOURCES.items():
        own = _defined(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lamina"):
                taken += [f"{path}:{node.lineno} {a.name}" for a in node.names
                          if _is_private(a.name)]  # fmt: skip
            elif isinstance(node, ast.Attribute) and _is_private(node.attr):
                by_itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                by_super = isinstance(node.value, ast.Call)
                of_python = isinstance(node.value, ast.Name) and node.value.id in ("os", "sys")
                if node.attr not in own and not (by_itself or by_super or of_python):
                    taken.append(f"{path}:{node.lineno} {ast.unparse(node)}")
    assert not taken, "\n".join(taken)


def test_no_namespace_is_derived_from_a_folder():
    """What a class is called in files is declared with it, not read from where it lies."""
    derived = [
        f"{path}:{node.lineno}"
        for path, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("split", "partition", "rpartition", "startswith")
        and isinstance(node.func.value, ast.Attribute)
        and node.func.value.attr == "__module__"
        # Classes of other libraries are known by their module, so that none is imported.
        and path.parts[:2] != ("training", "data")
    ]
    assert not derived, "\n".join(derived)


def test_few_attributes_are_asked_for_by_name():
    count = sum(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("getattr", "hasattr")
        for tree in SOURCES.values()
        for node in ast.walk(tree)
    )
    assert count <= 60


def test_files_are_of_a_size_to_be_read():
    long = {str(p): n for p in SOURCES if (n := len((ROOT / p).read_text().splitlines())) > 600}
    assert not long


def test_no_error_is_searched_for_words():
    """What to do about an error is decided by its class and attributes, never by its text."""
    searched = [
        f"{p.relative_to(ROOT)}: {m[0]}"
        for p in ROOT.rglob("*.py")
        for m in re.finditer(r"\b(not )?in str\((e|error|first|last|exc|err)\)", p.read_text())
    ]
    assert not searched, "\n".join(searched)
