"""A small network learns from a large one through compute_loss."""

import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(27)


class Distiller(keras.Model):
    def __init__(self, student, teacher):
        super().__init__()
        self.teacher = teacher
        self.student = student

    def compile(
        self, optimizer, metrics, student_loss_fn, distillation_loss_fn, alpha=0.1, temperature=3
    ):
        super().compile(optimizer=optimizer, metrics=metrics)
        self.student_loss_fn = student_loss_fn
        self.distillation_loss_fn = distillation_loss_fn
        self.alpha = alpha
        self.temperature = temperature

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        teacher = self.teacher(x, training=False)
        student_loss = self.student_loss_fn(y, y_pred)
        distillation_loss = self.distillation_loss_fn(
            ops.softmax(teacher / self.temperature, axis=1),
            ops.softmax(y_pred / self.temperature, axis=1),
        ) * (self.temperature**2)
        return self.alpha * student_loss + (1 - self.alpha) * distillation_loss

    def call(self, x):
        return self.student(x)


def network(filters, name):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(filters, (3, 3), strides=(2, 2), padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.MaxPooling2D(pool_size=(2, 2), strides=(1, 1), padding="same"),
            layers.Flatten(),
            layers.Dense(4),
        ],
        name=name,
    )
    model.set_weights([rng.normal(0, 0.2, w.shape) for w in model.get_weights()])
    return model


teacher, student = network(6, "teacher"), network(2, "student")
copy = keras.models.clone_model(student)
images, labels = rng.normal(size=(24, 8, 8, 1)), rng.integers(0, 4, 24)
teacher.compile(
    keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
)
print(teacher.fit(images, labels, epochs=2, shuffle=False, verbose=0).history["loss"])
frozen = teacher.get_weights()
teacher.trainable = False
distiller = Distiller(student=student, teacher=teacher)
distiller.compile(
    optimizer=keras.optimizers.Adam(0.01),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
    student_loss_fn=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    distillation_loss_fn=keras.losses.KLDivergence(),
    alpha=0.1,
    temperature=10,
)
history = distiller.fit(images, labels, epochs=3, batch_size=8, shuffle=False, verbose=0).history
print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.items())})
print([round(float(v), 4) for v in distiller.evaluate(images, labels, verbose=0)])
print(all(np.array_equal(a, b) for a, b in zip(frozen, teacher.get_weights(), strict=True)))
print(copy.count_params() == student.count_params())
