"""Who waits, who is next, who has to go: a bounded queue that is fair between keys and knows priorities. Pure: no clock, no waiting, no numbers of running.

Between keys: start-time fair queueing. Each key's next request has a start tag, the lowest is next, and taking one moves the key's tag on by its cost. A key
that floods the queue is thereby served as often as one that asks now and then, and one that comes new is not made to wait for debts it does not have.
Within a key its higher priorities go first, so that calling everything urgent buys nothing from others. `low` is the exception that may be asked for freely:
it costs four times as much, and it is the first to go when the queue is full. After that whoever has most waiting loses its newest, lowest request.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import Generic, Literal, TypeVar

Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
_COST: dict[Priority, float] = {"high": 1.0, "normal": 1.0, "low": 4.0}


class Ticket:
    """A place in a queue. `number` is its order of arrival, set by the queue."""

    __slots__ = ("key", "number", "priority")

    def __init__(self, key: str, priority: Priority) -> None:
        self.key = key
        self.priority = priority
        self.number = -1

    def __repr__(self) -> str:
        return f"<{self.key} {self.priority} #{self.number}>"


T = TypeVar("T", bound=Ticket)


class _Flow(Generic[T]):
    """One key's requests. `finish` is where the tag of its next request starts; `listed`: it has an entry in the heap."""

    __slots__ = ("finish", "lines", "listed", "size")

    def __init__(self) -> None:
        self.lines: dict[Priority, OrderedDict[int, T]] = {priority: OrderedDict() for priority in PRIORITIES}
        self.size = 0
        self.finish = 0.0
        self.listed = False

    def first(self) -> T:
        """Its next request, taken out."""
        line = next(line for line in self.lines.values() if line)
        self.size -= 1
        return line.popitem(last=False)[1]

    def lowest(self) -> Priority:
        """The lowest priority it has waiting."""
        return next(priority for priority in reversed(PRIORITIES) if self.lines[priority])


class FairQueue(Generic[T]):
    """At most `bound` tickets wait; `bound` may be changed at any time, what waits stays."""

    __slots__ = ("_arrivals", "_flows", "_heap", "_low", "_size", "_tag", "bound")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._flows: dict[str, _Flow[T]] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._tag = 0.0  # of the ticket taken last: where the service is
        self._arrivals = 0
        self._size = 0
        self._low = 0

    def __len__(self) -> int:
        return self._size

    def offer(self, ticket: T) -> T | None:
        """Put a ticket in. Returns who has to go for it: None, another that is out now, or the ticket itself, which then is not in."""
        self._arrivals += 1
        ticket.number = self._arrivals
        out = None
        if self._size >= self.bound:
            out = self._least_wanted(ticket)
            if out is ticket:
                return ticket
            self.remove(out)
        flow = self._flows.get(ticket.key)
        if flow is None:
            flow = self._flows[ticket.key] = _Flow()
        flow.lines[ticket.priority][ticket.number] = ticket
        flow.size += 1
        self._size += 1
        self._low += ticket.priority == "low"
        if not flow.listed:
            self._list(ticket.key, flow)
        return out

    def take(self) -> T | None:
        """The next ticket, out of the queue; None when nobody waits."""
        while self._heap:
            tag, _, key = heapq.heappop(self._heap)
            flow = self._flows[key]
            flow.listed = False
            if not flow.size:
                self._forget(key, flow)
                continue
            ticket = flow.first()
            self._tag, flow.finish = tag, tag + _COST[ticket.priority]
            self._out(ticket)
            if flow.size:
                self._list(key, flow)
            else:
                self._forget(key, flow)
            return ticket
        return None

    def remove(self, ticket: T) -> bool:
        """Take a ticket out of turn: its client left, or waited long enough. False when it is not in."""
        flow = self._flows.get(ticket.key)
        if flow is None or flow.lines[ticket.priority].pop(ticket.number, None) is None:
            return False
        flow.size -= 1
        self._out(ticket)
        return True

    def _out(self, ticket: T) -> None:
        self._size -= 1
        self._low -= ticket.priority == "low"
        if not self._size:  # nobody waits, so nobody owes: the next who come are equal again
            self._flows.clear()
            self._heap.clear()
            self._tag = 0.0

    def _list(self, key: str, flow: _Flow[T]) -> None:
        flow.listed = True
        self._arrivals += 1
        heapq.heappush(self._heap, (max(self._tag, flow.finish), self._arrivals, key))

    def _forget(self, key: str, flow: _Flow[T]) -> None:
        """A key with nothing waiting is remembered while it is ahead of the others, and only as long as there are not too many of those."""
        if flow.finish <= self._tag or len(self._flows) > 2 * self._size + 64:
            self._flows.pop(key, None)

    def _least_wanted(self, new: T) -> T:
        """Among all that wait and the new one. Equal claims are decided against the new one, which has not waited yet."""
        low_only = self._low > 0 or new.priority == "low"
        best_size, victims = 0, None
        for key, flow in self._flows.items():
            size = flow.size + (key == new.key)
            if size > best_size and (not low_only or flow.lines["low"]):
                best_size, victims = size, flow
        mine = self._flows.get(new.key)
        my_size = 1 + (mine.size if mine is not None else 0)
        if my_size >= best_size and (new.priority == "low" or not low_only):
            victims = mine
            if mine is None or not mine.size or PRIORITIES.index(new.priority) >= PRIORITIES.index(mine.lowest()):
                return new
        if victims is None:
            return new
        line = victims.lines[victims.lowest()]
        return line[next(reversed(line))]
