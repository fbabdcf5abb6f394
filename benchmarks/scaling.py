"""A decoder of 7 billion parameters on devices that do not exist: memory and communication.

The training step is compiled ahead of time for as many fake CPU devices as asked for; no weight is
ever created. ``docs/scaling.md`` shows what this prints:

    python -m benchmarks.scaling 64 fsdp+tensor
"""

from __future__ import annotations

import os
import sys
import time

VOCABULARY, WIDTH, HIDDEN, HEADS, LAYERS, LENGTH = 32_000, 4096, 11_008, 32, 32, 4096


def decoder(depth: int):
    """The architecture of Llama 2 7B: gated feed-forward layers, RMS normalization, no biases.

    Positions are left out: rotating the queries and keys needs neither weights nor communication.
    Each block recomputes its intermediate values in the backward pass.
    """
    import lamina as keras
    from lamina import layers

    def dense(units: int, **options):
        return layers.Dense(units, use_bias=False, **options)

    def block(i: int):
        x = keras.Input((LENGTH, WIDTH))
        z = layers.RMSNormalization()(x)
        heads = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, use_bias=False)
        y = layers.add([x, heads(z, z, use_causal_mask=True)])
        z = layers.RMSNormalization()(y)
        wide = layers.multiply([dense(HIDDEN, activation="silu")(z), dense(HIDDEN)(z)])
        y = layers.add([y, dense(WIDTH)(wide)])
        with keras.RematScope("full"):
            return keras.Model(x, y, name=f"block{i}")

    x = keras.Input((LENGTH,), dtype="int32")
    y = layers.Embedding(VOCABULARY, WIDTH, name="tokens")(x)
    for i in range(depth):
        y = block(i)(y)
    y = layers.RMSNormalization(name="norm")(y)
    return keras.Model(x, dense(VOCABULARY, name="logits", dtype="float32")(y))


def main(devices: int, name: str, depth: int = LAYERS, per_device: int = 1) -> None:
    """Compile the step and print a row of the table."""
    import jax

    import lamina as keras
    from lamina import distribution as dist

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = decoder(depth)
    by: object = name
    parts = {"fsdp": 1, "tensor": devices}.get(name, 8 if devices >= 64 else 2)
    if name == "fsdp+tensor":
        mesh = dist.DeviceMesh((devices // parts, parts), ["batch", "model"])
        by = dist.Sharded(mesh, dist.tensor_rules(model, "model", parts), fsdp_axis="batch")
    model.compile(
        keras.optimizers.AdamW(3e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True), distribution=by,
    )  # fmt: skip
    size = devices // parts * per_device
    ids = jax.ShapeDtypeStruct((size, LENGTH), "int32")
    began = time.perf_counter()
    found = model.analyze_step((ids, ids, None))
    seconds = time.perf_counter() - began
    kinds = "; ".join(
        f"{count} {kind} {bytes_ / 2**30:.2f}"
        for kind, (count, bytes_) in found.collectives.items()
    )
    print(
        f"| {name} | {devices} | {depth} | {model.count_params() / 1e9:.2f} | {size} | "
        f"{found.state_bytes / 2**30:.2f} | {found.temporary_bytes / 2**30:.2f} | {kinds} | "
        f"{seconds:.0f} |"
    )


if __name__ == "__main__":
    count = int(sys.argv[1])
    flags = f"--xla_force_host_platform_device_count={count}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    main(count, sys.argv[2], *map(int, sys.argv[3:]))
