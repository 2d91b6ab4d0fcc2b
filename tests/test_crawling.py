"""The crawler against a server on this machine: rules, waits, traps, and a kill in the middle."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timezone

import pytest

pytest.importorskip("httpx")
pytest.importorskip("trafilatura")

from dataset_tutor.core import DataError
from dataset_tutor.crawling import (
    Fetcher,
    Journal,
    Manners,
    PracticeServer,
    Refused,
    allowed,
    api_rows,
    checked_address,
    clean_url,
    crawl,
    crawl_pages,
    decode_page,
    read_page,
    retry_after,
    user_agent,
)

ME = "me@example.org"
HTML = {"Content-Type": "text/html"}
TEXT = (
    "<article>" + "<p>The room was clean and quiet, and the breakfast was better than expected.</p>" * 3 + "</article>"
)
QUICK = dict(delay=0.0, retries=2, allow_private=True)


def page(*links, head="", text=TEXT):
    return (
        200,
        HTML,
        f"<html><head>{head}</head><body>{text}{''.join(f'<a href={x}>x</a>' for x in links)}</body></html>".encode(),
    )


def visits(server):
    return Counter(p for _, p in server.log)


def reasons(journal, server):
    return {e["url"].replace(server.url, ""): e["reason"] for e in Journal(journal) if e["event"] == "skip"}


def test_robots_rules_for_our_name_win(tmp_path):
    robots = b"User-agent: *\nAllow: /\n\nUser-agent: dataset_tutor\nDisallow: /b\n"
    with PracticeServer(
        {"/": page("/a", "/b"), "/a": page(), "/b": page(), "/robots.txt": (200, {}, robots)}
    ) as server:
        ds = crawl(server.url, tmp_path / "j", ME, **QUICK)
    assert len(ds) == 2 and "/b" not in visits(server)
    assert visits(server)["/robots.txt"] == 1


@pytest.mark.parametrize(("status", "expected"), [(404, True), (403, True), (500, False), (503, False)])
def test_absent_and_broken_robots(status, expected):
    with PracticeServer({"/robots.txt": (status, {}, b"")}) as server, Fetcher(Manners(ME, **QUICK)) as fetcher:
        assert allowed(fetcher, server.url + "/x") is expected


def test_robots_can_move(tmp_path):
    site = {"/robots.txt": (301, {"Location": "/r"}, b""), "/r": (200, {}, b"User-agent: *\nDisallow: /x")}
    with PracticeServer(site) as server, Fetcher(Manners(ME, **QUICK)) as fetcher:
        assert not allowed(fetcher, server.url + "/x")


def test_crawl_delay_is_kept(tmp_path):
    site = {
        "/robots.txt": (200, {}, b"User-agent: *\nCrawl-delay: 0.2\n"),
        "/": page("/a", "/b"),
        "/a": page(),
        "/b": page(),
    }
    with PracticeServer(site) as server:
        start = time.perf_counter()  # the client's clock: a busy server notes a request late
        crawl(server.url, tmp_path / "j", ME, **QUICK)
        took = time.perf_counter() - start
    assert len(server.log) == 4 and took >= 3 * 0.2


def test_a_crawl_delay_of_a_day_is_left_for_later(tmp_path):
    site = {"/robots.txt": (200, {}, b"User-agent: *\nCrawl-delay: 86400\n"), "/": page()}
    with PracticeServer(site) as server, pytest.raises(DataError, match="no page could be kept"):
        crawl(server.url, tmp_path / "j", ME, **QUICK)
    assert "86,400 seconds" in reasons(tmp_path / "j", server)["/"]


def test_busy_with_retry_after(tmp_path):
    times = []

    def busy(_):
        times.append(time.monotonic())
        return (503, {"Retry-After": "1"}, b"") if len(times) == 1 else page()

    with PracticeServer({"/": busy}) as server:
        assert len(crawl(server.url, tmp_path / "j", ME, **QUICK)) == 1
    assert times[1] - times[0] >= 1.0


def test_a_server_that_stays_busy_is_tried_again_by_the_next_run(tmp_path):
    state = {"busy": True}
    site = {"/": page("/b"), "/b": lambda _: (503, {}, b"") if state["busy"] else page()}
    with PracticeServer(site) as server:
        assert len(crawl(server.url, tmp_path / "j", ME, **QUICK)) == 1
        assert visits(server)["/b"] == 3
        state["busy"] = False
        assert len(crawl(server.url, tmp_path / "j", ME, **QUICK)) == 2


def test_retry_after_in_both_forms():
    now = datetime(2024, 1, 1, tzinfo=timezone.utc)
    assert retry_after("3") == 3.0
    assert retry_after("Mon, 01 Jan 2024 00:00:09 GMT", now) == 9.0
    assert retry_after("Mon, 01 Jan 2023 00:00:09 GMT", now) == 0.0
    assert [retry_after(x) for x in (None, "", "soon", "-1")] == [None] * 4


def test_traps(tmp_path):
    site = {
        "/": page("/loop", "/self", "/chain0", "/huge", "/bomb", "/img", "/gone", "//other.example/x", "mailto:a@b.c"),
        "/loop": (302, {"Location": "/loop2"}, b""),
        "/loop2": (302, {"Location": "/loop"}, b""),
        "/self": (302, {"Location": "/self"}, b""),
        "/huge": (200, HTML, b"<p>x</p>" * 300_000),
        "/bomb": (200, HTML | {"Content-Encoding": "gzip"}, gzip.compress(bytes(5_000_000))),
        "/img": (200, {"Content-Type": "image/png"}, b"PNG"),
    }
    site |= {f"/chain{i}": (302, {"Location": f"/chain{i + 1}"}, b"") for i in range(20)}
    with PracticeServer(site) as server:
        assert len(crawl(server.url, tmp_path / "j", ME, **QUICK)) == 1
    assert reasons(tmp_path / "j", server) == {
        "/loop": "redirect loop",
        "/self": "redirect loop",
        "/chain0": "too many redirects",
        "/huge": "larger than 2,000,000 bytes",
        "/bomb": "larger than 2,000,000 bytes",
        "/img": "image/png is not a page",
        "/gone": "status 404",
    }


def test_redirects_do_not_leave_the_site(tmp_path):
    with PracticeServer({"/": page()}) as other:
        site = {"/": page("/out"), "/out": (302, {"Location": other.url + "/"}, b"")}
        with PracticeServer(site) as server:
            crawl(server.url, tmp_path / "j", ME, **QUICK)
        assert other.log == []
    assert reasons(tmp_path / "j", server)["/out"].startswith("redirect out of the site")


def test_two_addresses_of_one_page_are_one_row(tmp_path):
    site = {"/": page("/old", "/new"), "/old": (301, {"Location": "/new"}, b""), "/new": page()}
    with PracticeServer(site) as server:
        ds = crawl(server.url, tmp_path / "j", ME, **QUICK)
    assert len(ds) == 2 and visits(server)["/new"] == 1


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "::1",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "localhost",
        "100.64.0.1",
    ],
)
def test_private_addresses_are_refused(host):
    with pytest.raises(DataError, match="private address"):
        checked_address(host, 80)


def test_a_private_address_is_not_even_asked_for_robots(tmp_path):
    with PracticeServer({"/": page()}) as server, pytest.raises(DataError, match="no page could be kept"):
        crawl(server.url, tmp_path / "j", ME, delay=0.0)
    assert server.log == []
    assert "private address" in reasons(tmp_path / "j", server)["/"]


def test_a_name_that_points_inside_is_refused(monkeypatch):
    import socket

    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *a, **k: [(2, 1, 6, "", ("93.184.216.34", 80)), (2, 1, 6, "", ("10.0.0.1", 80))]
    )
    with pytest.raises(DataError, match="private"):
        checked_address("rebound.example", 80)


@pytest.mark.parametrize("contact", ["", "me", "me@", "ftp://x"])
def test_no_contact_no_crawl(contact):
    with pytest.raises(DataError, match="contact"):
        user_agent(contact)


def test_the_user_agent_arrives(tmp_path):
    seen = []
    with PracticeServer({"/": lambda h: (seen.append(h.headers["User-Agent"]), page())[1]}) as server:
        crawl(server.url, tmp_path / "j", ME, **QUICK)
    assert seen == ["dataset_tutor (+mailto:me@example.org)"]


ZH = "".join(f"<p>第{i}天，我们住的房间很干净，早餐也不错，服务员很热情，下次还会再来这里住。</p>" for i in range(3))


@pytest.mark.parametrize(
    ("encoding", "meta", "header"),
    [
        ("gb18030", "gb2312", ""),
        ("gb18030", "", "; charset=gbk"),
        ("gb18030", "", ""),
        ("gb18030", "utf-8", "; charset=utf-8"),
        ("utf-8", "", ""),
        ("utf-8", "gb2312", "; charset=utf-8"),
        ("utf-8-sig", "", ""),
    ],
)
def test_a_chinese_page_whatever_it_says(tmp_path, encoding, meta, header):
    head = f"<meta charset='{meta}'>" if meta else ""
    menu = "<nav><a href=/>首页</a></nav>"
    body = f"<html><head>{head}<title>酒店</title></head><body>{menu}<article>{ZH}</article></body></html>"
    with PracticeServer({"/": (200, {"Content-Type": "text/html" + header}, body.encode(encoding))}) as server:
        ds = crawl(server.url, tmp_path / "j", ME, **QUICK)
    assert ds[0]["title"] == "酒店" and ds[0]["text"].startswith("第0天，我们住的房间") and ds[0]["lang"] == "zh"
    assert "首页" not in ds[0]["text"]


def test_a_western_page():
    assert decode_page("<p>déjà vu, coûter, être</p>".encode("cp1252"))[0] == "<p>déjà vu, coûter, être</p>"


@pytest.mark.parametrize(
    ("html", "licence"),
    [
        ("<a rel='license' href='https://x.org/l'>l</a>", "https://x.org/l"),
        ("<link rel='license' href='/l'>", "/l"),
        ("<meta name='DC.rights' content='CC0'>", "CC0"),
        (
            "<a href='https://creativecommons.org/licenses/by-sa/4.0/'>x</a>",
            "https://creativecommons.org/licenses/by-sa/4.0/",
        ),
        ("<meta name='c' content='x'><p>All rights reserved</p>", None),
    ],
)
def test_stated_licences(html, licence):
    assert read_page(f"<html><body>{html}</body></html>", "http://x.org/").licence == licence


@pytest.mark.parametrize(
    "html", ["", "   ", "<!-- -->", "plain", "<html>", "\0", "<a href='http://[bad'>x</a><p>y</p>"]
)
def test_odd_pages_are_no_crash(html):
    read_page(html, "http://x.org/")


def test_noindex_and_nofollow_are_respected(tmp_path):
    site = {
        "/": page("/a", "/b", "/h"),
        "/a": page("/c", head="<meta name=robots content=noindex>"),
        "/b": page("/d", head="<meta name=robots content='NOFOLLOW'>"),
        "/c": page(),
        "/d": page(),
        "/h": (200, HTML | {"X-Robots-Tag": "none"}, page("/e")[2]),
        "/e": page(),
    }
    with PracticeServer(site) as server:
        ds = crawl(server.url, tmp_path / "j", ME, **QUICK)
    assert {u.replace(server.url, "") for u in ds["url"]} == {"/", "/b", "/c"}
    assert "/d" not in visits(server) and "/e" not in visits(server)


def test_max_pages_ends_an_endless_site(tmp_path):
    def endless(handler):
        n = int(handler.path.strip("/p") or 0)
        return page(f"/p{n + 1}", f"/p{n + 2}")

    site = {f"/p{i}": endless for i in range(50)} | {"/": endless}
    with PracticeServer(site) as server:
        assert len(crawl(server.url, tmp_path / "j", ME, max_pages=7, **QUICK)) == 7
        assert len(crawl(server.url, tmp_path / "j", ME, max_pages=9, **QUICK)) == 9
    assert sum(visits(server).values()) - visits(server)["/robots.txt"] == 9


def test_provenance(tmp_path):
    with PracticeServer({"/": page()}) as server:
        row = crawl(server.url, tmp_path / "j", ME, **QUICK)[0]
    assert row["status"] == 200 and len(row["sha256"]) == 64 and row["url"] == server.url + "/"
    assert abs(datetime.fromisoformat(row["time"]).timestamp() - time.time()) < 60


def test_a_foreign_journal_is_refused(tmp_path):
    with PracticeServer({"/": page()}) as a, PracticeServer({"/": page()}) as b:
        crawl(a.url, tmp_path / "j", ME, **QUICK)
        with pytest.raises(DataError, match="another crawl"):
            crawl(b.url, tmp_path / "j", ME, **QUICK)


def test_killed_in_the_middle_and_resumed(tmp_path):
    def slow(handler):
        time.sleep(0.05)
        return page(*(f"/p{i}" for i in range(30)))

    site = {"/": slow} | {f"/p{i}": slow for i in range(30)}
    journal = tmp_path / "j.jsonl"
    code = (
        f"from dataset_tutor.crawling import crawl\n"
        f"import sys; crawl(sys.argv[1], {str(journal)!r}, {ME!r}, delay=0.0, allow_private=True)"
    )
    with PracticeServer(site) as server:
        child = subprocess.Popen([sys.executable, "-c", code, server.url])
        until = time.monotonic() + 60
        while (
            time.monotonic() < until
            and sum("page" in x for x in (journal.read_text().splitlines() if journal.exists() else [])) < 8
        ):
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        before = sum(e["event"] == "page" for e in Journal(journal))
        assert 5 <= before < 31
        with journal.open("a") as f:
            f.write('{"event": "page", "url": "torn')
        ds = crawl(server.url, journal, ME, **QUICK)
    counts = visits(server)
    del counts["/robots.txt"]
    assert len(ds) == 31 and len(set(ds["url"])) == 31
    assert sum(n > 1 for n in counts.values()) <= 1  # at most the page that was under way
    assert all(json.loads(x) for x in journal.read_text().splitlines())


def test_one_page_at_a_time(tmp_path):
    with PracticeServer({"/": page("/a"), "/a": page()}) as server:
        pages = crawl_pages(server.url, tmp_path / "j", Manners(ME, **QUICK))
        next(pages)
        assert "/a" not in visits(server)
        next(pages)
        assert visits(server)["/a"] == 1


ROWS = [{"id": i, "text": f"评论 {i}"} for i in range(7)]


def answer(body, **headers):
    return 200, {"Content-Type": "application/json"} | headers, json.dumps(body).encode()


def at(handler, name, default=0):
    from urllib.parse import parse_qs, urlsplit

    return int(parse_qs(urlsplit(handler.path).query).get(name, [default])[0])


def by_link(h):
    i = at(h, "from")
    return answer(
        ROWS[i : i + 3], **({"Link": f'</r?from={i + 3}>; rel="next", </r>; rel="first"'} if i + 3 < 7 else {})
    )


def by_next(h):
    i = at(h, "from")
    return answer({"results": ROWS[i : i + 3], "next": f"/r?from={i + 3}" if i + 3 < 7 else None})


def by_cursor(h):
    i = at(h, "cursor")
    return answer({"data": {"items": ROWS[i : i + 3]}, "meta": {"cursor": i + 3 if i + 3 < 7 else None}})


def by_page(h):
    i = 3 * (at(h, "page", 1) - 1)
    return answer({"items": ROWS[i : i + 3]})


KINDS = {
    "link": (by_link, {}),
    "next": (by_next, dict(items="results")),
    "cursor": (by_cursor, dict(items="data.items", field="meta.cursor", param="cursor")),
    "page": (by_page, dict(items="items")),
}


@pytest.mark.parametrize("paging", KINDS)
def test_paged_apis_and_their_resumption(tmp_path, paging):
    handler, how = KINDS[paging]
    with PracticeServer({"/r": handler}) as server:
        rows = api_rows(server.url + "/r", tmp_path / "j", ME, paging=paging, **how, **QUICK)
        assert [next(rows) for _ in range(4)] == ROWS[:4]
        rows.close()
        again = list(api_rows(server.url + "/r", tmp_path / "j", ME, paging=paging, **how, **QUICK))
    assert again == ROWS
    assert max(visits(server).values()) == 1


def test_api_max_rows(tmp_path):
    with PracticeServer({"/r": by_page}) as server:
        how = dict(paging="page", items="items", max_rows=4)
        assert len(list(api_rows(server.url + "/r", tmp_path / "j", ME, **how, **QUICK))) == 4
        assert len(list(api_rows(server.url + "/r", tmp_path / "j", ME, **how, **QUICK))) == 4


def test_an_api_key_is_sent_but_not_written_and_not_given_away(tmp_path):
    seen = []

    def keyed(h):
        seen.append(h.headers["Authorization"])
        return answer({"items": ROWS[:1], "next": "http://other.example/r"})

    with PracticeServer({"/r": keyed}) as server, pytest.raises(DataError, match="another host"):
        list(
            api_rows(
                server.url + "/r",
                tmp_path / "j",
                ME,
                paging="next",
                items="items",
                headers={"Authorization": "secret-key"},
                **QUICK,
            )
        )
    assert seen == ["secret-key"] and "secret-key" not in (tmp_path / "j").read_text()


@pytest.mark.parametrize(("body", "match"), [(b"<html>", "JSON"), (b'{"error": 1}', "no list of rows")])
def test_answers_that_are_no_rows(tmp_path, body, match):
    with PracticeServer({"/r": (200, {}, body)}) as server, pytest.raises(DataError, match=match):
        list(api_rows(server.url + "/r", tmp_path / "j", ME, items="items", **QUICK))


def test_clean_url():
    assert clean_url("HTTP://Example.ORG#x") == "http://example.org/"


def test_a_refusal_knows_whether_to_try_again():
    assert Refused("x", again=True).again and not Refused("x").again
