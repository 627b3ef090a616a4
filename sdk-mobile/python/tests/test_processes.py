"""Processes that end, and processes that are forked."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Client, arrives, tell, told



def forks(test: Callable[..., None]) -> Callable[..., None]:
    """A test that forks while threads run, which newer Pythons warn of; the client is made for it."""
    test = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")(test)
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")(test)


PROGRAM = """
import os, sys, wakeline
client = wakeline.configure(
    key=os.environ["WAKELINE_KEY"], collector=os.environ["WAKELINE_COLLECTOR"], data_dir=sys.argv[1], exit_timeout=30.0
)
for n in range(20):
    client.track("exit", n=n)
"""


def test_a_program_that_just_ends_has_sent_what_it_recorded(client: Client, tmp_path: Path) -> None:
    told("WAKELINE_KEY")
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True, timeout=60)
    rest = client()
    assert rest.flush(30)
    assert rest.status().restored == 0
    tell(20)


def in_child(act: Callable[[], None]) -> int:
    """Runs that in a forked process, and gives its exit code."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@forks
def test_a_forked_process_records_by_itself_and_its_parent_goes_on(client: Client) -> None:
    shop = client()
    assert shop.track("parent")

    def child() -> None:
        for n in range(10):
            assert shop.track("child", n=n)
        status = arrives(shop)
        assert status.accepted == 10, status

    assert [in_child(child) for _ in range(3)] == [0, 0, 0]
    assert shop.track("parent")
    arrives(shop)


@forks
def test_what_a_forked_process_leaves_is_sent_by_the_next_start(client: Client) -> None:
    shop = client()

    def child() -> None:
        shop.set_network("offline")
        assert shop.track("left")
        shop.close()

    assert in_child(child) == 0
    shop.close()
    assert arrives(client()).restored == 1


FORKS = """
import os, sys, wakeline
client = wakeline.configure(
    key=os.environ["WAKELINE_KEY"], collector=os.environ["WAKELINE_COLLECTOR"], data_dir=sys.argv[1], exit_timeout=30.0
)
client.track("parent")
if os.fork() == 0:
    sys.exit(0)
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@forks
def test_a_forked_process_may_end_without_having_used_the_client(client: Client, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, str(tmp_path)], check=True, timeout=60)
    tell(1)
    assert arrives(client()).restored == 0
