"""Classes and attributes of the fashion sample, and iMaterialist's file of their names."""

import json

CATEGORIES: tuple[tuple[str, str], ...] = (
    ("shirt", "upperbody"), ("jacket", "upperbody"), ("trousers", "lowerbody"), ("skirt", "lowerbody"),
    ("dress", "wholebody"), ("bag", "others"), ("shoe", "legs and feet"), ("collar", "garment parts"),
    ("sleeve", "garment parts"), ("buckle", "closures"),
)  # fmt: skip
SHIRT, JACKET, TROUSERS, SKIRT, DRESS, BAG, SHOE, COLLAR, SLEEVE, BUCKLE = range(len(CATEGORIES))

ATTRIBUTES: tuple[tuple[str, str], ...] = (
    ("plain", "textile pattern"), ("striped", "textile pattern"), ("checked", "textile pattern"),
    ("dotted", "textile pattern"), ("knitted", "textile finishing"), ("sleeveless", "length"),
    ("short sleeve", "length"), ("long sleeve", "length"), ("mini", "length"), ("midi", "length"),
)  # fmt: skip
PLAIN, STRIPED, CHECKED, DOTTED, KNITTED, SLEEVELESS, SHORT_SLEEVE, LONG_SLEEVE, MINI, MIDI = range(len(ATTRIBUTES))


def label_descriptions() -> bytes:
    """Content of label_descriptions.json, with the keys of the real file."""
    info = {
        "year": 2019,
        "version": "1.0",
        "description": "Drawn fashion pictures in the layout of the 2019 iMaterialist Fashion competition.",
        "contributor": "ppdet_ext.data.sample",
        "url": "",
        "date_created": "",
    }
    content = {"info": info, "categories": _entries(CATEGORIES, 2), "attributes": _entries(ATTRIBUTES, 1)}
    return (json.dumps(content, indent=2) + "\n").encode()


def _entries(names: tuple[tuple[str, str], ...], level: int) -> list[dict]:
    return [{"id": k, "name": name, "supercategory": group, "level": level} for k, (name, group) in enumerate(names)]
