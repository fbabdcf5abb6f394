"""What counts as a disturbance, and what is done about it."""

import os

import pytest

from benchmarks import quiet
from benchmarks.quiet import Entry, NoisyError, Sample, Watch, disturbance, others, too_many, wait

START = Sample(0.0, 10.0, {1: 5.0, 2: 1.0})


def later(seconds=1.0, stolen=0.0, used=0.0):
    return Sample(seconds, 10.0 + stolen, {1: 5.0, 2: 1.0 + used}, {2: "backup"})


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (later(), None),
        (later(stolen=0.05), None),  # 2 % of two cores, and a little
        (later(stolen=0.07), "stolen"),
        (later(used=0.06), None),  # 5 % of a core, and a little
        (later(used=0.08), "backup"),
        (later(seconds=10.0, used=0.08), None),  # the share counts
        (later(seconds=0.01, used=0.02), None),  # two steps of the kernel's clock say nothing
    ],
)
def test_disturbances(end, reason):
    found = disturbance(START, end, cores=2)
    assert found is None if reason is None else found is not None and reason in found


def test_who_ends_meanwhile_is_counted_with_its_parent():
    # Process 2 has ended; its second is now among those of its parent, process 1.
    assert disturbance(START, Sample(1.0, 10.0, {1: 6.0}), cores=2) is None
    assert disturbance(START, Sample(1.0, 10.0, {1: 7.0}), cores=2) is not None


def test_others_are_all_but_the_measured_one_with_its_descendants_and_this_program():
    table = {
        1: Entry("init", 0, 1.0), 10: Entry("bench", 1, 2.0), 11: Entry("measured", 10, 4.0),
        12: Entry("idle peer", 10, 8.0), 13: Entry("its child", 11, 16.0),
        14: Entry("its grandchild", 13, 32.0),
    }  # fmt: skip
    assert others(table, 11, us=10) == {1: 1.0, 12: 8.0}
    assert sum(others(table, None, us=10).values()) == 61.0


def test_the_counters_of_this_machine():
    own = os.getpid()
    assert own in quiet.processes()
    found = quiet.sample()
    assert found.stolen >= 0
    assert own not in found.others
    assert found.others.keys() == found.names.keys()


class Machine:
    """Counters that show a disturbance in some of the measurements."""

    def __init__(self, disturbed):
        self.disturbed, self.reads, self.stolen = disturbed, 0, 0.0
        self.slept = []

    def sample(self, measured):
        self.reads += 1
        measurement, is_end = divmod(self.reads - 1, 2)
        if is_end and measurement in self.disturbed:
            self.stolen += 0.5
        return Sample(float(self.reads), self.stolen, {})


def test_a_disturbed_measurement_is_thrown_away_and_repeated():
    machine, found = Machine({0, 1}), iter("abc")
    watch = Watch(take=machine.sample, sleep=machine.slept.append)
    assert watch.undisturbed(lambda: next(found)) == "c"
    assert (watch.measurements, watch.disturbed) == (3, 2)
    assert machine.slept == sorted(machine.slept)
    assert watch.recordable
    assert "stolen" in watch.summary()


def test_it_is_given_up_when_no_measurement_is_undisturbed():
    machine = Machine(range(100))
    watch = Watch(take=machine.sample, sleep=machine.slept.append)
    with pytest.raises(NoisyError, match="stolen"):
        watch.undisturbed(lambda: None)
    assert watch.measurements == quiet.TRIES
    assert not watch.recordable


def test_a_run_that_is_too_much_disturbed_is_ended_early():
    machine = Machine({n for n in range(100) if n % 3})  # two of three
    watch = Watch(take=machine.sample, sleep=machine.slept.append)

    def measure_often():
        for _ in range(100):
            watch.undisturbed(lambda: None)

    with pytest.raises(NoisyError, match="measurements were disturbed"):
        measure_often()
    assert watch.measurements == 41


def test_a_noisy_run_keeps_all_and_is_never_recordable():
    machine = Machine({0})
    watch = Watch(keep=True, take=machine.sample, sleep=machine.slept.append)
    assert watch.undisturbed(lambda: "kept") == "kept"
    assert watch.undisturbed(lambda: "quiet") == "quiet"
    assert (watch.measurements, watch.disturbed, machine.slept) == (2, 1, [])
    assert not watch.recordable


@pytest.mark.parametrize(
    ("disturbed", "measurements", "refused"),
    [(0, 0, False), (3, 4, False), (4, 4, True), (25, 100, False), (26, 100, True)],
)
def test_too_many_disturbances(disturbed, measurements, refused):
    assert too_many(disturbed, measurements) is refused


def test_the_wait_ends_when_the_load_is_low(capsys):
    loads = iter([1.2, 0.6, 0.3, 0.29])
    waited = []
    assert wait(100, load=lambda: next(loads), sleep=waited.append) == 0.29
    assert len(waited) == 3
    assert "1.20" in capsys.readouterr().err


def test_the_wait_is_refused_after_its_limit():
    waited = []
    with pytest.raises(NoisyError, match=r"0\.50.*--patience.*--noisy"):
        wait(20, load=lambda: 0.5, sleep=waited.append)
    assert sum(waited) == 20
