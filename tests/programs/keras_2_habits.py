"""What programs carried over from Keras 2 still do in Keras 3."""

import keras
import numpy as np
from keras import backend as K
from keras.callbacks import EarlyStopping
from keras.layers import LSTM, Activation, Dense, Dropout, Embedding, Input
from keras.models import Model, Sequential, load_model
from keras.optimizers import Adam
from keras.preprocessing.sequence import pad_sequences
from keras.regularizers import l2
from keras.utils import to_categorical

rng = np.random.default_rng(37)
K.clear_session()
K.set_image_data_format("channels_last")
print(K.floatx(), K.epsilon(), K.image_data_format(), callable(load_model))
texts = [list(rng.integers(1, 15, n)) for n in (3, 7, 5, 9, 2, 4)]
x = pad_sequences(texts, maxlen=6, padding="post", truncating="post")
print(x)
y = to_categorical([0, 1, 2, 0, 1, 2], num_classes=3)
model = Sequential()
model.add(Input(shape=(6,)))
model.add(Embedding(15, 5))
model.add(LSTM(4, kernel_regularizer=l2(0.01)))
model.add(Dropout(0.0))
model.add(Dense(3))
model.add(Activation("softmax"))
model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
model.compile(loss="categorical_crossentropy", optimizer=Adam(learning_rate=0.01), metrics=["acc"])
history = model.fit(
    x,
    y,
    batch_size=2,
    epochs=3,
    shuffle=False,
    verbose=0,
    callbacks=[EarlyStopping(monitor="loss", patience=2)],
)
print({k: [round(float(v), 4) for v in vs] for k, vs in sorted(history.history.items())})
print(isinstance(Model(model.inputs[0], model.outputs[0]), keras.Model))
