import errno
import gc
import multiprocessing
import os
import socket
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from kwire.errors import StorageFailure
from kwire.storage.files import DirectoryInUse
from kwire.storage.os_files import OsFiles, OsSyncer
from kwire.testing.memory.files import MemoryFiles


@pytest.fixture(params=["disk", "memory"])
def files(request):
    return OsFiles() if request.param == "disk" else MemoryFiles()


@pytest.fixture
def folder(files, tmp_path):
    path = f"{tmp_path}/data"
    files.make_directory(path)
    return path


def open_descriptors():
    """The files that are open in this process. The one of the listing itself is gone when it is looked at."""
    return {fd.name: fd.resolve() for fd in Path("/proc/self/fd").iterdir() if fd.exists()}.items()


def step_by_step(*writes):
    """A writev of which each call does something else."""
    steps = iter(writes)

    def writev(fd, parts):
        return next(steps)(fd, parts)

    return writev


# --- what both kinds do


def test_a_file_appears_at_its_first_append(files, folder):
    file = files.open(f"{folder}/a", size=0)
    assert files.sizes(folder) == {}
    assert file.append([b"ab", b"cd"], 4) == 0
    assert file.append([b"e"], 1) == 4
    assert files.sizes(folder) == {"a": 5}
    assert file.read(1, 3) == b"bcd"
    assert file.read(3, 100) == b"de"


def test_a_file_goes_on_at_its_end_after_a_close(files, folder):
    file = files.open(f"{folder}/a")
    file.append([b"abc"], 3)
    file.close()
    file.append([b"def"], 3)
    assert files.read_bytes(f"{folder}/a") == b"abcdef"


def test_an_append_after_a_truncate_leaves_no_hole(files, folder):
    file = files.open(f"{folder}/a")
    file.append([b"abcdef"], 6)
    file.truncate(2)
    file.append([b"x"], 1)
    assert files.read_bytes(f"{folder}/a") == b"abx"


def test_preallocated_space_is_not_part_of_the_file_yet(files, folder):
    file = files.open(f"{folder}/a")
    file.preallocate(100)
    file.append([b"abc"], 3)
    assert file.size == 3
    assert files.sizes(folder) == {"a": 100}
    file.truncate(file.size)
    assert files.sizes(folder) == {"a": 3}


def test_many_parts_are_written_at_once(files, folder):
    file = files.open(f"{folder}/a")
    parts = [bytes([index % 256]) for index in range(3000)]
    file.append(parts, 3000)
    assert file.read(0, 3000) == b"".join(parts)


def test_a_slice_reads_what_is_in_it(files, folder):
    file = files.open(f"{folder}/a")
    file.append([b"0123456789"], 10)
    piece = file.slice(2, 5)
    assert len(piece) == 5
    assert piece.pread() == b"23456"
    assert piece.pread(1, 2) == b"34"
    assert piece.pread(3, 100) == b"56"
    piece.close()


def test_a_slice_outlives_its_file(files, folder):
    file = files.open(f"{folder}/a")
    file.append([b"0123456789"], 10)
    piece = file.slice(0, 10)
    file.close()
    files.rename(f"{folder}/a", f"{folder}/b")
    files.remove(f"{folder}/b")
    assert piece.pread() == b"0123456789"
    piece.close()


def test_a_slice_is_sent_to_a_socket(files, folder):
    file = files.open(f"{folder}/a")
    file.append([bytes(1000), b"x" * 1000], 2000)
    piece = file.slice(500, 1000)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert piece.sendfile_to(ours.fileno(), 400, 5000) == 600
        assert theirs.recv(2000) == bytes(100) + b"x" * 500
    piece.close()


def test_a_slice_of_a_truncated_file_sends_nothing(files, folder):
    file = files.open(f"{folder}/a")
    file.append([bytes(100)], 100)
    piece = file.slice(50, 50)
    file.truncate(10)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert piece.sendfile_to(ours.fileno(), 0, 50) == 0
    assert piece.pread() == b""
    piece.close()


def test_a_whole_file_is_replaced(files, folder):
    files.write_bytes(f"{folder}/a", b"one", durable=True)
    files.write_bytes(f"{folder}/a", b"two", durable=False)
    assert files.read_bytes(f"{folder}/a") == b"two"
    assert files.sizes(folder) == {"a": 3}


def test_missing_files_and_directories_are_empty(files, folder):
    assert files.read_bytes(f"{folder}/a") is None
    assert files.sizes(f"{folder}/none") == {}
    assert files.directories(f"{folder}/none") == []
    assert files.modified_ms(f"{folder}/a") == 0
    files.remove(f"{folder}/a")
    files.remove_directory(f"{folder}/none")


def test_renaming_a_missing_file_fails(files, folder):
    with pytest.raises(StorageFailure):
        files.rename(f"{folder}/a", f"{folder}/b")


