"""The settings of playbooks: what their actions may reach. An action whose system isn't named is not there."""

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, FilePath, SecretStr

from app.section import Name, Section

Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"), AfterValidator(lambda url: url.rstrip("/"))]


def readable(path: Path) -> Path:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as wrong:
        raise ValueError("must be a PEM file of certificates") from wrong
    return path


Authority = Annotated[FilePath, AfterValidator(readable)]


class LiteLLM(Section):
    url: Url | None = Field(None, description="The proxy's base address; none = no litellm_… actions.")
    api_key: SecretStr | None = Field(None, description="A key that may administer the proxy.")
    new_keys_directory: Path | None = Field(
        None, description="Where litellm_new_key writes secrets, each a file only we can read; none = no such action."
    )


class Langfuse(Section):
    url: Url | None = Field(None, description="Its base address; none = no langfuse_… actions.")
    public_key: str | None = Field(None, description="The project's public key.")
    secret_key: SecretStr | None = Field(None, description="The project's secret key.")


class Kubernetes(Section):
    url: Url | None = Field(None, description="The API server; none = no actions on deployments.")
    token: SecretStr | None = Field(None, description="A service account's token.")
    token_path: FilePath | None = Field(None, description="A file with the token, read anew for each step.")
    ca_path: Authority | None = Field(None, description="PEM file of the CA to trust; none = the system's.")
    namespace: Name = Field("default", description="Where a step names none.")


class GitHub(Section):
    url: Url = Field("https://api.github.com", description="GitHub's API, or an Enterprise server's.")
    token: SecretStr | None = Field(None, description="May write issues; none = no github_issue action.")
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = Field(
        None, description="Where a step names none."
    )


class Jira(Section):
    url: Url | None = Field(None, description="The site; none = no jira_issue action.")
    email: str | None = Field(None, description="The account of the API token.")
    api_token: SecretStr | None = Field(None, description="Basic authentication, with the account.")
    project: Name | None = Field(None, description="The project's key where a step names none.")


def _whole_path(argv: tuple[str, ...]) -> tuple[str, ...]:
    if not argv[0].startswith("/"):
        raise ValueError("must begin with a program's whole path, like /usr/local/bin/drain")
    return argv


class Script(Section):
    argv: Annotated[tuple[str, ...], Field(min_length=1, max_length=50), AfterValidator(_whole_path)] = Field(
        description="The program, by its whole path, and its first arguments; a step's own come after them."
    )
    timeout_secs: Annotated[float, Field(gt=0, le=3600)] = Field(60, description="After that it is killed.")
    memory_mb: Annotated[int, Field(ge=16, le=65_536)] = Field(512, description="Address space it may use.")
    cpu_secs: Annotated[int, Field(ge=1, le=3600)] = Field(60, description="Processor time it may use.")
    folder: Path = Field(Path("/"), description="Where it runs.")
    environment: dict[str, str] = Field(
        {}, description="All there is of it, beside PATH, IDEMPOTENCY_KEY and INCIDENT_ID."
    )


class Playbooks(Section):
    enabled: bool = Field(True, description="Off: no playbook begins by itself or on demand.")
    litellm: LiteLLM = Field(LiteLLM(), description="LiteLLM's proxy.")
    langfuse: Langfuse = Field(Langfuse(), description="Langfuse.")
    kubernetes: Kubernetes = Field(Kubernetes(), description="Kubernetes.")
    github: GitHub = Field(GitHub(), description="GitHub issues.")
    jira: Jira = Field(Jira(), description="Jira issues.")
    scripts: dict[Name, Script] = Field({}, description="Name → program that run_script may start.")
