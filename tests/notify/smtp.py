"""A mail server on loopback that takes mail by TLS and after a login only, and writes each letter as a line of JSON.
usage: MAIL_USER=… MAIL_PASSWORD=… smtp.py FOLDER starttls|tls
"""

import email
import email.policy
import json
import os
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

folder, security = sys.argv[1:]
user = os.environ["MAIL_USER"].encode()
password = os.environ["MAIL_PASSWORD"].encode()


class Letters:
    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        with open(os.path.join(folder, "letters"), "a", encoding="utf-8") as out:
            told = {
                "tls": server.transport.get_extra_info("sslcontext") is not None,
                "login": session.authenticated,
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "headers": dict(letter.items()),
                "text": letter.get_content(),
            }
            out.write(json.dumps(told) + "\n")
        return "250 taken"


def authenticate(server, session, envelope, mechanism, login):
    is_right = login.login == user and login.password == password
    return AuthResult(success=is_right, handled=False)


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(os.path.join(folder, "tls.pem"), os.path.join(folder, "tls.key"))


class AnyPort(Controller):
    """Listens on a port of the system's choice."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


controller = AnyPort(
    Letters(),
    hostname="127.0.0.1",
    port=0,
    **({"tls_context": context, "require_starttls": True} if security == "starttls" else {"ssl_context": context}),
    # Of TLS from the beginning it does not know.
    auth_require_tls=security == "starttls",
    auth_required=True,
    authenticator=authenticate,
    # The machine may be busy.
    ready_timeout=20.0,
)
controller.start()
with open(os.path.join(folder, "port.new"), "w", encoding="utf-8") as out:
    out.write(str(controller.port))
os.rename(os.path.join(folder, "port.new"), os.path.join(folder, "port"))
threading.Event().wait()
