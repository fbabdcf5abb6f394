"""One row or more for each public initializer: arguments, a shape, and what the values obey.

The facts are the mean, the variance and the largest absolute value (None: unbounded).
"""

_CUT = 0.87962566103423978  # standard deviation of a normal variable cut off at 2

# name: [(arguments, shape, mean, variance, bound)]
INITIALIZERS = {
    "Zeros": [({}, (3, 4), 0, 0, 0)],
    "Ones": [({}, (3, 4), 1, 0, 1)],
    "Constant": [({"value": 2.5}, (3, 4), 2.5, 0, 2.5)],
    "Identity": [({"gain": 2.0}, (4, 4), 0.5, 0.75, 2)],
    "STFT": [
        ({"window": None}, (4, 1, 3), None, None, 1),
        ({"side": "imag"}, (4, 1, 3), None, None, 1),
    ],
    "RandomNormal": [({"mean": 1.0, "stddev": 0.5}, (100, 200), 1, 0.25, None)],
    "RandomUniform": [({"minval": -1.0, "maxval": 3.0}, (100, 200), 1, 16 / 12, 3)],
    "TruncatedNormal": [({"stddev": 0.5}, (100, 200), 0, (0.5 * _CUT) ** 2, 1)],
    "VarianceScaling": [
        ({}, (100, 200), 0, 1 / 100, 2 / _CUT / 10),
        ({"scale": 9.0, "mode": "fan_out"}, (3, 3, 40, 80), 0, 9 / 720, 2 / _CUT * 0.0125**0.5),
        ({"distribution": "uniform", "mode": "fan_avg"}, (100, 300), 0, 1 / 200, (3 / 200) ** 0.5),
        ({"distribution": "untruncated_normal"}, (100, 200), 0, 1 / 100, None),
        ({"input_axes": (0,), "output_axes": (1, 2)}, (50, 20, 20), 0, 1 / 50, None),
    ],
    "GlorotUniform": [({}, (100, 200), 0, 2 / 300, (6 / 300) ** 0.5)],
    "GlorotNormal": [({}, (100, 200), 0, 2 / 300, 2 / _CUT * (2 / 300) ** 0.5)],
    "HeUniform": [({}, (3, 3, 40, 50), 0, 2 / 360, (6 / 360) ** 0.5)],
    "HeNormal": [({}, (3, 3, 40, 50), 0, 2 / 360, 2 / _CUT * (2 / 360) ** 0.5)],
    "LecunUniform": [({}, (100, 200), 0, 1 / 100, (3 / 100) ** 0.5)],
    "LecunNormal": [({}, (20000,), 0, 1 / 20000, 2 / _CUT / 20000**0.5)],
    "Orthogonal": [({"gain": 2.0}, (100, 100), 0, 4 / 100, 2)],
}  # fmt: skip
