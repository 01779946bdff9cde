"""What kserve imports and no model server calls: its client of a cluster (with it kubernetes and google.auth), and pandas.

Left out, a server starts with a quarter less CPU and 60 MB less memory. kserve names pandas.DataFrame in annotations, and converts to
one only where a model wants it; ours takes tensors.
"""

from __future__ import annotations

import sys
from types import ModuleType


def spare() -> None:
    """Before kserve is imported, and only in a process that does nothing but serve."""
    for module, name in (("kserve.api.kserve_client", "KServeClient"), ("pandas", "DataFrame")):
        empty = ModuleType(module)
        setattr(empty, name, type(name, (), {}))
        sys.modules[module] = empty
