"""Pictures of the page: what is stored of each image, how large it may be, and the groups in which they are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from ppdet_ext.pages import Stored, Window, anchor, jpeg_uri, store, window_around
from ppdet_ext.pages.formats import file_size
from ppdet_ext.report.schema import Report
from ppdet_ext.report.schema_objects import Example, Group, Picture

from .showing import Drawn, drawn, shot

Pixels = Callable[[Picture], "np.ndarray | None"]
SIDES = (1200, 900, 640, 440)  # longest sides of stored pictures, tried in turn
COUNTS = (6, 4, 3, 2, 1)  # examples of a group, where the smallest pictures are too many
REST = 3_000_000  # bytes that all but the pictures may take
SHARP = 260  # a part is stored by itself where the whole picture shows it with fewer pixels
LEAST = 128  # pixels of a part's sides
LABEL_ERRORS = "label_errors"


@dataclass
class _Kept:
    """An image as it may be stored: JPEGs by longest side, of the whole and of parts, and its outlines."""

    picture: Picture
    drawn: Drawn
    wholes: dict[int, str]
    parts: dict[Window, str] = field(default_factory=dict)

    def size(self, side: int, windows: Sequence[Window]) -> int:
        return len(self.wholes[side]) + sum(len(self.parts.get(window, "")) for window in windows) + self.drawn.size


@dataclass(frozen=True)
class Shots:
    """A group as the page shows it. parts: of parts of pictures alone, which need less room. label: of one class alone."""

    anchor: str
    key: str
    title: str
    note: str
    shots: Sequence[Markup]
    parts: bool
    label: int | None


@dataclass(frozen=True)
class Album:
    """All pictures of a page. stores: of `pages.store`, for the page. note: what was left out; why: why there are none."""

    groups: Sequence[Shots] = ()
    label_errors: Sequence[Shots] = ()
    stores: Sequence[Markup] = ()
    note: str = ""
    why: str = ""
    images: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.groups)

    def class_link(self, label: int) -> str | None:
        """Where the pictures of a class begin."""
        return next((f"#{group.anchor}" for group in self.groups if group.label == label), None)

    @classmethod
    def of(cls, report: Report, pixels: Pixels | None, most_bytes: int) -> Album:
        """The groups of a report, with pictures as large and as many as `most_bytes` allow."""
        if pixels is None or not any(group.examples for group in report.pictures.groups):
            return cls(why="This page was made without pictures." if pixels is None else "There are no pictures to show.")
        kept = _kept(report, pixels)
        if not kept:
            return cls(why=f"None of the {len(report.pictures.images)} pictures could be read, such as {_first_file(report)}.")
        lost = len(report.pictures.images) - len(kept)
        side, most = _fitting(report, kept, most_bytes - REST)
        examples = {id(group): _examples(group, kept, most) for group in report.pictures.groups}
        needed = {example.image: None for chosen in examples.values() for example in chosen}
        windows = {image: _windows(image, examples.values(), kept) for image in needed}
        seen: set[int] = set()
        groups = [group for group in report.pictures.groups if examples[id(group)]]
        shown = [_shots(group, examples[id(group)], report, kept, windows, seen) for group in groups]
        return cls(
            [one for one in shown if one.key != LABEL_ERRORS],
            [one for one in shown if one.key == LABEL_ERRORS],
            [_store(kept[image], side, windows[image]) for image in needed],
            _note(side, most, lost, most_bytes),
            images=frozenset(needed),
        )

    def link(self, key: str, detail: str, images: Sequence[int]) -> str | None:
        """Where pictures of a kind of error are: the group's own, else the first place that shows one of `images`."""
        target = group_anchor(key, detail)
        if any(one.anchor == target for one in self.groups):
            return f"#{target}"
        return next((f"#{image_anchor(image)}" for image in images if image in self.images), None)


def group_anchor(key: str, detail: str = "", label: int | None = None) -> str:
    """Where links to a group of pictures lead."""
    return anchor("pictures", key, detail.replace(">", "-to-"), *([] if label is None else ["class", label]))


def image_anchor(image: int) -> str:
    """Where links to an image lead, and the name of what is stored of it."""
    return f"image-{image}"


