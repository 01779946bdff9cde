"""YAML as DVC reads and writes it, by libyaml: several times as fast as ruamel, and a file is replaced whole or not at all.

DVC reads YAML 1.2 (`off` is text, `1e-4` a number), PyYAML 1.1. Here plain values are those of 1.2, and what is written is
quoted wherever either would take a text for something else.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_NOT_12 = (":bool", ":float", ":int")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?[0-9][0-9_]*$")
_FLOAT = re.compile(
    r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


def load(text: str | bytes) -> Any:
    """The content of one document; yaml.YAMLError where it is none."""
    import yaml

    return yaml.load(text, Loader=_loader())  # noqa: S506 (a subclass of the safe one)


def dump(value: Any) -> str:
    """Block style, keys in their order. yaml.YAMLError for values that YAML has no word for."""
    import yaml

    return yaml.dump(value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=100)


@cache
def _loader() -> Any:
    import yaml

    loader: Any = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.items()
    loader.yaml_implicit_resolvers = {first: [p for p in pairs if not p[0].endswith(_NOT_12)] for first, pairs in resolvers}
    _resolve_as_12(loader)
    loader.add_constructor("tag:yaml.org,2002:int", lambda self, node: int(self.construct_scalar(node).replace("_", "")))
    return loader


@cache
def _dumper() -> Any:
    import yaml

    dumper: Any = type(
        "Dumper", (getattr(yaml, "CSafeDumper", yaml.SafeDumper),), {"ignore_aliases": lambda _self, _data: True}
    )
    dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)  # DVC's OrderedDicts, ruamel's maps
    dumper.add_multi_representer(list, yaml.SafeDumper.represent_list)
    _resolve_as_12(dumper)
    return dumper


def _resolve_as_12(reader: Any) -> None:
    reader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))
    reader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
    reader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
