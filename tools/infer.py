"""Draw predictions: python tools/infer.py -c configs/htc/steel.yml -o weights=output/steel/best_model --infer_dir sheets"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (see `run_tool`)."""
    from ppdet_ext.commands import cli
    from ppdet_ext.commands.infer import infer

    return cli.run_tool(
        cli.infer_parser(),
        lambda args: infer(
            cli.config_of(args),
            images=args.infer_img or args.infer_dir,
            output_dir=args.output_dir,
            draw_threshold=args.draw_threshold,
            save_results=args.save_results,
        ),
        argv,
    )


if __name__ == "__main__":
    # Until the command runs: no traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
