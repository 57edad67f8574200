"""The HTTP API: a thin face on ``services``, on Starlette and uvicorn. Only ``serve`` loads it."""
