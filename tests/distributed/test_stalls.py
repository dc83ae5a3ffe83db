"""Who is at fault, from what is known of the ranks."""

from ppdet_ext.distributed.phases import State, find_stalled, find_suspects

HINT = "; if that is no fault, raise stall_timeout"


def test_a_rank_that_waits_is_not_at_fault() -> None:
    states = {0: State("gather 'evaluation'", waiting=True, seconds=12), 1: State("step 4", seconds=10)}
    assert find_stalled(states, 10) == (
        f'rank 1 has been at "step 4" for 10 s (rank 0 at "gather \'evaluation\'" for 12 s){HINT}',
        [1],
    )
    states[1].seconds = 9.9
    assert find_stalled(states, 10) is None


def test_all_ranks_wait() -> None:
    states = {
        0: State("gather", waiting=True, seconds=10),
        1: State("step 4", waiting=True, seconds=11),
        2: State("x", left=True),
    }
    message, ranks = find_stalled(states, 10)
    assert message == (
        'all ranks wait for each other (rank 0 at "gather" for 10 s, rank 1 at "step 4" for 11 s, '
        f"rank 2 has ended its training){HINT}"
    )
    assert ranks == [0, 1]
    states[0].seconds = 9
    assert find_stalled(states, 10) is None


def test_several_ranks_stall() -> None:
    states = {0: State("a", seconds=10), 1: State("b", seconds=20)}
    message, ranks = find_stalled(states, 10)
    assert message == f'rank 0 has been at "a" for 10 s; rank 1 has been at "b" for 20 s{HINT}'
    assert ranks == [0, 1]


def test_a_silent_rank_is_named_though_it_last_waited() -> None:
    states = {0: State("step", seconds=1), 1: State("gather", waiting=True, seconds=30, silent=30)}
    assert find_stalled(states, 30) == ('rank 1 has not been heard of for 30 s, last at "gather"', [1])


def test_who_has_left_is_not_at_fault() -> None:
    assert find_stalled({0: State("step", seconds=1), 1: State("step", seconds=99, silent=99, left=True)}, 10) is None
    assert find_stalled({0: State("step", left=True), 1: State("step", left=True)}, 10) is None


def test_one_rank() -> None:
    assert find_stalled({0: State("waiting for data", seconds=10)}, 10) == (
        f'no progress: at "waiting for data" for 10 s{HINT}',
        [0],
    )
    assert find_stalled({0: State("waiting for data", seconds=9)}, 10) is None


def test_suspects_of_failed_communication() -> None:
    states = {
        0: State("training, step 4", seconds=31),
        1: State("waiting for data, step 4", seconds=32),
        2: State("barrier", waiting=True, seconds=31),
    }
    assert find_suspects(states, {0: "gloo timed out"}) == (
        'communication failed on rank 0 (gloo timed out), while rank 1 was at "waiting for data, step 4" for 32 s '
        '(rank 0 at "training, step 4" for 31 s, rank 2 at "barrier" for 31 s)',
        [1],
    )
    message, ranks = find_suspects(states, {0: "gloo timed out", 1: "gloo timed out"})
    assert message.startswith("communication failed on rank 0 (gloo timed out) (rank 0 at")
    assert ranks == []
