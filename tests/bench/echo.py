"""The least a Python server does: uvicorn and Starlette, set as the gateway sets them, say a POST's body back."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/echo"


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(
        Starlette(routes=[Route(PATH, echo, methods=["POST"])]), port=int(sys.argv[1]), http="httptools", ws="none",
        lifespan="off", log_config=None, access_log=False, proxy_headers=False,
    )  # fmt: skip
