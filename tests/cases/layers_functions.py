import flax.linen as nn
import jax
import jax.numpy as jnp

from lamina import layers
from lamina.serialization.registry import register_serializable
from tests.cases import Case


@register_serializable(package="tests")
def jax_weights(rng, inputs):
    return {"w": jax.random.normal(rng, (inputs.shape[-1], 3)), "b": [jnp.zeros(3), 2]}


@register_serializable(package="tests")
def jax_model(params, inputs):
    return inputs @ params["w"] + params["b"][0]


@register_serializable(package="tests")
def stateful_weights(rng, inputs, training):
    return {"w": jax.random.normal(rng, (inputs.shape[-1],))}, {"mean": jnp.zeros(())}


@register_serializable(package="tests")
def stateful_model(params, state, rng, inputs, training):
    if training:
        inputs = inputs * jax.random.bernoulli(rng, 0.5, inputs.shape)
        state = {"mean": 0.9 * state["mean"] + 0.1 * jnp.mean(inputs)}
    return inputs * params["w"] - state["mean"], state


@register_serializable(package="tests")
class Module(nn.Module):
    units: int = 3

    @nn.compact
    def __call__(self, inputs, training=False):
        x = nn.BatchNorm(use_running_average=not training)(nn.Dense(self.units)(inputs))
        return nn.Dropout(0.5, deterministic=not training)(x)

    def get_config(self):
        return {"units": self.units}


CASES = [
    Case("jax_layer", layers.JaxLayer, {"call_fn": jax_model, "init_fn": jax_weights},
         [((2, 5, 4), "float32")], unknown_axes=(1,)),
    Case("jax_layer_stateful", layers.JaxLayer,
         {"call_fn": stateful_model, "init_fn": stateful_weights}, [((2, 4), "float32")]),
    Case("flax_layer", layers.FlaxLayer, {"module": Module()}, [((2, 4), "float32")]),
]  # fmt: skip
