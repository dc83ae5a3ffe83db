"""Colours of all pages, once: of themes, of truth and prediction, of right and wrong pixels, of classes.

Truth and prediction, right and wrong are Okabe and Ito's (https://jfly.uni-koeln.de/color/), which people who are colour-blind
tell apart. They are the same in both themes, for they lie on pictures.
"""

from ppdet_ext.drawing.detections import colour_of

TRUTH = "#009e73"
PREDICTION = "#56b4e9"  # their sky blue: their blue is lost on dark sheets
TRUE_POSITIVE = "#009e73"  # pixels of both
FALSE_POSITIVE = "#d55e00"  # of the prediction alone
FALSE_NEGATIVE = "#cc79a7"  # of the truth alone
UNSURE = "#e69f00"
OTHER = "#8a909a"

FIXED = {
    "truth": TRUTH, "prediction": PREDICTION, "tp": TRUE_POSITIVE, "fp": FALSE_POSITIVE, "fn": FALSE_NEGATIVE,
    "unsure": UNSURE, "other": OTHER,
}  # fmt: skip
LIGHT = {
    "page": "#fafaf8", "card": "#ffffff", "raised": "#f2f3f5", "ink": "#1b1e23", "muted": "#565d68", "line": "#e2e4e8",
    "strong-line": "#c3c8d0", "accent": "#2456b8", "accent-soft": "#e7eefb", "good": "#00714f", "bad": "#b34a00",
    "prediction-text": "#0067a3",
}  # fmt: skip
DARK = {
    "page": "#121418", "card": "#191c21", "raised": "#22262d", "ink": "#e8eaed", "muted": "#a5acb8", "line": "#2b3038",
    "strong-line": "#454c58", "accent": "#8fb4ff", "accent-soft": "#1f2a40", "good": "#35c596", "bad": "#ff9a57",
    "prediction-text": "#56b4e9",
}  # fmt: skip


def class_colour(label: int) -> str:
    """CSS colour of a contiguous class label, as in the project's pictures."""
    return "#{:02x}{:02x}{:02x}".format(*colour_of(label))


def css_variables() -> str:
    """The style sheet's variables: light, dark where the system or the page's switch asks for it, light on paper."""
    fixed, light, dark = (_declared(colours) for colours in (FIXED, LIGHT, DARK))
    return (
        f":root{{color-scheme:light;{fixed}{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
        f"@media print{{:root,:root:not([data-theme=light]),:root[data-theme=dark]{{color-scheme:light;{light}}}}}\n"
    )


def _declared(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())
