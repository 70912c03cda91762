import io

from rich.console import Console

from coactseg_cli.training_view import View
from tests.coactseg_cli.test_validation import row

LOSSES = ("dice_all_baseline", "dice_all_followup", "dice_new", "cross_entropy", "relation_agreement", "relation_absent")
ROW = {"total": 2.5, "learning_rate": 1e-3, "seconds": 0.25, "relation_present": 0.0, **dict.fromkeys(LOSSES, 0.5)}


def test_a_terminal_sees_progress_losses_and_the_last_validation():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with View(10, 0, console=console) as view:
        for i in range(1, 4):
            view.step({"iteration": i, **ROW})
        view.validated([row(dice=0.625), row(kind="new", dice=0.25)], 0.4375, 0.5, 2)
        view.step({"iteration": 4, **ROW})
        console.print(view._picture())
    shown = screen.getvalue()
    assert "4/10" in shown
    assert "2.5000" in shown
    assert "all: Dice 0.625" in shown
    assert "(best 0.500 at 2)" in shown


def test_elsewhere_nothing_is_drawn():
    screen = io.StringIO()
    with View(10, 0, console=Console(file=screen, force_terminal=False)) as view:
        view.step({"iteration": 1, **ROW})
    assert screen.getvalue() == ""
    assert view.text() == "total 2.500, dice all baseline 0.500, dice all followup 0.500, dice new 0.500; 0.25 s per iteration"
