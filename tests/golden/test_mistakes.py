"""The commonest mistakes, and the whole of what is said to them.

``python tests/golden/test_mistakes.py`` prints them all as a page. Long lines are wrapped, and the
path of this file and the line numbers in it are left out.
"""

import re
import textwrap
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import lamina as keras
from lamina import layers, ops

MISTAKES = []
X = np.ones((8, 4), "float32")
CLASSES = np.array([0, 1, 2, 0, 1, 2, 0, 1])


def mistake(answer):
    """Decorator of a function that makes a mistake, with the answer to it."""

    def enter(function):
        MISTAKES.append((function, answer))
        return function

    return enter


def classifier(units=3, activation="softmax", loss="sparse_categorical_crossentropy", **kwargs):
    inputs = keras.Input((4,), name="features")
    outputs = layers.Dense(units, activation=activation, name="scores")(inputs)
    model = keras.Model(inputs, outputs, name="classifier")
    model.compile(optimizer="sgd", loss=loss, **kwargs)
    return model


def two_inputs(structure):
    title, body = keras.Input((2,), name="title"), keras.Input((2,), name="body")
    inputs = structure({"title": title, "body": body})
    return keras.Model(inputs, layers.Dense(1)(layers.concatenate([title, body])), name="reader")


def two_outputs():
    inputs = keras.Input((4,), name="features")
    outputs = {"price": layers.Dense(1)(inputs), "rating": layers.Dense(1)(inputs)}
    return keras.Model(inputs, outputs, name="two_outputs")


def batches():
    while True:
        yield X, CLASSES


# ---- making layers -------------------------------------------------------------------------------


@mistake("""\
SignatureError: Unknown argument of Dense(): 'activaton'. Did you mean 'activation' or
    'quantization_config'?
""")
def a_misspelled_argument():
    layers.Dense(3, activaton="relu")


@mistake("""SignatureError: Unknown argument of Adam(): 'lr'. Did you mean 'learning_rate'?""")
def an_argument_of_another_age():
    keras.optimizers.Adam(lr=0.1)


@mistake("""SignatureError: Conv2D() needs the argument `kernel_size`.""")
def a_missing_argument():
    layers.Conv2D(32)


@mistake("""\
UnknownNameError: Unknown activation: 'rellu'. Did you mean 'relu' or 'relu6' or 'elu'?
""")
def a_misspelled_activation():
    layers.Dense(3, activation="rellu")


@mistake("""ArgumentError: Dense(): `units`: expected a positive integer. Received: 32.0.""")
def a_size_that_is_no_integer():
    layers.Dense(64 / 2)


@mistake("""ArgumentError: Dense(): `units`: expected a positive integer. Received: -3.""")
def a_negative_size():
    layers.Dense(-3)


@mistake("""ArgumentError: Dropout(): `rate`: expected a number in [0, 1]. Received: 50.""")
def a_rate_in_percent():
    layers.Dropout(50)


@mistake("""\
ArgumentError: Conv2D(): `padding`: expected one of ['valid', 'same', 'causal']. Received:
    'smae'.
""")
def a_misspelled_padding():
    layers.Conv2D(32, 3, padding="smae")


@mistake("""\
ArgumentError: Dense(): `dtype`: `dtype` expects a dtype or its name, such as 'float32' or
    'int32'. Received: 'flot32'.
""")
def a_misspelled_dtype():
    layers.Dense(3, dtype="flot32")


@mistake("""\
SignatureError: Dense(): `activation` received the tensor 'features'. Create the layer
    first, then call it: `Dense(...)(x)`.
""")
def the_tensor_among_the_arguments():
    x = keras.Input((4,), name="features")
    layers.Dense(10, x)


@mistake("""\
SignatureError: Dense(): `units` received the tensor 'features'. Create the layer first,
    then call it: `Dense(...)(x)`.
""")
def a_class_called_on_a_tensor():
    x = keras.Input((4,), name="features")
    layers.Dense(x)


@mistake("""\
ArgumentError: The name of a layer is a non-empty string of at most 200 characters without
    slashes or control characters. Received: 'encoder/first'.
""")
def a_name_with_a_slash():
    layers.Dense(3, name="encoder/first")


@mistake(
    """ArgumentError: Input() expects `shape` to be a tuple. Received: 784. Did you mean (784,)?"""
)
def a_shape_that_is_a_number():
    keras.Input(784)


# ---- calling layers ------------------------------------------------------------------------------


@mistake("""\
GraphError: Layer 'out' received the layer 'hidden' itself, not a tensor. Expected the
    result of calling it. Did you forget to call it? Write `hidden(x)` instead of `hidden`.
  called at: test_mistakes.py:N
""")
def a_layer_instead_of_its_result():
    hidden = layers.Dense(8, name="hidden")
    layers.Dense(1, name="out")(hidden)


@mistake("""\
GraphError: Layer 'out' received the class Dense itself, not a tensor. Create a layer and
    call it: `Dense(...)(x)`.
""")
def a_class_instead_of_a_tensor():
    layers.Dense(1, name="out")(layers.Dense)


@mistake("""\
SignatureError: Layer 'join' (Concatenate) was called with wrong arguments: too many
    positional arguments. The arguments of `call` are (inputs). Pass several tensors as one
    list: `join([a, b])`.
""")
def two_tensors_for_a_merge_without_a_list():
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    layers.Concatenate(name="join")(left, right)


@mistake("""\
StructureError: Layer 'join' (Concatenate) takes a list of tensors. Received: not a list.
    Write `layer([a, b])`.
  received: (batch, 2) float32
  path from the inputs: left (batch, 2) -> join
  called at: test_mistakes.py:N
""")
def one_tensor_for_a_merge():
    layers.Concatenate(name="join")(keras.Input((2,), name="left"))


@mistake("""\
StructureError: Layer 'out' (Dense) takes one tensor. Received 2.
  received: (batch, 2) float32, (batch, 2) float32
  path from the inputs: left (batch, 2) -> out
                        right (batch, 2) -> out
  called at: test_mistakes.py:N
""")
def several_tensors_for_a_layer_of_one():
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    layers.Dense(3, name="out")([left, right])


