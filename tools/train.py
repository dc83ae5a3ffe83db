"""Train a model: python tools/train.py -c configs/htc/steel_sample.yml --eval"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (see `run_tool`)."""
    from ppdet_ext.commands import cli
    from ppdet_ext.training.train import train

    given = list(sys.argv[1:] if argv is None else argv)
    return cli.run_tool(
        cli.train_parser(),
        lambda args: train(
            cli.config_of(args),
            evaluate=args.eval,
            resume=args.resume,
            amp=args.amp,
            vdl_log_dir=args.vdl_log_dir if args.use_vdl else None,
            allow_change=args.allow_change,
        ),
        given,
        go_on=lambda interrupt: cli.how_to_go_on("tools/train.py", given, interrupt),
    )


if __name__ == "__main__":
    # Until the command runs: no traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Held back while importing, and once training has ended: it asks for an orderly end, and may not kill.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
