"""`Collector`: grows a `LabelSet` as a reader goes through its files, and accounts for what it leaves out."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from ppdet_ext.errors import UserError, counted
from ppdet_ext.structures import Rle

from .label_set import Box, LabelledImage, LabelledObject, LabelSet
from .pictures import Pictures
from .safety import LONGEST_SIDE, MOST_PIXELS, safe_name

_NAMED = 3
_MANY = 2000  # items from which progress is shown
_SUBSETS = {"training": "train", "valid": "val", "validation": "val", "testing": "test", "default": None, "": None}
_SUBSET_IN_NAME = re.compile("(?:^|[-_. ])(train|training|val|valid|validation|test)(?:[0-9]{4})?(?:$|[-_. ])")

Item = TypeVar("Item")


class Unusable(ValueError):
    """Why one object is left out: a reason in plain words that begins with a plural ("polylines")."""


class Spoiling(Unusable):
    """Why an object is left out that is likely a real one: its picture would teach that there is nothing, and goes, too."""


class Collector:
    """A `LabelSet` in the making.

        collector = Collector("mine", pictures)
        image = collector.image("a.jpg", 100, 200, where="labels.json: image 3")
        try:
            collector.add(image, "car", mask_of(item), where="item 7")
        except Unusable as reason:
            collector.skip(reason, where="item 7")
        return collector.result()

    Args:
        format: key of `FORMATS`.
        pictures: where the pictures' files are looked for.
    """

    def __init__(self, format: str, pictures: Pictures) -> None:
        self.format, self.pictures = format, pictures
        self.class_names: dict[str, None] = {}
        self.skipped: Counter[str] = Counter()
        self.notes: dict[str, None] = {}
        self._first: dict[str, list[str]] = {}
        self._images: dict[tuple[str | None, str], LabelledImage] = {}
        self._seen: dict[int, set[tuple[str, bytes, bool]]] = {}
        self._lost: set[int] = set()
        self._spoilt: set[int] = set()
        self.warnings: dict[str, None] = {}
        self._masks: list[str] = []
        self._merged = 0

    def add_class(self, name: Any, where: str) -> str:
        """Note that there is a class, also without an object. Raises: UserError for a name that is no text or blank."""
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{where}: {name!r} is no name of a class.")
        self.class_names.setdefault(name)
        return name

    def image(
        self, name: Any, height: Any, width: Any, where: str, subset: str | None = None, group: str | None = None
    ) -> LabelledImage:
        """The picture of that name and subset, new or as it was before; several entries of one picture share their objects.

        Raises: UserError beginning with `where` for a name that is not safe, a size that is none or contradicts another entry.
        """
        name = safe_name(name, where)
        size = _side(height, where), _side(width, where)
        if size[0] * size[1] > MOST_PIXELS:
            raise UserError(f"{where}: {size[0]}x{size[1]} pixels are more than the {MOST_PIXELS:,} that can be read.")
        known = self._images.get((subset, name))
        if known is None:
            file = self.pictures.find(name, subset)
            known = self._images[subset, name] = LabelledImage(name, *size, [], subset, file, group)
            self._seen[id(known)] = set()
        elif (known.height, known.width) != size:
            raise UserError(
                f"{where}: {name} is {size[0]}x{size[1]} here and {known.height}x{known.width} before (height x width): two "
                "pictures of one name. Import them one by one."
            )
        else:
            self._merged += 1
        return known

    def add(
        self, image: LabelledImage, class_name: str, mask: Rle, *,
        box: Box | None = None, crowd: bool = False, score: float | None = None, polygons: list[list[float]] | None = None,
    ) -> None:  # fmt: skip
        """Append an object. Raises: Unusable for an empty mask, and for one that repeats another of its class."""
        if not mask:
            raise Unusable("empty masks")
        key = class_name, mask.counts, crowd
        if key in self._seen[id(image)]:
            raise Unusable("objects that repeat another one")
        self._seen[id(image)].add(key)
        self.class_names.setdefault(class_name)
        image.objects.append(LabelledObject(class_name, mask, box, crowd, score, polygons))

    def skip(self, reason: object, where: str, image: LabelledImage | None = None) -> None:
        """Count an object that is left out; `where` (image or file, and its place there) is told for the first few.

        image: that shows the object. Without any other, or for a `Spoiling` reason, it is left out, too: it would teach that
            there is nothing.
        """
        text = str(reason)
        if image is not None:
            (self._spoilt if isinstance(reason, Spoiling) else self._lost).add(id(image))
        self.skipped[text] += 1
        if len(named := self._first.setdefault(text, [])) < _NAMED:
            named.append(where)

    def pass_over(self, is_mask: Callable[[str], bool]) -> None:
        """Note files among the pictures that are masks, by their relative names: no pictures that wait for labels."""
        folder = self.pictures.folder or ""
        self._masks += [os.path.join(folder, *name.split("/")) for name in self.pictures.all() if is_mask(name)]

    def note(self, text: str) -> None:
        """Tell the user of a decision, once."""
        self.notes.setdefault(text)

    def warn(self, text: str) -> None:
        """Tell the user, once, of what may be wrong with what is learnt."""
        self.warnings.setdefault(text)

    def result(self, source: str, hint: str = "") -> LabelSet:
        """What was collected. Pictures of one name in several subsets get the subset's name as their folder.

        Raises: UserError beginning with `source` where no object is left, with what was skipped, and `hint`.
        """
        for reason, places in self._first.items():
            more = ", …" if self.skipped[reason] > len(places) else ""
            self.note(f"skipped {counted(self.skipped[reason], reason)}: {', '.join(places)}{more}")
        known = list(self._images.values())
        spoilt = [image for image in known if id(image) in self._spoilt]
        images = [image for image in known if id(image) not in self._spoilt and (image.objects or id(image) not in self._lost)]
        if not any(image.objects for image in images):
            found = ", ".join(counted(number, reason) for reason, number in self.skipped.items())
            told = f"only {found}" if found else f"{counted(len(known), 'pictures')} without an object"
            raise UserError(f"{source}: no object with a mask, {told}.{f' {hint}' if hint else ''}")
        if lost := [image for image in known if not image.objects and id(image) in self._lost - self._spoilt]:
            self.note(f"{counted(len(lost), 'pictures')} left out that lost all objects: {_named(lost)}")
        if spoilt:
            told = "left out whole, for objects that cannot be read and would be learnt as background"
            self.warn(f"{counted(len(spoilt), 'pictures')} {told}: {_named(spoilt)}. The notes say which object, and why")
        if self._merged:
            self.note(
                f"{counted(self._merged, 'records')} of pictures that others have named before: their objects were joined"
            )
        self._tell_subsets_apart(images)
        files = [*(image.file for image in (*lost, *spoilt) if image.file is not None), *self._masks]
        warnings = list(self.warnings)
        return LabelSet(self.format, list(self.class_names), images, self.skipped, list(self.notes), files, warnings)

    def _tell_subsets_apart(self, images: list[LabelledImage]) -> None:
        names = Counter(image.name for image in images)
        several = [image for image in images if names[image.name] > 1]
        files = Counter(image.file for image in several if image.file)
        if files and (worst := files.most_common(1)[0])[1] > 1:
            raise UserError(
                f"{worst[0]}: {counted(worst[1], 'subsets')} name this picture, and only one file is there. Keep the folders "
                "of the export, or import the subsets one by one."
            )
        for image in several:
            image.name = f"{image.subset or 'default'}/{image.name}"
        if several:
            self.note(f"{counted(len(several), 'pictures')} of names that several subsets have: the subset became their folder")


def subset_name(text: Any) -> str | None:
    """A subset's usual name: "train", "val", "test" of however a tool calls it; None for what is none ("default")."""
    name = str(text or "").strip().lower()
    return _SUBSETS.get(name, name)


def subset_of_path(path: str) -> str | None:
    """The subset that a file's name (instances_val2017.json), or else its folder's, tells; None where neither does."""
    folder, file = os.path.split(os.path.abspath(path))
    for name in (os.path.splitext(file)[0], os.path.basename(folder)):
        if match := _SUBSET_IN_NAME.search(name.lower()):
            return subset_name(match[1])
    return None


def tracked(items: Sequence[Item], title: str, unit: str = "image") -> Iterable[Item]:
    """The items, with progress shown where they are many."""
    if len(items) < _MANY:
        return items
    from ppdet_ext.distributed.progress import track  # brings paddle

    return track(items, len(items), title, unit=unit)


def _named(images: Sequence[LabelledImage]) -> str:
    return ", ".join(image.name for image in images[:_NAMED]) + (", …" if len(images) > _NAMED else "")


def _side(value: Any, where: str) -> int:
    try:
        side = int(value)
        if side != float(value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: {str(value)[:40]!r} is no height or width in pixels.") from None
    if not 0 < side <= LONGEST_SIDE:
        raise UserError(f"{where}: a height or width of {side} pixels is outside 1 to {LONGEST_SIDE}.")
    return side
