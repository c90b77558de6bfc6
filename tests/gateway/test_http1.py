"""One HTTP/1.1 connection: any split of the bytes gives the same answer, and nothing of one answer is ever taken for another's."""

from __future__ import annotations

import asyncio
import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http1 import Answer, Connection
from router.errors import UpstreamError

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 5\r\n\r\nHello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-a: 1\r\nX-A: 2\r\n\r\n3\r\nHel\r\n2\r\nlo\r\n0\r\nx-trailer: 1\r\n\r\n"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" + PLAIN
UNTIL_EOF = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nHello"
ZIPPED = gzip.compress(b"Hello")
COMPRESSED = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


class Transport(asyncio.Transport):
    """The other end, in the test's hands."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.sent = b""
        self.unsent = 0
        self.reading = True
        self.gone = False
        connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.gone

    def abort(self) -> None:
        if not self.gone:
            self.gone = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def end(self, error: Exception | None = None) -> None:
        self.gone = True
        self.connection.connection_lost(error)


class World:
    """A connection whose comings and goings are written down."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.connection = Connection(lambda _: self.events.append("free"), lambda _: self.events.append("lost"))
        self.transport = Transport(self.connection)

    def ask(self, method: str = "POST", body: bytes = b"{}") -> Answer:
        return self.connection.send("one/m", method, b"HEAD\r\n\r\n", body)

    def receive(self, data: bytes) -> None:
        if not self.transport.gone:
            self.connection.data_received(data)


async def told(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    await answer.head()
    return answer.status, dict(answer.headers), await answer.body(1000)


@pytest.mark.parametrize("raw", [PLAIN, CHUNKED, CONTINUED, COMPRESSED, EMPTY], ids=["plain", "chunked", "continued", "compressed", "empty"])
@given(cuts=st.lists(st.integers(0, 250), max_size=12))
def test_any_split_gives_the_same(raw: bytes, cuts: list[int]) -> None:
    """However the bytes arrive, the answer is one, and the connection is free again."""

    async def run() -> None:
        world = World()
        for _ in range(2):
            answer = world.ask()
            edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
            for begin, end in itertools.pairwise(edges):
                if begin < end:
                    world.receive(raw[begin:end])
            status, _, body = await told(answer)
            assert (status, body) == ((204, b"") if raw is EMPTY else (200, b"Hello"))
            await asyncio.sleep(0)
        assert world.events == ["free", "free"]
        assert world.transport.reading

    asyncio.run(run())


async def test_heads() -> None:
    """Names in lower case, repeated ones joined, trailers not among them."""
    world = World()
    answer = world.ask()
    world.receive(CHUNKED)
    assert (await told(answer))[1] == {"transfer-encoding": "chunked", "x-a": "1, 2"}


async def test_a_body_that_ends_with_the_connection() -> None:
    """HTTP's oldest way to end an answer is a whole one; broken off by an error it is not."""
    for error, whole in ((None, True), (ConnectionResetError(), False)):
        world = World()
        answer = world.ask()
        world.receive(UNTIL_EOF)
        world.transport.end(error)
        if whole:
            assert (await told(answer))[2] == b"Hello"
        else:
            assert await answer.read() == b"Hello"
            with pytest.raises(UpstreamError) as caught:
                await answer.read()
            assert caught.value.code == "upstream_cut"
        assert world.events == ["lost"]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "upstream_reset"),
        (b"HTTP/1.1 200 OK\r\ncontent-", "upstream_reset"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "upstream_malformed"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "upstream_malformed"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx", "upstream_malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-a: 1\r\n" * 20_000, "upstream_malformed"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 6000, "upstream_malformed"),
    ],
    ids=["nothing", "half a head", "not HTTP", "upgrade", "unknown coding", "endless head", "endless continue"],
)
async def test_no_head(raw: bytes, code: str) -> None:
    """What is wrong before the head is complete; `touched` says whether the request may be sent again."""
    world = World()
    answer = world.ask()
    for begin in range(0, len(raw), 1000):
        world.receive(raw[begin : begin + 1000])
    if not world.transport.gone:
        world.transport.end()
    with pytest.raises(UpstreamError) as caught:
        await answer.head()
    assert caught.value.code == code
    assert caught.value.message.startswith("one/m ")
    assert answer.touched == bool(raw)
    await asyncio.sleep(0)
    assert world.events == ["lost"]


@pytest.mark.parametrize("rest", [b"5\r\nHello\r\nzz\r\n", b"5\r\nHello\r\n", b"5\r\nHel"], ids=["not a chunk", "no last chunk", "half a chunk"])
async def test_cut_after_the_head(rest: bytes) -> None:
    """What came can be read, then it is an error; also to a reader that waits."""
    world = World()
    answer = world.ask()
    world.receive(CHUNKED[: CHUNKED.index(b"3\r\n")])
    await answer.head()
    reading = asyncio.ensure_future(answer.body(1000))
    await asyncio.sleep(0)
    world.receive(rest)
    if not world.transport.gone:
        world.transport.end()
    with pytest.raises(UpstreamError) as caught:
        await reading
    assert caught.value.code == "upstream_cut"


