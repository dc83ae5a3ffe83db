"""report.json, opened: its numbers are COCOeval's on the files; what is wrong with files is said with the row."""

import json
from pathlib import Path

import numpy as np
import pytest
from metric_cases import Case
from report_cases import case_of, cocoeval

from ppdet_ext.data.formats.result_files import coco_results
from ppdet_ext.errors import UserError
from ppdet_ext.report.analysis import analyse
from ppdet_ext.report.files import write_numbers
from ppdet_ext.report.results import Truth, read_results


def truth_of(case: Case) -> Truth:
    return Truth(case.records, case.names, [label + 1 for label in range(case.classes)])


def write_results(case: Case, folder: Path) -> None:
    """bbox.json and mask.json, as eval.py writes them."""
    found = [(record.im_id, own) for record, own in zip(case.records, case.found)]
    rows = coco_results(found, [label + 1 for label in range(case.classes)])
    folder.mkdir(exist_ok=True)
    for name, own in zip(("bbox.json", "mask.json"), rows):
        (folder / name).write_text(json.dumps(own))


@pytest.mark.parametrize("seed", [21, 22])
def test_every_number_that_has_a_standard_is_cocoevals(seed: int, tmp_path: Path) -> None:
    case = case_of(seed, images=20)
    write_results(case, tmp_path)
    truth = truth_of(case)
    write_numbers(analyse(truth, read_results(tmp_path, truth), score=0.0), tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    for kind in ("segm", "bbox"):
        theirs = cocoeval(case, kind)
        stats = [None if value == -1 else value for value in theirs.stats.tolist()]
        assert list(report["head"]["numbers"][kind].values()) == stats
        precision, recall = theirs.eval["precision"][:, :, :, 0, 2], theirs.eval["recall"][:, :, 0, 2]
        for row in report["classes"]:
            own, k = row["numbers"][kind], row["label"]
            assert own["ap"] == pytest.approx(precision[:, :, k].mean(), abs=1e-12)
            assert own["ap50"] == pytest.approx(precision[0, :, k].mean(), abs=1e-12)
            assert own["ap75"] == pytest.approx(precision[5, :, k].mean(), abs=1e-12)
            assert own["ar"] == pytest.approx(recall[:, k].mean(), abs=1e-12)
            curve = next(one for one in report["curves"]["curves"] if (one["label"], one["kind"]) == (k, kind))
            assert curve["precision50"] == precision[0, :, k].tolist()
            assert [own["tp"], own["fp"], own["fn"]] == counts_of(theirs, k)


def counts_of(evaluation, label: int) -> list[int]:
    """Right, wrong, missed of a class at IoU .5, of all detections, by evalImgs."""
    cells = [cell for cell in evaluation.evalImgs if cell and cell["category_id"] == label + 1 and cell["aRng"][1] == 1e10]
    counts = [~cell["dtIgnore"][0].astype(bool) for cell in cells]
    right, wrong = (
        sum(int((flags & ((cell["dtMatches"][0] > 0) == hit)).sum()) for flags, cell in zip(counts, cells))
        for hit in (True, False)
    )
    return [right, wrong, sum(int((np.array(cell["gtIgnore"]) == 0).sum()) for cell in cells) - right]


def test_boxes_alone_are_reported_as_boxes(tmp_path: Path) -> None:
    case = case_of(5)
    write_results(case, tmp_path)
    (tmp_path / "mask.json").unlink()
    report = analyse(truth_of(case), read_results(tmp_path, truth_of(case)))
    assert (report.head.primary, list(report.head.numbers), report.quality) == ("bbox", ["bbox"], None)
    assert report.head.numbers["bbox"]["AP"] == pytest.approx(cocoeval(case, "bbox").stats[0], abs=1e-12)


def test_a_file_of_another_tool_with_boxes_and_masks_in_one(tmp_path: Path) -> None:
    case = case_of(6)
    write_results(case, tmp_path)
    boxes, masks = (json.loads((tmp_path / name).read_text()) for name in ("bbox.json", "mask.json"))
    one = tmp_path / "coco_instances_results.json"
    one.write_text(json.dumps([mask | {"bbox": box["bbox"]} for box, mask in zip(boxes, masks)]))
    whole = analyse(truth_of(case), read_results(tmp_path, truth_of(case))).head.numbers
    assert analyse(truth_of(case), read_results(one, truth_of(case))).head.numbers == whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_id": 12345}, "mask.json, result 2: image id 12345 is not in the data set"),
        ({"category_id": 9}, "mask.json, result 2: category id 9 is not of the data set: 1, 2, 3"),
        ({"score": None}, "mask.json, result 2: the score is None"),
        ({"segmentation": {"size": [3, 3], "counts": "9"}}, "mask.json, result 2: "),
    ],
)
def test_a_row_at_fault_is_named(change: dict, said: str, tmp_path: Path) -> None:
    case = case_of(7)
    write_results(case, tmp_path)
    rows = json.loads((tmp_path / "mask.json").read_text())
    rows[1] |= change
    (tmp_path / "mask.json").write_text(json.dumps(rows))
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        read_results(tmp_path, truth_of(case))


def test_files_that_are_none(tmp_path: Path) -> None:
    case = case_of(7)
    with pytest.raises(UserError, match="has no results"):
        read_results(tmp_path, truth_of(case))
    (tmp_path / "mask.json").write_text('{"images": []}')
    with pytest.raises(UserError, match="is no list of COCO results"):
        read_results(tmp_path, truth_of(case))
    (tmp_path / "mask.json").write_text("[{")
    with pytest.raises(UserError, match="is no complete JSON"):
        read_results(tmp_path, truth_of(case))


def test_results_of_infer_are_matched_by_the_images_names(tmp_path: Path) -> None:
    case = case_of(8)
    write_results(case, tmp_path)
    before = read_results(tmp_path, truth_of(case))
    # infer.py numbers the pictures of a folder itself.
    other = {record.im_id: place for place, record in enumerate(case.records)}
    (tmp_path / "images.json").write_text(
        json.dumps([{"id": other[record.im_id], "file_name": record.name} for record in case.records])
    )
    for name in ("mask.json", "bbox.json"):
        rows = json.loads((tmp_path / name).read_text())
        (tmp_path / name).write_text(json.dumps([row | {"image_id": other[row["image_id"]]} for row in rows]))
    after = read_results(tmp_path, truth_of(case))
    assert {im_id: own.masks for im_id, own in after.items()} == {im_id: own.masks for im_id, own in before.items()}
