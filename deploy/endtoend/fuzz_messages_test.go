//go:build unix

package endtoend

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/ticketed/doorman/commands"
)

// fuzzer makes up what services and clients might send, and what nobody in his right mind would.
type fuzzer struct {
	*rand.Rand

	bodies [][]byte      // some of those before
	ids    []commands.ID // of some commands before
}

func newFuzzer(seed uint64, part int) *fuzzer {
	return &fuzzer{Rand: rand.New(rand.NewPCG(seed, uint64(part)))}
}

// remember keeps some of what there was.
func remember[T any](f *fuzzer, kept []T, one T) []T {
	const most = 256
	if len(kept) < most {
		return append(kept, one)
	}
	kept[f.IntN(most)] = one
	return kept
}

func pick[T any](f *fuzzer, from ...T) T { return from[f.IntN(len(from))] }

func (f *fuzzer) oneIn(n int) bool { return f.IntN(n) == 0 }

// body is a body, mostly one that makes sense.
func (f *fuzzer) body() []byte {
	switch choice := f.IntN(100); {
	case choice < 55:
		return f.keep(f.command())
	case choice < 68:
		return f.keep(f.array())
	case choice < 80:
		return f.damaged(f.command())
	case choice < 83:
		return f.damaged(f.array())
	case choice < 88:
		return f.noise(f.IntN(300))
	case choice < 91:
		depth := 1 + f.IntN(2000)
		return []byte(strings.Repeat(pick(f, "[", `{"a":`), depth))
	case choice < 92 && f.oneIn(10):
		return bytes.Repeat([]byte(" x"), (100+f.IntN(700))<<10) // of up to 1.6 MB
	case choice < 93:
		return nil
	}
	if len(f.bodies) == 0 {
		return []byte("{}")
	}
	return pick(f, f.bodies...) // once more
}

func (f *fuzzer) keep(body []byte) []byte {
	f.bodies = remember(f, f.bodies, body)
	return body
}

func (f *fuzzer) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(f.Uint32())
	}
	return b
}

// damaged changes some bytes.
func (f *fuzzer) damaged(body []byte) []byte {
	for range 1 + f.IntN(3) {
		if len(body) == 0 {
			break
		}
		at := f.IntN(len(body))
		switch f.IntN(4) {
		case 0:
			body = slices.Concat(body[:at], body[at+1:])
		case 1:
			body = slices.Concat(body[:at], f.noise(1+f.IntN(3)), body[at:])
		case 2:
			body = slices.Clone(body[:at])
		default:
			body = slices.Clone(body)
			body[at] = byte(f.Uint32())
		}
	}
	return body
}

func (f *fuzzer) array() []byte {
	items := make([][]byte, f.IntN(12))
	for i := range items {
		if items[i] = f.command(); f.oneIn(10) {
			items[i] = []byte(pick(f, `7`, `null`, `{}`, `[]`, `"x"`, `{"stream":"tally/1"}`))
		}
	}
	return slices.Concat([]byte("["), bytes.Join(items, []byte(",")), []byte("]"))
}

// command is a command of a known type as a rule; its streams are few, so that what is kept of them in memory is.
func (f *fuzzer) command() []byte {
	id := commands.NewID()
	var b []byte
	member := func(name, value string) { b = fmt.Appendf(b, `%q:%s,`, name, value) }
	quoted := func(name string, value any) { member(name, strconv.Quote(fmt.Sprint(value))) }
	if !f.oneIn(5) {
		if len(f.ids) > 0 && f.oneIn(20) {
			id = pick(f, f.ids...)
		}
		f.ids = remember(f, f.ids, id)
		quoted("id", id)
	}
	quoted("stream", fmt.Sprint(pick(f, "tally", "tally", "hasty", "hasty", "document", "guarded", "nothing"), "/", f.IntN(200)))
	quoted("type", pick(f, "add", "add", "add", "set", "note", "refuse", "panic", "create", "patch", "replace", "delete", "nothing"))
	switch {
	case f.oneIn(20):
	case len(f.ids) > 0 && f.oneIn(3):
		quoted("ticket", pick(f, f.ids...))
	default:
		quoted("ticket", "genesis")
	}
	if f.oneIn(3) {
		quoted("policy", pick(f, "ticket", "strict", "session", "any"))
	}
	if f.oneIn(4) {
		quoted("session", fmt.Sprint("session-", f.IntN(50)))
	}
	quoted("actor", "Ann")
	member("data", pick(f, `{"n":1}`, `{"n":1}`, `{"n":-1}`, `{}`, `{"a":{"b":[1,2,3]}}`, `[1]`, `null`, `{"n":"`+strings.Repeat("x", f.IntN(500))+`"}`))
	return slices.Concat([]byte("{"), bytes.TrimSuffix(b, []byte(",")), []byte("}"))
}

