"""Data sets that load, and are nothing to train on or to evaluate; and what only two data sets together tell."""

import logging

import numpy as np
import pytest
from PIL import Image
from tiny_data import coco_content, write_coco, write_csv

from ppdet_ext.data.datasets import CocoJsonDataSet, SteelDataSet
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config

OUTSIDE = [[90, 5, 99, 5, 99, 9]]
READER = {"sample_transforms": [{"ReadImage": {}}]}


def loaded(key: str, dataset, trained=None, reader=READER, num_classes: int = 2):
    readers = {"TrainReader": reader, "EvalReader": reader}
    others = {} if trained is None else {"TrainDataset": trained}
    return load_dataset(Config({"num_classes": num_classes, **readers, **others, key: dataset}, {}, "tiny"), key)


def data_set(folder, file: str = "instances.json") -> CocoJsonDataSet:
    return CocoJsonDataSet(str(folder), file, "images")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: [], r"0 annotations in the file"),
        (lambda items: [item | {"iscrowd": 1} for item in items], r"3 annotations in the file, 3 crowds .*`crowds: objects`"),
        (
            lambda items: [item | {"segmentation": [[90, 5, 99, 5, 99, 9]]} for item in items],
            "3 annotations .*, 3 without area inside the image",
        ),
    ],
)
def test_nothing_to_learn_or_to_measure_is_an_error_with_the_account(coco, change, message):
    content = coco_content()
    content["annotations"] = change(content["annotations"])
    write_coco(coco, content)
    for key, verb in (("TrainDataset", "learn"), ("EvalDataset", "measure")):
        with pytest.raises(UserError, match=rf"{key}: not one of its 2 images has an object \({message}.*nothing to {verb}"):
            loaded(key, data_set(coco))
    assert len(loaded("TestDataset", data_set(coco))) == 2, "pictures to predict need no object"


def test_clean_sheets_alone_can_be_evaluated_but_not_learnt(steel, caplog):
    write_csv(steel, [("a.jpg", 1, "")])
    sheets = SteelDataSet(str(steel), height=32, width=64)
    with pytest.raises(UserError, match="TrainDataset: not one of its 8 images has an object: nothing to learn"):
        loaded("TrainDataset", sheets, num_classes=4)
    assert len(loaded("EvalDataset", sheets, num_classes=4)) == 8
    assert "what misses objects is not measured" in caplog.text


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("square", [False, True])
def test_orientations_that_the_size_does_not_tell_are_warned_of(coco, caplog, orientation, square):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = coco_content()
    if square:
        content["images"][0].update(height=64, width=64)
        for item in content["annotations"]:
            item["segmentation"] = [[5, 5, 15, 5, 15, 15]]
    write_coco(coco, content)
    height, width = (64, 64) if square else (32, 64)
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(coco / "images" / "a.jpg", exif=exif)
    with caplog.at_level(logging.WARNING):
        loaded("EvalDataset", data_set(coco))
    unclear = orientation in (2, 3, 4) or (orientation > 4 and square)
    assert ("EvalDataset: 1 of 1 picture looked at" in caplog.text) == unclear
    assert ("`ReadImage: {exif: false}`" in caplog.text) == unclear
    caplog.clear()
    for decided in (True, False):
        loaded("EvalDataset", data_set(coco), reader={"sample_transforms": [{"ReadImage": {"exif": decided}}]})
    assert "looked at" not in caplog.text


def test_a_class_that_the_validation_lacks_is_named_in_place_of_advice_to_change_the_model(coco):
    content = coco_content()
    write_coco(coco, content)
    (coco / "instances.json").rename(coco / "train.json")
    content["categories"] = [one for one in content["categories"] if one["name"] == "early"]
    content["annotations"] = [one for one in content["annotations"] if one["category_id"] == 3]
    write_coco(coco, content)
    with pytest.raises(UserError) as caught:
        loaded("EvalDataset", data_set(coco), trained=data_set(coco, "train.json"))
    assert "EvalDataset has 1 class (early)" in str(caught.value)
    assert "It lacks late of TrainDataset (early, late). Give its annotation file the same categories" in str(caught.value)
    with pytest.raises(UserError, match="Set num_classes: 1"):
        loaded("EvalDataset", data_set(coco))
    with pytest.raises(UserError, match="Set num_classes: 1"):
        loaded("EvalDataset", data_set(coco), trained=data_set(coco, "gone.json"))
