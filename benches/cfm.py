#!/usr/bin/env python3
"""Two moons and eight Gaussians by ours and by torchcfm, side by side: writes the table of docs/couplings.md.

    python benches/cfm.py              # all of it: ten minutes on two idle cores
    python benches/cfm.py "quality moons" "quality eight" # the distances alone, 2,000 steps and 5 seeds, some at once
    python benches/cfm.py times        # the times alone: 4 rounds in turn of 300 steps, 3 minutes
    python benches/cfm.py table        # the table, from what was measured last

Needs torch, torchcfm and POT. What was measured is kept in target/cfm.json. `CFM` names another command for ours.
"""

import json
import os
import re
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "target" / "cfm.json"
PAGE = ROOT / "docs" / "couplings.md"
START, END = "<!-- cfm.py -->", "<!-- end of cfm.py -->"
OURS = os.environ.get("CFM", "cargo run --quiet --release -p couplings --bin cfm --").split()
THEIRS = [sys.executable, str(ROOT / "benches" / "peers" / "cfm.py")]
STEPS, SEEDS, ROUNDS, TIMED = 2000, 5, 4, 300
METHODS = ("I-CFM", "OT-CFM", "SB-CFM")
LINE = re.compile(r"(.*), (.*): sliced W2 (\S+) \+- (\S+), (\S+) s of training")


def run(command: list[str], *arguments: object) -> dict[str, list[float]]:
    """Distance, standard error and seconds, by law and method. One thread."""
    environment = {**os.environ, "RAYON_NUM_THREADS": "1"}
    words = [*command, *map(str, arguments)]
    done = subprocess.run(words, cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE)
    found = {}
    for line in done.stdout.splitlines():
        law, method, *numbers = LINE.fullmatch(line).groups()
        found[f"{law}, {method}"] = [float(number) for number in numbers]
    return found


def quality(kept: dict, law: str, sides: list[str]):
    for side in sides:
        command = {"ours": OURS, "theirs": THEIRS}[side]
        # As many at once as there are methods: only distances are read.
        with ThreadPoolExecutor() as pool:
            for found in pool.map(lambda method: run(command, STEPS, SEEDS, f"{law}, {method}"), METHODS):
                kept.setdefault("quality", {}).setdefault(side, {}).update(found)


def times(kept: dict):
    rounds = {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        for side, command in (("ours", OURS), ("theirs", THEIRS)):
            rounds[side].append(run(command, TIMED, 1))
    median = lambda side, name: statistics.median(r[name][2] for r in rounds[side]) / TIMED * 1e3
    kept["times"] = {side: {name: median(side, name) for name in rounds[side][0]} for side in rounds}


def table(kept: dict):
    lines = [
        "| law, method | ours: sliced W2 | torchcfm | ours: ms a step | torchcfm | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    worse = []
    for name in kept["times"]["ours"]:
        (a, da, _), (b, db, _) = (kept["quality"][side][name] for side in ("ours", "theirs"))
        ours, theirs = (kept["times"][side][name] for side in ("ours", "theirs"))
        distances = f"{a:.4f} +- {da:.4f} | {b:.4f} +- {db:.4f}"
        lines.append(f"| {name} | {distances} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |")
        if a > b + 2 * (da**2 + db**2) ** 0.5:
            worse.append(f"{name}: the distance is more than two standard errors above torchcfm's")
        if ours > theirs / 2:
            worse.append(f"{name}: the time is more than half of torchcfm's")
    text = PAGE.read_text()
    before, rest = text.split(START)
    PAGE.write_text(before + START + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])
    print("\n".join(lines + worse))


def main():
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    wanted = sys.argv[1:] or ["quality moons", "quality eight", "times", "table"]
    for part in wanted:
        match part.split():
            case ["quality", law, *sides]:
                quality(kept, {"moons": "moons", "eight": "eight Gaussians"}[law], sides or ["ours", "theirs"])
            case ["times"]:
                times(kept)
            case ["table"]:
                table(kept)
            case _:
                sys.exit(f"{part}: one of \"quality moons\", \"quality eight\", times, table")
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(kept, indent=1))


main()
