"""A plan as text."""

from collections import Counter

from .plan import Plan, shortened

_COLUMNS = ("mapped", "of these transposed", "dropped", "fresh")


def _part(name: str) -> str:
    return ".".join(name.split(".")[: 2 if name.startswith("roi_head.") else 1])


def format_plan(plan: Plan) -> str:
    """Counts for each part of the model, then by name what was not simply mapped."""
    counted = [Counter(map(_part, names)) for names in (plan.mapped, plan.transposed, plan.dropped, plan.fresh)]
    shown = [0, 1, *(i for i in (2, 3) if counted[i])]
    parts = list(dict.fromkeys(part for counter in counted for part in counter))
    rows = [["part", *(_COLUMNS[i] for i in shown)]]
    rows += [[part, *(str(counted[i][part]) for i in shown)] for part in parts]
    rows.append(["all", *(str(counted[i].total()) for i in shown)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]) for row in rows]
    for why, count in Counter(plan.skipped.values()).items():
        names = [name for name, reason in plan.skipped.items() if reason == why]
        lines.append(f"skipped {count}: {why} ({names[0]}{', …' if count > 1 else ''})")
    if plan.transposed:
        lines.append(f"transposed {len(plan.transposed)}: fully connected weights, (out, in) there, (in, out) here")
    if plan.dropped:
        listed = [f"{name}: {shapes}" for name, shapes in plan.dropped.items()]
        lines.append(f"dropped {len(listed)} for another number of classes:\n  " + "\n  ".join(listed))
    lines.append(f"missing {len(plan.missing)}, left over {len(plan.left_over)}")
    return "\n".join(lines) + shortened([*plan.missing, *plan.left_over])
