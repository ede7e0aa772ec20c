"""Writes docs/topics/benchmarks.md and its pictures from what `make bench` has measured.

python docs/benchmarks_page.py [RESULTS]    # writes them, from benchmarks/results.json
python docs/benchmarks_page.py --check      # fails if the page differs, and writes nothing
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.append(str(ROOT / "benchmarks"))
from bench import RESULTS, promises  # noqa: E402
from results import verdict  # noqa: E402

PAGE = DOCS / "topics" / "benchmarks.md"
IMAGES = DOCS / "images"
GRAY, BLUE, ORANGE, GREEN = "#808080", "#3d7fd6", "#d97b29", "#3c9a5f"
"""They can be read on white and on black: the pictures have no background."""
REHEARSAL = "**This is a rehearsal with small sizes (`--short`): its figures mean nothing.**\n\n"

Found = Mapping[str, Any]
Taken = dict[str, dict[str, list[float]]]


# The page


def page(found: Found) -> str:
    """The whole page."""
    return "".join([introduction(found), promise_table(found), *map(section, found["parts"])])


def introduction(found: Found) -> str:
    """What was measured, when and on what."""
    machine = found["machine"]
    return (
        "# Benchmarks\n\n"
        "<!-- written by docs/benchmarks_page.py -->\n\n"
        f"Measured by `make bench` on {machine['time']} UTC, in {found['seconds'] / 60:.0f} minutes, on a machine with "
        f"{machine['cores']} cores ({machine['system']}, {machine['architecture']}), Python {machine['python']}, and a "
        f"load of {machine['load']} at the start.\n\n"
        f"{REHEARSAL if found['short'] else ''}"
        "Every candidate is a separate process, and the candidates take turns. A cell has the median of the rounds, "
        "and in brackets the smallest and the largest. Compare ratios between machines, not times. "
        "[Performance](performance.md) explains the figures; [results.json](../../benchmarks/results.json) has all of "
        "them.\n\n"
    )


def promise_table(found: Found) -> str:
    """Each promise, held or not."""
    rows = [
        (
            one["promise"],
            one["claim"],
            one["limit"],
            one["shown"],
            verdict(one["held"]) if one["held"] is not False else "**not held**",
        )
        for one in promises(dict(found))
    ]
    return "## Promises\n\n" + markdown(("Promise", "What", "Limit", "Measured", ""), rows, "---")


def section(part: Found) -> str:
    """The tables of a benchmark, its picture, and what could not be measured."""
    command = " ".join(
        f'"{word}"' if " " in word or not word else word for word in without_seconds(part["arguments"])
    )
    failed = [(one["what"], one["why"].replace("|", "\\|")) for one in part["failed"]]
    pieces = [f"```console\n$ python benchmarks/{part['benchmark']}.py {command}".rstrip() + "\n```\n\n"]
    for table in part["tables"]:
        pieces.append(f"## {table['title']}\n\n")
        pieces += [f"![{alt}](../images/{name})\n\n" for name, alt, _ in plots_of(part["benchmark"], table)]
        pieces.append(markdown(table["columns"], table["rows"]))
    if failed:
        title = "" if part["tables"] else f"## {part['benchmark']}.py\n\n"
        pieces.append(f"{title}Not measured:\n\n{markdown(('', 'why'), failed, '---')}")
    return "".join([*pieces[1:], pieces[0]])


def without_seconds(arguments: Sequence[str]) -> list[str]:
    """The arguments that say what was measured."""
    kept = [word for word in arguments if word != "--json"]
    if "--seconds" in kept:
        place = kept.index("--seconds")
        del kept[place : place + 2]
    return kept


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], align: str = "---:") -> str:
    """A table; `align` is for all columns but the first."""
    lines = [columns, ["---", *[align] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


# The pictures


def plots_of(benchmark: str, table: Found) -> Iterator[tuple[str, str, Callable[[Any], None]]]:
    """Of a table: the name of each file, what it shows, and what draws it."""
    taken: Taken = table["figures"]
    if not taken:
        return
    if benchmark == "logged_step":
        title = "What one logged step costs, µs, median (logarithmic)"
        yield "benchmarks-step.svg", title, lambda figure: draw_steps(figure, title, taken)
    elif benchmark == "next_to_clients":
        loop = next(iter(taken)).partition(",")[0]
        title = f"{loop}: where the seconds of a script go"
        yield f"benchmarks-{loop.lower()}.svg", title, lambda figure: draw_script(figure, title, taken)
    elif benchmark == "memory" and "delivery" in taken:
        title = "The delivery process over a long run"
        yield "benchmarks-delivery.svg", title, lambda figure: draw_delivery(figure, title, taken["delivery"])
    elif benchmark == "history" and "journal" in taken and "EventAccumulator" in taken:
        title = "All points of a run are read: processor time, s (logarithmic)"
        yield "benchmarks-history.svg", title, lambda figure: draw_times(figure, title, taken, "cpu_s")


def draw_steps(figure: Any, title: str, taken: Taken) -> None:
    """Two bars for each logger, the fastest on top."""
    figure.set_size_inches(8, 0.34 * len(taken) + 1)
    axes = figure.add_subplot(title=title)
    names = sorted(taken, key=lambda name: -middle(taken[name]["of3_us"]))
    for offset, size, color in ((0.2, 3, BLUE), (-0.2, 30, ORANGE)):
        values = [middle(taken[name][f"of{size}_us"]) for name in names]
        places = [number + offset for number in range(len(names))]
        bars = axes.barh(places, values, 0.38, color=color, label=f"{size} metrics")
        axes.bar_label(bars, [*map(short, values)], padding=3, fontsize=7, color=GRAY)
    axes.set_yticks(range(len(names)), names)
    for name, label in zip(names, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if name.startswith("trackhooks") else "normal")
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.01)
    axes.legend(frameon=False, labelcolor=GRAY, loc="upper right")


def draw_script(figure: Any, title: str, taken: Taken) -> None:
    """A bar for each candidate: start, loop, and until the prompt; a line until everything is delivered."""
    figure.set_size_inches(8, 0.5 * len(taken) + 1)
    axes = figure.add_subplot(title=title)
    names = [*reversed(taken)]
    parts = (
        ("loggers start", "start_s", ORANGE),
        ("loop", "loop_s", BLUE),
        ("until the prompt", "prompt_s", GREEN),
    )
    left = [0.0] * len(names)
    for label, name, color in parts:
        values = [middle(taken[one][name]) for one in names]
        axes.barh(names, values, 0.6, left=left, color=color, label=label)
        left = [one + more for one, more in zip(left, values, strict=True)]
    ends = [
        start - middle(taken[one]["prompt_s"]) + middle(taken[one]["delivered_s"])
        for one, start in zip(names, left, strict=True)
    ]
    axes.plot(ends, range(len(names)), "|", color=GRAY, markersize=16, label="everything delivered")
    axes.set_yticks(range(len(names)), [name.partition(", ")[2] for name in names])
    axes.set_xlabel("s", color=GRAY)
    axes.legend(frameon=False, labelcolor=GRAY, ncols=4, loc="upper center", bbox_to_anchor=(0.45, -0.3))


def draw_delivery(figure: Any, title: str, found: Mapping[str, Sequence[float]]) -> None:
    """Memory and rate, over the events delivered."""
    figure.set_size_inches(8, 2.6)
    figure.suptitle(title, color=GRAY, fontsize=10)
    for number, (name, label, color) in enumerate(
        (("mib", "memory, MiB", BLUE), ("events_a_second", "events a second", ORANGE)), 1
    ):
        axes = figure.add_subplot(1, 2, number)
        axes.plot([events / 1000 for events in found["events"]], found[name], "o-", color=color, markersize=3)
        axes.set_ylim(0, 1.2 * max(found[name]))
        axes.set_xlabel(f"thousand events delivered — {label}", color=GRAY, fontsize=8)


def draw_times(figure: Any, title: str, taken: Taken, name: str) -> None:
    """A bar for each candidate."""
    figure.set_size_inches(8, 0.34 * len(taken) + 0.9)
    axes = figure.add_subplot(title=title)
    values = {one: middle(found[name]) for one, found in reversed(taken.items())}
    bars = axes.barh([*values], [*values.values()], 0.6, color=BLUE)
    axes.bar_label(bars, [*map(short, values.values())], padding=3, fontsize=8, color=GRAY)
    axes.set_xscale("log")
    axes.margins(x=0.12)


def short(value: float) -> str:
    """A number of two or three digits, and more only before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


