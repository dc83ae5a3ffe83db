"""What the user sees of a search for a classifier's thresholds, and the YAML that the other tools take."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ppdet_ext.postprocess import class_keys

from .options import Searching
from .presence import ClassPresence, PresenceTuned, gate_entry
from .report import flow

NAMES = {"f1": "F1", "accuracy": "accuracy"}


def format_presence(tuned: PresenceTuned) -> str:
    """A line a class: images that have it, its best threshold and the folds' spread, the criterion, what is written."""
    wide = max(len("class"), *(len(one.name) for one in tuned.classes))
    name = NAMES[tuned.criterion]
    lines = [
        f"{name} of each class on {tuned.images} images; the best common threshold is {tuned.common:g}",
        f"{'class':{wide}s}  {'images':>6s}  {'best at':>7s}  {'in folds':>13s}  {'common':>6s}  {'own':>6s}  "
        f"{'common*':>7s}  {'own*':>6s}  written",
    ]
    lines += [_row(one, wide) for one in tuned.classes]
    lines.append(
        f"{'mean':{wide}s}  {'':6s}  {'':7s}  {'':13s}  {tuned.mean('common'):6.4f}  {tuned.mean('own'):6.4f}  "
        f"{_number(tuned.mean('held_common')):>7s}  {_number(tuned.mean('held_own')):>6s}"
    )
    if tuned.folds:
        lines.append(f"* on images that were not searched on, over {tuned.folds} folds")
    return "\n".join([*lines, summary_line(tuned)])


def _row(one: ClassPresence, wide: int) -> str:
    spread = f"{one.spread[0]:g} to {one.spread[1]:g}" if one.spread else "-"
    return (
        f"{one.name:{wide}s}  {one.positives:6d}  {one.own_threshold:7g}  {spread:>13s}  {one.common:6.4f}  {one.own:6.4f}  "
        f"{_number(one.held_common):>7s}  {_number(one.held_own):>6s}  {one.threshold:g}"
    )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def summary_line(tuned: PresenceTuned) -> str:
    """The criterion as it would be without a search, and with what is written."""
    written = [one.own if one.threshold != tuned.common else one.common for one in tuned.classes if one.positives]
    mean = sum(written) / len(written)
    return f"mean {NAMES[tuned.criterion]} {tuned.half:.4f} at 0.5, {mean:.4f} as written ({mean - tuned.half:+.4f}, in-sample)"


def presence_warnings(tuned: PresenceTuned, searching: Searching) -> list[str]:
    """Why classes have the common threshold, and what nobody has checked."""
    fallen = [
        one.name
        for one in tuned.classes
        if one.threshold == tuned.common and one.own - one.common > searching.min_gain and one.positives
    ]
    few = [one.name for one in tuned.classes if one.positives < searching.min_instances]
    unsure = [name for name in fallen if name not in few]
    warnings = []
    if not tuned.folds:
        warnings.append("Nothing tells whether the thresholds hold up on other images: there was no cross-fold check.")
    if few:
        warnings.append(
            f"Fewer than {searching.min_instances} images (--min_instances) have {', '.join(few)}: the common threshold is "
            "written for them."
        )
    if unsure:
        warnings.append(
            f"Thresholds of their own do not hold up on other images (cross-validated) for {', '.join(unsure)}: the common one "
            "is written (--keep_per_class writes them all the same)."
        )
    return warnings


def _dumped(section: Mapping[str, Any]) -> list[str]:
    return yaml.safe_dump(section, sort_keys=False, width=110, allow_unicode=True).splitlines()


def presence_yaml(
    tuned: PresenceTuned,
    searching: Searching,
    class_names: Sequence[str],
    category_ids: Sequence[int],
    classifiers: Sequence[Mapping[str, Any]],
    command: str,
) -> str:
    """Configuration sections with comments: `Classifier`, and `PostProcess` with the gate.

    classifiers: {"config": …, "weights": …} each, which gave the probabilities.
    """
    comments = [
        "Thresholds of a classifier, found by tools/tune.py; tools/tune.py -c <a segmentation model> --postprocess <this file>",
        "searches that model's thresholds behind the gate, and its file holds these lines, too.",
        f"Command: {command}",
        *format_presence(tuned).splitlines(),
        *presence_warnings(tuned, searching),
    ]
    named = [dict(one) for one in classifiers]
    # What the gate leaves counts as found, whatever its score.
    classifier = {"Classifier": named[0] if len(named) == 1 else named}
    section = {"PresenceF1": {"threshold": 0}}
    step, arguments = next(iter(gate_entry(tuned, class_keys(class_names, category_ids)).items()))
    lines = [f"# {comment}".rstrip() for comment in comments]
    lines += _dumped(classifier)
    lines.append("# The gate below decides; without this, tools/eval.py of the classifier would cut at 0.5 once more.")
    lines += _dumped(section)
    return "\n".join([*lines, "PostProcess:", f"  - {step}: {flow(arguments)}"]) + "\n"
