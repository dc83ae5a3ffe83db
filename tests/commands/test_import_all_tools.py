"""Files of every label tool through tools/import_labels.py: what a reader sees is what the data set has, bit by bit."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppdet_ext.commands.import_labels import import_labels
from ppdet_ext.config.load import load_config
from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.label_set import LabelSet
from ppdet_ext.structures import Rle

FIXTURES = Path(__file__).parents[1] / "fixtures" / "labels"
# Files to name where the folder holds more than one export.
FILES = {"label_studio": ["brush.json"], "superannotate": ["pixel"], "darwin_v7": ["raster_mask"]}
# Without pictures these files tell no size, and an old video is refused.
UNSIZED = ("via", "cvat_video")
TOOLS = sorted(path.name for path in FIXTURES.iterdir() if path.name not in UNSIZED)


def pictures_of(labels: LabelSet, folder: Path) -> None:
    """A picture for each of the labels: theirs, or noise of that size."""
    for number, image in enumerate(labels.images):
        name = image.name if Path(image.name).suffix else f"{image.name}.png"
        target = folder / (name if image.file is None else Path(name).with_suffix(Path(image.file).suffix))
        target.parent.mkdir(parents=True, exist_ok=True)
        if image.file is not None:
            shutil.copy(image.file, target)
        else:
            pixels = np.random.default_rng(number).integers(0, 256, (image.height, image.width)).astype(np.uint8)
            Image.fromarray(pixels).save(target)


def objects_of(labels: LabelSet) -> Counter:
    return Counter((one.class_name, one.mask.counts, one.crowd) for image in labels.images for one in image.objects)


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_read_arrives_in_the_data_set(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = [str(FIXTURES / tool / name) for name in FILES.get(tool, [""])]
    pictures_of(read_labels(files), tmp_path / "pictures")
    labels = read_labels(files, "pictures")
    written = import_labels(files, out="mine", images="pictures", val=0, as_told=False, duplicates=False)
    content = json.loads((tmp_path / "mine/annotations/all.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    found = Counter(
        (names[item["category_id"]], Rle.from_coco(item["segmentation"]).counts, bool(item["iscrowd"]))
        for item in content["annotations"]
    )
    assert found == objects_of(labels)
    assert list(names.values()) == labels.class_names
    assert len(content["images"]) == len(labels.images)
    dataset = load_config(written).TrainDataset.load()
    read_back = Counter(mask.counts for record in dataset.records for mask in record.masks)
    assert read_back == Counter(mask for _, mask, _ in found.elements())
