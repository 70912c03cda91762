import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from coactseg_cli.errors import MissingWeights, WrongWeights
from coactseg_cli.network import zoo

CONTENT = b"weights of a sort"


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A local server that gives CONTENT, with the cache in tmp_path; counts its requests."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *args):
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("COACTSEG_MODEL_URL", f"http://127.0.0.1:{running.server_port}/w.pth")
    monkeypatch.setenv("COACTSEG_MODEL_DIR", str(tmp_path / "cache"))
    yield requests
    running.shutdown()


def test_git_blob_id_as_git_computes_it():
    assert zoo.git_blob_id(b"what is up, doc?") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"
    assert zoo.git_blob_id(CONTENT) == hashlib.sha1(b"blob 17\x00" + CONTENT).hexdigest()


def test_verified_download_is_kept_and_used_again(server, monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "PUBLISHED_BLOB", zoo.git_blob_id(CONTENT))
    first, second = zoo.find_model("miccai2023"), zoo.find_model("miccai2023")
    assert first == second == tmp_path / "cache" / "miccai2023.pth"
    assert first.read_bytes() == CONTENT
    assert server == ["/w.pth"]


def test_another_file_is_refused_with_both_ids_and_not_kept(server, tmp_path):
    with pytest.raises(WrongWeights, match=f"{zoo.PUBLISHED_BLOB}.*{zoo.git_blob_id(CONTENT)}"):
        zoo.find_model("miccai2023")
    assert not (tmp_path / "cache" / "miccai2023.pth").exists()


def test_a_damaged_cache_is_noticed(server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "miccai2023.pth").write_bytes(b"half")
    with pytest.raises(WrongWeights, match="Delete the file"):
        zoo.find_model("miccai2023")


def test_offline_says_where_to_put_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("COACTSEG_MODEL_URL", "http://127.0.0.1:9/w.pth")
    monkeypatch.setenv("COACTSEG_MODEL_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"cannot be downloaded.*miccai2023\.pth.*--model"):
        zoo.find_model("miccai2023")


def test_only_web_addresses(monkeypatch, tmp_path):
    monkeypatch.setenv("COACTSEG_MODEL_URL", "file:///etc/passwd")
    monkeypatch.setenv("COACTSEG_MODEL_DIR", str(tmp_path))
    with pytest.raises(MissingWeights, match="https://"):
        zoo.find_model("miccai2023")


def test_unknown_name_lists_what_there_is():
    with pytest.raises(MissingWeights, match=r"nothing-like-it.*miccai2023"):
        zoo.find_model("nothing-like-it")
