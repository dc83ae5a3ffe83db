"""The plan of the house, as CONTRIBUTING.md draws it: who may import whom, and how long a file and a function may be."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the ground up: a room imports only from those before it.
ROOMS = (
    *("errors", "environment", "registry", "progress", "files", "structures", "drawing", "pages"),
    *("distributed", "host"),
    *("modeling.ops", "modeling.backbones", "modeling.detection", "modeling.segmentation", "config"),
    *("data.problems", "data.images", "data.formats", "data.labels", "data.transforms", "data.splits", "data.datasets"),
    *("data.synthetic", "data.loading", "postprocess", "runtime", "weights", "checkpoint", "inference", "export"),
    *("evaluation", "submission", "training", "tuning", "report", "viewer"),
    *("starter", "explore", "register", "commands", "api", "check_gpu"),
)
HOST_ROOMS = ("host", "modeling")
LONGEST_FILE, LONGEST_FUNCTION = 300, 40

FILES = sorted((ROOT / "ppdet_ext").rglob("*.py"))


def module_of(file: Path) -> str:
    """ppdet_ext/data/__init__.py -> ppdet_ext.data"""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imported_by(file: Path) -> Iterator[str]:
    """Names of our modules that a file imports: on top, in functions, and for types alone."""
    package = module_of(file) if file.name == "__init__.py" else module_of(file).rpartition(".")[0]
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = (
                ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])]) if node.level else node.module
            )
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield from (name for name in ([whole] if whole in MODULES else [base]) if name in MODULES)


def room_of(module: str) -> str | None:
    """ppdet_ext.data.loading.build -> data.loading; None for faces of several rooms (ppdet_ext, ppdet_ext.data)."""
    parts = module.split(".")[1:]
    return next((room for room in (".".join(parts[:2]), ".".join(parts[:1])) if room in ROOMS), None)


def test_every_file_is_in_a_room_of_the_plan() -> None:
    # Faces of several rooms, and the earlier name of a command.
    faces = {"ppdet_ext", "ppdet_ext.data", "ppdet_ext.modeling", "ppdet_ext.data.sample"}
    assert {module for module in MODULES if room_of(module) is None} == faces


def test_no_arrow_goes_up() -> None:
    arrows = set()
    for file in FILES:
        room = room_of(module_of(file))
        for target in imported_by(file):
            other = room_of(target)
            if room and other and ROOMS.index(other) > ROOMS.index(room):
                arrows.add(f"{module_of(file)} -> {target}")
    assert sorted(arrows) == []


def test_no_files_import_each_other() -> None:
    graph = {module_of(file): set(imported_by(file)) - {module_of(file)} for file in FILES}

    def reached(start: str) -> set[str]:
        seen, stack = set(), list(graph[start])
        while stack:
            module = stack.pop()
            if module not in seen:
                seen.add(module)
                stack.extend(graph[module])
        return seen

    assert [module for module in graph if module in reached(module)] == []


def test_only_the_rooms_of_the_host_mention_ppdet() -> None:
    found = set()
    for file in FILES:
        if module_of(file).split(".")[1:2] in ([room] for room in HOST_ROOMS):
            continue
        for node in ast.walk(tree_of(file)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [node.id] if isinstance(node, ast.Name) else []
            found |= {module_of(file) for name in names if name.split(".")[0] == "ppdet"}
    assert sorted(found) == []


def test_files_and_functions_are_short() -> None:
    long_files, long_functions = set(), set()
    for file in FILES:
        if len(file.read_text(encoding="utf-8").splitlines()) > LONGEST_FILE:
            long_files.add(module_of(file))
        for node in ast.walk(tree_of(file)):
            # Without the list of arguments, which may be one a line.
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.body[0].lineno + 1 > LONGEST_FUNCTION:
                long_functions.add(f"{module_of(file)}.{node.name}")
    assert sorted(long_files) == []
    assert sorted(long_functions) == []


def test_every_file_says_what_it_is() -> None:
    assert [module for module, file in MODULES.items() if not ast.get_docstring(tree_of(file))] == []


def test_the_map_shows_the_rooms_in_their_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## The map")[1].split("\n## ")[0]
    shown = [name.rstrip("/").replace("/", ".").removesuffix(".py") for name in re.findall(r"^\| `([\w/.]+)` \|", text, re.M)]
    assert tuple(shown) == ROOMS


def test_slow_tests_are_there() -> None:
    text = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^SLOW = \((.*?)^\)", text, re.M | re.S)
    for name in re.findall(r'"([^"]+)"', listed):
        file, _, test = name.partition("::")
        assert (ROOT / "tests" / file).exists(), name
        assert not test or f"def {test}" in (ROOT / "tests" / file).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("fault", ["from ppdet_ext.commands import cli", "def f():\n    from ppdet_ext.commands import cli"])
def test_the_walk_sees_imports_wherever_they_stand(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ppdet_ext" / "files" / "x.py"
    file.parent.mkdir(parents=True)
    file.write_text(fault)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert list(imported_by(file)) == ["ppdet_ext.commands.cli"]
