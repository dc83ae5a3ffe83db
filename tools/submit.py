"""Write a submission: python tools/submit.py -c configs/htc/steel.yml -o weights=output/steel/best_model --infer_dir sheets"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (see `run_tool`)."""
    from ppdet_ext.commands import cli
    from ppdet_ext.commands.submit import STYLES, submit, submit_parser

    return cli.run_tool(
        submit_parser(),
        lambda args: submit(
            cli.config_of(args),
            results=args.results,
            images=args.infer_img or args.infer_dir,
            output=args.output,
            threshold=args.draw_threshold,
            form=args.format or STYLES.get(args.style),
        ),
        argv,
        lambda interrupt: "The same command goes on after the images that are done.",
    )


if __name__ == "__main__":
    # Until the command runs: no traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
