"""Which files of a folder are pictures."""

import logging

from PIL import Image

from ppdet_ext.data.images.check import images_below, is_sidecar, list_images


def test_files_that_systems_put_beside_pictures_are_left_out_and_counted_once(tmp_path, caplog):
    for name in ("a.jpg", "b.PNG"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    for name in ("._a.jpg", "._b.PNG", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "a.jpg").write_bytes(b"\0\5\x16\7")
    with caplog.at_level(logging.INFO):
        assert list_images(str(tmp_path)) == list_images(str(tmp_path)) == ["a.jpg", "b.PNG"]
        assert images_below(str(tmp_path)) == []
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: 6 files of macOS or Windows left out, no pictures (.DS_Store, ._a.jpg, ._b.PNG, …)"
    ]


def test_names_that_only_look_alike_are_pictures():
    assert not any(map(is_sidecar, ("_a.jpg", ".a.jpg", "thumbs.db.png", "a._b.jpg")))
