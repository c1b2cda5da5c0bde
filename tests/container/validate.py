"""Checks deploy/'s manifests strictly by the schemas of Kubernetes, and compose.yaml by the Compose specification; prints
each document that is there as a line of JSON: {"file": …, "document": …}."""

import json
import sys
from pathlib import Path

import kubernetes_validate
import yaml
# The module that is compiled, which reads the whole file; the other one only takes parts of it.
from compose_spec.compose_spec import PyCompose

# The oldest Kubernetes that is still cared for by its makers, and the newest whose schemas are known.
VERSIONS = ["1.31", kubernetes_validate.latest_version()]

deploy = Path(sys.argv[1])


def show(path, document):
    print(json.dumps({"file": path.name, "document": document}))


for path in sorted((deploy / "kubernetes").glob("*.yaml")):
    for document in yaml.safe_load_all(path.read_text()):
        # What is no resource of Kubernetes but of its tools has no schema there.
        if document["kind"] != "Kustomization":
            for version in VERSIONS:
                kubernetes_validate.validate(document, version, strict=True)
        show(path, document)

path = deploy / "container/compose.yaml"
document = yaml.safe_load(path.read_text())
# Merged keys (<<) are of YAML and not of the specification.
PyCompose.from_yaml(yaml.safe_dump(document))
show(path, document)
