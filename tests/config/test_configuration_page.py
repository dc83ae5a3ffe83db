"""docs/configuration.md has the table of keys as it is, and its Python runs."""

import re
from pathlib import Path

import pytest

from ppdet_ext.config.keys import READERS, REQUIRED, SECTION, TABLE, UNSET, Decides, Entries, Key
from ppdet_ext.config.types import expected


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "configuration.md").read_text()


def row(name: str, key: Key) -> str:
    """The row of a key. To mend the page, copy what the test expects."""
    shown = {REQUIRED: "required", UNSET: ""}
    default = shown.get(key.default) if key.default in (REQUIRED, UNSET) else f"`{_yaml(key.default)}`"
    if isinstance(key.kind, Entries):
        kind = f"list of {key.kind.kind}s"
    else:
        kind = "section" if key.kind is SECTION else expected(object(), key.kind)
    span = "" if key.least is None else f"≥ {key.least}" + ("" if key.below is None else f", < {key.below}")
    decided = [one.name.lower() for one in (Decides.TRAINING, Decides.CANDIDATES, Decides.RESULT) if one in key.decides]
    return f"| `{name}` | {kind} | {default} | {span} | {', '.join(decided) or 'nothing'} | {key.about} |"


def _yaml(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_the_table_of_the_page_is_the_table_of_keys(page: str) -> None:
    found = re.findall(r"^\| `.*$", page, re.M)
    assert found == [row(name, key) for name, key in TABLE.items()]
    assert set(READERS) <= set(TABLE)
    assert [name for name, key in TABLE.items() if not key.about] == []


def test_its_python_runs(page: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M)
    found: dict = {}
    exec(program, found)
    widths = [model.roi_head.box_heads[0].classify.weight.shape[0] for model in found["models"]]
    assert widths == [64, 256, 64]
    assert (found["strict"].HTCRoIHead["score_threshold"], found["wide"].HTCRoIHead["score_threshold"]) == (0.5, 0.001)
