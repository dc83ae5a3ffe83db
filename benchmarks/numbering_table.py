"""Table of what the masks of competitions say of their numbering, as it is and where another one is stated.

    python benchmarks/numbering_table.py [--rows tests/data/formats/rle]

Rows are those of the tests: folder/file, read by the preset, of pictures of the stated size where no column tells it. "refused"
is an error that names the key behind it; "undecided" is said where nothing in the masks tells. A row that cannot be read in the
stated numbering is an error in any case.
"""

import argparse
import dataclasses
import logging
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ppdet_ext.data.formats.csv_rows import layout_of, read_rows  # noqa: E402
from ppdet_ext.data.formats.numbering import Evidence  # noqa: E402
from ppdet_ext.data.formats.rle_csv import RleCsv  # noqa: E402
from ppdet_ext.data.formats.rle_presets import PRESETS  # noqa: E402
from ppdet_ext.data.problems import Problems  # noqa: E402
from ppdet_ext.errors import UserError  # noqa: E402

NUCLEI = (256, 320)
# File, below the folder of rows or the tests' fixtures -> preset, and (height, width) where neither it nor columns tell.
FILES: dict[str, tuple[str, tuple[int, int] | None]] = {
    "severstal_rows.csv": ("severstal", None),
    "imaterialist/train_sample.csv": ("imaterialist_2019", None),
    "airbus_ship/train_ship_segmentations_v2.csv": ("airbus", None),
    "understanding_clouds/train_prefix.csv": ("clouds", None),
    "tgs_salt/submission_rows.csv": ("tgs", None),
    "carvana/train_masks_prefix.csv": ("carvana", None),
    "dsb2018/stage1_train_labels_excerpt.csv": ("dsb2018", NUCLEI),
    "siim_pneumothorax/train-rle.csv": ("siim", None),
    "sartorius/train_layout.csv": ("sartorius", None),
    "uw_madison_gi/train_rows.csv": ("uw_madison", (266, 266)),
    "hubmap_2021_2022/train_layout_2021.csv": ("hubmap_2021", NUCLEI),
    "vesuvius/inklabels_rle_layout.csv": ("vesuvius", NUCLEI),
    "sennet_vessels/train_rles_layout.csv": ("sennet", NUCLEI),
    "contrails/submission.csv": ("contrails", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=ROOT / "tests/data/formats/rle")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    print("| rows | stated | the masks say | with the other order | with the other base | with the other offsets |")
    print("|---|---|---|---|---|---|")
    for name in FILES:
        path = args.rows / name if (args.rows / name).exists() else ROOT / "tests/fixtures" / name
        if path.exists():
            print(f"| {' | '.join(line_of(path, *FILES[name]))} |")


def line_of(path: Path, preset: str, size: tuple[int, int] | None) -> list[str]:
    """The cells of a file's line."""
    layout = layout_of(str(path), PRESETS[preset].layouts)
    masks = masks_of(path, layout, size or (PRESETS[preset].height or 0, PRESETS[preset].width or 0))
    other = {
        "order": "rows" if layout.order == "columns" else "columns",
        "base": 1 - layout.base,
        "relative": not layout.relative,
    }
    sizes = sorted({size for _, size in masks})
    shown = f"`{preset}`, {len(masks)} of {', '.join(f'{h}×{w}' for h, w in sizes)}"
    stated = f"{layout.order}, {layout.base}" + (", relative" if layout.relative else "")
    changed = [told_by(masks, dataclasses.replace(layout, **{key: value})) for key, value in other.items()]
    return [shown, stated, told_by(masks, layout), *changed]


def masks_of(path: Path, layout: RleCsv, size: tuple[int, int]) -> list[tuple[str, tuple[int, int]]]:
    """(text, (height, width)) of the file's masks."""
    rows = read_rows(str(path), layout, "", Problems(str(path)))
    return [
        (row.rle, (int(row.height), int(row.width)) if row.height else size) for row in rows if not layout.is_blank(row.rle)
    ]


def told_by(masks: list[tuple[str, tuple[int, int]]], layout: RleCsv) -> str:
    """What the check says of masks that are read so."""
    evidence, unread = Evidence(layout), 0
    for text, size in masks:
        try:
            layout.mask_of(text, *size)
            evidence.add(text, size)
        except UserError as fault:
            unread += 1
            evidence.refuse(text, size, str(fault))
    try:
        evidence.demand_agreement("")
    except UserError as fault:
        return f"refused: {str(fault).split(' Set ')[-1].split(' (of')[0]}"
    if unread:
        return f"{unread} unreadable" + (f": {evidence.fitting}" if evidence.fitting else "")
    return f"{evidence.told_order or 'undecided'}, {'undecided' if evidence.told_base is None else evidence.told_base}"


if __name__ == "__main__":
    main()
