"""`RefineMasks`: segmentation networks that sharpen the masks of an instance detector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import paddle

from ppdet_ext.config.load import load_config
from ppdet_ext.data.loading.build import reader_of
from ppdet_ext.data.transforms.crop_instance import window_around
from ppdet_ext.data.transforms.read import NormalizeToCHW
from ppdet_ext.errors import UserError, nearest
from ppdet_ext.host.registry import build_entries, number_in, register_step, whole_number_in
from ppdet_ext.postprocess import ImageContext, Step, label_of
from ppdet_ext.structures import Candidates, Detections, Rle
from ppdet_ext.structures.paste import paste_probabilities
from ppdet_ext.weights.find import find_weights

from .members import with_weights
from .protocol import MapDetector

AT_ONCE = 16  # windows of an image that a network sees together
ENTRY = ("config", "weights", "classes")
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Net:
    model: MapDetector
    normalise: NormalizeToCHW

    @paddle.no_grad()
    def maps(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Windows (size, size, 3) uint8 RGB -> of each probabilities (classes, size, size) float32."""
        images = np.stack([self.normalise.of_pixels(window) for window in windows])
        shapes = np.tile(np.array(windows[0].shape[:2], np.float32), (len(windows), 1))
        batch = {"image": paddle.to_tensor(images), "im_shape": shapes}
        return self.model.class_maps(batch)


