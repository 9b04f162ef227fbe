"""Update the checkpoint timeline of a model: its steps in the source, their measurements and validity."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from filelock import FileLock

from emergence_assets.checkpoints.sources.of_family import hub_source_of, source_of
from emergence_assets.checkpoints.sources.source import CheckpointRef, Listing, Source
from emergence_assets.plan.cell import Cell
from emergence_assets.plan.plan import Plan
from emergence_assets.plan.timeline import Timeline, TimelineEntry, read_timeline, write_timeline
from emergence_assets.study.family import Hub, TrainedHere
from emergence_assets.study.study import Study
from resources.errors import EmergenceError
from resources.files.provenance import canonical_json
from resources.files.storage import Storage

if TYPE_CHECKING:  # numpy is slow to import, and definitions load this module
    from emergence_assets.checkpoints.identity.measurement import InvalidCheckpoint, Measurement
    from emergence_assets.checkpoints.identity.validation import ValidationResult
from emergence_assets.checkpoints.sources.source import reference

CACHE_SHARE = 0.8
"""Of the cache, what is fetched before it is used: the rest is room for what is being fetched."""


def refresh_timeline(study: Study, storage: Storage, model: str, source: Source | None = None) -> Timeline:
    """List the checkpoints of a model, judge those that were measured, and record both.

    Costs what listing costs; verdicts are made anew only when a checkpoint, the rules or the study's list of admitted
    checkpoints changed.

    Raises:
        EmergenceError: the source cannot be read.
    """
    source = source or source_of(study.family, storage)
    path = storage.timeline(model)
    storage.timeline_lock(model).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(storage.timeline_lock(model)):
        before = read_timeline(path) or Timeline(())
        listing = source.list(model)
        _require_own_whole(study, storage, model, listing)
        axis = _axis(study, storage, model, listing, before)
        write_timeline(path, axis)
    return axis


def verify_pins(study: Study, storage: Storage, model: str) -> list[TimelineEntry]:
    """Ask the source whether every checkpoint is still what it was, and note what it says; nothing is recomputed.

    Returns:
        Entries about which there is something to say.

    Raises:
        EmergenceError: the source cannot be asked.
    """
    source = source_of(study.family, storage)
    axis = refresh_timeline(study, storage, model, source)
    found = {}
    for entry in axis.entries:
        ref = reference(axis, model, entry.step)
        said = source.verify(ref) if ref else ""
        found[entry.step, entry.identity] = entry.upstream if said is None else said
    with FileLock(storage.timeline_lock(model)):
        now = read_timeline(storage.timeline(model)) or axis
        entries = tuple(
            replace(entry, upstream=found.get((entry.step, entry.identity), entry.upstream)) for entry in now.entries
        )
        write_timeline(storage.timeline(model), replace(now, entries=entries))
    return [entry for entry in entries if entry.upstream]


def pin_new_models(study: Study, storage: Storage) -> None:
    """Pin the models of a hub family that the lock file does not know yet; others keep their pins.

    Raises:
        EmergenceError: the hub cannot be asked, or there is no network and nothing is pinned.
    """
    if isinstance(study.family, Hub):
        source = hub_source_of(study.family, storage)
        if unpinned := [model for model in study.models if not source.is_pinned(model)]:
            source.refresh(unpinned)


def pin_new_revisions(study: Study, storage: Storage, models: Sequence[str], patience_seconds: float) -> None:
    """Pin what a hub has of these models and the lock has not; offline and in other families nothing is to be pinned.

    Raises:
        EmergenceError: the hub did not answer for so long.
    """
    if isinstance(study.family, Hub):
        source = hub_source_of(study.family, storage, patience_seconds)
        if not source.offline:
            source.refresh(models)


def cache_portions(study: Study, plan: Plan, cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cut checkpoints into portions that fit into the cache together; one portion where nothing is cached."""
    limit = study.family.cache_gb * 1e9 * CACHE_SHARE if isinstance(study.family, Hub) else float("inf")
    portions: list[list[Cell]] = []
    filled = 0
    for cell in cells:
        axis = plan.timeline(str(cell.model))
        entry = axis.entry(int(cell.step or 0)) if axis else None
        n_bytes = entry.weights_bytes if entry else 0
        if not portions or (portions[-1] and filled + n_bytes > limit):
            portions.append([])
            filled = 0
        portions[-1].append(cell)
        filled += n_bytes
    return portions


