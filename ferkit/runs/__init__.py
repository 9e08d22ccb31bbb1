"""Training runs as directories: train a network into one, read one, use its model, compare several."""

# ruff: noqa: F401 -- the command and the web server use more than the public names
from ._comparison import compare_pairs, compare_runs, find_runs, plan_trainings, write_comparison
from ._runs import (
    SETTINGS,
    Run,
    can_resume,
    find_model,
    find_training,
    is_unfinished,
    read_unfinished,
    score_split,
    split_rows,
    train_run,
)

__all__ = ["Run", "compare_pairs", "compare_runs", "train_run"]
