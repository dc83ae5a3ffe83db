"""What strangers' files may hold: refused by name, bounded, and read as it is stored."""

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ppdet_ext.data.labels.safety import decode_base64, inflate, last_part, open_png, read_json, read_xml, safe_name
from ppdet_ext.errors import UserError
from tests.hostile.label_bombs import png as forged_png
from tests.hostile.memory import demand_refusals

LAUGHS = '<!DOCTYPE a [<!ENTITY b "ha">' + "".join(
    f'<!ENTITY b{i} "{f"&b{i - 1 or str()};" * 10}">' for i in range(1, 30)
) + "]><annotations>&b29;</annotations>"  # fmt: skip


def png(pixels: np.ndarray, mode: str | None = None, **saved: object) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels, mode).save(held, "PNG", **saved)
    return held.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations>&b;</annotations>',
        "<!DOCTYPE annotations><annotations/>",
    ],
)
def test_xml_that_defines_entities_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(UserError, match=r"a\.xml: defines a document type or entities"):
        read_xml(str(tmp_path / "a.xml"))


def test_xml_is_read_as_text_and_attributes(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(
        '<?xml version="1.0" encoding="iso-8859-1"?><a x="1&amp;2"><b>\xe4</b></a>'.encode("latin-1")
    )
    root = read_xml(str(tmp_path / "a.xml"))
    assert (root.get("x"), root.findtext("b")) == ("1&2", "ä")


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_of_all_codings(coding: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(json.dumps({"ä": [1.5, None]}, ensure_ascii=False).encode(coding))
    assert read_json(str(tmp_path / "a.json")) == {"ä": [1.5, None]}


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b'{"a": 1} {"b": 2}', b"\x80\x81", b'"\xff"']
)
def test_json_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json: (nested too deeply|not JSON)"):
        read_json(str(tmp_path / "a.json"))


def test_a_file_beyond_all_measure_is_not_opened(tmp_path: Path) -> None:
    with open(tmp_path / "a.json", "wb") as hole:
        hole.truncate(5 << 30)
    with pytest.raises(UserError, match=r"a\.json: 5120 MiB of labels are more than can be read at once"):
        read_json(str(tmp_path / "a.json"))


def test_base64() -> None:
    data = bytes(range(256))
    text = base64.encodebytes(data).decode()
    assert decode_base64(text, 256, "a") == data
    for wrong, reason in (
        (text, "more than the 255"),
        ("a?b=", "no base64"),
        ("abc", "no base64"),
        (3, "no base64"),
        ("ä", "no base64"),
    ):
        with pytest.raises(UserError, match=f"a.json, object 3: .*{reason}"):
            decode_base64(wrong, 255, "a.json, object 3")


def test_zlib() -> None:
    assert inflate(zlib.compress(b"abc"), 3, "a") == b"abc"
    bomb = zlib.compress(bytes(1 << 20))
    for data, reason in (
        (bomb, "unpacks to more than the 1000"),
        (zlib.compress(b"abc")[:-2], "cut off"),
        (b"abc", "not compressed"),
    ):
        with pytest.raises(UserError, match=f"a.json, object 3: .*{reason}"):
            inflate(data, 1000, "a.json, object 3")


def test_pngs_are_read_as_they_are_stored() -> None:
    index = np.array([[0, 1, 255], [2, 3, 4]], np.uint8)
    palette = Image.fromarray(index).convert("P")
    palette.putpalette([7] * 768)
    held = io.BytesIO()
    palette.save(held, "PNG", transparency=0)
    assert np.array_equal(open_png(held.getvalue(), "a"), index)
    assert np.array_equal(open_png(png(index)), index)
    deep = np.array([[0, 24_003], [65_535, 1]], np.uint16)
    assert np.array_equal(open_png(png(deep)), deep)
    assert np.array_equal(open_png(png(index > 1), "a"), index > 1)
    colours = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(open_png(png(colours)), colours)
    assert np.array_equal(open_png(png(colours[..., :3].copy())), colours[..., :3])


def test_pngs_that_are_refused(tmp_path: Path) -> None:
    small = png(np.zeros((4, 5), np.uint8))
    held = io.BytesIO()
    Image.new("L", (4, 4)).save(held, "JPEG")
    deep_colours = bytearray(small)
    deep_colours[24:26] = 16, 2
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * (80 << 20), zip=True)
    cases = {
        "more than the 19 that can stand here": (small, 19),
        "the PNG is damaged": (small[:-20], 100),
        "not a PNG. Other formats, JPEG above all": (held.getvalue(), 100),
        "16 bits a colour": (bytes(deep_colours), 100),
        "1x70000 pixels are more": (forged_png(70_000, 1), 1 << 29),
        "(ecompressed|too large|damaged)": (png(np.zeros((4, 5), np.uint8), pnginfo=text), 100),
        "the file is empty|not a PNG": (b"", 100),
    }  # fmt: skip
    for reason, (data, limit) in cases.items():
        with pytest.raises(UserError, match=f"a.json, object 3: .*{reason}"):
            open_png(data, "a.json, object 3", limit)
    (tmp_path / "a.png").write_bytes(small[:-20])
    with pytest.raises(UserError, match=r"a\.png: the PNG is damaged"):
        open_png(str(tmp_path / "a.png"))
    with pytest.raises(UserError, match=r"none\.png: cannot be read"):
        open_png(str(tmp_path / "none.png"))


def test_names_stay_below_the_folder_of_pictures() -> None:
    for name, safe in {"a.jpg": "a.jpg", "x\\y\\a.jpg": "x/y/a.jpg", "./x//a.jpg": "x/a.jpg", "a..b.jpg": "a..b.jpg"}.items():
        assert safe_name(name, "labels") == safe
    wrong = [
        "../a.jpg",
        "x/../../a.jpg",
        "..\\a.jpg",
        "/a.jpg",
        "\\\\host\\a.jpg",
        "C:\\a.jpg",
        "c:a.jpg",
        "a\0.jpg",
        "a\n.jpg",
    ]
    for name in [*wrong, "", " ", ".", "..", "x" * 2000, None, 3]:
        with pytest.raises(UserError, match=r"^labels: .*name"):
            safe_name(name, "labels")


def test_the_last_part_of_a_path() -> None:
    for name in ("a.jpg", "/home/me/a.jpg", "..\\..\\a.jpg", "C:\\me\\a.jpg", "x/a.jpg/"):
        assert last_part(name, "labels") == "a.jpg"
    for wrong in ("/", "..", "", None):
        with pytest.raises(UserError, match="labels: "):
            last_part(wrong, "labels")


def test_bombs_are_refused_in_little_memory() -> None:
    expected = {
        "entities": "defines a document type or entities",
        "a hole of 1 GiB": "more memory than is free",
        "100,000 lists": "nested too deeply",
        "run lengths of a picture of a gigapixel": "40000x25000 pixels are more than",
        "run lengths of a gigapixel": "1 mask of another size than their picture",
        "a box of a gigapixel": "1 mask whose box is not in their picture",
        "a box of 400 megapixels": "READ [400000000]",
        "a brush of 400 megapixels": "READ [400000000]",
        "a brush of 4 gigabytes": "1 brush mask of another size than their picture",
        "an outline of a terapixel": "1 polygon whose outline is too long to be drawn",
        "a panoptic PNG of a gigapixel": "pixels are more than",
    }
    demand_refusals("tests.hostile.label_bombs", expected)
