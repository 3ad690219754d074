"""Keys, a number of requests a minute, and a proxy in front."""

import pytest

from composeret_jax.serving.service.app import build_app
from composeret_jax.serving.service.limits import access
from composeret_jax.serving.service.limits.access import Counters, make_counters
from composeret_jax.serving.service.settings import read_api_keys, Settings
from data_pipelines.input_error import InputError
from tests.fakes.served import ask, served

KEY = "k" * 20


def test_with_keys_only_who_has_one_is_answered(searcher, uploads):
  with served(build_app(searcher, Settings(api_keys=(KEY, "other" * 5)), uploads=uploads)) as address:
    for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": f"Basic {KEY}"}, {"Cookie": "composeret_key="}):
      status, answered, content = ask(address, "/v1/gallery", headers=headers)
      assert (status, answered["www-authenticate"]) == (401, "Bearer")
      assert "API key" in content["error"]
    for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"X-API-Key": "other" * 5}):
      assert ask(address, "/v1/gallery", headers=headers)[0] == 200
    for path in ("/v1/images/004/thumbnail", "/metrics", "/v1/columns", "/v1/images/nobody"):
      assert ask(address, path)[0] == 401
    assert ask(address, "/v1/search", {"image": "004"})[0] == 401
    assert ask(address, "/v1/page")[2]["needs_key"] is True
    assert ask(address, "/v1/health")[0] == 200


def test_a_session_keeps_the_key_in_a_cookie_for_pictures(searcher, uploads):
  settings = Settings(api_keys=(KEY,), url_prefix="/shop")
  with served(build_app(searcher, settings, uploads=uploads)) as address:
    assert ask(address, "/shop/v1/session", b"", headers={"X-API-Key": "wrong"})[0] == 401
    status, headers, _ = ask(address, "/shop/v1/session", b"", headers={"X-API-Key": KEY})
    cookie = headers["set-cookie"]
    assert status == 204
    assert {"HttpOnly", "SameSite=strict", "Path=/shop/"} <= set(cookie.split("; "))
    assert ask(address, "/v1/images/004/thumbnail", headers={"Cookie": cookie.partition(";")[0]})[0] == 200


def test_a_client_has_so_many_requests_a_minute(searcher, uploads, monkeypatch):
  now = [60_000_050.0]
  monkeypatch.setattr(access.time, "time", lambda: now[0])
  with served(build_app(searcher, Settings(rate_limit=3), uploads=uploads)) as address:
    assert [ask(address, "/v1/gallery")[0] for _ in range(4)] == [200, 200, 200, 429]
    status, headers, content = ask(address, "/v1/search", {"image": "004"})
    assert (status, headers["retry-after"]) == (429, "10")
    assert content["error"] == "A client has 3 requests a minute. Wait for the next minute."
    assert ask(address, "/v1/images/004/thumbnail?v=1")[0] == ask(address, "/v1/health")[0] == 200
    assert ask(address, "/v1/images/004")[0] == 429  # a whole picture is read and compared with what was indexed
    # A proxy on this machine says for whom it asks.
    assert ask(address, "/v1/gallery", headers={"X-Forwarded-For": "203.0.113.7"})[0] == 200
    now[0] += 60
    assert ask(address, "/v1/gallery")[0] == 200


def test_processes_share_counters(tmp_path):
  make_counters(tmp_path / "counters")
  one, other = Counters(tmp_path / "counters"), Counters(tmp_path / "counters")
  assert [one.count("a"), other.count("a"), one.count("a"), other.count("b")] == [1, 2, 3, 1]


@pytest.mark.parametrize("prefix", ["/shop", "/a/b-c"])
def test_behind_a_proxy_that_strips_the_prefix_or_does_not(searcher, uploads, prefix):
  with served(build_app(searcher, Settings(url_prefix=prefix), uploads=uploads)) as address:
    for before in ("", prefix):
      assert ask(address, f"{before}/v1/health")[0] == 200
      assert ask(address, f"{before}/v1/search", {"image": "004"})[0] == 200
      assert ask(address, f"{before}/v1/images/004/thumbnail")[0] == 200
    assert ask(address, f"{prefix}x/v1/health")[0] == 404
    assert ask(address, "/v1/openapi.json")[2]["servers"] == [{"url": prefix}]


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"url_prefix": "shop"}, "--url_prefix=shop is no path as /shop"),
    ({"url_prefix": "/shop/"}, "is no path as /shop"),
    ({"url_prefix": '/"><script>'}, "is no path as /shop"),
    ({"page_accent": "red"}, "--page_accent=red is no colour"),
    ({"rate_limit": -1}, "--rate_limit=-1"),
    ({"api_keys": ("short",)}, "fewer than 16 characters"),
    ({"api_keys": ("Schlüssel" * 2,)}, "not ASCII, which clients cannot send"),
    ({"api_keys": ("two words" * 2,)}, "a space"),
  ],
)
def test_settings_are_checked(values, message):
  with pytest.raises(InputError, match=message):
    Settings(**values)


def test_keys_are_read_from_a_file(tmp_path):
  (tmp_path / "keys").write_text(f"# of the shop\n{KEY}\n\n  {KEY}2 \n")
  assert read_api_keys(tmp_path / "keys") == (KEY, f"{KEY}2")
  (tmp_path / "of_windows").write_bytes(f"\ufeff{KEY}\r\n{KEY}2\r\n".encode())
  assert read_api_keys(tmp_path / "of_windows") == (KEY, f"{KEY}2")
  (tmp_path / "empty").write_text("# none\n")
  with pytest.raises(InputError, match="has no key"):
    read_api_keys(tmp_path / "empty")
  with pytest.raises(InputError, match="cannot be read"):
    read_api_keys(tmp_path / "nobody")
