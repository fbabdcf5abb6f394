"""A program that two processes run: how often each sample is seen in two epochs of grain's data."""

import json
import sys
from pathlib import Path

import grain
import jax
import numpy as np

import lamina as keras
from lamina import distribution as dist
from lamina import layers, ops

COUNT = 37


class Rows:
    def __len__(self):
        return COUNT

    def __getitem__(self, i):
        return np.full(1, i, "float32"), np.float32(0)


class Seen(layers.Layer):
    """Counts the samples by their number."""

    def build(self, input_shape):
        self.times = self.add_weight((COUNT,), "zeros", trainable=False, name="times")

    def call(self, x, training=False):
        if training:
            self.times.assign_add(ops.sum(ops.one_hot(ops.cast(x[:, 0], "int32"), COUNT), axis=0))
        return x


def main(folder):
    dist.initialize()
    number, found = jax.process_index(), {}
    rows = grain.MapDataset.source(Rows()).shuffle(3)
    loader = grain.DataLoader(
        data_source=Rows(), sampler=grain.samplers.SequentialSampler(COUNT),
        operations=[grain.transforms.Batch(8)],
    )  # fmt: skip
    for name, data in {
        "map": rows.batch(8), "iter": rows.to_iter_dataset().batch(8), "loader": loader,
        "own": rows[number :: jax.process_count()].batch(4),
    }.items():  # fmt: skip
        x = keras.Input((1,))
        model = keras.Model(x, layers.Dense(1)(Seen(name="seen")(x)))
        by = dist.DataParallel(auto_shard_dataset=name != "own")
        model.compile(keras.optimizers.SGD(1e-6), "mse", distribution=by)
        model.fit(data, epochs=2, verbose=0)
        found[name] = model.get_layer("seen").times.numpy().tolist()
    (Path(folder) / f"{number}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
