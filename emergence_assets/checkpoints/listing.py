"""Update the checkpoint timeline of a model: its steps in the source, their measurements and validity."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from emergence_assets.checkpoints.sources.of_family import source_of
from emergence_assets.checkpoints.sources.source import CheckpointRef, Listing, Source, reference
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import (
    MADE_HERE,
    Timeline,
    TimelineEntry,
    entry_of,
    is_used,
    read_timeline,
    write_timeline,
)
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.lease import leased
from resources.files.provenance import canonical_json
from resources.files.storage import Storage, is_writable

if TYPE_CHECKING:  # numpy is slow to import, and definitions load this module
    from emergence_assets.checkpoints.identity.measurement import InvalidCheckpoint, Measurement
    from emergence_assets.checkpoints.identity.validation import ValidationResult

CACHE_SHARE = 0.4
"""Share of the cache that a batch of checkpoints may fill; the next batch is downloaded beside it."""
N_BATCHES, SMALLEST_BATCH_BYTES = 8, 10**9
"""Number of batches where the cache holds more: the first batch alone is waited for. Small ones save no time."""


def refresh_timeline(study: Study, storage: Storage, model: str, source: Source | None = None) -> Timeline:
    """List the checkpoints of a model, validate those that are measured, and store both.

    Takes as long as the listing of the source: checkpoints are validated again only after a change of a checkpoint, of
    the rules, or of the study's list of allowed failures. In a data folder that cannot be written, the stored timeline
    is returned: its results are those of the checkpoints that were listed then.

    Raises:
        EmergenceError: the source cannot be read.
    """
    if not is_writable(storage.root) and (stored := read_timeline(storage.timeline(model))):
        return stored
    source = source or source_of(study.family, storage)
    path = storage.timeline(model)
    with leased(storage.timeline_lock(model)):
        before = read_timeline(path) or Timeline(())
        timeline = _timeline(study, storage, model, source, before)
        write_timeline(path, timeline)
    return timeline


def forget_lost(study: Study, storage: Storage, models: Sequence[str], steps: Sequence[int] = ()) -> list[str]:
    """Remove the checkpoints that their source has lost from the timelines, and with them from all later tables.

    Args:
        study: study with the source.
        storage: storage of the timelines.
        models: models with lost checkpoints.
        steps: only these steps; all by default.

    Returns:
        One line per removed checkpoint.

    Raises:
        EmergenceError: the source cannot be read.
    """
    source, lines = source_of(study.family, storage), []
    for model in models:
        refresh_timeline(study, storage, model, source)
        with leased(storage.timeline_lock(model)):
            now = read_timeline(storage.timeline(model)) or Timeline(())
            lost = {ref.step for ref in _lost(model, source, source.list(model), now) if not steps or ref.step in steps}
            kept = tuple(entry for entry in now.entries if entry.step not in lost)
            write_timeline(storage.timeline(model), replace(now, entries=kept))
        refresh_timeline(study, storage, model, source)
        lines += [f"{model} step {entry.step}: {entry.location}" for entry in now.entries if entry.step in lost]
    return lines


def verify_pins(study: Study, storage: Storage, model: str) -> list[TimelineEntry]:
    """Compare every checkpoint with its source and store the changes; nothing is recomputed.

    Returns:
        Entries of checkpoints that changed upstream.

    Raises:
        EmergenceError: the source does not answer.
    """
    source = source_of(study.family, storage)
    timeline = refresh_timeline(study, storage, model, source)
    changes = {}
    for entry in timeline.entries:
        ref = reference(model, entry)
        change = source.verify(ref) if ref else ""
        changes[entry.step, entry.identity] = entry.upstream if change is None else change
    with leased(storage.timeline_lock(model)):
        now = read_timeline(storage.timeline(model)) or timeline
        entries = tuple(
            replace(entry, upstream=changes.get((entry.step, entry.identity), entry.upstream)) for entry in now.entries
        )
        write_timeline(storage.timeline(model), replace(now, entries=entries))
    return [entry for entry in entries if entry.upstream]


def pin_new_models(study: Study, storage: Storage) -> None:
    """Pin the models that are not in the lock file of the family yet; other models keep their pins.

    Raises:
        EmergenceError: the hub does not answer, or there is no network and nothing is pinned.
    """
    source = source_of(study.family, storage)
    if unpinned := [model for model in study.models if not source.is_pinned(model)]:
        source.refresh(unpinned)


def pin_new_revisions(study: Study, storage: Storage, models: Sequence[str], retry_seconds: float) -> None:
    """Pin new revisions of these models; do nothing offline, or for a family without commits.

    Raises:
        EmergenceError: the hub did not answer within the retry timeout.
    """
    source = source_of(study.family, storage)
    if source.can_refresh:
        source.refresh(models, retry_seconds=retry_seconds)


def cache_batches(study: Study, plan: Plan, cells: Sequence[Cell]) -> list[list[Cell]]:
    """Split checkpoints into batches that fit into the cache two at a time; one batch for a family without a cache."""
    cache_bytes, limit = study.family.cache_bytes, math.inf
    sizes = [entry.weights_bytes if (entry := entry_of(plan.storage, cell)) else 0 for cell in cells]
    if math.isfinite(cache_bytes):
        limit = min(cache_bytes * CACHE_SHARE, max(sum(sizes) / N_BATCHES, SMALLEST_BATCH_BYTES))
    batches: list[list[Cell]] = []
    filled = 0
    for cell, n_bytes in zip(cells, sizes, strict=True):
        if not batches or (batches[-1] and filled + n_bytes > limit):
            batches.append([])
            filled = 0
        batches[-1].append(cell)
        filled += n_bytes
    return batches


def _measured(
    storage: Storage, refs: Sequence[CheckpointRef], conditions: str, *, sample: bool = False
) -> "dict[int, Measurement | InvalidCheckpoint]":
    """Read the existing measurements, by step; a refusal under other conditions than now is forgotten."""
    from emergence_assets.checkpoints.identity.measurement import InvalidCheckpoint, read_measurement

    measured: dict[int, Measurement | InvalidCheckpoint] = {}
    for ref in refs:
        path = storage.checkpoint_measurement(ref.identity)
        if path.exists():
            try:
                found = read_measurement(path, sample=sample)
            except EmergenceError:
                path.unlink(missing_ok=True)  # damaged; it is measured again
                continue
            if isinstance(found, InvalidCheckpoint) and found.conditions != conditions:
                path.unlink(missing_ok=True)
                continue
            measured[ref.step] = found
    return measured


def _timeline(study: Study, storage: Storage, model: str, source: Source, before: Timeline) -> Timeline:
    from emergence_assets.checkpoints.identity.measurement import conditions_of_loading
    from emergence_assets.checkpoints.identity.validation import IDENTITY_RULES, validate_checkpoints

    listing, trusted = source.list(model), model in source.trusted
    lost = {ref.step: ref for ref in _lost(model, source, listing, before)}
    offered = lost | {ref.step: ref for ref in listing.checkpoints}
    listed, allow_failed = study.listed_steps, study.allow_failed(model)
    wanted = sorted(offered.keys() | listing.incomplete.keys()) if listed is None else listed
    refs = [offered[step] for step in wanted if step in offered]

    def hash_of(steps: Iterable[int]) -> str:
        identities = [(step, offered[step].identity) for step in sorted(steps)]
        return sha256(canonical_json([IDENTITY_RULES, identities, allow_failed]).encode()).hexdigest()[:32]

    known = {entry.step: entry for entry in before.entries}
    results: Mapping[int, TimelineEntry | ValidationResult] = known
    conditions = conditions_of_loading(trusted, study.family.blocks)
    measured: Collection[int] = _measured(storage, refs, conditions)
    validated_from = hash_of(measured)
    if validated_from != before.validated_from:
        samples = _measured(storage, refs, conditions, sample=True)
        measured, validated_from = samples, hash_of(samples)
        made_here = [ref.step for ref in refs if ref.location == MADE_HERE]
        results = validate_checkpoints(samples, allow_failed, made_here)
    entries = []
    for step in wanted:
        entry = _unvalidated(step, offered.get(step), listing, study.family.trained_here, known.get(step))
        if step in lost:
            entry = replace(entry, upstream=source.verify(lost[step]) or "")
        if step in measured and (result := results.get(step)):
            names = ("status", "reason", "failed", "dup_of_step")
            entry = replace(entry, **{name: getattr(result, name) for name in names})
        entries.append(entry)
    return Timeline(tuple(entries), validated_from, listing.found_instead)


def _lost(model: str, source: Source, listing: Listing, before: Timeline) -> Iterator[CheckpointRef]:
    """Yield the used checkpoints that the source has lost: what was made from them still counts."""
    listed = {ref.step for ref in listing.checkpoints}
    for entry in before.entries:
        ref = reference(model, entry) if is_used(entry.status) and entry.step not in listed else None
        if ref and source.lost(ref):
            yield ref


def _unvalidated(
    step: int, ref: CheckpointRef | None, listing: Listing, trained_here: bool, known: TimelineEntry | None
) -> TimelineEntry:
    """Make the timeline entry of a step before its validation."""
    if ref is None:
        if trained_here:
            return TimelineEntry(step, "expected")
        return TimelineEntry(step, "missing", listing.incomplete.get(step, "the source has no such step"))
    # A source without commits is compared with its files by the listing itself.
    upstream = known.upstream if known and known.identity == ref.identity and ref.commit_sha else ""
    of_ref = {name: value for name, value in vars(ref).items() if name != "model"}
    return TimelineEntry(status="expected" if trained_here else "unjudged", upstream=upstream, **of_ref)
