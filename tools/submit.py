"""Write a Kaggle submission: python tools/submit.py -c configs/htc/steel.yml -o weights=output/steel/best_model"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (see `run_tool`)."""
    from ppdet_ext.engine import cli
    from ppdet_ext.engine.infer import submit

    return cli.run_tool(
        cli.submit_parser(),
        lambda args: submit(
            cli.config_of(args),
            results=args.results,
            output=args.output,
            style=args.style,
            images=args.infer_img or args.infer_dir,
            threshold=args.draw_threshold,
        ),
        argv,
    )


if __name__ == "__main__":
    # Until the command runs: no traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
