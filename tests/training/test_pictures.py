"""Pictures of the validation set: the same few images, what the model finds above what is annotated."""

from pathlib import Path

import numpy as np
import paddle

from ppdet_ext.data.datasets import SteelDataSet
from ppdet_ext.data.images.decode import read_image
from ppdet_ext.data.synthetic import SampleSpec, write_sample_set
from ppdet_ext.drawing.detections import draw_ground_truth
from ppdet_ext.structures import Candidates, TestSettings
from ppdet_ext.training.pictures import GAP, validation_pictures

READER = {
    "sample_transforms": [{"ReadImage": {}}, {"NormalizeToCHW": {}}],
    "batch_transforms": [{"PadToStride": {}}],
    "batch_size": 2,
}


class FindsTheTopLeft(paddle.nn.Layer):
    """An object of class 1 in the corner of each image."""

    settings = TestSettings()

    def candidates(self, batch: dict, settings: TestSettings) -> list[Candidates]:
        assert not self.training
        box, score = np.array([[0, 0, 16, 16]], np.float32), np.array([0.9], np.float32)
        return [Candidates(64, 128, box, score, np.array([1]), np.ones((1, 4, 4), np.float32)) for _ in batch["names"]]


def test_the_same_images_with_what_is_found_and_what_is_there(tmp_path: Path) -> None:
    write_sample_set(tmp_path / "sheets", SampleSpec(images=12, height=64, width=128))
    dataset = SteelDataSet(str(tmp_path / "sheets"), height=64, width=128).load()
    model = FindsTheTopLeft()
    first, second = (validation_pictures(dataset, READER, None, 3, 0.5)(model) for _ in range(2))
    assert model.training
    assert len(first) == 3
    assert first.keys() == second.keys()
    by_name = {record.name: record for record in dataset.records}
    assert any(len(by_name[name].labels) for name in first)
    for name, picture in first.items():
        image = read_image(by_name[name].file)
        assert picture.shape == (2 * 64 + GAP, 128, 3)
        assert picture.dtype == np.uint8
        assert (picture == second[name]).all()
        assert (picture[:16, :16] != image[:16, :16]).any()
        assert (picture[40:64, 60:] == image[40:64, 60:]).all()
        assert (picture[64 + GAP :] == draw_ground_truth(image, by_name[name], dataset.class_names)).all()
