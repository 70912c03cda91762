"""Text of --slurm and time limits -> what is asked of SLURM."""

from __future__ import annotations

from pathlib import Path

import pytest

from coactseg_cli.cluster import request
from coactseg_cli.config import Executor, RunConfig
from coactseg_cli.errors import InvalidConfig


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("90", 90),
        ("90:30", 90),  # minutes:seconds
        ("0:30", 1),
        ("1:30:00", 90),
        ("2:00:59", 120),
        ("1-2", 26 * 60),
        ("1-02:30", 26 * 60 + 30),
        ("0-00:05:00", 5),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text, wanted):
    assert request.minutes(text) == wanted


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "-5", "1-", "0-0", "0:00:30", "1 2", "UNLIMITED"])
def test_no_time_limit_is_refused(text):
    with pytest.raises(InvalidConfig, match="time"):
        request.minutes(text)


def test_options_of_sbatch_may_have_dashes_underscores_and_no_value():
    found = request.sbatch_options(["--partition=long", "mail_type=END,FAIL", "exclusive", "comment=it's $(here)"])
    assert found == {"partition": "long", "mail-type": "END,FAIL", "exclusive": "", "comment": "it's $(here)"}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["p artition=long"], "NAME=VALUE"),
        (["=long"], "NAME=VALUE"),
        (["comment=a\nrm -rf /"], "NAME=VALUE"),  # a line of the script
        (["partition=a\x00b"], "NAME=VALUE"),
        (["array=1-5"], "slurm-array-parallelism"),
        (["cpus_per_task=5"], "omp-nthreads"),
        (["output=x"], "logs"),
        (["wrap=reboot"], "Leave it out"),
        (["partition=a", "partition=b"], "twice"),
        (["time=never"], "never"),
    ],
)
def test_what_is_no_option_or_not_the_users_is_refused(values, says):
    with pytest.raises(InvalidConfig, match=says):
        request.sbatch_options(values)


def test_a_request_has_defaults_and_what_the_user_said():
    plain = request.request_of(RunConfig(omp_threads=3))
    assert (plain.cpus, plain.minutes, plain.at_once) == (3, 120, 20)
    assert plain.options == {"requeue": True, "mem": "8000M"}
    run = RunConfig(mem_mb=12000, slurm={"time": "1-0", "exclusive": "", "partition": "long"}, slurm_array_parallelism=7)
    asked = request.request_of(run)
    assert (asked.minutes, asked.at_once) == (1440, 7)
    assert asked.options == {"requeue": True, "mem": "12000M", "exclusive": True, "partition": "long"}
    assert request.described(asked.options) == "--exclusive --mem=12000M --partition=long --requeue"


def test_memory_per_cpu_and_no_requeue_take_the_place_of_the_defaults():
    asked = request.request_of(RunConfig(slurm={"mem-per-cpu": "4G", "no-requeue": ""}))
    assert asked.options == {"mem-per-cpu": "4G", "no-requeue": True}


SLURM = RunConfig(executor=Executor.SLURM)


def test_a_missing_cluster_and_a_missing_package_are_said_with_the_way_out(monkeypatch):
    monkeypatch.setattr(request.shutil, "which", lambda _: None)
    with pytest.raises(InvalidConfig, match=r"sbatch, srun.* not found.*login node.*slurm_submit\.sh"):
        request.check(SLURM, Path("out"))
    monkeypatch.setattr(request.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InvalidConfig, match=r"pip install 'coactseg-cli\[slurm\]'"):
        request.check(SLURM, Path("out"))


@pytest.mark.parametrize("name", ["100%j", "a\\b", "a\nb"])
def test_an_output_folder_that_slurm_would_misread_is_refused(name, monkeypatch, tmp_path):
    monkeypatch.setattr(request.shutil, "which", lambda program: program)
    with pytest.raises(InvalidConfig, match="Rename"):
        request.check(SLURM, tmp_path / name)
    request.check(SLURM, tmp_path / "it's $(fine) here")


def test_stopping_at_a_crash_needs_somebody_who_waits(monkeypatch, tmp_path):
    monkeypatch.setattr(request.shutil, "which", lambda program: program)
    with pytest.raises(InvalidConfig, match="no-wait"):
        request.check(RunConfig(executor=Executor.SLURM, wait=False, stop_on_first_crash=True), tmp_path)
