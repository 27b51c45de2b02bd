"""What it costs to build data sets from The Stack: core-hours, money, disk and memory, from rates that were measured.

    python -m benchmarks.scale_measure --source corpus
    python -m benchmarks.scale_costs --pairs 3.0 --stage1 0.8

Rates are MB/s of source on one core, for all languages or for some (`--pairs 3.0 python=2.4`). Everything else that
enters is printed below the table; the first command measures it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """What CodeSage's authors report of a language in The Stack (v1, deduplicated): files, tokens, pairs."""

    files: int
    tokens: float
    pairs: int


# Files and pairs: arXiv 2402.01935, the rows of its table, whose printed totals are higher. Tokens: the authors' site.
THE_STACK = {
    "python": Language(24_214_270, 22.6e9, 18_146_327),
    "java": Language(42_429_211, 27.7e9, 13_118_303),
    "javascript": Language(40_112_121, 32.2e9, 4_796_101),
    "csharp": Language(21_702_269, 12.4e9, 7_350_191),
    "c": Language(21_383_832, 7.7e9, 2_958_699),
    "ruby": Language(7_205_146, 2.7e9, 1_049_356),
    "go": Language(11_653_185, 9.8e9, 9_739_861),
    "php": Language(34_851_418, 22.3e9, 13_416_574),
    "typescript": Language(19_589_267, 7.2e9, 1_863_436),
}
HEADER = (
    "language",
    "source, GB",
    "pairs, core-hours",
    "stage 1, core-hours",
    "pairs, GB",
    "stage 1, GB",
    "merge, GiB",
)


def rates(words: list[str]) -> dict[str, float]:
    """MB/s by language, of words such as 3.0 (all) and python=2.4.

    Raises:
        ValueError: A language is unknown or has no rate.
    """
    found: dict[str, float] = {}
    for word in words:
        name, sign, rate = word.rpartition("=")
        if sign and name not in THE_STACK:
            raise ValueError(f"unknown language {name!r}. Languages: {', '.join(THE_STACK)}.")
        for language in [name] if sign else [language for language in THE_STACK if language not in found]:
            found[language] = float(rate)
    missing = sorted(set(THE_STACK) - set(found))
    if missing:
        raise ValueError(f"no rate for {', '.join(missing)}. Give one for all languages, such as 3.0.")
    return found


def costs(args: argparse.Namespace) -> dict[str, list[float]]:
    """The columns of the table by language, and their sums."""
    pairs, stage1 = rates(args.pairs), rates(args.stage1)
    rows = {}
    for name, language in THE_STACK.items():
        megabytes = language.tokens * args.bytes_per_token / 1e6
        rows[name] = [
            megabytes / 1e3,
            megabytes / pairs[name] / 3600,
            megabytes / stage1[name] / 3600,
            language.pairs * args.pair_bytes / 1e9,
            language.tokens * args.token_bytes / 1e9,
            (language.files * args.memory_per_file + language.pairs * args.memory_per_pair) / 2**30,
        ]
    return {**rows, "all": [sum(column) for column in zip(*rows.values(), strict=True)]}


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", nargs="+", required=True, help="MB/s on a core: RATE or LANGUAGE=RATE ...")
    parser.add_argument("--stage1", nargs="+", required=True, help="MB/s on a core: RATE or LANGUAGE=RATE ...")
    parser.add_argument("--price", type=float, default=0.04, help="USD for a core-hour (default: 0.04)")
    parser.add_argument("--cores", type=int, default=64, help="cores at a time (default: 64)")
    parser.add_argument("--merge-pairs", type=float, default=60, help="MB/s of source in the merge (default: 60)")
    parser.add_argument("--merge-stage1", type=float, default=30, help="MB/s of source in the merge (default: 30)")
    parser.add_argument("--bytes-per-token", type=float, default=3.5, help="of source (default: 3.5)")
    parser.add_argument("--pair-bytes", type=float, default=720, help="a pair on disk (default: 720)")
    parser.add_argument("--token-bytes", type=float, default=1.5, help="a stage-1 token on disk (default: 1.5)")
    parser.add_argument("--memory-per-file", type=float, default=70, help="bytes in a merge (default: 70)")
    parser.add_argument("--memory-per-pair", type=float, default=150, help="bytes in a merge (default: 150)")
    args = parser.parse_args(argv)
    try:
        table = costs(args)
    except ValueError as error:
        parser.error(str(error))
    print(f"| {' | '.join(HEADER)} |\n|---|{'---:|' * (len(HEADER) - 1)}")
    for name, row in table.items():
        print(f"| {name} | {' | '.join(f'{value:,.1f}' for value in row)} |")
    source, pairs, stage1, pairs_disk, stage1_disk, _ = table["all"]
    merges = [source * 1e3 / rate / 3600 for rate in (args.merge_pairs, args.merge_stage1)]
    hours = [value / args.cores for value in (pairs, stage1)]
    print(
        f"\nAt {args.price} USD a core-hour: pairs {pairs * args.price:,.2f} USD, stage 1 {stage1 * args.price:,.2f} "
        f"USD. On {args.cores} cores: pairs {hours[0]:,.1f} h, stage 1 {hours[1]:,.1f} h, and then the merges, on one "
        f"core: {merges[0]:,.1f} h and {merges[1]:,.1f} h. Parts take as much disk as the data sets: "
        f"{2 * pairs_disk:,.0f} GB and {2 * stage1_disk:,.0f} GB until these are there."
    )
    print(
        f"\nAssumed: {args.bytes_per_token} bytes of source a token, {args.pair_bytes:g} bytes a pair and "
        f"{args.token_bytes} bytes a token on disk, {args.memory_per_file:g} bytes a file and {args.memory_per_pair:g} "
        "bytes a pair in the memory of the merge, "
        f"which reads {args.merge_pairs:g} (pairs) or {args.merge_stage1:g} (stage 1) MB of source a second."
    )


if __name__ == "__main__":
    main()
