"""The socket of the lane: `data_dir/lane.sock`, for processes of this user alone. Bound by the arbiter before it forks; nothing of it is on any network.

A Unix socket's path has some hundred bytes at most and a data directory may be deeper: the directory is named by an open descriptor instead.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from router.errors import ConfigError

NAME = "lane.sock"
_BACKLOG = 256


def bind(data_dir: Path) -> socket.socket:
    """A listening socket that only this user can connect to. One that an earlier process left behind is replaced. ConfigError when it cannot be made."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        (data_dir / NAME).unlink(missing_ok=True)
        with _short(data_dir) as path:
            made.bind(path)
        (data_dir / NAME).chmod(0o600)  # before it listens: until then nobody gets in
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise ConfigError(f"server.data_dir: {data_dir} cannot hold a socket ({error.strerror}); name a directory on a local disk") from error
    return made


async def connect(data_dir: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to any of the workers. OSError when none listens."""
    with _short(data_dir) as path:
        return await asyncio.open_unix_connection(path)


@contextmanager
def _short(data_dir: Path) -> Iterator[str]:
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)
