"""The event log keeps databases open, and loses no event."""

import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg

from emergence_assets.orchestration.instance.event_log import OPEN_RUNS, EventLog
from emergence_assets.orchestration.instance.home import instance_of

KEY = dg.AssetKey("made")


def report(instance: dg.DagsterInstance, partition: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=partition))


def partitions(instance: dg.DagsterInstance) -> set[str | None]:
    found = instance.fetch_materializations(KEY, limit=1000).records
    return {record.partition_key for record in found}


def test_events_of_one_instance_are_seen_by_another_at_once(tmp_path: Path) -> None:
    with instance_of(tmp_path) as first, instance_of(tmp_path) as second:
        assert isinstance(first.event_log_storage, EventLog)
        for number in range(5):
            report(first, str(number))
            assert partitions(second) == {str(done) for done in range(number + 1)}


def test_a_process_that_is_killed_loses_no_event_that_it_stored(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from emergence_assets.orchestration.instance.home import instance_of\n"
        "from tests.orchestration.instance.test_event_log import report\n"
        f"with instance_of(Path({str(tmp_path)!r})) as instance:\n"
        "    number = 0\n"
        "    while True:\n"
        "        report(instance, str(number))\n"
        "        print(number, flush=True)\n"
        "        number += 1\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        stored = [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
    with instance_of(tmp_path) as instance:
        assert {str(number) for number in stored} <= partitions(instance)


def test_threads_write_side_by_side(tmp_path: Path) -> None:
    with instance_of(tmp_path) as instance:
        threads = [
            threading.Thread(target=lambda start=start: [report(instance, str(start + n)) for n in range(10)])
            for start in range(0, 80, 10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert partitions(instance) == {str(number) for number in range(80)}


def test_the_databases_of_old_runs_are_closed_and_open_again_when_read(tmp_path: Path) -> None:
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def job() -> None:
        nothing()

    with instance_of(tmp_path) as instance:
        runs = [job.execute_in_process(instance=instance).run_id for _ in range(OPEN_RUNS + 3)]
        opened = {file.readlink().name for file in Path("/proc/self/fd").iterdir() if file.is_symlink()}
        assert f"{runs[-1]}.db" in opened
        assert f"{runs[0]}.db" not in opened
        assert instance.all_logs(runs[0])[-1].dagster_event


def test_the_log_can_be_deleted(tmp_path: Path) -> None:
    with instance_of(tmp_path) as instance:
        report(instance, "one")
        instance.event_log_storage.wipe()
        assert partitions(instance) == set()
        report(instance, "two")
        assert partitions(instance) == {"two"}


def test_a_home_that_dagster_wrote_itself_is_read(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with instance_of(tmp_path) as before:
        report(before, "one")
    (tmp_path / "dagster.yaml").unlink()
    with instance_of(tmp_path) as after:
        assert isinstance(after.event_log_storage, EventLog)
        assert partitions(after) == {"one"}
