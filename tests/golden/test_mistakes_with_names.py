"""Mistakes with the names beside layers and models, and the whole of what is said to them."""

import re

import numpy as np
import pytest

import lamina as keras
from lamina import layers, ops, random
from tests.golden.test_mistakes import CLASSES, X, answer, classifier

MISTAKES = []


def mistake(said):
    """Decorator of a function that makes a mistake, with the answer to it."""

    def enter(function):
        MISTAKES.append((function, said))
        return function

    return enter


@mistake("""\
ShapeError: lamina.ops.reshape cannot take these arguments: cannot reshape array of shape
    (2, 3) (size 6) into shape (4, 2) (size 8).
  received: (2, 3) float64
""")
def a_size_that_does_not_fit():
    ops.reshape(np.ones((2, 3)), (4, 2))


@mistake("""\
ShapeError: lamina.ops.concatenate cannot take these arguments: Cannot concatenate arrays
    with shapes that differ in dimensions other than the one being concatenated:
    concatenating along dimension 0 for shapes (2, 3), (3, 4).
  received: (2, 3) float64, (3, 4) float64
""")
def arrays_that_do_not_line_up():
    ops.concatenate([np.ones((2, 3)), np.ones((3, 4))], axis=0)


@mistake("""\
ShapeError: lamina.ops.matmul cannot take these arguments: dot_general requires contracting
    dimensions to have the same shape, got (3,) and (2,).
  received: (2, 3) float64, (2, 3) float64
""")
def a_product_of_arrays_that_do_not_match():
    ops.matmul(np.ones((2, 3)), np.ones((2, 3)))


@mistake("""\
ShapeError: lamina.ops.sum cannot take these arguments: axis 2 is out of bounds for array of
    dimension 2.
  received: (2, 3) float64
""")
def an_axis_that_is_not_there():
    ops.sum(np.ones((2, 3)), axis=2)


@mistake("""\
SignatureError: lamina.ops.sum(): got an unexpected keyword argument 'dim'. The arguments
    are (x, axis, keepdims).
""")
def an_argument_of_another_library():
    ops.sum(np.ones((2, 3)), dim=1)


@mistake("""\
DTypeError: lamina.ops.add cannot take these arguments: tensors are numbers. Received: 'a'.
""")
def text_for_an_op():
    ops.add("a", 1)


@mistake("""\
ShapeError: lamina.ops.einsum cannot take these arguments: Output character 'l' did not
    appear in the input.
  received: (2, 3) float64, (3, 4) float64
""")
def a_letter_that_no_operand_has():
    ops.einsum("ij,jk->il", np.ones((2, 3)), np.ones((3, 4)))


@mistake("""\
SignatureError: lamina.ops.one_hot(): missing a required argument: 'num_classes'. The
    arguments are (x, num_classes, axis, dtype, sparse).
""")
def an_op_without_an_argument():
    ops.one_hot([0, 1])


@mistake("""\
ArgumentError: `dtype` expects a dtype or its name, such as 'float32' or 'int32'. Received:
    'flot32'.
""")
def a_misspelled_dtype_of_an_op():
    ops.cast(X, "flot32")


@mistake("""\
ShapeError: lamina.ops.top_k cannot take these arguments: k argument to top_k must be no
    larger than size along axis; got k=5 with shape=[2, 3] and axis=1.
  received: (2, 3) float64
""")
def more_than_there_is():
    ops.top_k(np.ones((2, 3)), k=5)


@mistake("""\
ShapeError: lamina.ops.split cannot take these arguments: array split does not result in an
    equal division: rest is 1.
  received: (5, 2) float64
""")
def parts_of_unequal_size():
    ops.split(np.ones((5, 2)), 2)


@mistake("""\
ArgumentError: pad(): `mode` expects one of ('constant', 'edge', 'empty', 'linear_ramp',
    'maximum', 'mean', 'median', 'minimum', 'reflect', 'symmetric', 'wrap'). Received:
    'zeros'.
""")
def a_way_to_pad_that_there_is_not():
    ops.pad(np.ones((2, 2)), ((1, 1), (1, 1)), mode="zeros")


