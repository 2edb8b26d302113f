"""Alerts by e-mail under TLS and STARTTLS, from the real binary to a real mail server whose certificate an authority of this
test has signed. Where no encrypted connection comes about nothing is sent, and no password either."""

import ipaddress
import logging
import pathlib
import ssl
import subprocess
import tempfile
import unittest

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from served import ORGANISATION, Served, with_server

ORGANISATION = ORGANISATION + '[alerts]\nfinops_email = "finops@example.com"\n'
USER, PASSWORD = "recoup", "hush-hush"
HERE = "127.0.0.1"
# Handshakes that break off are what some of these tests are about.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """An authority of its own, which signs certificates for names."""

    def __init__(self, folder):
        self.folder, self.file = pathlib.Path(folder), str(pathlib.Path(folder, "ca.pem"))
        self.key = str(self.folder / "ca.key")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Authority of a test", "-keyout",
                self.key, "-out", self.file, "-addext", "basicConstraints=critical,CA:TRUE")

    def context(self, name):
        """What a server shows that has this name, a host or an address."""
        request, key, certificate, more = (str(self.folder / f"{name}.{kind}") for kind in ("csr", "key", "pem", "ext"))
        try:
            names = f"IP:{ipaddress.ip_address(name)}"
        except ValueError:
            names = f"DNS:{name}"
        pathlib.Path(more).write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n", encoding="utf-8")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mail", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-CAcreateserial", "-days", "2",
                "-extfile", more, "-out", certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context


class Kept:
    """Keeps what a server was told, and whether that was encrypted."""

    def __init__(self):
        self.mails, self.logins, self.in_the_clear = [], [], []

    def note(self, server, session, what):
        if session.ssl is None and server.transport.get_extra_info("ssl_object") is None:
            self.in_the_clear.append(what)

    async def handle_MAIL(self, server, session, envelope, address, options):
        self.note(server, session, f"MAIL {address}")
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.note(server, session, "DATA")
        self.mails.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"

    def login(self, server, session, envelope, mechanism, data):
        self.note(server, session, "AUTH")
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=self.logins[-1] == (USER, PASSWORD), handled=True)


class Mail(Served):
    organisation = ORGANISATION
    authorities = tempfile.TemporaryDirectory(prefix="recoup-ca-")

    @classmethod
    def setUpClass(cls):
        folders = [pathlib.Path(cls.authorities.name, name) for name in ("ours", "others")]
        for folder in folders:
            folder.mkdir(exist_ok=True)
        cls.ours, cls.others = (Authority(folder) for folder in folders)

    @classmethod
    def tearDownClass(cls):
        cls.authorities.cleanup()

    def setUp(self):
        """Each test says itself which server there is, and begins ours."""

    def environment(self):
        return {"RECOUP_SMTP_URL": self.smtp_url, "RECOUP_MAIL_FROM": "recoup <recoup@example.com>",
                "SSL_CERT_FILE": self.ours.file}

    def begin(self, url, **server):
        """Our server beside a mail server."""
        self.kept = Kept()
        arguments = {"authenticator": self.kept.login, "auth_require_tls": False, **server}
        port = with_server.free_port()
        mail = Controller(self.kept, hostname=HERE, port=port, **arguments)
        mail.start()
        self.addCleanup(mail.stop)
        self.smtp_url = url.format(port=port)
        super().setUp()

    def alert(self):
        """Spends so much that somebody hears of it."""
        self.spend("before", 112, {"team": "support", "agent": "triage"})

    def tried(self):
        """The delivery that was tried most often; the others of its address wait behind it."""
        rows = self.get("/v1/alerts/deliveries")["rows"]
        return max(rows, key=lambda row: row["attempts"], default={"state": None, "attempts": 0})

    def assert_arrives_encrypted(self):
        self.alert()
        self.until(lambda: self.kept.mails)
        self.until(lambda: self.tried()["state"] == "sent")
        [to], content = self.kept.mails[0]
        self.assertEqual((to, self.kept.in_the_clear), ("finops@example.com", []))
        self.assertIn("From: recoup <recoup@example.com>", content)
        self.assertEqual(set(self.kept.logins), {(USER, PASSWORD)})

    def assert_nothing_is_sent(self):
        self.alert()
        self.until(lambda: self.tried()["attempts"] >= 2)
        self.assertEqual(self.tried()["state"], "waiting")
        self.assertEqual((self.kept.mails, self.kept.logins, self.kept.in_the_clear), ([], [], []))
        return self.tried()["reason"]

    def test_under_tls_an_alert_arrives(self):
        self.begin(f"smtps://{USER}:{PASSWORD}@{HERE}:{{port}}", ssl_context=self.ours.context(HERE))
        self.assert_arrives_encrypted()

    def test_under_starttls_an_alert_arrives(self):
        self.begin(f"smtp://{USER}:{PASSWORD}@{HERE}:{{port}}?tls=required", tls_context=self.ours.context(HERE))
        self.assert_arrives_encrypted()

    def test_a_server_without_starttls_gets_nothing_where_it_is_required(self):
        self.begin(f"smtp://{USER}:{PASSWORD}@{HERE}:{{port}}?tls=required")
        self.assertIn("it offers no STARTTLS", self.assert_nothing_is_sent())

    def test_a_certificate_of_another_authority_gets_nothing(self):
        for url, server in (("smtps://{0}", {"ssl_context": self.others.context(HERE)}),
                            ("smtp://{0}?tls=required", {"tls_context": self.others.context(HERE)})):
            with self.subTest(url=url):
                self.begin(url.format(f"{USER}:{PASSWORD}@{HERE}:{{port}}"), **server)
                self.assertIn("its certificate is not trusted for its name", self.assert_nothing_is_sent())
                self.go_away()

    def test_a_certificate_of_another_name_gets_nothing(self):
        self.begin(f"smtps://{USER}:{PASSWORD}@{HERE}:{{port}}", ssl_context=self.ours.context("mail.example.com"))
        self.assertIn("its certificate is not trusted for its name", self.assert_nothing_is_sent())


if __name__ == "__main__":
    unittest.main()
