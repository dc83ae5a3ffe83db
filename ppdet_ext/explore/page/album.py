"""Pictures of the page: the smallest and largest objects of each class, what is suspicious, images that are one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ppdet_ext.errors import counted
from ppdet_ext.explore.analysis import Explored
from ppdet_ext.explore.objects import Data
from ppdet_ext.pages import Layer, Panel, Stored, Window, jpeg_uri, panels, path_of, store, window_around
from ppdet_ext.pages.charts import svg
from ppdet_ext.pages.formats import clipped, count
from ppdet_ext.structures import Record

Read = Callable[[Record], "np.ndarray | None"]
BYTES = 11_000_000  # of all pictures with their outlines
MOST, EACH = 360, 6  # pictures of objects of all classes, and of one
SUSPICIOUS, LEAKS = 6, 4
SIDE, WIDE = 340, 560  # longest side of a stored picture, of one that is a whole image
MOST_OUTLINES = 60


@dataclass(frozen=True)
class Wanted:
    """A picture: of an image, around an object of it (its number among all), or of the whole (None). group: where it stands."""

    group: str
    image: int
    object: int | None
    title: str
    note: str


@dataclass(frozen=True)
class Album:
    """Pictures by group: "class-0", a suspicion's key, "leak-0". note: what was left out; why: why there are none."""

    groups: dict[str, list[Markup]]
    note: str = ""
    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.groups)


def album(explored: Explored, read: Read | None) -> Album:
    """All pictures, as many as `BYTES` allow. read: gives the pixels of an image, None where it cannot; None: no pictures."""
    if read is None:
        return Album({}, why="This page was made without pictures.")
    wanted = [*_leaks(explored), *_suspicious(explored), *_classes(explored.data)]
    if not wanted:
        return Album({}, why="There is no object to show.")
    drawn = _drawn(explored.data, wanted, read)
    groups: dict[str, list[Markup]] = defaultdict(list)
    used, left, lost = 0, 0, 0
    # Of each group the first, then of each the second: where room ends, every group has some.
    for place in _in_turn(wanted):
        picture = drawn.get(place)
        if picture is None:
            lost += 1
        elif used + len(picture) > BYTES:
            left += 1
        else:
            used += len(picture)
            groups[wanted[place].group].append(picture)
    notes = []
    if left:
        notes.append(f"{counted(left, 'pictures')} {'was' if left == 1 else 'were'} left out, so that pages stay small.")
    if lost:
        notes.append(f"{counted(lost, 'pictures')} could not be read.")
    return Album(dict(groups), " ".join(notes), "" if groups else "None of the pictures could be read.")


def _in_turn(wanted: Sequence[Wanted]) -> list[int]:
    turn: dict[str, int] = defaultdict(int)
    order = []
    for i, one in enumerate(wanted):
        order.append((turn[one.group], i))
        turn[one.group] += 1
    return [i for _, i in sorted(order)]


