"""What is known of a data set, as frozen dataclasses: `explore.json` is `dataclasses.asdict` of `Exploration`.

The same data give the same bytes: there is no date and no duration in it. Sizes are in pixels, shares between 0 and 1,
`label` is the class, contiguous from 0, as in `Head.class_names`; what does not exist is None. Crowds count nowhere but where
they are named.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 1


@dataclass(frozen=True)
class PartFacts:
    """A data set of the configuration. name: train, eval, test. source: its files. fingerprint: of its records.

    empty: images without an object.
    """

    name: str
    source: str
    fingerprint: str
    annotated: bool
    images: int
    empty: int
    objects: int
    crowds: int


@dataclass(frozen=True)
class Head:
    """title: of the configuration. config: file. measured: objects whose shape was measured; 0 without masks.
    pixels: whether pictures were read."""

    title: str
    config: str
    class_names: list[str]
    parts: list[PartFacts]
    images: int
    objects: int
    measured: int
    pixels: bool


@dataclass(frozen=True)
class Advice:
    """What to look at. section: of the page. text: what is the matter. options: what to give after -o, each KEY=VALUE,
    unquoted, where that mends it. command: of another tool that does, or "". grave: whether a training would be wrong, or
    fail."""

    section: str
    text: str
    options: list[str]
    command: str
    grave: bool


@dataclass(frozen=True)
class ClassPart:
    """Of a class in a part: objects, images that show any, share of the part's pixels that they cover."""

    objects: int
    images: int
    area_share: float | None


@dataclass(frozen=True)
class ClassFacts:
    """A class. parts: in the order of `Head.parts`. area, aspect: medians; aspect is height over width of the box.

    area_low, area_high: 5 % and 95 % of the objects are smaller. weight: inverse of the number of objects, 1 on average.
    """

    label: int
    name: str
    parts: list[ClassPart]
    objects: int
    area: float | None
    area_low: float | None
    area_high: float | None
    aspect: float | None
    fill: float | None
    weight: float | None


@dataclass(frozen=True)
class Layer:
    """A histogram's layer: of a class, a part, or of all. counts: by bin."""

    name: str
    label: int | None
    counts: list[int]


@dataclass(frozen=True)
class Distribution:
    """How a property is distributed. of: objects or images. log: whether the edges are to be drawn so.

    low, median, high: 5 %, 50 %, 95 % are smaller.
    """

    key: str
    title: str
    unit: str
    of: str
    log: bool
    edges: list[float]
    layers: list[Layer]
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Places:
    """Where centres of boxes lie: counts (rows, columns) of all, and of each of the commonest classes. aspect: width over
    height of the usual image."""

    aspect: float
    all: list[list[int]]
    labels: list[int]
    by_class: list[list[list[int]]]


@dataclass(frozen=True)
class Together:
    """labels: of the commonest classes. images: (n, n) images that show both; the diagonal: images that show the class."""

    labels: list[int]
    images: list[list[int]]


@dataclass(frozen=True)
class SizeCount:
    """How many images have a size."""

    height: int
    width: int
    images: int


@dataclass(frozen=True)
class Odd:
    """An image that stands out. what: darkest, brightest, flattest, blurriest. value: in the unit of that distribution."""

    what: str
    part: str
    name: str
    value: float


@dataclass(frozen=True)
class Leak:
    """Images of several parts that are one. kind: "file", "picture" (the same, perhaps encoded anew), "photograph" (Roboflow's
    copies of one). images: (part, name) of the first ten of each part."""

    kind: str
    images: list[tuple[str, str]]


@dataclass(frozen=True)
class Leaks:
    """groups: the first of them; count: of all groups. affected: images outside of training that are in one.

    twice: images of a part that are duplicates of another one of the same part. looked: whether pixels were compared.
    """

    groups: list[Leak]
    count: int
    affected: int
    twice: int
    looked: bool


@dataclass(frozen=True)
class Problem:
    """Faults of one kind in a part's annotations. examples: the first ten. remedy: a sentence, or ""."""

    part: str
    kind: str
    count: int
    examples: list[str]
    remedy: str


@dataclass(frozen=True)
class Spot:
    """An object of an image. place: among the image's annotations. note: what is the matter, in words."""

    part: str
    name: str
    place: int
    label: int
    box: list[float]
    area: float
    note: str


@dataclass(frozen=True)
class Suspicion:
    """Objects that look wrong in one way. count: of all; spots: the first of them."""

    key: str
    title: str
    meaning: str
    count: int
    spots: list[Spot]


@dataclass(frozen=True)
class Resized:
    """What the reader's resizing leaves of objects. reader: TrainReader, …. size: (height, width) of the usual image then.

    small: objects whose box measures less than 8 px (root of its area) then. before: that do so already without resizing.
    lost: by class, by label.
    """

    reader: str
    size: tuple[int, int]
    objects: int
    small: int
    before: int
    lost: list[int]


@dataclass(frozen=True)
class AnchorFacts:
    """Anchors of the configuration, and what would fit better. reached: share of the boxes whose best anchor has an IoU of .5.

    by_class: reached by class, None without objects. boxes: how many were asked. best_…: what the search found.
    """

    ratios: list[float]
    scale: float
    inside_only: bool
    boxes: int
    reached: float
    by_class: list[float | None]
    best_ratios: list[float]
    best_scale: float
    best_inside_only: bool
    best_reached: float


@dataclass(frozen=True)
class Exploration:
    """Everything that the page says; what cannot be known without masks, objects or pixels is empty or None."""

    version: int
    head: Head
    advice: list[Advice]
    classes: list[ClassFacts]
    distributions: list[Distribution]
    places: Places | None
    together: Together | None
    sizes: list[SizeCount]
    odd: list[Odd]
    leaks: Leaks
    problems: list[Problem]
    suspicious: list[Suspicion]
    resized: list[Resized]
    anchors: AnchorFacts | None
