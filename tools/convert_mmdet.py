"""Convert weights of mmdetection: python tools/convert_mmdet.py htc_r50_fpn_1x_coco.pth htc.pdparams -c configs/htc/….yml"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (see `run_tool`)."""
    from ppdet_ext.commands import cli
    from ppdet_ext.commands.convert_mmdet import convert, convert_back, convert_parser

    def command(args):
        cfg = cli.config_of(args)
        if args.to_mmdet:
            return convert_back(cfg, args.source, args.output)
        return convert(cfg, args.source, args.output, args.num_classes_from_config)

    return cli.run_tool(convert_parser(), command, argv)


if __name__ == "__main__":
    # Until the command runs: no traceback out of an import when it is interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
