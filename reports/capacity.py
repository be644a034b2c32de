#!/usr/bin/env python3
"""Holds the model of `sshchurn plan` against real servers and writes the table.

    reports/capacity.py [--held | --all] [--only NAME] [--out FILE] [--work DIR]

Runs the points of reports/capacity/points.toml one after the other: a calibration, the rounds for real, the same rounds on the
model. Needs `sshchurn` on the path (or SSHCHURN=...), and Docker and OpenSSH's server for the points that name them. Nothing else
should compute meanwhile.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
METRICS = ["attempts", "banner_eof", "handshakes"]
# Between them the results stand in the file that they are written to.
MARKS = ("<!-- results -->", "<!-- end of results -->")


def sshchurn(*arguments, may_fail=()):
    command = [os.environ.get("SSHCHURN", "sshchurn"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and done.returncode not in may_fail:
        sys.exit(f"{' '.join(command)}\nexit {done.returncode}\n{done.stderr[-2000:]}")
    return done


def of_rounds(report):
    """The metrics of each round of the one strategy of a report."""
    return [
        {metric: each["numbers"]["total"]["counts"][metric] for metric in METRICS}
        for each in report["strategies"][0]["per_round"]
    ]


def measured(point, rounds, simulated_rounds, work):
    folder = work / point["name"]
    folder.mkdir(parents=True, exist_ok=True)
    server = ["--target", point["target"]]
    if "release" in point:
        server += ["--release", point["release"]]
    scenario = point["scenario"]
    if scenario.endswith(".toml"):
        scenario = HERE / "capacity" / scenario
    workload = [scenario, "--strategy", point["strategy"], "-n", point["tasks"]]
    workload += ["--max-startups", point["max_startups"]]
    calibration = folder / "calibration.json"
    # "Cannot say" is an answer, such as that a container's files were read for the first time: it is asked again, twice at most.
    for may_fail in [(3,), (3,), ()]:
        done = sshchurn("plan", *workload, *server, "--calibrate-only", calibration, may_fail=may_fail)
        if done.returncode == 0:
            break
        print(f"{point['name']}: {done.stderr.strip().splitlines()[-1]}", flush=True)
    # A gate of the scenario's may fail: it is not what is asked here.
    sshchurn("run", *workload, *server, "--rounds", rounds, "--out", folder / "real", may_fail=(1,))
    model = ["--target", "simulated", "--calibration", calibration, "--clients", "here"]
    if "release" in point:
        model += ["--release", point["release"]]
    sshchurn(
        "run", *workload, *model, "--rounds", simulated_rounds, "--max-duration", "24h",
        "--out", folder / "model", may_fail=(1,),
    )
    read = lambda name: json.loads((folder / name / "report.json").read_text())
    return of_rounds(read("real")), of_rounds(read("model")), json.loads(calibration.read_text())


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, max(0, math.ceil(share * len(values)) - 1))]


def judged(point, real, model):
    refused = statistics.mean(r["banner_eof"] for r in model)
    attempts = statistics.mean(r["attempts"] for r in model)
    share = refused / max(attempts, 1)
    regime = "below" if share <= 0.05 else "near" if share <= 0.30 else "beyond"
    rows = []
    for metric in METRICS:
        values = [r[metric] for r in real]
        predicted = [r[metric] for r in model]
        mean, expected = statistics.mean(values), statistics.mean(predicted)
        noise = 2 * (statistics.stdev(values) if len(values) > 1 else 0) / math.sqrt(len(values))
        low, high = quantile(predicted, 0.025), quantile(predicted, 0.975)
        total_sd = statistics.pstdev(predicted) * math.sqrt(len(values))
        total = sum(values)
        rows.append({
            "metric": metric,
            "measured": mean,
            "sd": statistics.stdev(values) if len(values) > 1 else 0,
            "predicted": expected,
            "interval": [low, high],
            "inside": sum(low <= value <= high for value in values),
            "rounds": len(values),
            "bias": (expected - mean) / mean if mean else 0.0,
            "error": max(0.0, abs(expected - mean) - noise) / mean if mean >= 20 else None,
            "total_fits": abs(total - expected * len(values)) <= 1.96 * total_sd + 0.5,
        })
    return {"point": point, "regime": regime, "refused_share": share, "rows": rows}


def table(results):
    lines = [
        "| point | regime | metric | measured (sd) | predicted (95 %) | bias | error beyond noise | rounds inside |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        point = result["point"]
        name = f"{point['name']}{' (held)' if point.get('held') else ''}"
        for row in result["rows"]:
            if row["metric"] == "handshakes":
                continue
            error = (
                f"{row['error']:.1%}" if row["error"] is not None
                else ("total fits" if row["total_fits"] else "total outside")
            )
            low, high = row["interval"]
            lines.append(
                f"| {name} | {result['regime']} | {row['metric']} | {row['measured']:.1f} ({row['sd']:.1f}) | "
                f"{row['predicted']:.1f} ({low:.0f} to {high:.0f}) | {row['bias']:+.1%} | {error} | "
                f"{row['inside']} of {row['rounds']} |"
            )
    return lines


def summary(results):
    lines = []
    for regime, most in (("below", 0.05), ("near", 0.15)):
        rows = [row for r in results if r["regime"] == regime for row in r["rows"] if row["metric"] != "handshakes"]
        errors = [row["error"] for row in rows if row["error"] is not None]
        if errors:
            lines.append(
                f"- {regime} the knee: median error beyond noise {statistics.median(errors):.1%} of {len(errors)} means "
                f"of 20 or more (at most {most:.0%} is the aim), largest {max(errors):.1%}."
            )
        small = [row for row in rows if row["error"] is None]
        if small:
            fits = sum(row["total_fits"] for row in small)
            lines.append(f"- {regime} the knee: {fits} of {len(small)} smaller means have totals within the model's 95 %.")
    rows = [row for r in results if r["regime"] != "beyond" for row in r["rows"] if row["metric"] != "handshakes"]
    inside, rounds = sum(row["inside"] for row in rows), sum(row["rounds"] for row in rows)
    if rounds:
        lines.append(f"- Single rounds within the model's 95 % interval: {inside} of {rounds} ({inside / rounds:.0%}; at least 85 % is the aim).")
    biases = [row["bias"] for row in rows if row["error"] is not None]
    if len(biases) > 1:
        half = 1.96 * statistics.stdev(biases) / math.sqrt(len(biases))
        mean = statistics.mean(biases)
        lines.append(f"- Mean signed bias {mean:+.1%} ({mean - half:+.1%} to {mean + half:+.1%}), predicted against measured.")
    return lines


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--held", action="store_true", help="only the points that are held back")
    arguments.add_argument("--all", action="store_true", help="all points")
    arguments.add_argument("--only", action="append", help="only the point of this name; repeatable")
    arguments.add_argument("--out", type=pathlib.Path, default=HERE / "capacity.md", help="where the table goes")
    arguments.add_argument("--work", type=pathlib.Path, default=pathlib.Path("sshchurn-runs/capacity"), help="where the runs go")
    given = arguments.parse_args()
    listed = tomllib.loads((HERE / "capacity" / "points.toml").read_text())
    results = []
    given.work.mkdir(parents=True, exist_ok=True)
    for point in listed["point"]:
        wanted = given.all or bool(point.get("held")) == given.held
        if given.only:
            wanted = point["name"] in given.only
        if not wanted:
            continue
        kept = given.work / f"{point['name']}.json"
        if kept.exists():
            results.append(json.loads(kept.read_text()))
            continue
        real, model, calibration = measured(point, listed["rounds"], listed["simulated_rounds"], given.work)
        result = judged(point, real, model)
        result["fit"] = calibration["fit"]
        kept.write_text(json.dumps(result, indent=1))
        results.append(result)
        print("\n".join(table([result])[2:]), flush=True)
    if results:
        lines = [MARKS[0], "", *summary(results), "", *table(results), "", MARKS[1]]
        text = given.out.read_text() if given.out.exists() else "\n".join(MARKS)
        before, rest = text.split(MARKS[0])
        given.out.write_text(before + "\n".join(lines) + rest.split(MARKS[1])[1])
        print("\n".join(summary(results)))


if __name__ == "__main__":
    main()
