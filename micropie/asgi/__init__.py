"""The ASGI driver: scopes in, the flow driven on anyio (asyncio or trio), messages out."""
