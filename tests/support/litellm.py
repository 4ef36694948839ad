"""A LiteLLM proxy on loopback, as litellm 1.109.1 behaves where actions touch it."""

import hashlib
import json
from typing import Any
from urllib.parse import unquote

from tests.support.receivers import Request
from tests.support.vendor import Answered, Vendor

MASTER = "sk-master"
LISTS = {
    "general": "fallbacks",
    "context_window": "context_window_fallbacks",
    "content_policy": "content_policy_fallbacks",
}
IN_METADATA = ("temp_budget_increase", "temp_budget_expiry")


class FakeLiteLLM(Vendor):
    """`stored`: there is a database for models and settings. `owned`: router settings that stand in its file."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.models = ["gpt-5.1", "claude-sonnet-4-5", "llama", "azure/gpt-5.1"]
        self.settings: dict[str, Any] = {"fallbacks": [], "model_group_alias": {}, "num_retries": 2}
        self.deployments = {"d1": {"id": "d1", "db_model": True}, "file": {"id": "file", "db_model": False}}
        self.guardrails: dict[str, dict[str, Any]] = {
            "g1": {"litellm_params": {"guardrail": "presidio", "default_on": False}, "location": "db"},
            "g2": {"litellm_params": {"guardrail": "bedrock"}, "location": "config"},
        }
        self.keys: dict[str, dict[str, Any]] = {}
        self.deleted: dict[str, dict[str, Any]] = {}
        self.stored = True
        self.custom_keys = True
        self.owned: set[str] = set()

    def issues(self, alias: str, **more: Any) -> str:
        """A key; its hash."""
        return self._keep(f"sk-{alias}", {"key_alias": alias, **more})

    def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
        if request.headers.get("authorization") != f"Bearer {MASTER}":
            return error(401, "Authentication Error, Invalid proxy server token passed.")
        body = json.loads(request.body or "{}")
        match request.method, path.split("/")[1:]:
            case "GET", ["models"]:
                return 200, {"data": [{"id": model, "object": "model"} for model in self.models]}
            case "GET", ["router", "settings"]:
                return 200, {"fields": [], "current_values": self.settings}
            case "POST", ["config", "update"]:
                return self._configures(body)
            case method, ["fallback", *name]:
                return self._falls_back(method, name, query, body)
            case method, ["model", verb]:
                return self._model(verb, query, body)
            case method, ["guardrails", id_, *_]:
                return self._guardrail(method, unquote(id_), body)
            case method, ["key", verb]:
                return self._key(verb, query, body)
        return 404, {"detail": "Not Found"}

    def _configures(self, body: dict[str, Any]) -> Answered:
        said = {name: value for name, value in body["router_settings"].items() if value is not None}
        if taken := self.owned & said.keys():
            return detail(400, f"router_settings key '{taken.pop()}' is set in the config file")
        self.settings |= said
        return 200, {"message": "Config updated successfully"}

    def _falls_back(self, method: str, name: list[str], query: dict[str, str], body: dict[str, Any]) -> Answered:
        if not self.stored:
            return detail(400, "Database storage not enabled. Set 'STORE_MODEL_IN_DB=True'")
        rules = self.settings.setdefault(LISTS[body.get("fallback_type") or query["fallback_type"]], [])
        if method == "POST":
            model, to = body["model"], body["fallback_models"]
            if model not in self.models:
                return detail(404, f"Model '{model}' not found in router")
            if wrong := [one for one in to if one not in self.models]:
                return detail(400, f"Invalid fallback models: {wrong}")
            rules[:] = [rule for rule in rules if model not in rule] + [{model: to}]
            return 200, {"model": model, "fallback_models": to}
        model = unquote("/".join(name))
        if "/" in model:
            return 404, {"detail": "Not Found"}
        if not any(model in rule for rule in rules):
            return detail(404, f"No fallbacks configured for model '{model}'")
        rules[:] = [rule for rule in rules if model not in rule]
        return 200, {"message": "Fallback configuration deleted successfully"}

    def _model(self, verb: str, query: dict[str, str], body: dict[str, Any]) -> Answered:
        if verb == "info":
            found = self.deployments.get(query["litellm_model_id"])
            return (200, {"data": [{"model_name": "gpt-5.1", "model_info": found}]}) if found else error(400, "unknown")
        found = self.deployments.get(body["model_id"])
        if found is None:
            return error(404, f"Model {body['model_id']} not found on proxy.")
        if not found["db_model"]:
            return error(400, "Cannot edit config-based model. Store model in DB via /model/new first.")
        found["blocked"] = verb == "block"
        return 200, found

    def _guardrail(self, method: str, id_: str, body: dict[str, Any]) -> Answered:
        found = self.guardrails.get(id_)
        if found is None or (method == "PATCH" and found["location"] == "config"):
            return 404, {"detail": f"Guardrail with ID {id_} not found"}
        if method == "PATCH":
            found["litellm_params"] |= body.get("litellm_params", {})  # what stands elsewhere is dropped
        said = {"guardrail_id": id_, "litellm_params": found["litellm_params"]}
        return 200, {**said, "guardrail_definition_location": found["location"]}

    def _key(self, verb: str, query: dict[str, str], body: dict[str, Any]) -> Answered:
        if verb == "list":
            found = [key for key in self.keys.values() if key.get("key_alias") == query["key_alias"]]
            return 200, {"keys": [key["token"] for key in found], "total_count": len(found)}
        if verb == "generate":
            return self._generates(body)
        if verb == "delete":
            for token in body["keys"]:
                self.deleted[token] = self.keys.pop(token)
            return 200, {"deleted_keys": body["keys"]}
        token = query.get("key") or body["key"]
        if verb == "info" and token in self.deleted:
            return 200, {"key": token, "info": {**self.deleted[token], "status": "deleted"}}
        if token not in self.keys:
            return error(404, "Key not found in database")
        found_key = self.keys[token]
        if verb == "info":
            return 200, {"key": token, "info": {name: said for name, said in found_key.items() if name != "token"}}
        if verb == "update":
            found_key |= {name: said for name, said in body.items() if name not in ("key", *IN_METADATA)}
            kept = {name: body[name] for name in IN_METADATA if body.get(name) is not None}
            found_key["metadata"] = {**found_key.get("metadata", {}), **kept}
        else:
            found_key["blocked"] = verb == "block"
        return 200, found_key

    def _generates(self, body: dict[str, Any]) -> Answered:
        if not self.custom_keys:
            return detail(403, f"Custom API key values are disabled by your administrator: {body['key']}")
        if any(key.get("key_alias") == body["key_alias"] for key in self.keys.values()):
            return error(400, f"Key with alias '{body['key_alias']}' already exists.")
        token = self._keep(body["key"], {name: said for name, said in body.items() if name != "key"})
        return 200, {"key": body["key"], "token": token, "key_alias": body["key_alias"]}

    def _keep(self, secret: str, said: dict[str, Any]) -> str:
        token = hashlib.sha256(secret.encode()).hexdigest()
        self.keys[token] = {"token": token, "blocked": None, "metadata": {}, **said}
        return token


def error(code: int, message: str) -> Answered:
    """ProxyException's shape."""
    return code, {"error": {"message": message, "type": "bad_request_error", "param": "None", "code": str(code)}}


def detail(code: int, message: str) -> Answered:
    """HTTPException's shape."""
    return code, {"detail": {"error": message}}
