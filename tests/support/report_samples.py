"""Reports for tests of the page: the example that is kept as a file, and ones that are small, large, empty or hostile."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ppdet_ext.report.json_file import read_report
from ppdet_ext.report.schema import Confusion, Curves, Report
from ppdet_ext.report.schema_objects import Breakdown, Calibration, Group, LabelErrors, Picture, Pictures

EXAMPLE = Path(__file__).resolve().parents[1] / "report" / "example_report.json"
EVIL = "</script><u>&\"'`{{ 7 * 7 }}\n../x.jpg"


def example() -> Report:
    return read_report(EXAMPLE)


def grey(picture: Picture) -> np.ndarray:
    """Noise of the picture's size, the same for the same picture."""
    noise = np.random.default_rng(picture.image).normal(120, 12, (picture.height, picture.width))
    return noise.clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def empty(images: int = 0) -> Report:
    """Nothing annotated, nothing found, one class."""
    report = example()
    numbers = {kind: dict.fromkeys(values) for kind, values in report.head.numbers.items()}
    head = replace(
        report.head, class_names=["a"], images=images, empty_images=images, instances=0, crowds=0, detections=0, f1=None,
        precision=None, recall=None, numbers=numbers, notes=[], weights="",
    )  # fmt: skip
    return replace(
        report,
        head=head,
        words=[],
        runs=[],
        classes=[],
        curves=Curves([], []),
        confusion=Confusion("segm", [[0, 0], [0, 0]], []),
        errors=replace(report.errors, ap50=None, kinds=[], mask_kinds=[]),
        breakdown=Breakdown([], [[0]], [[0]]),
        calibration=Calibration([], None, None, [0.0, 1.0], [0], [0], [None]),
        quality=None,
        pictures=Pictures([], []),
        label_errors=LabelErrors({}, {}, [], ""),
        competition=[],
        compare=None,
    )


def of_classes(count: int, name: str = "class") -> Report:
    """The example with as many classes, alike but for their numbers of instances."""
    report = example()
    names = [f"{name} {label}" for label in range(count)]
    rows = [replace(report.classes[0], label=label, name=one, instances=label) for label, one in enumerate(names)]
    whole = [curve for curve in report.curves.curves if curve.label is None]
    own = [curve for curve in report.curves.curves if curve.label == 0]
    curves = whole + [replace(curve, label=label) for label in range(count) for curve in own]
    matrix = np.random.default_rng(0).integers(0, 9, (count + 1, count + 1)).tolist()
    cells = [cell for cell in report.confusion.cells if max(cell.truth or 0, cell.found or 0) < count]
    kinds = [replace(kind, by_class={str(label): 1 for label in range(count)}) for kind in report.errors.kinds]
    differences = [
        replace(run, rows=[*run.rows[:1], *(replace(run.rows[1], label=label) for label in range(count))])
        for run in (report.compare.runs if report.compare else [])
    ]
    return replace(
        report,
        head=replace(report.head, class_names=names),
        classes=rows,
        curves=replace(report.curves, curves=curves),
        confusion=replace(report.confusion, matrix=matrix, cells=cells),
        errors=replace(report.errors, kinds=kinds),
        calibration=replace(report.calibration, by_class=[0.1] * count),
        quality=None,
        label_errors=replace(report.label_errors, entries=[]),
        pictures=Pictures([], []),
        competition=[replace(one, by_class=[0.5] * count) for one in report.competition],
        compare=replace(report.compare, runs=differences) if report.compare else None,
    )


def hostile() -> Report:
    """The example with markup for every name that comes from outside."""
    report = example()
    names = [EVIL] * len(report.head.class_names)
    return replace(
        report,
        head=replace(report.head, title=EVIL, class_names=names, config=EVIL, data=EVIL, weights=EVIL, notes=[EVIL]),
        words=[replace(one, text=EVIL) for one in report.words],
        runs=[replace(run, name=EVIL, losses={EVIL: run.losses["loss"]}) for run in report.runs],
        classes=[replace(row, name=EVIL) for row in report.classes],
        pictures=Pictures(
            [replace(picture, name=EVIL, file=EVIL) for picture in report.pictures.images],
            [
                replace(group, title=EVIL, detail=EVIL, examples=[replace(one, text=EVIL) for one in group.examples])
                for group in report.pictures.groups
            ],
        ),
        label_errors=replace(report.label_errors, entries=[replace(one, name=EVIL) for one in report.label_errors.entries]),
        compare=replace(report.compare, runs=[replace(run, name=EVIL, verdict=EVIL) for run in report.compare.runs])
        if report.compare
        else None,
    )


def many_pictures(count: int, height: int, width: int) -> Report:
    """The example with so many pictures of a size, ten to a group."""
    report = example()
    first = report.pictures.images[0]
    objects = [replace(one, mask=None) for one in first.objects]
    images = [replace(first, image=n, height=height, width=width, objects=objects) for n in range(count)]
    example_of = report.pictures.groups[0].examples[0]
    groups = [
        Group(
            "worst", str(start), None, f"Group {start}", count, [replace(example_of, image=n) for n in range(start, start + 10)]
        )
        for start in range(0, count, 10)
    ]
    return replace(report, pictures=Pictures(images, groups))
