"""Pictures of more than 8 bits, of odd colours and of odd files: read rightly, or refused by name."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppdet_ext.data.images.decode import image_size, read_image, read_image_of
from ppdet_ext.data.images.depth import Reading, to_8_bits, value_range
from ppdet_ext.data.images.raster import bytes_of, is_deep, stored_pixels
from ppdet_ext.errors import UserError

FILES = (("a.png", None), ("a.tif", None), ("b.tif", "tiff_lzw"), ("c.tif", "tiff_adobe_deflate"))
FULL, TWELVE, BY_IMAGE = Reading.of(range="full"), Reading.of(range="12bit"), Reading.of(range="image")


def deep(bits=16, height=37, width=53, channels=None):
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(bits).integers(0, 1 << bits, shape).astype(np.uint16)


def spread(pixels, low, high):
    """The mapping as the docs say it, number by number."""
    return np.floor(np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1) * 255 + 0.5).astype(np.uint8)


def tiff(pixels, order="<", photometric=1, bits=16, **more):
    """A TIFF with one uncompressed strip, made by hand: what no library here writes."""
    kind = pixels.dtype.newbyteorder(order)
    data = pixels.astype(kind).tobytes()
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    tags = {256: pixels.shape[1], 257: pixels.shape[0], 258: bits, 259: 1, 262: photometric, 273: 0, 277: channels}
    tags |= {278: pixels.shape[0], 279: len(data)} | {int(key[1:]): value for key, value in more.items()}
    start = 8 + 2 + 12 * len(tags) + 4
    far = b""
    if channels > 1:
        far = struct.pack(f"{order}{channels}H", *[bits] * channels)
    tags[273] = start + len(far)
    entries = b""
    for tag, value in sorted(tags.items()):
        if tag == 258 and channels > 1:
            entries += struct.pack(f"{order}HHII", tag, 3, channels, start)
        elif tag in (273, 279):
            entries += struct.pack(f"{order}HHII", tag, 4, 1, value)
        else:
            entries += struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + bytes(4) + far + data


def png(pixels, colour):
    """A 16-bit PNG made by hand; colour type 0 grey, 2 RGB, 4 grey with alpha, 6 RGBA."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["12bit", "full", "10bit", "14bit"])
def test_grey_is_spread_from_black_to_white(tmp_path, name):
    bits = {"full": 16}.get(name) or int(name[:2])
    pixels = deep(bits)
    pixels[0, :2] = 0, (1 << bits) - 1
    for file, compression in FILES:
        Image.fromarray(pixels).save(tmp_path / file, compression=compression)
        image = read_image(str(tmp_path / file), Reading.of(range=name))
        np.testing.assert_array_equal(image, np.repeat(spread(pixels, 0, (1 << bits) - 1)[..., None], 3, 2))
        assert image.flags.c_contiguous
        assert (image.min(), image.max()) == (0, 255)
        unchanged = cv2.imread(str(tmp_path / file), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(stored_pixels(bytes_of(str(tmp_path / file)), ""), unchanged)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [1, 0])
def test_grey_tiffs_of_either_byte_order_and_of_both_ways_to_count(tmp_path, order, photometric):
    pixels, path = deep(), tmp_path / "a.tif"
    path.write_bytes(tiff(pixels, order, photometric))
    if (order, photometric) == (">", 0):
        with pytest.raises(UserError, match=r"a\.tif: .*this kind of TIFF is not known"):
            read_image(str(path), FULL)
        return
    image = read_image(str(path), FULL)
    np.testing.assert_array_equal(image[..., 0], spread(pixels if photometric else 0xFFFF - pixels, 0, 0xFFFF))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_colours_of_16_bits_keep_their_low_bytes_whichever_way_a_tiff_is_turned(tmp_path, order, orientation):
    pixels, path = deep(channels=3), tmp_path / "a.tif"
    path.write_bytes(tiff(pixels, order, 2, _274=orientation))
    stored = read_image(str(path), Reading.of(False, "full"))
    np.testing.assert_array_equal(stored, spread(pixels, 0, 0xFFFF))
    with Image.open(path) as picture:
        picture.load()
        shown = np.asarray(picture)
    image = read_image(str(path), FULL)
    assert image.shape == shown.shape == (*image_size(str(path)), 3)
    assert np.abs(image.astype(int) - shown).max() <= 1
    assert image_size(str(path), exif=False) == (37, 53)


@pytest.mark.parametrize(("colour", "channels"), [(0, None), (2, 3), (4, 2), (6, 4)])
def test_pngs_of_16_bits(tmp_path, colour, channels):
    pixels, path = deep(12, channels=channels), tmp_path / "a.png"
    path.write_bytes(png(pixels, colour))
    assert is_deep(str(path))
    colours = pixels if channels is None else pixels[..., :3] if channels >= 3 else pixels[..., 0]
    expected = spread(colours, 0, 0xFFF)
    np.testing.assert_array_equal(
        read_image(str(path), TWELVE), expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, 2)
    )
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(UserError, match=r"a\.png"):
        read_image(str(path), TWELVE)