@mistake("""\
ShapeError: ops.image.resize expects an image or a batch of images.
  expected: 3 or 4 axes
  received: (8, 8)
""")
def an_image_without_channels():
    ops.image.resize(np.ones((8, 8)), (4, 4))


@mistake("""\
ShapeError: ops.conv: the kernel does not fit the channels of the inputs.
  expected: a kernel (*window, 3, filters), or fewer channels that divide 3 into groups
    whose number divides the filters
  received: (1, 8, 8, 3) channels_last, kernel (3, 3, 4, 8)
""")
def a_kernel_for_other_channels():
    ops.conv(np.ones((1, 8, 8, 3)), np.ones((3, 3, 4, 8)))


@mistake("""\
ArgumentError: uniform() expects a `seed` that is an integer from 0 to 2^32 - 1, a
    `SeedGenerator` or None. Received: 'abc' (of type str).
""")
def text_for_a_seed():
    random.uniform((2,), seed="abc")


@mistake("""\
ArgumentError: SeedGenerator(seed=...) expects an integer from 0 to 2^32 - 1, or None.
    Received: 1.5 (of type float).
""")
def a_float_for_a_seed():
    random.SeedGenerator(1.5)


@mistake("""\
ShapeError: categorical() expects `logits` of shape (batch, classes). Received: shape (3,).
""")
def logits_without_a_batch():
    random.categorical(np.ones(3), 2)


@mistake("""\
ArgumentError: set_floatx() expects one of ['float16', 'bfloat16', 'float32', 'float64'].
    Received: 'float31'.
""")
def a_float_type_that_there_is_not():
    keras.backend.set_floatx("float31")


@mistake("""\
ArgumentError: `data_format` expects 'channels_first' or 'channels_last'. Received:
    'channel_last'.
""")
def a_misspelled_data_format():
    keras.config.set_image_data_format("channel_last")


@mistake("""\
ArgumentError: Lamina has one backend, 'jax'. Received: 'tensorflow'. `fit` accepts data of
    PyTorch and TensorFlow directly.
""")
def another_backend():
    keras.config.set_backend("tensorflow")


@mistake("""\
StructureError: The structures differ. Expected 2 entries. Received 1: [1].
""")
def structures_that_differ():
    keras.tree.map_structure(lambda a, b: a + b, [1, 2], [1])


@mistake("""\
StructureError: pack_sequence_as() expects 2 leaves, as many as the structure has. Received
    1.
""")
def too_few_leaves():
    keras.tree.pack_sequence_as({"a": 0, "b": 0}, [1])


@mistake("""\
SignatureError: map_structure() expects a function as `func`. Received: [1, 2] (of type
    list).
""")
def arguments_in_the_wrong_order():
    keras.tree.map_structure([1, 2], lambda x: x)


@mistake("""\
NotCompiledError: An estimator expects a compiled model. Call `compile(optimizer, loss)` of
    'sequential' first.
""")
def an_estimator_of_an_uncompiled_model():
    def f(X, y):
        return keras.Sequential([keras.Input((4,)), layers.Dense(3)])

    keras.wrappers.SKLearnClassifier(f).fit(X, CLASSES)


@mistake("""\
ArgumentError: `callbacks` contains <class 'lamina.callbacks.stopping.EarlyStopping'>.
    Expected: instances of classes derived from `lamina.callbacks.Callback`, such as
    `EarlyStopping()`, not `EarlyStopping`.
""")
def a_class_of_callbacks():
    classifier().fit(X, CLASSES, verbose=0, callbacks=[keras.callbacks.EarlyStopping])


@mistake("""\
ArgumentError: LearningRateScheduler: `schedule` expects a function of the epoch that
    returns a learning rate. Received: 0.1.
""")
def a_number_for_a_schedule():
    classifier().fit(X, CLASSES, verbose=0, callbacks=[keras.callbacks.LearningRateScheduler(0.1)])


@mistake("""\
ArgumentError: LearningRateScheduler: the schedule must return a number. It returned None
    for epoch 0.
""")
def a_schedule_that_returns_nothing():
    classifier().fit(
        X, CLASSES, verbose=0, callbacks=[keras.callbacks.LearningRateScheduler(lambda e: None)]
    )