// message is one of another service, but for where its answer goes. Its user is the one there is, and it does not
// expire before it is taken.
func (f *fuzzer) message() amqp.Publishing {
	m := amqp.Publishing{Body: f.body(), ContentType: "application/json", DeliveryMode: pick(f, amqp.Persistent, amqp.Transient)}
	if f.oneIn(8) {
		m.ContentType = pick(f, "", "text/plain", "application/json; charset=utf-8", "application/json;charset=latin1", string(f.noise(f.IntN(20))))
	}
	if f.oneIn(8) {
		m.ContentEncoding = pick(f, "identity", "utf-8", "gzip", string(f.noise(f.IntN(20))))
	}
	if f.oneIn(2) {
		m.MessageId = pick(f, commands.NewID().String(), strconv.Itoa(f.IntN(1000)), string(f.noise(f.IntN(200))))
	}
	if f.oneIn(4) {
		m.UserId = "guest"
	}
	if f.oneIn(4) {
		m.Type, m.AppId, m.Priority, m.Expiration = string(f.noise(f.IntN(30))), "fuzz", uint8(f.IntN(10)), pick(f, "", "3600000")
	}
	if f.oneIn(4) {
		m.Timestamp = time.Unix(f.Int64N(1<<34), 0)
	}
	if f.oneIn(3) {
		m.Headers = f.table(f.IntN(6))
	}
	return m
}

func (f *fuzzer) table(n int) amqp.Table {
	t := amqp.Table{}
	for range n {
		t[pick(f, "traceparent", "x-delivery-count", "x-death", "x-doorman-body-bytes", string(f.noise(f.IntN(20))))] = f.value(0)
	}
	return t
}

func (f *fuzzer) value(depth int) any {
	switch f.IntN(16) {
	case 0:
		return nil
	case 1:
		return f.oneIn(2)
	case 2:
		return int8(f.Uint32())
	case 3:
		return int16(f.Uint32())
	case 4:
		return int32(f.Uint32())
	case 5:
		return int64(f.Uint64())
	case 6:
		return byte(f.Uint32())
	case 7:
		return float32(f.NormFloat64())
	case 8:
		return f.NormFloat64() * math.Pow(10, float64(f.IntN(200)))
	case 9:
		return time.Unix(f.Int64N(1<<40), 0)
	case 10:
		return f.noise(f.IntN(100))
	case 11:
		return amqp.Decimal{Scale: uint8(f.Uint32()), Value: int32(f.Uint32())}
	case 12:
		return make([]any, f.IntN(10)*f.IntN(1200)) // as many as a library reads, or more
	case 13:
		deep := any("bottom")
		for range f.IntN(60) {
			deep = []any{deep}
		}
		return deep
	case 14:
		if depth < 3 {
			return amqp.Table{"inner": f.value(depth + 1), "list": []any{f.value(depth + 1)}}
		}
	}
	return pick(f, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", string(f.noise(f.IntN(200))))
}

// request is one over HTTP.
func (f *fuzzer) request(base string) *http.Request {
	method, path := http.MethodPost, "/v1/commands"
	if f.oneIn(4) {
		method = pick(f, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, "NONSENSE")
	}
	if method != http.MethodPost || f.oneIn(20) {
		path = pick(f, "/v1/commands?id="+commands.NewID().String(), "/v1/commands/"+commands.NewID().String(), "/v1/streams/tally/1",
			"/v1/streams/tally/1/events", "/v1/streams", "/v1/limits", "/v1/commands", "/readyz", "/openapi.json",
			"/%"+fmt.Sprintf("%02x", f.IntN(256)), "/v1/streams/tally/"+strings.Repeat("x", f.IntN(3000)))
	}
	request, err := http.NewRequest(method, base+path, bytes.NewReader(f.body())) //nolint:noctx // the client has its time
	if err != nil {
		return f.request(base) // no such address can be written
	}
	request.Header.Set("Content-Type", pick(f, "application/json", "application/json", "application/json", "text/plain", ""))
	for range f.IntN(3) {
		name := pick(f, "Idempotency-Key", "If-Match", "If-None-Match", "Prefer", "Traceparent", "Content-Encoding", "Accept")
		request.Header.Set(name, pick(f, "wait=1", "*", `"genesis"`, commands.NewID().String(), "respond-async", "gzip",
			strings.Map(printable, string(f.noise(f.IntN(60))))))
	}
	return request
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return -1
	}
	return r
}
