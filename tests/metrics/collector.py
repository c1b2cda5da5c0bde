"""A collector of traces: prints its port, then each span that it gets as a line of JSON.

What comes is read by OTLP's own definitions; what these do not know is refused with 400.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def read(body):
    request = ExportTraceServiceRequest.FromString(body)
    # What they do not know would be written again as it came.
    known = ExportTraceServiceRequest.FromString(body)
    known.DiscardUnknownFields()
    assert known == request and known.ByteSize() == len(body), "unknown fields"
    return request


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            assert self.path == "/v1/traces", self.path
            assert self.headers["Content-Type"] == "application/x-protobuf"
            request = read(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        assert len(span.trace_id) == 16 and len(span.span_id) == 8
                        told = {
                            "resource": attributes(resource.resource.attributes),
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "name": span.name,
                            "kind": span.kind,
                            "begin": span.start_time_unix_nano,
                            "end": span.end_time_unix_nano,
                            "status": span.status.code,
                            "attributes": attributes(span.attributes),
                        }
                        print(json.dumps(told), flush=True)
            status, answer = 200, b""
        except Exception as error:  # whatever it is, the test sees it
            print(json.dumps({"error": repr(error)}), flush=True)
            status, answer = 400, b""
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
print(server.server_address[1], flush=True)
server.serve_forever()