@mistake("""\
ArgumentError: ReduceLROnPlateau: `mode` is 'auto', 'min' or 'max'. Received: 'minimum'.
""")
def a_misspelled_mode():
    keras.callbacks.ReduceLROnPlateau(mode="minimum")


@mistake("""\
ArgumentError: ReduceLROnPlateau: `factor` must be below 1, so that the learning rate falls.
    Received: 2.0.
""")
def a_factor_that_raises_the_rate():
    keras.callbacks.ReduceLROnPlateau(factor=2.0)


@mistake("""\
UnknownNameError: Unknown hook of LambdaCallback(): 'on_epoch_finished'. Did you mean
    'on_epoch_end' or 'on_epoch_begin' or 'on_batch_end'?
""")
def a_hook_that_there_is_not():
    keras.callbacks.LambdaCallback(on_epoch_finished=print)


@mistake("""\
ArgumentError: plot_model() saves .png, .svg and .pdf. Received: 'model.bmp'. Rename the
    file; for other formats of Graphviz use `model_to_dot(model).draw(path, prog="dot")`.
""")
def a_picture_of_another_kind():
    keras.utils.plot_model(classifier(), "model.bmp")


@mistake("""\
NotBuiltError: 'net' cannot be drawn: it has not been built, so its layers have neither
    shapes nor weights. Start it with an `Input`, call `model.build(input_shape)`, or call
    it once on data.
""")
def a_picture_of_an_unbuilt_model():
    keras.utils.plot_model(keras.Sequential([layers.Dense(1)], name="net"))


@mistake("""\
ShapeError: `images` expects the shape (batch, height, width, channels), with 1, 3 or 4
    channels. Received: (8, 8).
""")
def a_gallery_of_one_array():
    keras.visualization.plot_image_gallery(np.ones((8, 8)))


@mistake("""\
UnknownNameError: Unknown format of bounding boxes: 'xyhw'. Did you mean 'xywh' or 'yxyx' or
    'xyxy'?
""")
def a_format_of_boxes_that_there_is_not():
    keras.utils.bounding_boxes.convert_format(np.ones((1, 4)), "xywh", "xyhw")


@mistake("""\
ArgumentError: `num_words` expects an integer >= 1. Received: 'all'.
""")
def a_vocabulary_in_words():
    keras.datasets.imdb.load_data(num_words="all")


@mistake("""\
ArgumentError: to_categorical() expects class indices from 0 to 2. Received: 3. Shift the
    labels or raise `num_classes`.
""")
def a_class_that_is_too_large():
    keras.utils.to_categorical([0, 1, 3], num_classes=3)


@mistake("""\
ArgumentError: pad_sequences() expects each sequence to be a list or an array whose entries
    have the same shape. Received, at position 0: 1 ('int' object is not iterable).
""")
def one_sequence_for_several():
    keras.utils.pad_sequences([1, 2, 3])


@mistake("""\
DataError: split_dataset() expects arrays of equal length. Received: {'0': 8, '1': 5}.
""")
def arrays_of_unequal_length():
    keras.utils.split_dataset((X, CLASSES[:5]), 0.5)


@mistake("""\
ArgumentError: split_dataset() expects the two parts not to overlap. Received:
    left_size=0.8, right_size=0.8 and 8 samples, which requests 6 + 6. Make one part
    smaller.
""")
def parts_that_overlap():
    keras.utils.split_dataset(X, 0.8, 0.8)


@mistake("""\
ArgumentError: get_file() downloads over https, or over http from this machine only.
    Received: origin='ftp://example.org/a.txt'.
""")
def a_download_over_ftp():
    keras.utils.get_file("a.txt", "ftp://example.org/a.txt")


@mistake("""\
ArgumentError: quantize() takes one of the modes ['int8', 'int4', 'float8'], or a `config`,
    such as `Int8QuantizationConfig()`. Received: mode='int7', config=None.
""")
def a_quantization_that_there_is_not():
    layers.Dense(2).quantize("int7")


@mistake("""\
ArgumentError: Model 'net' has no layer to quantize to 'int8'. Dense, EinsumDense, Embedding
    and ReversibleEmbedding can be, once.
""")
def a_model_with_nothing_to_quantize():
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(1, 2)], name="net")
    model.quantize("int8")


