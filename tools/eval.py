"""Evaluate weights: python tools/eval.py -c configs/htc/steel.yml -o weights=output/steel/best_model"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (see `run_tool`)."""
    from ppdet_ext.commands import cli
    from ppdet_ext.commands.eval import evaluate

    return cli.run_tool(
        cli.eval_parser(),
        lambda args: evaluate(
            cli.config_of(args),
            classwise=args.classwise,
            output_eval=args.output_eval,
            save_prediction_only=args.save_prediction_only,
        ),
        argv,
    )


if __name__ == "__main__":
    # Until the command runs: no traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
