"""What commands print: whole lines, aligned columns."""

from orchestrator.cli.printing import print_table, say


def test_a_line_is_printed_as_it_stands(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    line = "a line longer than the terminal, with [bold]brackets[/bold] and /a/path/that/is/not/broken"
    say(line)
    assert capsys.readouterr().out == line + "\n"


def test_the_first_columns_stand_left_and_figures_right(capsys):
    print_table("title", ("name", "op", "count"), [("a", "k3", "1"), ("long", "k5e6", "1,234")], "caption", left=2)
    title, head, first, second, caption = (line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert (title, caption) == ("title", "caption")
    assert head == "name  op    count"
    assert first == "a     k3        1"
    assert second == "long  k5e6  1,234"


def test_a_narrow_terminal_cuts_no_column(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    row = tuple(f"figure-number-{number}" for number in range(12))
    print_table("title", tuple("abcdefghijkl"), [row])
    assert capsys.readouterr().out.splitlines()[2].split() == list(row)
