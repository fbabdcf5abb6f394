"""In a process of its own, `import keras` finds Lamina, and what Lamina lacks is said."""

import json
import subprocess
import sys

import pytest

from lamina.alias import messages, tables

pytestmark = pytest.mark.xdist_group("alias")  # one process tells what all names are

# Each is run in one process under the alias; what it gives is the value of `found`.
FINDS = {
    "import keras; found = keras.__version__": "3.15.0",
    "import keras; found = keras.version()": "3.15.0",
    "import keras, lamina; found = lamina.__version__ == keras.__version__": False,
    "import keras, lamina; found = keras.Model is lamina.Model": True,
    "from keras.layers import Dense; found = Dense.__module__": "lamina.layers.core",
    "import keras.ops as ops; found = float(ops.sum([1.0, 2.0]))": 3.0,
    "from keras import layers; found = layers.__name__": "keras.layers",
    "from keras.optimizers.schedules import CosineDecay; found = CosineDecay.__name__": (
        "CosineDecay"
    ),
    "import keras.applications.vgg16 as v; found = v.VGG16.__name__": "VGG16",
    "from keras import *; found = layers.__name__": "keras.layers",
    "from keras.layers import *; found = Conv2D.__name__": "Conv2D",
    "from keras.src.ops import *; found = add.__name__": "add",
    "from keras.src.callbacks import History; found = History.__name__": "History",
    "from keras.src.saving.saving_lib import load_model as f; found = f.__name__": "load_model",
    "from keras.src.backend import get_keras_mask, set_keras_mask as s; import keras; x = "
    "keras.ops.ones((2, 3)); s(x, x > 0); found = get_keras_mask(x).tolist()": [[True] * 3] * 2,
    "from keras.src.losses.losses import LossFunctionWrapper as w; found = w('huber').name": (
        "huber"
    ),
    "from keras.src.saving import serialization_lib as s; found = s.in_safe_mode()": False,
    "from keras.src.distribution import distribution_lib as d; found = d.distribution()": None,
    "import keras; found = keras.src.saving.saving_lib.H5IOStore.__name__": "H5IOStore",
    "from keras.src.utils.tracking import *; found = no_automatic_dependency_tracking(len)([1])": 1,
    "import keras, io; from keras.src.saving import saving_lib as s; m = keras.Sequential("
    "[keras.Input((3,)), keras.layers.Dense(2)]); f = io.BytesIO(); s.save_model(m, f); f.seek(0); "
    "found = s.load_model(f).output_shape[1]": 2,
    "import lamina; m = lamina.Sequential([lamina.Input((1,))]); m.compile(loss='mae'); "
    "found = m.loss": "mae",
    "import keras; found = hasattr(keras.layers, 'Dens')": False,
    "import keras; found = hasattr(keras, 'src') and hasattr(keras.src, 'engine')": False,
    "import keras; found = 'Dense' in dir(keras.layers) and 'core' not in dir(keras.layers)": True,
    # What a program assigns stays in its own view of Keras.
    "import keras, lamina; keras.layers.Mine = 1; found = hasattr(lamina.layers, 'Mine')": False,
    "import importlib.util as u; found = u.find_spec('keras').name": "keras",
    "import lamina, sys; lamina.alias_keras(); found = sum('Keras' in type(f).__name__ for f in "
    "sys.meta_path)": 1,
}

# From statements to the type of the error and what its message says.
REFUSES = {
    "from keras.layers import Dens": ("ImportError", "Did you mean `keras.layers.Dense`?"),
    "import keras; keras.layers.Dens": ("AttributeError", "Did you mean `keras.layers.Dense`?"),
    "import keras; keras.Dense": ("AttributeError", "Did you mean `keras.layers.Dense`?"),
    "from keras.layers import TorchModuleWrapper": ("ImportError", "JAX alone"),
    "from keras.optimizers.legacy import Adam": ("ImportError", "`keras.optimizers` replace them"),
    "import keras.layers.core": ("ImportError", "keras.layers.core: neither Keras"),
    "import keras.src.engine": ("ImportError", "private to Keras"),
    "import keras; keras.src.models": ("AttributeError", "Use `keras.models`."),
    "from keras.src.saving.saving_lib import inspect_file": ("ImportError", "private to Keras"),
    "import keras._tf_keras.keras": ("ImportError", "`tensorflow.keras`"),
}  # fmt: skip

PROGRAM = """
import json, sys, lamina
lamina.alias_keras()
finds, refuses = json.loads(sys.argv[1])
told = {}
for code in finds:
    names = {}
    try:
        exec(code, names)
        told[code] = names["found"]
    except Exception as e:
        told[code] = repr(e)
for code in refuses:
    try:
        exec(code, {})
        told[code] = None
    except (ImportError, AttributeError) as e:
        told[code] = [[c.__name__ for c in type(e).__mro__], str(e)]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    made = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, json.dumps([list(FINDS), list(REFUSES)])],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(made.stdout)


@pytest.mark.parametrize("code", FINDS)
def test_names_are_found(told, code):
    assert told[code] == FINDS[code]


@pytest.mark.parametrize("code", REFUSES)
def test_names_that_are_absent_are_reported(told, code):
    kind, text = REFUSES[code]
    assert told[code] is not None
    kinds, message = told[code]
    assert kind in kinds
    assert "LaminaError" in kinds
    assert text in message


def test_the_alias_loads_nothing_heavy():
    code = "import lamina, sys; lamina.alias_keras(); import keras; print('jax' in sys.modules)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "False\n"


def test_every_gap_has_a_message():
    for path, gaps in messages.surface().items():
        for name in (n for n, said in gaps.items() if not said and "." not in n):
            subject, cure = messages.absent(f"{path}.{name}")
            assert subject.startswith(f"{path}.{name}: Lamina does not")
            assert cure


def test_texts_written_by_hand_are_of_names_that_are_absent():
    absent = {
        f"{path}.{name}" for path, gaps in messages.surface().items() for name in gaps
    } | {path for path in messages.surface() if messages.target_of(path) is None}  # fmt: skip
    assert sorted(set(tables.INSTEAD) - absent) == []


def test_keras_that_is_already_imported_is_refused():
    code = "import keras, lamina; lamina.alias_keras()"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "StateError: alias_keras() was called after `import keras`" in made.stderr


def test_other_backend_warns():
    code = "import lamina; lamina.alias_keras(); import keras"
    made = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False,
        env={"KERAS_BACKEND": "torch", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert "KERAS_BACKEND is 'torch'" in made.stderr
