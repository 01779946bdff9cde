"""A model server that is up in a moment: the same command line and URLs as `python -m serving`, an answer that says who gave it.

`{"instances": [{"sleep": 0.5}]}` takes that long. A model folder that holds a file `broken` ends it with that file's text.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import uvicorn

from serving import instance

COMMAND = ("python", "-m", "tests.serving.stand_in")


def allow() -> None:
    """Let manifests start it in this process' homes: they may start nothing but the model server."""
    from serving import manifests, registered

    registered.PROGRAMS = (manifests.PROGRAM, COMMAND)


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("model_name", "model_dir", "digest", "version", "body_limit", "sequence", "purpose", "signature"):
        parser.add_argument(f"--{flag}")
    parser.add_argument("--trusted_keys", action="append")
    for flag in ("http_port", "grpc_port"):
        parser.add_argument(f"--{flag}", type=int)
    options, _ = parser.parse_known_args()  # limits are not its business
    broken = Path(options.model_dir) / "broken"
    if broken.exists():
        sys.exit(broken.read_text())
    paths = {
        f"/v1/models/{options.model_name}:predict",
        f"/v2/models/{options.model_name}/infer",
        f"/v2/models/{options.model_name}/ready",
    }

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive()).get("type") == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        asked = json.loads(body or b"{}")
        for row in asked.get("instances", []):
            await asyncio.sleep(row.get("sleep", 0))
        answer = json.dumps({"version": options.version, "pid": os.getpid(), "asked": asked}).encode()
        if scope["path"].startswith(instance.PATH):
            paths.add(scope["path"])
            answer = instance.proof(os.environ[instance.SETTING], options.http_port, scope["path"].removeprefix(instance.PATH))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200 if scope["path"] in paths else 404, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    listening = uvicorn.Config(app, port=options.http_port, log_level="warning", lifespan="off", http="httptools", ws="none")
    uvicorn.Server(listening).run()


if __name__ == "__main__":
    main()
