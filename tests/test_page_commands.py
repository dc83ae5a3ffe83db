"""What the pages tell people to type is right: commands, flags, configurations, keys; YAML and Python that can be read."""

import ast
import contextlib
import doctest
import importlib
import importlib.util
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from page_commands import PAGES, Block, Said, blocks, commands, of_shell

import ppdet_ext.register  # noqa: F401 - makes all parts known
from ppdet_ext.commands.main import COMMANDS
from ppdet_ext.config.arguments import parameters_of
from ppdet_ext.config.keys import TABLE
from ppdet_ext.config.load import load_config
from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import KINDS, METRICS, SECTIONS, modules, tags

ROOT = Path(__file__).resolve().parents[1]
SAID = list(commands())
BLOCKS = list(blocks())
LAUNCHER = ("python", "-m", "paddle.distributed.launch")
# Written by the reader, in the folder that git ignores.
READERS_OWN = re.compile(r"configs/\w+\.yml|(?!configs/).*")


def tool_of(said: Said) -> tuple[str, list[str]] | None:
    """(name of the command, its words), of `python tools/NAME.py`, `ppdet-ext NAME`, or either behind Paddle's launcher."""
    words = list(said.words)
    if tuple(words[:3]) == LAUNCHER:
        words = words[3:]
        words = words[next((at for at, word in enumerate(words) if word.startswith("tools/")), len(words)) :]
    words = words[1:] if words[:1] in (["python"], ["ppdet-ext"]) else words
    if words and (found := re.fullmatch(r"(?:tools/)?(\w+?)(?:\.py)?", words[0])):
        return (found[1], words[1:]) if words[0].startswith("tools/") or said.words[0] == "ppdet-ext" else None
    return None


TOOLS = [(said, *tool) for said in SAID if (tool := tool_of(said))]


