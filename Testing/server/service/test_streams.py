"""Streams of rounds: any number of listeners, re-attachment, heartbeats, and silence after a cancelled round."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from memseg3d.service.streams import HEARTBEAT, RoundStream


def numbers(chunks: list[bytes]) -> list[int]:
    return [json.loads(line)["seq"] for line in b"".join(chunks).splitlines() if line]


async def collect(stream: RoundStream, after: int = 0, heartbeat: float = 5.0) -> list[bytes]:
    return [chunk async for chunk in stream.follow(after, heartbeat)]


@pytest.fixture
def a_stream() -> Iterator[RoundStream]:
    stream = RoundStream("r")
    for done in range(3):
        stream.publish({"type": "progress", "done": done})
    return stream


def finished(stream: RoundStream, alone: bool = False) -> RoundStream:
    stream.finish(stream.encode({"type": "round"}), alone)
    return stream


def test_every_line_carries_its_number_type_and_round(a_stream: RoundStream) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in a_stream.content.splitlines()]
    assert [(line["seq"], line["type"], line["round"]) for line in lines] == [(n, "progress", "r") for n in (1, 2, 3)]


def test_two_listeners_get_the_same_lines_while_they_are_written(a_stream: RoundStream) -> None:
    async def scene() -> list[list[bytes]]:
        listeners = [asyncio.create_task(collect(a_stream)) for _ in range(2)]
        await asyncio.sleep(0.02)
        await asyncio.to_thread(a_stream.publish, {"type": "slice"})
        await asyncio.sleep(0.02)
        await asyncio.to_thread(finished, a_stream)
        return await asyncio.gather(*listeners)

    first, second = asyncio.run(scene())
    assert numbers(first) == numbers(second) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("after", "expected"), [(0, [1, 2, 3, 4]), (2, [3, 4]), (4, []), (99, [])])
def test_a_listener_gets_what_lies_after_its_last_line(a_stream: RoundStream, after: int, expected: list[int]) -> None:
    assert numbers(asyncio.run(collect(finished(a_stream), after))) == expected


def test_a_quiet_stream_sends_empty_lines(a_stream: RoundStream) -> None:
    async def scene() -> list[bytes]:
        chunks = []
        async for chunk in a_stream.follow(0, 0.02):
            chunks.append(chunk)
            if len(chunks) == 3:
                finished(a_stream)
        return chunks

    first, *quiet, last = asyncio.run(scene())
    assert (numbers([first]), numbers([last])) == ([1, 2, 3], [4])
    assert quiet == [HEARTBEAT, HEARTBEAT]


def test_nothing_but_the_end_is_sent_of_a_cancelled_round(a_stream: RoundStream) -> None:
    finished(a_stream, alone=True)
    a_stream.publish({"type": "slice"})
    assert numbers(asyncio.run(collect(a_stream))) == [4]


def test_listeners_leave_when_the_worker_stops(a_stream: RoundStream) -> None:
    async def scene() -> list[bytes]:
        listener = asyncio.create_task(collect(a_stream))
        await asyncio.sleep(0.02)
        a_stream.leave()
        return await asyncio.wait_for(listener, 30)

    assert numbers(asyncio.run(scene())) == [1, 2, 3]


def test_a_stored_stream_gives_the_same_lines(a_stream: RoundStream) -> None:
    content = finished(a_stream).content
    assert b"".join(asyncio.run(collect(RoundStream.stored("r", content)))) == content


def test_who_waits_hears_how_the_queue_stands_in_lines_that_are_not_kept(a_stream: RoundStream) -> None:
    places = iter([2, 2, 1])

    def waits() -> dict[str, Any] | None:
        ahead = next(places, None)
        return None if ahead is None else {"type": "progress", "done": 0, "queue": {"ahead": ahead}}

    a_stream.waits = waits

    async def scene() -> list[bytes]:
        listener = asyncio.create_task(collect(a_stream, heartbeat=0.05))
        await asyncio.sleep(0.4)
        finished(a_stream)
        return await listener

    chunks = asyncio.run(scene())
    told = [json.loads(chunk) for chunk in chunks[1:-1] if chunk != HEARTBEAT]
    assert [(line["seq"], line["queue"]["ahead"]) for line in told] == [(3, 2), (3, 1)]
    assert HEARTBEAT in chunks, "nothing new is only a sign of life"
    assert numbers(asyncio.run(collect(a_stream))) == [1, 2, 3, 4]
