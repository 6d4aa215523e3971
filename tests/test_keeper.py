"""The gate that children pass at their start."""

import asyncio

from edge.keeper import Gate


def test_who_is_inside_is_waited_for_and_nobody_enters_while_it_is_shut() -> None:
    async def scenario() -> list[str]:
        gate, seen, leave = Gate(), list[str](), asyncio.Event()

        async def first() -> None:
            async with gate.passed():
                seen.append("first is inside")
                await leave.wait()
                seen.append("first leaves")

        async def second() -> None:
            async with gate.passed():
                seen.append("second is inside")

        async def keeper() -> None:
            await gate.shut()
            seen.append("shut")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(first())
            await asyncio.sleep(0)
            shutting = tasks.create_task(keeper())
            await asyncio.sleep(0)
            tasks.create_task(second())
            await asyncio.sleep(0)
            leave.set()
            await shutting
            seen.append("open")
            gate.open()
        return seen

    assert asyncio.run(scenario()) == [
        "first is inside",
        "first leaves",
        "shut",
        "open",
        "second is inside",
    ]


def test_an_error_inside_leaves_it_empty() -> None:
    async def scenario() -> None:
        gate = Gate()
        try:
            async with gate.passed():
                raise OSError
        except OSError:
            await asyncio.wait_for(gate.shut(), 20.0)

    asyncio.run(scenario())
