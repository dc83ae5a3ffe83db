"""What `paddle.distributed.launch` says in the environment."""

import os


def world() -> tuple[int, int]:
    """(rank, world size) as `paddle.distributed.launch` set them; (0, 1) without it."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0")), int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def launched() -> bool:
    """Whether `paddle.distributed.launch` started this process."""
    return "PADDLE_TRAINERS_NUM" in os.environ


def host() -> str:
    """The address under which the other ranks reach this one."""
    return os.environ.get("PADDLE_CURRENT_ENDPOINT", "127.0.0.1:0").rsplit(":", 1)[0]


def log_name() -> str:
    """The launcher's log of this process, with the host when there are several; '' without launcher."""
    local = os.environ.get("PADDLE_LOCAL_RANK")
    if local is None:
        return ""
    return f"workerlog.{local}" + (f" on {host()}" if os.environ.get("PADDLE_NNODES", "1") != "1" else "")
