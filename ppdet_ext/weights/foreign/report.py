"""What a plan says: the table of a conversion, and the error where file and model do not fit."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ppdet_ext.errors import OtherModelError, UserError
from ppdet_ext.modeling.backbones import ENCODERS

from .encoders import fitting_encoder
from .naming import reference_names
from .plan import ADAPTATIONS, Plan, unet_widths

SHOWN = 10
# A decoder and a tensor that only it has, under SMP's names; "" is one that is not here.
_DECODERS = [
    ("", r"decoder\.(center\.top_conv|fpa|fpn_)"),  # MAnet, whose blocks are called as U-Net's; PAN; UPerNet
    ("UNetPlusPlusDecoder", r"decoder\.blocks\.x_0_0\."),
    ("UNetDecoder", r"decoder\.blocks\.0\.conv1\."),
    ("LinknetDecoder", r"decoder\.blocks\.0\.block\."),
    ("FPNDecoder", r"decoder\.p5\."),
    ("PSPDecoder", r"decoder\.psp\.blocks\.0\.pool\."),
    ("DeepLabV3PlusDecoder", r"decoder\.aspp\.0\."),
    ("DeepLabV3Decoder", r"decoder\.aspp\.convs\."),
]


def shortened(lines: Sequence[str]) -> str:
    """Up to ten lines, indented, and how many more there are."""
    more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*lines[:SHOWN], *more])


def encoder_hint(encoder: Mapping[str, Sequence[int]], root: str, model: Mapping[str, Sequence[int]]) -> str:
    """'; its encoder is …' where the file's encoder is another one than the model's, else ''.

    Args:
        encoder: shapes in the file, by SMP's bare names.
        root: see `root_of`.
        model: our shapes, by our names; without them nothing is said.
    """
    found = fitting_encoder(encoder) if encoder and model else None
    if found is None:
        return ""
    own = {theirs.removeprefix(root): tuple(model[ours]) for ours, theirs in reference_names(model).items()}
    configured = fitting_encoder(own)
    if found == configured:
        return ""
    here = f"; its encoder is {found}, the configured one {configured or 'is none of its kind'}"
    kind = ENCODERS[found].__name__
    other = "" if configured and ENCODERS[configured].__name__ == kind else f"encoder: {kind}, "
    remedy = f": configure that one ({other}{kind}.name={found}), or take other weights"
    return here + (remedy if root == "encoder." else "")


def difference_hint(plan: Plan, model: Mapping[str, Sequence[int]]) -> str:
    """'; …', what is behind the differences of file and model, if that can be told, else ''."""
    if not plan.missing and _of_images(plan.left_over):
        return "; it has a head that classifies images, which SemanticSegmentor.classifier=true adds"
    if not plan.left_over and _of_images(plan.missing):
        return "; it has no head that classifies images: set SemanticSegmentor.classifier=false"
    encoder = encoder_hint(plan.encoder, plan.root, model)
    if plan.root == "encoder." and plan.encoder and not any(name.startswith("encoder.") for name in plan.mapped):
        encoder = encoder or "; its encoder is none of those here"
    return encoder + (_decoder_hint(plan, model) or _widths_hint(plan, model))


def _of_images(names: Sequence[str]) -> bool:
    return bool(names) and all(name.startswith("classification_head.") for name in names)


def outputs_of(plan: Plan) -> str:
    """'it has 4 outputs, the configured model 5 …'; of detectors, classes."""
    here = f"the configured model {plan.classes[1]}"
    if plan.root == "backbone.":
        return f"it has {plan.classes[0]} classes, {here}"
    return f"it has {plan.classes[0]} outputs, {here} (with task: multiclass one more than classes, the background)"


def decoder_of(names: Iterable[str]) -> str | None:
    """The class that tensors under SMP's names are of, "" for a decoder that is not here, None where there is none."""
    listed = list(names)
    known = (name for name, pattern in _DECODERS if any(re.match(pattern, one) for one in listed))
    return next(known, "" if any(one.startswith("decoder.") for one in listed) else None)


def _decoder_hint(plan: Plan, model: Mapping[str, Sequence[int]]) -> str:
    """'; its decoder is …' where the file's is another one than the model's, or has scSE where that has not, else ''."""
    theirs = list(plan.naming.names.values())
    found, own = decoder_of(theirs), decoder_of(model)
    if not own or found is None:
        return ""
    if found != own:
        kind = f"{found}, the configured one {own}: set SemanticSegmentor.decoder={found}" if found else "none of those here"
        return f"; its decoder is {kind}"
    gates = [any(".attention.cSE." in name for name in names) for names in (theirs, model)]
    if gates[0] == gates[1]:
        return ""
    return f"; its decoder has {'' if gates[0] else 'no '}scSE: set {own}.attention={'scse' if gates[0] else 'null'}"


def _widths_hint(plan: Plan, model: Mapping[str, Sequence[int]]) -> str:
    """'; its U-Net has …' where file and model are U-Nets of other channels, else ''."""
    own = unet_widths({theirs: model[ours] for ours, theirs in reference_names(model).items()})
    if not own or not plan.widths or own == plan.widths:
        return ""
    there, here = (str(list(widths)).replace(" ", "") for widths in (plan.widths, own))
    return f"; its U-Net has the channels {there}, the configured one {here}: set UNetDecoder.channels={there}"


def demand_exact(path: object, plan: Plan, drop: bool, remedy: str, model: Mapping[str, Sequence[int]] | None = None) -> None:
    """UserError unless every tensor of file and model has its counterpart.

    Args:
        path: the file, for messages.
        plan: of the file.
        drop: tensors that depend on the number of classes may be left out.
        remedy: what the user does about a differing number of classes.
        model: our shapes, by our names; with them the message says which encoder the file's is.
    """
    differ = [*plan.other_shape, *(f"{name}: missing in the file" for name in plan.missing)]
    differ += [f"{name}: not in the model" for name in plan.left_over]
    if differ:
        raise OtherModelError(
            f"Weights file {path} is of another architecture than the configured model: {len(plan.mapped)} tensors match, "
            f"{len(differ)} differ{difference_hint(plan, model or {})}:{shortened(differ)}"
        )
    if plan.backbone_only:
        raise UserError(f"Weights file {path} holds a backbone alone; use it by -o pretrain_weights={path}")
    if plan.dropped and not drop:
        counts = "the semantic branch has another number of classes"
        if _of_images(list(plan.dropped)):
            counts = "its head that classifies images has another number of outputs"
            remedy = f"-o pretrain_weights={path} takes all but that head."
        if plan.classes[0] != plan.classes[1]:
            counts = outputs_of(plan)
        lines = [f"{name}: {shapes}" for name, shapes in plan.dropped.items()]
        raise UserError(f"Weights file {path} does not fit: {counts}. {remedy} These tensors differ:{shortened(lines)}")


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
    for how, (_, meaning) in ADAPTATIONS.items():
        names = [name for name in plan.adapted if plan.adapted[name] == how]
        lines += [f"{name}: {meaning}" for name in names]
    if plan.dropped:
        listed = [f"{name}: {shapes}" for name, shapes in plan.dropped.items()]
        lines.append(f"dropped {len(listed)} for another number of classes:\n  " + "\n  ".join(listed))
    lines.append(f"missing {len(plan.missing)}, left over {len(plan.left_over)}")
    return "\n".join(lines) + shortened([*plan.missing, *plan.left_over])
