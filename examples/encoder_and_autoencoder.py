"""One graph, two models: an autoencoder is trained, and its first half is an encoder.

Both models share layers. Only the autoencoder is compiled and trained, on 1,500 handwritten digits
of 8 x 8 pixels without their labels; the encoder, which is never trained itself, then encodes a
digit as 12 numbers that identify it.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import lamina as keras
from lamina import layers

keras.utils.set_random_seed(0)

digits = load_digits()
images = (digits.images[..., None] / 16).astype("float32")
known, unseen = images[:1500], images[1500:]
known_labels, unseen_labels = digits.target[:1500], digits.target[1500:]

# The encoder: from 8 x 8 pixels to 12 numbers.
image = keras.Input((8, 8, 1), name="image")
x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
x = layers.MaxPooling2D(2)(x)
x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
x = layers.Flatten()(x)
code = layers.Dense(12, name="code")(x)

# The decoder: back to 8 x 8 pixels.
x = layers.Dense(4 * 4 * 8, activation="relu")(code)
x = layers.Reshape((4, 4, 8))(x)
x = layers.UpSampling2D(2)(x)
x = layers.Conv2DTranspose(16, 3, padding="same", activation="relu")(x)
copy = layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid", name="copy")(x)

encoder = keras.Model(image, code, name="encoder")
autoencoder = keras.Model(image, copy, name="autoencoder")
autoencoder.summary(line_length=80)
print(f"{encoder.count_params():,} of these parameters are the encoder's too.\n")

autoencoder.compile("adam", "mse")
history = autoencoder.fit(known, known, batch_size=50, epochs=25, verbose=0).history
print(f"Error per pixel: {history['loss'][0]:.4f} after one epoch, {history['loss'][-1]:.4f} now.")


def look(*pictures):
    """Print images of 8 x 8 pixels side by side."""
    for rows in zip(*(p[..., 0] for p in pictures), strict=True):
        print("   ".join("".join(" .:+*#@"[int(6.99 * min(v, 1))] * 2 for v in r) for r in rows))


print("\nTwo unseen digits, each next to its reconstruction:")
for picture, again in zip(unseen[:2], autoencoder.predict(unseen[:2], verbose=0), strict=True):
    look(picture, again)
    print()

codes = encoder.predict(known, verbose=0)
nearest = KNeighborsClassifier(5).fit(codes, known_labels)
score = nearest.score(encoder.predict(unseen, verbose=0), unseen_labels)
print(f"Of {len(unseen)} unseen digits, {score:.1%} are nearest to codes of the same class.")
print("A code, learned without labels:", np.round(codes[0][:4], 2), "...")