def test_directories_are_made_renamed_and_removed(files, folder):
    files.make_directory(f"{folder}/t-0/deep")
    files.make_directory(f"{folder}/t-0/deep")
    files.write_bytes(f"{folder}/t-0/a", b"x", durable=True)
    assert files.directories(folder) == ["t-0"]
    files.rename(f"{folder}/t-0", f"{folder}/t-0.x-delete")
    assert files.directories(folder) == ["t-0.x-delete"]
    assert files.read_bytes(f"{folder}/t-0.x-delete/a") == b"x"
    files.remove_directory(f"{folder}/t-0.x-delete")
    assert files.directories(folder) == []


def test_a_syncer_works_after_the_file_is_closed(files, folder):
    file = files.open(f"{folder}/a")
    file.append([b"x"], 1)
    syncer = file.syncer()
    file.close()
    thread = threading.Thread(target=syncer.run)
    thread.start()
    thread.join()


def test_a_lock_keeps_a_second_broker_out(files, folder):
    lock = files.lock(f"{folder}/.lock")
    with pytest.raises(DirectoryInUse):
        files.lock(f"{folder}/.lock")
    lock.release()
    files.lock(f"{folder}/.lock").release()


# --- the operating system


@pytest.fixture
def disk(tmp_path):
    if not Path("/proc/self/fd").exists():
        pytest.skip("counts descriptors where Linux shows them")
    (tmp_path / "data").mkdir()
    return f"{tmp_path}/data"


def test_a_syncer_that_is_not_used_closes_its_descriptor(disk):
    file = OsFiles().open(f"{disk}/a")
    file.append([b"x"], 1)
    before = open_descriptors()
    syncers = [file.syncer(), file.syncer()]
    assert len(open_descriptors()) == len(before) + 2
    syncers[0].run()
    del syncers
    assert open_descriptors() == before
    file.close()


def test_descriptors_of_files_that_are_dropped_without_a_close_are_closed(disk):
    """A start that is refused, and a broker that a failure has stopped, close no log."""

    def is_open():
        return any(path == Path(f"{disk}/a") for _, path in open_descriptors())

    files = OsFiles()
    file = files.open(f"{disk}/a")
    file.append([b"abcdef"], 6)
    part = file.slice(0, 3)
    assert is_open()
    del files, file, part
    gc.collect()
    assert not is_open()


def test_descriptors_are_closed_when_they_are_many(disk):
    before = open_descriptors()
    files = OsFiles(open_files_max=3)
    opened = [files.open(f"{disk}/{index}") for index in range(10)]
    for file in opened:
        file.append([b"abc"], 3)
    assert len(open_descriptors() - before) <= 3
    for file in opened:
        file.append([b"def"], 3)
        assert file.read(0, 6) == b"abcdef"
    assert len(open_descriptors() - before) <= 3


def test_a_descriptor_with_a_slice_in_flight_stays_open_until_the_slice_is_closed(disk):
    before = open_descriptors()
    files = OsFiles(open_files_max=1)
    first = files.open(f"{disk}/first")
    first.append([b"abc"], 3)
    pieces = [first.slice(0, 3), first.slice(1, 2)]
    files.open(f"{disk}/second").append([b"x"], 1)
    Path(f"{disk}/first").unlink()
    assert [piece.pread() for piece in pieces] == [b"abc", b"bc"]
    assert len(open_descriptors() - before) == 2
    pieces[0].close()
    pieces[0].close()
    assert len(open_descriptors() - before) == 2
    pieces[1].close()
    assert len(open_descriptors() - before) == 1


def test_a_forgotten_slice_gives_its_descriptor_back(disk):
    before = open_descriptors()
    file = OsFiles().open(f"{disk}/a")
    file.append([b"abc"], 3)
    piece = file.slice(0, 3)
    file.close()
    assert len(open_descriptors() - before) == 1
    del piece
    assert open_descriptors() == before


def test_a_thread_does_not_close_what_another_has_just_opened(disk):
    files = OsFiles(open_files_max=1)
    mine = files.open(f"{disk}/mine")
    mine.append([b"abc"], 3)

    def open_another():
        files.open(f"{disk}/theirs").append([b"x"], 1)

    thread = threading.Thread(target=open_another)
    thread.start()
    thread.join()
    assert Path(f"{disk}/mine").resolve() in dict(open_descriptors()).values()


def test_a_write_that_fails_half_way_leaves_nothing(disk):
    writev = step_by_step(lambda fd, parts: os.write(fd, bytes(parts[0])[:2]), no_space, os.writev)
    file = OsFiles(writev=writev).open(f"{disk}/a")
    with pytest.raises(StorageFailure, match="No space") as failure:
        file.append([b"abc", b"def"], 6)
    assert failure.value.path == f"{disk}/a"
    assert Path(f"{disk}/a").stat().st_size == 0
    assert file.append([b"abc", b"def"], 6) == 0
    assert file.read(0, 10) == b"abcdef"


