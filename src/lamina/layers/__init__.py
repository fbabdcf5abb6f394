"""Every layer, by name."""

from lamina.layers import scaling as scaling  # which files of architectures refer to
from lamina.layers.activation import *  # noqa: F403
from lamina.layers.attention import *  # noqa: F403
from lamina.layers.attention_unprojected import *  # noqa: F403
from lamina.layers.base import InputSpec as InputSpec
from lamina.layers.base import Layer as Layer
from lamina.layers.bidirectional import *  # noqa: F403
from lamina.layers.convolution import *  # noqa: F403
from lamina.layers.convolution_recurrent import *  # noqa: F403
from lamina.layers.core import *  # noqa: F403
from lamina.layers.einsum import *  # noqa: F403
from lamina.layers.functions import *  # noqa: F403
from lamina.layers.image import *  # noqa: F403
from lamina.layers.lookup import *  # noqa: F403
from lamina.layers.merging import *  # noqa: F403
from lamina.layers.normalization import *  # noqa: F403
from lamina.layers.pooling import *  # noqa: F403
from lamina.layers.preprocessing import *  # noqa: F403
from lamina.layers.recurrent import *  # noqa: F403
from lamina.layers.recurrent_cells import *  # noqa: F403
from lamina.layers.regularization import *  # noqa: F403
from lamina.layers.reshaping import *  # noqa: F403
from lamina.layers.reversible_embedding import *  # noqa: F403
from lamina.layers.spatial import *  # noqa: F403
from lamina.layers.wrappers import *  # noqa: F403
