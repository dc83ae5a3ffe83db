"""Hints for mistyped names."""

from hypothesis import given
from hypothesis import strategies as st

from ppdet_ext.errors import closest, counted, nearest


def test_the_most_alike_comes_first_whatever_its_capitals() -> None:
    assert closest("epochs", ["epoch", "depth", "epoch_size"], 2) == ["epoch", "epoch_size"]
    assert closest("STEELDATASET", ["SteelDataSet", "ImageFolder"]) == ["SteelDataSet"]
    assert nearest("BoxNms", ["BoxNMS", "MaskNMS"]) == " Did you mean 'BoxNMS'?"
    assert nearest(3, ["epoch"]) == nearest("", []) == ""


def test_one_thing_is_not_several() -> None:
    things = ("images", "classes of an image", "boxes", "epochs", "patches", "names with s")
    ones = ["1 image", "1 class of an image", "1 box", "1 epoch", "1 patch", "1 name with s"]
    assert [counted(1, thing) for thing in things] == ones
    assert counted(1, "polygons that are not closed") == "1 polygon that is not closed"
    assert counted(1, "objects that repeat another one") == "1 object that repeats another one"
    assert counted(2, "polygons that are not closed") == "2 polygons that are not closed"
    assert counted(2, "classes") == "2 classes"
    assert counted(0, "images") == "0 images"


@given(st.lists(st.text(min_size=1, max_size=8), max_size=6), st.data())
def test_a_name_that_there_is_is_its_own_nearest(names: list[str], data: st.DataObject) -> None:
    if names:
        name = data.draw(st.sampled_from(names))
        assert closest(name, names)[0].lower() == name.lower()
