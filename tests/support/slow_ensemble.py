"""The ensemble's scheme once more, written with loops over boxes and views; features of all views at once."""

import numpy as np
from view_cases import batch_of


def slow_ensemble(members: list, sample) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, scores, labels and mask probabilities of what is found, best first, of `Member`s."""
    looks = [look(member, sample, k) for member in members for k in range(len(member.views))]
    proposals = merged_proposals(looks, members[0].model.rpn_head)
    weights = [one["weight"] for one in looks]
    outputs = [cascade(one, proposals) for one in looks]
    classes = members[0].model.roi_head.num_classes
    boxes, scores = np.zeros((len(proposals), classes, 4)), np.zeros((len(proposals), classes))
    for i in range(len(proposals)):
        for c in range(classes):
            scores[i, c] = np.average([s[i][c] for _, s in outputs], weights=weights)
            boxes[i, c] = np.average([b[i][c] for b, _ in outputs], axis=0, weights=weights)
    found = best(boxes, scores, members[0].model.roi_head)
    labels = np.array([c for _, _, c in found])
    chosen = np.array([boxes[i, c] for _, i, c in found])
    probs = np.average([masks(one, chosen, labels) for one in looks], axis=0, weights=weights)
    return chosen, np.array([score for score, _, _ in found]), labels, probs


def look(member, sample, k: int) -> dict:
    batch, (_, frame) = batch_of(sample, member.views, k), member.views.render(sample, k)
    height, width = batch["im_shape"][0]
    return {
        "model": member.model,
        "weight": member.weight,
        "feats": member.model.neck(member.model.backbone(batch)),
        "shape": batch["im_shape"],
        "flips": (frame.horizontal, frame.vertical),
        "size": (width, height),
        "ratio": (width / sample.original_size[1], height / sample.original_size[0]),
    }


def into(one: dict, box) -> list[float]:
    """A box of the picture in the view."""
    out = [0.0] * 4
    for axis in (0, 1):
        low, high = box[axis] * one["ratio"][axis], box[axis + 2] * one["ratio"][axis]
        if one["flips"][axis]:
            low, high = one["size"][axis] - high, one["size"][axis] - low
        out[axis], out[axis + 2] = low, high
    return out


def back(one: dict, box) -> list[float]:
    """A box of the view in the picture."""
    out = [0.0] * 4
    for axis in (0, 1):
        low, high = float(box[axis]), float(box[axis + 2])
        if one["flips"][axis]:
            low, high = one["size"][axis] - high, one["size"][axis] - low
        out[axis], out[axis + 2] = low / one["ratio"][axis], high / one["ratio"][axis]
    return out


def overlap(a, b) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def merged_proposals(looks: list[dict], first) -> list:
    """NMS between views, best first, no more than the first member's RPN gives by itself."""
    pool = []
    for number, one in enumerate(looks):
        rpn = one["model"].rpn_head
        boxes, scores = rpn.scored_proposals(*rpn(one["feats"]), one["shape"])[0]
        pool += [(float(score), number, back(one, box)) for box, score in zip(boxes, scores)]
    kept: list = []
    for _, number, box in sorted(pool, key=lambda item: -item[0]):
        if all(other == number or overlap(box, chosen) <= first.nms_iou for other, chosen in kept):
            kept.append((number, box))
        if len(kept) == first.limits[False][1]:
            break
    return [box for _, box in kept]


def cascade(one: dict, proposals: list) -> tuple[list, np.ndarray]:
    head = one["model"].roi_head
    given = np.array([into(one, box) for box in proposals], np.float32)
    boxes, scores = head.cascade(head.features(one["feats"])[0], [given], one["shape"])
    own = boxes[0] if boxes[0].ndim == 3 else [[box] * head.num_classes for box in boxes[0]]
    return [[back(one, box) for box in of_class] for of_class in own], scores[0]


def best(boxes: np.ndarray, scores: np.ndarray, head) -> list[tuple[float, int, int]]:
    """(score, row, class) of the objects, by NMS of each class."""
    found = []
    for c in range(scores.shape[1]):
        kept: list[int] = []
        for i in sorted(range(len(scores)), key=lambda i: -scores[i, c]):
            if scores[i, c] > head.score_threshold and all(overlap(boxes[i, c], boxes[k, c]) <= head.nms_iou for k in kept):
                kept.append(i)
        found += [(scores[i, c], i, c) for i in kept[: head.max_detections]]
    return sorted(found, key=lambda item: -item[0])[: head.max_detections]


def masks(one: dict, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    head = one["model"].roi_head
    rois = np.array([[0, *into(one, box)] for box in boxes], np.float32)
    probs = head.mask_probabilities(head.features(one["feats"])[0], rois, labels)
    horizontal, vertical = one["flips"]
    probs = np.stack([np.fliplr(p) for p in probs]) if horizontal else probs
    return np.stack([np.flipud(p) for p in probs]) if vertical else probs
