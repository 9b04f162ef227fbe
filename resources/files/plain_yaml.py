"""Reader of external YAML: small plain documents without aliases, repeated keys and tags."""

import re
from pathlib import Path
from typing import Any

import yaml

from resources.errors import EmergenceError

MAX_BYTES = 1_000_000
MAX_VALUES = 50_000
"""Most keys and values of a document; as many take one second."""
MAX_DEPTH = 50
"""Most lists and mappings inside each other."""
MAX_DIGITS = 400
"""Most characters of a number; a double has up to 309 digits before its point."""


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases (a small file can expand to gigabytes), tags and repeated keys (one would win silently).

    Also refuses more values, depth and digits than `MAX_VALUES`, `MAX_DEPTH` and `MAX_DIGITS`.
    """

    def __init__(self, stream: Any):
        super().__init__(stream)
        self._n_values = self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._n_values += 1
        if self._n_values > MAX_VALUES:
            what = f"there are more than {MAX_VALUES} keys and values"
            raise yaml.constructor.ConstructorError(None, None, what, self.peek_event().start_mark)
        if self._depth > MAX_DEPTH:
            what = f"it is nested too deep: more than {MAX_DEPTH} lists and mappings inside each other"
            raise yaml.constructor.ConstructorError(None, None, what, self.peek_event().start_mark)
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", event.start_mark)
        if (tag := getattr(self.peek_event(), "tag", None)) is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"the tag {tag!r} is not allowed", self.peek_event().start_mark
            )
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        # Before any arithmetic: YAML also has numbers in base 60, which take time with the square of their length.
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and len(node.value) > MAX_DIGITS:
            what = f"a number has more than {MAX_DIGITS} digits"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
        return super().construct_object(node, deep)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is not plain text", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)  # pyright: ignore[reportUnknownMemberType]
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is repeated", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
# YAML 1.1 asks for a dot and a sign in a float; nobody who writes 1e-3 means text.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> Any:
    """Parse one YAML document.

    Raises:
        EmergenceError: the file is unreadable or not YAML, it exceeds a limit of this module, or it has a tag, an alias
            or a repeated key; the message names the line where it is known.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise EmergenceError(f"The file is larger than {MAX_BYTES} bytes.", where=path, remedy="give a study file")
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise EmergenceError(f"The file cannot be read: {error}", where=path, remedy="check path and rights") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # not from yaml: an impossible date or number
        raise EmergenceError(f"The file is not plain YAML: {error}", where=path, remedy="correct that line") from None