def _kept(report: Report, pixels: Pixels) -> dict[int, _Kept]:
    """Images that can be read, by number; each is decoded once."""
    by_image = {picture.image: picture for picture in report.pictures.images}
    wanted: dict[int, list[Example]] = {}
    for group in report.pictures.groups:
        for example in group.examples:
            if example.image in by_image:
                wanted.setdefault(example.image, []).append(example)
    kept = {}
    for image, examples in wanted.items():
        picture = by_image[image]
        canvas = pixels(picture)
        if canvas is None:
            continue
        scale = max(SIDES[0] / max(picture.height, picture.width, 1), 1e-6)
        one = _Kept(picture, drawn(picture, 0.6 / min(scale, 1.0)), _wholes(canvas))
        for window in {window_of(picture, example): None for example in examples}:
            if _is_small(window, picture):
                one.parts[window] = jpeg_uri(canvas[window.y1 : window.y2, window.x1 : window.x2], 2 * SHARP)
        kept[image] = one
    return kept


def _wholes(canvas: np.ndarray) -> dict[int, str]:
    """The whole picture by longest side; sides that it does not reach share a text."""
    longest = max(canvas.shape[:2])
    texts = {reached: jpeg_uri(canvas, reached) for reached in {min(side, longest): None for side in SIDES}}
    return {side: texts[min(side, longest)] for side in SIDES}


def window_of(picture: Picture, example: Example) -> Window:
    """What an example shows: the object with what is around it, or the whole picture."""
    if example.object is None or example.object >= len(picture.objects):
        return Window(0, 0, picture.height, picture.width)
    box = np.array([picture.objects[example.object].box])
    return window_around(box, picture.height, picture.width, context=0.6, least=LEAST)


def _is_small(window: Window, picture: Picture) -> bool:
    return max(window.size) * SIDES[1] / max(picture.height, picture.width) < SHARP


def _windows(image: int, chosen: Iterable[Sequence[Example]], kept: dict[int, _Kept]) -> list[Window]:
    """Parts of an image that are stored by themselves, for the examples that are shown."""
    found: dict[Window | None, None] = {}
    for examples in chosen:
        for example in examples:
            window = window_of(kept[image].picture, example) if example.image == image else None
            if window in kept[image].parts:
                found[window] = None
    return [window for window in found if window is not None]


def _examples(group: Group, kept: dict[int, _Kept], most: int | None) -> list[Example]:
    return [example for example in group.examples if example.image in kept][:most]


def _fitting(report: Report, kept: dict[int, _Kept], budget: int) -> tuple[int, int | None]:
    """The longest side, and how many examples of a group (None: all), with which the pictures take at most `budget` bytes."""

    def total(side: int, most: int | None) -> int:
        chosen = [_examples(group, kept, most) for group in report.pictures.groups]
        images = {example.image for examples in chosen for example in examples}
        return sum(kept[image].size(side, list(kept[image].parts)) for image in images)

    choices = [(side, None) for side in SIDES] + [(SIDES[-1], count) for count in COUNTS]
    return next((choice for choice in choices if total(*choice) <= budget), (SIDES[-1], 0))


def _note(side: int, most: int | None, lost: int, most_bytes: int) -> str:
    """What the reader should know about the pictures that are there, and are not."""
    notes = []
    if side != SIDES[0] or most is not None:
        fewer = "" if most is None else f", and groups to {most} examples each"
        notes.append(f"To keep the page below {file_size(most_bytes)}, pictures are reduced to {side} px{fewer}.")
    if lost:
        notes.append(f"{lost} {'picture' if lost == 1 else 'pictures'} could not be read.")
    return " ".join(notes)


def _store(kept: _Kept, side: int, windows: Sequence[Window]) -> Markup:
    picture = kept.picture
    whole = Stored(kept.wholes[side], Window(0, 0, picture.height, picture.width))
    parts = [Stored(kept.parts[window], window) for window in windows]
    return store(image_anchor(picture.image), [whole, *parts], kept.drawn.paths)


def _shots(
    group: Group,
    examples: Sequence[Example],
    report: Report,
    kept: dict[int, _Kept],
    windows: dict[int, list[Window]],
    seen: set[int],
) -> Shots:
    """seen: images whose anchor has been given, to the place that shows them first."""
    names = report.head.class_names
    shots = []
    for example in examples:
        one = kept[example.image]
        window = window_of(one.picture, example)
        stored = windows[example.image].index(window) + 1 if window in windows[example.image] else 0
        own = None if example.image in seen else image_anchor(example.image)
        seen.add(example.image)
        shots.append(shot(one.picture, one.drawn, example, window, image_anchor(example.image), names, stored, own))
    of = "" if group.total <= len(examples) else f"{len(examples)} of {group.total:,}"
    parts = all(example.object is not None for example in examples)
    return Shots(group_anchor(group.key, group.detail, group.label), group.key, group.title, of, shots, parts, group.label)


def _first_file(report: Report) -> str:
    return re.sub(r"\s+", " ", report.pictures.images[0].file) if report.pictures.images else "none"
