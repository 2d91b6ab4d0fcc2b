"""The endpoint: hostile bytes, too much of everything, slow senders and readers, a stop in the middle."""
import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_tutor.core import DataError
from dataset_tutor.serving import Limits, Refused, _Line, load_test, post, raw, read_request, serve

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
OK = dict(texts=["ab", "c"])


class Lengths:
    "A model whose answers say which text they belong to"
    task, names = "classification", ["short", "long"]

    def __init__(self, seconds=0.0):
        self.seconds, self.sizes = seconds, []

    def predict(self, texts):
        self.sizes.append(len(texts))
        time.sleep(self.seconds)
        if any("poison" in t for t in texts):
            raise RuntimeError("that text, with its secret")
        return [dict(label="short", n=len(t)) for t in texts]


@pytest.fixture(scope="module")
def url():
    with serve(Lengths(), port=0) as endpoint:
        yield endpoint.url


def predict(url, body=OK):
    return post(url, body, "/predict")


def sound(url):
    return predict(url) == (200, {"predictions": [dict(label="short", n=2), dict(label="short", n=1)]})


def test_the_three_paths(url):
    assert sound(url)
    status, about = post(url, None, "/")
    assert status == 200 and about["labels"] == ["short", "long"] and about["limits"]["texts"] == Limits().texts
    status, health = post(url, None, "/health")
    assert status == 200 and health["status"] == "ok" and health["counts"]["200"] >= 1
    assert url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("body, status", [
    (b"", 400), (b"{", 400), (b"null", 400), (b"[]", 400), (b"5", 400), (b'"x"', 400), (b"\xff\xfe\x00", 400),
    (b'{"texts": "abc"}', 400), (b'{"texts": {}}', 400), (b'{"texts": []}', 400), (b'{"texts": [5]}', 400),
    (b'{"texts": [null]}', 400), (b'{"texts": [["a"]]}', 400), (b'{"texts": ["a"], "more": 1}', 400),
    (b'{"text": "a"}', 400), (b'{"texts": ["\\ud800"]}', 400), (b'{"texts": ["a\\udc00b"]}', 400),
    (b"[" * 100_000, 400), (b'{"texts":' * 20_000, 400), (b"9" * 10_000, 400), (b'{"texts": [NaN]}', 400),
    (json.dumps(dict(texts=["x"] * 65)).encode(), 413), (json.dumps(dict(texts=["x" * 10_001])).encode(), 413),
    (b" " * 256_001, 413), (b"x" * 3_000_000, 413), (b'{"texts": ["\\u0000"]}', 200), (b'{"texts": [""]}', 200),
    ('{"texts": ["🙂👍🏽 e\u0301 北京"]}'.encode(), 200),
])
def test_bodies(url, body, status):
    got, said = predict(url, body)
    assert got == status
    if status != 200:
        assert said["error"]["status"] == status and said["error"]["problem"] and said["error"]["fix"]
    assert sound(url)


json_values = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda v: st.lists(v) | st.dictionaries(
    st.sampled_from(["texts", "text", ""]), v), max_leaves=8)


@given(st.binary(max_size=300) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_body_is_read_or_refused(body):
    try:
        texts = read_request(body)
    except Refused as e:
        assert e.status in (400, 413) and json.dumps(e.body())
    else:
        assert texts and all(isinstance(t, str) for t in texts)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=64))
def test_texts_arrive_as_they_were_sent(texts):
    for ascii_ in (True, False):
        body = json.dumps(dict(texts=texts), ensure_ascii=ascii_).encode()
        assert read_request(body) == texts


@pytest.mark.parametrize("method, path, kind, status", [
    ("GET", "/predict", "application/json", 405), ("PUT", "/predict", "application/json", 405),
    ("DELETE", "/", "application/json", 405), ("POST", "/health", "application/json", 405),
    ("POST", "/predict", "text/plain", 415), ("POST", "/predict", None, 415), ("POST", "/../etc/passwd", None, 404),
    ("GET", "/%00", None, 404), ("OPTIONS", "/predict", None, 405), ("POST", "/predict", "application/json; x=y", 200),
])
def test_methods_paths_and_types(url, method, path, kind, status):
    at = urlsplit(url)
    link = http.client.HTTPConnection(at.hostname, at.port, timeout=10)
    link.request(method, path, json.dumps(OK), {"Content-Type": kind} if kind else {})
    answer = link.getresponse()
    body = json.loads(answer.read())
    assert answer.status == status and answer.headers["Content-Type"].startswith("application/json")
    assert status == 200 or body["error"]["status"] == status
    link.close()
    assert sound(url)


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"\r\n" * 50_000, b"\0" * 5_000,
    HEAD + b"Content-Length: -5\r\n\r\n", HEAD + b"Content-Length: 9e9\r\n\r\n", HEAD + b"Content-Length: \xb2\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\nabcde", HEAD + b"X: " + b"x" * 100_000,
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    b"POST /predict HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
])
def test_what_is_no_http_is_cut_off(url, data):
    got = raw(url, data, 1.0)
    assert not got or b" 4" in got.split(b"\r\n")[0]
    assert sound(url)


