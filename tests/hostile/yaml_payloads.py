"""Configurations that run something when `yaml.unsafe_load` or ppdet read them, and others that are none.

name -> (the file, what the refusal says). The canaries are those of `payloads`.
"""

from tests.hostile.payloads import CANARY

HEAD = "architecture: HybridTaskCascade\nnum_classes: 4\n"
SET = f"__import__('os').environ.__setitem__('{CANARY}', '1')"


def firing() -> dict[str, tuple[str, str]]:
    """Those that `yaml.unsafe_load` runs."""
    python, command = "tag:yaml.org,2002:python", f"touch {CANARY}"
    listed = f"[[touch, {CANARY}]]"
    return {
        "apply os.system": (f"a: !!python/object/apply:os.system ['{command}']", r"x\.yml:1: .*/apply:os\.system is refused"),
        "apply posix.system": (f"a: !!python/object/apply:posix.system ['{command}']", "apply:posix.system"),
        "apply subprocess": (f"a: !!python/object/apply:subprocess.call {listed}", "apply:subprocess.call"),
        "apply with keywords": (f"a: !!python/object/apply:os.mkdir {{kwds: {{path: {CANARY}}}}}", "apply:os.mkdir"),
        "apply eval": (f'a: !!python/object/apply:eval ["{SET}"]', "apply:eval"),
        "apply exec": (f'a: !!python/object/apply:exec ["{SET}"]', "apply:exec"),
        "apply Popen": (f"a: !!python/object/apply:subprocess.Popen {listed}", "apply:subprocess.Popen"),
        "module": (f"a: !!python/module:{CANARY} ''", f"python/module:{CANARY}"),
        "name in a module": (f"a: !!python/name:{CANARY}.os ''", f"python/name:{CANARY}.os"),
        "object of a module": (f"a: !!python/object:{CANARY}.Thing {{}}", f"python/object:{CANARY}.Thing"),
        "written in full": (f"a: !<{python}/object/apply:os.system> ['{command}']", "object/apply:os.system"),
        "by a handle": (f"%TAG !p! {python}/object/apply:\n---\na: !p!os.system ['{command}']", "apply:os.system"),
        "by the first handle": (f"%TAG ! {python}/object/apply:\n---\na: !os.system ['{command}']", "apply:os.system"),
        "as a key": (f"? !!python/object/apply:os.system ['{command}']\n: 1", "a key is a list or section"),
        "in a merge": (f"a: {{<<: {{b: !!python/object/apply:os.system ['{command}']}}}}", "apply:os.system"),
        "in _BASE_": (f"_BASE_: [!!python/object/apply:os.system ['{command}']]", "apply:os.system"),
    }  # fmt: skip


def of_ppdet() -> dict[str, tuple[str, str]]:
    """Others, most of which ppdet would run: its Callable, its eval() and its pickles."""
    return {
        "new object": ("a: !!python/object/new:subprocess.Popen [[true]]", "python/object/new:subprocess.Popen"),
        "inside a class": ("a: !LinearWarmup {steps: !!python/object/apply:os.system [x]}", "apply:os.system"),
        "Callable": (f"a: !Callable {{full_type: os.system, args: ['touch {CANARY}']}}", "unknown class !Callable"),
        "eval of norm_layer": (f'VisionTransformer: {{norm_layer: "{SET}"}}', "ppdet evaluates norm_layer as Python"),
        "eval of act_fn": (f'TransEncoder: {{act_fn: "{SET}"}}', "ppdet evaluates act_fn"),
        "eval of block_fn": (f'CustomCSPPAN: {{block_fn: "lambda *a: {SET}"}}', "ppdet evaluates block_fn"),
        "eval of stage_fn": (f'FasterRCNN: {{neck: {{name: CustomCSPPAN, stage_fn: "{SET}"}}}}', "evaluates stage_fn"),
        "eval of __import__": ("TransEncoder: {act_fn: os.__import__}", "evaluates act_fn"),
        "eval in a merge": (f'base: &b {{act_fn: "{SET}"}}\nTransEncoder: {{<<: *b}}', "evaluates act_fn"),
        "eval by an alias": (f'a: &a "{SET}"\nTransEncoder: {{act_fn: *a}}', "evaluates act_fn"),
        "pickle of a backbone": ("SwinTransformer: {pretrained: evil.pdparams}", "ppdet would unpickle"),
        "pickle from the net": (
            "ConvNeXt: {pretrained: 'http://localhost:9/x.pdparams'}",
            "use the top-level key",
        ),
    }


