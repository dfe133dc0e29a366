"""Who waits for the device: one request at a time, in the order in which they came."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException


class Ticket:
    """A place in the queue."""

    def __init__(self) -> None:
        self.before = 0
        """How many are answered first."""
        self._moved = asyncio.Event()

    async def moved(self) -> None:
        """Wait until the place is another one."""
        self._moved.clear()
        await self._moved.wait()

    async def turn(self) -> None:
        """Wait until nobody is before."""
        while self.before:
            await self.moved()

    def move(self, before: int) -> None:
        """Tell that so many are left before."""
        self.before = before
        self._moved.set()


class Queue:
    """Tickets in order; the first has the device.

    Args:
        most_waiting: how many may wait behind the one that is answered.
    """

    def __init__(self, most_waiting: int) -> None:
        self._most = most_waiting
        self._tickets: list[Ticket] = []

    def join(self) -> Ticket:
        """A place at the end.

        Raises:
            HTTPException: 429, too many wait already.
        """
        waiting = max(0, len(self._tickets) - 1)
        if self._tickets and waiting >= self._most:
            why = f"{waiting} requests wait already; try again later."
            raise HTTPException(429, why, {"Retry-After": "5"})
        ticket = Ticket()
        ticket.before = len(self._tickets)
        self._tickets.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place up, answered or not; those behind move on."""
        if ticket in self._tickets:
            self._tickets.remove(ticket)
            for before, other in enumerate(self._tickets):
                other.move(before)
