"""ldap3_json.py STATE URL CA BIND_DN PASSWORD BASE FILTER ATTRIBUTE...: what teams write by hand.

Reads everybody with the `ldap3` package in pages of 1000, compares each person with what a JSON file says of the last
time, and tells how many are new, changed and gone; with `--write` first, the file is written anew. It is ours, made for
the measurement, on that package's documented way to read in pages (`paged_search` as a generator).
"""
import json
import os
import ssl
import sys

from ldap3 import AUTO_BIND_TLS_BEFORE_BIND, SUBTREE, Connection, Server, Tls


def main():
    arguments = sys.argv[1:]
    is_write = arguments[0] == "--write"
    state, url, ca, bind_dn, password, base, search, *attributes = arguments[is_write:]
    tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=ca)
    connection = Connection(Server(url, tls=tls), bind_dn, password, auto_bind=AUTO_BIND_TLS_BEFORE_BIND)
    known = json.load(open(state)) if os.path.exists(state) else {}
    entries = connection.extend.standard.paged_search(
        base, search, SUBTREE, attributes=attributes, paged_size=1000, generator=True
    )
    found = {}
    new = changed = 0
    for entry in entries:
        values = entry["attributes"]
        person = {
            "userName": (values["mail"] or [""])[0].lower(),
            "displayName": values["displayName"],
            "givenName": values["givenName"],
            "familyName": values["sn"],
            "title": values["title"],
            "department": values["departmentNumber"],
            "preferredLanguage": values["preferredLanguage"],
            "active": values["employeeType"] != ["leaver"],
        }
        key = values["entryUUID"]
        before = known.get(key)
        new += before is None
        changed += before is not None and before != person
        found[key] = person
    gone = sum(key not in found for key in known)
    if is_write:
        with open(state, "w") as file:
            json.dump(found, file)
    print(f"{len(found)} people: {new} new, {changed} changed, {gone} gone")


main()
