"""All that can be known on a GPU only, by one command, in parts.

    python -m benchmarks.gpu                    a table; --json: a line of JSON
    python -m benchmarks.gpu --reference PATH   also a port of the ancestor: same text and card

One call takes at most nine minutes and says how many parts are left: run it again until it says
that none is. All of them take some half an hour. What is there stands in results/gpu.json; a part
that gave no figures is there as lost, with the reason (``--part NAME`` tries it again). Another
card, torch, training file, preset or corpus begins afresh. Exit 3: there is no CUDA device.

It runs from the tree and needs no network. A machine that lacks what corpora are made with
(rustbpe, botocore, the Hub) can use a cache that was prepared elsewhere: it says which. The parts
doctor and campaign need the agent's packages too (pyproject.toml, or a folder of them on
PYTHONPATH); without them they are lost, and the rest is measured. The parts belong to one card,
torch, training file and corpus; which version of the trainer measured each stands with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import gpu_parts as parts
from benchmarks import machine
from benchmarks.gpu_parts import TRAIN_FILE, Bench, Done, Figures, Lost, NotYet
from trainer import fingerprint
from trainer.data.choice import AUTO, WITHOUT_DOWNLOAD
from trainer.data.prepare import DataError, prepare, prepared
from trainer.errors import UserError
from trainer.measure import MACHINE, Setting, resolve
from trainer.presets import PRESETS, Preset

CALL_SECONDS = 540.0
NO_DEVICE = 3
SMALL_EPOCHS = 5.0
"""A corpus read more often than this is learnt by heart in part, and a score says less."""


@dataclass(frozen=True)
class Part:
    """One thing that is measured."""

    name: str
    run: Callable[[Bench, Done], Figures]
    seconds: float
    """It may take; none is begun that may not fit into what is left of the call."""
    words: Callable[[Figures], str]
    """Its figures in a row of the table."""
    calls: int = 1
    """Whole calls that it may take before it counts as lost."""


def _training(f: Figures) -> str:
    mfu = "" if f["mfu"] is None else f", MFU {f['mfu']:.0%}"
    return (
        f"val_bpb {f['val_bpb']:.4f}, {f['steps']} steps, {f['tokens_per_second']:,} tokens/s"
        f"{mfu}, {f['peak_memory_mb']:,.0f} MB, {f['epochs']} epochs, "
        f"{f['graphs_after_ready']} graphs compiled after READY, scored in "
        f"{f['scoring_seconds']:.1f} s"
    )


def _minute(f: Figures) -> str:
    audited = f["audit_before_keep"]
    charge = f"charge {audited['leak_bound_bpb']:.5f}" if audited["ok"] else audited["reason"]
    return f"{_training(f)}, audited before a keep in {audited['seconds']:.1f} s ({charge})"


def _reference(f: Figures) -> str:
    return f"{f['file']}: {_training(f)}"


PARTS: tuple[Part, ...] = (
    Part(
        "doctor", parts.doctor, 90,
        lambda f: f"{f['checks'] - len(f['failed'])} of {f['checks']} checks; "
        f"not: {', '.join(f['failed']) or 'none'}",
    ),
    Part(
        "isolation", parts.isolation, 60,
        lambda f: f"{f['level']}; open: {', '.join(f['open']) or 'none'} of {f['doors']} doors",
    ),
    Part(
        "count", parts.count, 60,
        lambda f: f"{f['parameters']:,} parameters, {f['flops_per_token'] / 1e6:.0f} M FLOPs a "
        f"token, {f['estimated_memory_mb']:,} MB estimated",
    ),
    Part(
        "compiling", parts.compiling, 330,
        lambda f: f"start-up {f['cold_seconds']:.1f} s cold, {f['lent_seconds']:.1f} s lent, "
        f"{f['graphs_before_ready']} graphs, after READY {f['graphs_after_ready']}",
    ),
    Part("minute", parts.minute, 330, _minute),
    Part("whole", parts.whole, 530, _training),
    Part(
        "heat", parts.side_by_side, 400,
        lambda f: f"{f['how']}, steps {f['steps']}, difference {f['difference']:+.5f}, "
        f"{f['wall_seconds']:.0f} s in all",
    ),
    Part(
        "noise", parts.noise, 400,
        lambda f: f"SD {f['sd']:.5f} of {', '.join(f'{s:.4f}' for s in f['scores'])}",
    ),
    Part(
        "campaign", parts.campaign, 240,
        lambda f: f"{f['trials']} trials, {f['kept']} kept, {f['rejected']} rejected; "
        f"{f['baseline_bpb']:.4f} -> {f['best_bpb']:.4f}",
        calls=3,
    ),
    Part("reference minute", parts.reference_minute, 330, _reference),
    Part("reference whole", parts.reference_whole, 530, _reference),
)  # fmt: skip


# --- running ---


def run(
    bench: Bench, state: dict[str, Any], wanted: Sequence[str], command: str, call_seconds: float
) -> list[str]:
    """Run the parts that are not in ``state`` yet, as far as the time allows; save after each.

    Returns:
        The parts that are left for the next call.
    """
    began = time.monotonic()
    found, tries = state.setdefault("parts", {}), state.setdefault("calls", {})
    left = [part for part in PARTS if part.name in wanted and part.name not in found]
    while left:
        part, spent = left[0], time.monotonic() - began
        is_first = spent < 0.1 * call_seconds
        if not is_first and spent + part.seconds > call_seconds:
            break
        tries[part.name] = tries.get(part.name, 0) + is_first
        print(f"{part.name} ...", file=sys.stderr, flush=True)
        figures = {name: each["figures"] for name, each in found.items() if "figures" in each}
        at = time.monotonic()
        try:
            entry: dict[str, Any] = {"figures": part.run(bench, figures)}
        except NotYet as error:
            if tries[part.name] < part.calls:
                break
            entry = {"lost": f"{error}, in {tries[part.name]} whole calls"}
        except (Lost, UserError, OSError) as error:
            entry = {"lost": str(error)}
        except Exception:  # noqa: BLE001 # recorded in full: time on a device is dear, the rest goes on
            entry = {"lost": traceback.format_exc(limit=-4)}
        entry["seconds"] = round(time.monotonic() - at, 1)
        date, code = machine.stamp(command)["date"], fingerprint.trainer_digest()
        found[part.name] = {**entry, "date": date, "command": command, "trainer": code}
        machine.keep("gpu", state)
        left = left[1:]
    machine.keep("gpu", state)
    return [part.name for part in left]


def conditions(setting: Setting) -> dict[str, Any]:
    """What must be the same for two parts to belong together."""
    probe, preset = MACHINE.probe(), setting.preset
    vocab_size = preset.constants["VOCAB_SIZE"]
    corpus = prepare(setting.data, vocab_size=vocab_size, val_bytes=preset.val_bytes)
    same = fingerprint.of(setting, probe, corpus)
    del same["trainer"]  # each part has its own: a mended line does not cost the others
    return {
        **same,
        "text": f"{setting.data.partition(':')[0]} {corpus.version}",  # no path of this machine
        "device_memory_mb": probe.get("device_memory_mb"),
        "driver": driver(),
        "preset": preset.name,
        "isolation": setting.level,
        "val_bytes": corpus.val.n_bytes,
        "train_file": hashlib.sha256(TRAIN_FILE.read_bytes()).hexdigest(),
    }


def without_download(preset: Preset) -> str:
    """The preset's corpus if it is prepared, else the one that needs no network."""
    if prepared(preset.data, preset.constants["VOCAB_SIZE"], preset.val_bytes):
        return preset.data
    if preset.data != WITHOUT_DOWNLOAD:
        print(
            f"{preset.data} is not prepared here: on {WITHOUT_DOWNLOAD}, a small corpus; for text "
            f"that is read once first run: python -m agent prepare {preset.data}",
            file=sys.stderr,
        )
    return WITHOUT_DOWNLOAD