def _classes(data: Data) -> list[Wanted]:
    """Of each class the smallest, some of the middle, and the largest objects; of many classes fewer, of the commonest."""
    objects, names = data.objects, data.class_names
    total = np.bincount(objects.label, minlength=len(names))
    labels = [int(label) for label in np.argsort(-total, kind="stable") if total[label]][:MOST]
    each = int(np.clip(MOST // max(len(labels), 1), 1, EACH))
    wanted = []
    for label in sorted(labels):
        own = np.flatnonzero(objects.label == label)
        own = own[np.argsort(objects.area[own], kind="stable")]
        places = [len(own) // 2] if each == 1 else np.unique(np.rint(_places(len(own), each)).astype(int)).tolist()
        for place in places:
            i = int(own[place])
            image = int(objects.image[i])
            wanted.append(Wanted(f"class-{label}", image, i, data.images.records[image].name, f"{count(objects.area[i])} px²"))
    return wanted


def _places(number: int, each: int) -> np.ndarray:
    """Which of `number` sorted objects: half of `each` from both ends, nothing from between where there are few."""
    last = number - 1
    ends = min(each // 3, number)
    middle = np.linspace(0, last, each - 2 * ends + 2)[1:-1]
    return np.clip(np.concatenate([np.arange(ends), middle, last - np.arange(ends)[::-1]]), 0, last)


def _suspicious(explored: Explored) -> list[Wanted]:
    data = explored.data
    number = {(int(image), int(place)): i for i, (image, place) in enumerate(zip(data.objects.image, data.objects.place))}
    at = _numbers(data)
    return [
        Wanted(one.key, image, number[image, spot.place], spot.name, spot.note)
        for one in explored.facts.suspicious
        for spot in one.spots[:SUSPICIOUS]
        for image in (at[spot.part, spot.name],)
    ]


def _leaks(explored: Explored) -> list[Wanted]:
    at = _numbers(explored.data)
    return [
        Wanted(f"leak-{number}", at[part, name], None, name, part)
        for number, leak in enumerate(explored.facts.leaks.groups[:LEAKS])
        for part, name in (leak.images[0], leak.images[-1])
    ]


def _numbers(data: Data) -> dict[tuple[str, str], int]:
    """(part, name) -> number of the image."""
    pairs = zip(data.images.part.tolist(), data.images.records)
    return {(data.parts[part].name, record.name): i for i, (part, record) in enumerate(pairs)}


def _drawn(data: Data, wanted: Sequence[Wanted], read: Read) -> dict[int, Markup]:
    """Each picture with its outlines, by its place in `wanted`; every image is read once."""
    by_image: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(wanted):
        by_image[one.image].append(place)
    found = {}
    for image, places in by_image.items():
        pixels = read(data.images.records[image])
        for place in places if pixels is not None else ():
            found[place] = _shot(data, wanted[place], f"p{place}", pixels)
    return found


def _shot(data: Data, one: Wanted, name: str, pixels: np.ndarray | None) -> Markup:
    assert pixels is not None
    record = data.images.records[one.image]
    objects = data.objects
    focus = None if one.object is None else int(objects.place[one.object])
    around = np.zeros((0, 4)) if focus is None else record.boxes[focus : focus + 1]
    window = window_around(around, record.height, record.width)
    seen = _seen(record, window, focus)
    stored = Stored(jpeg_uri(_cut(pixels, window), SIDE if focus is not None else WIDE), window)
    tolerance = max(window.size) / (2 * SIDE)
    every = list(record.masks) if len(record.masks) else None
    paths = [_box_path(record.boxes[i]) if every is None else path_of(every[i], tolerance) for i in seen]
    flat = "" if every is not None else " outline"
    layers = [
        Layer(k, f"truth{' focus' if i == focus else ''}{flat}", data.class_names[int(record.labels[i])])
        for k, i in enumerate(seen)
    ]
    shown = panels(name, window, [Panel(clipped(one.title, 30), layers, one.note)], clipped(one.title, 60))
    return svg.element("div", store(name, [stored], paths), shown, class_="shot")


def _cut(pixels: np.ndarray, window: Window) -> np.ndarray:
    return np.ascontiguousarray(pixels[window.y1 : window.y2, window.x1 : window.x2])


def _seen(record: Record, window: Window, focus: int | None) -> list[int]:
    """Annotations of an image that reach into a window, the one that it is about last, on top."""
    boxes = record.boxes
    inside = (boxes[:, 0] < window.x2) & (boxes[:, 2] > window.x1) & (boxes[:, 1] < window.y2) & (boxes[:, 3] > window.y1)
    others = [i for i in np.flatnonzero(inside).tolist() if i != focus][:MOST_OUTLINES]
    return others if focus is None else [*others, focus]


def _box_path(box: np.ndarray) -> str:
    x1, y1, x2, y2 = (svg.pixel(float(value)) for value in box)
    return f"M{x1} {y1}H{x2}V{y2}H{x1}z"
