"""Duplicate pictures: same bytes, encoded or resized anew; and what only looks alike."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ppdet_ext.data.splits.duplicates import SAME, fingerprint_of, fingerprints, group_duplicates
from ppdet_ext.data.synthetic import SampleSpec, write_sample_set
from ppdet_ext.errors import UserError


@pytest.fixture(scope="module")
def sheets(tmp_path_factory) -> list[Path]:
    """Sheets of the real height; many are dark or plain over large parts."""
    folder = tmp_path_factory.mktemp("duplicates")
    write_sample_set(folder, SampleSpec(images=24, height=256, width=512))
    return sorted((folder / "train_images").glob("*.jpg"))


def save(path: Path, pixels: np.ndarray, quality: int = 90) -> str:
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return str(path)


def groups(files: list) -> list[int]:
    return group_duplicates(list(fingerprints([str(file) for file in files]))).tolist()


def cosine(one: str | Path, other: str | Path) -> float:
    return float(fingerprint_of(str(one)).vector @ fingerprint_of(str(other)).vector)


def test_different_sheets_are_different(sheets):
    assert len(set(groups(sheets))) == len(sheets)
    vectors = np.stack([print_.vector for print_ in fingerprints([str(sheet) for sheet in sheets])])
    between = (vectors @ vectors.T)[np.triu_indices(len(sheets), 1)]
    assert between.max() < SAME - 0.25


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_encoding_anew(sheets, quality, tmp_path):
    for sheet in sheets[:12]:
        again = save(tmp_path / sheet.name, cv2.imread(str(sheet)), quality)
        assert cosine(sheet, again) > SAME + 0.02


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.1, 1.5])
def test_resizing(sheets, scale, tmp_path):
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    for sheet in sheets[:12]:
        again = save(tmp_path / sheet.name, cv2.resize(cv2.imread(str(sheet)), None, fx=scale, fy=scale, interpolation=how))
        assert cosine(sheet, again) > SAME + 0.02


def test_a_png_of_a_jpeg_is_the_same(sheets, tmp_path):
    again = tmp_path / "again.png"
    cv2.imwrite(str(again), cv2.imread(str(sheets[0])))
    assert groups([sheets[0], again, sheets[1]]) == [0, 0, 1]


def test_mirrored_and_moved_sheets_are_others(sheets, tmp_path):
    pixels = cv2.imread(str(sheets[0]))
    mirrored = save(tmp_path / "mirrored.jpg", pixels[:, ::-1])
    moved = save(tmp_path / "moved.jpg", np.roll(pixels, 100, axis=1))
    assert len(set(groups([sheets[0], mirrored, moved]))) == 3


def test_flat_pictures_do_not_merge(tmp_path):
    """Nothing but a grey level tells them apart; only equal bytes make them the same."""
    files = [save(tmp_path / f"{level}.jpg", np.full((256, 1600, 3), level, np.uint8)) for level in (0, 90, 91, 92, 200)]
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(Path(files[1]).read_bytes())
    assert all(fingerprint_of(file).vector is None for file in files)
    found = groups([*files, copy])
    assert len(set(found)) == 5
    assert found[5] == found[1]


def test_blank_sheets_with_noise_do_not_merge(tmp_path):
    random = np.random.default_rng(0)
    files = []
    for number in range(60):
        noise = np.clip(90 + random.normal(0, 4, (256, 1600, 1)), 0, 255).astype(np.uint8)
        files.append(save(tmp_path / f"{number}.jpg", noise.repeat(3, 2)))
    assert len(set(groups(files))) == 60


def test_sheets_with_the_same_dark_side_do_not_merge(sheets, tmp_path):
    """The edge of the steel outweighs all else in grey levels; it must not in the comparison."""
    files = []
    for sheet in sheets:
        pixels = cv2.imread(str(sheet))
        pixels[:, :250] //= 50
        files.append(save(tmp_path / sheet.name, pixels))
    assert len(set(groups(files))) == len(files)


def test_groups_are_closed(sheets, tmp_path):
    """A copy of a copy is the same picture, wherever it stands in the list."""
    first = cv2.imread(str(sheets[3]))
    copies = [save(tmp_path / f"{quality}.jpg", first, quality) for quality in (40, 60, 80)]
    bytes_too = tmp_path / "bytes.jpg"
    bytes_too.write_bytes(Path(copies[2]).read_bytes())
    found = groups([copies[0], *sheets[:6], bytes_too, copies[1], copies[2]])
    same = [0, 4, 7, 8, 9]
    assert len({found[i] for i in same}) == 1
    assert len(set(found)) == 6


def test_an_unreadable_picture_is_named(tmp_path, sheets):
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"text\.jpg: cannot be read as a picture"):
        list(fingerprints([str(sheets[0]), str(tmp_path / "text.jpg")]))


def test_real_pictures_are_all_different_and_their_copies_are_not(shared, tmp_path):
    folders = ("data/severstal", "data/coco_mini")
    files = [file for folder in folders for file in sorted((shared / folder).rglob("*.jpg"))]
    assert len(set(groups(files))) == len(files)
    copies = []
    for number, file in enumerate(files):
        pixels = cv2.imread(str(file))
        small = cv2.resize(pixels, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
        copies.append(save(tmp_path / f"{number}.jpg", small if number % 2 else pixels, 70))
    assert groups([*files, *copies]) == [*range(len(files))] * 2


def test_copies_of_dark_sensors_pictures_are_found(sheets, tmp_path):
    """Of 12 bits in 16 the high byte is all but black; different pictures would be flat, and copies no copies."""
    for number, sheet in enumerate(sheets[:2]):
        grey = cv2.imread(str(sheet), cv2.IMREAD_GRAYSCALE).astype(np.uint16) * 4
        cv2.imwrite(str(tmp_path / f"{number}.png"), grey)
        cv2.imwrite(str(tmp_path / f"{number}.tif"), cv2.resize(grey, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA))
    assert groups([tmp_path / name for name in ("0.png", "0.tif", "1.png", "1.tif")]) == [0, 0, 1, 1]
