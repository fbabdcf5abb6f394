"""Every program in examples/ runs as a user runs it, and what it shows is so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"

# For each program what its output must hold; numbers in groups must be at least the given ones.
SHOWS = {
    "custom_layers": [
        (r"([\d.]+)% of the other digits lie nearest to the right prototype", 80),
        (r"0\.5 is kept", None),
        (r"the same, bit for bit", None),
        (r"Without custom_objects: .*'Prototypes'", None),
    ],
    "demo": [
        (r"Test accuracy: ([\d.]+)", 0.95),
        (r"the predictions are the same, bit for bit", None),
    ],
    "encoder_and_autoencoder": [
        (r"10,956 of these parameters are the encoder's too", None),
        (r"Of 297 unseen digits, ([\d.]+)% are nearest", 80),
    ],
    "inner_features": [
        (r"vgg19: 26 layers, 143,667,240 parameters", None),
        (r"fc2 +\(4, 4096\)", None),
        (r"network classifies ([\d.]+)% of new points", 90),
    ],
    "look_inside": [
        (r"\(batch, frames, 32\), \(batch, pixels, 32\)", None),
        (r"'2\*frames'", None),
        (r"the clone says the same: True", None),
    ],
    "mixing_styles": [
        (r"Called on an array: \(1, 1\) from \(1, 10, 5\)", None),
        (r"([\d.]+)% of 320 new series are classified correctly", 75),
    ],
    "models_as_layers": [
        (r"member_1 +([\d.]+)%", 70),
        (r"ensemble +([\d.]+)%", 85),
        (r"5,430 parameters", None),
    ],
    "residual_network": [
        (r"plain: 38,154 parameters", None),
        (r"residual: 38,154 parameters.* ([\d.]+)%$", 60),
    ],
    "several_devices": [
        (r"narrow \(Dense\)", None),
        (r"\d+ devices, loss ([\d.]+)", 0),
    ],
    "shared_layers": [
        (r"344 numbers", None),
        (r"Of 500 new pairs ([\d.]+)% are classified correctly", 90),
    ],
    "tickets": [
        (r"words\[1\]\[0\]", None),
        (r"new letters, ([\d.]+)% reach the right desk", 85),
        (r"([\d.]+)% get the right priority", 70),
    ],
}  # fmt: skip


def test_every_program_is_listed():
    programs = {path.stem for path in FOLDER.glob("*.py")}
    assert programs == set(SHOWS)
    listed = re.findall(r"^\| `(\w+)\.py`", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(programs)


LONG = ("inner_features", "models_as_layers", "residual_network")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long if n in LONG else ()) for n in SHOWS]
)
def test_program(name, tmp_path):
    # Warnings are errors here too, and no file may fall outside of the two folders of the run.
    made = subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / f"{name}.py")],
        check=False, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path, timeout=240,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    for pattern, least in SHOWS[name]:
        found = re.search(pattern, made.stdout, re.MULTILINE)
        assert found, f"{pattern!r} is not in:\n{made.stdout}"
        if least is not None:
            assert float(found[1]) >= least
    assert {path.name for path in tmp_path.iterdir()} <= {"lamina-demo"}
