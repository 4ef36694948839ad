"""The settings of LLM Sentinel, Shield, Edge-Agent and Governance: where they are, and how we are known there."""

from typing import Annotated, Literal

from pydantic import Field, FilePath, SecretStr, model_validator

from app.section import Count, Name, Seconds, Section, WebUrl


class OAuth2(Section):
    """The grant of client credentials (RFC 6749 §4.4)."""

    token_url: WebUrl = Field(description="Where tokens are given.")
    client_id: Name = Field(description="Our name there.")
    client_secret: SecretStr = Field(description="Our secret there.")
    scopes: tuple[Name, ...] = Field((), description="What is asked for.")
    tls_ca: FilePath | None = Field(None, description="PEM file of the CA to trust there; none = the system's.")


class Integration(Section):
    """One of the four. It is asked while it has an `endpoint` and is `enabled`."""

    enabled: bool = Field(True, description="Off: it is never asked.")
    endpoint: WebUrl | None = Field(None, description="Its base address, http(s) for gRPC too; none = it isn't asked.")
    dialect: Literal["seed", "real"] = Field(
        "real", description="real = as the project publishes its API; seed = as the first version asked it."
    )
    auth: Literal["bearer", "api_key", "basic", "oauth2"] = Field("bearer", description="How we say who we are.")
    auth_token_env: Name | None = Field(None, description="The environment variable that holds the token.")
    token: SecretStr | None = Field(None, description="The token or API key itself; X-API-Key with api_key.")
    username: str | None = Field(None, description="Basic authentication, with the password.")
    password: SecretStr | None = Field(None, description="Basic authentication.")
    oauth2: OAuth2 | None = Field(None, description="Client credentials, with oauth2.")
    tls_cert: FilePath | None = Field(None, description="PEM file of our certificate (mTLS).")
    tls_key: FilePath | None = Field(None, description="PEM file of that certificate's key.")
    tls_ca: FilePath | None = Field(None, description="PEM file of the CA to trust; none = the system's.")
    timeout_secs: Annotated[float, Field(gt=0, le=300)] = Field(10, description="For one question, all tries together.")
    attempts: Annotated[int, Field(ge=1, le=10)] = Field(3, description="Tries of what may pass.")
    backoff_secs: Annotated[float, Field(gt=0, le=60)] = Field(
        0.1, description="The second try comes at random within it, the third within twice that, and so on."
    )
    backoff_max_secs: Annotated[float, Field(gt=0, le=300)] = Field(30, description="The longest such wait.")
    rate_per_sec: Annotated[float, Field(gt=0, le=10_000)] = Field(20, description="Requests a second, of one process.")

    @property
    def asked(self) -> bool:
        return self.enabled and self.endpoint is not None

    @model_validator(mode="after")
    def _whole(self) -> "Integration":
        if self.auth_token_env is not None and self.token is None:
            raise ValueError(f"auth_token_env: the environment has no variable {self.auth_token_env}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key need each other")
        if (self.tls_cert or self.tls_ca) and self.endpoint is not None and self.endpoint.startswith("http:"):
            raise ValueError("tls_cert and tls_ca mean nothing with http: the endpoint must begin with https://")
        if self.auth == "oauth2" and self.oauth2 is None:
            raise ValueError("auth is oauth2, but there is no oauth2.token_url")
        if self.auth == "basic" and (self.username is None or self.password is None):
            raise ValueError("auth is basic: username and password need each other")
        return self


class Shield(Integration):
    caller_id: Name = Field("llm-incident-manager", description="Our name in signed calls to Shield's gateway.")
    gateway_secret: SecretStr | None = Field(
        None, description="The gateway's GATEWAY_SHARED_SECRET, that calls are signed with; none = unsigned."
    )


class EdgeAgent(Integration):
    agent_id: Name = Field("llm-incident-manager", description="The agent whose state is asked for.")
    queue_max: Count = Field(1000, description="Requests that wait for an agent that is away; one more is refused.")
    drain_every_secs: Seconds = Field(5, description="How often waiting requests are tried again.")


class Governance(Integration):
    frameworks: tuple[Literal["GDPR", "HIPAA", "SOC2", "PCI", "ISO27001"], ...] = Field(
        ("GDPR", "HIPAA", "SOC2", "PCI", "ISO27001"), description="What incidents are checked against."
    )
    enrich: bool = Field(False, description="Check incidents of privacy and compliance as they open.")


class Integrations(Section):
    llm_sentinel: Integration = Field(Integration(), description="LLM Sentinel, which finds anomalies.")
    llm_shield: Shield = Field(Shield(), description="LLM Shield, which judges threats.")
    llm_edge_agent: EdgeAgent = Field(EdgeAgent(), description="LLM Edge-Agent, which infers where the data is.")
    llm_governance_core: Governance = Field(Governance(), description="LLM Governance, which knows policies.")
