"""Libraries on top of Keras, on Keras and on Lamina: `make test-clients`, or with their names.

CLIENTS="scikeras keras_hub:CLIP,XLNet" runs one library, and two uses of another.

Prints what passes on which, and why not; ends with an error where a use of a library passes on
Keras and not here, unless known.json lists it, or where what it lists passes. `--accept` writes
that record and docs/clients.md. What Keras does is kept in the environment, until a library or the
uses change.
"""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
KNOWN, PAGE = FOLDER / "known.json", FOLDER.parents[1] / "docs" / "clients.md"
CLIENTS = sorted(p.stem.removeprefix("use_") for p in FOLDER.glob("use_*.py"))

TOP = """\
# Libraries on top of Keras

What these libraries do on Keras with JAX, and on Lamina under the name of Keras. Written by
`make test-clients CLIENTS=--accept`, from runs of both. A use that ends with arrays (outputs of a
model whose weights have the same values, weights after training) passes where those of Lamina are
those of Keras within 1e-4, relative or absolute; the last column has the largest difference.

| Library | Version | Uses | Pass on Keras | Pass on Lamina | Compared | Largest difference |
|---|---|---:|---:|---:|---:|---:|
"""


def run(library, client, uses=()):
    """Of each use: the error, and the arrays that it returned."""
    made = subprocess.run(
        [sys.executable, "-m", "tests.clients.worker", library, client, *uses],
        check=False, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    found = dict(json.loads(line) for line in made.stdout.splitlines())
    if made.returncode or not found:
        found["import"] = [f"ended with {made.returncode}", None]
    return found


def run_on_keras(client, uses):
    """The same from Keras; of all uses, from the file in the environment that keeps it."""
    if uses:
        return run("keras", client, uses)
    kept = Path(sys.prefix) / f"keras_{client}.json"
    parts = [(FOLDER / f"{name}.py").read_text() for name in (f"use_{client}", "worker")]
    parts += sorted(f"{x.name}=={x.version}" for x in metadata.distributions())
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    if kept.exists():
        known, found = json.loads(kept.read_text())
        if known == digest:
            return found
    found = run("keras", client)
    kept.write_text(json.dumps([digest, found]))
    return found


def difference(theirs, ours):
    """What differs between the arrays that a use returned on either, and by how much at most."""
    shapes = [[shape for shape, _ in arrays] for arrays in (theirs, ours)]
    if shapes[0] != shapes[1]:
        return f"other shapes: {shapes[1]}, on Keras {shapes[0]}", None
    pairs = [(np.array(a), np.array(b)) for (_, a), (_, b) in zip(theirs, ours, strict=True)]
    most = max((float(np.max(np.abs(a - b))) for a, b in pairs if a.size), default=None)
    same = all(np.allclose(b, a, rtol=1e-4, atol=1e-4, equal_nan=True) for a, b in pairs)
    return "" if same else f"other numbers, by {most:.2g}", most


def compare(theirs, ours):
    """Of each use: the error on Keras, the error here, and the largest difference."""
    rows = {}
    for use in sorted((theirs | ours).keys() - {"import"}) or ["import"]:
        there, their_arrays = theirs.get(use) or theirs["import"]
        here, arrays = ours.get(use) or ours["import"]
        most = None
        if their_arrays and arrays:
            here, most = difference(their_arrays, arrays)
        rows[use] = [there, here, most]
    return rows


def failures(rows):
    """The uses that pass on Keras and not here."""
    return {use for use, (there, here, _) in rows.items() if here and not there}


def page(known):
    """The text of docs/clients.md."""
    lines, uses, not_here = [], [], []
    for client, (version, rows) in known.items():
        compared = [most for *_, most in rows.values() if most is not None]
        passed = [sum(not row[i] for row in rows.values()) for i in (0, 1)]
        most = f"{max(compared):.1g}" if compared else ""
        lines.append(
            f"| {client} | {version} | {len(rows)} | {passed[0]} | {passed[1]} | "
            f"{len(compared) or ''} | {most} |\n"
        )
        uses.append(f"\n## {client}\n\n{', '.join(rows).replace('_', ' ')}.\n")
        not_here += [
            f"| {client} | {use} | {there or 'passes'} | {here or 'passes'} |\n"
            for use, (there, here, _) in rows.items() if there or here
        ]  # fmt: skip
    if not_here:
        top = "\n## What does not pass\n\n| Library | Use | Keras | Lamina |\n|---|---|---|---|\n"
        lines += [top, *not_here]
    return "".join([TOP, *lines, *uses])


def main():
    asked = [a for a in sys.argv[1:] if a[0] != "-"] or CLIENTS
    known = json.loads(KNOWN.read_text())
    found, changed = {}, []
    print(f"{'library':<12} {'use':<36} {'Keras':<6} {'Lamina':<7} why not, or difference")
    for client, _, uses in (a.partition(":") for a in asked):
        uses = uses.split(",") if uses else []
        with ThreadPoolExecutor() as pool:
            theirs = pool.submit(run_on_keras, client, uses)
            ours = run("lamina", client, uses)
        rows = compare(theirs.result(), ours)
        for use, (there, here, most) in rows.items():
            marks = ["-" if e else "passes" for e in (there, here)]
            why = here or (there and f"Keras: {there}") or ("" if most is None else f"{most:.1g}")
            print(f"{client:<12} {use:<36} {marks[0]:<6} {marks[1]:<7} {why[:160]}".rstrip())
        print(f"{client:<12} {sum(not row[1] for row in rows.values())} of {len(rows)} pass here\n")
        kept = known[client][1] if client in known else {}
        before = {use for use in failures(kept) if use in rows or not uses}
        for use in sorted(before ^ failures(rows)):
            state = "passes now" if use in before else "does not pass"
            changed.append(f"{client}: {use} {state}; see tests/clients/known.json")
        found[client] = [metadata.version(client.replace("_", "-")), (kept if uses else {}) | rows]
    if "--accept" in sys.argv:
        known = dict(sorted((json.loads(KNOWN.read_text()) | found).items()))
        KNOWN.write_text(json.dumps(known, indent=1) + "\n")
        PAGE.write_text(page(known))
        return 0
    print("\n".join(changed))
    return int(bool(changed))


if __name__ == "__main__":
    sys.exit(main())
