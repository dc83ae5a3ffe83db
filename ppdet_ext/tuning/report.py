"""What the user sees of a search: the ablation of gains, and the YAML that eval, infer and submit take."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ppdet_ext.evaluation.metric import gain_over_nothing

from .problem import Problem
from .search import FIRST, TITLES, SearchStage
from .tuner import Tuned

FIELDS = {title: field for field, title in TITLES.items()}


def format_ablation(name: str, tuned: Tuned) -> str:
    """A line a stage: what was searched, its value, the metric, the gain over the stage before; then the check."""
    rows = [(_title(stage, tuned), stage.value) for stage in tuned.stages]
    if tuned.stages[-1].value <= tuned.common.value:
        rows[-1] = ("per class: no class gains", tuned.common.value)
    wide = max(len(title) for title, _ in rows)
    lines = [f"{'':{wide}s}  {name:>15s}  {'gain':>8s}"]
    before = rows[0][1]
    for title, value in rows:
        gain = f"{value - before:+8.4f}" if title != rows[0][0] else ""
        lines.append(f"{title:{wide}s}  {value:15.4f}  {gain}".rstrip())
        before = value
    lines += cross_lines(tuned)
    lines.append(
        f"{tuned.settings} settings in {tuned.seconds:.0f} s; {tuned.kept} of {tuned.candidates} candidates remain; "
        f"all steps as they run: {tuned.before:.4f} as configured, {tuned.after:.4f} as written"
    )
    lines += [*nothing_lines(name, tuned), rounding_line(tuned)]
    return "\n".join(lines)


def nothing_lines(name: str, tuned: Tuned) -> list[str]:
    """What an empty submission scores, where that is anything."""
    text = gain_over_nothing(name, tuned.after, tuned.nothing)
    return [text] if text else []


def rounding_line(tuned: Tuned) -> str:
    """How exact the numbers are."""
    return (
        f"mask probabilities are stored to 1/255; half of that in all mask thresholds moves the result by {tuned.rounding:.1g}"
    )


def cross_lines(tuned: Tuned) -> list[str]:
    """In-sample gains beside those of the cross-fold check."""
    cross, first, common, own = tuned.cross, tuned.stages[0], tuned.common, tuned.stages[-1]
    if cross is None:
        return []
    return [
        f"cross-validated over {cross.folds} folds{_without(tuned)}: "
        f"global {_both(cross.global_value, common.value, first.value)}, "
        f"per class {_both(cross.per_class_value, own.value, first.value)}"
    ]


def _both(held_out: float, in_sample: float, before: float) -> str:
    return f"{held_out:.4f} ({held_out - before:+.4f}; in-sample {in_sample - before:+.4f})"


def _without(tuned: Tuned) -> str:
    return f" without {' and '.join(tuned.unseen)}" if tuned.unseen else ""


def _title(stage: SearchStage, tuned: Tuned) -> str:
    if stage.title in FIELDS:
        return f"{stage.title} {stage.setting.common(FIELDS[stage.title]):g}"
    if stage.title == "together":
        searched = [FIELDS[one.title] for one in tuned.stages if one.title in FIELDS]
        values = ", ".join(f"{stage.setting.common(field):g}" for field in searched)
        return f"together: {values}"
    if stage.title == "per class":
        return f"per class, {stage.setting.different_from(tuned.common.setting)} of {len(stage.setting.classes)} classes"
    if stage.title == FIRST:
        return f"{FIRST}{_without(tuned)}, scores from {stage.setting.common('score'):g}"
    return stage.title


def tuned_yaml(
    name: str,
    tuned: Tuned,
    problem: Problem,
    sections: Mapping[str, Any],
    command: str,
    tool: str = "tools/tune.py",
) -> str:
    """Configuration sections with comments.

    Args:
        name: of the metric.
        tuned, problem: see there.
        sections: of the configuration, that the thresholds belong to: views and members, and thresholds that the candidates
            were predicted with, which come last.
        command: that found them, and the tool that it calls.
    """
    comments = [
        f"Thresholds found by {tool}, for eval.py, infer.py and submit.py: --postprocess <this file>",
        f"Command: {command}",
        f"Metric: {name} on {len(problem.records)} images, {tuned.after:.6f} ({tuned.before:.6f} with the configuration's)",
        *(line[0].upper() + line[1:] for line in [*cross_lines(tuned), *nothing_lines(name, tuned), rounding_line(tuned)]),
        *tuned.warnings,
    ]
    lines = [f"# {comment}" for comment in comments]
    # Thresholds are those of the averaged scores, so what they are averaged over belongs to them.
    *averaged, (model, thresholds) = sections.items()
    lines += yaml.safe_dump(dict(averaged), sort_keys=False, width=110, allow_unicode=True).splitlines() if averaged else []
    lines.append(f"{model}: {flow(dict(thresholds))}")
    lines.append("PostProcess:")
    for entry in problem.entries(tuned.chosen.setting):
        step, arguments = next(iter(entry.items()))
        lines.append(f"  - {step}: {flow(arguments or {})}")
    return "\n".join(lines) + "\n"


def flow(value: Mapping[str, Any]) -> str:
    """A mapping on one line of YAML, or on several below the step that it belongs to."""
    text = yaml.safe_dump(dict(value), default_flow_style=True, sort_keys=False, width=110, allow_unicode=True).rstrip()
    return text.replace("\n", "\n     ")


def command_line(tool: str, words: Sequence[str]) -> str:
    """The command as a shell takes it, without folders of this machine: absolute paths are cut to their last part."""
    return shlex.join(["python", tool, *(_without_folder(word) for word in words)])


def _without_folder(word: str) -> str:
    key, equals, value = word.rpartition("=")
    return f"{key}{equals}{value.rstrip('/').rpartition('/')[2]}" if value.startswith(("/", "~")) else word
