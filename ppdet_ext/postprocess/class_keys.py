"""Which class a key of a configuration means, and which key means a class."""

from collections import Counter
from collections.abc import Sequence

from ppdet_ext.errors import UserError, nearest

# In a mapping of values by class, this is the value of the classes that it does not name.
DEFAULT = "default"


def label_of(name: object, class_names: Sequence[str], category_ids: Sequence[int], key: str) -> int:
    """The label of a class by its name, or by its category id where no class has that name.

    Raises: UserError beginning with `key`: no such class (the nearest is named), or several of that name.
    """
    names, ids = [str(one) for one in class_names], [str(one) for one in category_ids]
    named = [label for label, one in enumerate(names) if one == str(name)]
    if len(named) > 1:
        raise UserError(f"{key}: {len(named)} classes are named {name!r}; give their category ids in place of the name.")
    if named:
        return named[0]
    if str(name) in ids:
        return ids.index(str(name))
    hint = nearest(name, [*ids, *names]) or f" There are {', '.join(names[:20])}."
    raise UserError(f"{key}: there is no class {name!r}.{hint}")


def class_keys(class_names: Sequence[str], category_ids: Sequence[int]) -> list[str | None]:
    """By label, the key of a mapping that `label_of` finds the class by: its name, or else its category id.

    None for a class that no key means, as one named "default" whose id is another's name: a list of values can tell it.
    """
    names, ids = [str(one) for one in class_names], [str(one) for one in category_ids]
    several = {name for name, count in Counter(names).items() if count > 1}
    by_id = [None if one in names else one for one in ids]
    return [its_id if name == DEFAULT or name in several else name for name, its_id in zip(names, by_id)]