@mistake("""\
SignatureError: Layer 'attention' (MultiHeadAttention) was called with wrong arguments:
    missing a required argument: 'value'. The arguments of `call` are (query, value,
    key=None, query_mask=None, value_mask=None, key_mask=None, attention_mask=None,
    return_attention_scores=False, training=None, use_causal_mask=False).
""")
def attention_without_a_value():
    x = keras.Input((5, 4), name="steps")
    layers.MultiHeadAttention(num_heads=2, key_dim=3, name="attention")(x)


# ---- shapes --------------------------------------------------------------------------------------


@mistake("""\
ShapeError: Layer 'lstm' (LSTM) cannot take this input.
  expected: 3 axes, (batch, time, features)
  received: (batch, 4) float32
If the axis of features is missing, `lamina.ops.expand_dims(x, -1)` adds it.
  path from the inputs: features (batch, 4) -> lstm
  called at: test_mistakes.py:N
""")
def features_for_a_recurrent_layer():
    layers.LSTM(8, name="lstm")(keras.Input((4,), name="features"))


@mistake("""\
ShapeError: Layer 'second' (LSTM) cannot take this input.
  expected: 3 axes, (batch, time, features)
  received: (batch, 8) float32
Set `return_sequences=True` in 'first', so that it returns all time steps and not only the
    last one.
  path from the inputs: steps (batch, None, 4) -> first (batch, 8) -> second
  called at: test_mistakes.py:N
""")
def stacked_recurrent_layers():
    x = keras.Input((None, 4), name="steps")
    x = layers.LSTM(8, name="first")(x)
    layers.LSTM(8, name="second")(x)


@mistake("""\
ShapeError: Layer 'conv' (Conv2D) cannot take this input.
  expected: 4 axes, (batch, height, width, channels)
  received: (batch, 28, 28) float32
If the axis of channels is missing, `lamina.ops.expand_dims(x, -1)` adds it.
  path from the inputs: photo (batch, 28, 28) -> conv
  called at: test_mistakes.py:N
""")
def an_image_without_channels():
    layers.Conv2D(8, 3, name="conv")(keras.Input((28, 28), name="photo"))


@mistake("""\
ShapeError: Layer 'conv' (Conv2D) cannot take this input.
  expected: 4 axes, (batch, height, width, channels)
  received: (batch, None, 28, 28, 1) float32
Does the shape of `Input` include the batch size? It must not: `Input(shape=(28, 28, 1))`.
  path from the inputs: photo (batch, None, 28, 28, 1) -> conv
  called at: test_mistakes.py:N
""")
def the_batch_size_in_the_shape():
    layers.Conv2D(8, 3, name="conv")(keras.Input((None, 28, 28, 1), name="photo"))


@mistake("""\
ShapeError: A kernel that extends over (5, 5) is larger than this input: the output would be
    empty.
  expected: dimensions of at least (5, 5) along the axes (1, 2)
  received: (batch, 3, 3, 3) float32
Use a smaller window or padding='same', or downsample less before.
  path from the inputs: photo (batch, 6, 6, 3) -> pool (batch, 3, 3, 3) -> conv
  called at: test_mistakes.py:N
""")
def a_window_larger_than_the_image():
    x = layers.MaxPooling2D(name="pool")(keras.Input((6, 6, 3), name="photo"))
    layers.Conv2D(8, 5, name="conv")(x)


@mistake("""\
ShapeError: A kernel that extends over (5, 5) is larger than this input: the output would be
    empty.
  expected: dimensions of at least (5, 5) along the axes (1, 2)
  received: (batch, 3, 32, 32) float32
Use a smaller window or padding='same', or downsample less before. If the channels are on
    axis 1, pass `data_format='channels_first'`.
  path from the inputs: photo (batch, 3, 32, 32) -> conv
  called at: test_mistakes.py:N
""")
def channels_first_for_channels_last():
    layers.Conv2D(8, 5, name="conv")(keras.Input((3, 32, 32), name="photo"))


@mistake("""\
ShapeError: Layer 'sum' (Add) cannot combine tensors of these shapes.
  expected: equal batch sizes, and sizes that are equal or 1 on every other axis
  received: (batch, 3, 4), (batch, 3, 5)
Convert them to one shape first, for example with `Dense` or `Reshape`.
  path from the inputs: left (batch, 3, 4) -> sum
                        right (batch, 3, 5) -> sum
  called at: test_mistakes.py:N
""")
def a_sum_of_different_sizes():
    left, right = keras.Input((3, 4), name="left"), keras.Input((3, 5), name="right")
    layers.Add(name="sum")([left, right])


@mistake("""\
ShapeError: lamina.ops.add cannot take these tensors: TypeError: add got incompatible shapes
    for broadcasting: (batch, 3, 4), (batch, 3, 5).
  received: left (batch, 3, 4), right (batch, 3, 5)
  called at: test_mistakes.py:N
""")
def plus_of_different_sizes():
    left, right = keras.Input((3, 4), name="left"), keras.Input((3, 5), name="right")
    left + right


@mistake("""\
ShapeError: Layer 'add' (Add) cannot combine tensors of these shapes.
  expected: equal batch sizes, and sizes that are equal or 1 on every other axis
  received: (batch, 8, 8, 3), (batch, 6, 6, 16)
Convert them to one shape first: convolutions with padding='same' keep the shape of an
    image, and a convolution with kernel_size=1 changes the number of channels.
  path from the inputs: photo (batch, 8, 8, 3) -> add
                        photo (batch, 8, 8, 3) -> conv (batch, 6, 6, 16) -> add
  called at: test_mistakes.py:N
""")
def a_shortcut_around_a_convolution():
    photo = keras.Input((8, 8, 3), name="photo")
    layers.add([photo, layers.Conv2D(16, 3, name="conv")(photo)])


@mistake("""\
ShapeError: Layer 'join' (Concatenate) cannot combine tensors of these shapes.
  expected: the same number of axes, and equal sizes on all of them except axis -1
  received: (batch, 5, 4), (batch, 6, 4)
Choose another `axis`, or make the other sizes equal first.
  path from the inputs: left (batch, 5, 4) -> join
                        right (batch, 6, 4) -> join
  called at: test_mistakes.py:N
""")
def different_time_lengths():
    left, right = keras.Input((5, 4), name="left"), keras.Input((6, 4), name="right")
    layers.Concatenate(name="join")([left, right])


