"""What a bundle's page is made of, and who is given it."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from http.client import HTTPConnection

import pytest

import ossicle.ship
from ossicle.cli import main
from ossicle.deploy import web
from ossicle.deploy.bundle import load
from ossicle.deploy.config import BundleError
from ossicle.deploy.export import ExportError, _refuse_strangers
from ossicle.deploy.serve import Server
from ossicle.deploy.web import fetch

POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """As if onnxruntime-web's files were there: nothing here runs them."""
    monkeypatch.setattr(web, "missing", lambda: [])


@pytest.fixture
def server(loudness):
    with Server(loudness) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, path="/", method="GET", **headers):
    connection = HTTPConnection("127.0.0.1", server.server_port)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def test_the_page_and_the_bundle_are_served(server, loudness):
    answer, content = ask(server)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"<title>ossicle</title>" in content
    for name in ("config.json", "model.onnx"):
        assert ask(server, f"/{name}")[1] == (loudness / name).read_bytes()
    answer, content = ask(server, "/web/page.js", "HEAD")
    assert (answer.status, answer.headers["Content-Type"], content) == (200, "text/javascript; charset=utf-8", b"")


def test_only_this_machine_is_answered(server):
    assert server.server_address[0] == "127.0.0.1"
    with socket.socket() as other:  # a server on all addresses would answer there too
        assert other.connect_ex(("127.0.0.2", server.server_port)) != 0


@pytest.mark.parametrize(
    "path", ["/golden.npz", "/../config.json", "/web/fetch.py", "/web/", "//etc/passwd", "HTTP://[/"]
)
def test_other_files_are_not_there(server, path):
    assert ask(server, path)[0].status == 404


def test_nothing_is_taken(server):
    assert ask(server, "/", "POST")[0].status == 501
    assert ask(server, "/", "PUT")[0].status == 501


def test_a_page_of_strangers_whose_name_points_here_is_refused(server):
    assert ask(server, Host=f"strangers.example:{server.server_port}")[0].status == 421
    assert ask(server, Host=f"localhost:{server.server_port}")[0].status == 200


def test_all_that_the_page_asks_for_is_in_the_site(loudness):
    site = web.site(loudness)
    for name, path in site.items():
        if path.suffix in (".html", ".js"):
            found = re.findall(r'(?:from|src=|href=|new URL\()\s*"([\w./-]+)"', path.read_text(encoding="utf-8"))
            for other in found:
                base = "" if other.startswith("web/") or other in ("config.json", "model.onnx", "slot") else "web/"
                assert f"{base}{other.removeprefix('./')}" in site, f"{name} asks for {other}"


