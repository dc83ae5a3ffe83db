"""Small files that would take all memory or all time: read under a limit of 256 MiB above what the imports take."""

from tests.hostile.memory import demand_refusals

CUT, DEEP = "it is cut short", "more than 8 containers inside each other"
EXPECTED = {
    "marks": CUT,
    "dictionaries": CUT,
    "remembered lists": CUT,
    "sets": CUT,
    "nested tuples": DEEP,
    "nested lists": DEEP,
    "nested tuples as a key": "key of type tuple",
    "nested tuples as a shape": "whole numbers from 0 to",
    "nested tuples as a type": "not of plain numbers",
    "nested tuples as a rate": DEEP,
    "shared lists": "more than 500000 values",
    "shared lists in a schedule": DEEP,
    "colliding keys": "whole number beyond 2^31",
    "fractions as keys": "of 10000 items or more has a number as a key",
    "bytes that are not there": "it is cut short",
    "frame": "it is cut short",
    "billion laughs": "once aliases are written out",
    "a merge of merges": "once aliases are written out",
    "a chain of aliases": "more than 40 lists and sections",
    "100,000 lists deep": "more than 40 lists and sections",
    "text of 10 MB": "longer than 256 KiB",
    "100,000 values": "more than 20000 values",
    "a hole of 1 TiB": "more than this machine's memory",
    "a hole of 1 GiB": "needs more memory than is free",
}


def test_bombs_are_refused_in_little_memory() -> None:
    demand_refusals("tests.hostile.bombs", EXPECTED)
