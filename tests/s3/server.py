"""Runs moto's server on a free port of loopback until standard input ends."""

import os
import sys

from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

list_parts = S3Response.list_parts


def list_parts_as_named_by_amazon(self):
    """moto calls the root element ListPartsResponse; Amazon and its SDKs, ListPartsResult."""
    status, headers, body = list_parts(self)
    return status, headers, body.replace("ListPartsResponse", "ListPartsResult")


S3Response.list_parts = list_parts_as_named_by_amazon

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