def test_a_stated_length_of_100_gb_is_answered(url):
    got = raw(url, HEAD + b"Content-Length: 100000000000\r\n\r\n", 2)
    assert got.startswith(b"HTTP/1.1 413") and b'"fix"' in got


def test_a_chunked_flood_is_counted_and_refused(url):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    got = raw(url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 10 + b"0\r\n\r\n", 3)
    assert got.startswith(b"HTTP/1.1 413") and sound(url)
    raw(url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 200, 3)   # 13 MB: cut off
    assert sound(url)


def test_compressed_bodies_are_not_unpacked(url):
    import gzip
    bomb = gzip.compress(b" " * 20_000_000)
    at = urlsplit(url)
    link = http.client.HTTPConnection(at.hostname, at.port, timeout=10)
    link.request("POST", "/predict", bomb, {"Content-Type": "application/json", "Content-Encoding": "gzip"})
    assert link.getresponse().status == 400
    link.close()


def test_slow_senders_are_cut_off_and_hold_up_nobody():
    with serve(Lengths(), port=0, limits=Limits(read=0.5)) as e:
        at = urlsplit(e.url)
        slow = [socket.create_connection((at.hostname, at.port)) for _ in range(20)]
        for i, s in enumerate(slow):
            s.sendall(b"POST /pre" if i % 2 else HEAD + b"Content-Length: 50\r\n\r\n{")
        assert sound(e.url)
        start = time.monotonic()
        for s in slow:
            s.settimeout(5)
            assert s.recv(100) == b""   # closed by the endpoint
            s.close()
        assert time.monotonic() - start < 4 and sound(e.url)


def test_slow_readers_are_cut_off():
    class Wordy(Lengths):
        def predict(self, texts):
            return [dict(label="x" * 3_000_000) for _ in texts]
    with serve(Wordy(), port=0, limits=Limits(read=0.5)) as e:
        at = urlsplit(e.url)
        body = json.dumps(OK).encode()
        with socket.create_connection((at.hostname, at.port)) as s:
            s.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            time.sleep(1.5)
            s.settimeout(5)
            got = 0
            try:
                while chunk := s.recv(1 << 20):
                    got += len(chunk)
            except ConnectionError:
                pass
            assert got < 6_000_000
        assert post(e.url, None, "/health")[0] == 200


def test_one_connection_too_many_is_told_so():
    with serve(Lengths(), port=0, limits=Limits(connections=5)) as e:
        at = urlsplit(e.url)
        held = [socket.create_connection((at.hostname, at.port)) for _ in range(5)]
        time.sleep(0.1)
        assert raw(e.url, b"", 2).startswith(b"HTTP/1.1 503")
        for s in held:
            s.close()
        time.sleep(0.2)
        assert sound(e.url)


def test_everybody_gets_the_own_answer_and_busy_means_batches():
    model = Lengths(0.005)
    with serve(model, port=0) as e, ThreadPoolExecutor(24) as pool:
        said = list(pool.map(lambda i: predict(e.url, dict(texts=["x" * i] * (i % 3 + 1))), range(150)))
    for i, (status, body) in enumerate(said):
        assert status == 200 and [p["n"] for p in body["predictions"]] == [i] * (i % 3 + 1)
    assert len(model.sizes) < 150 and max(model.sizes) <= Limits().batch
    assert e.counts["texts"] == sum(model.sizes) == sum(i % 3 + 1 for i in range(150))


def test_a_full_queue_says_503_at_once():
    with serve(Lengths(0.2), port=0, limits=Limits(waiting=4, texts=4, batch=1)) as e, ThreadPoolExecutor(20) as pool:
        def ask(_):
            at = urlsplit(e.url)
            link = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
            start = time.monotonic()
            link.request("POST", "/predict", json.dumps(dict(texts=["a"])), {"Content-Type": "application/json"})
            answer = link.getresponse()
            answer.read()
            link.close()
            return answer.status, answer.headers["Retry-After"], time.monotonic() - start
        said = list(pool.map(ask, range(20)))
        refused = [s for s in said if s[0] == 503]
        assert {s[0] for s in said} == {200, 503} and 10 <= len(refused) <= 16
        assert all(after == "1" for _, after, _ in refused)
        assert min(seconds for *_, seconds in refused) < 0.15
        assert predict(e.url)[0] == 200


