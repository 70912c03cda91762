"""Participants as tasks of SLURM (--executor slurm), through submitit; what a task does with a participant is participant.work's matter."""