@register_step
class RefineMasks(Step):
    """Draws each mask anew within the window around its box: the mean of the detector's probability and a network's.

    A network of `CropInstance` sees the picture's window, resized to a square; of its classes the object's is taken. Where
    masks are cut already, the detector's probability is 1 on the mask and 0 elsewhere. Where the new mask has little in common
    with the detector's, the network has not known the object, and the mask stays as it is. Scores stay. A box becomes that of
    the mask where the mask changes.

    After the 18th place of iMaterialist 2019, which sharpened Mask R-CNN's masks with a segmentation network for each class.

    Args:
        models: {config: …, weights: …, classes: […]} each; classes by name or category id, all that no other names by default.
        context, size: of the windows, as the networks were trained with (`CropInstance`).
        blend: weight of the network's probability; that of the detector's is 1 - blend.
        threshold: probability from which a pixel is set.
        min_iou: of the new mask with the detector's, lest the latter stays.

    Raises: UserError for entries or numbers that cannot be.
    """

    needs_image = True
    cuts_masks = True

    def __init__(
        self,
        models: list,
        context: float = 0.2,
        size: int = 256,
        blend: float = 0.5,
        threshold: float = 0.5,
        min_iou: float = 0.5,
    ) -> None:
        self.models = _checked_entries(models)
        self.context = number_in(context, "RefineMasks.context", 0)
        self.size = whole_number_in(size, "RefineMasks.size", 1)
        self.blend = np.float32(number_in(blend, "RefineMasks.blend", 0, 1))
        self.threshold = np.float32(number_in(threshold, "RefineMasks.threshold", 0.001, 1))
        self.min_iou = number_in(min_iou, "RefineMasks.min_iou", 0, 1)

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        """Build the networks. Raises: UserError for weights that do not fit, or classes that two networks have."""
        self._net_of: dict[int, _Net] = {}
        rest = []
        for entry in self.models:
            net = _net(entry["config"], entry["weights"], _state(entry["weights"]), tuple(map(str, class_names)))
            if entry.get("classes") is None:
                rest.append(net)
            for name in entry.get("classes") or ():
                label = label_of(name, class_names, category_ids, "RefineMasks.classes")
                if label in self._net_of:
                    raise UserError(f"RefineMasks.classes: two networks have the class {class_names[label]!r}; give it to one.")
                self._net_of[label] = net
        if len(rest) > 1:
            raise UserError("RefineMasks.models: two networks have all classes; say which classes each has (classes: […]).")
        for label in range(len(class_names)) if rest else ():
            self._net_of.setdefault(label, rest[0])

    def __call__(self, detections: Any, name: str) -> Candidates | Detections:
        return self.apply(detections, ImageContext(name))

    def apply(self, detections: Candidates | Detections, image: ImageContext) -> Detections:
        """Raises: UserError for maps of whole classes, for objects without masks, and where the picture cannot be had."""
        if isinstance(detections, Candidates) and detections.maps is not None:
            raise UserError(
                f"PostProcess: RefineMasks works on objects, and {image.name} has maps of whole classes; put Components before."
            )
        cut = detections.detections(float(self.threshold)) if isinstance(detections, Candidates) else detections
        masks = list(self.masks_of(cut, image.name))
        boxes = cut.boxes.copy()
        for net in dict.fromkeys(map(id, self._net_of.values())):
            chosen = [place for place, label in enumerate(cut.labels.tolist()) if id(self._net_of.get(label)) == net]
            for start in range(0, len(chosen), AT_ONCE):
                for place, mask in self._refined(detections, masks, chosen[start : start + AT_ONCE], image):
                    if mask and mask != masks[place] and self._like(mask, masks[place]):
                        masks[place], boxes[place] = mask, mask.box
        return replace(cut, masks=masks, boxes=boxes)

    def _like(self, new: Rle, old: Rle) -> bool:
        """Whether both have enough in common; of an empty one nothing can be said."""
        return not old or float(Rle.iou_matrix([new], [old])[0, 0]) >= self.min_iou

    def _refined(
        self, detections: Candidates | Detections, masks: Sequence[Rle], places: Sequence[int], image: ImageContext
    ) -> list[tuple[int, Rle]]:
        """(place, new mask) of objects of one network."""
        picture, labels = image.picture, detections.labels
        if picture.shape[:2] != (detections.height, detections.width):
            raise UserError(f"PostProcess: RefineMasks: the picture of {image.name} is not as large as its predictions.")
        windows = [window_around(detections.boxes[i], self.context, *picture.shape[:2]) for i in places]
        shown = [cv2.resize(_cut(picture, one), (self.size, self.size), interpolation=cv2.INTER_LINEAR) for one in windows]
        maps = self._net_of[int(labels[places[0]])].maps(shown)
        refined = []
        for place, window, own in zip(places, windows, maps):
            top, left, bottom, right = window
            net = cv2.resize(own[labels[place]], (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
            mixed = self.blend * net + (1 - self.blend) * _probability(detections, masks, place, window)
            inside = Rle.from_bitmap(np.asfortranarray(mixed >= self.threshold))
            refined.append((place, inside.place(top, left, detections.height, detections.width)))
        return refined


def _cut(plane: np.ndarray, window: Window) -> np.ndarray:
    top, left, bottom, right = window
    return np.ascontiguousarray(plane[top:bottom, left:right])


def _probability(detections: Candidates | Detections, masks: Sequence[Rle], place: int, window: Window) -> np.ndarray:
    """(h, w) float32 of the window: what the detector says of an object's pixels."""
    top, left, bottom, right = window
    if isinstance(detections, Detections) or detections.probs is None:
        return masks[place].crop(*window).to_bitmap().astype(np.float32)
    one = slice(place, place + 1)
    ((y, x, soft),) = paste_probabilities(detections.probs[one], detections.boxes[one], detections.height, detections.width)
    whole = np.zeros((bottom - top, right - left), np.float32)
    # The pasted part reaches half a cell beyond the box, which may be more than the context.
    y1, x1, y2, x2 = max(y, top), max(x, left), min(y + soft.shape[0], bottom), min(x + soft.shape[1], right)
    if y1 < y2 and x1 < x2:
        whole[y1 - top : y2 - top, x1 - left : x2 - left] = soft[y1 - y : y2 - y, x1 - x : x2 - x]
    return whole


def _checked_entries(models: Any) -> list[dict[str, Any]]:
    """The entries of `models`. Raises: UserError for those that are none."""
    if not isinstance(models, list) or not models:
        raise UserError(f"RefineMasks.models: {models!r} is no list of {{config: …, weights: …, classes: […]}}.")
    for entry in models:
        if not isinstance(entry, Mapping) or not all(isinstance(entry.get(key), str) for key in ENTRY[:2]):
            raise UserError(f"RefineMasks.models: {entry!r} is not of the form {{config: path, weights: path, classes: […]}}.")
        for key in entry:
            if key not in ENTRY:
                raise UserError(f"RefineMasks.models: there is no key {key!r}.{nearest(key, ENTRY)}")
        if entry.get("classes") is not None and not isinstance(entry["classes"], list):
            raise UserError(f"RefineMasks.models: classes: {entry['classes']!r} is no list of class names or ids.")
    return [dict(entry) for entry in models]


def _state(weights: str) -> tuple[str, int, int]:
    """Path, time and size of a weights file, so that one that was written anew is read anew."""
    path = find_weights(weights, theirs=True)
    state = path.stat()
    return str(path), state.st_mtime_ns, state.st_size


@lru_cache(maxsize=8)
def _net(config: str, weights: str, state: tuple[str, int, int], class_names: tuple[str, ...]) -> _Net:
    """The network of a configuration with weights, in eval mode; built once, however often steps are made."""
    name = f"RefineMasks.models: {config} with {weights}"
    gpu = str(paddle.device.get_device()).startswith("gpu")
    cfg = load_config(config, [f"use_gpu={str(gpu).lower()}"], training=False)
    if cfg.num_classes != len(class_names):
        raise UserError(f"{name} has {cfg.num_classes} classes, the data set {len(class_names)}; both need the same.")
    try:
        model = with_weights(cfg, weights, class_names)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    if not isinstance(model, MapDetector):
        raise UserError(f"{name}: {cfg.architecture} gives no probability maps; name a SemanticSegmentor.")
    model.eval()
    last = reader_of(cfg, "eval")["sample_transforms"][-1:]
    (normalise,) = build_entries(last, "transform", "EvalReader.sample_transforms") or [None]
    if not isinstance(normalise, NormalizeToCHW):
        raise UserError(f"{name}: the sample_transforms of its EvalReader end with NormalizeToCHW.")
    return _Net(model, normalise)
