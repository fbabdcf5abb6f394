"""Every example in a docstring and in the README runs and prints what it says."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import lamina
from lamina.serialization.docstrings import entries

ROOT = Path(__file__).parent.parent
MODULES = sorted(m.name for m in pkgutil.walk_packages(lamina.__path__, "lamina."))


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where an example may write
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0


PUBLIC = (
    "activations applications callbacks config constraints datasets distillation distribution "
    "dtype_policies initializers layers losses metrics models ops ops.image optimizers "
    "optimizers.schedules quantizers random regularizers saving transforms tree utils "
    "visualization wrappers"
).split()
# Arguments of all layers and of all optimizers, which only their base classes describe.
COMMON = {
    "layers": {"activity_regularizer", "trainable", "dtype", "autocast", "name"},
    "optimizers": set(inspect.signature(lamina.optimizers.Optimizer).parameters),
}
ATTRIBUTES = re.compile(r"^Attributes:$", re.MULTILINE)


@pytest.mark.parametrize("namespace", PUBLIC)
def test_docstrings_describe_the_parameters(namespace):
    """All of them, no others, and those with a position in this order; and there is an example."""
    module = importlib.import_module(f"lamina.{namespace}")
    wrong = []
    for name in vars(module).get("__all__", dir(module)):
        value = getattr(module, name)
        text = inspect.getdoc(value) or ""
        if name.startswith("_") or not callable(value):
            continue
        if ">>> " not in text:
            wrong.append(f"{name}: no example")
        parameters = inspect.signature(value).parameters.values()
        names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        if "\nArgs:\n" not in text:
            # The parameters of a record that the library creates are its attributes.
            if not ATTRIBUTES.search(text) and {*names} - COMMON.get(namespace, set()):
                wrong.append(f"{name} has parameters without a description")
            continue
        described = [n.lstrip("*") for n in entries(text)]
        placed = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        inherited = COMMON.get(namespace, set())
        if text.count("\nArgs:\n") > 1 or "" in entries(text).values():
            wrong.append(f"{name}: two sections, or an empty one")
        if missing := set(names) - {*described, *inherited}:
            wrong.append(f"{name} lacks {missing}")
        if len(names) == len(parameters) and (extra := {*described} - {*names, "common", "kwargs"}):
            wrong.append(f"{name} has no {extra}")
        if [n for n in placed if n in described] != [n for n in described if n in placed]:
            wrong.append(f"{name}: order")
    assert not wrong


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    names: dict = {}
    for block in blocks:
        *lines, last = block.strip().splitlines()
        error = re.search(r"#\s*(\w+Error)", last)
        if error is None:
            exec(block, names)
            continue
        exec("\n".join(lines), names)
        with pytest.raises(getattr(lamina.errors, error[1])):
            exec(last, names)


def test_the_import_loads_nothing_heavy():
    import subprocess
    import sys

    code = "import lamina, sys; print([m for m in ('jax', 'rich', 'h5py') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
