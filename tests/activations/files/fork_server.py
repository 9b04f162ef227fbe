"""A process that imports torch once and forks for every task, so that fifty tasks take seconds.

Run as `python -m tests.activations.files.fork_server`. It reads lines of JSON, `[function of this module, arguments]`,
and answers each with the id of the process that runs it. `null` waits for all processes, and is answered with their
exit codes.
"""

import contextlib
import ctypes
import itertools
import json
import os
import struct
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from emergence_assets.activations.files.background import BackgroundWriter
from emergence_assets.activations.files.batches import ShuffledRows
from emergence_assets.activations.files.layout import ROW_DATASETS, ActivationSpec
from emergence_assets.activations.files.reading import open_rows, verify_file
from emergence_assets.activations.files.storage_state import evict_rows, restore_rows
from emergence_assets.activations.files.writing import ActivationWriter
from tests.activations.files.layer_files import random_rows, stored_rows, write_layer

ROOT = Path(__file__).parents[3]
N_ROWS, D_MODEL, N_LAYERS = 6000, 64, 3


class ForkServer:
    """Client of the fork server, for tests."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process

    def start(self, function: str, *arguments: object) -> int:
        """Fork, and return the id of the new process."""
        return self._ask([function, arguments])

    def wait(self) -> list[int]:
        """Wait for all processes started since the last call; return their exit codes, negative for a signal."""
        return self._ask(None)

    def _ask(self, line: object) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line, default=str) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def fork_server() -> Iterator[ForkServer]:
    """Start a fork server; end it on exit."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.activations.files.fork_server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as process:
        yield ForkServer(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


# Work


def write_layers(folder: str) -> None:
    """Write several layers at a time, as `capture_layers` does."""
    with contextlib.ExitStack() as open_files:
        writers = {}
        for layer in range(N_LAYERS):
            spec = ActivationSpec(N_ROWS, 5, D_MODEL)
            path = Path(folder) / f"layer{layer}.h5"
            writers[layer] = open_files.enter_context(ActivationWriter(path, spec, {"layer": layer}))
        rows = {layer: random_rows(N_ROWS, D_MODEL, layer) for layer in writers}
        with BackgroundWriter(writers) as background:
            for start in range(0, N_ROWS, 500):
                for layer in writers:
                    background.append(layer, "resid_post", rows[layer]["resid_post"][start : start + 500])
            for name in list(ROW_DATASETS)[1:]:
                for layer in writers:
                    background.append(layer, name, rows[layer][name])
        for writer in writers.values():
            writer.commit()


def evict(path: str) -> None:
    evict_rows(Path(path))


def restore(path: str) -> None:
    restore_rows(Path(path), stored_rows(n_rows=N_ROWS, d_model=D_MODEL))


def write_again(path: str, seed: int, times: int) -> None:
    """Write the same file again and again, with different content each time."""
    for turn in range(times):
        write_layer(Path(path), n_rows=2000, seed=seed + turn % 2)


def work_without_locks(path: str, code: int) -> None:
    """Do everything that touches a file, on a system without flock."""
    _deny("flock", code)
    _write_and_restore(path)


def work_without_reservation(path: str, code: int) -> None:
    """Do everything that touches a file, on a file system that cannot reserve space."""
    _deny("fallocate", code)
    _write_and_restore(path)


def _write_and_restore(path: str) -> None:
    write_layer(Path(path))
    evict_rows(Path(path))
    verify_file(Path(path))
    restore_rows(Path(path), stored_rows())
    verify_file(Path(path))


def epoch_from_disk(path: str, n_bytes: int, slab_bytes: int) -> None:
    """Read an epoch of a file that is much larger than two slabs: private memory must not grow with it."""
    d_model, batch_size = 256, 4096
    n_rows, row_bytes = n_bytes // (2 * d_model), 2 * d_model
    with ActivationWriter(Path(path), ActivationSpec(n_rows, 5, d_model), {}) as writer:
        random = np.random.default_rng(0)
        for start in range(0, n_rows, 8192):
            block_td = random.random((min(8192, n_rows - start), d_model), np.float32)
            block_td[:, 0] = start // 8192
            writer.append("resid_post", block_td)
        for name in list(ROW_DATASETS)[1:]:
            writer.append(name, block_td[:5])
        writer.commit()
    del block_td
    rows = open_rows(Path(path), "resid_post")
    for warm_up, slab in (
        (True, 1 << 20),
        (False, slab_bytes),
    ):  # the first allocation of torch and of threads is not counted
        ctypes.CDLL(None).malloc_trim(0)
        before, peak, seen = own_bytes(), 0, 0
        batches = ShuffledRows(rows, batch_size, 0, slab_bytes=slab, regime="disk").batches()
        for batch_td in itertools.islice(batches, 20 if warm_up else n_rows // batch_size):
            peak, seen = max(peak, own_bytes()), seen + int(batch_td[:, 0].int().sum())
        del batches, batch_td
    assert seen == sum(start // 8192 for start in range(n_rows))
    # Two slabs, the batch that was given and the one that is being filled; torch and the allocator keep 6 to 23 MiB
    # more, however large the slabs are.
    allowed = 2 * slab_bytes + 2 * batch_size * row_bytes + (32 << 20)
    assert peak - before < allowed, (peak - before, allowed)


def own_bytes() -> int:
    """Return the bytes of memory that are not pages of a file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def _deny(call: str, code: int) -> None:
    """Make every such call of this process fail with `code` (seccomp), as on a network disk that lacks it."""
    number = {"flock": {"x86_64": 73, "aarch64": 32}, "fallocate": {"x86_64": 285, "aarch64": 47}}[call][
        os.uname().machine
    ]
    load, if_equal, give = (0x20, 0, 0, 0), (0x15, 0, 1, number), 0x06
    steps = [load, if_equal, (give, 0, 0, 0x00050000 | code), (give, 0, 0, 0x7FFF0000)]
    program = b"".join(struct.pack("HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(program, len(program))
    request = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(request), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel does not take the filter")


def _serve() -> None:
    running: list[int] = []
    for line in sys.stdin:
        asked = json.loads(line)
        if asked is None:
            answer: object = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in running]
            running.clear()
        else:
            answer = os.fork()
            if answer == 0:
                _work(*asked)
            running.append(int(str(answer)))
        print(json.dumps(answer), flush=True)


def _work(function: str, arguments: list[object]) -> None:
    try:
        globals()[function](*arguments)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.from_numpy(np.zeros(1)).sum()
    _serve()
