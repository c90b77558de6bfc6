"""The listening sockets of the gateway, bound before anything is forked, shut and opened again for all who share them, and how many connections may be open.

Nothing is accepted here.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import resource
import socket
import struct
import sys

from gateway.config.models import ServerConfig
from router.errors import ConfigError, Problem

_BACKLOG = 4096
# Linux's own numbers (asm-generic/socket.h), which the socket module does not have.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
# Linux's own bound unless somebody changed it. Containers may say a thousand times as much, and programs that close "all" descriptors then take minutes.
_MOST_FILES = 1 << 20
_FEW_FILES = 4096


def listen(server: ServerConfig) -> list[socket.socket]:
    """The public socket, and the admin API's own where it has one. ConfigError that names the key to change when an address cannot be had."""
    sockets: list[socket.socket] = []
    try:
        for key, port in (("port", server.port), ("admin_port", server.admin_port)):
            if port is not None:
                sockets.append(_bind(server.host, port, key))
    except ConfigError:
        for each in sockets:
            each.close()
        raise
    return sockets


def allow_open_files() -> str | None:
    """Raise the soft limit of open files to the hard one, for this process and those it forks: a stream has a connection on either side, and 1,024 are soon
    full. What to change, for the log, where the hard limit itself is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, _MOST_FILES) if hard != resource.RLIM_INFINITY else _MOST_FILES
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most >= _FEW_FILES:
        return None
    return (
        f"at most {most} files may be open, so about {most // 2} streams at a time; raise the hard limit "
        "(LimitNOFILE= in a systemd unit, --ulimit nofile= of a container, ulimit -Hn in a shell)"
    )


def let_nobody_in(listening: socket.socket) -> None:
    """Drop what would open a connection: closing a socket resets those that the kernel has taken and nobody accepted. Who asks now asks again a second
    later. A filter of one instruction, `return 0`; it is the socket's, so every process that shares it is deaf until `let_in_again`."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(code)))


def let_in_again(listening: socket.socket) -> None:
    """Undo `let_nobody_in`, whoever did it. Does nothing where nobody did."""
    with contextlib.suppress(FileNotFoundError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def not_accepted(listening: socket.socket) -> int:
    """How many connections wait in the kernel: what Linux says as `tcpi_unacked` of a listening socket."""
    return int.from_bytes(listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)[24:28], sys.byteorder)


def _bind(host: str, port: int, key: str) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _wrong("host", f"{host} is no address of this machine ({error.strerror})") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise _wrong(key, f"{host}:{port} is in use by another program; stop it, or choose another port (--port)") from error
        if error.errno == errno.EACCES:
            raise _wrong(key, f"this user may not listen on port {port}; choose one above 1023") from error
        raise _wrong("host", f"cannot listen on {host}:{port} ({error.strerror}); name an address of this machine") from error
    return made


def _wrong(key: str, message: str) -> ConfigError:
    text = f"server.{key}: {message}"
    return ConfigError(text, (Problem(message, key=f"server.{key}"),))