def test_what_is_deeper_than_8_bits_is_refused_with_its_numbers_and_what_to_write(tmp_path):
    pixels, path = np.clip(deep(12), 100, 3000), str(tmp_path / "deep.png")
    Image.fromarray(pixels).save(path)
    with pytest.raises(UserError, match=r"deep\.png: 16-bit pixels from 100 to 3000 .*\{range: 12bit\} \(0 to 4095\)"):
        read_image(path)
    # In the upper twelve of sixteen bits, as some cameras write: a name would make them white.
    Image.fromarray(pixels << 4).save(path)
    with pytest.raises(UserError, match=r"from 1600 to 48000 .*not what range: 12bit means \(0 to 4095\).*range: full"):
        read_image(path, TWELVE)
    assert read_image(path, Reading.of(range=[1600, 48000])).max() == 255


def test_a_range_of_numbers_is_cut_off_at_both_ends(tmp_path):
    path = str(tmp_path / "a.png")
    Image.fromarray(np.array([[0, 100, 101, 150, 200, 60000]], np.uint16)).save(path)
    assert read_image(path, Reading.of(range=[100, 200]))[0, :, 0].tolist() == [0, 0, 3, 128, 255, 255]


def test_floats_need_numbers_or_each_pictures_own_range(tmp_path):
    path, values = str(tmp_path / "a.tif"), np.linspace(-1.5, 2.5, 1000, dtype=np.float32).reshape(20, 50)
    Image.fromarray(values).save(path)
    for reading in (Reading(), FULL):
        with pytest.raises(UserError, match=r"a\.tif: float pixels from -1\.5 to 2\.5.*\[low, high\]"):
            read_image(path, reading)
    np.testing.assert_array_equal(read_image(path, Reading.of(range=[-1.5, 2.5]))[..., 0], spread(values, -1.5, 2.5))
    assert read_image(path, BY_IMAGE)[[0, -1], [0, -1], 0].tolist() == [0, 255]
    values[3, 4] = np.nan
    Image.fromarray(values).save(path)
    with pytest.raises(UserError, match=r"a\.tif: 1 of its values .*finite"):
        read_image(path, BY_IMAGE)


@settings(max_examples=100)
@given(st.data())
def test_the_mapping_never_turns_the_order_of_values(data):
    low = data.draw(st.integers(0, 0xFFFE))
    high = data.draw(st.integers(low + 1, 0xFFFF))
    values = np.sort(np.array(data.draw(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=30)), np.uint16))[None]
    image = to_8_bits(values, (float(low), float(high)), "")[0, :, 0].astype(int)
    assert (np.diff(image) >= 0).all()
    assert (image[values[0] <= low] == 0).all()
    assert (image[values[0] >= high] == 255).all()
    np.testing.assert_array_equal(to_8_bits(values.astype(np.int32), (float(low), float(high)), "")[0, :, 0], image)


def test_pictures_of_8_bits_are_the_same_with_any_range(tmp_path):
    pixels = deep(8, channels=3).astype(np.uint8)
    for name in ("a.png", "a.tif", "a.jpg"):
        Image.fromarray(pixels).save(tmp_path / name)
        plain = read_image(str(tmp_path / name))
        for reading in (FULL, BY_IMAGE, Reading.of(range=[3, 7])):
            np.testing.assert_array_equal(read_image(str(tmp_path / name), reading), plain)


@pytest.mark.parametrize("value", ["12 bit", "auto", [5, 3], [1, 1], [1], ["a", 2], [0, float("nan")], True, 4095])
def test_a_range_that_is_none_is_refused(value):
    with pytest.raises(UserError, match=r"ReadImage\.range"):
        Reading.of(range=value)


def test_a_name_nearly_right_gets_the_nearest():
    with pytest.raises(UserError, match="Did you mean '12bit'"):
        Reading.of(range="12-bit")


def test_the_range_of_a_data_set_is_that_of_all_values(tmp_path):
    paths = []
    for number, top in enumerate((1000, 3000)):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.linspace(200, top, 10000).astype(np.uint16).reshape(100, 100)).save(paths[-1])
    values = np.concatenate([stored_pixels(bytes_of(path), path).ravel() for path in paths])
    expected = np.percentile(values, [1, 99], method="inverted_cdf")
    assert value_range(paths, (1, 99)) == tuple(expected)
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.jpg")
    plain = [str(tmp_path / "plain.png"), str(tmp_path / "plain.jpg")]
    assert value_range([*plain, *paths], (1, 99)) == tuple(expected)
    assert value_range(plain) is None
    Image.fromarray(np.full((4, 4), 7, np.uint16)).save(paths[0])
    assert value_range(paths[:1]) == (7, 8)
    Image.fromarray(np.linspace(-1, 1, 400, dtype=np.float32).reshape(20, 20)).save(tmp_path / "a.tif")
    assert value_range([str(tmp_path / "a.tif")], (0, 100)) == (-1, 1)


