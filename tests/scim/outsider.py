"""Drives a SCIM server with scim2-client, a client that was not made for it: the life of one user.

usage: outsider.py BASE_URL VERIFIED_DOMAIN, the key in SCIM_KEY

What the client makes of the answers is checked here; what they left behind, by who calls.
"""

import sys

from adapted import EXTENSION, client
from scim2_client import SCIMClientException
from scim2_models import PatchOp, PatchOperation, SCIMException, SearchRequest


def main(base, domain):
    scim = client(base)
    scim.discover()
    User = scim.get_resource_model("User")
    email = f"outsider@{domain}"

    made = scim.create(User(user_name=email, external_id="key-1", display_name="Out Sider",
                            emails=[{"value": email, "type": "work", "primary": True}], active=True))
    assert made.id and made.meta.location.endswith(f"/Users/{made.id}"), made
    assert made.model_dump()[EXTENSION]["atlassianAccountId"], made

    for text in (f'userName eq "{email.upper()}"', 'externalId eq "key-1"'):
        found = scim.query(User, query_parameters=SearchRequest(filter=text))
        assert [user.id for user in found.resources] == [made.id], (text, found)
    nobody = scim.query(User, query_parameters=SearchRequest(filter='userName eq "nobody"'))
    assert nobody.total_results == 0, nobody

    # All that is not said is cleared.
    replaced = scim.replace(User(id=made.id, user_name=email, title="Boss", emails=made.emails, active=True))
    assert (replaced.title, replaced.display_name, replaced.external_id) == ("Boss", None, None), replaced

    off = PatchOp[User](operations=[PatchOperation(op="replace", path="active", value=False)])
    modified = scim.modify(User, made.id, off)
    assert modified.active is False and modified.title == "Boss", modified

    scim.delete(User, made.id)
    try:
        gone = scim.query(User, made.id)
    except (SCIMClientException, SCIMException) as error:
        print("after the deletion:", error)
    else:
        raise AssertionError(gone)


if __name__ == "__main__":
    main(*sys.argv[1:])
