"""What it is good for that a model is data: it is checked, walked, drawn, copied before it runs."""

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
print(f"Before any data: {graph.count_params()} parameters, {graph.output_shape} comes out;")
print(f"the class knows {len(subclass.weights)} weights before it has seen any.")
subclass(np.zeros((1, 7, 32), "float32"))
print(f"After a first call it has {subclass.count_params()} parameters too.\n")

# Checked: a mistake is found on the line where it is made, without data.
other = keras.Input(("pixels", 32), name="picture")
try:
    layers.add([inputs, other])
except ShapeError as error:
    print("While building:", error, sep="\n  ", end="\n\n")

# Walked: nodes and sizes, formulas included.
joined = layers.concatenate([inputs, inputs], axis=1)
print("Sizes carry names:", joined.dims, "and even formulas.")
for row in summarize(graph).rows:
    print(f"  {row.name:<8} {row.type:<12} {row.output_shapes[0]} {row.params:>6,}")

# Copied: as text, with new weights; as a clone, likewise.
text = graph.to_json()
again = keras.models.model_from_json(text)
clone = keras.models.clone_model(graph)
sample = np.ones((2, 7, 32), "float32")
clone.set_weights(graph.get_weights())
print(f"\n{len(text):,} characters of JSON make the model again: "
      f"{[layer.name for layer in again.layers]}.")  # fmt: skip
print("With the same weights the clone says the same:",
      np.array_equal(clone(sample), graph(sample)))  # fmt: skip

# Drawn: as a picture, and as a page on which nested models open and layers can be searched.
out = Path(tempfile.gettempdir()) / "lamina-demo"
out.mkdir(exist_ok=True)
keras.utils.plot_model(graph, out / "graph.svg", show_shapes=True, show_layer_activations=True)
to_html(graph, out / "graph.html")
print(f"\nDrawn in {out / 'graph.svg'}, to explore in {out / 'graph.html'}.")