def test_pages_are_not_chosen_silently_but_thumbnails_are_no_pages(tmp_path):
    first, path = Image.new("L", (40, 30), 50), str(tmp_path / "pages.tif")
    first.save(path, save_all=True, append_images=[Image.new("L", (40, 30), 90)] * 2)
    for read in (read_image, image_size):
        with pytest.raises(UserError, match=r"pages\.tif: the TIFF has 3 pages"):
            read(path)
    small = Image.new("L", (10, 8), 90)
    small.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(path, save_all=True, append_images=[small])
    with Image.open(path) as written:
        written.seek(1)
        kind = written.tag_v2.get(254, 0)
    if kind == 1:
        assert read_image(path).mean() == 50
        assert image_size(path) == (30, 40)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_compressed_tiffs(tmp_path, compression, mode):
    smooth = cv2.GaussianBlur(deep(8, 48, 64, 4).astype(np.uint8), (0, 0), 6)
    picture = Image.fromarray(smooth[..., 0] if mode == "L" else smooth[..., : len(mode)], mode)
    picture.save(tmp_path / "a.tif", compression=compression)
    image = read_image(str(tmp_path / "a.tif")).astype(int)
    assert np.abs(image - np.asarray(picture.convert("RGB"))).max() <= (6 if compression == "jpeg" else 0)


def test_tiled_tiffs(tmp_path):
    pixels, path = deep(8, 64, 96).astype(np.uint8), str(tmp_path / "a.tif")
    Image.fromarray(pixels).save(path, tiffinfo={322: 16, 323: 16}, compression="tiff_lzw")
    np.testing.assert_array_equal(read_image(path)[..., 1], pixels)


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_jpegs_are_as_viewers_show_them(tmp_path, adobe):
    """Photoshop stores CMYK inverted; Pillow and OpenCV take every CMYK JPEG so."""
    colours = np.zeros((32, 32, 4), np.uint8)
    colours[:, 16:, 0] = 255
    stream = io.BytesIO()
    Image.fromarray(colours, "CMYK").save(stream, "JPEG", quality=95)
    data = stream.getvalue()
    if not adobe:
        at = data.index(b"\xff\xee")
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    (tmp_path / "a.jpg").write_bytes(data)
    image = read_image(str(tmp_path / "a.jpg")).astype(int)
    assert np.abs(image[:, :12] - 255).max() < 10, "no ink is white"
    assert np.abs(image[:, 20:] - [0, 255, 255]).max() < 10, "cyan ink"


def test_transparency_shows_the_stored_colour(tmp_path):
    pixels = deep(8, 8, 8, 4).astype(np.uint8)
    pixels[..., 3] = 0
    for name in ("a.png", "a.tif"):
        Image.fromarray(pixels).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(str(tmp_path / name)), pixels[..., :3])
    indexed = Image.fromarray(deep(8, 8, 8).astype(np.uint8) % 4).convert("P")
    indexed.putpalette(bytes(range(12)))
    indexed.save(tmp_path / "p.png", transparency=b"\0\x80\xff\xff")
    np.testing.assert_array_equal(read_image(str(tmp_path / "p.png")), np.asarray(indexed.convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "LAB", "YCbCr"])
def test_every_mode_of_a_tiff_is_read_or_refused_by_name(tmp_path, mode):
    path = str(tmp_path / "a.tif")
    Image.new(mode, (9, 7)).save(path)
    if mode == "YCbCr":
        # Pillow writes it with three bytes a pixel, and reads four.
        with pytest.raises(UserError, match=r"a\.tif: cannot be read"):
            read_image(path)
    else:
        assert read_image(path).shape == (7, 9, 3)


def test_a_tiff_annotated_as_stored_is_read_so(tmp_path):
    path, pixels = str(tmp_path / "a.tif"), deep(8, 30, 20, 3).astype(np.uint8)
    Image.fromarray(pixels).save(path, tiffinfo={274: 6})
    assert read_image(path).shape == (20, 30, 3)
    np.testing.assert_array_equal(read_image_of(path, (30, 20)), pixels)


def test_colours_of_16_bits_in_other_formats_are_not_cut_to_8(tmp_path):
    values = deep(channels=3)
    for comment in (b"", b"# made by a camera\n"):
        (tmp_path / "a.ppm").write_bytes(b"P6 %b53 37 65535\n" % comment + values.astype(">u2").tobytes())
        assert is_deep(str(tmp_path / "a.ppm"))
        with pytest.raises(UserError, match=r"a\.ppm: .*16 bits"):
            read_image(str(tmp_path / "a.ppm"), FULL)
    (tmp_path / "a.ppm").write_bytes(b"P6 53 37 255\n" + values.astype(np.uint8).tobytes())
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.ppm")), values.astype(np.uint8))
    for kind, is_so in ((np.uint16, True), (np.uint8, False)):
        assert cv2.imwrite(str(tmp_path / "a.jp2"), values.astype(kind))
        assert is_deep(str(tmp_path / "a.jp2")) == is_so
