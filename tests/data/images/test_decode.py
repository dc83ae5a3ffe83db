"""Pictures are read completely or not at all."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin
from tiny_data import write_jpeg

from ppdet_ext.data.images import jpeg
from ppdet_ext.data.images.decode import check_end, image_size, read_image, read_image_of, read_label_map
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.errors import UserError


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_a_jpeg_is_read_as_rgb(tmp_path):
    image = read_image(str(write_jpeg(tmp_path / "a.jpg")))
    expected = cv2.imread(str(tmp_path / "a.jpg"))[..., ::-1]
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 2}])
def test_every_cut_of_a_jpeg_is_noticed(tmp_path, options):
    data = write_jpeg(tmp_path / "a.jpg", **options).read_bytes()
    assert jpeg.is_complete(data)
    assert not any(jpeg.is_complete(data[:length]) for length in range(2, len(data) - 1))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("filling", [b"", b"\0" * 5000], ids=["cut off", "filled with zeros"])
def test_a_truncated_jpeg_is_an_error_naming_the_file(tmp_path, share, filling):
    path = write_jpeg(tmp_path / "torn.jpg")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)] + filling)
    with pytest.raises(UserError, match=r"torn\.jpg.*truncated"):
        read_image(str(path))


def test_a_thumbnails_end_does_not_hide_that_the_picture_is_cut(tmp_path):
    thumbnail = write_jpeg(tmp_path / "small.jpg", 8, 8).read_bytes()
    data = write_jpeg(tmp_path / "big.jpg").read_bytes()
    comment = b"\xff\xfe" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    data = data[:2] + comment + data[2:]
    assert jpeg.is_complete(data)
    assert jpeg.is_complete(data + b"bytes some cameras add")
    assert not jpeg.is_complete(data[:-100])


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_the_marker_walk_ends_on_any_bytes(data):
    assert jpeg.is_complete(b"\xff\xd8" + data) in (True, False)
    frame = jpeg.frame_of(b"\xff\xd8" + data)
    assert frame is None or (len(frame) == 3 and 1 <= frame[2] <= 8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif"])
def test_other_formats_are_read_and_their_truncation_noticed(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_image(str(path)), pixels)
    assert image_size(str(path)) == (40, 50)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(UserError, match=f"a.{suffix}"):
        read_image(str(path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no picture at all", "cannot be read"),
        (b"\xff\xd8\xff\xe0\xff\xd9", "truncated"),
        (b"\xff\xd8\xff\xd9", "damaged"),
    ],
)
def test_what_is_no_picture_is_an_error_naming_the_file(tmp_path, content, reason):
    path = tmp_path / "odd.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"odd\.jpg.*{reason}"):
        read_image(str(path))
    with pytest.raises(UserError, match=r"odd\.jpg"):
        image_size(str(path))


def test_strictness_leaves_pillows_switch_as_it_was(tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for value in (True, False):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", value)
        read_image(str(tmp_path / "a.png"))
        assert ImageFile.LOAD_TRUNCATED_IMAGES is value


def test_a_missing_picture_is_an_error_that_says_so(tmp_path):
    for read in (read_image, image_size):
        with pytest.raises(UserError, match=r"gone\.jpg: no such picture"):
            read(str(tmp_path / "gone.jpg"))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_other_modes_become_rgb(tmp_path, mode):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)).convert(mode)
    picture.save(tmp_path / "a.png")
    image = read_image(str(tmp_path / "a.png"))
    assert image.shape == (9, 11, 3)
    np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))


def test_a_grey_jpeg_has_equal_channels(tmp_path):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "grey.jpg")
    image = read_image(str(tmp_path / "grey.jpg"))
    assert image.shape == (16, 16, 3)
    assert (image == image[..., :1]).all()
    assert image.std() > 50


def test_sixteen_bits_are_refused_not_clipped(tmp_path):
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match=r"deep\.png.*8 bits"):
        read_image(str(tmp_path / "deep.png"))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_or_ignored_as_asked(tmp_path, suffix, orientation):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8] = 255
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif_with(orientation), **({"quality": 95} if suffix == "jpg" else {}))
    turned = (32, 16) if orientation >= 5 else (16, 32)
    assert read_image(str(path)).shape[:2] == image_size(str(path)) == turned
    stored = read_image(str(path), Reading(exif=False))
    assert stored.shape[:2] == image_size(str(path), exif=False) == (16, 32)
    assert stored[2, 2, 0] > 200
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    image = read_image(str(path))
    bright = image[-3 if corner[0] else 2, -3 if corner[1] else 2, 0]
    assert bright > 200


def test_header_size_of_real_photographs(shared: Path):
    files = sorted((shared / "data/coco_mini/train2017").glob("*.jpg"))
    assert len(files) == 50
    for file in files:
        with Image.open(file) as picture:
            assert image_size(str(file), exif=False) == picture.size[::-1]
        assert jpeg.is_complete(file.read_bytes())
        assert not jpeg.is_complete(file.read_bytes()[:-2])


def test_label_maps(tmp_path):
    values = np.array([[0, 1], [182, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / "map.png")
    np.testing.assert_array_equal(read_label_map(str(tmp_path / "map.png")), values)
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(UserError, match=r"rgb\.png.*mode RGB"):
        read_label_map(str(tmp_path / "rgb.png"))
    with pytest.raises(UserError, match=r"gone\.png"):
        read_label_map(str(tmp_path / "gone.png"))


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_a_damaged_jpeg_is_an_error_naming_the_file(tmp_path, options, capfd):
    path = write_jpeg(tmp_path / "hurt.jpg", 64, 200, **options)
    data = path.read_bytes()
    size = len(data)
    read_image(str(path))
    for hurt in (
        data[: size * 3 // 8] + bytes(size // 4) + data[size * 3 // 8 + size // 4 :],
        data[: size // 2] + b"\xff\xd9",
        data[: int(size * 0.9)] + b"\xff\xd9",
    ):
        path.write_bytes(hurt)
        with pytest.raises(UserError, match=r"hurt\.jpg.*the JPEG data is damaged"):
            read_image(str(path))
    assert capfd.readouterr().err == ""


def test_a_byte_before_the_end_marker_is_no_damage(tmp_path):
    path = write_jpeg(tmp_path / "a.jpg")
    expected, data = read_image(str(path)), path.read_bytes()
    path.write_bytes(data[:-2] + b"\0" + data[-2:])
    np.testing.assert_array_equal(read_image(str(path)), expected)
    path.write_bytes(data[:-2] + bytes(50) + data[-2:])
    with pytest.raises(UserError, match="damaged"):
        read_image(str(path))


def opencv(data: bytes, exif: bool = True) -> np.ndarray:
    flags = cv2.IMREAD_COLOR_RGB | (0 if exif else cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def coded(pixels: np.ndarray, mode: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture = Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)
    picture.save(stream, "JPEG", **options)
    return stream.getvalue()


@settings(max_examples=80)
@given(
    height=st.integers(1, 67),
    width=st.integers(1, 67),
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    sampling=st.integers(0, 2),
    quality=st.integers(1, 100),
    progressive=st.booleans(),
    smooth=st.integers(1, 9),
    orientation=st.integers(0, 9),
)
def test_pixels_are_opencvs(tmp_path_factory, height, width, mode, sampling, quality, progressive, smooth, orientation):
    pixels = np.random.default_rng(height * 67 + width).integers(0, 256, (height, width, len(mode))).astype(np.uint8)
    pixels = cv2.blur(pixels, (smooth, smooth)).reshape(pixels.shape) if mode != "CMYK" else pixels
    options = {"subsampling": sampling, "quality": quality, "progressive": progressive, "exif": exif_with(orientation)}
    data = coded(np.repeat(pixels, 3, 2)[..., :3] if mode == "L" else pixels, mode, **options)
    path = tmp_path_factory.getbasetemp() / "any.jpg"
    path.write_bytes(data)
    for exif in (True, False):
        image = read_image(str(path), Reading(exif))
        np.testing.assert_array_equal(image, opencv(data, exif))
        assert image.shape[:2] == image_size(str(path), exif)
        assert image.flags.c_contiguous


@pytest.mark.parametrize("factor", ["411", "420", "422", "440", "444"])
def test_pixels_are_opencvs_whatever_the_chroma_sampling(tmp_path, factor):
    pixels = cv2.blur(np.random.default_rng(0).integers(0, 256, (61, 83, 3)).astype(np.uint8), (5, 5))
    sampling = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{factor}")
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(data)
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.jpg")), opencv(data))


def test_size_of_a_png_is_told_without_decoding_wherever_its_orientation_stands(tmp_path, monkeypatch):
    plain, early, late, xmp = (tmp_path / f"{name}.png" for name in ("plain", "early", "late", "xmp"))
    picture = Image.fromarray(np.zeros((16, 32), np.uint8))
    picture.save(plain)
    picture.save(early, exif=exif_with(6))
    data = early.read_bytes()
    start = data.index(b"eXIf") - 4
    chunk = data[start : start + 12 + int.from_bytes(data[start : start + 4], "big")]
    late.write_bytes(data.replace(chunk, b"")[:-12] + chunk + data[-12:])
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    picture.save(xmp, pnginfo=text)
    assert [image_size(str(path)) for path in (early, late, xmp)] == [(32, 16)] * 3
    assert [read_image(str(path)).shape[:2] for path in (early, late, xmp, plain)] == [(32, 16)] * 3 + [(16, 32)]
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    assert image_size(str(plain)) == (16, 32)


def test_exif_is_read_in_either_byte_order_and_from_the_first_segment_only(tmp_path):
    plain, path = write_jpeg(tmp_path / "a.jpg", 16, 32).read_bytes(), tmp_path / "a.jpg"

    def segment(content: bytes) -> bytes:
        return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content

    large = b"Exif\0\0MM\0*\0\0\0\x08" + b"\0\x02" + b"\1\0" + bytes(10) + b"\1\x12\0\3\0\0\0\1\0\6\0\0" + bytes(4)
    sideways = segment(large)
    for segments, size in (
        (sideways, (32, 16)),
        (segment(large + bytes(9000)), (32, 16)),
        (segment(b"http://ns.adobe.com/xap/1.0/\0<x/>") + sideways, (16, 32)),
        (segment(large[:-15]), (16, 32)),
        (segment(b"Exif\0\0"), (16, 32)),
    ):
        path.write_bytes(plain[:2] + segments + plain[2:])
        assert read_image(str(path)).shape[:2] == image_size(str(path)) == size
        np.testing.assert_array_equal(read_image(str(path)), opencv(path.read_bytes()))


def test_a_header_of_a_gigapixel_is_refused_before_memory_is_asked_for(tmp_path):
    data = bytearray(write_jpeg(tmp_path / "a.jpg").read_bytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff" * 4
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.jpg.*no frame header tells a possible size"):
        read_image(str(tmp_path / "a.jpg"))


def test_the_end_of_a_file_tells_that_it_is_cut(tmp_path):
    path = write_jpeg(tmp_path / "a.jpg")
    data = path.read_bytes()
    for whole in (data, data + b"what some cameras add"):
        path.write_bytes(whole)
        check_end(str(path))
    for cut in (data[: len(data) // 2], data[:-1], data[: len(data) // 2] + bytes(2000)):
        path.write_bytes(cut)
        with pytest.raises(UserError, match=rf"a\.jpg: the JPEG is truncated \({len(cut)} bytes"):
            check_end(str(path))
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    check_end(str(tmp_path / "a.png"))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-20])
    with pytest.raises(UserError, match="PNG is truncated"):
        check_end(str(tmp_path / "a.png"))
    with pytest.raises(UserError, match=r"gone\.jpg: no such picture\. Check the path\.$"):
        check_end(str(tmp_path / "gone.jpg"))
    with pytest.raises(UserError, match=r"no such picture\. There is .*a\.png\. Check the path"):
        check_end(str(tmp_path / "aa.png"))
    with pytest.raises(UserError, match=r"there is no folder .*nowhere\. Check"):
        check_end(str(tmp_path / "nowhere" / "a.png"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_of_a_tiff_is_that_of_its_pixels(tmp_path, orientation):
    Image.new("RGB", (64, 80)).save(tmp_path / "a.tif", tiffinfo={0x0112: orientation})
    assert read_image(str(tmp_path / "a.tif")).shape[:2] == image_size(str(tmp_path / "a.tif"))


def test_a_picture_is_turned_as_its_annotated_size_tells(tmp_path):
    path = str(tmp_path / "a.jpg")
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(path, exif=exif_with(6))
    for exif in (True, False):
        assert read_image_of(path, (32, 16), Reading(exif)).shape == (32, 16, 3)
        assert read_image_of(path, (16, 32), Reading(exif)).shape == (16, 32, 3)
    assert read_image_of(path, (0, 0)).shape == (32, 16, 3), "no size tells nothing"
    assert read_image_of(path, (5, 5), Reading(exif=False)).shape == (16, 32, 3), (
        "a size that neither has is another's to refuse"
    )


def test_large_scans_are_read_and_impossible_ones_refused_by_name(tmp_path, monkeypatch):
    path = str(tmp_path / "scan.png")
    Image.new("1", (200, 100)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # as 195 megapixels are to Pillow's own limit
    assert image_size(path) == (100, 200)
    assert read_image(path).shape == (100, 200, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000, "the process' limit is left as it was"
    monkeypatch.setattr("ppdet_ext.data.images.raster.MOST_PIXELS", 10_000)
    for read in (image_size, read_image):
        with pytest.raises(UserError, match=r"scan\.png: 200x100 pixels are more than can be read \(10,000\)"):
            read(path)
