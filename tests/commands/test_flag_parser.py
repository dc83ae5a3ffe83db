"""What is said of flags that are misspelt, and of values that are none."""

import pytest

from ppdet_ext.commands.data_flags import export_labels_parser, import_labels_parser
from ppdet_ext.commands.flags import demo_parser, eval_parser, infer_parser, train_parser
from ppdet_ext.commands.main import COMMANDS
from ppdet_ext.commands.parser import FlagParser
from ppdet_ext.commands.search_flags import tune_parser


@pytest.mark.parametrize(("parser", "words", "said"), [
    (infer_parser(), ["--infer_dirr", "x"], "unrecognized arguments: --infer_dirr x Did you mean '--infer_dir'?"),
    (infer_parser(), ["--draw-threshold=0.3"], "unrecognized arguments: --draw-threshold=0.3 Did you mean '--draw_threshold'?"),
    (tune_parser("tune.py"), ["--metrics", "COCO"], "--metrics COCO Did you mean '--metric'?"),
    (eval_parser(), ["--clas_wise", "--postproces", "a"], "Did you mean '--classwise'? Did you mean '--postprocess'?"),
    # Missed before it is found to be unknown.
    (import_labels_parser(), ["a.xml", "--outt", "b"], "are required: --out Did you mean '--out'?"),
    (export_labels_parser(), ["--out", "b", "--too", "cvat"], "are required: --to Did you mean '--to'?"),
    (infer_parser(), ["--mm_per_pixel", "0,12"], "invalid float value: '0,12'. Write a decimal point: 0.12"),
    (infer_parser(), ["--draw_threshold", ",5"], "invalid float value: ',5'. Write a decimal point: 0.5"),
    (infer_parser(), ["--draw_threshold", "half"], "invalid float value: 'half'\n"),
    (import_labels_parser(), ["a", "--out", "b", "--unlabelled", "keeps"], "'keep') Did you mean 'keep'?"),
    (train_parser(), ["--allow_change", "seeds"], "Did you mean 'seed'?"),
    (train_parser(), ["--zzzzzz"], "unrecognized arguments: --zzzzzz\n"),
    # Its former name is not offered.
    (train_parser(), ["--debugg"], "unrecognized arguments: --debugg Did you mean '--debug_run'?"),
])  # fmt: skip
def test_what_was_meant_is_said(parser: FlagParser, words: list[str], said: str, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_every_command_says_it() -> None:
    parsers = {name: command.parser("x") for name, command in COMMANDS.items()}
    assert {name for name, parser in parsers.items() if not isinstance(parser, FlagParser)} == {"make_sample"}
    assert isinstance(demo_parser(), FlagParser)
    assert infer_parser().parse_args(["--num_images", "3"]).num_images == 3
