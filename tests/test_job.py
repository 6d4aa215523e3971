"""The job document goes to a child and back, and a child ends with its supervisor."""

import os
import select
import signal
import subprocess
import sys

import pytest

from edge.job import NO_FD, Job, ListenerJob, announce_ready, read_job

JOB = Job(
    settings={"nodes": [{"name": "node1", "web": "127.0.0.1:9001"}], "π": 1.5},
    tier="haproxy@node1",
    arena_fd=5,
    row=2,
    ready_fd=7,
    generation=3,
    supervisor_pid=4711,
    listeners=[ListenerJob("cdn", "::1", 8080, 9), ListenerJob("elb", "127.0.0.1", 81, NO_FD)],
    slots={"servers": {"haproxy@node1/node1": 0}, "tiers": {"haproxy@node1": 0}},
    admin_fd=11,
)


def test_a_job_is_read_as_it_was_written() -> None:
    assert read_job(JOB.write()) == JOB


def test_every_descriptor_is_inherited_and_placeholders_are_not() -> None:
    assert JOB.descriptors() == [5, 7, 9, 11]


def test_what_is_no_job_is_refused() -> None:
    fd = os.memfd_create("not-a-job")
    os.write(fd, b'{"listeners": []}')
    with pytest.raises((TypeError, KeyError)):
        read_job(fd)


def test_ready_is_one_letter_and_the_end_of_the_pipe() -> None:
    read_end, write_end = os.pipe()
    announce_ready(write_end)
    assert os.read(read_end, 10) == b"R"
    assert os.read(read_end, 10) == b""
    os.close(read_end)


CHILD = """
import sys
from edge.job import end_with_parent
end_with_parent(int(sys.argv[1]))
print("lives", flush=True)
sys.stdin.read()
"""
PARENT = f"""
import os, subprocess, sys
command = [sys.executable, "-c", {CHILD!r}, str(os.getpid())]
child = subprocess.Popen(command, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.wire
def test_a_child_gets_sigterm_when_its_supervisor_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        # A pidfd becomes readable when its process ends.
        assert select.select([child], [], [], 5.0)[0] == [child]
        os.close(child)


@pytest.mark.wire
def test_a_child_whose_supervisor_is_gone_already_ends_itself() -> None:
    not_the_parent = 1
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(not_the_parent)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=10,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.returncode != -signal.SIGTERM
