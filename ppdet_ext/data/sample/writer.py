"""Write a sample set in the layout of Kaggle's Severstal set; resumable, replaces nothing foreign.

OUT/train_images/sheet_00000.jpg …   grey sheets, stored with three channels as Kaggle's are
OUT/train.csv                        ImageId,ClassId,EncodedPixels: a row per sheet and class it shows
OUT/split.csv                        ImageId,part: a row per sheet, part is train or val (held out)
OUT/train.txt, OUT/val.txt           the same split as plain lists of file names
OUT/sample.json                      the parameters; written last: the set is complete
OUT/.progress.jsonl                  while unfinished: the parameters, then a line per finished sheet
"""

import json
import logging
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ppdet_ext.errors import UserError
from ppdet_ext.files import write_atomically
from ppdet_ext.structures import Rle

from .defects import CLASS_IDS
from .recipe import BLOCK, part_of
from .sheet import make_sheet

# Raise when the same parameters give other pixels than before: an older set is then refused.
VERSION = 1
LISTS = ("train.csv", "split.csv", "train.txt", "val.txt")
META, PROGRESS, IMAGES = "sample.json", ".progress.jsonl", "train_images"

logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class SampleSpec:
    """Parameters of a set: number of sheets, seed, size in pixels, JPEG quality (1–100)."""

    images: int = 96
    seed: int = 0
    height: int = 256
    width: int = 1600
    quality: int = 90

    def __post_init__(self) -> None:
        """Raise UserError for sizes that cannot hold the defects."""
        if self.images < 4:
            raise UserError(f"--images {self.images}: give at least 4 (each fourth sheet is held out)")
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: must not be negative")
        if self.height < 64 or self.width < 2 * self.height:
            raise UserError(f"sheets of {self.width}×{self.height}: height must be ≥ 64, width ≥ 2 × height")
        if not 1 <= self.quality <= 100:
            raise UserError(f"--quality {self.quality}: JPEG quality lies between 1 and 100")

    @property
    def meta(self) -> dict:
        """What identifies a set on disk."""
        return {"generator": "ppdet_ext.data.sample", "version": VERSION, **asdict(self)}


def sheet_name(index: int) -> str:
    """File name of sheet `index`."""
    return f"sheet_{index:05d}.jpg"


def write_sample_set(out: str | Path, spec: SampleSpec) -> bool:
    """Make the set `spec` in folder `out`; False when it was complete already.

    Raises UserError when `out` holds anything but this very set, or cannot be written.
    """
    out = Path(out)
    try:
        if _is_complete(out, spec):
            return False
        done = _load_progress(out, spec)
        rows = _make_sheets(out, spec, done)
        _finish(out, spec, rows)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write the sample set to {out}: {reason}; choose another --out") from error
    return True


def _is_complete(out: Path, spec: SampleSpec) -> bool:
    """True when `out` holds the finished set with all files; UserError when it holds something else."""
    if not out.exists() or not any(out.iterdir()):
        return False
    found = _read_meta(out)
    if found.get("generator") != spec.meta["generator"]:
        raise UserError(f"{out} is not empty and holds no sample set; choose another folder (--out, dataset_dir), or empty it")
    if found != spec.meta:
        other = ", ".join(f"{key} {found.get(key)}" for key in spec.meta if found.get(key) != spec.meta[key])
        raise UserError(
            f"{out} holds a sample set made with other settings ({other}); choose another folder (--out, dataset_dir), "
            "or remove it"
        )
    images = (out / IMAGES / sheet_name(index) for index in range(spec.images))
    needed = [*(out / name for name in LISTS), *images]
    missing = [path.name for path in needed if not path.is_file()]
    if missing and (out / META).is_file():
        logger.warning("%s lacks %d of its files (%s …): made again", out, len(missing), missing[0])
    return not missing and (out / META).is_file()


