"""Files of results beside the drawn pictures: COCO's, a table of measurements, index PNGs, and those of label tools."""

import json
import logging
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ppdet_ext.config.keys import ENSEMBLE
from ppdet_ext.data.formats.result_files import (
    BOX_FILE,
    IMAGES_FILE,
    MASK_FILE,
    ORIGIN_FILE,
    TABLE,
    coco_results,
    write_measurements,
)
from ppdet_ext.data.labels.convert import labels_of_detections
from ppdet_ext.data.labels.writers import WRITERS, WriteOptions
from ppdet_ext.errors import UserError, counted, nearest, paths_of
from ppdet_ext.files.atomic import demand_writable, write_atomic
from ppdet_ext.structures import Detections
from ppdet_ext.structures.measurements import check_scale

from .predictor import ImagePredictor
from .presence import is_classifier

COCO, CSV = "coco", "csv"
# A submission is written by its own command.
KINDS = (COCO, CSV, *(name for name in WRITERS if name not in ("coco", "kaggle")))
COCO_FILES = (BOX_FILE, MASK_FILE, IMAGES_FILE, ORIGIN_FILE)
# What tells that results of a kind are there.
_MARKS = {COCO: COCO_FILES[:3], CSV: (TABLE,), "cvat": ("cvat/annotations.xml",), "masks": ("masks/labelmap.txt",)}
_MARKS |= {"label_studio": ("label_studio/tasks.json",), "yolo_seg": ("yolo_seg/data.yaml",)}
_FLAG = "--output_dir"
logger = logging.getLogger("ppdet_ext")


class ResultFiles:
    """What `infer` writes of all images.

    Args:
        folder: into which; label tools' files get sub-folders of their names.
        kinds: True for COCO's results alone, else a name of `KINDS`, or several.
        lowest: lowest score in all but COCO's results, which have all.
        mm_per_pixel: side of a pixel, for the table.

    Raises: UserError for an unknown kind, or a scale that is none or has no table.
    """

    def __init__(self, folder: Path, kinds: bool | str | Sequence[str], lowest: float, mm_per_pixel: float | None) -> None:
        if isinstance(kinds, bool):
            kinds = (COCO,) if kinds else ()
        else:
            kinds = paths_of(kinds, "--save_results") or (COCO,)
        self.kinds = tuple(dict.fromkeys(kinds))
        for kind in self.kinds:
            if kind not in KINDS:
                raise UserError(
                    f"--save_results: no results are called {kind!r}.{nearest(kind, KINDS)} Known: {', '.join(KINDS)}."
                )
        check_scale(mm_per_pixel, "--mm_per_pixel")
        if mm_per_pixel is not None and CSV not in self.kinds:
            raise UserError("--mm_per_pixel is of the table of measurements; ask for it: --save_results csv.")
        self.folder, self.lowest, self.mm_per_pixel = folder, lowest, mm_per_pixel

    def check(self, predictor: ImagePredictor) -> None:
        """Look, before predicting.

        Raises: UserError where files could not be written, the model has nothing for them, or a name has no place in them.
        """
        for name in (*COCO_FILES, TABLE):
            demand_writable(self.folder / name, _FLAG)
        for tool in self.tools:
            if is_classifier(predictor.cfg):
                raise UserError(
                    f"--save_results {tool}: {predictor.cfg.architecture} says what is in an image and has no masks; "
                    "it has results for csv and coco."
                )
            demand_writable(self.folder / tool / "any", _FLAG)
        if self.tools:
            self._try_names(predictor)

    def _try_names(self, predictor: ImagePredictor) -> None:
        # Every class, and the images of unusual names, through the writers.
        odd = [(name, Detections.empty(1, 1)) for name in predictor.names.values() if not name.isprintable()]
        labels = labels_of_detections(odd, predictor.class_names)
        with tempfile.TemporaryDirectory() as folder:
            for tool in self.tools:
                WRITERS[tool](labels, Path(folder, tool), WriteOptions())

    @property
    def tools(self) -> list[str]:
        """The label tools among the kinds."""
        return [kind for kind in self.kinds if kind not in (COCO, CSV)]

    def write(self, found: Sequence[tuple[int, Detections]], predictor: ImagePredictor, origin: dict[str, Any] | None) -> None:
        """Write the files of (image id, what was found there), and log what is in them.

        origin: of the weights and the configuration, for COCO's.
        """
        self._warn_of_old()
        if COCO in self.kinds:
            _write_coco(self.folder, found, predictor, origin)
        named = [(predictor.names[im_id], own) for im_id, own in found]
        if CSV in self.kinds:
            self._write_table(named, predictor.class_names)
        if self.tools:
            self._write_labels(named, predictor)

    def _write_table(self, named: Sequence[tuple[str, Detections]], class_names: Sequence[str]) -> None:
        path = self.folder / TABLE
        chosen = [(name, own.select(own.scores >= self.lowest)) for name, own in named]
        write_atomic(path, lambda aside: write_measurements(aside, chosen, class_names, self.mm_per_pixel), _FLAG)
        rows, empty = sum(len(own) for _, own in chosen), sum(not len(own) for _, own in chosen)
        nothing = f"; {counted(empty, 'images')} with nothing, without a row" if empty else ""
        logger.info("Wrote %s: %s of %s%s", path, counted(rows, "objects"), counted(len(chosen), "images"), nothing)

    def _write_labels(self, named: Sequence[tuple[str, Detections]], predictor: ImagePredictor) -> None:
        files = {record.name: record.file for record in predictor.dataset.records}
        labels = labels_of_detections(named, predictor.class_names, self.lowest, files)
        options = WriteOptions(model_version=_weights(predictor), setting=_FLAG)
        for reason, number in labels.skipped.items():
            logger.warning("Left out of label tools' files: %s", counted(number, reason))
        for tool in self.tools:
            WRITERS[tool](labels, self.folder / tool, options).log(self.folder / tool)

    def _warn_of_old(self) -> None:
        """Pictures are new, and what submit --results would take, for one, is not."""
        marks = [mark for kind in _MARKS if kind not in self.kinds for mark in _MARKS[kind]]
        old = [mark for mark in marks if (self.folder / mark).is_file()]
        if old:
            logger.warning(
                "%s in %s: of an earlier run, not of these pictures; with --save_results they are written anew",
                ", ".join(old),
                self.folder,
            )


def _write_coco(
    folder: Path, found: Iterable[tuple[int, Detections]], predictor: ImagePredictor, origin: dict[str, Any] | None
) -> None:
    boxes, masks = coco_results(found, predictor.category_ids)
    listed = [{"id": im_id, "file_name": name} for im_id, name in predictor.names.items()]
    classes = [[int(number), str(name)] for number, name in zip(predictor.category_ids, predictor.class_names)]
    told_origin = {"weights": _weights(predictor), "origin": origin, "classes": classes}
    # An end in between leaves results that nothing is said of, rather than something wrong.
    (folder / ORIGIN_FILE).unlink(missing_ok=True)
    for name, content in zip(COCO_FILES, (boxes, masks, listed, told_origin)):
        text = json.dumps(content)
        write_atomic(folder / name, lambda aside, text=text: aside.write_text(text), _FLAG)  # type: ignore[misc]


def _weights(predictor: ImagePredictor) -> str:
    return str(predictor.cfg.get(ENSEMBLE) or predictor.cfg.weights)
