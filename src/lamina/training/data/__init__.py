"""Data for training, in one direction: recognised, converted to arrays, batched, and bound by name.

``opening`` recognises what the user has passed, ``passes`` says what is asked of it. Nothing is
imported here, because worker processes load ``pydataset`` without JAX.
"""
