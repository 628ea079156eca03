"""The real Litestar, doing one thing at a time for the tests beside this file.

Reads one JSON object a line, and answers with one. `store` is `{"file": PATH}` or
`{"redis": URL, "namespace": NAME}`; values are text.
"""

import asyncio
import json
import logging
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, delete, get, post
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.file import FileStore
from litestar.stores.redis import RedisStore
from litestar.testing import AsyncTestClient

MAX_AGE = 3600
logging.disable()


@asynccontextmanager
async def opened(spec: dict[str, str]):
    if "file" in spec:
        yield FileStore(Path(spec["file"]), create_directories=True)
        return
    store = RedisStore.with_client(spec["redis"], namespace=spec["namespace"])
    try:
        yield store
    finally:
        await store._redis.aclose()


@post("/login/{user:str}")
async def login(request: Request, user: str) -> None:
    request.set_session({"user": user})


@get("/user")
async def user(request: Request) -> dict[str, Any]:
    return {"user": request.session.get("user")}


@delete("/login")
async def logout(request: Request) -> None:
    request.clear_session()


async def visit(store: Any, method: str, path: str, session: str | None) -> tuple[Any, str | None]:
    """One request to an application whose sessions are in `store`."""
    sessions = ServerSideSessionConfig(max_age=MAX_AGE, renew_on_access=True)
    app = Litestar([login, user, logout], middleware=[sessions.middleware], stores={"sessions": store})
    async with AsyncTestClient(app) as client:
        if session:
            client.cookies.set("session", session)
        answer = await client.request(method, path)
        answer.raise_for_status()
        return answer, answer.cookies.get("session")


async def perform(command: dict[str, Any]) -> Any:
    async with opened(command["store"]) as store:
        match command["do"]:
            case "login":
                _, session = await visit(store, "POST", f"/login/{command['user']}", None)
                return session
            case "user":
                answer, _ = await visit(store, "GET", "/user", command["session"])
                return answer.json()["user"]
            case "logout":
                await visit(store, "DELETE", "/login", command["session"])
                return None
            case "set":
                return await store.set(command["key"], command["value"], command.get("expires_in"))
            case "get":
                value = await store.get(command["key"], command.get("renew_for"))
                return value if value is None else value.decode()
            case "delete":
                return await store.delete(command["key"])
            case "expires_in":
                return await store.expires_in(command["key"])
            case "delete_all":
                return await store.delete_all()
            case "delete_expired":
                return await store.delete_expired()
            case other:
                raise ValueError(f"unknown command {other!r}")


async def main() -> None:
    for line in sys.stdin:
        try:
            answer = {"ok": await perform(json.loads(line))}
        except Exception as error:  # the test decides what an error means
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
