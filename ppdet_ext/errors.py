"""The errors that end a command with one clear line instead of a traceback."""


class UserError(ValueError):
    """Something the user can mend: names the file, row or key, the fault and the remedy."""


class DivergenceError(RuntimeError):
    """Training left the finite numbers (NaN or Inf loss, boxes or weights)."""


class WorkerDied(RuntimeError):
    """A process that prepares batches ended by itself or was killed, for example for want of memory."""


class RankError(RuntimeError):
    """A run on several ranks cannot go on; names the rank at fault and the cause."""
