"""One row or more for each public optimizer and schedule: the constructor's arguments."""

import optax

from lamina import optimizers
from lamina.optimizers import SGD, OptimizerMap, RMSprop

OPTIMIZERS = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    "RMSprop": [{}, {"momentum": 0.9}, {"momentum": 0.5, "centered": True, "rho": 0.8}],
    "Adam": [{}, {"amsgrad": True, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-4}],
    "AdamW": [{}, {"weight_decay": 0.1}],
    "Adamax": [{}],
    "Nadam": [{}],
    "Adagrad": [{}, {"initial_accumulator_value": 0.5, "epsilon": 1e-3}],
    "Adadelta": [{}, {"rho": 0.8, "epsilon": 1e-3}],
    "Ftrl": [
        {},
        {
            "learning_rate_power": -0.3, "initial_accumulator_value": 0.2, "beta": 0.2,
            "l1_regularization_strength": 0.01, "l2_regularization_strength": 0.1,
            "l2_shrinkage_regularization_strength": 0.1,
        },
    ],
    "Lion": [{}],
    "Lamb": [{}],
    "Adafactor": [{}, {"relative_step": False, "clip_threshold": 0.5}],
    "Muon": [{}, {"rms_rate": None, "nesterov": False}, {"exclude_layers": ["a"]}],
    "LossScaleOptimizer": [{"inner_optimizer": "adam", "initial_scale": 8.0}],
    "MultiOptimizer": [
        {
            "optimizer_map": OptimizerMap(SGD(0.1, momentum=0.9), {".*b": RMSprop(0.1)}),
            "loss_scale_factor": 2.0,
        },
    ],
    "ScheduleFreeAdamW": [{}, {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-4, "warmup_steps": 4}],
    "Optax": [{"transformation": optax.adam(0.1)}],
}  # fmt: skip

# Arguments that every optimizer has; the rules around the formula.
COMMON = [
    {"weight_decay": 0.05},
    {"clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"global_clipnorm": 0.7},
    {"clipnorm": 0.0},
    {"clipvalue": -1.0},
    {"global_clipnorm": 0.0},
    {"loss_scale_factor": 4.0, "clipnorm": 0.5},
    {"use_ema": True, "ema_momentum": 0.5},
    {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
    {"gradient_accumulation_steps": 3},
    {"gradient_accumulation_steps": 2, "clipnorm": 0.5, "weight_decay": 0.1},
    {
        "gradient_accumulation_steps": 2, "use_ema": True, "ema_momentum": 0.5,
        "ema_overwrite_frequency": 2,
    },
]  # fmt: skip

SCHEDULES = {
    "ExponentialDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5},
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5, "staircase": True},
    ],
    "InverseTimeDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5},
        {"initial_learning_rate": 0.1, "decay_steps": 3, "decay_rate": 0.5, "staircase": True},
    ],
    "PiecewiseConstantDecay": [{"boundaries": [2, 5], "values": [0.1, 0.05, 0.2]}],
    "PolynomialDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 4, "power": 2.0},
        {"initial_learning_rate": 0.1, "decay_steps": 4, "cycle": True},
    ],
    "CosineDecay": [
        {"initial_learning_rate": 0.1, "decay_steps": 6, "alpha": 0.1},
        {
            "initial_learning_rate": 0.01, "decay_steps": 6, "warmup_target": 0.1,
            "warmup_steps": 3,
        },
    ],
    "CosineDecayRestarts": [
        {"initial_learning_rate": 0.1, "first_decay_steps": 3},
        {
            "initial_learning_rate": 0.1, "first_decay_steps": 3, "t_mul": 1.0, "m_mul": 0.5,
            "alpha": 0.1,
        },
    ],
}  # fmt: skip


def make(name, arguments):
    """An optimizer that shares nothing with the rows above, whose variables tests change."""
    optimizer = getattr(optimizers, name)(**arguments)
    return optimizer if name == "Optax" else optimizers.deserialize(optimizers.serialize(optimizer))
