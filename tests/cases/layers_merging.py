from lamina import layers
from tests.cases import Case


def floats(*shapes):
    return [(shape, "float32") for shape in shapes]


ALL = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)

CASES = [
    *(Case(cls.__name__.lower(), cls, {}, floats((2, 3, 4), (2, 3, 4))) for cls in ALL),
    *(Case(f"{cls.__name__.lower()}_ones", cls, {}, floats((2, 3, 1), (2, 1, 4))) for cls in ALL),
    *(Case(f"{cls.__name__.lower()}_ranks", cls, {}, floats((2, 4), (2, 5, 3, 4)))
      for cls in ALL),
    *(Case(f"{cls.__name__.lower()}_three", cls, {}, floats((2, 3), (2, 3), (2, 1)))
      for cls in ALL if cls is not layers.Subtract),
    Case("add_integers", layers.Add, {}, [((2, 3), "int32"), ((2, 3), "int32")]),
    Case("average_integers", layers.Average, {}, [((2, 3), "int32"), ((2, 3), "int32")]),
    Case("concatenate", layers.Concatenate, {}, floats((2, 3, 4), (2, 3, 1))),
    Case("concatenate_time", layers.Concatenate, {"axis": 1}, floats((2, 3, 4), (2, 1, 4)),
         unknown_axes=(1,)),
    Case("concatenate_batch", layers.Concatenate, {"axis": 0}, floats((2, 3), (2, 3))),
    Case("concatenate_three", layers.Concatenate, {"axis": -2},
         floats((2, 3, 4), (2, 1, 4), (2, 2, 4))),
    Case("dot", layers.Dot, {"axes": 1}, floats((2, 3), (2, 3))),
    Case("dot_normalized", layers.Dot, {"axes": -1, "normalize": True}, floats((2, 3), (2, 3))),
    Case("dot_matrices", layers.Dot, {"axes": (2, 1)}, floats((2, 3, 4), (2, 4, 5)),
         unknown_axes=(1,)),
    Case("dot_matrix_vector", layers.Dot, {"axes": [2, 1]}, floats((2, 3, 4), (2, 4))),
    Case("dot_vector_matrix", layers.Dot, {"axes": (1, 2)}, floats((2, 4), (2, 3, 4))),
    Case("dot_many_axes", layers.Dot, {"axes": (3, 2)}, floats((2, 3, 4, 5), (2, 6, 5, 7))),
    Case("dot_middle", layers.Dot, {"axes": (2, 1), "normalize": True},
         floats((2, 3, 4), (2, 4, 5, 3))),
]  # fmt: skip
