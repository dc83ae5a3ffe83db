"""Label Studio: tasks with brush masks, as predictions to be corrected or as annotations, and the labelling configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from ..brush_rle import encode_brush
from ..collector import tracked
from ..convert import DETECTIONS
from ..label_set import LabelledImage, LabelledObject, LabelSet
from .common import DEFAULTS, WriteOptions, Written
from .palette import hex_colour

FILE, CONFIG_FILE = "tasks.json", "label_config.xml"
_TOOL, _IMAGE = "brush", "image"


def write(labels: LabelSet, out: Path, options: WriteOptions = DEFAULTS) -> Written:
    """Write `tasks.json`, to be imported into a project of the configuration `label_config.xml`.

    Objects with a score become an image's prediction (pre-labelling), the others its annotation. `data.image` is the options'
    prefix and the picture's name; by default that is what Label Studio serves from its local files.

    Raises: UserError where it cannot be written.
    """
    done, reviewed = Written(options), labels.format != DETECTIONS
    tasks = [_task(number, image, done, reviewed) for number, image in enumerate(tracked(labels.images, "Label Studio"), 1)]
    done.json(out / FILE, tasks)
    done.text(out / CONFIG_FILE, _configuration(labels.class_names))
    return done


def _task(number: int, image: LabelledImage, done: Written, reviewed: bool) -> dict[str, Any]:
    """reviewed: whether a person has looked at the image, be there nothing in it."""
    kept, options = done.kept(image), done.options
    # The same task has the same ids, whenever it is written.
    results = [_result(f"{number}_{place}", own) for place, own in enumerate(kept, 1)]
    scores = [own.score for own in kept if own.score is not None]
    predicted = [result for result in results if "score" in result]
    annotated = [result for result in results if "score" not in result]
    task: dict[str, Any] = {"data": {"image": options.image_prefix + quote(image.name)}}
    if predicted:
        # A project can be sorted by it: what the model is least sure of comes first.
        task["predictions"] = [{"model_version": options.model_version, "score": min(scores), "result": predicted}]
    if annotated or (reviewed and not kept):
        task["annotations"] = [{"was_cancelled": False, "result": annotated}]
    return task


def _result(name: str, own: LabelledObject) -> dict[str, Any]:
    height, width = own.mask.size
    result = {
        "id": name,
        "type": "brushlabels",
        "from_name": _TOOL,
        "to_name": _IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode_brush(own.mask), "brushlabels": [own.class_name]},
    }
    return result if own.score is None else result | {"score": own.score}


def _configuration(class_names: list[str]) -> str:
    labels = [
        f'    <Label value={quoteattr(name)} background="{hex_colour(number)}"/>' for number, name in enumerate(class_names, 1)
    ]
    head = [f'  <Image name="{_IMAGE}" value="$image" zoom="true"/>', f'  <BrushLabels name="{_TOOL}" toName="{_IMAGE}">']
    return "\n".join(["<View>", *head, *labels, "  </BrushLabels>", "</View>", ""])