def _require_own_whole(study: Study, storage: Storage, model: str, listing: Listing) -> None:
    """What was trained here is written whole: what is not was altered, and can be made again."""
    if isinstance(study.family, TrainedHere) and listing.incomplete:
        step, reason = next(iter(listing.incomplete.items()))
        folder = storage.checkpoint_folder(model, step)
        raise EmergenceError(
            f"A checkpoint that was trained here is damaged: {reason}.",
            where=folder,
            remedy=f"delete {folder.name} and run again: it is trained again, bit for bit on the same machine",
        )


def _measured(
    storage: Storage, refs: Sequence[CheckpointRef], *, sample: bool = False
) -> "dict[int, Measurement | InvalidCheckpoint]":
    """What is known of checkpoints that were measured."""
    from emergence_assets.checkpoints.identity.measurement import read_measurement

    found: dict[int, Measurement | InvalidCheckpoint] = {}
    for ref in refs:
        path = storage.checkpoint_measurement(ref.identity)
        if path.exists():
            try:
                found[ref.step] = read_measurement(path, sample=sample)
            except EmergenceError:
                path.unlink(missing_ok=True)  # damaged; it is measured again
    return found


def _axis(study: Study, storage: Storage, model: str, listing: Listing, before: Timeline) -> Timeline:
    from emergence_assets.checkpoints.identity.validation import IDENTITY_RULES, validate_checkpoints

    offered = {ref.step: ref for ref in listing.checkpoints}
    listed, admitted = study.listed_steps, study.admitted(model)
    wanted = sorted(offered.keys() | listing.incomplete.keys()) if listed is None else listed
    refs = [offered[step] for step in wanted if step in offered]

    def made_from(steps: Iterable[int]) -> str:
        identities = [(step, offered[step].identity) for step in sorted(steps)]
        return sha256(canonical_json([IDENTITY_RULES, identities, admitted]).encode()).hexdigest()[:32]

    known = {entry.step: entry for entry in before.entries}
    said: Mapping[int, TimelineEntry | ValidationResult] = known
    measured: Collection[int] = _measured(storage, refs)
    judged = made_from(measured)
    if judged != before.judged:
        samples = _measured(storage, refs, sample=True)
        measured, judged, said = samples, made_from(samples), validate_checkpoints(samples, admitted)
    entries = [_entry(step, offered.get(step), listing, study.family, known.get(step)) for step in wanted]
    verdicts = {step: said[step] for step in measured if step in said}
    return Timeline(tuple(_with_verdict(entry, verdicts.get(entry.step)) for entry in entries), judged)


def _with_verdict(entry: TimelineEntry, said: "TimelineEntry | ValidationResult | None") -> TimelineEntry:
    if said is None:
        return entry
    return replace(entry, status=said.status, reason=said.reason, failed=said.failed, dup_of_step=said.dup_of_step)


def _entry(
    step: int, ref: CheckpointRef | None, listing: Listing, family: object, known: TimelineEntry | None
) -> TimelineEntry:
    """What is to be said of a step before it is judged."""
    trained_here = isinstance(family, TrainedHere)
    if ref is None:
        if trained_here:
            return TimelineEntry(step, "expected")
        return TimelineEntry(step, "missing", listing.incomplete.get(step, "the source has no such step"))
    return TimelineEntry(
        step,
        "expected" if trained_here else "unjudged",
        revision=ref.revision,
        location=ref.location,
        commit_sha=ref.commit_sha,
        identity=ref.identity,
        weights_bytes=ref.weights_bytes,
        weights_sha256=ref.weights_sha256,
        upstream=known.upstream if known and known.identity == ref.identity else "",
    )
