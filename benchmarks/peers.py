"""The libraries to compare, and their environments."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ENVIRONMENTS = ROOT / ".bench"


@dataclasses.dataclass(frozen=True)
class Peer:
    """A library to measure.

    Attributes:
        name: The key in ``PEERS``.
        title: Its name in the tables.
        family: The module of ``benchmarks.families`` that uses it.
        imports: The modules whose import is timed.
        packages: The distributions whose versions are reported.
        environment: The file in ``benchmarks/requirements`` to install; None for this Python.
        variables: Environment variables of its process.
        options: Arguments of the family's ``Session``.
        keeps: Whether compiled programs are cached for the next process.
        calls: The module of ``benchmarks.families`` with the calls to time.
        source: A folder to import its modules from, ahead of installed packages.
    """

    name: str
    title: str
    family: str
    imports: tuple[str, ...]
    packages: tuple[str, ...]
    environment: str | None = None
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keeps: bool = False
    calls: str | None = None
    source: Path | None = None


def _keras(backend: str, title: str, environment: str, package: str) -> Peer:
    return Peer(
        f"keras-{backend}", f"Keras, {title}", "with_keras", ("keras",), ("keras", package),
        environment, {"KERAS_BACKEND": backend}, {"framework": "keras"}, calls="calls_keras",
    )  # fmt: skip


_ALL = (
    Peer(
        "lamina", "Lamina", "with_keras",
        # It imports its parts on first use; every program uses these.
        ("lamina", "lamina.layers", "lamina.models", "lamina.losses", "lamina.optimizers"),
        ("lamina", "jax"), options={"framework": "lamina"}, keeps=True, calls="calls_keras",
        source=ROOT / "src",
    ),
    _keras("jax", "JAX", "keras-jax", "jax"),
    _keras("tensorflow", "TensorFlow", "keras-tensorflow", "tensorflow_cpu"),
    _keras("torch", "PyTorch", "torch", "torch"),
    Peer(
        "torch", "PyTorch", "with_torch", ("torch",), ("torch",), "torch", calls="calls_torch",
    ),
    Peer(
        "torch-compile", "torch.compile", "with_torch", ("torch",), ("torch",), "torch",
        options={"compiled": True}, keeps=True,
    ),
    Peer(
        "nnx", "Flax NNX", "with_nnx", ("flax.nnx", "optax"), ("flax", "optax", "jax"), "flax",
        calls="calls_nnx",
    ),
    Peer("jax", "JAX by hand", "with_jax", ("jax", "jax.numpy"), ("jax",), "flax"),
)  # fmt: skip
PEERS = {peer.name: peer for peer in _ALL}


class SetupError(Exception):
    """The environment of a peer cannot be created; the message is the reason, in one line."""


def python_of(peer: Peer) -> str:
    """The interpreter that runs the peer; creates its environment on first use."""
    if peer.environment is None:
        return sys.executable
    requirements = Path(__file__).parent / "requirements" / f"{peer.environment}.txt"
    folder = ENVIRONMENTS / peer.environment
    python, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"Installing {requirements.name} into {folder.relative_to(ROOT)}", file=sys.stderr)
        ENVIRONMENTS.mkdir(exist_ok=True)
        (ENVIRONMENTS / ".gitignore").write_text("*\n")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)])
        stamp.write_text(wanted)
    return str(python)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise SetupError(f"not installed: {(errors or done.stderr.splitlines() or ['?'])[-1]}")
