"""Numbers that no picture can be changed by are refused when a transform is made, by name."""

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import build_entries

WRONG = (
    ("ResizeFixed", {"height": -1, "width": 320}, "ResizeFixed.height: -1 is no whole number of 1 or more"),
    ("ResizeFixed", {"height": 32, "width": 0}, "ResizeFixed.width: 0"),
    ("ResizeShortEdge", {"short_edges": [800], "long_limit": 0}, "ResizeShortEdge.long_limit: 0"),
    ("FlipImage", {"horizontal": 2}, "FlipImage.horizontal: 2 is no number from 0 to 1"),
    ("FlipImage", {"vertical": -0.5}, "FlipImage.vertical: -0.5"),
    ("CropAroundDefect", {"height": 0, "width": 5}, "CropAroundDefect.height: 0"),
    ("CropAroundDefect", {"height": 5, "width": 5, "probability": 1.5}, "CropAroundDefect.probability: 1.5"),
    ("JitterColor", {"brightness": float("nan")}, "JitterColor.brightness: nan"),
    ("JitterColor", {"probability": 7}, "JitterColor.probability: 7"),
)


@pytest.mark.parametrize(("name", "arguments", "message"), WRONG)
def test_they_are_named(name, arguments, message):
    with pytest.raises(UserError, match=message):
        build_entries([{name: arguments}], "transform", "TrainReader.sample_transforms")