@pytest.mark.parametrize("damage", [ZIPPED[:-4], ZIPPED[:10] + b"\xff" * (len(ZIPPED) - 10)], ids=["short", "damaged"])
async def test_damaged_compression(damage: bytes) -> None:
    """Neither a short nor a damaged stream is taken for a whole answer."""
    world = World()
    answer = world.ask()
    world.receive(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(damage) + damage)
    await answer.head()
    with pytest.raises(UpstreamError):
        await answer.body(1000)


@pytest.mark.parametrize("together", [True, False])
async def test_a_second_answer_ends_the_connection(together: bool) -> None:
    """More than was asked for is never taken for the next request's answer."""
    world = World()
    answer = world.ask()
    world.receive(PLAIN + (PLAIN if together else b""))
    if not together:
        await asyncio.sleep(0)
        assert world.events == ["free"]
        world.receive(PLAIN)
    assert (await told(answer))[2] == b"Hello"
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.transport.gone
    assert world.events == (["lost"] if together else ["free", "lost"])


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nconnection: close", b"HTTP/1.0 200 OK"])
async def test_a_server_that_closes(head: bytes) -> None:
    """It said so: the answer is whole and the connection is not used again."""
    world = World()
    answer = world.ask()
    world.receive(head + b"\r\ncontent-length: 5\r\n\r\nHello")
    assert (await told(answer))[2] == b"Hello"
    await asyncio.sleep(0)
    assert world.events == ["lost"]


async def test_an_answer_before_the_request_was_sent() -> None:
    """The server does not want the rest: the connection cannot be used again."""
    world = World()
    answer = world.ask(body=b"x" * 300_000)
    world.transport.unsent = 1000
    world.receive(PLAIN)
    assert (await told(answer))[0] == 200
    await asyncio.sleep(0)
    assert world.events == ["lost"]


async def test_the_head_alone() -> None:
    """A HEAD's answer has no body, whatever its content-length says."""
    world = World()
    answer = world.ask("HEAD", b"")
    world.receive(PLAIN[: -len(b"Hello")])
    status, headers, body = await told(answer)
    assert (status, headers["content-length"], body) == (200, "5", b"")


async def test_nobody_reads() -> None:
    """The socket is read no further than a bound; taking what waits goes on."""
    world = World()
    answer = world.ask()
    world.receive(b"HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\n" + b"x" * 200_000)
    assert world.transport.reading
    world.receive(b"x" * 200_000)
    assert not world.transport.reading
    assert len(await answer.read()) == 400_000
    assert world.transport.reading
    world.receive(b"x" * 500_000)
    assert len(await answer.read()) == 500_000
    assert await answer.read() == b""
    assert world.transport.reading


async def test_what_is_poured_does_not_wait() -> None:
    """Each piece is handed on when it comes, all of one read together, until it is enough; the next, and the end, are there for who reads."""
    world, seen = World(), list[bytes]()
    answer = world.ask()
    world.receive(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
    await answer.pour(lambda data: seen.append(data) or True)
    assert (await answer.read(), seen) == (b"a", [])
    pouring = asyncio.create_task(answer.pour(lambda data: seen.append(data) or data != b"d"))
    await asyncio.sleep(0)
    world.receive(b"1\r\nb\r\n1\r\nc\r\n")
    assert seen == [b"bc"]
    world.receive(b"%x\r\n%b\r\n" % (400_000, b"x" * 400_000))
    assert (len(seen[1]), world.transport.reading) == (400_000, True)
    world.receive(b"1\r\nd\r\n1\r\n")
    world.receive(b"e\r\n0\r\n\r\n")
    await pouring
    assert seen[2:] == [b"d"]
    assert [await answer.read(), await answer.read()] == [b"e", b""]
    await answer.pour(seen.append)
    assert world.events == ["free"]


@pytest.mark.parametrize("broken", [False, True])
async def test_pouring_ends_with_the_answer(broken: bool) -> None:
    """An end and an error end it; `read` says which it was."""
    world, seen = World(), list[bytes]()
    answer = world.ask()
    world.receive(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
    pouring = asyncio.create_task(answer.pour(lambda data: seen.append(data) or True))
    await asyncio.sleep(0)
    world.receive(b"a" if broken else b"ab")
    if broken:
        world.transport.end()
    await pouring
    assert seen == [b"a" if broken else b"ab"]
    if broken:
        with pytest.raises(UpstreamError):
            await answer.read()
    else:
        assert await answer.read() == b""


async def test_closing() -> None:
    """Early it cuts the connection; late, and twice, it does nothing to the next one's."""
    world = World()
    first = world.ask()
    world.receive(PLAIN)
    await asyncio.sleep(0)
    second = world.ask()
    first.close()
    assert not world.transport.gone
    with pytest.raises(RuntimeError):
        world.ask()
    second.close()
    second.close()
    assert world.transport.gone
    await asyncio.sleep(0)
    assert not world.connection.open
    with pytest.raises(RuntimeError):
        world.ask()
    world.connection.abort()
    with pytest.raises(UpstreamError):
        await second.read()