def test_a_short_write_is_continued(disk):
    def two_bytes(fd, parts):
        return os.write(fd, b"".join(parts)[:2])

    file = OsFiles(writev=two_bytes).open(f"{disk}/a")
    file.append([b"abc", b"def", b"g"], 7)
    assert file.read(0, 10) == b"abcdefg"


def test_a_failed_cut_is_repeated_before_the_next_write(disk, monkeypatch):
    writev = step_by_step(lambda fd, _: os.write(fd, b"a"), no_space, os.writev)
    file = OsFiles(writev=writev).open(f"{disk}/a")
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", no_space)
        with pytest.raises(StorageFailure):
            file.append([b"abc"], 3)
        assert Path(f"{disk}/a").stat().st_size == 1
        with pytest.raises(StorageFailure):
            file.append([b"abc"], 3)
    file.append([b"xyz"], 3)
    assert file.read(0, 10) == b"xyz"


def test_a_replaced_file_keeps_its_old_content_when_the_disk_is_full(disk, monkeypatch):
    files = OsFiles()
    files.write_bytes(f"{disk}/a", b"old", durable=True)
    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(StorageFailure):
        files.write_bytes(f"{disk}/a", b"new", durable=True)
    assert files.sizes(disk) == {"a": 3}
    assert files.read_bytes(f"{disk}/a") == b"old"


def test_a_read_only_file_is_not_made(disk):
    with pytest.raises(StorageFailure):
        OsFiles().open(f"{disk}/a", writable=False).read(0, 1)
    assert list(Path(disk).iterdir()) == []


def try_lock(path, answers):
    try:
        OsFiles().lock(path)
    except DirectoryInUse:
        answers.put("in use")
    else:
        answers.put("free")


def test_a_lock_keeps_another_process_out(disk):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    lock = OsFiles().lock(f"{disk}/.lock")
    for expected in ("in use", "free"):
        process = context.Process(target=try_lock, args=(f"{disk}/.lock", answers))
        process.start()
        process.join()
        assert answers.get() == expected
        lock.release()


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- memory


def test_a_fork_is_independent():
    files = MemoryFiles()
    files.make_directory("data")
    files.open("data/a").append([b"one"], 3)
    fork = files.fork()
    fork.open("data/a").append([b"two"], 3)
    assert files.read_bytes("data/a") == b"one"
    assert fork.read_bytes("data/a") == b"onetwo"


def test_a_full_disk_takes_nothing_of_an_append():
    files = MemoryFiles()
    files.make_directory("data")
    files.free_bytes = 5
    file = files.open("data/a")
    file.append([b"abc"], 3)
    with pytest.raises(StorageFailure, match="No space"):
        file.append([b"def"], 3)
    assert files.read_bytes("data/a") == b"abc"


def test_a_power_cut_keeps_what_was_synced():
    files = MemoryFiles()
    files.make_directory("data")
    file = files.open("data/a")
    file.append([b"abc"], 3)
    file.syncer().run()
    files.sync_directory("data")
    file.append([b"def"], 3)
    files.open("data/b").append([b"x"], 1)
    files.cut_power(lambda most: 0)
    assert files.read_bytes("data/a") == b"abc"
    assert files.read_bytes("data/b") is None


def test_a_power_cut_may_leave_zeros():
    files = MemoryFiles()
    files.make_directory("data")
    file = files.open("data/a")
    file.append([b"abcdef"], 6)
    files.sync_directory("data")
    answers = iter([4, 1])
    files.cut_power(lambda most: next(answers))
    assert files.read_bytes("data/a") == b"a\0\0\0"


def test_a_kill_may_tear_the_last_write():
    files = MemoryFiles()
    files.make_directory("data")
    file = files.open("data/a")
    file.append([b"abc"], 3)
    file.append([b"def"], 3)
    files.kill(torn_bytes=2)
    assert files.read_bytes("data/a") == b"abcd"


def test_the_space_of_a_volume_is_in_bytes(monkeypatch, tmp_path):
    # Size of a block, of a fragment, then fragments: all, free, available; then files, flags and the longest name.
    volume = os.statvfs_result((512, 4096, 10, 5, 3, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: volume)
    assert OsFiles().space(str(tmp_path)) == (40_960, 12_288)


def test_data_that_need_not_survive_a_crash_of_the_machine_is_not_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    pipe = os.pipe()  # a pipe cannot be synced
    try:
        for syncs in (True, False):
            files = OsFiles(syncs=syncs)
            synced.clear()
            files.write_bytes(f"{tmp_path}/a", b"x", durable=True)
            files.sync_directory(str(tmp_path))
            assert len(synced) == (3 if syncs else 0)
            syncer = OsSyncer("a", os.dup(pipe[0]), syncs)
            with pytest.raises(StorageFailure) if syncs else nullcontext():
                syncer.run()
    finally:
        for descriptor in pipe:
            os.close(descriptor)
