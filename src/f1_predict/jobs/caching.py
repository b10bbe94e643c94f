"""Commands that look after the embedding cache: its size, its soundness, and what is not wanted any more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from f1_predict.errors import ArtefactError
from f1_predict.report import terminal
from f1_predict.training import cache_care
from f1_predict.training.progress import Meter


def show_size(console: Console, folder: Path) -> None:
    """Print what a cache holds, encoder by encoder.

    Raises:
        ArtefactError: if there is no such cache.
    """
    shares = cache_care.measure(folder)
    rows = [
        [
            share.name,
            share.identity or "unknown: kept by an older version",
            share.precision,
            f"{share.pictures:,}",
            f"{share.shards:,}",
            megabytes(share.size),
            ", ".join(
                f"{count} {what}"
                for count, what in ((share.half_written, "half written"), (share.unusable, "unusable"))
                if count
            )
            or "-",
        ]
        for share in shares
    ]
    names = ["name", "encoder", "numbers", "pictures", "shards", "size", "to prune"]
    console.print(terminal.table(f"Embeddings in {folder}", names, rows))
    total = sum(share.size for share in shares)
    console.print(f"{sum(share.pictures for share in shares):,} embeddings, {megabytes(total)}", highlight=False)


def verify(console: Console, folder: Path) -> None:
    """Compare every shard with its checksum and print what is wrong.

    Raises:
        ArtefactError: if there is no such cache, or something is wrong.
    """
    total = len(cache_care.all_shards(folder))
    sound, damages = 0, []
    with terminal.progress_bar(console, "Verifying") as progress:
        meter = Meter("shards", total, progress)
        for _, damage in cache_care.verify(folder):
            meter.add(1)
            if damage is None:
                sound += 1
            else:
                damages.append(damage)
    for damage in damages:
        console.print(f"{damage.path}: {damage.problem}", highlight=False, markup=False, soft_wrap=True)
    if damages:
        raise ArtefactError(
            f"{len(damages)} of {sound + len(damages)} shards in {folder} cannot be used. Remove them with "
            f"'f1-predict cache prune --embeddings {folder}'; their pictures are then encoded again."
        )
    console.print(f"All {sound:,} shards are as they were written.", highlight=False)


def prune(
    console: Console, folder: Path, encoders: Sequence[str], older_than_days: float | None, *, dry_run: bool
) -> None:
    """Remove what is of no use, or not wanted any more, and print how much that was.

    Raises:
        ArtefactError, NotFoundError, ConfigError: as `cache_care.prune`.
    """
    gone = cache_care.prune(folder, encoders, older_than_days, dry_run=dry_run)
    done = "Would remove" if dry_run else "Removed"
    console.print(
        f"{done} {gone.files:,} files, {megabytes(gone.size)}, with {gone.pictures:,} embeddings that could be used.",
        highlight=False,
    )


def megabytes(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1e6:,.1f} MB"