def test_a_late_answer_is_504_and_work_that_nobody_waits_for_is_dropped():
    model = Lengths(0.5)
    with serve(model, port=0, limits=Limits(answer=0.3, batch=1)) as e, ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: predict(e.url, dict(texts=["a"]))[0], range(4)))
        assert said == [504] * 4
    assert len(model.sizes) < 4 and e.counts["dropped"] >= 1


def test_a_text_that_breaks_the_model_fails_alone_and_its_words_are_not_told():
    with serve(Lengths(0.02), port=0) as e, ThreadPoolExecutor(12) as pool:
        bodies = [dict(texts=["poison" if i == 5 else "a" * i]) for i in range(12)]
        said = list(pool.map(lambda b: predict(e.url, b), bodies))
        assert [status for status, _ in said] == [500 if i == 5 else 200 for i in range(12)]
        assert "secret" not in json.dumps(said[5]) and e.counts["failed"] == 1


def test_a_model_that_loses_rows_is_an_error_not_a_mix_up():
    class Loses(Lengths):
        def predict(self, texts):
            return super().predict(texts)[1:]
    with serve(Loses(), port=0) as e:
        assert predict(e.url)[0] == 500


def test_clients_that_leave_disturb_nobody():
    with serve(Lengths(0.1), port=0) as e:
        at, body = urlsplit(e.url), json.dumps(OK).encode()
        for _ in range(10):
            with socket.create_connection((at.hostname, at.port)) as s:
                s.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert sound(e.url)


def test_stopping_answers_what_has_come_and_refuses_what_comes():
    e = serve(Lengths(0.3), port=0, limits=Limits(batch=1))
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(predict, e.url, dict(texts=["a"])) for _ in range(3)]
        time.sleep(0.15)
        e.stop()
        assert [a.result()[0] for a in asked] == [200] * 3
    with pytest.raises(OSError):
        predict(e.url)
    e.stop()   # twice is no error
    assert "stopped" in repr(e)


def test_the_line_refuses_after_closing():
    async def late():
        line = _Line(lambda texts: texts, Limits())
        await line.close()
        await line.ask(["a"])
    # In a thread of its own: a browser test in the same process may have left an event loop running in this one.
    with ThreadPoolExecutor(1) as pool, pytest.raises(Refused, match="stopping"):
        pool.submit(lambda: asyncio.run(late())).result()


def test_waiting_for_company_makes_larger_batches():
    sizes = []
    for delay in (0.0, 0.1):
        model = Lengths()
        with serve(model, port=0, limits=Limits(delay=delay)) as e, ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _, u=e.url: predict(u, dict(texts=["a"])), range(32)))
        sizes.append(sum(model.sizes) / len(model.sizes))
    assert sizes[1] > sizes[0]


def test_a_port_that_is_taken_and_folders_without_a_model(tmp_path, monkeypatch):
    with serve(Lengths(), port=0) as e, pytest.raises(DataError, match="port=0"):
        serve(Lengths(), port=urlsplit(e.url).port)
    with pytest.raises(DataError, match="no finished run"):
        serve(tmp_path, port=0)
    monkeypatch.setitem(sys.modules, "tornado", None)
    with pytest.raises(DataError, match=r"dataset-tutor\[serve\]"):
        serve(Lengths(), port=0)


@pytest.mark.parametrize("bad", [dict(body=0), dict(texts=-1), dict(answer=float("nan")), dict(read=float("inf")),
                                 dict(batch="4"), dict(delay=-1), dict(texts=300), dict(connections=True)])
def test_limits_that_make_no_sense(bad):
    with pytest.raises(DataError):
        Limits(**bad)


def test_load_from_a_second_process(url):
    load = load_test(url, ["a", "bb", "ccc"], clients=4, seconds=0.5)
    assert set(load.statuses) == {200} and len(load.latencies) == load.statuses[200] > 20
    assert load.percentile(50) <= load.percentile(95) <= load.percentile(99) and load.per_second > 20
    assert load.row()["clients"] == 4


def test_a_terminal_stops_it_in_order():
    code = textwrap.dedent("""
        import time
        from dataset_tutor.serving import serve_until_stopped
        class Model:
            task, names = "classification", ["x"]
            def predict(self, texts):
                time.sleep(0.5)
                return texts
        serve_until_stopped(Model(), port=0, say=lambda s: print(s, flush=True))
        """)
    p = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
    url, said = p.stdout.readline().split()[0], []
    t = threading.Thread(target=lambda: said.append(predict(url)))
    t.start()
    time.sleep(0.2)
    p.send_signal(signal.SIGTERM)
    t.join()
    assert said[0][0] == 200 and p.wait(10) == 0 and "stopped" in p.stdout.read()
