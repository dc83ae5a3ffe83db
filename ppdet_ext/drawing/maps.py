"""Pictures of probability maps: how likely each pixel is of each class, and what was made of that."""

from collections.abc import Sequence

import cv2
import numpy as np

from ppdet_ext.structures import Candidates, Detections, Rle

from .detections import as_rgb, draw_outline, write_labels

HEAT = cv2.COLORMAP_INFERNO
GAP = 4  # pixels between panels
OUTLINE = (255, 255, 255)


def draw_map_panels(
    image: np.ndarray, candidates: Candidates, detections: Detections, class_names: Sequence[str], *, opacity: float = 0.75
) -> np.ndarray:
    """A panel for each class that has a map: the grey picture under the heat of its probabilities, its masks' outlines on top.

    The picture shows through where a class is improbable; from black over red to yellow it becomes likely. Below each other
    where the image is wider than high, else side by side; in the order of the classes.

    Args:
        image: (h, w), (h, w, 1) or (h, w, 3) uint8, grey or RGB.
        candidates: of the image, with `maps`; the highest probability, and `presence` where it is known, are written.
        detections: what the steps made of them.
        class_names: by label; labels beyond them are written as numbers.
        opacity: of the heat where a class is certain, 0–1.

    Returns:
        (H, W, 3) uint8 RGB; the picture alone where no class has a map.

    Raises: ValueError where sizes disagree.
    """
    height, width = candidates.height, candidates.width
    grey = cv2.cvtColor(cv2.cvtColor(as_rgb(image), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if grey.shape[:2] != (height, width):
        raise ValueError(f"maps of {height}x{width} do not fit an image of {grey.shape[0]}x{grey.shape[1]}")
    panels = []
    maps = candidates.maps or []
    for place in np.argsort(candidates.labels[: len(maps)], kind="stable").tolist():
        label = int(candidates.labels[place])
        own = np.flatnonzero(detections.labels == label)
        masks = [(detections.masks or [])[i] for i in own] if detections.masks else []
        panel = _panel(grey, maps[place].dense(), masks, opacity)
        box = np.array([[0, 0, width, height]], np.float32)
        text = _title(class_names, label, maps[place].max, candidates.presence)
        panels.append(write_labels(panel, box, np.array([label]), [text]))
    return _side_by_side(panels or [grey], below=width > height)


def _panel(grey: np.ndarray, probabilities: np.ndarray, masks: Sequence[Rle], opacity: float) -> np.ndarray:
    levels = np.rint(probabilities * 255).astype(np.uint8)
    heat = cv2.cvtColor(cv2.applyColorMap(levels, HEAT), cv2.COLOR_BGR2RGB)
    share = (opacity * probabilities)[:, :, None]
    panel = np.ascontiguousarray(np.rint(grey * (1 - share) + heat * share).astype(np.uint8))
    for mask in masks:
        draw_outline(panel, mask, OUTLINE)
    return panel


def _title(class_names: Sequence[str], label: int, highest: float, presence: np.ndarray | None) -> str:
    name = class_names[label] if 0 <= label < len(class_names) else str(label)
    there = f", in the image {presence[label]:.2f}" if presence is not None and label < len(presence) else ""
    return f"{name} up to {highest:.2f}{there}"


def _side_by_side(panels: Sequence[np.ndarray], below: bool) -> np.ndarray:
    gap = np.full((GAP, panels[0].shape[1], 3) if below else (panels[0].shape[0], GAP, 3), 255, np.uint8)
    joined = [part for panel in panels for part in (gap, panel)][1:]
    return np.concatenate(joined, axis=0 if below else 1)