@mistake("""\
ShapeError: Layer 'sum' (Add) cannot combine tensors of these shapes.
  expected: equal batch sizes, and sizes that are equal or 1 on every other axis
  received: (batch, time, 4), (batch, words, 4)
Dimensions with different names differ. If they are equal, give them one name.
  path from the inputs: left (batch, time, 4) -> sum
                        right (batch, words, 4) -> sum
  called at: test_mistakes.py:N
""")
def sizes_of_different_names():
    left, right = keras.Input(("time", 4), name="left"), keras.Input(("words", 4), name="right")
    layers.Add(name="sum")([left, right])


@mistake("""\
ShapeError: Layer 'norm' (BatchNormalization) uses axis 3, which its input does not have.
  expected: an axis from -2 to 1
  received: an input of shape (None, 4)
  path from the inputs: features (batch, 4) -> norm
  called at: test_mistakes.py:N
""")
def an_axis_that_does_not_exist():
    layers.BatchNormalization(axis=3, name="norm")(keras.Input((4,), name="features"))


@mistake("""\
ShapeError: Layer 'shared' (Dense) cannot take this input.
  expected: size 5 on axis -1
  received: (batch, 6) float32
The first call created the weights for that size. For another size, create another layer.
  path from the inputs: long (batch, 6) -> shared
  called at: test_mistakes.py:N
""")
def another_size_for_the_same_layer():
    shared = layers.Dense(3, name="shared")
    shared(keras.Input((5,), name="short"))
    shared(keras.Input((6,), name="long"))


@mistake("""\
ShapeError: Layer 'out' (Dense) has weights whose shape depends on axis -1, an unknown
    dimension.
  expected: a known size of axis -1
  received: an input of shape (None, None)
Give the `Input` an integer there, or reduce the unknown dimension first, for example with
    global pooling or a recurrent layer instead of `Flatten`.
  path from the inputs: steps (batch, None, 4) -> flat (batch, None) -> out
  called at: test_mistakes.py:N
""")
def flattening_an_open_size():
    x = layers.Flatten(name="flat")(keras.Input((None, 4), name="steps"))
    layers.Dense(3, name="out")(x)


@mistake("""\
ShapeError: Layer 'reshape' (Reshape) cannot reshape this input.
  expected: as many elements as (5, 5) has
  received: (batch, 24), with 24 elements in each sample
`target_shape` does not include the batch; one size may be -1, to be inferred.
  path from the inputs: features (batch, 24) -> reshape
  called at: test_mistakes.py:N
""")
def reshaping_to_another_number_of_entries():
    layers.Reshape((5, 5), name="reshape")(keras.Input((24,), name="features"))


@mistake("""\
ShapeError: lamina.ops.get_item cannot take these tensors: IndexError: index 7 is out of
    bounds for an axis of size 5
  received: steps (batch, 5, 3)
  called at: test_mistakes.py:N
""")
def an_index_out_of_range():
    x = keras.Input((5, 3), name="steps")
    x[:, 7]


# ---- symbolic tensors as if they were numbers ----------------------------------------------------


@mistake("""\
SymbolicTensorError: A Python condition (`if`, `while`, `and`, `not`) needs concrete values.
    'greater' is a symbolic tensor of shape (), whose values exist only when the model runs.
    Use `lamina.ops.where(condition, a, b)`, or write a layer whose `call` does it.
""")
def an_if_on_a_tensor():
    x = keras.Input((4,), name="features")
    if ops.mean(x) > 0:
        pass


@mistake("""\
SymbolicTensorError: A loop (`for`, `list()`, unpacking) needs concrete values. 'steps' is a
    symbolic tensor of shape (batch, None, 4), whose values exist only when the model runs.
    The size of the first axis is not known yet; ops apply to all of its entries.
""")
def a_loop_over_a_tensor():
    for _ in keras.Input((None, 4), name="steps"):
        pass


@mistake("""\
SymbolicTensorError: A NumPy function needs concrete values. 'matrix' is a symbolic tensor
    of shape (batch, 4, 4), whose values exist only when the model runs. Use the function of
    the same name in `lamina.ops`.
""")
def numpy_on_a_tensor():
    np.linalg.matrix_power(keras.Input((4, 4), name="matrix"), 2)


@mistake("""\
SymbolicTensorError: A function of jax.numpy needs concrete values. 'features' is a symbolic
    tensor of shape (batch, 4), whose values exist only when the model runs. Use the
    function of the same name in `lamina.ops`, or put it into a layer's `call`.
""")
def jax_on_a_tensor():
    jnp.tanh(keras.Input((4,), name="features"))


@mistake("""\
AttributeError: A symbolic tensor has no attribute 'mean'. Write `lamina.ops.mean(x, ...)`
    instead of `x.mean(...)`.
""")
def a_method_that_arrays_have():
    keras.Input((4,), name="features").mean()


@mistake("""\
AttributeError: A symbolic tensor has no attribute 'numpy'. It has no values yet: call the
    finished model on an array to get numbers.
""")
def the_values_of_a_tensor():
    keras.Input((4,), name="features").numpy()


@mistake("""\
SymbolicTensorError: Assigning to entries needs concrete values. 'features' is a symbolic
    tensor of shape (batch, 4), whose values exist only when the model runs. Compute a new
    tensor instead, with `lamina.ops.where` or `lamina.ops.concatenate`.
""")
def an_assignment_to_entries():
    keras.Input((4,), name="features")[:, 0] = 1


# ---- layers of one's own -------------------------------------------------------------------------


@mistake("""\
NotBuiltError: Scale.__init__ did not call `super().__init__()`. Add it as the first line of
    the constructor.
""")
def no_super_init():
    class Scale(layers.Layer):
        def __init__(self, factor):
            self.factor = factor

        def call(self, inputs):
            return inputs * self.factor

    Scale(2.0)(keras.Input((4,), name="features"))


@mistake("""\
StructureError: `call` of layer 'double' (Double) returned None. Is a `return` missing?
  received: (batch, 4) float32
  path from the inputs: features (batch, 4) -> double
  called at: test_mistakes.py:N
""")
def a_call_without_return():
    class Double(layers.Layer):
        def call(self, inputs):
            inputs * 2

    Double(name="double")(keras.Input((4,), name="features"))


@mistake("""\
SignatureError: Layer 'double' of class Double has no `call`. Define `def call(self,
    inputs): ...` in the class.
  received: (batch, 4) float32
  path from the inputs: features (batch, 4) -> double
  called at: test_mistakes.py:N
""")
def no_call():
    class Double(layers.Layer):
        def forward(self, inputs):
            return inputs * 2

    Double(name="double")(keras.Input((4,), name="features"))


