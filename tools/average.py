"""Average checkpoints: python tools/average.py -c configs/htc/steel.yml 18 19 20 --output output/steel/averaged.pdparams"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (see `run_tool`)."""
    from ppdet_ext.commands import cli
    from ppdet_ext.commands.average import average_checkpoints, average_parser

    return cli.run_tool(
        average_parser(),
        lambda args: average_checkpoints(cli.config_of(args), args.checkpoints, args.output, args.update_bn),
        argv,
    )


if __name__ == "__main__":
    # Until the command runs: no traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
