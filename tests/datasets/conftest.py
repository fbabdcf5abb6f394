import sys

import pytest

from tests.datasets.builders import serve


@pytest.fixture
def server():
    with serve() as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache's folder for data sets, empty, in a home of its own."""
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "home" / "datasets"


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A module that leaves a file behind when it is imported or its function is called."""
    traces = tmp_path / "traces"
    traces.mkdir()
    (tmp_path / "canary_mod.py").write_text(
        f"from pathlib import Path\n"
        f"Path({str(traces)!r}, 'imported').touch()\n"
        f"def fire(*arguments):\n"
        f"    Path({str(traces)!r}, 'fired').touch()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield traces
    assert list(traces.iterdir()) == []
    assert "canary_mod" not in sys.modules