def parsed(name: str, words: list[str]) -> tuple[Any, str]:
    """(flags, "") or (None, what is wrong)."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            return COMMANDS[name].parser(f"{name}.py").parse_args(words), ""
        except SystemExit as end:
            return None, said.getvalue() if end.code else ""


def test_there_are_many() -> None:
    assert len(TOOLS) > 150
    assert sum(not said.open for said, _, _ in TOOLS) > 80
    assert {"train", "eval", "infer", "submit", "tune", "kfold", "import_labels", "export"} <= {name for _, name, _ in TOOLS}


def test_commands_and_their_flags_exist() -> None:
    wrong = []
    for said, name, words in TOOLS:
        if "|" in name:
            continue
        if name not in COMMANDS:
            wrong.append(f"{said}: no command")
        elif said.open:
            known = COMMANDS[name].parser(f"{name}.py")._option_string_actions
            wrong += [
                f"{said}: no {word}" for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known
            ]
        elif fault := parsed(name, words)[1]:
            wrong.append(f"{said}: {fault.splitlines()[-1]}")
    assert wrong == []


def complete() -> Iterator[tuple[Said, str, Any]]:
    """(command of a page, its name, its flags) of all that are whole."""
    for said, name, words in TOOLS:
        if not said.open and name in COMMANDS and (flags := parsed(name, words)[0]):
            yield said, name, flags


def test_files_that_commands_name_exist() -> None:
    wrong = []
    for said, _, flags in complete():
        files = [getattr(flags, key, None) for key in ("config", "postprocess")]
        wrong += [
            f"{said}: no {file}" for file in files if file and not READERS_OWN.fullmatch(file) and not (ROOT / file).is_file()
        ]
        form = getattr(flags, "format", None)
        if said.words[1:2] == ("tools/submit.py",) and form:
            wrong += [] if (ROOT / "configs" / "submissions" / f"{form}.yml").is_file() else [f"{said}: no format {form}"]
        names = getattr(flags, "metric", None) or []
        wrong += [f"{said}: no metric {name}" for name in ([names] if isinstance(names, str) else names) if name not in METRICS]
    assert wrong == []


def test_keys_that_commands_change_exist() -> None:
    """The configuration is read with them, and checked as a command checks it."""
    pairs = {(flags.config, tuple(flags.opt)) for _, _, flags in complete() if getattr(flags, "opt", None) and flags.config}
    pairs = {(file, opts) for file, opts in pairs if not READERS_OWN.fullmatch(file)}
    assert len(pairs) > 20
    for file, opts in sorted(pairs):
        load_config(ROOT / file, list(opts))


def test_scripts_modules_targets_and_requirements_exist() -> None:
    targets = set(re.findall(r"^([\w-]+)(?: [\w-]+)*:", (ROOT / "Makefile").read_text(), re.M))
    targets |= {
        name for line in re.findall(r"^([\w -]+):(?!=)", (ROOT / "Makefile").read_text(), re.M) for name in line.split()
    }
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text().split("optional-dependencies]")[1], re.M))
    wrong = []
    for said in SAID:
        words = list(said.words)
        paths = [word for word in words if re.match(r"(benchmarks|docs|tests|tools)/[\w/]+\.py$", word)]
        paths += [word for before, word in zip(words, words[1:]) if before == "-r" and words[0] == "pip"]
        wrong += [f"{said}: no {path}" for path in paths if not (ROOT / path).is_file()]
        if words[:1] == ["make"]:
            wrong += [f"{said}: no target {word}" for word in words[1:] if word not in targets]
        if words[:2] == ["python", "-m"] and words[2].startswith("ppdet_ext"):
            wrong += [] if importlib.util.find_spec(words[2]) else [f"{said}: no such module"]
        if words[:2] == ["pip", "install"]:
            asked = {extra for word in words for group in re.findall(r"\[([\w,]+)\]$", word) for extra in group.split(",")}
            wrong += [f"{said}: no extra {extra}" for extra in asked - extras]
    assert wrong == []


def test_flags_of_other_scripts_exist() -> None:
    wrong = []
    for said in SAID:
        for word in said.words:
            if re.match(r"(benchmarks|docs)/[\w/]+\.py$", word):
                text = (ROOT / word).read_text(encoding="utf-8")
                wrong += [f"{said}: no {flag}" for flag in said.words if flag.startswith("--") and f'"{flag}"' not in text]
    assert wrong == []


def known_sections() -> set[str]:
    """All that may stand at the top of a configuration."""
    return (
        set(TABLE)
        | set(modules())
        | set(METRICS)
        | set(SECTIONS)
        | {name for kind in KINDS.values() for name in kind}
        | {"_BASE_"}
    )


class Lenient(yaml.SafeLoader):
    """Takes `!Class` nodes as what they hold."""


def _untagged(loader: yaml.Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else node.value


Lenient.add_multi_constructor("!", _untagged)


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == "yaml"], ids=lambda block: block.page)
def test_yaml_can_be_read_and_its_sections_exist(block: Block) -> None:
    own_parts = "plugins" in block.page + block.text
    for name in re.findall(r"!(\w+)", block.text):
        assert name in tags() or own_parts, name
    found = yaml.load(block.text, Lenient)
    for key in found if isinstance(found, dict) else ():
        assert not key[0].isupper() or key in known_sections() or own_parts, key


PROGRAMS = [block for block in BLOCKS if block.language == "python"]


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.page)
def test_python_compiles_and_what_it_imports_is_there(block: Block) -> None:
    text = block.text
    if text.lstrip().startswith(">>>"):
        text = "\n".join(example.source for example in doctest.DocTestParser().get_examples(text))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ppdet_ext"):
            module = importlib.import_module(node.module)
            for name in node.names:
                there = hasattr(module, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}")
                assert there, f"{node.module} has no {name.name}"
        elif isinstance(node, ast.Import):
            assert all(importlib.util.find_spec(name.name) for name in node.names if name.name.startswith("ppdet_ext"))


def parameter_names(cls: type) -> set[str]:
    return set(parameters_of(cls)[0]) | set(dir(cls))


def test_keys_in_sentences_exist() -> None:
    """`Section.key`, of sections that are classes."""
    classes = {name: cls for kind in KINDS.values() for name, cls in kind.items()} | SECTIONS
    classes |= {name: cls for name, schema in modules().items() if (cls := getattr(schema.pymodule, name, None))}
    wrong, seen = [], 0
    for page in PAGES:
        # What a program prints may be of a misspelt key.
        text = page.read_text(encoding="utf-8")
        for block in BLOCKS:
            text = text if block.language else text.replace(block.text, "")
        for section, key in re.findall(r"\b([A-Z]\w+)\.([a-z_]\w*)", text):
            if section in classes and section not in TABLE:
                seen += 1
                wrong += [] if key in parameter_names(classes[section]) else [f"{page.name}: {section} has no {key}"]
    assert wrong == []
    assert seen > 25


def test_what_is_wrong_is_noticed() -> None:
    assert "--evil" in parsed("train", ["--evil"])[1]
    assert parsed("train", ["--eval"])[1] == ""
    with pytest.raises(UserError, match="with_maks"):
        load_config(ROOT / "configs/htc/steel_sample.yml", ["HTCRoIHead.with_maks=false"])
    page = ROOT / "a.md"
    text = (
        "C=x.yml\npython tools/train.py -c $C \\\n  -o a=1 # why\nfor s in 1 2; do python tools/eval.py -c ${C%.yml}_$s; done"
    )
    found = list(of_shell(page.name, text))
    assert found[0] == Said("a.md", ("python", "tools/train.py", "-c", "x.yml", "-o", "a=1"), False)
    assert Said("a.md", ("python", "tools/eval.py", "-c"), True) in found
