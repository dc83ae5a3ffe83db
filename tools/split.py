"""Split a data set: python tools/split.py -c configs/htc/steel.yml --folds 5 (or --holdout 450)"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (see `run_tool`)."""
    from ppdet_ext.commands import cli
    from ppdet_ext.commands.split import make_split, split_parser

    return cli.run_tool(
        split_parser(),
        lambda args: make_split(
            cli.config_of(args),
            folds=args.folds,
            holdout=args.holdout,
            seed=args.seed,
            duplicates=args.duplicates,
            output=args.output,
            force=args.force,
        ),
        argv,
    )


if __name__ == "__main__":
    # Until the command runs: no traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