@mistake("""\
NotBuiltError: Layer 'd' (Dense) has no weights yet. Call it, or its `build(input_shape)`,
    before `enable_lora`, or pass `lora_rank` to its constructor.
""")
def an_adapter_of_an_unbuilt_layer():
    layers.Dense(2, name="d").enable_lora(4)


@mistake("""\
ArgumentError: MultiOptimizer() expects an OptimizerMap, or a function from a weight to its
    optimizer. Received: 'adam'.
""")
def a_name_for_several_optimizers():
    keras.optimizers.MultiOptimizer("adam")


@mistake("""\
ArgumentError: There is no device 'gpu:7'. Expected a name such as 'cpu:0' or 'gpu:0', or a
    JAX device. Devices here: [...].
""")
def a_device_that_is_not_there():
    with keras.device("gpu:7"):
        pass


@mistake("""\
ShapeError: lamina.ops.sum cannot take these arguments: an axis is an integer, not 'time'.
  received: (2, 3) float64
""")
def a_name_for_an_axis():
    ops.sum(np.ones((2, 3)), axis="time")


@mistake("""\
GraphError: An Input can only come first. 'net' already has an Input.
For several inputs, use `Model(inputs, outputs)`.
""")
def two_inputs_of_a_stack():
    keras.Sequential([keras.Input((3,)), keras.Input((4,))], name="net")


@mistake("""\
GraphError: Sequential.add() takes a layer. Received: <SymbolicTensor shape=(None, 3),
    dtype=float32, name=relu>.
Add the layer itself, not what a call of it returned.
""")
def a_tensor_in_a_stack():
    keras.Sequential([layers.ReLU(name="relu")(keras.Input((3,)))])


@mistake("""\
GraphError: Sequential.add() takes a layer. Received: <built-in function len>.
`lamina.layers.Lambda(function)` makes a layer of a function.
""")
def a_function_in_a_stack():
    keras.Sequential([len])


@mistake("""\
ArgumentError: The first argument of get_layer() is a name. Received: 0. Write
    `get_layer(index=0)`.
""")
def a_number_for_the_name_of_a_layer():
    classifier().get_layer(0)


@mistake("""\
StructureError: The function of metric 'nothing' returned None.
  expected: a number, or one for each sample
Is a `return` missing?
""")
def a_metric_without_a_return():
    def nothing(y_true, y_pred):
        pass

    keras.metrics.MeanMetricWrapper(nothing, name="nothing").update_state([1.0], [1.0])


@mistake("""\
ArgumentError: A file or folder is given by its path.
  expected: text or a `pathlib.Path`
  received: None (of type NoneType)
""")
def no_path_for_checkpoints():
    keras.callbacks.ModelCheckpoint(None)


@mistake("""\
SerializationError: A config contains itself, or is nested too deeply.
""")
def a_config_in_itself():
    config = {}
    config["again"] = config
    keras.saving.serialize_keras_object(config)


@mistake("""\
ArgumentError: LearningRateScheduler: the schedule must return a number. It returned 'high'
    for epoch 0.
""")
def a_word_for_a_learning_rate():
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: "high")
    classifier().fit(X, CLASSES, verbose=0, callbacks=[schedule])


@mistake("""\
ArgumentError: convert_to_tensor() cannot convert this.
  expected: numbers, in lists of one length along each axis
  received: array([1, 2.5], dtype=object)
Objects that are numbers: `x.astype('float32')`.
""")
def objects_that_are_numbers():
    ops.convert_to_tensor(np.array([1, 2.5], object))


@pytest.mark.parametrize(
    ("function", "expected"), MISTAKES, ids=lambda x: getattr(x, "__name__", "")
)
def test_the_answer_is(function, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = re.sub(r"(Devices here: )\[[^]]*\]", r"\1[...]", answer(function))
    assert said == expected.strip()


def test_all_errors_are_lamina_s():
    known = {n for n, c in vars(keras.errors).items() if isinstance(c, type)}
    assert {said.partition(":")[0] for _, said in MISTAKES} <= known