@mistake("""\
StateError: Layer 'dense' (Dense) was created inside the `call` of 'block', so its weights
    would be new in each call. Create the layer in `__init__` or `build`, assign it to an
    attribute, and call that.
  received: (batch, 4) float32
  path from the inputs: features (batch, 4) -> block
  called at: test_mistakes.py:N
""")
def a_layer_made_in_call():
    class Block(layers.Layer):
        def call(self, inputs):
            return layers.Dense(3)(inputs)

    Block(name="block")(keras.Input((4,), name="features"))


@mistake("""\
StateError: Layer 'scale' (Scale) creates its weight 'factor' inside `call` (of scale), so
    it would be a new one in each call. Create weights in `build(self, input_shape)` or
    `__init__`.
  received: (batch, 4) float32
  path from the inputs: features (batch, 4) -> scale
  called at: test_mistakes.py:N
""")
def a_weight_made_in_call():
    class Scale(layers.Layer):
        def call(self, inputs):
            return inputs * self.add_weight(shape=(4,), name="factor")

    Scale(name="scale")(keras.Input((4,), name="features"))


@mistake("""\
SymbolicTensorError: Layer 'flip' (Flip) needs the values of a tensor, or an unknown
    dimension, while only shapes are known: TracerBoolConversionError: Attempted boolean
    conversion of traced array with shape bool[].
  received: (batch, 4) float32
In `call`, use ops instead of Python's `if`, `for`, `int()`, `float()`, `.numpy()` and
    NumPy: `lamina.ops.where(condition, a, b)`, ...; or give the `Input` a fixed shape.
  path from the inputs: features (batch, 4) -> flip
  called at: test_mistakes.py:N
""")
def an_if_in_call():
    class Flip(layers.Layer):
        def call(self, inputs):
            return inputs if jnp.mean(inputs) > 0 else -inputs

    Flip(name="flip")(keras.Input((4,), name="features"))


@mistake("""\
AttributeError: 'Block' object has no attribute 'dens'
In Layer 'block' (Block):
  received: (batch, 4) float32
  path from the inputs: features (batch, 4) -> block
  called at: test_mistakes.py:N
""")
def a_misspelled_attribute_in_call():
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(3)

        def call(self, inputs):
            return self.dens(inputs)

    Block(name="block")(keras.Input((4,), name="features"))


# ---- models --------------------------------------------------------------------------------------


@mistake("""\
GraphError: The outputs depend on the input 'forgotten', which is not among the model's
    inputs.
  Given inputs: ['used']
  The path from it to the output: forgotten -> hidden -> sum
  'forgotten' was made at test_mistakes.py:N
Add it to `inputs`, or compute the outputs from the given inputs only.
""")
def an_output_that_the_inputs_do_not_reach():
    used, forgotten = keras.Input((4,), name="used"), keras.Input((4,), name="forgotten")
    hidden = layers.Dense(4, name="hidden")(forgotten)
    keras.Model(used, layers.Add(name="sum")([used, hidden]))


@mistake("""\
GraphError: The outputs depend on the input 'features', which is not among the model's
    inputs.
  Given inputs: ['out']
  The path from it to the output: features
  'features' was made at test_mistakes.py:N
Are `inputs` and `outputs` swapped? The order is Model(inputs, outputs).
""")
def inputs_and_outputs_swapped():
    inputs = keras.Input((4,), name="features")
    keras.Model(layers.Dense(1, name="out")(inputs), inputs)


@mistake("""\
GraphError: `outputs` of the model received the layer 'out' itself, not a tensor. Expected
    the result of calling it. Did you forget to call it? Write `out(x)` instead of `out`.
  called at: test_mistakes.py:N
""")
def a_model_of_a_layer():
    inputs = keras.Input((4,), name="features")
    keras.Model(inputs, layers.Dense(1, name="out"))


@mistake("""\
GraphError: Two layers of this model are called 'hidden': <Dense name=hidden, units=4>
    (called at test_mistakes.py:N) and <Dense name=hidden, units=4> (called at
    test_mistakes.py:N). Give one another `name`, or set `layer.name` before creating the
    model.
""")
def two_layers_of_one_name():
    inputs = keras.Input((4,), name="features")
    x = layers.Dense(4, name="hidden")(inputs)
    keras.Model(inputs, layers.Dense(4, name="hidden")(x))


@mistake("""\
ArgumentError: Sequential() takes its layers in one list: `Sequential([a, b])`. Received:
    <Dense name=dense, units=3>, ....
""")
def layers_without_a_list():
    keras.Sequential(layers.Dense(3), layers.Dense(2))


@mistake("""\
GraphError: Sequential.add() takes a layer. Received: <class
    'lamina.layers.activation.ReLU'>.
Did you write `ReLU` instead of `ReLU(...)`?
""")
def a_class_in_a_sequential():
    keras.Sequential([layers.Dense(3), layers.ReLU])


@mistake("""\
NotBuiltError: `output` of 'stack' is only defined for functional models. Sequential has no
    input yet: start it with an `Input`, or build it with a shape.
""")
def the_output_of_an_unbuilt_model():
    _ = keras.Sequential([layers.Dense(3)], name="stack").output


@mistake("""\
NotBuiltError: Layer 'stack' has no weights yet: they are created when the input shape is
    known. Call the layer on a tensor, or call `stack.build(input_shape)`.
""")
def counting_before_building():
    keras.Sequential([layers.Dense(3)], name="stack").count_params()


@mistake("""\
UnknownNameError: Unknown layer of 'classifier': 'score'. Did you mean 'scores'?
""")
def a_layer_of_another_name():
    classifier().get_layer("score")


# ---- compile -------------------------------------------------------------------------------------


@mistake("""\
UnknownNameError: Unknown loss: 'mean_square_error'. Did you mean 'mean_squared_error' or
    'mean_squared_logarithmic_error' or 'mean_absolute_error'?
""")
def a_misspelled_loss():
    classifier(loss="mean_square_error")


@mistake("""\
UnknownNameError: Unknown optimizer: 'adm'. Did you mean 'adam' or 'adamw' or 'Nadam'?
""")
def a_misspelled_optimizer():
    classifier().compile(optimizer="adm", loss="mse")


@mistake("""\
UnknownNameError: Unknown metric: 'acuracy'. Did you mean 'accuracy' or 'BinaryAccuracy' or
    'auc'?
""")
def a_misspelled_metric():
    classifier(metrics=["acuracy"])


