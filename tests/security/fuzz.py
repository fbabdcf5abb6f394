"""Damaged and hostile files without end: harmless ones, changed at random where it hurts.

    python -m tests.security.fuzz --seconds 600 --record tests/security/fuzz.txt

Each input is a function of the seed and its number, so that ``--only SEED/NUMBER`` repeats it. A
child process loads the inputs, watched (``watch.py``); when it hangs or dies, the parent counts
that and starts another. Each input must be refused by an error of Lamina, or load; nothing may
escape.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np

from tests.security import cases, watch

ROOT = Path(__file__).parents[2]
KINDS = ("bytes", "zip", "json", "tensors", "hdf5")
_SECONDS, _BYTES = 20, 2**30  # what no input may take
_PATIENCE = 180  # seconds without a result, on a busy machine
_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 10**6, 10**9,
            0.5, -0.0, 1e308, float("inf"), float("nan"))  # fmt: skip
_VALUES = (*_NUMBERS, None, True, False, "", "a", "t", "t^3", "2*t", "relu", "float32", "a/b", "..",
           "same", "x" * 3000, [], {}, [None], [0], [1, 2], [2**31, 2**31], [[]])  # fmt: skip


# ---- changes -------------------------------------------------------------------------------------


def in_bytes(rng, data):
    """Flip, cut, repeat or replace bytes."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        size = rng.choice((1, 2, 4, 8, 64, 512))
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + size] = rng.randbytes(size)
        elif kind == 2:
            data[at : at + size] = b""
        elif kind == 3:
            data[at:at] = data[at : at + size]
        else:
            data = data[: at + 1]
    return bytes(data)


def at_structures(rng, data, signatures):
    """Set fields near the signatures of a format, or fields that hold positions in the file."""
    data = bytearray(data)
    places = [i for s in signatures for i in _all(bytes(data), s)]
    pointers = [i for i in range(0, len(data) - 8, 8)
                if 0 < struct.unpack_from("<Q", data, i)[0] < len(data)]  # fmt: skip
    known = [struct.unpack_from("<Q", data, i)[0] for i in pointers]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if rng.random() < 0.5 and pointers:
            at, width = rng.choice(pointers), 8
        else:
            at, width = rng.choice(places) + rng.randrange(64), rng.choice((1, 2, 4, 8))
        value = rng.choice((0, 1, 2, 255, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, at,
                            len(data), rng.choice(known or [8]), rng.getrandbits(64)))  # fmt: skip
        data[at : at + width] = (value % 256**width).to_bytes(width, "little")
    return bytes(data)


def _all(data, signature):
    at = -1
    while (at := data.find(signature, at + 1)) >= 0:
        yield at


