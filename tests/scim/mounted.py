"""mounted.py PREFIX [options of scim2-server]: scim2-server at the path that the contract has for SCIM, such as
/scim/directory/dir-1; 404 outside it. For scim2-server 0.8.3."""

import sys

import scim2_server.testserver.cli as cli

prefix = sys.argv.pop(1).rstrip("/")
make_server = cli.make_server


def mounted(app):
    def inner(environ, start_response):
        path = environ.get("PATH_INFO", "")
        if not path.startswith(prefix + "/"):
            start_response("404 Not Found", [("Content-Type", "application/json")])
            return [b"{}"]
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + prefix
        environ["PATH_INFO"] = path[len(prefix) :]
        return app(environ, start_response)

    return inner


cli.make_server = lambda host, port, app, *rest, **options: make_server(host, port, mounted(app), *rest, **options)
cli.main()