@mistake("""\
ArgumentError: `metrics` must be a list or a dict by output name. Received: 'accuracy'. Did
    you mean ['accuracy']?
""")
def metrics_without_a_list():
    classifier(metrics="accuracy")


@mistake("""UnknownNameError: Unknown output in `loss`: 'score'. Did you mean 'scores'?""")
def a_loss_for_an_unknown_output():
    classifier(loss={"score": "mse"})


@mistake("""\
StructureError: `metrics` has 1 entry. Expected 2, one for each of ['price', 'rating'], or a
    dict by these names.
""")
def metrics_for_one_of_two_outputs():
    two_outputs().compile(loss="mse", metrics=["mae"])


@mistake("""\
ArgumentError: A learning rate is a number >= 0, a LearningRateSchedule, or a callable
    without arguments. Received: -0.1.
""")
def a_negative_learning_rate():
    keras.optimizers.Adam(learning_rate=-0.1)


@mistake("""\
TrainingWarning: Output 'scores' has no activation, so it may be any number, but its loss
    sparse_categorical_crossentropy expects a probability. Set from_logits=True in the loss,
    or give the last layer activation='softmax'.
  at test_mistakes.py:N
""")
def logits_for_probabilities():
    classifier(activation=None)


@mistake("""\
TrainingWarning: Output 'scores' ends with softmax, and its loss
    sparse_categorical_crossentropy applies such a function again, because of
    from_logits=True. Set from_logits=False, or remove the activation of the last layer.
  at test_mistakes.py:N
""")
def probabilities_for_logits():
    classifier(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))


@mistake("""\
TrainingWarning: Output 'scores' is the softmax of a single unit, which is always 1. Use
    activation='sigmoid' for two classes, or one unit for each class.
  at test_mistakes.py:N
""")
def the_softmax_of_one_unit():
    classifier(1, loss="binary_crossentropy")


@mistake("""\
TrainingWarning: Output 'scores' is a logit, for which the threshold is 0, but its accuracy
    compares it with 0.5, the threshold for a probability. Use
    `lamina.metrics.BinaryAccuracy(threshold=0.0)`.
  at test_mistakes.py:N
""")
def the_accuracy_of_logits():
    logits = keras.losses.BinaryCrossentropy(from_logits=True)
    classifier(1, activation=None, loss=logits, metrics=["accuracy"])


# ---- data ----------------------------------------------------------------------------------------


@mistake("""\
NotCompiledError: Model 'regression' is not compiled yet. Call
    `model.compile(optimizer="adam", loss=...)` first.
""")
def fit_before_compile():
    inputs = keras.Input((4,), name="features")
    keras.Model(inputs, layers.Dense(1)(inputs), name="regression").fit(X, np.ones(8))


@mistake("""\
StructureError: Output 'scores' has a loss but no target.
  expected: targets for ['scores']
  received: no `y`
Pass them as `y`; validation data and batches of a generator must be tuples `(x, y)`.
""")
def fit_without_targets():
    classifier().fit(X, verbose=0)


@mistake("""\
ShapeError: The data for input 'features' does not match its shape.
  expected: (batch, 4)
  received: (4,)
Is the batch axis missing? One sample is a batch of one: `x[None]`.
""")
def one_sample_without_a_batch():
    classifier().predict(X[0], verbose=0)


@mistake("""\
ShapeError: The data for input 'features' does not match its shape.
  expected: (batch, 4)
  received: (8, 5)
""")
def data_of_another_size():
    classifier().predict(np.ones((8, 5)), verbose=0)


@mistake("""\
ShapeError: The data for input 'photo' does not match its shape.
  expected: (batch, 32, 32, 3)
  received: (2, 3, 32, 32)
Are the axes in another order (channels first or last)?
""")
def images_in_another_order_of_axes():
    inputs = keras.Input((32, 32, 3), name="photo")
    model = keras.Model(inputs, layers.Conv2D(4, 3)(inputs))
    model.predict(np.ones((2, 3, 32, 32)), verbose=0)


@mistake("""\
ShapeError: The data for input 'photo' does not match its shape.
  expected: (batch, 28, 28, 3)
  received: (5, 28, 28)
Is the last axis missing? `x[..., None]` adds it.
""")
def images_without_their_channel():
    inputs = keras.Input((28, 28, 3), name="photo")
    model = keras.Model(inputs, layers.Flatten()(inputs))
    model.predict(np.ones((5, 28, 28)), verbose=0)


@mistake("""\
ShapeError: The data for input 'hidden' does not match its shape.
  expected: (batch, 6)
  received: (8, 4)
'hidden' is the output of a layer here, not an `Input`. Was `inputs` reused?
""")
def an_overwritten_input():
    x = keras.Input((4,), name="features")
    x = layers.Dense(6, name="hidden")(x)
    keras.Model(x, layers.Dense(1)(x)).predict(X, verbose=0)


@mistake("""\
DataError: All data must have the same number of samples. Received: x of shape (8, 4), y of
    shape (7,).
""")
def other_numbers_of_inputs_and_targets():
    classifier().fit(X, CLASSES[:7], verbose=0)


@mistake("""\
DataError: All data must have the same number of samples. Received: x[0] of shape (4,), x[1]
    of shape (4,), x[2] of shape (4,), x[3] of shape (4,), ..., x[7] of shape (4,), y of
    shape (8,).
A list means several inputs. `np.stack(x)` makes one array of the samples.
""")
def a_list_of_samples():
    classifier().fit(list(X), CLASSES, verbose=0)


@mistake("""\
DataError: This list does not make an array: it has rows of different length. Pad them to
    one length.
""")
def rows_of_different_length():
    classifier().predict([[1, 2, 3, 4], [1, 2]], verbose=0)


@mistake("""\
DTypeError: Data for a model is numbers. Received a ndarray of dtype <U3. For text inputs,
    start the model with `Input((1,), dtype='string')` and a TextVectorization, StringLookup
    or Hashing layer, call such a layer (an attribute of the model) in the model's `call`,
    or map the data: `dataset.map(lambda x, y: (layer(x), y))`. For text targets,
    `np.unique(text, return_inverse=True)[1]` numbers the classes.
""")
def text_as_data():
    classifier().fit(X, np.array(["cat", "dog"] * 4), verbose=0)


