"""The configuration that a command's flags name."""

import argparse
import logging

import ppdet_ext.register  # noqa: F401  what configurations may name
from ppdet_ext.config.load import load_config
from ppdet_ext.host import Config

from .flags import DEFAULT_CONFIG

logger = logging.getLogger("ppdet_ext")


def config_of(args: argparse.Namespace) -> Config:
    """The configuration that the flags name; without -c the sample's, which is said."""
    if args.config is None:
        logger.info("No -c given: using %s, the configuration of the drawn sample; -c FILE takes your own", DEFAULT_CONFIG)
    overrides = list(args.opt)
    if getattr(args, "metric", None):
        overrides.append(f"metric=[{', '.join(args.metric)}]")
    over, training = getattr(args, "postprocess", None), getattr(args, "training", False)
    return load_config(args.config or DEFAULT_CONFIG, overrides, over, training)
