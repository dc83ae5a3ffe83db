"""report.json: what is written is read back; what is none is said."""

import json
from pathlib import Path

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.report.json_file import read_report, report_text

EXAMPLE = Path(__file__).parent / "example_report.json"


def test_a_report_is_read_as_it_was_written() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert report_text(read_report(EXAMPLE)) == text


def test_a_report_from_before_the_trained_part_was_named_is_read(tmp_path: Path) -> None:
    content = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    del content["head"]["trained_on"]
    (tmp_path / "report.json").write_text(json.dumps(content))
    assert read_report(tmp_path / "report.json").head.trained_on == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [("[]", "is no report.json"), ('{"version": 1}', "is no report.json"), ("{", "no report.json"), ('{"version": 99}', "99")],
)
def test_what_is_no_report_is_said(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(UserError, match=said):
        read_report(tmp_path / "report.json")


def test_numbers_that_json_has_not_are_refused(tmp_path: Path) -> None:
    content = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    content["head"]["score"] = float("nan")
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="not JSON compliant"):
        report_text(read_report(tmp_path / "report.json"))
