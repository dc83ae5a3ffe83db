"""Checks of the keys that say what happens from the model's output to the result: metrics, steps, views, members."""

from typing import Any

from ppdet_ext.host.registry import METRICS, STEPS

from .arguments import check_transforms, registered_classes
from .files import nearest
from .problems import Problems

POSTPROCESS, VIEWS, ENSEMBLE = "PostProcess", "TestTimeAugmentation", "Ensemble"
INFERENCE = (POSTPROCESS, VIEWS, ENSEMBLE)
FLIPS = ("none", "horizontal", "vertical", "both")
MEMBER_KEYS = {"weights": str, "config": str, "weight": (int, float)}


def check_metric(value: Any, problems: Problems) -> None:
    """`metric`: a name, or a list of names of which the first one decides which weights are the best."""
    names = [value] if isinstance(value, str) else value
    if not names or not all(isinstance(name, str) for name in names):
        problems.add(("metric",), f"metric is {value!r}; expected a name or a list of names: {', '.join(METRICS)}.")
        return
    for name in names:
        if name not in METRICS:
            problems.add(("metric",), f"there is no metric {name!r}.{nearest(name, METRICS)} There are {', '.join(METRICS)}.")


def check_inference(key: str, value: Any, problems: Problems) -> None:
    """One of the keys `INFERENCE`; what is wrong goes to `problems`."""
    if key == POSTPROCESS:
        check_transforms((key,), value, STEPS, problems, "step")
    elif key == VIEWS:
        _check_views(value, problems)
    else:
        _check_ensemble(value, problems)


def _check_views(value: Any, problems: Problems) -> None:
    known = ("resizes", "flips")
    if not isinstance(value, dict):
        problems.add((VIEWS,), f"{VIEWS} is {value!r}; expected keys {', '.join(known)}.")
        return
    for name, item in value.items():
        if name not in known:
            problems.unknown((VIEWS, str(name)), known, VIEWS)
        elif name == "resizes":
            check_transforms((VIEWS, name), item, registered_classes(), problems)
        elif not isinstance(item, list) or not item or set(map(str, item)) - set(FLIPS):
            problems.add((VIEWS, name), f"{VIEWS}.{name} is {item!r}; expected a list of {', '.join(FLIPS)}.")


def _check_ensemble(value: Any, problems: Problems) -> None:
    if not isinstance(value, list) or not value:
        problems.add((ENSEMBLE,), f"{ENSEMBLE} is {value!r}; expected a list of weights, or of {{weights: …, config: …}}.")
        return
    for index, member in enumerate(value):
        here = (ENSEMBLE, str(index))
        if isinstance(member, str):
            continue
        if not isinstance(member, dict) or not isinstance(member.get("weights"), str):
            problems.add(here, f"{'.'.join(here)} is {member!r}; expected a path, or {{weights: path, config: path}}.")
            continue
        for name, item in member.items():
            if name not in MEMBER_KEYS:
                problems.unknown((*here, str(name)), MEMBER_KEYS, ENSEMBLE)
            elif not isinstance(item, MEMBER_KEYS[name]) or isinstance(item, bool) or (name == "weight" and not item > 0):
                wanted = "a number above 0" if name == "weight" else "a path"
                problems.add((*here, name), f"{'.'.join((*here, name))} is {item!r}; expected {wanted}.")
