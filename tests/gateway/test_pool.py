"""Numbers that processes share: exact under real concurrency, and right again after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway import pool
from gateway.pool import Pool
from router.errors import LimitError
from tests.patience import patience, read_line

ADDING = """
import sys
from pathlib import Path
from gateway.pool import Pool

mine = Pool(Path(sys.argv[1]), 3, int(sys.argv[2]))
purse, rate = mine.purse("p"), mine.rate("r")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    with mine.alone():
        purse.spend(0, 1)
        rate.level(60, 0.0)
        rate.take(1.0, 0.0)
purse.reserve(5, 9)
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path() -> Iterator[Path]:
    """The file of a pool of three workers, as other processes find it."""
    file = pool.make(3)
    yield Path(f"/proc/{os.getpid()}/fd/{file}")
    os.close(file)


@pytest.fixture
def shared(path: Path) -> Callable[[int], Pool]:
    """Opens that pool."""
    return lambda me: Pool(path, 3, me)


def test_nothing_is_lost_between_processes(path: Path, shared: Callable[[int], Pool]) -> None:
    """Two processes add at once; afterwards all is there. One that is killed leaves what it had reserved, until its successor takes it back."""
    mine = shared(2)
    command = [sys.executable, "-c", ADDING, str(path)]
    processes = [subprocess.Popen([*command, str(me), "20000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for me in range(2)]
    with patience(*processes):
        assert [read_line(process) for process in processes] == ["ready\n"] * 2
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [read_line(process) for process in processes] == ["done\n"] * 2
    purse = mine.purse("p")
    assert (purse.spent(0), purse.reserved(), mine.rate("r").level(60, 0.0)) == (40_000, (10, 18), 60 - 40_000)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert purse.reserved() == (10, 18)
    successor = shared(0)
    assert purse.reserved() == (5, 9)
    assert successor.purse("p").spent(0) == 40_000
    shared(1).close()
    assert purse.reserved() == (0, 0)
    successor.close()
    mine.close()


def test_a_worker_that_ends_gives_back_what_it_held(shared: Callable[[int], Pool]) -> None:
    """Places and reserved money; what was spent stays."""
    one, two = shared(0), shared(1)
    one.places("c").take(1)
    one.places("c").take(1)
    two.places("c").take(1)
    assert two.places("c").taken() == 3
    one.close()
    assert two.places("c").taken() == 1
    two.places("c").take(-1)
    two.places("c").take(-1)
    assert two.places("c").taken() == 0
    two.close()


def test_a_rate_refills_and_gives_back() -> None:
    """A minute's allowance in a minute; a debt is paid first; no more than the allowance; time does not run backwards."""
    rate = Pool().rate("r")
    assert rate.level(60, 1000.0) == 60
    rate.take(90, 1000.0)
    assert [rate.level(60, at) for at in (1000.0, 1030.0, 1020.0, 1060.0, 2000.0)] == [-30, 0, 0, 30, 60]
    rate.take(-50, 2000.0)
    assert rate.level(60, 2000.0) == 60


def test_a_purse_is_of_one_period() -> None:
    """What is spent in a new period begins it; what comes late for an old one is nobody's; the ledger only raises."""
    purse = Pool().purse("p")
    purse.spend(0, 5)
    purse.spend(86_400, 7)
    purse.spend(0, 100)
    assert (purse.spent(0), purse.spent(86_400)) == (0, 7)
    purse.raise_to(86_400, 3)
    purse.raise_to(86_400, 9)
    assert purse.spent(86_400) == 9
    purse.raise_to(172_800, 2)
    assert purse.spent(172_800) == 2


def test_there_is_an_end_to_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused with what to do, rather than written past the end."""
    monkeypatch.setattr(pool, "_MOST_ROWS", 2)
    mine = Pool()
    mine.purse("a")
    mine.purse("b")
    with pytest.raises(LimitError, match="start `breakeven serve` anew") as caught:
        mine.purse("c")
    assert (caught.value.status, caught.value.code) == (503, "overloaded")
    mine.purse("a").spend(0, 1)
    assert mine.purse("a").spent(0) == 1
    mine.close()
