"""Which pictures there are, and whether each can be used."""

import contextlib
import functools
import logging
import os
import unicodedata
import urllib.parse
from collections.abc import Mapping, Sequence

from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError, counted

from .decode import check_end, image_size, orientation_of

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_SIDECARS = ("__macosx", ".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini")
_LOOKED_AT = 500
IMAGE_CHECKS = ("header", "exists", "none")

logger = logging.getLogger("ppdet_ext")


def list_images(folder: str) -> list[str]:
    """Names of the picture files directly in `folder`, sorted."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    tell_sidecars(folder, [name for name in names if is_sidecar(name)])
    return [name for name in names if _is_picture(name)]


def is_sidecar(name: str) -> bool:
    """Whether a file or folder is one that macOS or Windows puts beside pictures: `._a.jpg`, `__MACOSX`, `Thumbs.db`, …"""
    return name.startswith("._") or name.casefold() in _SIDECARS


@functools.lru_cache(64)
def _told_once(folder: str, text: str) -> None:
    logger.info("%s: %s", folder, text)


def tell_sidecars(folder: str, names: Sequence[str]) -> None:
    """Log, once a folder, that these are left out."""
    if names:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        _told_once(folder, f"{counted(len(names), 'files')} of macOS or Windows left out, no pictures ({shown})")


def _is_picture(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not is_sidecar(name)


def images_below(folder: str) -> list[str]:
    """Names, relative to `folder`, of the picture files in its sub-folders, sorted; hidden folders are passed over."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not is_sidecar(name)]
        if place != folder:
            here = os.path.relpath(place, folder)
            found += [os.path.join(here, name) for name in files if _is_picture(name)]
    return sorted(found)


def describe_below(names: Sequence[str]) -> str:
    """What to know of pictures in sub-folders that are not used, as of `images_below`."""
    folders = sorted({os.path.dirname(name) for name in names})
    shown = ", ".join(folders[:5]) + (", …" if len(folders) > 5 else "")
    verb = "is" if len(names) == 1 else "are"
    return f"{counted(len(names), 'pictures')} in {counted(len(folders), 'sub-folders')} {verb} not used ({shown})."


def pictures_in(folder: str) -> list[str]:
    """Files of the pictures directly in `folder`, sorted; a warning counts those in sub-folders.

    Raises: UserError where there are none.
    """
    files = [os.path.join(folder, name) for name in list_images(folder)]
    below = images_below(folder)
    found = f" {describe_below(below)}" if below else ""
    if not files:
        raise UserError(f"{folder}: no picture there ({', '.join(IMAGE_SUFFIXES)}).{found}")
    if below:
        logger.warning("%s:%s", folder, found)
    return files


def near_file(folder: str, name: str) -> str | None:
    """The file of `folder` that `name`, which is none, may be meant for; None if there is none like it.

    Written otherwise (capitals, Unicode, URL encoding), without its folder, or with another suffix or none.
    """
    files, stems = _files_by_plain_name(folder, os.stat(folder).st_mtime_ns if os.path.isdir(folder) else None)
    last = _plain(name.replace("\\", "/").rpartition("/")[2])
    found = files.get(_plain(name)) or files.get(last)
    if found is None:
        stem = os.path.splitext(last)[0] if last.endswith(IMAGE_SUFFIXES) else last
        alike = stems.get(stem, [])
        found = alike[0] if len(alike) == 1 else None
    return found


def _with_hint(missing: str) -> str:
    """A missing file's name in the folder that there is, and which file there has nearly this name, if one has."""
    folder, name = os.path.split(missing)
    while not os.path.isdir(folder) and folder not in ("", "/"):
        folder, part = os.path.split(folder)
        name = f"{part}/{name}"
    found = near_file(folder, name)
    other_form = found is not None and unicodedata.normalize("NFC", found) == unicodedata.normalize("NFC", name)
    hint = f" (there is {found}{', the same name in another Unicode form' if other_form else ''})"
    return f"{name}{hint if found else ''}"


@functools.lru_cache(4)
def _files_by_plain_name(folder: str, changed: int | None) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Files by their plain names, pictures by those without suffix; `changed`: when the folder was, None if there is none."""
    names = [name for name in os.listdir(folder) if not is_sidecar(name)] if changed is not None else []
    stems: dict[str, list[str]] = {}
    for name in filter(_is_picture, names):
        stems.setdefault(os.path.splitext(_plain(name))[0], []).append(name)
    return {_plain(name): name for name in names}, stems


def _plain(name: str) -> str:
    """A name without what differs between systems: capitals, URL encoding, Unicode's forms (macOS writes é as two)."""
    return unicodedata.normalize("NFC", urllib.parse.unquote(name)).casefold()


def ambiguous_orientations(sizes: Mapping[str, tuple[int, int]]) -> tuple[list[str], int]:
    """Files whose EXIF orientation leaves the size as it is, so that it cannot tell how annotations count pixels.

    Of many, 500 evenly spread are looked at; files that cannot be read are passed over.

    Args:
        sizes: file -> (height, width) as annotated.

    Returns: those files, and how many were looked at.
    """
    files = list(sizes)[:: max(1, -(-len(sizes) // _LOOKED_AT))]
    found = []
    for file in files:
        with contextlib.suppress(UserError):
            way, (height, width) = orientation_of(file), sizes[file]
            if way in (2, 3, 4) or (way > 4 and height == width):
                found.append(file)
    return found, len(files)


def _with_size(height: int, width: int) -> str:
    """How a configuration is told the size of all pictures."""
    sides = {"height": height, "width": width}
    keys = [f"{name}Dataset.{key}={side}" for name in ("Train", "Eval", "Test") for key, side in sides.items()]
    return f"-o {' '.join(keys)}; with new_config: --data height={height} width={width}"


def image_is_usable(
    path: str,
    size: tuple[int, int],
    check: str,
    present: bool,
    problems: Problems,
    row: int | None = None,
    of_all: bool = False,
) -> bool:
    """Whether a picture can be used; otherwise it is a problem.

    "exists" asks whether it is there (`present`), "header" also for the annotated (h, w) in its header and for its end.
    `row` is that of the annotations which names the picture and its size, where one does. `of_all`: the data set's keys
    height and width say the size, of all pictures.
    """
    if check == "none":
        return True
    name, where = os.path.basename(path), "" if row is None else f" (row {row})"
    if not present:
        problems.add(
            "images named by the annotations but missing on disk",
            f"{_with_hint(path)}{where}",
            remedy=f"Put them into {os.path.dirname(path)}, or take them out of the annotations.",
        )
        return False
    if check == "exists":
        return True
    try:
        found = image_size(path)
        # Annotations may count pixels before or after the EXIF rotation; ReadImage is told which.
        if size == found or size == image_size(path, exif=False):
            check_end(path)
            return True
        problems.add(
            "images whose size contradicts the annotations",
            f"{name} is {found[0]}x{found[1]}, annotated {size[0]}x{size[1]} (height x width){where}",
            remedy="Use pictures of the annotated size, whose pixels the masks count, or correct height and width"
            + (f" of the data sets: {_with_size(*found)}" if of_all else "."),
        )
    except UserError as fault:
        problems.add("unreadable images", str(fault))
    return False
