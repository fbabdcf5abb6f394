"""Workers: processes that run one contestant with one model."""

from __future__ import annotations

import json
import os
import select
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.peers import ENVIRONMENTS, ROOT, Peer, python_of

TIMEOUT = 300.0  # seconds for one answer; torch.compile takes minutes for the largest model
LOG = ENVIRONMENTS / "workers.log"


class PeerError(Exception):
    """A peer cannot be measured; the message is the reason."""


class Process:
    """A worker process and its two pipes. The output of its libraries is redirected to ``LOG``.

    Args:
        peer: The contestant.
        model: A name in ``WORKLOADS``.
        home: Folder for its cache of compiled programs; None for no cache.
    """

    def __init__(self, peer: Peer, model: str, home: Path | None = None) -> None:
        python = python_of(peer)
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        path = [ROOT, *([peer.source] if peer.source else [])]
        fixed = {
            "PYTHONPATH": os.pathsep.join(map(str, path)), "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore",
            "JAX_ENABLE_COMPILATION_CACHE": "false" if home is None else "true",
        }  # fmt: skip
        if home is not None:
            fixed |= dict.fromkeys(("HOME", "LAMINA_HOME", "XDG_CACHE_HOME", "TMPDIR"), str(home))
        ENVIRONMENTS.mkdir(exist_ok=True)
        (ENVIRONMENTS / ".gitignore").write_text("*\n")
        self.log = LOG.open("a")
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", peer.name, model],
            cwd=ROOT, env={**inherited, **fixed, **peer.variables},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
        )  # fmt: skip
        self.source = peer.source

    @property
    def pid(self) -> int:
        """The process ID."""
        return self.process.pid

    def load(self) -> dict[str, Any]:
        """Import the library and check from which folder it comes."""
        answer = self.ask(do="load")
        found = Path(answer.pop("file"))
        if self.source and self.source not in found.parents:
            raise PeerError(f"it comes from {found}, not from {self.source}")
        return answer

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise PeerError("no pipes")
        try:
            stdin.write(json.dumps(command).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"its process ended before {command['do']!r}") from None
        ready, _, _ = select.select([stdout], [], [], TIMEOUT)
        if not ready:
            raise PeerError(f"no answer to {command['do']!r} in {TIMEOUT:.0f} s")
        line = stdout.readline()
        if not line:
            code = self.process.wait()
            raise PeerError(f"its process ended with code {code} in {command['do']!r}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{command['do']}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.log.close()
