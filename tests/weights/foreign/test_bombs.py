"""Small files that would take all memory or all time: read under a limit of 256 MiB above what the imports take."""

from tests.hostile.memory import demand_refusals

CUT, ENDS = "it is cut short", "its pickle ends before its value is complete"
EXPECTED = {
    "marks": CUT,
    "dictionaries": CUT,
    "sets": CUT,
    "remembered lists": CUT,
    "nested tuples": "it holds a tuple",
    "nested lists": "it holds a list",
    "nested tuples as a key": "key of type tuple",
    "nested tuples as a storage": "not built on a storage",
    "nested tuples in getattr": "builtins.getattr, which is not data",
    "shared lists": ENDS,
    "copied sizes": "torch.Size is not a short tuple",
    "arguments of inert calls": ENDS,
    "calls with many arguments": CUT,
    "colliding keys": "whole number beyond 2^31",
    "colliding keys of an OrderedDict": "whole number beyond 2^31",
    "whole numbers as keys": "of 10000 items or more has a number as a key",
    "whole numbers as keys of an OrderedDict": "of 10000 items or more has a number as a key",
    "an optimizer of 10,000 parameters": "READ",
    "fractions as keys": "of 10000 items or more has a number as a key",
    "views": "reaches beyond storage 0",
    "strangers with one state": "it asks for strange.Net, which is not data",
    "a module of itself, often": "beyond what a model has",
    "a long history": "it holds a list",
    "legacy marks": ENDS,
    "safetensors header": "header would have 1099511627776 bytes",
    "safetensors header of text": "no sound safetensors file",
    "safetensors offsets": "no sound safetensors file",
}


def test_bombs_are_refused_in_little_memory() -> None:
    demand_refusals("tests.weights.foreign.bombs", EXPECTED)
