"""BayesFlow's networks and a workflow from simulation to posterior draws."""

import bayesflow as bf
import keras
import numpy as np

rng = np.random.default_rng(0)
theta = rng.normal(size=(16, 2)).astype("float32")
data = rng.normal(size=(16, 5, 3)).astype("float32")
condition = rng.normal(size=(16, 4)).astype("float32")


def simulate():
    parameters = rng.normal(size=2)
    return {"theta": parameters, "x": parameters + rng.normal(size=(5, 2))}


def _inference(network):
    network.build(theta.shape, condition.shape)
    z = network(theta, conditions=condition)
    assert z.shape == theta.shape
    losses = network.compute_metrics(theta, conditions=condition, stage="training")
    assert np.isfinite(float(losses["loss"]))


def use_coupling_flow():
    _inference(bf.networks.CouplingFlow(depth=2, subnet_kwargs={"widths": (8,)}))


def use_flow_matching():
    _inference(bf.networks.FlowMatching(subnet_kwargs={"widths": (8,)}))


def use_diffusion_model():
    _inference(bf.networks.DiffusionModel(subnet_kwargs={"widths": (8,)}))


def use_deep_set():
    assert bf.networks.DeepSet(summary_dim=4)(data).shape == (16, 4)


def use_set_transformer():
    network = bf.networks.SetTransformer(summary_dim=4, embed_dims=(8,), num_heads=(2,))
    assert network(data).shape == (16, 4)


def use_time_series_network():
    assert bf.networks.TimeSeriesNetwork(summary_dim=4)(data).shape == (16, 4)


def use_mlp():
    assert bf.networks.MLP((8, 8))(condition).shape == (16, 8)


def use_adapter():
    adapter = (
        bf.Adapter()
        .to_array()
        .convert_dtype("float64", "float32")
        .concatenate(["a", "b"], into="inference_variables")
    )
    made = adapter({"a": np.ones((3, 1)), "b": np.zeros((3, 2))})
    assert made["inference_variables"].shape == (3, 3)


def use_workflow():
    simulator = bf.make_simulator([simulate])
    adapter = (
        bf.Adapter()
        .as_set(["x"])
        .convert_dtype("float64", "float32")
        .concatenate(["theta"], into="inference_variables")
        .rename("x", "summary_variables")
    )
    workflow = bf.BasicWorkflow(
        simulator=simulator,
        adapter=adapter,
        inference_network=bf.networks.CouplingFlow(depth=2, subnet_kwargs={"widths": (8,)}),
        summary_network=bf.networks.DeepSet(summary_dim=3),
    )
    workflow.fit_online(epochs=1, batch_size=8, num_batches_per_epoch=2, verbose=0)
    drawn = workflow.sample(conditions=simulator.sample(2), num_samples=3)
    assert drawn["theta"].shape == (2, 3, 2)


def use_save():
    network = bf.networks.MLP((8,))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(network))
    assert type(again) is type(network)