def test_the_policy_names_nowhere_else():
    (policy,) = POLICY.findall((web.PAGE / "index.html").read_text(encoding="utf-8"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert {source for rule in rules.values() for source in rule.split()} == {
        "'none'",
        "'self'",
        "'wasm-unsafe-eval'",
        "data:",
        "blob:",
    }
    for path in web.PAGE.glob("*.*"):
        assert "//" not in re.sub(r"^\s*//.*$|//.*$", "", path.read_text(encoding="utf-8"), flags=re.M), path
        assert "http:" not in path.read_text(encoding="utf-8")


@pytest.fixture
def engine_files(tmp_path, monkeypatch):
    """A page whose onnxruntime is two small files."""
    shutil.copytree(web.PAGE, tmp_path / "page", ignore=shutil.ignore_patterns("*.wasm", "*.mjs", "__pycache__"))
    for name in fetch.FILES:
        (tmp_path / "page" / "ort" / name).write_bytes(b"engine")
    monkeypatch.setattr(web, "PAGE", tmp_path / "page")


def test_export_web_puts_the_page_beside_the_model(loudness, engine_files, monkeypatch, capsys):
    monkeypatch.setattr(ossicle.ship, "ship", lambda *_, **__: "exported")
    assert main(["export", "run", "-o", str(loudness), "--web"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next  ossicle serve {loudness}"
    site = web.site(loudness)
    assert {"config.json", "model.onnx"} | set(web.page()) == set(site)
    assert all((loudness / name).read_bytes() == path.read_bytes() for name, path in site.items())
    assert load(loudness).labels == ("loud", "quiet")
    _refuse_strangers(loudness)  # it is a bundle still, and may be replaced


def test_a_web_site_of_ones_own_is_not_replaced(loudness, engine_files):
    web.publish(loudness)
    (loudness / "model.onnx").unlink()
    with pytest.raises(ExportError, match="not replaced"):
        _refuse_strangers(loudness)


def test_a_page_for_a_model_that_takes_images_is_refused(loudness, capsys):
    assert main(["export", "run", "-o", str(loudness), "--web", "--no-frontend"]) == 2
    assert "leave out one" in capsys.readouterr().err


def test_a_changed_bundle_is_not_served(loudness):
    (loudness / "model.onnx").write_bytes(b"?")
    with pytest.raises(BundleError, match="copy the bundle again"):
        Server(loudness)


def test_a_missing_engine_is_a_sentence(loudness, monkeypatch):
    monkeypatch.setattr(web, "missing", lambda: ["ort"])
    with pytest.raises(web.WebError, match="make web"):
        Server(loudness)


def test_a_port_that_is_taken_is_a_sentence(server, loudness):
    with pytest.raises(web.WebError, match=f"port {server.server_port} cannot be had"):
        Server(loudness, server.server_port)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none_is_a_sentence(loudness, port):
    with pytest.raises(web.WebError, match=f"port {port} cannot be had"):
        Server(loudness, port)


def test_the_verb_ends_with_ctrl_c(loudness):
    code = (
        "import sys; from ossicle.deploy import web; web.missing = lambda: []\n"
        "from ossicle.cli import main; sys.exit(main(['serve', sys.argv[1], '--port', '0']))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(loudness)], stdout=subprocess.PIPE, text=True) as process:
        assert re.search(r" is at http://localhost:\d+/ until Ctrl-C", process.stdout.readline())
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 0


class TestFetch:
    """With a npm that hands out `content` as every file."""

    @pytest.fixture
    def npm(self, tmp_path, monkeypatch):
        def make(content=b"another", status=0):
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w:gz") as package:
                for name in fetch.FILES:
                    entry = tarfile.TarInfo(f"package/dist/{name}")
                    entry.size = len(content)
                    package.addfile(entry, io.BytesIO(content))
            (tmp_path / "packed").write_bytes(packed.getvalue())
            script = f"#!/bin/sh\necho no such package >&2\n/bin/cp {tmp_path / 'packed'} ./a.tgz\nexit {status}\n"
            (tmp_path / "npm").write_text(script)
            (tmp_path / "npm").chmod(0o755)
            monkeypatch.setenv("PATH", str(tmp_path))

        return make

    def test_a_file_with_another_checksum_is_not_kept(self, npm, tmp_path):
        npm()
        with pytest.raises(fetch.FetchError, match="another SHA-256"):
            fetch.fetch(tmp_path / "ort")
        assert not list((tmp_path / "ort").iterdir())

    def test_what_was_asked_for_is_kept_and_not_fetched_again(self, npm, tmp_path, monkeypatch):
        content = b"engine"
        monkeypatch.setattr(fetch, "FILES", dict.fromkeys(fetch.FILES, fetch.hashlib.sha256(content).hexdigest()))
        npm(content)
        assert fetch.fetch(tmp_path / "ort") == list(fetch.FILES)
        assert not fetch.missing(tmp_path / "ort")
        npm(b"", status=1)
        assert fetch.fetch(tmp_path / "ort") == []

    def test_what_npm_says_is_passed_on(self, npm, tmp_path):
        npm(status=1)
        with pytest.raises(fetch.FetchError, match="no such package"):
            fetch.fetch(tmp_path / "ort")

    def test_without_npm_it_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(fetch.FetchError, match="npm is needed"):
            fetch.fetch(tmp_path / "ort")
