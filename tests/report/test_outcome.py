"""Pictures, words, curves and files: what a report shows of the numbers."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from report_cases import case_of

from ppdet_ext.evaluation import SeverstalDice
from ppdet_ext.report.analysis import Origin, analyse
from ppdet_ext.report.files import classes_csv, export_faults, faults_csv, write_numbers
from ppdet_ext.report.results import Truth
from ppdet_ext.report.run_curves import POINTS, run_curves
from ppdet_ext.report.schema import Report
from ppdet_ext.report.words import _errors
from ppdet_ext.structures import Detections, Record, Rle


def made_of(seed: int = 1, **options: object) -> tuple[Report, list[Record], dict[int, Detections]]:
    case = case_of(seed, images=16, classes=3)
    found = {record.im_id: own for record, own in zip(case.records, case.found)}
    return analyse(Truth(case.records, case.names, [1, 2, 3]), found, **options), case.records, found


@pytest.mark.parametrize("score", [None, 0.0, 0.7])
def test_examples_are_of_the_objects_that_they_are_about(score: float | None) -> None:
    report, records, found = made_of(score=score)
    pictures = {one.image: one for one in report.pictures.images}
    assert len(pictures) == len(report.pictures.images)
    seen = set()
    for group in report.pictures.groups:
        assert 0 < len(group.examples) <= min(group.total, 12)
        for example in group.examples:
            one = None if example.object is None else pictures[example.image].objects[example.object]
            if group.key == "misses" or (group.key, group.detail) == ("errors", "missed"):
                assert (one.source, one.verdict) == ("truth", "fn")
            elif group.key in ("false_positives", "errors"):
                assert (one.source, one.verdict) == ("found", "fp")
            elif (group.key, group.detail) == ("label_errors", "badly_drawn"):
                assert (one.source, one.verdict) == ("found", "tp")
                assert one.iou < 0.6
            if group.label is not None:
                assert one.label == group.label
            seen.add(group.key)
    assert seen >= {"worst", "false_positives", "misses", "confusion", "errors"}
    for picture in report.pictures.images:
        record, own = next(one for one in records if one.im_id == picture.image), found[picture.image]
        shown = [one for one in picture.objects if one.source == "found" and one.score >= report.head.score]
        assert len(shown) == int((own.scores.astype(float) >= report.head.score).sum())
        assert [one.label for one in picture.objects if one.source == "truth"] == record.labels.tolist()
        assert [one.verdict for one in shown].count("tp") == picture.tp
        masks = [Rle.from_coco(one.mask) for one in picture.objects]
        assert masks[: len(record.masks)] == list(record.masks)


def test_no_pictures_are_none() -> None:
    report, _, _ = made_of(examples=0)
    assert (report.pictures.images, report.pictures.groups) == ([], [])


def test_the_report_in_words_is_about_its_numbers() -> None:
    report, _, _ = made_of(metrics=[SeverstalDice()], others={"nothing": {}})
    said = {one.section: one.text for one in report.words}
    assert list(said) == ["classes", "errors", "curves", "calibration", "label_errors", "competition", "compare"]
    weakest = min(report.classes, key=lambda row: row.numbers["segm"].ap)
    assert said["classes"].startswith(f"The weakest class is {weakest.name}: mask AP {weakest.numbers['segm'].ap:.3f}")
    worst = max(report.errors.kinds, key=lambda kind: kind.delta_ap50)
    assert worst.title in said["errors"]
    assert f"{report.errors.ap50 + worst.delta_ap50:.3f}" in said["errors"]
    assert f"a score of {report.head.score:.2f}: {report.head.f1:.3f}" in said["curves"]
    assert str(sum(report.label_errors.counts.values())) in said["label_errors"]
    assert said["compare"].startswith("nothing is ")
    assert f"SeverstalDice is {report.competition[0].value:.4f}" in said["competition"]


def test_words_of_nothing_right_do_not_praise_a_score() -> None:
    case = case_of(1, images=4)
    truth = Truth(case.records, case.names, [1, 2, 3])
    said = {one.section: one.text for one in analyse(truth, {}).words}
    assert said["curves"] == "At the score of 0.50 no detection is right: no score is better than another."
    assert said["calibration"] == "Too little was found to tell whether scores can be trusted."


def test_words_of_a_model_that_learnt_nothing_say_that_alone() -> None:
    case = case_of(1, images=4)
    corner, score, label = np.array([[0, 0, 1, 1]], np.float32), np.array([0.5], np.float32), np.array([0])
    found = {
        one.im_id: Detections(one.height, one.width, corner, score, label, [Rle.full(1, 1).place(0, 0, one.height, one.width)])
        for one in case.records
    }
    (said,) = analyse(Truth(case.records, case.names, [1, 2, 3]), found).words
    assert said.text == "The model has learnt next to nothing: its mask AP50 is 0.000. Train longer."


def test_words_tell_what_is_missed_and_which_way_scores_are_wrong() -> None:
    report, _, _ = made_of(score=0.7)
    said = {one.section: one.text for one in report.words}
    missed = {row.name: row.numbers["segm"].fn for row in report.classes}
    most = max(missed, key=missed.__getitem__)
    total = f"At the score of 0.70, {sum(missed.values())} of {report.head.instances} objects are missed"
    assert said["errors"].endswith(f" {total}, {missed[most]} of them {most}.")
    (named,) = [kind for kind in report.errors.kinds if f"“{kind.title}”" in said["errors"]]
    assert named.count
    worst = report.calibration.bins[report.calibration.worst]
    assert ("too low" if worst.accuracy > worst.confidence else "too high") in said["calibration"]


def test_no_error_is_named_that_has_no_case_at_the_score() -> None:
    report, _, _ = made_of(score=0.7)
    kinds = [replace(kind, count=0) for kind in report.errors.kinds]
    text = _errors(report.head, report.classes, replace(report.errors, kinds=kinds))
    assert "no kind of error that occurs at the score below costs any of it alone. At the score" in text


def test_tables_for_spreadsheets_take_no_name_for_a_formula() -> None:
    report, _, _ = made_of()
    names = ["=1+1", *report.head.class_names[1:]]
    head = replace(report.head, class_names=names)
    rows = [replace(row, name=name) for row, name in zip(report.classes, names)]
    odd = replace(report, head=head, classes=rows)
    table = list(csv.DictReader(io.StringIO(classes_csv(odd))))
    assert table[0]["class"] == "'=1+1"
    assert float(table[1]["mask_ap50"]) == report.classes[1].numbers["segm"].ap50
    assert len(list(csv.DictReader(io.StringIO(faults_csv(odd))))) == len(report.label_errors.entries)


def test_likely_faults_go_to_label_tools_as_proposals(tmp_path: Path) -> None:
    report, records, found = made_of()
    entries = [one for one in report.label_errors.entries if one.score is not None]
    assert entries
    files = export_faults(report, records, found, tmp_path)
    assert {path.parent.name for path in files} == {"cvat", "label_studio"}
    shapes = ElementTree.parse(tmp_path / "label_errors" / "cvat" / "annotations.xml").findall(".//mask")
    tasks = json.loads((tmp_path / "label_errors" / "label_studio" / "tasks.json").read_text())
    results = [result for task in tasks for prediction in task["predictions"] for result in prediction["result"]]
    assert len(shapes) == len(results) == len({(one.image, one.label, one.score, *one.box) for one in entries})
    assert all(prediction["model_version"] == "report" for task in tasks for prediction in task["predictions"])


def test_files_are_the_same_again(tmp_path: Path) -> None:
    report, _, _ = made_of(origin=Origin(title="a run"))
    first, second = ({path.name: path.read_bytes() for path in write_numbers(report, tmp_path / name)} for name in "ab")
    assert first == second
    assert set(first) == {"report.json", "report.csv", "label_errors.csv"}


def test_curves_of_a_run_are_its_record(tmp_path: Path) -> None:
    lines = [
        {"kind": "train", "epoch": epoch, "step": step, "learning_rate": 0.1, "losses": {"loss": 1 / (epoch * 900 + step + 1)}}
        for epoch in range(2)
        for step in range(900)
    ]
    for epoch, ap in enumerate((0.2, 0.1)):
        named = {"bbox": {"AP": 0.5 + epoch}, "segm": {"AP": ap, "AP_large": -1}}
        lines.append({"kind": "eval", "epoch": epoch, "bbox": [0.5 + epoch] * 12, "segm": [ap] * 12, "named": named})
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '\n{"kind": "train", "epoch": 2, "los')
    curves = run_curves(tmp_path)
    assert curves is not None
    assert POINTS / 2 < len(curves.epochs) <= POINTS + 1
    assert curves.epochs[-1] == 2
    assert curves.losses["loss"][-1] == pytest.approx(1 / 1800)
    assert (curves.best_epoch, curves.best_metric) == (0, "mask AP")
    assert curves.evaluations[1].numbers == {"bbox": {"AP": 1.5}, "segm": {"AP": 0.1, "AP_large": None}}
    assert run_curves(tmp_path / "none") is None


def test_a_loss_that_is_no_number_leaves_a_gap(tmp_path: Path) -> None:
    line = {"kind": "train", "epoch": 0, "step": 0, "learning_rate": 0.1, "losses": {"loss": math.nan}}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line))
    assert run_curves(tmp_path).losses == {"loss": [None]}
