"""Which images of a data set stay: split files, folds, and the share of empty images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steel_data import names, opened

from ppdet_ext.data.datasets import SteelDataSet
from ppdet_ext.data.splits.selection import fold_of, in_part, keep_empty, read_split
from ppdet_ext.errors import UserError


def test_empty_images_stay_by_choice(steel):
    assert names(opened(steel, allow_empty=False)) == ["a.jpg", "b.jpg"]
    half = opened(steel, empty_ratio=0.5)
    assert len(half) == 4
    assert names(half) == names(opened(steel, empty_ratio=0.5))
    others = {tuple(names(opened(steel, empty_ratio=0.5, seed=seed))) for seed in range(8)}
    assert len(others) > 1
    assert len(opened(steel, empty_ratio=0.0)) == 2


def test_split_files(steel):
    (steel / "split.txt").write_text("c.jpg\na.jpg\n\nc.jpg\n")
    assert names(opened(steel, split="split.txt")) == ["c.jpg", "a.jpg"]
    (steel / "split.csv").write_text("part,ImageId\nval,b.jpg\n")
    assert names(opened(steel, split="split.csv")) == ["b.jpg"]
    (steel / "split.csv").write_text("name,other\nd.jpg,1\n")
    assert names(opened(steel, split="split.csv")) == ["d.jpg"]
    (steel / "split.txt").write_text("nosuch.jpg\n")
    with pytest.raises(UserError, match=r"nosuch\.jpg"):
        opened(steel, split="split.txt")
    (steel / "split.txt").write_text("\n")
    with pytest.raises(UserError, match=r"split\.txt names no image"):
        read_split(str(steel / "split.txt"))
    with pytest.raises(UserError, match=r"gone\.txt"):
        opened(steel, split="gone.txt")


def test_folds_part_the_images(steel):
    parts = [names(opened(steel, fold=k, num_folds=4, part="val")) for k in range(4)]
    assert sorted(name for part in parts for name in part) == [f"{c}.jpg" for c in "abcdefgh"]
    for k in range(4):
        train = names(opened(steel, fold=k, num_folds=4, part="train"))
        assert sorted(train + parts[k]) == [f"{c}.jpg" for c in "abcdefgh"]
    # Leaving empty images out of the training part must not move images between the parts.
    train = names(opened(steel, fold=0, num_folds=4, part="train", allow_empty=False))
    assert not set(train) & set(parts[0])


@settings(max_examples=50)
@given(st.lists(st.frozensets(st.integers(0, 3), max_size=3), min_size=1, max_size=60), st.integers(2, 6), st.integers(0, 5))
def test_folds_are_balanced_in_every_stratum(strata, num_folds, seed):
    files = [f"{i}.jpg" for i in range(len(strata))]
    folds = fold_of(files, strata, num_folds, seed)
    sizes = np.bincount(folds, minlength=num_folds)
    assert sizes.max() - sizes.min() <= 1
    for stratum in set(strata):
        inside = np.bincount(folds[[s == stratum for s in strata]], minlength=num_folds)
        assert inside.max() - inside.min() <= 1
    order = np.random.default_rng(0).permutation(len(files))
    shuffled = fold_of([files[i] for i in order], [strata[i] for i in order], num_folds, seed)
    np.testing.assert_array_equal(shuffled, folds[order])
    assert (in_part(folds, 0, "val") ^ in_part(folds, 0, "train")).all()


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 0.95))
def test_the_share_of_empty_images(filled, empty, ratio):
    kept = keep_empty([str(i) for i in range(empty)], filled, ratio, 0)
    assert len(kept) <= ratio * (filled + len(kept)) + 1e-9
    more = len(kept) + 1
    assert len(kept) == empty or more > ratio * (filled + more) - 1e-9


def test_a_fold_without_an_image_is_refused_by_name(steel, tmp_path) -> None:
    """Nothing would be evaluated, or trained on."""
    (tmp_path / "folds.csv").write_text(
        "ImageId,fold\n" + "".join(f"{name}.jpg,{i % 2}\n" for i, name in enumerate("abcdefgh"))
    )
    sheets = {"height": 32, "width": 64, "split": str(tmp_path / "folds.csv"), "num_folds": 5}
    with pytest.raises(UserError, match=r"folds\.csv: no image is left with part: val, fold: 3"):
        SteelDataSet(str(steel), fold=3, part="val", **sheets).load()
    # Of the two images with a defect none is in fold 4 (nor in two others).
    clean = SteelDataSet(str(steel), height=32, width=64, fold=4, part="val", allow_empty=False)
    with pytest.raises(UserError, match=r"no image is left to use\. Check split, fold, allow_empty"):
        clean.load()
