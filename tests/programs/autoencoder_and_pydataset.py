"""A convolutional autoencoder that a PyDataset feeds."""

import math

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(34)


class Pairs(keras.utils.PyDataset):
    def __init__(self, images, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.images, self.batch_size, self.epochs = images, batch_size, 0

    def __len__(self):
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, index):
        batch = self.images[index * self.batch_size : (index + 1) * self.batch_size]
        return batch * 0.9, batch

    def on_epoch_end(self):
        self.epochs += 1


inputs = keras.Input((8, 8, 1))
x = layers.Conv2D(4, 3, activation="relu", padding="same")(inputs)
x = layers.MaxPooling2D(2, padding="same")(x)
x = layers.Conv2DTranspose(4, 3, strides=2, activation="relu", padding="same")(x)
outputs = layers.Conv2D(1, 3, activation="sigmoid", padding="same")(x)
model = keras.Model(inputs, outputs)
model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
model.compile(optimizer="adam", loss="binary_crossentropy")
data = Pairs(rng.uniform(size=(20, 8, 8, 1)).astype("float32"), 8)
history = model.fit(data, epochs=3, shuffle=False, verbose=0, validation_data=data).history
print({k: [round(float(v), 5) for v in vs] for k, vs in sorted(history.items())})
print(model.predict(data, verbose=0).shape, model.evaluate(data, verbose=0))
print(data.num_batches, data.epochs > 0)