def _read_meta(out: Path) -> dict:
    """Parameters of the finished or unfinished set in `out`; empty when there is none that can be read."""
    for path in (out / META, out / PROGRESS):
        if path.is_file():
            try:
                found = json.loads(path.read_text().partition("\n")[0])
            except ValueError:
                continue
            return found if isinstance(found, dict) else {}
    return {}


def _load_progress(out: Path, spec: SampleSpec) -> dict[int, dict[str, str]]:
    """Sheets an interrupted run finished, index -> {class id: Kaggle RLE}; starts a clean progress file."""
    out.mkdir(parents=True, exist_ok=True)
    done: dict[int, dict[str, str]] = {}
    path = out / PROGRESS
    for line in path.read_text().splitlines()[1:] if path.is_file() else ():
        try:
            index, rows = json.loads(line)
        except (ValueError, TypeError):
            # The line that was being written when the run ended; its sheet is made again.
            continue
        if (out / IMAGES / sheet_name(index)).is_file():
            done[index] = rows
    lines = [json.dumps(spec.meta), *(json.dumps([index, rows]) for index, rows in done.items())]
    # The file that marks the folder as ours comes first: killed here, we leave a folder we accept.
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    (out / META).unlink(missing_ok=True)
    (out / IMAGES).mkdir(exist_ok=True)
    for leftover in (out / IMAGES).glob(".*.tmp"):
        leftover.unlink()
    if done:
        logger.info("%s: going on after %d of %d sheets", out, len(done), spec.images)
    return done


def _make_sheets(out: Path, spec: SampleSpec, done: dict[int, dict[str, str]]) -> list[dict[str, str]]:
    """Write the sheets not in `done`; returns the rows {class id: Kaggle RLE} of every sheet, in order."""
    todo = [index for index in range(spec.images) if index not in done]
    with (out / PROGRESS).open("a") as progress:
        for index in tqdm(todo, desc="sample sheets", unit="sheet", disable=None):
            sheet = make_sheet(spec.seed, index, spec.height, spec.width)
            write_atomically(out / IMAGES / sheet_name(index), encode_jpeg(sheet.image, spec.quality))
            done[index] = class_rows(sheet.labels)
            progress.write(json.dumps([index, done[index]]) + "\n")
            progress.flush()
    return [done[index] for index in range(spec.images)]


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """A grey (h, w) uint8 image as a three-channel JPEG."""
    colour = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def class_rows(labels: np.ndarray) -> dict[str, str]:
    """The CSV rows of one label map (h, w) uint8: class id as text -> Kaggle RLE, classes in order."""
    return {str(k): Rle.from_bitmap(labels == k).to_kaggle() for k in CLASS_IDS if (labels == k).any()}


def _finish(out: Path, spec: SampleSpec, rows: list[dict[str, str]]) -> None:
    """Write the lists and, last, the parameters; warn of classes that a part lacks."""
    masks = [f"{sheet_name(i)},{k},{rle}\n" for i, row in enumerate(rows) for k, rle in row.items()]
    parts = [f"{sheet_name(i)},{part_of(i)}\n" for i in range(spec.images)]
    write_atomically(out / "train.csv", ("ImageId,ClassId,EncodedPixels\n" + "".join(masks)).encode())
    write_atomically(out / "split.csv", ("ImageId,part\n" + "".join(parts)).encode())
    for part in ("train", "val"):
        names = [sheet_name(i) + "\n" for i in range(spec.images) if part_of(i) == part]
        write_atomically(out / f"{part}.txt", "".join(names).encode())
    found = Counter((part_of(i), int(k)) for i, row in enumerate(rows) for k in row)
    pairs = [(part, k) for part in ("train", "val") for k in CLASS_IDS]
    lacking = [f"{part} lacks class {k}" for part, k in pairs if not found[part, k]]
    if lacking:
        logger.warning("%s: %s; a set of %d sheets or more has all", out, ", ".join(lacking), BLOCK)
    write_atomically(out / META, (json.dumps(spec.meta) + "\n").encode())
    (out / PROGRESS).unlink()
