#!/usr/bin/env python3
"""Logs the runs of runs.json to TRACKER, a run for each method and a step for each length.

Written by longlens. It needs the package `TRACKER`, and nothing else.
"""

import argparse
import json
import pathlib

import TRACKER as tracker


def main():
    data = json.loads(pathlib.Path(__file__).with_name("runs.json").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", default=data["project"], help="default: %(default)s")
    project = parser.parse_args().project
    for run in data["runs"]:
        tracker.init(project=project, name=run["name"], config=run["config"], **OPTIONS)
        for row in run["history"]:
            tracker.log(row["metrics"], step=row["step"])
        tracker.finish()


if __name__ == "__main__":
    main()
