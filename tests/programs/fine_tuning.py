"""MobileNetV2 on images in folders: frozen under a new head, then its last convolution learns too.

Images are flipped and turned inside the model, in training alone.
"""

import os
import sys
import tempfile

import keras
import numpy as np
from keras import layers

SEEDS = range(int(sys.argv[1])) if len(sys.argv) > 1 else ()
REAL = os.path.join(sys.argv[2], "cifar10") if len(sys.argv) > 2 else None
CLASSES = {"brick": (0.25, [90, 0, 0]), "grass": (0.5, [0, 90, 0]), "sand": (1.0, [90, 90, 0])}


def write(folder, files, rng):
    """Noise of three scales, in colours that overlap."""
    for name, (scale, color) in CLASSES.items():
        os.makedirs(os.path.join(folder, name))
        for i in range(files):
            noise = rng.normal(0, 1, (round(32 * scale), round(32 * scale), 3))
            grid = (np.arange(32) * scale).astype(int)
            image = 20 * noise[grid][:, grid] + color + rng.uniform(70, 100, 3)
            path = os.path.join(folder, name, f"{i}.png")
            keras.utils.save_img(path, image.clip(0, 255), scale=False)


def published(folder, files):
    """Photographs of three of CIFAR-10's classes, as many of each."""
    rows = np.fromfile(os.path.join(REAL, "data_batch_1_first4000.bin"), "uint8").reshape(-1, 3073)
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    for label, name in ((0, "airplane"), (1, "automobile"), (6, "frog")):
        os.makedirs(os.path.join(folder, name))
        for i in np.flatnonzero(rows[:, 0] == label)[:files]:
            path = os.path.join(folder, name, f"{i}.png")
            keras.utils.save_img(path, images[i], scale=False)


def backbone(rng):
    base = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None
    )
    values = []
    for weight in base.weights:
        shape = tuple(weight.shape)
        if "variance" in weight.path or "gamma" in weight.path:
            values.append(rng.uniform(0.8, 1.2, shape))
        elif len(shape) == 1:
            values.append(rng.normal(0, 0.1, shape))
        else:
            fan_in = 9 if "depthwise" in weight.path else np.prod(shape[:-1])
            values.append(rng.normal(0, np.sqrt(2 / fan_in), shape))
    base.set_weights(values)
    return base


def network(base, augmentation=()):
    base.trainable = False
    inputs = x = keras.Input((32, 32, 3))
    for layer in augmentation:
        x = layer(x)
    x = keras.applications.mobilenet_v2.preprocess_input(x)
    x = base(x, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    if augmentation:  # what a base that is not trained tells apart is small
        x = layers.BatchNormalization(momentum=0.9)(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(x))


def compile(model, rate):
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    print(len(model.trainable_weights), len(model.non_trainable_weights))


def thaw(base):
    base.trainable = True
    for layer in base.layers:
        layer.trainable = layer.name == "Conv_1"  # all normalization keeps its statistics


def learn(model, data, epochs):
    history = model.fit(data, epochs=epochs, verbose=0).history
    return {k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.items())}


def pictures(folder, **options):
    return keras.utils.image_dataset_from_directory(
        folder, image_size=(32, 32), verbose=False, **options
    )


with tempfile.TemporaryDirectory() as folder:
    few, rng = os.path.join(folder, "few"), np.random.default_rng(3)
    write(few, 4, rng)
    data = pictures(few, batch_size=12, seed=1)  # one batch, whose order does not matter
    images, labels = next(iter(pictures(few, batch_size=12, shuffle=False)))
    print(
        data.class_names, tuple(images.shape), np.asarray(labels), float(np.asarray(images).mean())
    )
    base = backbone(rng)
    print(base.name, len(base.layers), base.count_params(), base.output_shape)
    model = network(base)
    model.get_layer("head").set_weights([rng.normal(0, 0.03, (1280, 3)), np.zeros(3)])
    compile(model, 0.001)
    print(learn(model, data, 2))
    thaw(base)
    compile(model, 0.0001)
    print(learn(model, data, 2))
    print(float(np.sum(np.abs(base.get_layer("Conv_1").get_weights()[0]))))
    print(model.predict(images[:2], verbose=0).round(4))

    if REAL is not None:
        published(os.path.join(folder, "many"), 300)
    elif SEEDS:
        write(os.path.join(folder, "many"), 100, np.random.default_rng(4))
    for seed in SEEDS:
        keras.utils.set_random_seed(seed)
        split = {"validation_split": 0.3, "subset": "both", "seed": 7, "batch_size": 16}
        train, test = pictures(os.path.join(folder, "many"), **split)
        base = backbone(np.random.default_rng(5))
        turned = [layers.RandomFlip("horizontal", seed=1), layers.RandomRotation(0.1, seed=2)]
        model = network(base, turned)
        compile(model, 0.003)
        learn(model, train, 8)
        thaw(base)
        compile(model, 0.0003)
        learn(model, train, 3)
        print("accuracy", model.evaluate(test, verbose=0)[1])