@mistake("""\
StructureError: The inputs of the model are declared by name. The model's inputs are
    ['title', 'body']. Received a list, which has no names; pass a dict.
""")
def a_list_for_named_inputs():
    two_inputs(dict).predict([np.ones((3, 2)), np.ones((3, 2))], verbose=0)


@mistake("""\
StructureError: The input data has no entry for ['title']. The model's inputs are ['title',
    'body']. Received the keys ['body', 'titel'].
""")
def a_missing_entry():
    two_inputs(dict).predict({"body": np.ones((3, 2)), "titel": np.ones((3, 2))}, verbose=0)


@mistake("""\
StructureError: The input data has 1 entry. Expected 2, one for each of ['title', 'body'],
    or a dict by these names.
""")
def one_array_for_two_inputs():
    two_inputs(lambda named: list(named.values())).predict(np.ones((3, 2)), verbose=0)


@mistake("""\
StructureError: The model has the outputs ['price', 'rating']. Received one target array;
    pass a list in this order, or a dict by these names.
""")
def one_target_for_two_outputs():
    model = two_outputs()
    model.compile(loss="mse")
    model.fit(X, np.ones(8), verbose=0)


@mistake("""\
StructureError: Output 'rating' has a loss but no target.
  expected: targets for ['price', 'rating']
  received: entries for ['price', 'stars']
Pass them as `y`; validation data and batches of a generator must be tuples `(x, y)`.
""")
def a_target_of_another_name():
    model = two_outputs()
    model.compile(loss="mse")
    model.fit(X, {"price": np.ones(8), "stars": np.ones(8)}, verbose=0)


@mistake("""\
ShapeError: Output 'scores': sparse_categorical_crossentropy: the targets look one-hot.
  expected: class indices of shape (8,)
  received: y_true of shape (8, 3), like y_pred
Use the loss or metric without `sparse`, or pass `y_true.argmax(-1)`.
""")
def one_hot_targets_for_a_sparse_loss():
    classifier().fit(X, np.eye(3)[CLASSES], verbose=0)


@mistake("""\
ShapeError: Output 'scores': categorical_crossentropy: the targets and predictions do not
    match.
  expected: y_true of shape (8, 3), like y_pred, or with an additional trailing axis of size
    1
  received: y_true of shape (8,), y_pred of shape (8, 3)
y_true lacks the last axis. If it holds class indices, make them one-hot with
    `lamina.utils.to_categorical(y, 3)` or use a `sparse_categorical_...` loss or metric; if
    it holds single values, give the last layer 1 unit.
""")
def class_numbers_for_a_dense_loss():
    classifier(loss="categorical_crossentropy").fit(X, CLASSES, verbose=0)


@mistake("""\
ShapeError: Output 'scores': binary_crossentropy: the targets and predictions do not match.
  expected: y_true of shape (8, 2), like y_pred, or with an additional trailing axis of size
    1
  received: y_true of shape (8,), y_pred of shape (8, 2)
y_true lacks the last axis. If it holds class indices, make them one-hot with
    `lamina.utils.to_categorical(y, 2)` or use a `sparse_categorical_...` loss or metric; if
    it holds single values, give the last layer 1 unit.
""")
def class_numbers_for_a_binary_loss():
    classifier(2, loss="binary_crossentropy").fit(X, CLASSES % 2, verbose=0)


@mistake("""\
ShapeError: Output 'scores': categorical_crossentropy: the targets and predictions do not
    match.
  expected: y_true of shape (8, 10), like y_pred, or with an additional trailing axis of
    size 1
  received: y_true of shape (8, 3), y_pred of shape (8, 10)
Give the last layer 3 units instead of 10, or choose the columns of y_true that the model
    predicts.
""")
def another_number_of_units():
    classifier(10, loss="categorical_crossentropy").fit(X, np.eye(3)[CLASSES], verbose=0)


@mistake("""\
ShapeError: Output 'scores': sparse_categorical_crossentropy: the targets and predictions do
    not match.
  expected: class indices of shape (8, 28) or (8, 28, 1)
  received: y_true of shape (8,), y_pred of shape (8, 28, 10)
y_pred has more axes than y_true: end the model with one vector of scores for each sample
    (`Flatten` or a global pooling before the last layer, or `return_sequences=False`).
""")
def no_flatten_before_the_last_layer():
    inputs = keras.Input((28, 28), name="photo")
    outputs = layers.Dense(10, activation="softmax", name="scores")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(loss="sparse_categorical_crossentropy")
    model.fit(np.ones((8, 28, 28)), CLASSES, verbose=0)


@mistake("""\
DataError: Output 'scores': sparse_categorical_crossentropy: the targets are not class
    indices of this output.
  expected: integers from 0 to 2, as it has 3 units
  received: numbers from 1 to 3
If the classes are counted from 1, pass `y - 1`.
""")
def classes_counted_from_one():
    classifier().fit(X, CLASSES + 1, verbose=0)


@mistake("""\
DataError: Output 'scores': sparse_categorical_crossentropy: the targets are not class
    indices of this output.
  expected: integers from 0 to 2, as it has 3 units
  received: numbers from 0 to 10
Give the last layer 11 units, or number the classes from 0.
""")
def more_classes_than_units():
    classifier().fit(X, CLASSES * 5, verbose=0)


@mistake("""\
DataError: Output 'scores': sparse_categorical_crossentropy: the targets are not class
    indices of this output.
  expected: integers from 0 to 2, as it has 3 units
  received: 0.5
Pass integers, or use a regression loss such as 'mean_squared_error'.
""")
def classes_that_are_not_whole():
    classifier().fit(X, CLASSES / 2, verbose=0)


@mistake("""\
TrainingWarning: Output 'scores': binary_crossentropy expects probabilities from 0 to 1 as
    targets. Received numbers from -1 to 1. Pass `(y + 1) / 2`, or use the loss 'hinge',
    whose targets are -1 and 1.
  at test_mistakes.py:N
""")
def binary_targets_of_minus_one():
    model = classifier(1, "sigmoid", "binary_crossentropy")
    model.fit(X, np.array([-1.0, 1.0] * 4), verbose=0)


@mistake("""\
DataError: Input 'words' contains indices that are out of range for layer 'table'
    (Embedding).
  expected: integers from 0 to 9, because of input_dim=10
  received: 10
Set `input_dim=11`, or map rare indices to a common one.
""")
def a_word_that_the_table_lacks():
    inputs = keras.Input((5,), dtype="int32", name="words")
    model = keras.Model(inputs, layers.Embedding(10, 3, name="table")(inputs))
    model.predict(np.full((2, 5), 10), verbose=0)


