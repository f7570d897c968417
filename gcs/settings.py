"""Settings of the ground station: flags over environment over file over defaults."""

from __future__ import annotations

import difflib
import ipaddress
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gcs.follow_config import FollowConfig
from model.confidence import ConfidenceConfig
from model.config import build_config
from model.errors import ConfigError

ENV_PREFIX = "MLKD_"

MIN_TOKEN_LENGTH = 16


class Settings(BaseSettings):
    """Every setting with its default; an unknown key is an error."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    source: str = "simulator"
    """`simulator`, a video file, a folder of images, `rtsp://…`, `webcam:0` or `olympe:ADDRESS`."""
    decoder: str = "cpu"
    """What decodes a file, a network stream or a webcam: `cpu`, `auto` (the first hardware device
    that opens, else the CPU), or a device as `cuda`, `vaapi`, `videotoolbox`. Not for `olympe:…`:
    Parrot's player chooses its own."""
    repeat: bool = False
    """Start a file anew when it ends."""
    model: Path | None = None
    """Exported model; the shipped one when unset."""
    engine: str = "auto"
    """Runtime that executes the model, or `auto` for the best one at hand."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port; 0 takes any free one."""
    token: SecretStr | None = None
    """Shared secret; required on any address but loopback."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names under which browsers may reach the service, besides addresses and localhost."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_plain_http: bool = False
    """Serve a network without TLS, as behind a VPN that encrypts already."""
    flights_dir: Path = Path("flights")
    open: bool = False
    """Open the page in a browser."""
    max_viewers: int = Field(default=8, ge=1, le=64)
    stream_fps: float = Field(default=30.0, gt=0, le=120)
    stream_width_px: int = Field(default=1280, ge=160, le=7680)
    """Wider frames are scaled down for the page; the tracker sees them whole."""
    jpeg_quality: int = Field(default=80, ge=10, le=100)
    history_s: float = Field(default=8.0, ge=0.5, le=60)
    """How long ago a box may have been drawn, at least."""
    history_mb: int = Field(default=384, ge=32, le=16384)
    stall_s: float = Field(default=0.5, gt=0, le=10)
    """Without a frame for this long the picture is stale and the target LOST."""
    reconnect_s: float = Field(default=2.0, gt=0, le=60)
    """Without a frame for this long the source is opened anew."""
    confidence: dict[str, float] = Field(default_factory=dict)
    """Overrides of the lost / found thresholds, by the names in `ConfidenceConfig`."""
    follow: dict[str, float] = Field(default_factory=dict)
    """Overrides of the follow controller's gains and limits, by the names in `FollowConfig`."""

    @property
    def on_loopback(self) -> bool:
        """True when only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def confidence_config(self) -> ConfidenceConfig:
        """The lost / found thresholds."""
        whole = {"lost_frames", "found_frames"}
        return build_config(ConfidenceConfig, _whole(self.confidence, whole))

    @property
    def follow_config(self) -> FollowConfig:
        """Gains and limits of the follow controller."""
        whole = {"low_frames", "hold_frames", "regain_frames"}
        return build_config(FollowConfig, _whole(self.follow, whole))

    def check_exposure(self) -> None:
        """Refuse to serve a network without a secret and without encryption.

        Raises:
            ConfigError: says what is missing.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("tls_cert and tls_key go together: expected both or none")
        for path in (self.tls_cert, self.tls_key):
            if path is not None and not path.is_file():
                raise ConfigError(f"{path} is not a file: expected a PEM file for TLS")
        if self.tls_cert is not None:
            try:
                ssl.create_default_context().load_cert_chain(self.tls_cert, self.tls_key)
            except (ssl.SSLError, OSError) as error:
                raise ConfigError(
                    f"{self.tls_cert} and {self.tls_key} are no certificate and its key: expected "
                    f"PEM files that belong together ({error})"
                ) from None
        secret = self.token.get_secret_value() if self.token else ""
        if self.token and len(secret) < MIN_TOKEN_LENGTH:
            raise ConfigError(
                f"the token has {len(secret)} characters: expected {MIN_TOKEN_LENGTH} or more, "
                "as from: openssl rand -hex 16"
            )
        if self.on_loopback:
            return
        if not secret:
            raise ConfigError(
                f"host {self.host} is reachable from the network: expected a token; set "
                f"{ENV_PREFIX}TOKEN to a secret of {MIN_TOKEN_LENGTH} characters or more"
            )
        if self.tls_cert is None and not self.allow_plain_http:
            raise ConfigError(
                f"host {self.host} is reachable from the network without encryption: expected "
                "--tls-cert and --tls-key, or --allow-plain-http inside a trusted network"
            )


def load_settings(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Merge flags, environment (`MLKD_*`), the file and the defaults, in that order.

    Args:
        flags: values given on the command line; None means not given.
        config: YAML file of one mapping.

    Raises:
        ConfigError: an unknown key or a wrong value; names it and where it came from.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    from_file = read_yaml(config) if config else {}
    _check_names(from_file, str(config), "")
    _check_environment(os.environ)

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings, env_settings, InitSettingsSource(settings_cls, from_file))

    try:
        settings = Layered(**given)
    except ValidationError as error:
        raise ConfigError(_explain(error, given, from_file, config)) from None
    _ = settings.confidence_config, settings.follow_config
    return settings


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a settings file.

    Raises:
        ConfigError: it is missing, no YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"the config file {path} is not YAML: {reason}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"the config file {path} holds a {type(values).__name__}: expected lines of key: value"
        )
    return {str(key): value for key, value in values.items()}


def _whole(values: Mapping[str, float], names: set[str]) -> dict[str, float]:
    """Turn whole numbers of these names into int: they count frames."""
    return {
        name: int(value) if name in names and float(value).is_integer() else value
        for name, value in values.items()
    }


def _check_names(values: Mapping[str, Any], where: str, prefix: str) -> None:
    for key in values:
        if key in Settings.model_fields:
            continue
        near = difflib.get_close_matches(key, Settings.model_fields, n=1)
        known = ", ".join(Settings.model_fields)
        hint = f"did you mean {prefix + near[0]!r}?" if near else f"known: {known}"
        raise ConfigError(f"unknown setting {prefix + key!r} in {where}; {hint}")


def _check_environment(environment: Mapping[str, str]) -> None:
    """Catch a misspelt variable; names that resemble no setting belong to something else."""
    for name in environment:
        key = name[len(ENV_PREFIX) :].lower()
        if not name.startswith(ENV_PREFIX) or key in Settings.model_fields:
            continue
        near = difflib.get_close_matches(key, Settings.model_fields, n=1, cutoff=0.8)
        if near:
            wanted = ENV_PREFIX + near[0].upper()
            raise ConfigError(f"unknown variable {name}; did you mean {wanted}?")


def _explain(
    error: ValidationError,
    flags: Mapping[str, Any],
    from_file: Mapping[str, Any],
    path: Path | None,
) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else "settings"
    if key in flags:
        where = f"--{key.replace('_', '-')}"
    elif ENV_PREFIX + key.upper() in os.environ:
        where = ENV_PREFIX + key.upper()
    elif key in from_file:
        where = f"{key} in {path}"
    else:
        where = key
    shown = "" if key == "token" else f" is {first.get('input')!r}"
    return f"{where}{shown}: {first['msg']}"
