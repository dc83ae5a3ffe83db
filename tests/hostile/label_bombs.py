"""Small files of labels made to take all memory, read in this process under a limit; prints what each was refused for."""

import json
import struct
import sys
import tempfile
import zlib
from pathlib import Path

from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.errors import UserError
from tests.hostile.memory import limit_memory


def coco(height: int, width: int, segmentation: object) -> str:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": height, "width": width}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}],
    }
    return json.dumps(content)


def cvat(height: int, width: int, rows: int, columns: int) -> str:
    mask = f'<mask label="a" rle="0, {rows * columns}" left="0" top="0" width="{columns}" height="{rows}"/>'
    return f'<annotations><image name="a.jpg" width="{width}" height="{height}">{mask}</image></annotations>'


def brush(height: int, width: int, number: int) -> str:
    """A code of `number` values 255, in records of 2^16."""
    bits = f"{number:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}" + f"111{65535:016b}{255:08b}" * (
        height * width * 4 // 65536 + 1
    )
    bits += "0" * (-len(bits) % 8)
    code = list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    value = {"format": "rle", "rle": code, "brushlabels": ["a"]}
    result = {"id": "r", "type": "brushlabels", "value": value, "original_width": width, "original_height": height}
    return json.dumps([{"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": [result]}]}])


def png(height: int, width: int) -> bytes:
    """Of one bit a pixel, all of them 0."""
    lines = zlib.compressobj()
    line = bytes(1 + (width + 7) // 8)
    data = b"".join(lines.compress(line) for _ in range(height)) + lines.flush()
    chunks = (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def panoptic(folder: Path, height: int, width: int) -> str:
    (folder / "a.png").write_bytes(png(height, width))
    content = json.loads(coco(20, 20, []))
    content["annotations"] = [{"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 1, "category_id": 1}]}]
    return json.dumps(content)


def bombs(folder: Path) -> dict[str, str]:
    """What the bomb is -> the file; "" for a hole."""
    laughs = "".join(f'<!ENTITY b{i} "{f"&b{i - 1};" * 10}">' for i in range(1, 30))
    zigzag = [float(coordinate) for i in range(100_000) for coordinate in (20_000 * (i % 2), 5)]
    return {
        "entities": f'<!DOCTYPE a [<!ENTITY b0 "ha">{laughs}]><annotations>&b29;</annotations>',
        "a hole of 1 GiB": "",
        "100,000 lists": "[" * 100_000,
        "run lengths of a picture of a gigapixel": coco(40_000, 25_000, {"size": [40_000, 25_000], "counts": [0, 10**9]}),
        "run lengths of a gigapixel": coco(10, 10, {"size": [40_000, 25_000], "counts": [0, 10**9]}),
        "a box of a gigapixel": cvat(10, 10, 40_000, 25_000),
        "a box of 400 megapixels": cvat(20_000, 20_000, 20_000, 20_000),
        "a brush of 400 megapixels": brush(20_000, 20_000, 4 * 400_000_000),
        "a brush of 4 gigabytes": brush(10, 10, (1 << 32) - 1),
        "an outline of a terapixel": coco(20_000, 20_000, [zigzag]),
        "a panoptic PNG of a gigapixel": panoptic(folder, 40_000, 25_000),
    }


def refusal(path: Path) -> str:
    try:
        labels = read_labels([str(path)])
    except UserError as error:
        return str(error).split(": ", 1)[1]
    return f"READ {[one.mask.area for image in labels.images for one in image.objects]}"


def main() -> None:
    """Read each under the limit, above what the imports have taken."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = bombs(folder)
        for what, content in files.items():
            (folder / f"{what}.json").write_text(content)
        with open(folder / "a hole of 1 GiB.json", "wb") as hole:
            hole.write(b"[")
            hole.truncate(1 << 30)
        # What is imported late is no part of the reading.
        for form in ("coco", "cvat", "label_studio", "coco_panoptic"):
            __import__(f"ppdet_ext.data.labels.readers.{form}")
        refusal(folder / "run lengths of a gigapixel.json")
        limit_memory()
        for what in files:
            print(f"{what}: {refusal(folder / f'{what}.json')}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
