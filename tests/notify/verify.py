"""Checks a signature as Standard Webhooks says it is to be checked, with Python's own hmac.
usage: verify.py SECRET ID TIMESTAMP SIGNATURES <BODY
"""

import base64
import hashlib
import hmac
import sys
import time

secret, identifier, timestamp, signatures = sys.argv[1:]
body = sys.stdin.buffer.read()
key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
signed = identifier.encode() + b"." + timestamp.encode() + b"." + body
expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
versions = [signature.split(",", 1) for signature in signatures.split(" ")]
if not any(version == "v1" and hmac.compare_digest(given, expected) for version, given in versions):
    sys.exit("the signature is another one")
if abs(time.time() - int(timestamp)) > 300:
    sys.exit("the timestamp is old or of a time to come")
