"""`p2l-router aggregate`: the leaderboard of a distribution of prompts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.commands.flags import add_resamples
from server.commands.outputs import check_writable, print_table, write_csv
from server.commands.progress import progress_bars
from server.commands.prompt_source import (
    STORED,
    add_prompts_arguments,
    chunks_of,
    load_reader,
    n_rows_of,
)

if TYPE_CHECKING:
    from p2l_model.analysis.aggregate import Accumulated, Aggregation
    from p2l_model.analysis.leaderboard import Leaderboard, LeaderboardRow
    from p2l_model.analysis.scored import PromptReader

_COLUMNS = ("group", "rank", "rank_low", "rank_high", "model", "coefficient", "ci_low", "ci_high",
            "win_rate", "n_prompts")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_prompts_arguments(parser)
    parser.add_argument("--by", metavar="COLUMN",
                        help="Also compute a leaderboard for each value of "
                             "this column.")  # fmt: skip
    parser.add_argument("--user", metavar="COLUMN",
                        help="Also compute a leaderboard for each user in this column. The fewer "
                             "prompts a user has, the closer it stays to the leaderboard of "
                             "all.")  # fmt: skip
    parser.add_argument("--top", type=int, metavar="N", help="Show only the N best models.")
    parser.add_argument("--csv", metavar="FILE",
                        help="Write all rows there, one for each group and model.")  # fmt: skip
    parser.add_argument("--png", metavar="FILE",
                        help="Draw a picture there. It needs the extra named "
                             "analysis.")  # fmt: skip
    add_resamples(parser, 500, may_be_none=True)
    parser.add_argument("--blocks", type=int, default=100, metavar="N",
                        help="How many blocks of prompts are resampled "
                             "(default: 100).")  # fmt: skip
    _add_ray_arguments(parser)
    parser.add_argument("--work", metavar="DIR",
                        help="Keep intermediate results in this folder, so that the same command "
                             "can go on after a stop.")  # fmt: skip


def _add_ray_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replicas", type=int, metavar="N",
                        help="Compute with N processes of a Ray cluster (the one at RAY_ADDRESS, "
                             "or else this machine). --prompts may then be a folder. It needs "
                             "--work.")  # fmt: skip
    parser.add_argument("--gpus", type=float, default=0.0, metavar="G",
                        help="How many GPUs each replica gets (default: 0).")  # fmt: skip
    parser.add_argument("--part-rows", type=int, default=65_536, metavar="N",
                        help="How many rows a replica takes at a time "
                             "(default: 65536).")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises P2LError."""
    from p2l_model.analysis.aggregate import summarise
    from p2l_model.analysis.users import by_user

    _check(args)
    args.by = args.by if args.user is None else args.user
    with progress_bars() as bars:
        found = _read(args, bars) if args.replicas is None else _read_on_ray(args, bars)
        n = len(found.groups) if args.by is not None else 0
        result = summarise(
            found, args.by, seed=args.seed, n_resamples=args.resamples,
            on_group=lambda done: bars("leaderboards", done, n),
        )  # fmt: skip
    if args.user is not None:
        result = by_user(result)
    _write(args, result)
    if args.json:
        print(json.dumps(result.to_json(args.by), ensure_ascii=False))
    else:
        _print(result, args.top)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Checks at the start what can fail at once, before the work that takes minutes. Raises
    DataError."""
    from p2l_model.analysis.plots import require_matplotlib
    from p2l_model.errors import DataError

    if args.blocks < 2:
        raise DataError("--blocks must be at least 2")
    if args.by is not None and args.user is not None:
        raise DataError("give --by or --user, not both")
    if args.work is not None and args.prompts in ("-", STORED):
        raise DataError(
            "--work needs prompts from a file: other sources can differ when the "
            "command is run again"
        )
    _check_ray(args)
    if args.png is not None:
        require_matplotlib()
    check_writable([args.csv, args.png])


def _check_ray(args: argparse.Namespace) -> None:
    """Checks that Ray can be used. Raises DataError."""
    from p2l_model.errors import DataError

    if args.replicas is None:
        return
    if args.replicas < 1 or args.part_rows < 1 or args.gpus < 0:
        raise DataError("--replicas and --part-rows must be at least 1, --gpus at least 0")
    if args.work is None:
        raise DataError("--replicas needs --work, a folder that all machines share")


def _read(args: argparse.Namespace, bars: Any) -> Accumulated:
    from p2l_model.analysis.aggregate import Accumulated, State, accumulate

    total = n_rows_of(args)
    reader = load_reader(args)
    fresh = Accumulated(reader.family, reader.models, args.blocks)
    state = None if args.work is None else State(Path(args.work), _key(args, reader))
    start = fresh if state is None else state.load(fresh)
    chunks = chunks_of(args, start.n_rows)
    try:
        return accumulate(
            chunks, reader, start, lambda done: bars("prompts", done, max(done, total)), state
        )
    finally:
        reader.engine.close()


def _read_on_ray(args: argparse.Namespace, bars: Any) -> Accumulated:
    from p2l_model.analysis.distributed import Job, accumulate_on_ray, parts_of

    parts = parts_of([args.prompts], args.part_rows)
    total = sum(part.n or 0 for part in parts)
    reader = load_reader(args)
    reader.engine.close()
    job = Job(args.checkpoint, args.engine, reader.models, args.by, args.blocks,
              str(Path(args.work).resolve()), _about(reader))  # fmt: skip
    return accumulate_on_ray(
        job, parts, lambda done: bars("prompts", done, max(done, total)),
        replicas=args.replicas, gpus=args.gpus,
    )  # fmt: skip


def _about(reader: PromptReader) -> dict[str, Any]:
    manifest = reader.checkpoint.manifest
    return {
        "checkpoint": manifest.model_dump(mode="json", exclude={"metrics"}),
        "models": list(reader.models),
    }


def _key(args: argparse.Namespace, reader: PromptReader) -> dict[str, Any]:
    """What the stored sums depend on."""
    file = Path(args.prompts).resolve()
    about = file.stat()
    return _about(reader) | {
        "prompts": [str(file), about.st_size, about.st_mtime_ns],
        "by": args.by,
        "blocks": args.blocks,
    }


def _write(args: argparse.Namespace, result: Aggregation) -> None:
    """Writes the results. Raises DataError."""
    from p2l_model.analysis.plots import draw_leaderboard

    if args.csv is not None:
        write_csv(Path(args.csv), _COLUMNS, _csv_rows(result))
    if args.png is not None:
        draw_leaderboard(result.overall, result.groups, Path(args.png))


def _csv_rows(result: Aggregation) -> Iterable[tuple[object, ...]]:
    """The rows of the CSV file. The group of the overall leaderboard is empty."""
    for group, board in [("", result.overall), *result.groups.items()]:
        for row in board:
            ranks, interval = row.rank_range or ("", ""), row.ci95 or ("", "")
            yield (group, row.rank, *ranks, row.model, row.coefficient, *interval, row.win_rate,
                   board.n_prompts)  # fmt: skip


def _print(result: Aggregation, top: int | None) -> None:
    _print_board("all prompts", result.overall, top)
    for name, board in result.groups.items():
        _print_board(name or "(no value)", board, top)


def _print_board(title: str, board: Leaderboard, top: int | None) -> None:
    print_table(
        f"{title}: {board.n_prompts} prompts, {board.family}",
        ("rank", "95%", ("model", "left"), "coefficient", "95%", "win rate"),
        (_cells(row) for row in board.rows[:top]),
        sys.stdout,
    )


def _cells(row: LeaderboardRow) -> tuple[str, ...]:
    ranks = "-" if row.rank_range is None else "–".join(map(str, row.rank_range))
    interval = "-" if row.ci95 is None else f"[{row.ci95[0]:.3f}, {row.ci95[1]:.3f}]"
    return (str(row.rank), ranks, row.model, f"{row.coefficient:.3f}", interval,
            f"{row.win_rate:.1%}")  # fmt: skip
