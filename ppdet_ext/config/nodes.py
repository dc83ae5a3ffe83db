"""What a parsed YAML document may hold before anything is made of it: text, numbers, lists and sections, of bounded size."""

import functools
import re
from collections.abc import Callable

import yaml

from ppdet_ext.errors import UserError

MAX_NODES = 20_000
MAX_DEPTH = 40
LONGEST_KEY = 200
_YAML = "tag:yaml.org,2002:"
_MERGE = f"{_YAML}merge"
PLAIN_TAGS = frozenset(f"{_YAML}{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge"))
# Parameters whose text ppdet gives to eval(), in backbones, necks and an optimizer: a name is harmless there.
EVALUATED = frozenset({"act_fn", "block_fn", "model_name", "norm_layer", "set_param_lr_func", "stage_fn"})
# Parameters from which ppdet's backbones load weights themselves, with a pickle that can run anything.
UNPICKLED = "pretrained"


class NodeCheck:
    """Checks the nodes of one document, aliases written out.

    Args:
        source: file or override, for messages.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._sizes: dict[int, tuple[int, int]] = {}

    def check(self, node: yaml.Node | None) -> None:
        """Raises UserError, with file and line, for circular or exploding aliases, other types and unusable keys."""
        if node is not None:
            self._measure(node)

    def pair(self, key: str, value: yaml.Node | None, complain: Callable[[str], Exception]) -> None:
        """Refuse values that ppdet would evaluate, or would load as a pickle."""
        if not isinstance(value, yaml.ScalarNode) or value.tag != f"{_YAML}str":
            return
        if key in EVALUATED and not re.fullmatch(r"(?!__)\w{1,40}(\.(?!__)\w{1,40})?", value.value, re.ASCII):
            raise complain(f"ppdet evaluates {key} as Python; only a name may stand there, not {value.value[:60]!a}.")
        if key == UNPICKLED:
            raise complain(
                f"ppdet would unpickle the file of {UNPICKLED!r} unchecked, which can run anything; "
                "use the top-level key pretrain_weights, which reads it as data."
            )

    def _fault(self, node: yaml.Node, text: str) -> UserError:
        return UserError(f"{self.source}:{node.start_mark.line + 1}: {text}")

    def _measure(self, node: yaml.Node) -> tuple[int, int]:
        """Number of nodes and of levels once aliases are written out ('billion laughs' are a few lines)."""
        if id(node) in self._sizes:
            if self._sizes[id(node)] == (0, 0):
                raise UserError(f"{self.source}: an alias (*name) contains itself.")
            return self._sizes[id(node)]
        self._sizes[id(node)] = (0, 0)
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        self._check_type(node)
        found = [self._measure(child) for child in children]
        size, depth = 1 + sum(size for size, _ in found), 1 + max((depth for _, depth in found), default=0)
        if size > MAX_NODES:
            raise UserError(f"{self.source}: more than {MAX_NODES} values once aliases are written out.")
        if depth > MAX_DEPTH:
            raise self._fault(node, f"more than {MAX_DEPTH} lists and sections inside each other.")
        self._sizes[id(node)] = (size, depth)
        return size, depth

    def _check_type(self, node: yaml.Node) -> None:
        if node.tag not in PLAIN_TAGS and not node.tag.startswith("!"):
            tag = ascii(node.tag.replace(_YAML, "!!"))[1:-1][:80]
            raise self._fault(
                node, f"not a valid configuration: {tag} is refused; there are text, numbers, lists and sections."
            )
        if isinstance(node, yaml.ScalarNode) and re.search("[\0\ud800-\udfff]", node.value):
            raise self._fault(node, f"not a valid configuration: {node.value[:40]!a} holds characters that no text has.")

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            if key.tag == _MERGE:
                continue
            if not isinstance(key, yaml.ScalarNode) or key.tag != f"{_YAML}str":
                shown = f"{key.value[:40]!a} is no text for YAML" if isinstance(key, yaml.ScalarNode) else "a list or section"
                raise self._fault(key, f"not a valid configuration: a key is {shown}; keys are names, write 'it' in quotes.")
            if len(key.value) > LONGEST_KEY or not key.value.isprintable():
                raise self._fault(key, f"not a valid configuration: {key.value[:40]!a} is no name of a key.")
            if key.value in seen:
                raise self._fault(key, f"key {key.value!r} is given twice; keep one of them.")
            seen.add(key.value)
            self.pair(key.value, value, functools.partial(self._fault, key))
