"""Load the hostile files in this process, and print what happened, one line of JSON a load.

``python -m tests.security.worker FOLDER``, after ``cases.write_all(FOLDER)``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path

from tests.security import watch


def in_thread(call):
    def run():
        result = []

        def work():
            try:
                result.append((call(), None))
            except Exception as e:  # noqa: BLE001 - to raise it in the other thread
                result.append((None, e))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        value, error = result[0]
        if error is not None:
            raise error
        return value

    return run


def in_event_loop(call):
    async def main():
        return await asyncio.to_thread(call) or call()

    return lambda: asyncio.run(main())


def entry_points(keras):
    """For each kind of file: the verbs that read it, as functions of its path and its config.

    A verb whose name is in brackets reads a part of the file, which may be harmless by itself.
    """
    from tests.security.cases import model

    load, saving, target = keras.saving.load_model, keras.saving, model()
    archive = {
        "load_model": lambda p, _: load(p),
        "safe_mode=None": lambda p, _: load(p, safe_mode=None),
        "safe_mode=False": lambda p, _: load(p, safe_mode=False),
        "a path as bytes": lambda p, _: load(os.fsencode(p)),
        "a thread": lambda p, _: in_thread(lambda: load(p))(),
        "an event loop": lambda p, _: in_event_loop(lambda: load(p))(),
        "from_bytes": lambda p, _: saving.archive.from_bytes(p.read_bytes()),
    }
    hostile = {**archive, "[load_weights]": lambda p, _: target.load_weights(p)}
    text = {"model_from_json": lambda _, c: keras.models.model_from_json(c)}
    parts = {
        "[deserialize_keras_object]": lambda _, c: saving.deserialize_keras_object(c),
        "[layers.deserialize]": lambda _, c: keras.layers.deserialize(c),
        "[Model.from_config]": lambda _, c: keras.Model.from_config(c["config"]),
        "[Sequential.from_config]": lambda _, c: keras.Sequential.from_config(c["config"]),
        "[Layer.from_config]": lambda _, c: [
            keras.layers.Dense.from_config(r["config"]) for r in c["config"]["layers"]
        ],
    }
    weights = {
        "load_weights": lambda p, _: target.load_weights(p),
        "[skip_mismatch]": lambda p, _: target.load_weights(p, skip_mismatch=True),
    }
    folder = {
        "load_model": archive["load_model"],
        "safe_mode=False": archive["safe_mode=False"],
        "a thread": archive["a thread"],
        "[inspect]": lambda p, _: keras.inspect(p),
    }
    index = {
        name: lambda p, _, call=call: call(p / "model.weights.json", _)
        for name, call in (*weights.items(), ("inspect", folder["[inspect]"]))
    }
    return {
        "harmless": {**archive, **text},
        "config": {**hostile, **text, **parts},
        "compiled": hostile,
        "text": {**hostile, **text},
        "archive": hostile,
        "arrays": {
            **weights,
            "load_model": lambda p, _: load(_archive_of(p)),
        },
        "tensors": weights,
        "folder": folder,
        "harmless folder": folder,
        "index": index,
        "harmless index": index,
        "old": {
            "load_weights": weights["load_weights"],
            "by_name": lambda p, _: target.load_weights(p, by_name=True),
            "load_model": archive["load_model"],
        },
    }


def _archive_of(path):
    return path.with_name(path.name.replace(".weights.h5", ".keras"))


def main(folder: Path) -> None:
    watch.install()
    os.chdir(folder)
    sys.path.insert(0, str(folder / "code"))
    import lamina as keras

    verbs = entry_points(keras)
    in_event_loop(lambda: keras.saving.load_model(folder / "model.keras"))()  # loads what is lazy
    for kind, table in verbs.items():
        for path in sorted((folder / kind).glob("*")):
            if path.suffix == ".json" or (kind == "arrays" and path.suffix == ".keras"):
                continue
            for verb, call in table.items():
                config = _config(path, verb)
                opened = _archive_of(path) if (kind, verb) == ("arrays", "load_model") else path
                result = watch.watched(lambda c=call, p=path, x=config: c(p, x), str(opened))
                if verb.endswith("from_config]") and not _has_parts(config):
                    continue
                result |= {"kind": kind, "case": int(path.name[:3]), "verb": verb}
                result["size"] = opened.stat().st_size
                print(json.dumps(result), flush=True)


def _config(path, verb):
    described = path.with_suffix(".json")
    if not described.exists() or verb == "[load_weights]":
        return None
    text = described.read_text("utf-8")
    return json.loads(text) if verb[0] == "[" else text


def _has_parts(config) -> bool:
    """Whether the worker itself can take the config apart."""
    try:
        return all(r["config"] is not None for r in config["config"]["layers"])
    except (KeyError, TypeError, IndexError):
        return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
