"""The public layers, losses and metrics of Keras RS."""

import keras
import keras_rs
import numpy as np

rng = np.random.default_rng(0)
a = rng.normal(size=(6, 4)).astype("float32")
b = rng.normal(size=(6, 4)).astype("float32")
scores = rng.normal(size=(6, 5)).astype("float32")
labels = rng.integers(0, 2, (6, 5)).astype("float32")
labels[:, 0] = 1


def use_dot_interaction():
    assert keras_rs.layers.DotInteraction()([a, b, a]).shape == (6, 3)


def use_feature_cross():
    layer = keras_rs.layers.FeatureCross(projection_dim=2)
    assert layer(a, b).shape == (6, 4)
    keras.layers.deserialize(keras.layers.serialize(layer))


def use_embed_reduce():
    layer = keras_rs.layers.EmbedReduce(10, 3, combiner="mean")
    assert layer(rng.integers(0, 10, (6, 4))).shape == (6, 3)


def use_brute_force_retrieval():
    layer = keras_rs.layers.BruteForceRetrieval(
        candidate_embeddings=b, candidate_ids=np.arange(6), k=2, return_scores=True
    )
    assert [o.shape for o in layer(a)] == [(6, 2), (6, 2)]


def use_hard_negative_mining():
    keras_rs.layers.HardNegativeMining(2)(scores, labels)


def use_remove_accidental_hits():
    keras_rs.layers.RemoveAccidentalHits()(scores, labels, np.array([1, 2, 2, 3, 4]))


def use_sampling_probability_correction():
    keras_rs.layers.SamplingProbabilityCorrection()(scores, np.full(5, 0.2, "float32"))


def use_distributed_embedding():
    table = keras_rs.layers.TableConfig("t", 10, 4, placement="default_device")
    feature = keras_rs.layers.FeatureConfig("f", table, (6, 1), (6, 4))
    layer = keras_rs.layers.DistributedEmbedding({"f": feature})
    assert layer({"f": rng.integers(0, 10, (6, 1))})["f"].shape == (6, 4)


def use_model_that_trains():
    first, second = keras.Input((4,)), keras.Input((4,))
    crossed = keras_rs.layers.FeatureCross()(first, second)
    model = keras.Model([first, second], keras.layers.Dense(5)(crossed))
    model.compile("adam", keras_rs.losses.PairwiseHingeLoss(), metrics=[keras_rs.metrics.NDCG(k=2)])
    model.fit([a, b], labels, verbose=0)


def _add(kind, name):
    def use():
        cls = getattr(getattr(keras_rs, kind), name)
        if kind == "losses":
            loss = cls()
            assert np.isfinite(float(loss(labels, scores)))
            cls.from_config(loss.get_config())
            return
        metric = cls() if name == "NDCG" else cls(k=3)
        metric.update_state(labels, scores)
        assert np.isfinite(float(metric.result()))
        metric.reset_state()
        cls.from_config(metric.get_config())

    globals()[f"use_{kind}_{name}"] = use


for _kind in ("losses", "metrics"):
    for _name in sorted(vars(getattr(keras_rs, _kind))):
        if _name[0].isupper():
            _add(_kind, _name)
