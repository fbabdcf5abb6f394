"""Libraries on top of Keras, on Keras and on Lamina: `make test-clients`, or with their names.

Prints what passes on which, and why not; ends with an error where something passes on Keras,
does not pass here, and is not listed in known.json, or where something listed there passes.
`--accept` writes that list.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
KNOWN = FOLDER / "known.json"
CLIENTS = sorted(p.stem.removeprefix("use_") for p in FOLDER.glob("use_*.py"))


def run(library, client):
    """What became of each use, and the arrays that the uses returned."""
    made = subprocess.run(
        [sys.executable, "-m", "tests.clients.worker", library, client],
        check=False, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    lines = made.stdout.strip().splitlines()
    if not lines:
        return {"import": f"ended with {made.returncode}"}, {}
    result = json.loads(lines[-1])
    return result["told"], result["returned"]


def difference(theirs, ours):
    """What differs between the arrays that one use returned on either, or nothing."""
    shapes = [[shape for shape, _ in arrays] for arrays in (theirs, ours)]
    if shapes[0] != shapes[1]:
        return f"other shapes: {shapes[1]}, on Keras {shapes[0]}"
    for (_, a), (_, b) in zip(theirs, ours, strict=True):
        if not np.allclose(b, a, rtol=1e-3, atol=1e-4, equal_nan=True):
            return f"other numbers, by {np.max(np.abs(np.subtract(a, b))):.2g}"
    return ""


def main():
    asked = [a for a in sys.argv[1:] if a[0] != "-"] or CLIENTS
    known = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    found = {}
    print(f"{'library':<12} {'use':<36} {'Keras':<6} {'Lamina':<7} why not")
    for client in asked:
        (theirs, on_keras), (ours, on_lamina) = run("keras", client), run("lamina", client)
        failures = found[client] = {}
        passed = 0
        for use in sorted(theirs | ours):
            there = theirs.get(use, theirs.get("import", ""))
            here = ours.get(use, ours.get("import", ""))
            if use in on_keras and use in on_lamina:
                here = difference(on_keras[use], on_lamina[use])
            marks = ["-" if e else "passes" for e in (there, here)]
            why = here or (there and f"Keras: {there}")
            print(f"{client:<12} {use:<36} {marks[0]:<6} {marks[1]:<7} {why[:160]}".rstrip())
            passed += not here
            if here and not there and use in theirs:
                failures[use] = here
        print(f"{client:<12} {passed} of {len(theirs)} pass here\n")
    if "--accept" in sys.argv:
        KNOWN.write_text(json.dumps(known | found, indent=1, sort_keys=True) + "\n")
        return 0
    changed = {c: set(found[c]) ^ set(known.get(c, {})) for c in asked}
    for client, uses in changed.items():
        for use in sorted(uses):
            state = "does not pass any more" if use in found[client] else "passes now"
            print(f"{client}: {use} {state}; see tests/clients/known.json")
    return int(any(changed.values()))


if __name__ == "__main__":
    sys.exit(main())
