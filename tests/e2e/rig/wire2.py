"""A client that speaks HTTP/2, with another implementation's idea of it (hyper-h2): what it takes
for a breach of the protocol is an exception."""
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2 import events
from h2.settings import SettingCodes

from .wire import Answer, Ended, Wire


class Wire2(Wire):
    """As Wire.  own_window: given back by a test itself, by give(); first: the first window of a stream."""
    def __init__(self, address, ca=None, tweak=None, own_window=False, first=None, **kw):
        def offer(context):
            context.set_alpn_protocols(["h2"])
            if tweak:
                tweak(context)
        super().__init__(address, ca, tweak=offer, **kw)
        if self.tls and self.tls.selected_alpn_protocol() != "h2":
            raise Ended("h2 was not chosen")
        self.own_window, self.half = own_window, bytearray()
        self.answers, self.resets, self.over, self.told = {}, {}, set(), set()  # told: by a 100
        self.goaway = None              # (code, last stream)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="latin-1"))
        if first is not None:
            self.h2.local_settings = type(self.h2.local_settings)(
                client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: first,
                                             SettingCodes.ENABLE_PUSH: 0})
        self.h2.initiate_connection()
        self.put()

    def put(self):
        if data := self.h2.data_to_send():
            self.send(data)

    def request(self, method, path, *headers, host="mirror.test", body=b"", end=True):
        """Sends it; the stream's number."""
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https" if self.tls else "http"),
                (":authority", host), (":path", path)]
        for line in headers:
            name, _, value = line.partition(":")
            head.append((name.lower(), value.strip()))
        body = body.encode() if isinstance(body, str) else body
        self.h2.send_headers(stream, head, end_stream=end and not body)
        if body:
            self.h2.send_data(stream, body, end_stream=end)
        self.put()
        return stream

    def cancel(self, stream, code=8):
        self.h2.reset_stream(stream, code)
        self.put()

    def give(self, count, stream=None):
        self.h2.increment_flow_control_window(count, stream)
        self.put()

    def note(self, e):
        if isinstance(e, events.InformationalResponseReceived):
            self.told.add(e.stream_id)
        elif isinstance(e, events.ResponseReceived):
            fields = [(k, v) for k, v in e.headers if not k.startswith(":")]
            # A body grows by frames of 16 KiB: bytes would be copied as a whole for each.
            self.answers[e.stream_id] = Answer(int(dict(e.headers)[":status"]), fields, bytearray())
        elif isinstance(e, events.DataReceived):
            self.answers[e.stream_id].body += e.data
            if not self.own_window and e.flow_controlled_length and not e.stream_ended:
                self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif not self.own_window and e.flow_controlled_length:
                self.h2.increment_flow_control_window(e.flow_controlled_length)
        elif isinstance(e, events.StreamEnded):
            self.over.add(e.stream_id)
        elif isinstance(e, events.StreamReset):
            self.resets[e.stream_id] = int(e.error_code)
        elif isinstance(e, events.ConnectionTerminated):
            self.goaway = (int(e.error_code), e.last_stream_id)
            # hyper-h2 takes it for the end; RFC 9113 6.8 lets the streams go on.
            self.h2.state_machine.state = ConnectionState.CLIENT_OPEN

    def step(self):
        """What comes next is taken in; False at the end."""
        data = self.recv()
        if not data:
            return False
        # One frame at a time, so that none is taken in a state that note() has to mend.
        self.half += data
        while len(self.half) >= 9 and len(self.half) >= (n := 9 + int.from_bytes(self.half[:3], "big")):
            one = bytes(self.half[:n])
            del self.half[:n]
            for e in self.h2.receive_data(one):
                self.note(e)
        if self.end != "close_notify":
            self.put()
        return True

    def until(self, ready):
        """False: the connection ended before it was."""
        while not ready():
            if not self.step():
                return ready()
        return True

    def answer(self, stream):
        """The whole answer to that stream."""
        self.until(lambda: stream in self.over or stream in self.resets)
        a = self.answers.get(stream)
        if not a:
            raise Ended(self.resets.get(stream, self.end))
        a.body, a.cut = bytes(a.body), stream not in self.over
        return a

    def ask(self, method, path, *headers, **kw):
        return self.answer(self.request(method, path, *headers, **kw))

    def closed(self):
        while self.step():
            pass
        return self.end