middle = statistics.median


def draw(found: Found) -> None:
    """Writes all pictures."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "axes.edgecolor": GRAY,
        "axes.grid": True,
        "axes.grid.axis": "x",
        "axes.axisbelow": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": GRAY,
        "axes.titlesize": 10,
        "font.family": "sans-serif",
        "font.size": 8,
        "grid.alpha": 0.25,
        "grid.color": GRAY,
        "svg.fonttype": "none",
        "svg.hashsalt": "trackhooks",
        "xtick.color": GRAY,
        "ytick.color": GRAY,
    }
    with matplotlib.rc_context(style):
        for part in found["parts"]:
            for table in part["tables"]:
                for name, _, plot in plots_of(part["benchmark"], table):
                    figure = Figure(layout="constrained")
                    plot(figure)
                    figure.savefig(IMAGES / name, transparent=True, metadata={"Date": None})


def main() -> None:
    """Writes or checks the page."""
    given = [word for word in sys.argv[1:] if word != "--check"]
    found = json.loads(Path(given[0] if given else RESULTS).read_text(encoding="utf-8"))
    if "--check" not in sys.argv:
        PAGE.write_text(page(found), encoding="utf-8")
        draw(found)
    elif PAGE.read_text(encoding="utf-8") != page(found):
        sys.exit(f"{PAGE.name} is not up to date. Run: python docs/benchmarks_page.py")


if __name__ == "__main__":
    main()