@mistake("""\
DataError: Input 'words' contains indices that are out of range for layer 'table'
    (Embedding).
  expected: integers from 0 to 9, because of input_dim=10
  received: 0.5
For numbers that are not indices, use a `Dense` layer instead.
""")
def fractions_for_an_embedding():
    inputs = keras.Input((5,), name="words")
    model = keras.Model(inputs, layers.Embedding(10, 3, name="table")(inputs))
    model.predict(np.full((2, 5), 0.5), verbose=0)


@mistake("""\
ArgumentError: `y` and `sample_weight` come with `x` only when `x` is arrays. An iterable
    yields tuples (x, y) or (x, y, sample_weight) instead.
""")
def targets_beside_a_generator():
    classifier().fit(batches(), CLASSES, steps_per_epoch=1, verbose=0)


@mistake("""ArgumentError: `validation_split` needs arrays. Pass `validation_data` instead.""")
def a_validation_split_of_a_generator():
    classifier().fit(batches(), steps_per_epoch=1, validation_split=0.2, verbose=0)


@mistake("""\
StructureError: Expected one input array. The model's inputs are ['features']. Received a
    list of 2. A batch of inputs and targets is a tuple `(x, y)`, not a list.
""")
def batches_that_are_lists():
    classifier().fit(([X, CLASSES] for _ in range(2)), verbose=0)


@mistake("""\
TrainingWarning: EarlyStopping monitors 'val_loss', which is not in the logs, so it compares
    nothing. The logs have: ['loss']. Names with `val_` need `validation_data` or
    `validation_split` in fit().
  at test_mistakes.py:N
""")
def watching_validation_without_validation():
    stop = keras.callbacks.EarlyStopping(monitor="val_loss")
    classifier().fit(X, CLASSES, callbacks=[stop], verbose=0)


@mistake("""\
TrainingWarning: The loss has not been finite since training step 0 (counted from 0). Common
    causes: a learning rate that is too high, NaN in the data, a logarithm or division
    without `epsilon`.
  at test_mistakes.py:N
""")
def numbers_that_are_not_finite():
    x = X.copy()
    x[0] = np.nan
    classifier().fit(x, CLASSES, verbose=0)


# ---- weights and files ---------------------------------------------------------------------------


@mistake("""\
ArgumentError: set_weights() of 'classifier': the shapes differ:
  scores/kernel: expected shape (4, 3), received (4, 5)
  scores/bias: expected shape (3,), received (5,)
""")
def weights_of_other_shapes():
    classifier().set_weights([np.ones((4, 5)), np.ones(5)])


@mistake("""\
ArgumentError: The file of a model must end in '.keras', '.h5' or '.hdf5'. Received:
    'model.ckpt'. For weights only, use `model.save_weights('name.weights.h5')` or
    '.safetensors'; for a folder, pass `zipped=False`.
""")
def a_file_of_another_kind():
    classifier().save("model.ckpt")


@mistake("""\
ArgumentError: A weights file must end in '.weights.h5' or '.safetensors'. Received:
    'weights.npz'.
""")
def weights_in_a_file_of_another_kind():
    classifier().save_weights("weights.npz")


@mistake("""\
StructureError: small.weights.h5 does not match the model, which is unchanged.
  of another shape: scores/kernel: expected (4, 5), found (4, 3) at 'layers/dense/vars/0';
    scores/bias: expected (5,), found (3,) at 'layers/dense/vars/1'
Load it into the architecture that it was saved from, or pass `skip_mismatch=True` to load
    what matches.
""")
def weights_of_another_model():
    classifier(3).save_weights("small.weights.h5")
    classifier(5).load_weights("small.weights.h5")


@mistake("""FileNotFoundError: There is no file 'model.keras'.""")
def a_file_that_is_not_there():
    keras.saving.load_model("model.keras")


@mistake("""\
SerializationError: The config names class 'Twice' (module '...'), which is not built in and
    not registered. Pass `custom_objects={'Twice': ...}`, or decorate it with
    `@lamina.saving.register_serializable()` before loading.
""")
def a_class_that_loading_does_not_know():
    class Twice(layers.Layer):
        def call(self, inputs):
            return inputs * 2

    inputs = keras.Input((4,), name="features")
    keras.Model(inputs, Twice(name="twice")(inputs)).save("custom.keras")
    keras.saving.load_model("custom.keras")


@mistake("""\
SerializationError: Layer 'wave' of class Lambda cannot be described as data: A lambda has
    no name, so a file cannot refer to it. Define it with `def`, and register it:
    `@lamina.saving.register_serializable()`.
Or use only functions of `lamina.ops` in it: a layer of a functional or sequential model is
    then saved as the ops that its function consists of.
""")
def a_lambda_in_a_file():
    inputs = keras.Input((4,), name="features")
    model = keras.Model(inputs, layers.Lambda(lambda x: 2 * jnp.sin(x), name="wave")(inputs))
    model.save("lambda.keras")


# ---- preprocessing -------------------------------------------------------------------------------

PHOTOS = np.linspace(0, 1, 8 * 6 * 6 * 3).reshape(8, 6, 6, 3).astype("float32")
BOXES = {"boxes": np.ones((8, 2, 4)), "labels": np.ones((8, 2), "int32")}


@mistake("""\
TrainingWarning: Layer 'scale' (Normalization) was not adapted, so it returns its inputs
    unchanged. Call `scale.adapt(data)` with the training data first.
  at test_mistakes.py:N
""")
def statistics_that_were_not_adapted():
    model = keras.Sequential([layers.Input((4,)), layers.Normalization(name="scale")])
    model.compile("sgd", "mse")
    model.evaluate(X, X, verbose=0)


@mistake("""\
NotBuiltError: Layer 'bins' (Discretization) has no boundaries yet.
Call `bins.adapt(data)` with the training data first.
""")
def bins_that_were_not_adapted():
    layers.Discretization(num_bins=3, name="bins")(X)


@mistake("""\
DataError: scale.adapt() expects an array, or an iterable of batches. Received: dict.
Pass the column that the layer preprocesses.
""")
def statistics_of_a_table():
    layers.Normalization(name="scale").adapt({"age": X[:, 0], "income": X[:, 1]})


