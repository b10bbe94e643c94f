"""Foreign rows become the canonical tables here; the processed store."""

from f1_predict.tables.ingest import Ingested, ingest
from f1_predict.tables.processed import Race, RaceDriver, extract_lap_speeds, load_processed_races, races_of
from f1_predict.tables.quality import Check, QualityReport
from f1_predict.tables.skipped import SkippedCounts, count_skipped, skipped_races, write_skipped_races
from f1_predict.tables.store import INGESTED, SIMULATED, read_provenance, read_store, store_source, write_store

__all__ = [
    "INGESTED",
    "SIMULATED",
    "Check",
    "Ingested",
    "QualityReport",
    "Race",
    "RaceDriver",
    "SkippedCounts",
    "count_skipped",
    "extract_lap_speeds",
    "ingest",
    "load_processed_races",
    "races_of",
    "read_provenance",
    "read_store",
    "skipped_races",
    "store_source",
    "write_skipped_races",
    "write_store",
]
