"""Bodies of requests, within limits of size and time."""

import anyio
from fastapi import HTTPException, Request

_BODY_SECONDS = 15.0


async def read_body(request: Request, limit: int) -> bytes:
    """Read a body.

    Args:
        request: whose.
        limit: bytes that it may have.

    Raises:
        HTTPException: 413 if it has more, 408 if it does not come in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise HTTPException(413, f"more than {limit} bytes")
    body = bytearray()
    try:
        with anyio.fail_after(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise HTTPException(413, f"more than {limit} bytes")
    except TimeoutError:
        raise HTTPException(408, "the body did not come in time") from None
    return bytes(body)
