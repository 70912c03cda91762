import os
import signal
import threading

import pytest

from coactseg_cli.errors import Stopped
from coactseg_cli.stopping import StopFlag, stop_signals


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
