"""Preprocessing as pure functions over NumPy or ``jax.numpy``, which the layers are built on.

A :class:`~lamina.transforms.base.Transform` has the arguments of a layer, draws the parameters of a
batch, and applies them. With NumPy it runs in worker processes, which import no JAX from here.
"""
