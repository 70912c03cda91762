import os
import signal
import threading

import pytest

from coactseg_cli.errors import Stopped
from coactseg_cli.stopping import StopFlag, stop_signals


@pytest.fixture(autouse=True)
def heard():
    """The tests may run in the background of a shell, where Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGUSR1, Stopped), (signal.SIGTERM, Stopped), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_is_remembered_until_there_is_a_good_place(number, kind):
    before = signal.getsignal(number)
    with stop_signals() as stop:
        assert stop.name is None
        os.kill(os.getpid(), number)
        assert stop.name == number.name
        with pytest.raises(kind, match="here"):
            stop.end("here")
    assert signal.getsignal(number) is before


def test_a_second_interruption_is_not_held_back():
    with stop_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_another_thread_does_not_listen():
    names = []

    def work():
        with stop_signals() as stop:
            names.append(stop.name)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert names == [None]


def test_a_process_that_others_stopped_says_so():
    with pytest.raises(Stopped, match="another process: here"):
        StopFlag().end("here")


def test_what_was_ignored_from_the_start_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_signals() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.name is None
        signal.raise_signal(signal.SIGUSR1)
        assert stop.name == "SIGUSR1"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
