"""Intermediate values of a model are tensors of its graph, which can be outputs of new models.

A new model with other outputs needs no memory: it has the same layers and the same weights.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression

import lamina as keras
from lamina import layers

keras.utils.set_random_seed(0)

# 1. The outputs of all layers of a large network. Its weights are random here (`weights=None`
# downloads nothing), and its 143 million numbers are initialized only when the first image is
# passed in.
vgg = keras.applications.VGG19(weights=None)
features = keras.Model(vgg.input, [layer.output for layer in vgg.layers], name="all_features")
print(f"{vgg.name}: {len(vgg.layers)} layers, {vgg.count_params():,} parameters.")


def texture(kind, seed):
    """An image of 224 x 224 pixels: stripes or a checkerboard, randomly shifted and scaled."""
    rng = np.random.default_rng(seed)
    scale, shift = rng.uniform(0.25, 0.35), rng.uniform(0, 6)
    waves = np.sin(scale * np.arange(224) + shift)
    picture = waves[:, None] * (np.ones(224) if kind == "stripes" else waves)
    return np.repeat(picture[..., None], 3, axis=-1).astype("float32")


pictures = [texture(kind, seed) for kind in ("stripes", "chessboard") for seed in (0, 1)]
values = features(np.stack(pictures))
found = {layer.name: value for layer, value in zip(vgg.layers, values, strict=True)}
for name in ("block1_conv1", "block3_conv4", "block5_pool", "fc2", "predictions"):
    print(f"  {name:<13} {tuple(found[name].shape)}")

# The correlations of channels characterize a texture, independent of its position in the image.
maps = np.asarray(found["block2_conv2"]).reshape(4, -1, 128)
maps = maps - maps.mean(axis=1, keepdims=True)
styles = np.einsum("npc,npd->ncd", maps, maps).reshape(4, -1)
styles /= np.linalg.norm(styles, axis=1, keepdims=True)
likeness = styles @ styles.T
print("Similarity of the features of two images of the same texture: "
      f"{min(likeness[0, 1], likeness[2, 3]):.2f} or more; of different textures: "
      f"{likeness[:2, 2:].max():.2f} or less.\n")  # fmt: skip

# 2. At which layer do classes become linearly separable? Two interleaved spirals are not.
angle = np.random.default_rng(0).uniform(0.5, 3 * np.pi, 1000)
side = np.arange(1000) % 2
turned = angle + np.pi * side
points = (np.stack([np.cos(turned), np.sin(turned)], 1) * angle[:, None] / 4).astype("float32")

x = inputs = keras.Input((2,), name="point")
for i in range(5):
    x = layers.Dense(10, activation="relu", name=f"hidden_{i + 1}")(x)
model = keras.Model(inputs, layers.Dense(1, name="side")(x), name="spirals")
model.compile(
    keras.optimizers.Adam(0.005),
    keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
)
model.fit(points[:600], side[:600], batch_size=60, epochs=300, verbose=0)
_, accuracy = model.evaluate(points[600:], side[600:], verbose=0)
print(f"A trained network classifies {accuracy:.1%} of new points correctly. Accuracy of a linear")
print("classifier on the outputs of each layer:")

inside = keras.Model(model.input, [layer.output for layer in model.layers[:-1]], name="inside")
for layer, values in zip(inside.layers, inside.predict(points, verbose=0), strict=True):
    cut = LogisticRegression(C=1e3, max_iter=5000).fit(values[:600], side[:600])
    score = cut.score(values[600:], side[600:])
    print(f"  after {layer.name:<9} {score:6.1%}  {'#' * round(40 * score)}")
