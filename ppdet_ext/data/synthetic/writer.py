"""Write a sample set of any kind in the layout of the real one; resumable, replaces nothing foreign.

OUT/<folder of the kind>/*.jpg   the pictures
OUT/train.csv                    ImageId and the columns of the kind: a row per mask
OUT/split.csv                    ImageId,part: a row per picture, part is train or val (held out)
OUT/train.txt, OUT/val.txt       the same split as plain lists of file names
OUT/sample.json                  the parameters; written last: the set is complete
OUT/.progress.jsonl              while unfinished: the parameters, then a line per finished picture
"""

import json
import logging
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import write_atomically

from .base import Kind, Row, part_of
from .spec import SampleSpec, kind_of

LISTS = ("train.csv", "split.csv", "train.txt", "val.txt")
META, PROGRESS = "sample.json", ".progress.jsonl"

logger = logging.getLogger("ppdet_ext")


def write_sample_set(out: str | Path, spec: SampleSpec) -> bool:
    """Make the set `spec` in folder `out`; False when it was complete already.

    Raises UserError when `out` holds anything but this very set, or cannot be written.
    """
    out, kind = Path(out), kind_of(spec.kind)
    try:
        if _is_complete(out, spec, kind):
            return False
        done = _load_progress(out, spec, kind)
        rows = _make_pictures(out, spec, kind, done)
        _finish(out, spec, kind, rows)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write the sample set to {out}: {reason}; choose another --out") from error
    return True


def _is_complete(out: Path, spec: SampleSpec, kind: Kind) -> bool:
    """True when `out` holds the finished set with all files; UserError when it holds something else."""
    if not out.exists() or not any(out.iterdir()):
        return False
    found = _read_meta(out)
    if found.get("generator") != spec.meta["generator"]:
        raise UserError(f"{out} is not empty and holds no sample set; choose another folder (--out, dataset_dir), or empty it")
    # Sets that do not name their kind are of steel.
    found, wanted = ({"kind": "steel", **meta} for meta in (found, spec.meta))
    if found != wanted:
        other = ", ".join(f"{key} {found.get(key)}" for key in wanted if found.get(key) != wanted[key])
        raise UserError(
            f"{out} holds a sample set made with other settings ({other}); choose another folder (--out, dataset_dir), "
            "remove it, or train on it as it is: -o SampleData=null"
        )
    images = (out / kind.folder / kind.name(index) for index in range(spec.images))
    needed = [*(out / name for name in (*LISTS, *kind.files())), *images]
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


def _load_progress(out: Path, spec: SampleSpec, kind: Kind) -> dict[int, list[Row]]:
    """Pictures an interrupted run finished, index -> rows; starts a clean progress file."""
    out.mkdir(parents=True, exist_ok=True)
    done: dict[int, list[Row]] = {}
    path = out / PROGRESS
    for line in path.read_text().splitlines()[1:] if path.is_file() else ():
        try:
            index, rows = json.loads(line)
        except (ValueError, TypeError):
            # The line that was being written when the run ended; its picture is made again.
            continue
        if isinstance(rows, list) and (out / kind.folder / kind.name(index)).is_file():
            done[index] = rows
    lines = [json.dumps(spec.meta), *(json.dumps([index, rows]) for index, rows in done.items())]
    # The file that marks the folder as ours comes first: killed here, we leave a folder we accept.
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    (out / META).unlink(missing_ok=True)
    (out / kind.folder).mkdir(exist_ok=True)
    for leftover in (out / kind.folder).glob(".*.tmp"):
        leftover.unlink()
    if done:
        logger.info("%s: going on after %d of %d pictures", out, len(done), spec.images)
    return done


def _make_pictures(out: Path, spec: SampleSpec, kind: Kind, done: dict[int, list[Row]]) -> list[list[Row]]:
    """Write the pictures not in `done`; returns the rows of every picture, in order."""
    todo = [index for index in range(spec.images) if index not in done]
    with (out / PROGRESS).open("a") as progress:
        for index in tqdm(todo, desc=f"sample {kind.noun}s", unit=kind.noun, disable=None):
            image, done[index] = kind.draw(spec.seed, index, spec.height, spec.width)
            write_atomically(out / kind.folder / kind.name(index), encode_jpeg(image, spec.quality))
            progress.write(json.dumps([index, done[index]]) + "\n")
            progress.flush()
    return [done[index] for index in range(spec.images)]


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """A (h, w, 3) uint8 BGR image as JPEG."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _finish(out: Path, spec: SampleSpec, kind: Kind, rows: list[list[Row]]) -> None:
    """Write the lists and, last, the parameters; warn of classes that a part lacks."""
    masks = [",".join((kind.name(i), *row)) + "\n" for i, found in enumerate(rows) for row in found]
    parts = [f"{kind.name(i)},{part_of(i)}\n" for i in range(spec.images)]
    write_atomically(out / "train.csv", (",".join(kind.form.header) + "\n" + "".join(masks)).encode())
    write_atomically(out / "split.csv", ("ImageId,part\n" + "".join(parts)).encode())
    for part in ("train", "val"):
        names = [kind.name(i) + "\n" for i in range(spec.images) if part_of(i) == part]
        write_atomically(out / f"{part}.txt", "".join(names).encode())
    for name, content in kind.files().items():
        write_atomically(out / name, content)
    found = Counter((part_of(i), kind.class_of(row)) for i, picture in enumerate(rows) for row in picture)
    lacking = [f"{part} lacks class {k}" for part in ("train", "val") for k in kind.class_ids if not found[part, k]]
    if lacking:
        logger.warning("%s: %s; a set of %d %ss or more has all", out, ", ".join(lacking), kind.block, kind.noun)
    write_atomically(out / META, (json.dumps(spec.meta) + "\n").encode())
    (out / PROGRESS).unlink()