def forged() -> dict[str, tuple[str | bytes, str]]:
    """Those that are no configuration, or made to take all memory or time."""
    laughs = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    merges = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 30))
    chain = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 100))
    none = "not a valid configuration"
    return {
        "unknown class": ("a: !Nothing {}", "unknown class !Nothing"),
        "unknown class of 10,000 letters": (f"a: !{'x' * 10_000} {{}}", "unknown class !xxx"),
        "class with an escape sequence": ("a: !%1B%5B2J {}", r"unknown class !\\x1b"),
        "billion laughs": (laughs, "once aliases are written out"),
        "a merge of merges": (merges, "once aliases are written out"),
        "a chain of aliases": (chain, "more than 40 lists and sections inside each other"),
        "an alias of itself": ("a: &a [*a]", "contains itself"),
        "a merge of itself": ("a: &a {<<: *a}", "contains itself"),
        "an alias of nothing": ("a: *b", "undefined alias"),
        "a merge of text": ("a: {<<: b}", none),
        "100,000 lists deep": ("a: " + "[" * 100_000, "more than 40 lists and sections inside each other"),
        "100,000 sections deep": ("a: " + "{a: " * 50_000, "more than 40 lists and sections inside each other"),
        "100,000 dashes deep": ("- " * 100_000, "more than 40 lists and sections inside each other"),
        "text of 10 MB": ("a: " + "x" * 10_000_000, "is longer than 256 KiB"),
        "100,000 values": ("a: [" + "1," * 100_000 + "1]", "more than 20000 values"),
        "NUL": ("a: \0", none),
        "NUL written out": ('save_dir: "a\\0b"', "characters that no text has"),
        "half a character": ('save_dir: "\\ud800"', "characters that no text has"),
        "no UTF-8": (b"a: \xff\xfe", "cannot be read"),
        "UTF-16": ("a: 1".encode("utf-16"), "cannot be read"),
        "duplicate keys": ("seed: 1\nseed: 2", "key 'seed' is given twice"),
        "duplicate keys in quotes": ("seed: 1\n'seed': 2", "key 'seed' is given twice"),
        "tabs": ("FPN:\n\tout_channel: 1", none),
        "two documents": ("a: 1\n---\nb: 2", "another document"),
        "a list": ("- 1", "expected 'key: value' lines"),
        "number of 5000 digits": ("seed: " + "9" * 5000, "is no int of at most 64 letters"),
        "hexadecimal of 100,000 digits": ("seed: 0x" + "f" * 100_000, "is no int of at most 64 letters"),
        "base 60 of 50,000 digits": ("seed: 1" + ":1" * 50_000, "is no int of at most 64 letters"),
        "number beyond 2^63": ("seed: 9223372036854775808", "is no int"),
        "text as int": ("seed: !!int abc", "'abc' is no int"),
        "text as float": ("ema_decay: !!float abc", "'abc' is no float"),
        "text as bool": ("use_gpu: !!bool maybe", "'maybe' is no bool"),
        "list as int": ("seed: !!int [1]", none),
        "binary": ("save_dir: !!binary AAAA", "!!binary is refused"),
        "set": ("FPN: !!set {a, b}", "!!set is refused"),
        "timestamp": ("save_dir: !!timestamp 2001-01-01", "!!timestamp is refused"),
        "timestamp that is none": ("seed: 2001-99-99", "seed is '2001-99-99'; expected int"),
        "omap": ("FPN: !!omap [a: 1]", "!!omap is refused"),
        "pairs": ("FPN: !!pairs [a: 1]", "!!pairs is refused"),
        "key that is a list": ("? [a, b]\n: 1", "a key is a list or section"),
        "key that is a number": ("5: 1", "'5' is no text for YAML"),
        "key that is true": ("on: 1", "'on' is no text for YAML"),
        "key that is null": ("~: 1", "'~' is no text for YAML"),
        "key with an escape sequence": ('"\\e[2J": 1', r"is no name of a key"),
        "key of 10,000 letters": ("? " + "k" * 10_000 + "\n: 1", "is no name of a key"),
        "_BASE_ is itself": ("_BASE_: [x.yml]", "include each other in a circle"),
        "_BASE_ is /dev/zero": ("_BASE_: [/dev/zero]", "is no ordinary file"),
        "_BASE_ is a folder": ("_BASE_: [.]", "is no ordinary file"),
        "_BASE_ is a pipe": ("_BASE_: [pipe.yml]", "is no ordinary file"),
        "_BASE_ is a loop of links": ("_BASE_: [loop.yml]", "does not exist"),
        "_BASE_ is huge": ("_BASE_: [huge.yml]", "is longer than 256 KiB"),
        "_BASE_ is a number": ("_BASE_: 3", "_BASE_ is '3'; expected a list of files"),
        "_BASE_ is null": ("_BASE_:", "expected a list of files"),
        "_BASE_ is a list of numbers": ("_BASE_: [1]", "expected a list of files"),
        "_BASE_ is a section": ("_BASE_: {a: b}", "expected a list of files"),
        "_BASE_ of nobody's home": ("_BASE_: ['~nobody_at_all/x.yml']", "home directory"),
        "_BASE_ of 10,000 letters": (f"_BASE_: [{'x' * 10_000}]", "does not exist"),
        "_BASE_ twice, thirty times": ("_BASE_: [twice_0.yml, twice_0.yml]", "more than 100 files"),
    }
