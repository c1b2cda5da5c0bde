#!/usr/bin/env python3
"""people.py COUNT: an LDIF of so many people, the same ones each time, below ou=people,dc=example,dc=org.

One in ten has a name outside ASCII, one in 40 is a leaver (employeeType), all have a mail address.
"""
import base64
import sys
import uuid

BASE = "dc=example,dc=org"
UNITS = ["Engineering", "Sales", "Finance", "Legal"]
GIVEN = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Ken"]
FAMILY = ["Lovelace", "Hopper", "Dijkstra", "Liskov", "Knuth", "O'Neill"]
FAR_GIVEN = ["Zoë", "Søren", "Łukasz", "José", "Jürgen", "Ελένη", "Мария", "静香"]
FAR_FAMILY = ["Müller", "Nuñez", "Åström", "Šimić", "Παπαδόπουλος", "Иванова", "佐藤"]


def line(name, value):
    if value.isascii():
        return f"{name}: {value}\n"
    return f"{name}:: {base64.b64encode(value.encode()).decode()}\n"


def main():
    out = sys.stdout
    out.write(f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n")
    for unit, below in [("people", ""), ("services", "")] + [(unit, "ou=people,") for unit in UNITS]:
        out.write(f"dn: ou={unit},{below}{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n\n")
    out.write(
        f"dn: cn=sync,ou=services,{BASE}\nobjectClass: organizationalRole\n"
        "objectClass: simpleSecurityObject\ncn: sync\nuserPassword: sync-secret\n\n"
    )
    for n in range(int(sys.argv[1])):
        uid = f"u{n:07}"
        far = n % 10 == 3
        given = (FAR_GIVEN if far else GIVEN)[n // 10 % 7]
        family = (FAR_FAMILY if far else FAMILY)[n // 7 % 6]
        unit = UNITS[n % 4]
        out.write(
            line("dn", f"uid={uid},ou={unit},ou=people,{BASE}")
            + line("objectClass", "inetOrgPerson")
            + line("entryUUID", str(uuid.uuid5(uuid.NAMESPACE_DNS, uid)))
            + line("uid", uid)
            + line("cn", f"{given} {family}")
            + line("sn", family)
            + line("givenName", given)
            + line("displayName", f"{given} {family}")
            + line("mail", f"{uid}@example.org")
            + line("title", ["Engineer", "Analyst", "Manager"][n % 3])
            + line("departmentNumber", unit)
            + line("employeeNumber", str(100000 + n))
            + line("employeeType", "leaver" if n % 40 == 11 else "staff")
            + line("telephoneNumber", f"+49 30 {n:07}")
            + line("preferredLanguage", "de" if n % 2 else "en")
            + "\n"
        )


main()