def driver() -> str:
    """Version of NVIDIA's driver; empty where there is none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.split("\n")[0].strip()


def opened(now: Mapping[str, Any]) -> dict[str, Any]:
    """What earlier calls found under the same conditions; else nothing."""
    path = machine.RESULTS / "gpu.json"
    try:
        state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): move it away, and run again") from None
    before = state.get("conditions", {})
    if before and before != now:
        changed = sorted(name for name in now if before.get(name) != now[name])
        kept = path.replace(path.with_name("gpu-before.json"))
        print(
            f"begins afresh, since these changed: {', '.join(changed)}; what there was is in "
            f"{kept.name}",
            file=sys.stderr,
        )
    return state if before == now else {"conditions": dict(now)}


# --- telling ---


def table(state: Mapping[str, Any]) -> str:
    """Conditions, a row a part, and what has to be known to read them."""
    now, found = state["conditions"], state["parts"]
    rows = [
        f"{now['device_name'] or now['device']}, {now['device_memory_mb'] or '?'} MB, torch "
        f"{now['torch']}, driver {now['driver'] or 'unknown'}; preset {now['preset']} on "
        f"{now['text']}, isolation {now['isolation']}"
    ]
    for part in PARTS:
        if part.name in found:
            each = found[part.name]
            lost = each.get("lost", "").splitlines()[-1:]  # of a traceback what was raised
            told = f"LOST: {lost[0]}" if lost else part.words(each["figures"])
            rows.append(f"{part.name:<17} {told}")
    return "\n".join([*rows, *notes(state)])


def notes(state: Mapping[str, Any]) -> list[str]:
    """What a small corpus does to the scores."""
    found = {name: each.get("figures", {}) for name, each in state["parts"].items()}
    long, short = found.get("whole", {}), found.get("minute", {})
    if not long or long["epochs"] < SMALL_EPOCHS:
        return []
    beside = f" Beside it, 60 s: {short['epochs']} times, {short['val_bpb']:.4f}." if short else ""
    return [
        f"The corpus was read {long['epochs']} times in the whole budget, for "
        f"{long['val_bpb']:.4f} bits per byte: not comparable with text read once.{beside}"
    ]


def carry(preset: Preset, why: str) -> str:
    """What to bring to a machine on which no corpus can be prepared."""
    return (
        f"no corpus can be prepared here ({why}).\n"
        "Where there is a network and this project is installed, run\n"
        f"    AUTORESEARCH_CACHE=carried python -m agent prepare --preset {preset.name} "
        f"{WITHOUT_DOWNLOAD}\n"
        f"(or {preset.data}; files:PATH has to be at the same place on both), bring the folder "
        "`carried` here, and run\n"
        "    AUTORESEARCH_CACHE=carried python -m benchmarks.gpu --data "
        f"{WITHOUT_DOWNLOAD}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one line of JSON on stdout")
    parser.add_argument("--reference", type=Path, help="a port of the ancestor to this contract")
    parser.add_argument("--data", default=AUTO, help="corpus; default: the preset's if prepared")
    parser.add_argument("--preset", default="auto", choices=PRESETS)
    parser.add_argument("--isolation", default="auto", choices=("auto", "require", "off"))
    parser.add_argument(
        "--part", action="append", default=[], choices=[part.name for part in PARTS],
        help="only this one, again if it is there",
    )  # fmt: skip
    args = parser.parse_args()
    until = time.monotonic() + CALL_SECONDS
    if args.reference and not args.reference.is_file():
        parser.error(f"--reference {args.reference}: there is no such file")
    if not args.reference and any(name.startswith("reference") for name in args.part):
        parser.error("--part reference ...: give --reference PATH as well")
    try:
        setting = resolve(args.preset, isolation=args.isolation, source=args.data)
        probe = MACHINE.probe()
        if probe["device"] != "cuda":
            why = f"torch {probe['torch']} finds no CUDA device here, and all of this is about one"
            _fail(why, NO_DEVICE, args.json)
        preset = setting.preset
        data = without_download(preset) if args.data == AUTO else args.data
        try:
            now = conditions(replace(setting, data=data))
        except DataError as error:
            _fail(carry(preset, str(error)), 2, args.json)
        bench = Bench(
            preset, setting.device, data, args.isolation,
            reference=args.reference, seconds_left=lambda: until - time.monotonic(),
        )  # fmt: skip
        state = opened(now)
        for name in args.part:
            state.get("parts", {}).pop(name, None)
            state.get("calls", {}).pop(name, None)
        if "campaign" not in {*state.get("parts", {}), *state.get("calls", {})}:
            shutil.rmtree(bench.folder, ignore_errors=True)  # of another file, or to be run again
        usual = [p.name for p in PARTS if args.reference or not p.name.startswith("reference")]
        call_seconds = until - time.monotonic()
        alarm = threading.Timer(call_seconds, bench.cancel.set)
        alarm.daemon = True
        alarm.start()
        command = " ".join(["python -m benchmarks.gpu", *_shown(args)])
        left = run(bench, state, args.part or usual, command, call_seconds)
        alarm.cancel()
    except UserError as error:
        _fail(str(error), 2, args.json)
    print(json.dumps({**state, "left": left}) if args.json else table(state))
    again = f"left for the next call: {', '.join(left)}" if left else "nothing is left to run"
    print(again, file=sys.stderr)
    raise SystemExit(1 if any("lost" in each for each in state["parts"].values()) else 0)


def _shown(args: argparse.Namespace) -> list[str]:
    """The options that bear on the figures; of paths only the last part."""
    shown = [f"--reference {args.reference.name}"] if args.reference else []
    return shown + ([f"--isolation {args.isolation}"] if args.isolation != "auto" else [])


def _fail(why: str, code: int, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"error": why}))
    print(f"error: {why}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
