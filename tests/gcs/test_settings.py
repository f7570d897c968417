from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gcs.settings import load_settings
from model.errors import ConfigError

SECRET = "0123456789abcdef"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLKD_PORT", "MLKD_HOST", "MLKD_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "station.yaml"
    path.write_text(text)
    return path


def test_flag_over_environment_over_file_over_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path, "port: 1001\nsource: a.mp4\nmax_viewers: 3\n")
    assert load_settings({}).port == 8000
    assert load_settings({"port": None}, config).port == 1001
    monkeypatch.setenv("MLKD_PORT", "1002")
    settings = load_settings({}, config)
    assert (settings.port, settings.source, settings.max_viewers) == (1002, "a.mp4", 3)
    assert load_settings({"port": 1003}, config).port == 1003


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot: 1\n", "unknown setting 'prot' in .*station.yaml; did you mean 'port'?"),
        ("zzz: 1\n", "unknown setting 'zzz'.*known: source"),
        ("port: many\n", "port in .*station.yaml is 'many'"),
        ("port: 70000\n", "port in .* is 70000.*65535"),
        ("- a\n", "holds a list: expected lines of key: value"),
        ("a: [\n", "is not YAML"),
        ("confidence: {lost_scores: 0.1}\n", "unknown setting 'lost_scores'.*lost_score"),
        ("confidence: {lost_score: 0.9}\n", "lost_score 0.9 is above low_score"),
        ("follow: {clam: 0.1}\n", "unknown setting 'clam'.*clamp"),
        ("follow: {clamp: 3}\n", "clamp is 3: expected at most 1"),
        ("follow: {hold_frames: 7.5}\n", "hold_frames"),
        ("follow: {hold_frames: .inf}\n", "hold_frames"),
        ("follow: {command_age_ms: 400}\n", "command_age_ms is 400: expected at most 275"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings({}, write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_settings({}, tmp_path / "absent.yaml")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_settings({}, write(tmp_path, "# nothing\n")).source == "simulator"


def test_a_misspelt_variable_is_caught_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLKD_SHARED", "/somewhere")
    load_settings({})
    monkeypatch.setenv("MLKD_TOKN", SECRET)
    with pytest.raises(ConfigError, match="unknown variable MLKD_TOKN; did you mean MLKD_TOKEN"):
        load_settings({})


def test_a_bad_flag_or_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--port is -1"):
        load_settings({"port": -1})
    monkeypatch.setenv("MLKD_PORT", "abc")
    with pytest.raises(ConfigError, match="MLKD_PORT is 'abc'"):
        load_settings({})


def test_confidence_overrides(tmp_path: Path) -> None:
    settings = load_settings({}, write(tmp_path, "confidence: {lost_score: 0.2, lost_frames: 5}\n"))
    assert settings.confidence_config.lost_score == 0.2
    assert settings.confidence_config.lost_frames == 5


def test_follow_overrides(tmp_path: Path) -> None:
    settings = load_settings({}, write(tmp_path, "follow: {clamp: 0.1, hold_frames: 20}\n"))
    assert settings.follow_config.clamp == 0.1
    assert settings.follow_config.hold_frames == 20
    assert isinstance(settings.follow_config.hold_frames, int)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_needs_no_token(host: str) -> None:
    load_settings({"host": host}).check_exposure()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"host": "0.0.0.0"}, "expected a token"),
        ({"host": "station.example"}, "expected a token"),
        ({"host": "0.0.0.0", "token": "short"}, "5 characters: expected 16"),
        ({"token": "short"}, "5 characters: expected 16"),
        ({"host": "0.0.0.0", "token": SECRET}, "--allow-plain-http"),
        ({"tls_cert": Path("c.pem")}, "expected both or none"),
        ({"tls_cert": Path("c.pem"), "tls_key": Path("k.pem")}, "c.pem is not a file"),
    ],
)
def test_the_network_needs_a_secret_and_encryption(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(flags).check_exposure()


def test_files_that_are_no_certificate_are_named(tmp_path: Path) -> None:
    path = tmp_path / "certificate.txt"
    path.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"certificate\.txt are no certificate and its key"):
        load_settings({"tls_cert": path, "tls_key": path}).check_exposure()


def test_a_network_inside_a_vpn() -> None:
    load_settings({"host": "0.0.0.0", "token": SECRET, "allow_plain_http": True}).check_exposure()


def test_the_token_is_not_shown() -> None:
    assert SECRET not in repr(load_settings({"token": SECRET}))
