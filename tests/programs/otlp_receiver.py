"""Receives OTLP by gRPC (grpcio with OpenTelemetry's own service classes) and by HTTP (oteltap),
says on which ports, and appends each span and metric as a line of JSON to a file."""
import asyncio, json, socket, sys
from concurrent import futures

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

out = open(sys.argv[1], "a", buffering=1)


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(one) for one in any_value.array_value.values]
    return getattr(any_value, kind)


def attributes(of):
    return {one.key: value(one.value) for one in of}


def span(via, one, headers=None):
    print(json.dumps({
        "via": via, "span": one.name, "kind": one.kind, "trace": one.trace_id.hex(),
        "id": one.span_id.hex(), "parent": one.parent_span_id.hex(),
        "start": one.start_time_unix_nano, "end": one.end_time_unix_nano,
        "status": one.status.code, "attributes": attributes(one.attributes), "headers": headers,
    }), file=out)


def metric(via, one):
    points = [{"count": p.count, "sum": p.sum, "bounds": list(p.explicit_bounds),
               "attributes": attributes(p.attributes)} for p in one.histogram.data_points]
    print(json.dumps({"via": via, "metric": one.name, "unit": one.unit, "points": points}),
          file=out)


class Traces(trace_grpc.TraceServiceServicer):
    def Export(self, request, context):
        headers = [key for key, _ in context.invocation_metadata()]
        for resource in request.resource_spans:
            print(json.dumps({"via": "grpc", "resource": attributes(resource.resource.attributes)}),
                  file=out)
            for scope in resource.scope_spans:
                for one in scope.spans:
                    span("grpc", one, headers)
        return trace_pb.ExportTraceServiceResponse()


class Metrics(metrics_grpc.MetricsServiceServicer):
    def Export(self, request, context):
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for one in scope.metrics:
                    metric("grpc", one)
        return metrics_pb.ExportMetricsServiceResponse()


async def main():
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        http_port = probe.getsockname()[1]
    settings = OtelTapHttpProtobufReceiverSettings(http_port=http_port)
    async with OtelTapHttpProtobufReceiver(settings) as receiver:
        print(json.dumps({"grpc": grpc_port, "http": http_port}), flush=True)

        async def spans():
            async for one in receiver.stream_traces():
                span("http", one)

        async def metrics():
            async for one in receiver.stream_metrics():
                metric("http", one)

        await asyncio.gather(spans(), metrics())


asyncio.run(main())
