"""What Linux says of a process: CPU time, memory, children. Reads /proc and nothing else."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes (10^6 bytes). RSS counts shared pages in full, PSS by the share of each process that has them."""

    rss_mb: float
    pss_mb: float

    def most(self, other: Memory) -> Memory:
        """The larger of each."""
        return Memory(max(self.rss_mb, other.rss_mb), max(self.pss_mb, other.pss_mb))


def cpu_s(pid: int) -> float:
    """Seconds of CPU the process has used so far, its own and the kernel's for it, all threads; the kernel counts in hundredths."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> Memory:
    """What it holds now."""
    found = dict(re.findall(r"^(Rss|Pss):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), flags=re.MULTILINE))
    return Memory(int(found["Rss"]) * 1024 / 1e6, int(found["Pss"]) * 1024 / 1e6)


def children(pid: int) -> tuple[int, ...]:
    """Its direct children, oldest first."""
    return tuple(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def descendants(pid: int) -> tuple[int, ...]:
    """The process and everything below it."""
    return (pid, *(found for child in children(pid) for found in descendants(child)))
