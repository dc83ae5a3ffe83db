"""The sections `images` and `categories` of a COCO JSON, checked before anything uses them."""

from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError


def checked_images(images: list[dict], problems: Problems) -> list[dict]:
    """The entries by id, without those that lack a key, have no size, or repeat an id; these become problems."""
    checked: dict[int, dict] = {}
    for position, image in enumerate(images):
        fault = _fault(image)
        if fault is not None:
            problems.add("image entries that cannot be used", f"entry {position} ({_short(image)}): {fault}")
        elif image["id"] in checked:
            problems.add("images listed twice under one id", f"id {image['id']} ({image['file_name']})")
        else:
            checked[image["id"]] = image
    return [checked[number] for number in sorted(checked)]


def checked_categories(path: str, categories: list[dict]) -> list[tuple[int, str]]:
    """(id, name) of the categories by id. Raises: UserError for one without either, or an id used twice."""
    found = {}
    for position, category in enumerate(categories):
        try:
            number, name = int(category["id"]), str(category["name"])
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path}: entry {position} of categories ({_short(category)}) needs an id and a name.") from None
        if number in found:
            raise UserError(f"{path}: the category id {number} is used twice ({found[number]}, {name}).")
        found[number] = name
    return sorted(found.items())


def _fault(image: object) -> str | None:
    if not isinstance(image, dict):
        return "it is no object"
    missing = [key for key in ("id", "file_name", "height", "width") if image.get(key) is None]
    if missing:
        return f"{', '.join(missing)} is missing"
    if not isinstance(image["id"], int) or not isinstance(image["file_name"], str):
        return "id must be a whole number and file_name a text"
    if not all(isinstance(image[key], int | float) and image[key] >= 1 for key in ("height", "width")):
        return f"height {image['height']!r} and width {image['width']!r} must be positive numbers"
    return None


def _short(entry: object) -> str:
    text = str(entry)
    return text if len(text) <= 80 else text[:77] + "..."
