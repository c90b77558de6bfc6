"""The command line and composition root: one thin function per command; rooms are imported lazily so that `breakeven --help` stays fast."""


def main() -> None:
    """Entry point of the `breakeven` command."""
    raise SystemExit(2)
