import threading

import pytest
import torch

from coactseg_cli.config import Precision
from coactseg_cli.errors import InvalidConfig
from coactseg_cli.network.device import choose_device, choose_dtype, keep_large_allocations, turn_on


def test_named_precisions_are_kept():
    cpu = torch.device("cpu")
    assert choose_dtype(Precision.FP32, cpu) is torch.float32
    assert choose_dtype(Precision.BF16, cpu) is torch.bfloat16


def test_auto_precision_follows_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for has, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        assert choose_dtype(Precision.AUTO, torch.device("cpu")) is dtype


@pytest.mark.parametrize("name", ["gpu", "tpu:0", "meta", f"cuda:{torch.cuda.device_count()}"])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(InvalidConfig, match="--device"):
        choose_device(name)


def test_allocator_setting_is_harmless_elsewhere(monkeypatch):
    monkeypatch.setattr("platform.libc_ver", lambda: ("musl", "1.2"))
    keep_large_allocations()


def test_a_gpu_is_used_by_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    events = []
    inside, leave = threading.Event(), threading.Event()

    def first():
        with turn_on(torch.device("cuda:0")):
            inside.set()
            leave.wait(30)
            events.append("first is done")

    def second():
        with turn_on(torch.device("cuda")):  # the same one
            events.append("second has its turn")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    with turn_on(torch.device("cpu")), turn_on(torch.device("cuda:1")):
        events.append("others do not wait")
    threads[1].join(0.3)
    leave.set()
    for thread in threads:
        thread.join(30)
    assert events == ["others do not wait", "first is done", "second has its turn"]


def test_a_turn_ends_with_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(MemoryError), turn_on(torch.device("cuda:0")):
        raise MemoryError
    with turn_on(torch.device("cuda:0")):
        pass
