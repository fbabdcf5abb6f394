import jax
import jax.numpy as jnp
import pytest

from lamina.core import spec
from lamina.core.spec import TensorSpec, evaluate
from lamina.errors import ArgumentError


def test_named_sizes_give_formulas():
    a = TensorSpec(("batch", "time", 8))
    b = TensorSpec(("batch", "time", 8))
    out = evaluate(lambda x, y: jnp.concatenate([x, y], 1), [a, b])
    assert out.dims == ("batch", "2*time", 8)
    assert out.shape == (None, None, 8)


def test_two_names_are_not_one_size():
    a, b = TensorSpec(("batch", "time", 8)), TensorSpec(("batch", "width", 8))
    with pytest.raises(TypeError, match=r"time.*width"):
        evaluate(jnp.add, [a, b])


def test_open_sizes_agree_with_each_other():
    a, b = TensorSpec(("batch", None, 8)), TensorSpec(("batch", None, 8))
    assert evaluate(jnp.add, [a, b]).shape == (None, None, 8)


def test_an_open_size_agrees_with_a_known_one():
    a, b = TensorSpec(("batch", 5, 8)), TensorSpec(("batch", None, 8))
    assert evaluate(jnp.add, [a, b]).shape == (None, 5, 8)


def test_python_loops_over_an_open_size():
    def loop(x):
        return jnp.stack([x[:, t] for t in range(x.shape[1])], 1)

    assert evaluate(loop, [TensorSpec(("batch", "time", 3))]).dims == ("batch", "time", 3)
    assert evaluate(loop, [TensorSpec(("batch", None, 3))]).shape == (None, None, 3)


def test_a_size_that_no_symbol_explains_is_open():
    def shorter(x):
        return jnp.stack([x[:, t] for t in range(x.shape[1] // 2)], 1)

    out = evaluate(shorter, [TensorSpec(("batch", "time", 3))])
    assert out.dims == ("batch", None, 3)


def test_the_error_of_the_function_is_the_error():
    with pytest.raises(ZeroDivisionError):
        evaluate(lambda x: x / (1 // 0), [TensorSpec(("batch", 3))])


def test_clamps_at_zero_are_not_shown():
    assert spec.show_dims((spec.parse_dim("max(h - 2, 0)"), 3)) == "(h - 2, 3)"
    assert spec.show_dims((3,)) == "(3,)"


@pytest.mark.parametrize("bad", [-1, 1.5, "not a name!", "max", True])
def test_sizes_that_are_none(bad):
    with pytest.raises(ArgumentError, match="dimension"):
        spec.parse_dim(bad)


def test_specs_are_equal_by_content_and_type():
    assert TensorSpec(("batch", 3)) == TensorSpec(("batch", 3))
    assert TensorSpec(("batch", 3)) != TensorSpec(("batch", "three"))
    assert TensorSpec((None, 3)) != TensorSpec((None, 3))  # two open sizes are two sizes


def test_what_is_halved_and_doubled_fits_again():
    def halved(x):
        return jnp.repeat(x[:, ::2], 2, 1)

    for size, fits in ((None, True), ("time", False)):
        x = TensorSpec(("batch", size, 3))
        y = evaluate(lambda a: jnp.repeat(a[:, : a.shape[1] // 2], 2, 1), [x])
        if fits:
            assert evaluate(jnp.add, [x, y]).shape == (None, None, 3)
        else:  # an odd time would not fit, and a name stands for every size
            with pytest.raises(Exception, match=r"time|incompatible|shapes"):
                evaluate(jnp.add, [x, y])
    assert evaluate(halved, [TensorSpec(("batch", 8, 3))]).shape == (None, 8, 3)


def test_a_number_of_examples_can_be_divided():
    x = TensorSpec(("batch", 3))
    assert [y.shape for y in evaluate(lambda a: jnp.split(a, 2), [x])] == [(None, 3)] * 2
    with pytest.raises(ValueError, match="equal division"):
        evaluate(lambda a: jnp.split(a, 2), [TensorSpec(("time", 3))])


def _shrunk(x):
    """As a strided convolution without padding does."""
    return jax.lax.conv_general_dilated(x, jnp.ones((3, 1, 1)), (2,), "VALID",
                                        dimension_numbers=("NWC", "WIO", "NWC"))  # fmt: skip


def test_formulas_of_many_convolutions_stay_short():
    """JAX compares formulas with many clamps so slowly that an Inception network would not end."""
    left = right = TensorSpec(("batch", None, 1))
    for _ in range(5):
        left, right = evaluate(_shrunk, [left]), evaluate(_shrunk, [right])
        assert len(str(left.dims_raw[1])) < 120
    assert left == right
    assert evaluate(lambda a, b: jnp.concatenate([a, b], 2), [left, right]).shape == (None, None, 2)
    # Code that needs a number for the size gets one that fits the others.
    long = evaluate(lambda x: x[:, : x.shape[1] - len(range(x.shape[1])) + 3], [left])
    assert long.shape == (None, 3, 1)
