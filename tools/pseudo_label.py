"""Pseudo-labels: python tools/pseudo_label.py -c configs/htc/steel.yml -o weights=output/steel/best_model --score 0.8"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (see `run_tool`)."""
    from ppdet_ext.commands import cli
    from ppdet_ext.commands.pseudo_label import parse_scores, pseudo_label, pseudo_label_parser

    return cli.run_tool(
        pseudo_label_parser(),
        lambda args: pseudo_label(
            cli.config_of(args),
            images=args.infer_img or args.infer_dir,
            output=args.output,
            scores=parse_scores(args.score),
            min_area=args.min_area,
            reject_from=args.reject_from,
            keep_empty=args.keep_empty,
        ),
        argv,
    )


if __name__ == "__main__":
    # Until the command runs: no traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
