"""Kills a training run with SIGKILL at random moments, resumes it each time, and compares its files with an uninterrupted run.

    python tools/check_resume.py target/release/advect            # 20 kills of a digits run that saves every second step

Needs nothing but Python. Every file of the two runs (model, EMA, optimizer, state, configuration) must be equal byte for byte.
"""

import argparse
import random
import subprocess
import tempfile
import time
from pathlib import Path

FILES = ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json", "config.toml"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    program = str(options.program.resolve())
    rng = random.Random(options.seed)
    settings = f"--preset digits --steps {options.steps} --set train.batch=32 --set train.checkpoint_every=2 --set sample.steps=2"
    with tempfile.TemporaryDirectory() as folder:
        run = lambda words: subprocess.Popen([program, *words.split(), "--quiet"], cwd=folder)
        started = time.time()
        assert run(f"train --run whole {settings}").wait() == 0
        whole = time.time() - started
        command, kills, in_a_save = f"train --run cut {settings}", 0, 0
        while kills < options.kills:
            child = run(command)
            time.sleep(rng.uniform(0.05, max(0.1, 2.5 * whole / options.kills)))
            if child.poll() is not None:
                # It came to its end: start over, the remaining kills still have to fall.
                assert child.returncode == 0
                compare(Path(folder))
                subprocess.run(["rm", "-r", f"{folder}/cut"], check=True)
                command = f"train --run cut {settings}"
                continue
            child.kill()
            child.wait()
            kills += 1
            in_a_save += any(Path(folder, "cut").glob("*.next"))
            if Path(folder, "cut/state.json").exists():
                command = "train --run cut --resume"
            else:
                subprocess.run(["rm", "-rf", f"{folder}/cut"], check=True)
        assert run(command).wait() == 0
        compare(Path(folder))
        print(f"{kills} kills, {in_a_save} of them inside a save: all files equal the uninterrupted run's")


def compare(folder):
    for name in FILES:
        assert (folder / "whole" / name).read_bytes() == (folder / "cut" / name).read_bytes(), f"{name} differs"


main()
