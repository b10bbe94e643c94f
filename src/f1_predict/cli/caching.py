"""The commands that look after the embedding cache."""

from __future__ import annotations

from typing import Annotated

import typer

from f1_predict.cli.options import EMBEDDINGS, Embeddings, Verbose, app, console

cache_app = typer.Typer(
    help="Encoded pictures on disk: how many, whether sound, and what may go.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(cache_app, name="cache")


@cache_app.command()
def size(embeddings: Embeddings = EMBEDDINGS, verbose: Verbose = False) -> None:
    """Show what is there, encoder by encoder.

    Example: f1-predict cache size
    """
    from f1_predict.jobs import caching

    caching.show_size(console, embeddings)


@cache_app.command()
def verify(embeddings: Embeddings = EMBEDDINGS, verbose: Verbose = False) -> None:
    """Compare every file with its checksum; says what is damaged, and changes nothing.

    Example: f1-predict cache verify
    """
    from f1_predict.jobs import caching

    caching.verify(console, embeddings)


@cache_app.command()
def prune(
    embeddings: Embeddings = EMBEDDINGS,
    encoder: Annotated[
        list[str] | None, typer.Option(help="Also remove this encoder's, by its name in 'cache size'; may be repeated.")
    ] = None,
    older_than: Annotated[
        float | None, typer.Option(help="Also remove what was written so many days ago.", min=0.0)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    verbose: Verbose = False,
) -> None:
    """Remove damaged files and what killed programs left half written; more, where it is asked for.

    Example: f1-predict cache prune --older-than 90 --dry-run
    """
    from f1_predict.jobs import caching

    caching.prune(console, embeddings, encoder or (), older_than, dry_run=dry_run)
