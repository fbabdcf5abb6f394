"""Settings that must stand before JAX and Keras are imported."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile anew: what an earlier run left in the user's cache must not decide them.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")
