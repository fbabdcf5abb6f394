"""Data for training: recognized, converted to arrays, batched, and matched to inputs by name.

``opening`` recognises what the user has passed, ``passes`` says what is asked of it. Nothing is
imported here, because worker processes load ``pydataset`` without JAX.
"""
