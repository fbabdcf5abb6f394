"""Training on several devices: meshes, layouts of arrays, and what decides them.

The names are those of Keras, with :class:`Sharded` and :func:`tensor_rules` added. In most programs
one word is enough: ``model.compile(..., distribution="fsdp")``.
"""

from lamina.distribution.layouts import (
    DeviceMesh as DeviceMesh,
)
from lamina.distribution.layouts import (
    LayoutMap as LayoutMap,
)
from lamina.distribution.layouts import (
    TensorLayout as TensorLayout,
)
from lamina.distribution.layouts import (
    distribute_tensor as distribute_tensor,
)
from lamina.distribution.processes import (
    get_device_count as get_device_count,
)
from lamina.distribution.processes import (
    initialize as initialize,
)
from lamina.distribution.processes import (
    list_devices as list_devices,
)
from lamina.distribution.rules import tensor_rules as tensor_rules
from lamina.distribution.strategies import (
    DataParallel as DataParallel,
)
from lamina.distribution.strategies import (
    Distribution as Distribution,
)
from lamina.distribution.strategies import (
    ModelParallel as ModelParallel,
)
from lamina.distribution.strategies import (
    Sharded as Sharded,
)
from lamina.distribution.strategies import (
    distribution as distribution,
)
from lamina.distribution.strategies import (
    set_distribution as set_distribution,
)
