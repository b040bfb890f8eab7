"""Many threads' writes in few transactions."""

import contextlib
import sys
import threading

import pytest

from connector.storage.group_commit import MAX_BATCH, GroupCommit, WaitTimeout

LONG = 30.0


class Writer:
    """Writes nothing; waits at a gate, remembers what came in which group, and fails for what it is told."""

    def __init__(self, faulty=()):
        self.groups = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.faulty = faulty

    def __call__(self, items):
        self.entered.set()
        assert self.gate.wait(LONG)
        self.groups.append(list(items))
        if bad := [item for item in items if item in self.faulty]:
            raise ValueError(bad)
        return [item * 10 for item in items]


def together(group_commit, items, writer):
    """Each item added by a thread of its own, the first alone in the writer while the others line up."""
    outcomes = {}

    def add(item):
        try:
            outcomes[item] = group_commit.add(item)
        except Exception as error:
            outcomes[item] = error

    threads = [threading.Thread(target=add, args=(item,)) for item in items]
    threads[0].start()
    assert writer.entered.wait(LONG)
    for thread in threads[1:]:
        thread.start()
    pause = threading.Event()
    while group_commit.waiting < len(items) - 1:
        pause.wait(0.001)
    writer.gate.set()
    for thread in threads:
        thread.join(LONG)
    return outcomes


def test_those_who_wait_are_written_in_one_go():
    """The first goes alone; all that came meanwhile share the next transaction, and each gets its own result."""
    writer = Writer()
    outcomes = together(GroupCommit(writer, LONG, lambda error: True), list(range(1, 21)), writer)
    assert outcomes == {item: item * 10 for item in range(1, 21)}
    assert [len(group) for group in writer.groups] == [1, 19]


def test_a_group_has_an_end():
    """Nobody waits for more than so many others."""
    writer = Writer()
    together(GroupCommit(writer, LONG, lambda error: True), list(range(MAX_BATCH + 6)), writer)
    assert [len(group) for group in writer.groups] == [1, MAX_BATCH, 5]


def test_one_bad_item_costs_no_other():
    """The group is tried again one by one; only the culprit gets the error."""
    writer = Writer(faulty={7})
    outcomes = together(GroupCommit(writer, LONG, lambda error: True), list(range(1, 11)), writer)
    assert isinstance(outcomes.pop(7), ValueError)
    assert outcomes == {item: item * 10 for item in (1, 2, 3, 4, 5, 6, 8, 9, 10)}


def test_a_fault_of_the_whole_is_not_tried_again():
    """A database that is away fails all at once, not each after a time-out of its own."""
    writer = Writer(faulty={7})
    outcomes = together(GroupCommit(writer, LONG, lambda error: False), list(range(1, 11)), writer)
    assert [len(group) for group in writer.groups] == [1, 9]
    assert {item for item, outcome in outcomes.items() if isinstance(outcome, ValueError)} == set(range(2, 11))


def test_a_failure_of_the_whole_is_shared_by_those_who_waited_for_it():
    """They do not ask again one after the other; whoever comes later does."""
    writer = Writer(faulty={1})
    group_commit = GroupCommit(writer, LONG, lambda error: False)
    outcomes = together(group_commit, [1, 2, 3], writer)
    assert {item: type(outcome) for item, outcome in outcomes.items()} == {
        1: ValueError,
        2: WaitTimeout,
        3: WaitTimeout,
    }
    assert writer.groups == [[1]]
    assert group_commit.add(5) == 50


def test_a_wish_whose_turn_does_not_come_is_withdrawn():
    """After the patience it is not written any more, by nobody."""
    writer = Writer()
    group_commit = GroupCommit(writer, 0.01, lambda error: True)
    first = threading.Thread(target=group_commit.add, args=(1,))
    first.start()
    assert writer.entered.wait(LONG)
    with pytest.raises(WaitTimeout):
        group_commit.add(2)
    writer.gate.set()
    first.join(LONG)
    assert writer.groups == [[1]]


def lined_up(group_commit, item):
    """A thread that adds an item it has announced, and has come so far as to wait."""

    def add():
        with contextlib.suppress(SystemExit), group_commit.announce_write():
            group_commit.add(item)

    thread = threading.Thread(target=add)
    thread.start()
    pause = threading.Event()
    while not group_commit.waiting:
        pause.wait(0.001)
    return thread


def test_a_transaction_waits_for_those_under_way():
    """Threads that keep each other from the processor write together."""
    writer = Writer()
    writer.gate.set()
    group_commit = GroupCommit(writer, LONG, lambda error: True, linger=LONG)
    with group_commit.announce_write():
        first = lined_up(group_commit, 1)
        assert group_commit.add(2) == 20
    first.join(LONG)
    assert writer.groups == [[1, 2]]


def test_nobody_waits_for_one_who_turned_back():
    """What was under way may come to nothing, as a webhook of an ignored topic does."""
    writer = Writer()
    writer.gate.set()
    group_commit = GroupCommit(writer, LONG, lambda error: True, linger=LONG)
    with group_commit.announce_write():
        first = lined_up(group_commit, 1)
        assert writer.groups == []
    first.join(LONG)
    assert writer.groups == [[1]]


def test_waiting_for_others_has_an_end():
    """One that takes long holds nobody up."""
    writer = Writer()
    writer.gate.set()
    group_commit = GroupCommit(writer, LONG, lambda error: True, linger=0.01)
    with group_commit.announce_write():
        assert group_commit.add(1) == 10


def test_nothing_counts_as_stored_when_its_writer_is_ended():
    """Whoever waited for a thread that was told to exit learns that it was in vain."""
    group_commit = GroupCommit(lambda items: sys.exit(), LONG, lambda error: True, linger=LONG)
    with group_commit.announce_write():
        first = lined_up(group_commit, 1)
        with pytest.raises(WaitTimeout):
            group_commit.add(2)
    first.join(LONG)
