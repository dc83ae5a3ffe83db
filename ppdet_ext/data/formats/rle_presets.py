"""`Preset`: the CSVs of competitions by name, and which of them a file is by its header and its first rows.

Base, order and offsets are proven by rows where pictures are not square, else as the competition's page says. UW-Madison's page
says "top to bottom, then left to right", its public kernels decode along the rows; rows is what we take, and the masks of
pictures that are not square are asked, as those of all (`numbering.py`). Of Sartorius, HuBMAP 2022, SenNet and Vesuvius no real
row was at hand, only public code.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppdet_ext.errors import UserError, nearest

from .column_guess import as_yaml, class_columns, suggestion
from .csv_rows import first_rows
from .rle_csv import IMATERIALIST, SEVERSTAL, RleCsv

# So many rows are asked where several competitions have the same columns.
_PEEK = 200
_GUESSED = 5000  # rows that a suggestion is made of: what classes there are


@dataclass(frozen=True)
class Preset:
    """The CSV of a competition, and what its pictures and classes are.

    layouts: of the annotations, then of submissions; the first is what is written.
    class_names: by label, where the competition has fixed ones. first_id: the id of the first class.
    height, width: of all images, where they are of one size; columns that tell it go first.
    file_pattern, file_id: of pictures in sub-folders, see `PictureNames`.
    ids: what images are called, where that tells the competition from others with the same columns.
    masks: regular expression of the names of masks that lie among the pictures.
    """

    layouts: tuple[RleCsv, ...]
    class_names: tuple[str, ...] = ()
    first_id: int = 1
    height: int | None = None
    width: int | None = None
    file_pattern: str = ""
    file_id: str = "{name}"
    ids: str = ""
    masks: str = ""


def _one(columns: Sequence[str], **options: object) -> RleCsv:
    """A CSV whose first column is the image, the second the mask."""
    fields = dict(zip(columns, ("{name}", "{rle}")))
    return RleCsv(fields, **options)  # type: ignore[arg-type]


_CLOUDS = {"Image_Label": "{name}_{class_name}", "EncodedPixels": "{rle}"}
_CELLS = {"id": "{name}", "annotation": "{rle}", "width": "{width}", "height": "{height}", "cell_type": "{class_name}"}
_ORGANS = {"id": "{name}", "class": "{class_name}", "segmentation": "{rle}"}
_TISSUE = {"id": "{name}", "img_height": "{height}", "img_width": "{width}", "rle": "{rle}"}
_SIZES = {"ImageWidth": "{width}", "ImageHeight": "{height}", "PredictionString": "{predictions}"}
_PROTEINS = (
    "Nucleoplasm", "Nuclear membrane", "Nucleoli", "Nucleoli fibrillar center", "Nuclear speckles", "Nuclear bodies",
    "Endoplasmic reticulum", "Golgi apparatus", "Intermediate filaments", "Actin filaments", "Microtubules", "Mitotic spindle",
    "Centrosome", "Plasma membrane", "Mitochondria", "Aggresome", "Cytosol", "Vesicles and punctate cytosolic patterns",
    "Negative",
)  # fmt: skip
_KAGGLE = ("ImageId", "EncodedPixels")
# case123_day20_slice_0065 is case123/case123_day20/scans/slice_0065_266_266_1.50_1.50.png, of that width and height.
_SLICE = r"(?:.*/)?(?P<day>case\d+_day\d+)/scans/(?P<slice>slice_\d+)_(?P<width>\d+)_(?P<height>\d+)_[^/]*"
_NESTED = r"(?:.*/)?(?P<name>[^/]+)\.[A-Za-z]+"

PRESETS = {
    "severstal": Preset(SEVERSTAL, tuple(f"defect_{i}" for i in range(1, 5)), height=256, width=1600),
    "imaterialist_2019": Preset(IMATERIALIST[:1], first_id=0),
    "imaterialist_2020": Preset(IMATERIALIST[1:], first_id=0),
    "airbus": Preset((_one(_KAGGLE),), ("ship",), height=768, width=768, ids=r".+\.jpg"),
    "clouds": Preset((RleCsv(_CLOUDS, rows="class"),), ("Fish", "Flower", "Gravel", "Sugar"), height=1400, width=2100),
    "tgs": Preset((_one(("id", "rle_mask"), rows="image"),), ("salt",), height=101, width=101),
    "carvana": Preset((_one(("img", "rle_mask"), rows="image", order="rows"),), ("car",), height=1280, width=1918),
    "dsb2018": Preset(
        (_one(_KAGGLE),), ("nucleus",), file_pattern=r"(?:.*/)?(?P<name>[^/]+)/images/[^/]+", ids="[0-9a-f]{56,64}"
    ),
    "siim": Preset(
        (_one(_KAGGLE, base=0, relative=True, blank=("-1",)),),
        ("pneumothorax",), height=1024, width=1024, file_pattern=_NESTED, ids=r"[0-9]+(\.[0-9]+){5,}",
    ),
    "sartorius": Preset(
        (RleCsv(_CELLS, order="rows"), _one(("id", "predicted"), order="rows")), ("shsy5y", "astro", "cort"),
        height=520, width=704, ids="[0-9a-f]{12}",
    ),
    "uw_madison": Preset(
        tuple(
            RleCsv({**dict(list(_ORGANS.items())[:2]), mask: "{rle}"}, rows="class", order="rows")
            for mask in ("segmentation", "predicted")
        ),
        ("large_bowel", "small_bowel", "stomach"), file_pattern=_SLICE, file_id="{day}_{slice}",
    ),
    "hubmap_2021": Preset(
        (_one(("id", "encoding"), rows="image"), _one(("id", "predicted"), rows="image")), ("glomerulus",), ids="[0-9a-f]{9}"
    ),
    "hubmap_2022": Preset(
        (RleCsv(_TISSUE, rows="image"), _one(("id", "rle"), rows="image")), ("functional_tissue_unit",), ids="[0-9]+"
    ),
    "vesuvius": Preset(
        (_one(("Id", "Predicted"), rows="image", order="rows"),), ("ink",), file_pattern=r"(?:.*/)?(?P<name>[^/]+)/ir\.png"
    ),
    "sennet": Preset(
        (_one(("id", "rle"), rows="image", order="rows", blank=("1 0",)),), ("vessel",),
        file_pattern=r"(?:.*/)?(?P<volume>[^/]+)/images/(?P<slice>\d+)\.tif", file_id="{volume}_{slice}",
        ids=r".*[^0-9].*_[0-9]+",
    ),
    "contrails": Preset(
        (_one(("record_id", "encoded_pixels"), rows="image", blank=("-",)),), ("contrail",), height=256, width=256
    ),
    "hubmap_2023": Preset(
        (
            RleCsv({"id": "{name}", "annotations": "{polygons}"}),
            RleCsv({"id": "{name}", "height": "{height}", "width": "{width}", "prediction_string": "{predictions}"}),
        ),
        ("blood_vessel", "glomerulus", "unsure"), first_id=0, height=512, width=512,
    ),
    "hpa": Preset((RleCsv({"ID": "{name}", **_SIZES}),), _PROTEINS, first_id=0),
    "oid": Preset((RleCsv({"ImageID": "{name}", **_SIZES}),)),
    "ultrasound": Preset(
        (
            RleCsv({"subject": "{name_1}", "img": "{name_2}", "pixels": "{rle}"}, rows="image"),
            _one(("img", "pixels"), rows="image"),
        ),
        ("nerve",), height=420, width=580, masks=r".+_mask\.tif",
    ),
    "atria": Preset((_one(_KAGGLE, rows="image"),), ("atrium",), ids="[0-9A-Z]{20}_.*[0-9]+.*"),
    "picsart": Preset((_one(("image", "rle_mask"), rows="image"),), ("person",)),
}  # fmt: skip


def find_preset(name: str) -> Preset:
    """The preset of that name. Raises: UserError where there is none, with the nearest one."""
    if name not in PRESETS:
        raise UserError(f"preset: there is no {name!r}.{nearest(name, PRESETS)} There are {', '.join(PRESETS)}.")
    return PRESETS[name]


def described_by(
    preset: Preset | None,
    columns: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    class_names: Sequence[str],
    category_ids: Sequence[int],
    size: tuple[int | None, int | None],
) -> Preset:
    """What a preset and what is given beside it say together; the latter goes first.

    options: of `RleCsv`, those that are not None. size: height and width of all images, or None for both.

    Raises: UserError for columns or classes that go with nothing.
    """
    options = {key: value for key, value in options.items() if value is not None}
    base = preset or Preset(())
    layouts = base.layouts
    if columns is not None:
        layouts = (dataclasses.replace(layouts[0], columns=columns) if layouts else RleCsv(columns, **options),)
    names = tuple(map(str, class_names)) or base.class_names
    if not names:
        raise UserError("class_names: the names of the classes are needed, by label.")
    if category_ids and len(category_ids) != len(names):
        raise UserError("category_ids and class_names: one for each class, in the same order.")
    layouts = tuple(dataclasses.replace(layout, **options) for layout in layouts)
    if layouts[0].class_field is None and len(names) != 1:
        raise UserError(f"class_names: {len(names)} classes, but columns say of none which class a row is of.")
    described = dataclasses.replace(base, layouts=layouts, class_names=names)
    return described if size == (None, None) else dataclasses.replace(described, height=size[0], width=size[1])


class UnknownColumns(UserError):
    """The columns are those of no competition. what: so in words. told: of `suggestion`."""

    def __init__(self, what: str, told: Mapping[str, Any]) -> None:
        examples = f"by names and cells perhaps {as_yaml(told)}" if told else "dataset/README.md has examples"
        super().__init__(f"{what} Set columns ({examples}), or mend them.")
        self.what, self.told = what, told


def guess_preset(path: str) -> str:
    """The name of the preset that a CSV is of: by its columns; where several have these, by names and masks of its first rows.

    A further column that says a class makes it none of a preset that does not read it.

    Raises: UserError where none or several fit, with what the columns may be; OSError when the file cannot be read.
    """
    header, rows = first_rows(path, _PEEK)
    classes = set(class_columns(header))
    fitting = {
        name: max(len(layout.header) for layout in preset.layouts if set(layout.header) <= set(header))
        for name, preset in PRESETS.items()
        if any(classes <= set(layout.header) <= set(header) for layout in preset.layouts)
    }
    best = [name for name, columns in fitting.items() if columns == max(fitting.values())]
    if len(best) > 1:
        best = [name for name in best if _fits(PRESETS[name], header, rows)] or best
    if len(best) == 1:
        return best[0]
    found = f"{path}: the columns {','.join(header)[:200]} are"
    if best:
        raise UserError(f"{found} those of several competitions: {', '.join(best)}. Set preset to one, or columns.")
    raise UnknownColumns(f"{found} those of no competition that is known.", suggestion(*first_rows(path, _GUESSED)))


def _fits(preset: Preset, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the images of the rows are called as the preset's, or masks written as only its are."""
    layout = next(layout for layout in preset.layouts if set(layout.header) <= set(header))
    fields = (*(layout.name_parts or ["name"])[:1], layout.mask_field)
    name, mask = (header.index(layout.column_of(field)) for field in fields)
    if layout.relative and any(_is_relative(row[mask]) or row[mask] in layout.blank for row in rows):
        return True
    return all(re.fullmatch(preset.ids or ".*", row[name]) for row in rows)


def _is_relative(text: str) -> bool:
    """Whether a run starts at a lower number than where the one before ends, as offsets do."""
    parts = text.split()
    if len(parts) % 2 or not all(part.isascii() and part.isdigit() for part in parts):
        return False
    numbers = list(map(int, parts))
    return any(after < start + length for start, length, after in zip(numbers[0::2], numbers[1::2], numbers[2::2]))
