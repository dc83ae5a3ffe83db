"""Search thresholds: python tools/tune.py -c configs/htc/steel.yml -o weights=output/steel/best_model --metric SeverstalDice"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (see `run_tool`)."""
    from ppdet_ext.commands import cli, tune

    return cli.run_tool(tune.tune_parser(), lambda args: tune.run(args, cli.config_of(args), argv), argv)


if __name__ == "__main__":
    # Until the command runs: no traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
