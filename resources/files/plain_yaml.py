"""Reader of external YAML: small plain documents without aliases, repeated keys and tags."""

import re
from pathlib import Path
from typing import Any

import yaml

from resources.errors import EmergenceError

MAX_BYTES = 1_000_000


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases (a small file can expand to gigabytes), tags and repeated keys (one would win silently)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", event.start_mark)
        if (tag := getattr(self.peek_event(), "tag", None)) is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"the tag {tag!r} is not allowed", self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

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


# YAML 1.1 asks for a dot and a sign in a float; nobody who writes 1e-3 means text.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> Any:
    """Parse one YAML document.

    Raises:
        EmergenceError: the file is unreadable, too large, nested too deep or not YAML, or it has a tag, an alias or a
            repeated key; the message names the line where it is known.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise EmergenceError(f"The file is larger than {MAX_BYTES} bytes.", where=path, remedy="give a study file")
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_PlainLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise EmergenceError(f"The file cannot be read: {error}", where=path, remedy="check path and rights") from None
    except RecursionError:
        raise EmergenceError("The file is nested too deep.", where=path, remedy="give a study file") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date, or a number that is too long
        raise EmergenceError(f"The file is not plain YAML: {error}", where=path, remedy="correct that line") from None
