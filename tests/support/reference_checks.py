"""Our numbers against the reference's: what the tests assert and what benchmarks/reference_numbers.py prints."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import reference_tolerances as tolerances
import reference_trace as trace_of
from recipe import image, projection
from reference_model import TRAIN_SIZES
from reference_subset import thin, unmatched
from reference_zoo import build

GOLDEN = Path(__file__).parents[1] / "modeling" / "golden"
SIZE = (256, 320)
CASES = [
    ("tiny_a", "rpn"),
    ("tiny_a", "fixed"),
    ("tiny_a", "padded"),
    ("tiny_b", "rpn"),
    ("tiny_c", "rpn"),
    ("tiny_c", "fixed"),
    ("tiny_cascade", "rpn"),
    ("tiny_cascade", "fixed"),
    ("tiny_mask", "rpn"),
    ("tiny_mask", "fixed"),
]


@dataclass(frozen=True)
class Check:
    """One comparison with the reference.

    Attributes:
        fixture: model and case.
        what: the quantity, under the name it has in the table.
        key: the reference's tensor.
        difference: largest absolute (or relative, or counted) difference.
        tolerance: what it may be.
        floor: what the reference's float32 differs from its float64 by, where that is known.
    """

    fixture: str
    what: str
    key: str
    difference: float
    tolerance: float
    floor: float | None = None

    @property
    def ok(self) -> bool:
        """Within tolerance; NaN is not."""
        return self.difference <= self.tolerance


@lru_cache(maxsize=4)
def summary(name: str) -> dict:
    """The reference's losses, gradients, fingerprints and noise of one model, or the file `noise`."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest absolute difference; infinite where the shapes are not the same."""
    if ours.shape != theirs.shape:
        return np.inf
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0))


def inference(name: str, case: str) -> list[Check]:
    """All stages of one image's inference. In the case "fixed" the proposals are given, else they are the model's own.

    The order of proposals is not stable in float32. So the stages are run on the reference's own proposals, whose order
    all later stages keep, and the detections are compared on ours.
    """
    want, model = dict(np.load(GOLDEN / f"{name}_{case}.npz")), build(name)
    model.eval()
    size = (250, 310) if case == "padded" else SIZE
    shape, pixels = np.array([size], np.float32), image(7, *SIZE, 1, [size])
    ours, feats = trace_of.maps(model, pixels)
    given = want.get("proposals")
    if given is None:
        ours |= trace_of.proposals(model, feats, shape)
    rois = want["s0_rois"] if given is None else np.pad(given, ((0, 0), (1, 0)))
    ours |= trace_of.box_cascade(model, feats, rois, shape)
    ours |= trace_of.mask_stages(model, feats, want["det_boxes_netscale"], want["det_labels"])
    checks = [_tensor_check(name, case, key, ours, theirs) for key, theirs in want.items() if not _is_result(key)]
    checks += fingerprint_checks(name, f"infer_{case}", ours)
    scale, origin = (1.25, [(200, 248)]) if case == "padded" else (1.0, None)
    answer = trace_of.detect(model, pixels, [size], scale, origin, given)
    return checks + detection_checks(f"{name} {case}", want, *answer[0], answer[1][0], _floors(name, case))


def _is_result(key: str) -> bool:
    return key.startswith(("det_", "masks_", "proposals"))


def _floors(name: str, case: str) -> dict:
    return summary(name)["floors"].get(f"infer_{case}", {}) | summary("noise").get(f"{name}_{case}", {})


def _tensor_check(name: str, case: str, key: str, ours: dict, theirs: np.ndarray) -> Check:
    value = ours[key.split("_ch0_")[0]]
    what, tolerance = tolerances.rule(key, name)
    if "_ch0_" in key:
        value = value[:, : int(key.rsplit("_", 1)[1])]
    if key.startswith("rpn_p"):
        apart = unmatched(value, theirs)
    else:
        same_rows = value.shape == theirs.shape  # the stages ran on the kept rows alone
        apart = distance(value if same_rows else thin(key, value, name), theirs)
    return Check(f"{name} {case}", what, key, apart, tolerance, _floors(name, case).get(key))