@mistake("""\
DataError: scale.adapt() expects numbers. Received: values of dtype <U4.
""")
def statistics_of_words():
    layers.Normalization(name="scale").adapt(np.array([["red"], ["blue"]]))


@mistake("""\
ShapeError: Layer 'scale' (Normalization) needs to know the number of features.
  expected: a size of axis 1
  received: (None, None)
Give it in the shape of `Input`, or pass `axis=None`.
  path from the inputs: input_layer (batch, None) -> scale
  called at: test_mistakes.py:N
""")
def an_unknown_number_of_features():
    layers.Normalization(name="scale")(keras.Input((None,)))


@mistake("""\
DataError: scale.adapt() received no batches. Received: an empty generator.
A generator that was read before is empty: create a new one.
""")
def statistics_of_a_consumed_generator():
    rows = (row for row in [X])
    list(rows)
    layers.Normalization(name="scale").adapt(rows)


@mistake("""\
ArgumentError: RandomRotation(): `factor`: expected a number in [-1, 1], a fraction of a
    full turn (90 degrees are 0.25), or two of them. Received: 90.
""")
def an_angle_in_degrees():
    layers.RandomRotation(90)


@mistake("""\
ArgumentError: RandomBrightness(): `value_range`: expected the smallest and the largest
    value of the images, such as (0, 255). Received: 255.
""")
def a_range_of_one_number():
    layers.RandomBrightness(0.2, value_range=255)


@mistake("""\
TrainingWarning: Input 'photo' contains numbers from 0 to 1, but layer 'augment'
    (RandAugment) has value_range=(0, 255), in which all of these images are black. Pass the
    range of your images as `value_range`.
  at test_mistakes.py:N
""")
def images_up_to_one_where_255_is_white():
    model = keras.Sequential(
        [layers.Input((6, 6, 3), name="photo"), layers.RandAugment(name="augment"),
         layers.Flatten(), layers.Dense(1)]
    )  # fmt: skip
    model.compile("sgd", "mse")
    model.fit(PHOTOS, CLASSES, verbose=0)


@mistake("""\
TrainingWarning: Input 'photo' contains numbers from 0 to 255, but layer 'augment'
    (RandomContrast) has value_range=(0, 1), which it clips. Pass the range of your images
    as `value_range`.
  at test_mistakes.py:N
""")
def images_up_to_255_where_one_is_white():
    model = keras.Sequential(
        [layers.Input((6, 6, 3), name="photo"), layers.RandomContrast(0.2, (0, 1), name="augment"),
         layers.Flatten(), layers.Dense(1)]
    )  # fmt: skip
    model.compile("sgd", "mse")
    model.fit(PHOTOS * 255, CLASSES, verbose=0)


@mistake("""\
ShapeError: Layer 'hue' (RandomHue) changes colors, so it expects three channels: red, green
    and blue.
  expected: 3 channels
  received: 1, with data_format='channels_last'
  path from the inputs: digit (batch, 28, 28, 1) -> hue
  called at: test_mistakes.py:N
""")
def the_hue_of_shades_of_grey():
    layers.RandomHue(0.2, name="hue")(keras.Input((28, 28, 1), name="digit"))


@mistake("""\
ShapeError: Layer 'flip' (RandomFlip) expects images.
  expected: 3 axes, (height, width, channels), or 4 with the batch before them
  received: shape (6, 6)
""")
def images_without_channels():
    layers.RandomFlip(name="flip")(PHOTOS[0, :, :, 0])


@mistake("""\
StructureError: Layer 'flip' (RandomFlip) received bounding boxes in an unknown format.
Pass it to the layer: `bounding_box_format='xyxy'`, or what it is.
""")
def boxes_in_an_unknown_format():
    layers.RandomFlip(name="flip")({"images": PHOTOS, "bounding_boxes": BOXES})


@mistake("""\
DataError: Layer 'mix' (MixUp) mixes labels, so it expects a row of probabilities for each
    image.
  expected: labels of shape (batch, classes)
  received: shape (8,)
Encode them: `lamina.ops.one_hot(labels, num_classes)`.
""")
def classes_to_be_mixed():
    layers.MixUp(name="mix")({"images": PHOTOS, "labels": CLASSES})


@mistake("""\
ShapeError: Layer 'flip' (RandomFlip) expects segmentation masks with an axis of channels,
    as images.
  expected: 4 axes, such as (8, 6, 6, 1)
  received: shape (8, 6, 6)
Add it: `masks[..., None]`.
""")
def masks_without_channels():
    data = {"images": PHOTOS, "segmentation_masks": PHOTOS[..., 0]}
    layers.RandomFlip(name="flip")(data)


# ---- the tests -----------------------------------------------------------------------------------


def answer(function):
    """What the user reads: the warnings, or the error with its notes."""
    keras.utils.clear_session(free_memory=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            function()
            said = [f"{w.category.__name__}: {w.message}\n  at {w.filename}:{w.lineno}"
                    for w in caught]  # fmt: skip
        except Exception as e:  # noqa: BLE001 - whatever it is, it is the answer
            said = ["\n".join([f"{type(e).__name__}: {e}", *getattr(e, "__notes__", ())])]
    text = re.sub(r"\S*[\\/](\w+\.py):\d+", r"\1:N", "\n".join(said))
    return wrapped(re.sub(r"module '[\w.]+'", "module '...'", text))


def wrapped(text):
    return "\n".join(
        shown for line in text.split("\n")
        for shown in textwrap.wrap(line, 92, subsequent_indent="    ", drop_whitespace=True,
                                   break_long_words=False, break_on_hyphens=False)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("function", "expected"), MISTAKES, ids=lambda x: getattr(x, "__name__", "")
)
def test_the_answer_is(function, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert answer(function) == expected.strip()
    assert len(expected.strip().splitlines()) <= 20


def test_all_errors_are_lamina_s_but_the_user_s_own():
    known = {n for n, c in vars(keras.errors).items() if isinstance(c, type)}
    own = [f.__name__ for f, said in MISTAKES if said.strip().partition(":")[0] not in known]
    assert own == ["a_method_that_arrays_have", "the_values_of_a_tensor",
                   "a_misspelled_attribute_in_call", "a_file_that_is_not_there"]  # fmt: skip


if __name__ == "__main__":
    for function, _ in MISTAKES:
        print(f"{function.__name__.replace('_', ' ')}\n")
        print(textwrap.indent(answer(function), "    ") + "\n")
