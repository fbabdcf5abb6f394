"""Damaged and hostile files without end: harmless ones, changed at random where it hurts.

    python -m tests.security.fuzz --seconds 600 --record tests/security/fuzz.txt

Each input is a function of the seed and its number, so that ``--only SEED/NUMBER`` repeats it. A
child process loads the inputs, watched (``watch.py``); when it hangs or dies, the parent counts
that and starts another. Each input must be refused by an error of Lamina, or load; nothing may
escape.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import selectors
import shutil
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
KINDS = ("bytes", "zip", "json", "tensors", "hdf5", "folder", "index", "checkpoint")
_SECONDS, _BYTES = 20, 2**30  # what no input may take
_PATIENCE = 180  # seconds without a result, on a busy machine
_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 10**6, 10**9,
            0.5, -0.0, 1e308, float("inf"), float("nan"))  # fmt: skip
_FILES = ("weights.safetensors", "model_00001.weights.h5", "assets", "config.json", "host.json",
          "model-00001-of-00002.safetensors", "more.txt", "training-1.safetensors")  # fmt: skip
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
            at = rng.choice(places or [0]) + rng.randrange(64)
            width = rng.choice((1, 2, 4, 8))
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
        if not places:
            return value
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


def in_header(rng, data, pool):
    """Change values of the header of a file of safetensors."""
    (length,) = struct.unpack("<Q", data[:8])
    header = in_tree(rng, json.loads(data[8 : 8 + length]), pool)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def in_file(rng, path, pool):
    """Change a file where its format has structure, or anywhere; or remove it, or cut it."""
    data, kind = path.read_bytes(), rng.randrange(10)
    try:
        _change(rng, path, data, kind, pool)
    except (ValueError, struct.error):  # it was changed already
        path.write_bytes(in_bytes(rng, data))


def _change(rng, path, data, kind, pool):
    if kind == 0:
        path.unlink()
    elif kind == 1 or (kind < 4 and path.suffix != ".json"):
        path.write_bytes(in_bytes(rng, data))
    elif path.suffix == ".json":
        path.write_text(json.dumps(in_tree(rng, json.loads(data), pool)))
    elif path.suffix == ".h5":
        path.write_bytes(at_structures(rng, data, SIGNATURES))
    else:
        path.write_bytes(in_header(rng, data, pool))


def in_folder(rng, folder, pool, names, seal):
    """Change files of a folder; then ``seal`` corrects the digests that another file has of them.

    Args:
        rng: Random numbers.
        folder: The folder.
        pool: Makers of records.
        names: The files to change, by name, with how often.
        seal: Function of the folder.
    """
    outside = folder.parents[2]
    for _ in range(rng.choice((1, 1, 2))):
        path, kind = folder / rng.choices(list(names), list(names.values()))[0], rng.randrange(20)
        target = path.with_name(rng.choice(_FILES))
        if not path.is_file() or any(x.is_symlink() or x.is_fifo() for x in (path, target)):
            continue
        if kind == 0:
            cases.link(path.name, str(outside / rng.choice(("secret.txt", "model.safetensors"))))(
                folder, outside
            )
        elif kind == 1:
            cases.pipe(path.name)(folder, outside)
        elif kind == 2:
            target.write_bytes(path.read_bytes())
        elif kind == 3:
            path.rename(path.with_name(f"more-{path.name}"))
        else:
            in_file(rng, path, pool)
    if rng.random() < 0.8 and all(x.is_file() and not x.is_symlink() for x in folder.iterdir()):
        # What it would change may not be there any more.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            seal(folder)


def _digest(path):
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


def seal_model(folder):
    metadata = json.loads((folder / cases.METADATA).read_text())
    files = metadata["lamina"]["files"]
    files |= {name: _digest(folder / name) for name in files if (folder / name).exists()}
    (folder / cases.METADATA).write_text(json.dumps(metadata))


def seal_index(folder):
    for path in folder.glob("*.json"):
        index = json.loads(path.read_text())
        index["metadata"].pop("sha256", None)
        path.write_text(json.dumps(index))


def seal_checkpoint(folder):
    from lamina.saving.safetensors import File, digest_of

    manifest = json.loads((folder / "manifest.json").read_text())
    if not all(isinstance(manifest[part], dict) for part in ("files", "arrays")):
        return
    for name in manifest["files"]:
        manifest["files"][name] = _digest(folder / f"{name}.json")
    for name, table in manifest["arrays"].items():
        with File(path := folder / f"{name}.safetensors", str(path)) as stored:
            for key in stored.names():
                table[key] |= {"shape": list(stored.shape(key)),
                               "sha256": digest_of(stored.read(key))}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))


def records():
    """Makers of records of every built-in class and op, with odd arguments."""
    import inspect

    import lamina as keras
    from lamina.core.declaration import DECLARATIONS

    def of_class(module, cls):
        names = sorted({*inspect.signature(cls).parameters} - {"kwargs", "module", "kind"})

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


def train(model, folder, *more):
    """Train from the newest checkpoint of a folder, which is in the middle of the second epoch."""
    from lamina.callbacks import EarlyStopping

    x, y = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")
    model.fit(x, y, 4, 2, 0, [EarlyStopping("loss", patience=3), *more], resume=folder,
              checkpoint_every=1)  # fmt: skip


def write_checkpoints(model, folder):
    from lamina.callbacks import Callback

    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 4:
                raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        train(model, folder, Stop())


def write_originals(folder: Path) -> None:
    small = cases.model()
    small.fit(np.ones((4, 4), "float32"), np.ones((4, 2), "float32"), verbose=0)
    small.save(folder / "model.keras")
    small.save_weights(folder / "model.weights.h5")
    small.save_weights(folder / "model.safetensors")
    cases.write_old(small, folder / "model.h5")
    (folder / "secret.txt").write_text(cases.TOKEN)
    (folder / "folders").mkdir()
    for name, ending in (("index-h5", "weights.json"), ("index", "safetensors.index.json")):
        (folder / "folders" / name).mkdir()
        path = folder / "folders" / name / f"model.{ending}"
        small.save_weights(path, max_shard_size=60 / 2**30)
    write_checkpoints(small, folder / "folders" / "run")
    short = cases.model()
    short.quantize("int8")
    short.save(folder / "quantized.keras", probe=np.ones((1, 4), "float32"))
    short.save(folder / "folders" / "model", zipped=False, probe=np.ones((1, 4), "float32"))
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
        self.trained = cases.model()
        self.pool = records()
        files = (p for p in folder.iterdir() if p.is_file() and p.suffix != ".txt")
        self.data = {p.name: p.read_bytes() for p in files}

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

    def _copy(self, name):
        """A copy of a folder."""
        path = self.folder / "inputs" / name
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.folder / "folders" / name, path)
        return path

    def _folder(self, rng):
        path = self._copy("model")
        if rng.random() < 0.1:
            rng.choice(list(cases.FOLDERS.values()))(path, self.folder)
        else:
            names = {cases.METADATA: 4, cases.CONFIG: 4, cases.WEIGHTS: 1, "probe.safetensors": 2}
            in_folder(rng, path, self.pool, names, seal_model)
        return _size(path), path, lambda: self.keras.saving.load_model(path)

    def _index(self, rng):
        path = self._copy(name := rng.choice(("index", "index-h5")))
        if name == "index-h5" and rng.random() < 0.2:
            rng.choice(list(cases.INDEXES.values()))(path, self.folder)
        else:
            names = {x.name: 1 + 2 * (x.suffix == ".json") for x in path.iterdir()}
            in_folder(rng, path, self.pool, names, seal_index)
        ending = "weights.json" if name == "index-h5" else "safetensors.index.json"
        index = path / f"model.{ending}"
        if not index.exists() or index.is_symlink():  # of the user's own
            index.unlink(missing_ok=True)
            shutil.copy(self.folder / "folders" / name / index.name, index)
        return _size(path), path, lambda: self.target.load_weights(index)

    def _checkpoint(self, rng):
        path = self._copy("run")
        older, newest = sorted(x for x in path.iterdir() if x.is_dir())
        if rng.random() < 0.7:
            shutil.rmtree(older)
        names = {"manifest.json": 3, "host.json": 4, "data.json": 2, "weights.safetensors": 1,
                 "training.safetensors": 1}  # fmt: skip
        in_folder(rng, newest, self.pool, names, seal_checkpoint)
        return _size(path), path, lambda: train(self.trained, path)

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
        members = cases.members_of(self.data[rng.choice(("model.keras", "quantized.keras"))])
        name = cases.METADATA if rng.random() < 0.2 else cases.CONFIG
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
        return self._file("model.safetensors", in_header(rng, data, self.pool))

    def _hdf5(self, rng):
        name = rng.choice([n for n in self.data if n.endswith(".h5")])
        data = at_structures(rng, self.data[name], SIGNATURES)
        if rng.random() < 0.2:
            members = cases.members_of(self.data["model.keras"])
            return self._file("model.keras", cases.packed({**members, cases.WEIGHTS: data}, 8))
        return self._file(name, data)


def _size(folder):
    return sum(x.stat().st_size for x in folder.rglob("*") if x.is_file())


def child(folder: Path, seed: int, first: int, count: int) -> None:
    """Load inputs, and print a line for each."""
    watch.install()
    inputs = Inputs(folder, seed)
    inputs.keras.saving.load_model(folder / "quantized.keras")
    train(inputs.trained, inputs._copy("run"))
    for number in range(first, first + count):
        kind, size, path, load = inputs.make(number)
        print(json.dumps({"number": number, "kind": kind, "size": size}), flush=True)
        start = time.thread_time()
        result = watch.watched(load, str(path), may_write=kind == "checkpoint")
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
        bufsize=0,  # `select` knows no buffers
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}",
             "JAX_ENABLE_COMPILATION_CACHE": "0"},  # which would be files elsewhere
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
