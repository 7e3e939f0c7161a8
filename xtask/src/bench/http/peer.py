"""aiohttp: so many requests, so many at once, the answers into NDJSON."""

import asyncio
import json
import sys

import aiohttp


async def worker(session, address, numbers, file):
    for number in numbers:
        async with session.get(f"http://{address}/items/{number}") as response:
            response.raise_for_status()
            file.write(json.dumps(await response.json()))
            file.write("\n")


async def main(address, requests, at_once, path):
    numbers = iter(range(1, requests + 1))
    connector = aiohttp.TCPConnector(limit=at_once)
    with open(path, "w", buffering=1 << 20) as file:
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(worker(session, address, numbers, file) for _ in range(at_once)))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
