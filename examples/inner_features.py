"""The values inside of a model are tensors of its graph: take them out, use them elsewhere.

A new model with other outputs costs nothing: it has the same layers and the same weights.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression

import lamina as keras
from lamina import layers

keras.utils.set_random_seed(0)

# 1. Every layer of a large network at once. Its weights are random here (`weights=None` downloads
# nothing), and its 143 million numbers are drawn only when the first picture goes in.
vgg = keras.applications.VGG19(weights=None)
features = keras.Model(vgg.input, [layer.output for layer in vgg.layers], name="all_features")
print(f"{vgg.name}: {len(vgg.layers)} layers, {vgg.count_params():,} parameters.")


def texture(kind, seed):
    """A picture of 224 x 224: stripes or a chessboard, shifted and scaled by chance."""
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

# Which channels fire together tells a texture, wherever in the picture it is.
maps = np.asarray(found["block2_conv2"]).reshape(4, -1, 128)
maps = maps - maps.mean(axis=1, keepdims=True)
styles = np.einsum("npc,npd->ncd", maps, maps).reshape(4, -1)
styles /= np.linalg.norm(styles, axis=1, keepdims=True)
likeness = styles @ styles.T
print("By what happens inside, two pictures of one texture are alike to "
      f"{min(likeness[0, 1], likeness[2, 3]):.2f} or more, of two textures to "
      f"{likeness[:2, 2:].max():.2f} at most.\n")  # fmt: skip

# 2. Where does a network understand its task? Two spirals lie in one another; no line divides them.
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
print(f"A trained network classifies {accuracy:.1%} of new points correctly. And a straight cut")
print("through the values that a layer makes of them?")

inside = keras.Model(model.input, [layer.output for layer in model.layers[:-1]], name="inside")
for layer, values in zip(inside.layers, inside.predict(points, verbose=0), strict=True):
    cut = LogisticRegression(C=1e3, max_iter=5000).fit(values[:600], side[:600])
    score = cut.score(values[600:], side[600:])
    print(f"  after {layer.name:<9} {score:6.1%}  {'#' * round(40 * score)}")