def in_tree(rng, value, pool):
    """Change values of a JSON tree: other kinds, other classes, deeper, longer, elsewhere."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(value))
        box, key = rng.choice(places)
        kind = rng.randrange(9)
        if kind < 3:
            box[key] = json.loads(json.dumps(rng.choice(_VALUES)))
        elif kind == 3:
            other, name = rng.choice(places)
            box[key] = json.loads(json.dumps(other[name]))
        elif kind == 4:
            records = [(b, k) for b, k in places if isinstance(b[k], dict) and "class_name" in b[k]]
            box, key = rng.choice(records or places)
            made = rng.choice(pool)(rng)
            if isinstance(box[key], dict):
                kept = {k: v for k, v in box[key].items() if k in ("name", "inbound_nodes")}
                made = {**made, **kept}
            box[key] = made
        elif kind == 5 and isinstance(box, dict):
            del box[key]
        elif kind == 6 and isinstance(box[key], list) and box[key]:
            box[key] = box[key] * rng.choice((2, 10, 300))
        elif kind == 7:
            for _ in range(rng.choice((1, 5, 60, 200))):
                box[key] = [box[key]] if rng.random() < 0.5 else {"a": box[key]}
        elif isinstance(box, dict):
            box[
                rng.choice(("class_name", "config", "module", "shape", "dtype", "name", "seed"))
            ] = rng.choice(_VALUES)
    return value


def _places(value):
    stack = [value]
    while stack:
        x = stack.pop()
        for key in x if isinstance(x, dict) else range(len(x)):
            yield x, key
            if isinstance(x[key], (dict, list)):
                stack.append(x[key])


def records():
    """Makers of records of every built-in class and op, with odd arguments."""
    import inspect

    import lamina as keras
    from lamina.core.declaration import DECLARATIONS

    def of_class(module, cls):
        names = [n for n in inspect.signature(cls).parameters if n != "kwargs"]

        def make(rng):
            some = rng.sample(names, min(len(names), rng.randrange(4)))
            return cases.gadget(
                f"keras.{module}", cls.__name__, **{n: rng.choice(_VALUES) for n in some}
            )

        return make

    def of_op(declared):
        names = list(declared.constructor)

        def make(rng):
            config = {n: rng.choice(_VALUES) for n in names if rng.random() < 0.7}
            return cases.gadget(
                f"keras.src.ops.{declared.module_name}", declared.class_name, **config
            )

        return make

    spaces = ("layers", "losses", "metrics", "optimizers", "initializers", "regularizers", "models")
    found = [of_class(m, x) for m in spaces for x in vars(getattr(keras, m)).values()
             if inspect.isclass(x)]  # fmt: skip
    return found + [of_op(d) for d in DECLARATIONS.values()] * 2


# ---- inputs --------------------------------------------------------------------------------------


def write_originals(folder: Path) -> None:
    small = cases.model()
    small.fit(np.ones((4, 4), "float32"), np.ones((4, 2), "float32"), verbose=0)
    small.save(folder / "model.keras")
    small.save_weights(folder / "model.weights.h5")
    small.save_weights(folder / "model.safetensors")
    cases.write_old(small, folder / "model.h5")
    with h5py.File(folder / "chunks.weights.h5", "w") as h5:  # also attributes and large groups
        with h5py.File(folder / "model.weights.h5") as plain:
            names: list[str] = []
            plain.visit(names.append)
            for name in names:
                if isinstance(plain[name], h5py.Dataset):
                    chunks = {"chunks": True, "compression": "gzip", "shuffle": True}
                    h5.create_dataset(
                        name, data=plain[name][()], **(chunks if plain[name].shape else {})
                    )
        for i in range(30):
            h5.attrs[f"text {i}"] = "x" * i
            h5.create_group(f"ä {i}")


SIGNATURES = (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"FRHP", b"FHDB", b"FHIB", b"BTHD",
              b"BTLF", b"\x89HDF", b"deflate", b"text 1")  # fmt: skip


class Inputs:
    """Files by their number."""

    def __init__(self, folder: Path, seed: int) -> None:
        import lamina as keras

        self.keras, self.folder, self.seed = keras, folder, seed
        self.target = cases.model()
        self.pool = records()
        self.data = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}

    def make(self, number: int):
        """The kind of an input, its size, the only file that it may open, and its load."""
        rng = random.Random(f"{self.seed}/{number}")
        kind = KINDS[number % len(KINDS)]
        return kind, *vars(type(self))[f"_{kind}"](self, rng)

    def _file(self, name, data):
        path = self.folder / "inputs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        load = self.keras.saving.load_model
        if name.endswith(".keras"):
            return len(data), path, lambda: load(path)
        return len(data), path, lambda: self.target.load_weights(path)

    def _bytes(self, rng):
        name = rng.choice(list(self.data))
        return self._file(name, in_bytes(rng, self.data[name]))

    def _zip(self, rng):
        data = self.data["model.keras"]
        members = cases.members_of(data)
        kind = rng.randrange(4)
        if kind == 0:
            name = rng.choice(list(members))
            members[name] = in_bytes(rng, members[name])
            data = cases.packed(members, rng.choice((0, 8)))
        elif kind == 1:
            data = rng.choice(list(cases.ARCHIVES.values()))(data)
        elif kind == 2:
            data = cases.packed(members, rng.choice((0, 8)))
            data = at_structures(rng, data, (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"))
        else:
            at = rng.randrange(len(data))
            data = rng.choice((data[at:] + data, data + data[:at], data[:at] + data[at - 1 :]))
        return self._file("model.keras", data)

    def _json(self, rng):
        members = cases.members_of(self.data["model.keras"])
        name = cases.METADATA if rng.random() < 0.1 else cases.CONFIG
        config = in_tree(rng, json.loads(members[name]), self.pool)
        text = json.dumps(config)
        keras, kind = self.keras, rng.randrange(6)
        if name == cases.METADATA or kind < 2:
            return self._file("model.keras", cases.packed({**members, name: text}, 8))
        calls = (
            lambda: keras.models.model_from_json(text),
            lambda: keras.saving.deserialize_keras_object(config),
            lambda: keras.layers.deserialize(config),
            lambda: keras.Model.from_config(config.get("config", config)),
        )
        return len(text), "", calls[kind - 2]

    def _tensors(self, rng):
        data = self.data["model.safetensors"]
        (length,) = struct.unpack("<Q", data[:8])
        header = in_tree(rng, json.loads(data[8 : 8 + length]), self.pool)
        text = json.dumps(header).encode()
        return self._file(
            "model.safetensors", struct.pack("<Q", len(text)) + text + data[8 + length :]
        )

    def _hdf5(self, rng):
        name = rng.choice([n for n in self.data if n.endswith(".h5")])
        data = at_structures(rng, self.data[name], SIGNATURES)
        if rng.random() < 0.2:
            members = cases.members_of(self.data["model.keras"])
            return self._file("model.keras", cases.packed({**members, cases.WEIGHTS: data}, 8))
        return self._file(name, data)


def child(folder: Path, seed: int, first: int, count: int) -> None:
    """Load inputs, and print a line for each."""
    watch.install()
    inputs = Inputs(folder, seed)
    inputs.keras.saving.load_model(folder / "model.keras")
    for number in range(first, first + count):
        kind, size, path, load = inputs.make(number)
        print(json.dumps({"number": number, "kind": kind, "size": size}), flush=True)
        start = time.thread_time()
        result = watch.watched(load, str(path))
        result["seconds"] = time.thread_time() - start
        print(json.dumps({"number": number, "kind": kind, "size": size, **result}), flush=True)


# ---- the parent ----------------------------------------------------------------------------------


def run(seed: int, seconds: float = float("inf"), count: int = sys.maxsize) -> Counter[str]:
    """Load inputs until the time, or their number, is reached; print what is wrong.

    Returns:
        The counts: inputs by kind, outcomes, and what must be zero.
    """
    totals: Counter[str] = Counter(
        dict.fromkeys(("escapes", "hangs", "deaths", "raw errors", "memory"), 0)
    )
    end, number = time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        write_originals(Path(folder))
        while number < count and time.monotonic() < end:
            number = _batch(Path(folder), seed, number, min(250, count - number), end, totals)
    return totals


def _batch(folder, seed, first, count, end, totals) -> int:
    """One child process; the number of the next input."""
    command = [sys.executable, "-m", "tests.security.fuzz", "--child", str(folder), str(seed),
               str(first), str(count)]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
    )  # fmt: skip
    started = {"number": first, "kind": "none", "size": 0}
    with process, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(_PATIENCE) and (line := process.stdout.readline()):
            one = json.loads(line)
            if "error" in one:
                _count(one, seed, totals)
                if time.monotonic() > end:
                    process.kill()
                    return one["number"] + 1
            started = one
        running = process.poll() is None and "error" not in started
        if running:
            process.kill()
        else:
            process.wait()
        if running or process.returncode:
            what = "hangs" if running else "deaths"
            totals[what] += 1
            last = process.stderr.read().decode()[-1500:]
            print(f"{what}: --only {seed}/{started['number']} {started}\n{last}", flush=True)
            return started["number"] + 1
    return first + count


def _count(one, seed, totals) -> None:
    totals["inputs"] += 1
    totals[f"of kind {one['kind']}"] += 1
    totals["loaded" if not one["error"] else f"refused: {one['error']}"] += 1
    wrong = {
        "escapes": bool(one["escapes"]), "raw errors": not one["is_typed"],
        "hangs": one["seconds"] > _SECONDS, "memory": one["bytes"] > _BYTES + 2 * one["size"],
    }  # fmt: skip
    for what, is_wrong in wrong.items():
        if is_wrong:
            totals[what] += 1
            print(f"{what}: --only {seed}/{one['number']} {json.dumps(one)[:3000]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--record", type=Path, help="file for the counts")
    parser.add_argument("--only", help="SEED/NUMBER of one input to repeat")
    parser.add_argument("--child", nargs=4, metavar=("FOLDER", "SEED", "FIRST", "COUNT"))
    options = parser.parse_args()
    if options.child:
        child(Path(options.child[0]), *map(int, options.child[1:]))
        return
    if options.only:
        seed, number = map(int, options.only.split("/"))
        with tempfile.TemporaryDirectory() as folder:
            write_originals(Path(folder))
            child(Path(folder), seed, number, 1)
        return
    totals = run(options.seed, options.seconds)
    text = "".join(f"{n:>9,}  {what}\n" for what, n in sorted(totals.items()))
    print(text)
    if options.record:
        options.record.write_text(
            f"The last long run of `python -m tests.security.fuzz` (seed {options.seed}, "
            f"{options.seconds:.0f} s):\n\n{text}"
        )


if __name__ == "__main__":
    main()
