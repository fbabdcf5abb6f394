"""A model is data: it can be checked, inspected, plotted and copied before it runs."""

import tempfile
from pathlib import Path

import numpy as np

import lamina as keras
from lamina import layers
from lamina.errors import ShapeError
from lamina.visualization import summarize, to_html

# The same model twice: as a graph of layers ...
inputs = keras.Input(("frames", 32), name="sound")
x = layers.Dense(64, activation="relu", name="hidden")(inputs)
graph = keras.Model(inputs, layers.Dense(10, name="logits")(x), name="graph")


# ... and as a class.
class Subclass(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(64, activation="relu")
        self.logits = layers.Dense(10)

    def call(self, inputs):
        return self.logits(self.hidden(inputs))


subclass = Subclass(name="subclass")
print(f"Before any data: {graph.count_params()} parameters, output {graph.output_shape};")
print(f"the class knows {len(subclass.weights)} weights before it has seen any.")
subclass(np.zeros((1, 7, 32), "float32"))
print(f"After a first call it has {subclass.count_params()} parameters too.\n")

# Checked: a mistake is reported at the line where it is made, without data.
other = keras.Input(("pixels", 32), name="picture")
try:
    layers.add([inputs, other])
except ShapeError as error:
    print("While building:", error, sep="\n  ", end="\n\n")

# Inspected: nodes and dimensions, including formulas.
joined = layers.concatenate([inputs, inputs], axis=1)
print("Dimensions have names:", joined.dims, "or are formulas.")
for row in summarize(graph).rows:
    print(f"  {row.name:<8} {row.type:<12} {row.output_shapes[0]} {row.params:>6,}")

# Copied: as text, with new weights; as a clone, likewise.
text = graph.to_json()
again = keras.models.model_from_json(text)
clone = keras.models.clone_model(graph)
sample = np.ones((2, 7, 32), "float32")
clone.set_weights(graph.get_weights())
print(f"\n{len(text):,} characters of JSON recreate the model: "
      f"{[layer.name for layer in again.layers]}.")  # fmt: skip
print("With the same weights the clone says the same:",
      np.array_equal(clone(sample), graph(sample)))  # fmt: skip

# Plotted: as an image, and as a page on which nested models can be expanded and layers searched.
out = Path(tempfile.gettempdir()) / "lamina-demo"
out.mkdir(exist_ok=True)
keras.utils.plot_model(graph, out / "graph.svg", show_shapes=True, show_layer_activations=True)
to_html(graph, out / "graph.html")
print(f"\nPlotted in {out / 'graph.svg'}; interactive in {out / 'graph.html'}.")
