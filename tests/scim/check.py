"""Runs scim2-tester against a SCIM server and compares what fails with what is expected to.

usage: check.py BASE_URL VERIFIED_DOMAIN, the key in SCIM_KEY

Exit status 1 when a check fails that is not expected to, when one that is expected to fail does not, or when too few
checks were made for the result to mean anything.
"""

import os
import re
import sys
import uuid
from collections import Counter

import httpx2
import scim2_client.client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import get_model_by_schema
from scim2_models.path import AttrPath, expressions
from scim2_models.path import path as paths
from scim2_tester import Status, check_server, filling

# The extension that every User carries (contract sections 5 and 7).
EXTENSION = "urn:scim:schemas:extension:atlassian-external:1.0"

# Resource type and title of a check, and what the reason must contain: where the contract departs from the RFCs.
# Contract: the description of the admin API that the simulator is written from, cited by section.
EXPECTED = {}

# The suite makes so many checks of this server; far fewer mean that its discovery stopped early.
FEWEST = 60

FAILED = (Status.ERROR, Status.CRITICAL, Status.DEVIATION)


def on_domain(domain):
    """Makes the generated e-mail addresses lie on a verified domain (contract section 7, "POST User").

    The suite asks for an example value of each attribute before it invents one; here is one for addresses.
    """
    otherwise = filling.get_random_example_value

    def example(path):
        binding = path.resolve()
        model = getattr(binding, "target_model", None)
        address = str(path).endswith("emails.value") or (
            model is not None
            and binding.target_field_name == "value"
            and "email" in model.__name__.lower()
        )
        return f"{uuid.uuid4()}@{domain}" if address else otherwise(path)

    filling.get_random_example_value = example


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


def main(base, domain):
    on_domain(domain)
    in_any_order()
    with_extension()
    key = os.environ["SCIM_KEY"]
    http = httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    results = check_server(SyncSCIMClient(http))
    failed = {}
    for result in results:
        if result.status in FAILED:
            failed.setdefault((result.resource_type, result.title), []).append(result.reason or "")
    wrong = []
    for check, reasons in failed.items():
        for reason in reasons:
            if check not in EXPECTED or EXPECTED[check] not in reason:
                wrong.append(f"unexpected: {check}: {reason}")
    wrong += [f"expected to fail, but did not: {check}" for check in EXPECTED if check not in failed]
    made = sum(result.status is not Status.SKIPPED for result in results)
    if made < FEWEST:
        wrong.append(f"only {made} checks were made, at least {FEWEST} were expected")
    print(dict(Counter(result.status.name for result in results)))
    print(f"{sum(map(len, failed.values()))} expected deviations in {len(EXPECTED)} checks") if not wrong else None
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
