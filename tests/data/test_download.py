"""Downloads from a server on this machine: broken off, gone on with, checked, and what cannot be had."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from ood_core import data
from ood_core._torchvision import torchvision
from ood_core.checks import InputError
from ood_core.data import download, imageset
from tests.data import layouts


class Server(ThreadingHTTPServer):
    """Serves one file; breaks off after `limit` bytes of an answer while it is set.

    `ranges`: whether it can begin in the middle; `asked`: the Range headers of the requests, None without one.
    """

    content = b""
    limit = None
    ranges = True
    announced = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_port}/set.tar.gz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        content, first = self.server.content, 0
        wanted = self.headers["Range"]
        self.server.asked.append(wanted)
        if wanted and self.server.ranges:
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if first >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if first else 200)
        if self.server.announced:
            self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:][: self.server.limit])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_DATA", str(tmp_path / "data"))
    data.load.cache_clear()
    yield tmp_path / "data"
    data.load.cache_clear()


def test_a_download_goes_on_where_it_broke_off(server, tmp_path, capsys):
    server.content = np.random.default_rng(0).bytes(300_000)
    target = tmp_path / "set.tar.gz"
    server.limit = 120_000
    for arrived in (120_000, 240_000):
        with pytest.raises(OSError, match=rf"broke off after {arrived:,} of 300,000 bytes"):
            download.retrieve(server.url, target, 1000)
        assert (tmp_path / "set.tar.gz.part").stat().st_size == arrived
        assert not target.exists()
    download.retrieve(server.url, target)
    assert target.read_bytes() == server.content
    assert server.asked == [None, "bytes=120000-", "bytes=240000-"]
    assert not (tmp_path / "set.tar.gz.part").exists()
    assert "set.tar.gz: 100%" in capsys.readouterr().err


def test_a_server_that_cannot_go_on_sends_all_again(server, tmp_path):
    server.content, server.ranges = b"new content", False
    (tmp_path / "f.part").write_bytes(b"old")
    download.retrieve(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"new content"


def test_more_than_there_is_begins_again(server, tmp_path):
    server.content = b"short"
    (tmp_path / "f.part").write_bytes(b"longer than the file")
    download.retrieve(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"short"
    assert server.asked == ["bytes=20-", None]


def test_a_server_that_does_not_say_how_long_the_file_is(server, tmp_path):
    server.content, server.announced = b"content", False
    download.retrieve(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"content"


def cifar_on(server, tmp_path, monkeypatch):
    """CIFAR-10 of 50 images behind the server; returns what it must become."""
    images, labels = layouts.pixels(50, 32), np.arange(50) % 10
    layouts.registered(monkeypatch, "cifar10", train=50, test=10)
    made = layouts.cifar10(tmp_path / "origin", monkeypatch, images, labels)
    archive = layouts.packed(made, tmp_path / "archive.tar.gz")
    server.content = archive.read_bytes()
    cifar = torchvision().datasets.CIFAR10
    monkeypatch.setattr(cifar, "url", server.url)
    monkeypatch.setattr(cifar, "filename", "set.tar.gz")
    monkeypatch.setattr(cifar, "tgz_md5", layouts.md5(archive))
    return imageset.make(images, labels, data.entry("cifar10")["classes"], name="expected").digest


def test_fetch_goes_on_checks_and_leaves_torchvision_as_it_was(server, tmp_path, root, monkeypatch):
    expected = cifar_on(server, tmp_path, monkeypatch)
    utils = torchvision().datasets.utils
    own = utils._urlretrieve
    server.limit = 50_000
    with pytest.raises(
        InputError, match=r"could not be downloaded to .*broke off after 50,000 of .*\nRun the same command again"
    ):
        data.fetch("cifar10")
    assert data.where("cifar10", "train") == "missing"
    assert [path.suffix for path in root.iterdir()] == [".part"]
    server.limit = None
    assert [(found.split, len(found)) for found in data.fetch("cifar10")] == [("train", 50), ("test", 10)]
    assert [asked for asked in server.asked if asked] == ["bytes=50000-"]  # torchvision looks for redirections before
    assert data.load("cifar10", "train").digest == expected
    assert utils._urlretrieve is own
    server.content = b""
    assert data.fetch("cifar10", "train")[0].digest == expected, "nothing is downloaded twice"


def test_a_download_that_is_another_file_is_refused(server, tmp_path, root, monkeypatch):
    cifar_on(server, tmp_path, monkeypatch)
    server.content = b"<html>moved</html>"
    with pytest.raises(InputError, match=r"could not be downloaded .*corrupted"):
        data.fetch("cifar10")
    assert not (root / "cifar-10-batches-py").exists()


def test_without_a_network_it_says_how_large_and_what_to_do(monkeypatch):
    monkeypatch.setattr(torchvision().datasets.CIFAR10, "url", "http://127.0.0.1:9/set.tar.gz")
    with pytest.raises(InputError, match=r"expected about 170 MB over the network\.\nRun the same command again"):
        data.fetch("cifar10", "test")


def test_a_reduced_set_is_kept_reduced(root, monkeypatch):
    root.mkdir()
    images, labels = layouts.pixels(12, 40), np.arange(12) % 3
    layouts.dtd(root, images, labels, ["banded", "dotted", "woven"])
    layouts.registered(monkeypatch, "dtd-32", test=12)
    direct = data.load("dtd-32", "test").digest
    (fetched,) = data.fetch("dtd-32", "test")
    assert fetched.digest == direct
    assert data.where("dtd-32", "test") == str(root / "dtd-32-test.npz")
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("digits", None, "digits is embedded in a library, expected a set to download"),
        ("digits-shuffled", None, "is made from digits, expected a set to download"),
        ("tiny-imagenet-32", "val", r"has no publisher to fetch it from.*\n.*Put tiny-imagenet-32-val\.npz \(16 MB\)"),
        ("cifar10", "val", "split of cifar10 is 'val', expected one of: train, test"),
        ("mine", None, "image set is 'mine', expected one of: digits"),
    ],
)
def test_what_cannot_be_fetched(name, split, message):
    with pytest.raises(InputError, match=message):
        data.fetch(name, split)


def test_fetch_needs_a_folder_and_makes_it(server, tmp_path, root, monkeypatch):
    cifar_on(server, tmp_path, monkeypatch)
    monkeypatch.delenv("OOD_DATA")
    with pytest.raises(InputError, match="OOD_DATA is not set, expected a folder"):
        data.fetch("cifar10")
    monkeypatch.setenv("OOD_DATA", str(root / "new"))
    data.fetch("cifar10", "train")
    assert (root / "new" / "cifar-10-batches-py").is_dir()


@pytest.mark.parametrize("name", ["CIFAR10", "MNIST"])
def test_a_folder_that_nothing_came_to_is_not_left_behind(name, tmp_path, monkeypatch):
    """A misspelt $OOD_DATA would else look like one that is there; what has arrived is kept, and so are old folders."""
    monkeypatch.setattr(torchvision().datasets.CIFAR10, "url", "http://127.0.0.1:9/set.tar.gz")
    monkeypatch.setattr(torchvision().datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    for new in ("one", "two/deep"):
        monkeypatch.setenv("OOD_DATA", str(tmp_path / new))
        with pytest.raises(InputError, match="could not be downloaded"):
            data.fetch(name.lower(), "test" if name == "CIFAR10" else "test3k")
        assert not (tmp_path / new.split("/")[0]).exists()
    old = tmp_path / "old"
    (old / "empty").mkdir(parents=True)
    monkeypatch.setenv("OOD_DATA", str(old))
    with pytest.raises(InputError, match="could not be downloaded"):
        data.fetch("cifar10", "test")
    assert (old / "empty").is_dir()


def test_a_full_disk_and_a_folder_that_is_a_file_are_named(root, monkeypatch):
    root.mkdir()
    layouts.dtd(root, layouts.pixels(3, 40), np.arange(3), ["banded", "dotted", "woven"])
    layouts.registered(monkeypatch, "dtd-32", test=3)

    def full(file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ood_core.data.files.np.savez", full)
    with pytest.raises(
        InputError, match=r"cannot be written \(.*No space left on device\), expected .* room for dtd-32"
    ):
        data.fetch("dtd-32", "test")
    assert [path.name for path in root.iterdir()] == ["dtd"]
    (root / "file").touch()
    monkeypatch.setenv("OOD_DATA", str(root / "file"))
    with pytest.raises(InputError, match=r"file cannot be written"):
        data.fetch("cifar10", "test")
