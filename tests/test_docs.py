"""Every example in a docstring and in the README runs and prints what it says."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import lamina

ROOT = Path(__file__).parent.parent
MODULES = sorted(m.name for m in pkgutil.walk_packages(lamina.__path__, "lamina."))


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where an example may write
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0


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
