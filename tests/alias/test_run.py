"""`python -m lamina run program.py` behaves as `python program.py`, but for `import keras`."""

import os
import re
import signal
import subprocess
import sys

import pytest

import lamina
from lamina.cli import main

# Programs that need no Keras: what they print, and how they end, is the same either way.
ALIKE = {
    "arguments": "import sys; print(sys.argv)",
    "main": "import sys; print(__name__, __file__, __spec__, sys.modules['__main__'].__file__)",
    "path": "import sys; print(sys.path[0])",
    "beside": "import beside; print(beside.value)",
    "names": "print(sorted(n for n in globals()))",
    "falls off the end": "print('done')",
    "exit": "raise SystemExit(7)",
    "exit with a text": "import sys; sys.exit('no luck')",
    "exit in a function": "import sys\ndef f():\n    sys.exit(3)\nf()",
    "exception": "def f(x):\n    return 1 / x\nprint('before', flush=True)\nf(0)",
    "exception from another": (
        "try:\n    {}['a']\nexcept KeyError as e:\n    raise RuntimeError('b') from e"
    ),
    "exception in a module": "import beside\nbeside.fail()",
    "group": "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])",
    "syntax": "print('never')\nif True print(1)",
    "hook": "import sys\nsys.excepthook = lambda *e: print('own hook', e[0])\n1 / 0",
    "at exit": "import atexit\natexit.register(print, 'last')\nprint('first')\n1 / 0",
    "interrupt": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\n"
    "time.sleep(5)",
    "pickle": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)",
    "encoding": "# -*- coding: latin-1 -*-\nprint('\xe9')",
    "future": "print(f.__annotations__) if (f := lambda: 0) else 0",
}


def started(args, folder, **options):
    return subprocess.run(
        [sys.executable, *args], check=False, capture_output=True, text=True, cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, timeout=60, **options,
    )  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_it_runs_as_with_python(name, tmp_path):
    (tmp_path / "beside.py").write_text("value = 5\n\n\ndef fail():\n    raise OSError('there')\n")
    encoding = "latin-1" if name == "encoding" else "utf-8"
    (tmp_path / "program.py").write_text(ALIKE[name] + "\n", encoding=encoding)
    plain = started(["program.py", "-a", "run"], tmp_path)
    ours = started(["-m", "lamina", "run", "program.py", "-a", "run"], tmp_path)
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        plain.returncode, plain.stdout, plain.stderr,
    )  # fmt: skip


def test_tracebacks_of_missing_names_end_in_the_program(tmp_path):
    (tmp_path / "program.py").write_text("def f():\n    from keras.layers import Dens\n\n\nf()\n")
    shown = started(["-m", "lamina", "run", "program.py"], tmp_path).stderr
    assert re.findall(r'File ".*?(\w+\.py)", line (\d+)', shown) == [
        ("program.py", "5"), ("program.py", "2"),
    ]  # fmt: skip
    assert shown.splitlines()[-2].startswith("lamina.errors.AbsentModuleError: keras.layers.Dens:")
    assert shown.splitlines()[-1] == "Did you mean `keras.layers.Dense`?"


@pytest.mark.parametrize("line", ["import tf_keras_absent", "from tensorflow_absent import keras"])
def test_other_missing_modules_get_no_advice(line, tmp_path):
    (tmp_path / "program.py").write_text(line + "\n")
    assert "Lamina" not in started(["-m", "lamina", "run", "program.py"], tmp_path).stderr


def test_tensorflows_keras_is_explained(tmp_path):
    # A package that stands for a TensorFlow that is not installed.
    (tmp_path / "program.py").write_text(
        "import sys\nsys.modules['tf_keras'] = None\nimport tf_keras\n"
    )
    shown = started(["-m", "lamina", "run", "program.py"], tmp_path).stderr
    assert "ModuleNotFoundError" in shown
    assert "write `import keras` in its place" in shown


def test_modules_run_too(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(
        "import sys, keras\nprint(keras.__version__, sys.argv[1:], __package__)\nsys.exit(4)\n"
    )
    made = started(["-m", "lamina", "run", "-m", "package", "-x"], tmp_path)
    assert (made.returncode, made.stdout) == (4, "3.15.0 ['-x'] package\n")


def test_spawned_processes_find_lamina_too(tmp_path):
    (tmp_path / "program.py").write_text(
        "import multiprocessing\n"
        "import keras\n"
        "def work(_):\n"
        "    return keras.layers.Dense.__module__\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(work, [1]))\n"
    )
    made = started(["-m", "lamina", "run", "program.py"], tmp_path)
    assert made.stdout == "['lamina.layers.core']\n", made.stderr


def test_interrupts_end_by_the_signal(tmp_path):
    (tmp_path / "program.py").write_text("raise KeyboardInterrupt\n")
    made = started(["-m", "lamina", "run", "program.py"], tmp_path)
    assert made.returncode == -signal.SIGINT


def test_a_missing_program(tmp_path):
    made = started(["-m", "lamina", "run", "nothing.py"], tmp_path)
    assert made.returncode == 2
    assert made.stderr == "lamina: cannot open 'nothing.py': No such file or directory\n"


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        ([], 0, "usage: lamina run"),
        (["--help"], 0, "usage: lamina run"),
        (["run", "--help"], 0, "usage: lamina run"),
        (["--version"], 0, f"lamina {lamina.__version__}"),
        (["run"], 2, "cannot read the arguments"),
        (["walk", "program.py"], 2, "cannot read the arguments"),
        (["run", "--fast", "program.py"], 2, "cannot read the arguments"),
    ],
)
def test_arguments(args, status, text, capsys):
    assert main(args) == status
    out, err = capsys.readouterr()
    assert text in (err if status else out)
