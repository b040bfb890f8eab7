"""Items that arrive during a commit share the next transaction, and one bad item fails no other."""

import asyncio

import pytest

from connector.storage.database import CannotStore
from connector.storage.group_commit import MAX_BATCH, MAX_WAITING, QUIET_TURNS, GroupCommit


class Writer:
    """Writes ten times each number; which numbers were written together is kept. Some numbers cannot be written."""

    def __init__(self, bad=()):
        self.batches, self.bad = [], set(bad)
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def __call__(self, items):
        self.batches.append(list(items))
        await self.may_go_on.wait()
        if self.bad & set(items):
            raise ValueError(f"bad {sorted(self.bad & set(items))}")
        return [10 * item for item in items]


def outcomes(items, writer, by_one_row=True):
    """The outcome of each item; all but the first arrive while the first is being written."""

    async def all_at_once():
        commits = GroupCommit(writer, lambda error: by_one_row)
        writer.may_go_on.clear()
        tasks = [asyncio.create_task(commits.add(items[0]))]
        while not writer.batches:
            await asyncio.sleep(0)
        tasks += [asyncio.create_task(commits.add(item)) for item in items[1:]]
        await asyncio.sleep(0)
        writer.may_go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(all_at_once())


def test_what_arrives_meanwhile_is_written_together():
    writer = Writer()
    assert outcomes([1, 2, 3, 4], writer) == [10, 20, 30, 40]
    assert writer.batches == [[1], [2, 3, 4]]


def test_requests_on_their_way_to_the_queue_join_the_group():
    """Each takes some turns of the loop more than the one before."""
    writer = Writer()

    async def all_at_once():
        commits = GroupCommit(writer, lambda error: True)

        async def request(number):
            for _ in range(number * (QUIET_TURNS - 1)):
                await asyncio.sleep(0)
            return await commits.add(number)

        return await asyncio.gather(*(request(number) for number in range(8)))

    assert asyncio.run(all_at_once()) == [10 * number for number in range(8)]
    assert writer.batches == [[*range(8)]]


def test_a_single_item_is_written_at_once():
    """No timer delays it, so that a quiet shop is answered as fast as a busy one."""

    async def one():
        begun = asyncio.get_running_loop().time()
        assert await GroupCommit(Writer(), lambda error: True).add(1) == 10
        return asyncio.get_running_loop().time() - begun

    loop = asyncio.new_event_loop()
    loop.time = lambda: 0.0  # a timer would never fire
    assert loop.run_until_complete(one()) == 0.0
    loop.close()


def test_a_group_has_a_limit():
    writer = Writer()
    outcomes([*range(MAX_BATCH + 6)], writer)
    assert [len(batch) for batch in writer.batches] == [1, MAX_BATCH, 5]


def test_a_bad_item_costs_no_other():
    writer = Writer(bad=[3])
    found = outcomes([1, 2, 3, 4], writer)
    assert isinstance(found.pop(2), ValueError)
    assert found == [10, 20, 40]
    assert writer.batches == [[1], [2, 3, 4], [2], [3], [4]]


def test_a_database_that_fails_fails_all_who_wait_at_once():
    """Another try would double their wait, and a shop waits five seconds."""
    writer = Writer(bad=[1])
    found = outcomes([1, 2, 3], writer, by_one_row=False)
    assert [type(error) for error in found] == [ValueError] * 3
    assert writer.batches == [[1]]


def test_it_goes_on_after_a_failure():
    async def twice():
        writer = Writer(bad=[1])
        commits = GroupCommit(writer, lambda error: False)
        with pytest.raises(ValueError, match="bad"):
            await commits.add(1)
        return await commits.add(2)

    assert asyncio.run(twice()) == 20


def test_a_queue_that_is_too_long_is_refused_at_once():
    """Memory is bounded, and the shop comes again."""

    async def many():
        writer = Writer()
        commits = GroupCommit(writer, lambda error: True)
        writer.may_go_on.clear()
        tasks = [asyncio.create_task(commits.add(0))]
        while not writer.batches:
            await asyncio.sleep(0)
        tasks += [asyncio.create_task(commits.add(number)) for number in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(CannotStore, match="too many"):
            await commits.add(1)
        writer.may_go_on.set()
        return await asyncio.gather(*tasks)

    assert len(asyncio.run(many())) == MAX_WAITING + 1


def test_a_client_that_gives_up_fails_no_other():
    async def some():
        writer = Writer()
        commits = GroupCommit(writer, lambda error: True)
        writer.may_go_on.clear()
        tasks = [asyncio.create_task(commits.add(number)) for number in (1, 2, 3)]
        while not writer.batches:
            await asyncio.sleep(0)
        tasks[1].cancel()
        writer.may_go_on.set()
        return await asyncio.gather(tasks[0], tasks[2])

    assert asyncio.run(some()) == [10, 30]
