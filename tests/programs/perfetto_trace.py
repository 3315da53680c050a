"""Tells what is in a Perfetto trace, by the perfetto package: by its trace processor where that
is at hand (the package itself downloads it: TRACE_PROCESSOR_SHELL or PATH is looked at instead),
else by the package's own protobuf classes."""
import json, os, shutil, sys
from collections import defaultdict

from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto

path = sys.argv[1]
shell = os.environ.get("TRACE_PROCESSOR_SHELL") or shutil.which("trace_processor_shell")


def by_processor():
    from perfetto.trace_processor import TraceProcessor, TraceProcessorConfig
    with TraceProcessor(trace=path, config=TraceProcessorConfig(bin_path=shell)) as tp:
        slices = [{"name": r.name, "category": r.category, "dur": r.dur}
                  for r in tp.query("select name, category, dur from slice order by ts, id")]
        processes = [r.name for r in tp.query("select name from process where pid > 0")]
        top = [r.top for r in tp.query(
            "select max(value) as top from counter group by track_id")]
        errors = [r.name for r in tp.query(
            "select name from stats where severity = 'error' and value > 0")]
    assert not errors, errors
    return slices, processes, int(sum(top))


def by_classes():
    trace = proto.Trace()
    trace.ParseFromString(open(path, "rb").read())
    event = proto.TrackEvent
    slices, processes, top = [], [], defaultdict(int)
    tracks, stacks = set(), defaultdict(list)
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id == 1
        parts = [packet, packet.track_event, packet.track_descriptor, packet.clock_snapshot]
        assert not any(len(UnknownFieldSet(part)) for part in parts)
        if packet.HasField("track_descriptor"):
            described = packet.track_descriptor
            assert described.uuid not in tracks
            assert not described.HasField("parent_uuid") or described.parent_uuid in tracks
            tracks.add(described.uuid)
            if described.HasField("process"):
                processes.append(described.process.process_name)
        if not packet.HasField("track_event"):
            continue
        told, stack = packet.track_event, stacks[packet.track_event.track_uuid]
        assert told.track_uuid in tracks
        if told.type == event.TYPE_COUNTER:
            top[told.track_uuid] = max(top[told.track_uuid], told.counter_value)
            continue
        if told.type == event.TYPE_SLICE_END:
            begun = stack.pop()
            begun["dur"] = packet.timestamp - begun.pop("at")
            continue
        assert told.name and told.categories
        one = {"name": told.name, "category": told.categories[0]}
        slices.append(one)
        if told.type == event.TYPE_INSTANT:
            one["dur"] = 0
        else:
            assert told.type == event.TYPE_SLICE_BEGIN
            one["at"] = packet.timestamp
            stack.append(one)
    assert not any(stacks.values())
    return slices, processes, sum(top.values())


by = "the trace processor" if shell else \
    "the package's protobuf classes: there is no trace_processor_shell here"
slices, processes, top = by_processor() if shell else by_classes()
print(json.dumps({"by": by, "slices": slices, "processes": processes, "counted": top}))
