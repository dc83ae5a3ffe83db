"""Parsing one YAML document: a safe loader that knows ppdet's `!Class` tags and makes plain trees of bounded size."""

import re
from copy import deepcopy
from typing import Any

import yaml

from ppdet_ext.errors import UserError

from .nodes import MAX_DEPTH, MAX_NODES, PLAIN_TAGS, NodeCheck

LONGEST_NUMBER = 64
LARGEST_NUMBER = 1 << 63


class Tagged(dict):
    """Keyword arguments of a `!tag` node that has not been built yet."""

    def __init__(self, tag: str, kwargs: dict[str, Any]) -> None:
        super().__init__(kwargs)
        self.tag = tag

    def __deepcopy__(self, memo: dict) -> "Tagged":
        return Tagged(self.tag, {key: deepcopy(value, memo) for key, value in self.items()})


class ConfigLoader(yaml.SafeLoader):
    """SafeLoader plus ppdet's tags (as descriptions) and floats such as 1e-4, which YAML 1.1 takes for text.

    Dates are text here: a configuration has no use for them, `save_dir: 2024-05-01` has.
    """

    yaml_implicit_resolvers = {
        start: [(tag, pattern) for tag, pattern in resolvers if tag in PLAIN_TAGS]
        for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        if self.depth > MAX_DEPTH:
            problem = f"more than {MAX_DEPTH} lists and sections inside each other"
            raise yaml.composer.ComposerError(None, None, problem, self.peek_event().start_mark)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise yaml.composer.ComposerError(None, None, f"more than {MAX_NODES} values", self.peek_event().start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_tagged(self, suffix: str, node: yaml.Node) -> Tagged:
        if isinstance(node, yaml.MappingNode):
            return Tagged(suffix, self.construct_mapping(node, deep=True))
        if isinstance(node, yaml.ScalarNode) and node.value == "":
            return Tagged(suffix, {})
        problem = f"!{suffix} takes named arguments: !{suffix} {{name: value}}"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

    def construct_number(self, node: yaml.Node) -> Any:
        """null, true, whole numbers and fractions; an explicit tag may claim any text to be one."""
        kind = node.tag.rpartition(":")[2]
        problem = f"{str(node.value)[:40]!a} is no {kind} of at most {LONGEST_NUMBER} letters"
        try:
            short = len(node.value) <= LONGEST_NUMBER
            value = getattr(yaml.SafeLoader, f"construct_yaml_{kind}")(self, node) if short else None
        except (ValueError, KeyError, OverflowError) as error:
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error
        if not short or (isinstance(value, int) and abs(value) >= LARGEST_NUMBER):
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return value


ConfigLoader.add_multi_constructor("!", ConfigLoader.construct_tagged)
for _kind in ("bool", "int", "float"):
    ConfigLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", ConfigLoader.construct_number)
ConfigLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse(text: str, source: str) -> tuple[Any, yaml.Node | None]:
    """Value and node of one YAML document; UserError with file and line when it is not valid."""
    try:
        loader = ConfigLoader(text)
        node = loader.get_single_node()
        NodeCheck(source).check(node)
        return (None if node is None else _unshared(loader.construct_document(node))), node
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark is not None else source
        problem = str(getattr(error, "problem", None) or error).splitlines()[0][:300]
        raise UserError(f"{where}: not a valid configuration: {problem}") from error


def _unshared(value: Any) -> Any:
    """A copy in which aliases (*name) are values of their own, so that an override changes one place only."""
    if isinstance(value, dict):
        items = {key: _unshared(item) for key, item in value.items()}
        return Tagged(value.tag, items) if isinstance(value, Tagged) else items
    return [_unshared(item) for item in value] if isinstance(value, list) else value
