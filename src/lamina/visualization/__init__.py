"""Pictures of models: tables of layers, drawings of graphs."""

from lamina.visualization.summary import ModelSummary as ModelSummary
from lamina.visualization.summary import Row as Row
from lamina.visualization.summary import Weights as Weights
from lamina.visualization.summary import print_summary as print_summary
from lamina.visualization.summary import summarize as summarize