def fingerprint_checks(name: str, case: str, ours: dict) -> list[Check]:
    """Norm and projection of whole tensors, per √values, so that the tolerance of single values holds for them too."""
    checks = []
    for key, (count, norm, along) in summary(name)["fingerprints"].get(case, {}).items():
        flat = ours[key].astype(np.float64).ravel() if key in ours else np.zeros(0)
        if flat.size != count:
            continue  # the stages ran on some of the reference's rows
        what, tolerance = tolerances.rule(key, name)
        apart = max(abs(np.linalg.norm(flat) - norm), abs(flat @ projection(key, flat.size) - along)) / count**0.5
        checks.append(Check(f"{name} {case.removeprefix('infer_')}", what, f"whole {key}", apart, tolerance))
    return checks


def detection_checks(fixture: str, want: dict, found: object, raw: tuple, floors: dict, suffix: str = "") -> list[Check]:
    """Detections in their order, and pasted masks; `raw` are boxes, scores, labels and probabilities before pasting."""
    name = fixture.split()[0]
    labels, theirs = found.labels, want[f"det_labels{suffix}"]
    wrong = float((labels != theirs).sum()) if labels.shape == theirs.shape else np.inf
    checks = [Check(fixture, "labels in order, wrong ones", "det_labels", wrong, 0)]
    pairs = {"det_boxes": found.boxes, "det_scores": found.scores, "det_boxes_netscale": raw[0]}
    for key, ours in pairs.items():
        what, tolerance = tolerances.rule(key, name)
        checks.append(Check(fixture, what, key, distance(ours, want[key + suffix]), tolerance, floors.get(key)))
    packed = want[f"masks_mean_packed{suffix}"]
    ours = np.stack([np.packbits(mask.to_bitmap(), axis=-1) for mask in found.masks])
    differing = float(np.unpackbits(ours ^ packed).sum()) if ours.shape == packed.shape else np.inf
    floor = floors.get("masks_mean_packed")
    return [
        *checks,
        Check(fixture, "pasted masks, differing px", "masks_mean_packed", differing, tolerances.pixels(floor), floor),
    ]


def last_stage_masks() -> Check:
    """The ensemble that mmdetection 3 ships: the last stage's masks alone."""
    want, model = dict(np.load(GOLDEN / "tiny_a_rpn.npz")), build("tiny_a")
    model.eval()
    model.roi_head.mask_ensemble = "last"
    (found,), _ = trace_of.detect(model, image(7, *SIZE), [SIZE])
    ours = np.stack([np.packbits(mask.to_bitmap(), axis=-1) for mask in found.masks])
    differing = float(np.unpackbits(ours ^ want["masks_mmdet3_packed"]).sum())
    floor = _floors("tiny_a", "rpn")["masks_mmdet3_packed"]
    what = "pasted masks, differing px"
    return Check("tiny_a last stage", what, "masks_mmdet3_packed", differing, tolerances.pixels(floor), floor)


def batch_of_two() -> list[Check]:
    """Two images of different sizes, one of them padded."""
    want, model = dict(np.load(GOLDEN / "tiny_a_batch.npz")), build("tiny_a")
    floors = json.loads((GOLDEN / "tiny_a_batch.json").read_text())["floors"]
    model.eval()
    found, raw = trace_of.detect(model, image(8, *SIZE, 2, TRAIN_SIZES), TRAIN_SIZES)
    checks = []
    for b in range(2):
        own = {k[:-1]: v for k, v in floors.items() if k.endswith(str(b))}
        checks += detection_checks(f"tiny_a batch, image {b}", want, found[b], raw[b], own, str(b))
    return checks


def nothing_found() -> list[Check]:
    """An image without a detection: empty arrays of the reference's shapes."""
    want, model = dict(np.load(GOLDEN / "tiny_a_none.npz")), build("tiny_a")
    model.eval()
    model.roi_head.score_threshold = 0.999
    (found,), _ = trace_of.detect(model, image(7, *SIZE), [SIZE])
    ours = {"det_boxes": found.boxes, "det_scores": found.scores, "det_labels": found.labels}
    shapes = [ours[k].shape != want[k].shape for k in ours] + [
        (len(found.masks), found.height, found.width) != want["masks"].shape
    ]
    return [Check("tiny_a nothing found", "wrong shapes of empty results", "det_*", float(sum(shapes)), 0)]
