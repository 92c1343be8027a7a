package load

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/ticketed/doorman/commands"
)

// request writes POSTs. What is the same in all of them is prepared.
type request struct {
	head     []byte // up to the length's value
	headWait []byte // the same with Prefer: wait
	kind     string // of the streams
	prefix   string // of the streams' ids
	filler   string // to bring data to its size
	payload  int
	pushed   []byte // how a push of one of the run's streams begins
	notify   string // the head of a request to watch, up to the length's value
	array    bool
	amqp     bool

	body []byte // scratch
}

func newRequest(cfg *Config, base *url.URL, run string) *request {
	head := "POST " + strings.TrimSuffix(base.Path, "/") + "/v1/commands HTTP/1.1\r\nHost: " + base.Host +
		"\r\nContent-Type: application/json\r\n"
	return &request{
		head:     []byte(head + "Content-Length: "),
		headWait: []byte(head + "Prefer: wait=" + strconv.Itoa(waitSeconds) + "\r\nContent-Length: "),
		kind:     cfg.Type,
		prefix:   run + "-",
		filler:   strings.Repeat("x", cfg.Payload),
		payload:  cfg.Payload,
		array:    cfg.Array > 1,
		amqp:     cfg.AMQP != "",
		pushed:   []byte(`{"stream":"` + cfg.Type + "/" + run + "-"),
		notify: "POST " + strings.TrimSuffix(base.Path, "/") + "/v1/notifications HTTP/1.1\r\nHost: " + base.Host +
			"\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: ",
	}
}

// stream names a stream of this run.
func (r *request) stream(i int) string { return r.kind + "/" + r.prefix + strconv.Itoa(i) }

// appendPost appends a whole request with the items.
func (r *request) appendPost(b []byte, items []item, conn int, wait bool) []byte {
	r.body = r.body[:0]
	if r.array {
		r.body = append(r.body, '[')
	}
	for i := range items {
		if i > 0 {
			r.body = append(r.body, ',')
		}
		r.body = r.appendCommand(r.body, &items[i], conn)
	}
	if r.array {
		r.body = append(r.body, ']')
	}
	if r.amqp {
		return append(appendAMQPHead(b, len(items), wait), r.body...)
	}
	if wait {
		b = append(b, r.headWait...)
	} else {
		b = append(b, r.head...)
	}
	b = strconv.AppendInt(b, int64(len(r.body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, r.body...)
}

func (r *request) appendCommand(b []byte, it *item, conn int) []byte {
	b = append(b, `{"id":"`...)
	b = it.id.AppendTo(b)
	b = append(b, `","stream":"`...)
	b = append(b, r.kind...)
	b = append(b, '/')
	b = append(b, r.prefix...)
	b = strconv.AppendInt(b, int64(streamOf(it.id)), 10)
	b = append(b, `","type":"`...)
	if it.ticket == commands.Genesis && kindOf(it.id) == chained {
		b = append(b, `create`...)
	} else {
		b = append(b, `patch`...)
	}
	b = append(b, `","ticket":"`...)
	b = it.ticket.AppendTo(b)
	b = append(b, `","session":"`...)
	b = append(b, r.prefix...)
	if it.watched {
		b = append(b, 'e') // a session that is told of its commands
	} else {
		b = append(b, 'c')
	}
	b = strconv.AppendInt(b, int64(conn), 10)
	b = append(b, `","actor":"bench","data":`...)
	b = r.appendData(b, it.n)
	return append(b, '}')
}

// appendData writes an object of the wanted size whose number makes it differ from all others of the
// stream, so that every command changes something.
func (r *request) appendData(b []byte, n uint32) []byte {
	const around = len(`,"text":""`)
	start := len(b)
	b = append(b, `{"n":`...)
	b = strconv.AppendUint(b, uint64(n), 10)
	if fill := r.payload - (len(b) - start) - around - 1; fill > 0 {
		b = append(b, `,"text":"`...)
		b = append(b, r.filler[:fill]...)
		b = append(b, '"')
	}
	return append(b, '}')
}

// idleStream names a stream that nobody changes.
func (r *request) idleStream(i int) string { return r.kind + "/" + r.prefix + "i" + strconv.Itoa(i) }

// appendWatch appends a request to be told of what a reader watches, from where it is.
func (r *request) appendWatch(b []byte, reader *reader, w *watching) []byte {
	body := append(r.body[:0], '{')
	list := func(name string, n int, text func(i int) string) {
		body = append(append(append(body, '"'), name...), `":[`...)
		for i := range n {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(append(append(body, '"'), text(i)...), '"')
		}
		body = append(body, "],"...)
	}
	switch reader.role {
	case own:
		n := min(perOwn, w.e.cfg.Connections-reader.first)
		list("sessions", n, func(i int) string { return r.prefix + "e" + strconv.Itoa(reader.first+i) })
	case idle:
		list("streams", 1, func(int) string { return r.idleStream(reader.first) })
	case spread, fan, storm:
		list("streams", len(reader.versions), func(i int) string {
			name := r.stream(w.streamAt(reader, i))
			if len(reader.mark) == 0 && reader.versions[i] > 0 { // it was cut before its first mark
				name += "@" + strconv.FormatUint(reader.versions[i], 10)
			}
			return name
		})
	}
	after := reader.mark
	if reader.role == storm && len(after) == 0 {
		after = w.base
	}
	if len(after) > 0 {
		body = append(append(append(body, `"after":"`...), after...), `",`...)
	}
	deliver := w.e.cfg.WatchDeliver
	if w.each(reader) {
		deliver = "events"
	}
	body = append(append(append(body, `"deliver":"`...), deliver...), `"}`...)
	r.body = body
	b = append(b, r.notify...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	return append(append(b, "\r\n\r\n"...), body...)
}
