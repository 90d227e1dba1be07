"""What the document can say only in words: how parts of a sound request go together."""

import gzip
import json

import requests
import schemathesis
import zstandard

PACK = {"gzip": gzip.compress, "zstd": zstandard.compress}


@schemathesis.serializer("application/x-ndjson")
def lines(_context, value):
    """An object a line."""
    if isinstance(value, (bytes, str)):
        return value
    items = value if isinstance(value, list) else [value]
    return "".join(json.dumps(item) + "\n" for item in items).encode()


@schemathesis.hook
def before_call(_context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    headers = case.headers
    if "ponte-producer" in headers or "ponte-first-sequence" in headers:
        # Both or none, for a list, and without a key.
        for name in ("ponte-producer", "ponte-first-sequence", "Idempotency-Key"):
            if not isinstance(case.body, list) or name == "Idempotency-Key":
                headers.pop(name, None)
        if isinstance(case.body, list):
            headers.setdefault("ponte-producer", "0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10")
            headers.setdefault("ponte-first-sequence", "1")
    if case.method == "PUT" and isinstance(case.body, dict):
        # Nothing is confirmed that was not received.
        case.body["recebidas"] = max(case.body["recebidas"], case.body["confirmadas"])
    for name, value in (case.query or {}).items():
        # requests writes a space as a plus, which is a plus sign here.
        if isinstance(value, str):
            case.query[name] = value.replace(" ", "_")
    pack = PACK.get(headers.get("Content-Encoding"))
    if pack is not None:
        sent = case.as_transport_kwargs()
        parts = {name: sent[name] for name in ("data", "json", "headers") if name in sent}
        body = requests.Request("POST", "http://localhost", **parts).prepare().body or b""
        kwargs["data"] = pack(body.encode() if isinstance(body, str) else body)
