"""A client of scim2-client that can read what Atlassian's API sends; it and its models cannot by themselves."""

import os
import re

import httpx2
import scim2_client.client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import get_model_by_schema
from scim2_models.path import AttrPath, expressions
from scim2_models.path import path as paths

# The extension that every User carries (contract sections 5 and 7).
EXTENSION = "urn:scim:schemas:extension:atlassian-external:1.0"


def in_any_order():
    """Finds the model of an answer by any of its schemas, not by the first alone.

    A published sample has Atlassian's extension before the core schema (contract section 7); the order "MUST NOT
    impact behavior" (RFC 7643 section 3).
    """

    def model(models, payload, **options):
        found = (get_model_by_schema(models, schema, **options) for schema in (payload or {}).get("schemas", []))
        return next(filter(None, found), None)

    scim2_client.client.get_model_by_payload = model


def with_extension():
    """Lets the extension's URN stand for the extension, as any other's.

    The suite reads it as an attribute's path, and takes no name that begins with a digit, such as its last part.
    """
    otherwise = paths._parse_path

    def parse(text):
        if text != EXTENSION:
            return otherwise(text)
        return AttrPath(attr=name, uri=uri)

    uri, _, name = EXTENSION.rpartition(":")
    paths._parse_path = parse
    expressions._ATTR_NAME_RE = re.compile(f"{expressions._ATTR_NAME}|{re.escape(name)}")


def client(base):
    """A client of the server at this URL, with the key in SCIM_KEY."""
    in_any_order()
    with_extension()
    headers = {"Authorization": f"Bearer {os.environ['SCIM_KEY']}"}
    return SyncSCIMClient(httpx2.Client(base_url=base, headers=headers, trust_env=False))
