"""A way to the emulator's API endpoint for clients that cannot name its host: plain HTTP on a free port, handed on."""

import http.client
import http.server
import ssl
import threading

PASSED = ("authorization", "content-type", "content-encoding", "accept", "if-none-match")


class Gateway:
    """Hands every request on to one API, whose host stands in the header."""

    def __init__(self, emulator, host):
        self.emulator, self.host = emulator, host
        gateway = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def hand_on(self):
                gateway.hand_on(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = hand_on

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def hand_on(self, handler):
        length = int(handler.headers.get("content-length") or 0)
        body = handler.rfile.read(length)
        headers = {name: value for name, value in handler.headers.items() if name.lower() in PASSED}
        status, answered, content = self.send(handler.command, handler.path, headers, body)
        handler.send_response(status)
        for name, value in answered:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                handler.send_header(name, value)
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def send(self, method, path, headers, body=b""):
        """Sends a request to the API: status, headers, body."""
        context = ssl.create_default_context(cafile=str(self.emulator.certificate))
        connection = http.client.HTTPSConnection("localhost", self.emulator.port, timeout=120, context=context)
        try:
            connection.request(method, path, body=body, headers=headers | {"Host": self.host})
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            connection.close()
