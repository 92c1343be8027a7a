package intake_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/intake"
)

// sink is a ResponseWriter that keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

type body struct{ bytes.Reader }

func (*body) Close() error { return nil }

// landing knows every outcome at once, as the embedded mode does when a command is confirmed.
type landing struct {
	outcome commands.Outcome
}

func (l *landing) Told() (*commands.Outcome, bool) { return &l.outcome, false }
func (l *landing) Wait(context.Context) (*commands.Outcome, bool, error) {
	return &l.outcome, false, nil
}
func (l *landing) Close() {}

func benchIntake(b *testing.B) *intake.Intake {
	b.Helper()
	landed := &landing{outcome: commands.Outcome{Position: 1, ID: commands.NewID(), Stream: commands.Stream{Type: "order", ID: "42"}, Type: "add_line", Version: 1}}
	in, err := intake.New(intake.Config{
		Allows: func(string, commands.Policy, string) (bool, bool) { return true, true },
		Send:   func(_ *commands.Envelope, done func(error)) { done(nil) },
		SendAll: func(envs []*commands.Envelope, done func(int, error)) {
			for i := range envs {
				done(i, nil)
			}
		},
		Refusal: func(error) commands.Reason {
			return commands.Unavailable
		},
		Register:   func(commands.ID, commands.Hash) (intake.Waiter, bool) { return landed, true },
		Mark:       func() uint64 { return 0 },
		Conflicted: func(uint64, commands.ID, commands.Hash) bool { return false },
		Tell: func(_ context.Context, o *commands.Outcome) (commands.CommandView, error) {
			return commands.ViewOutcome("e1", o), nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return in
}

func oneCommand() []byte {
	return fmt.Appendf(nil, `{"id":%q,"stream":"order/42","type":"add_line","ticket":%q,"session":"tab-9f3","actor":"Ann","data":{"sku":"A1","qty":2}}`,
		commands.NewID(), commands.NewID())
}

func benchHandler(b *testing.B, text []byte, header http.Header) {
	in := benchIntake(b)
	header["Content-Type"] = []string{"application/json"}
	content := &body{}
	r := (&http.Request{Method: "POST", URL: &url.URL{Path: "/v1/commands"}, Header: header, Body: content, ContentLength: int64(len(text))})
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		content.Reset(text)
		clear(w.header)
		in.ServeHTTP(w, r)
		if w.status >= 300 {
			b.Fatal(w.status)
		}
	}
}

func BenchmarkHandler(b *testing.B) { benchHandler(b, oneCommand(), http.Header{}) }

func BenchmarkHandlerWaiting(b *testing.B) {
	benchHandler(b, oneCommand(), http.Header{"Prefer": {"wait=5"}})
}

func BenchmarkHandlerArray(b *testing.B) {
	text := []byte("[")
	for i := range 64 {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, oneCommand()...)
	}
	benchHandler(b, append(text, ']'), http.Header{})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/command")
}

// BenchmarkLoopback is a POST over a real connection, client included: 16 connections, each with one
// request under way, written and read without net/http. "bare" is a handler that only reads the body and
// answers, for what net/http itself costs.
func BenchmarkLoopback(b *testing.B) {
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var room [1 << 10]byte
		_, _ = io.ReadFull(r.Body, room[:r.ContentLength])
		w.Header()["Content-Type"] = []string{"application/json"}
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(room[:100])
	})
	b.Run("bare", func(b *testing.B) { benchLoopback(b, bare) })
	b.Run("intake", func(b *testing.B) { benchLoopback(b, benchIntake(b)) })
}

func benchLoopback(b *testing.B, handler http.Handler) {
	server := httptest.NewServer(handler)
	defer server.Close()
	text := oneCommand()
	request := fmt.Appendf(nil, "POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	const connections = 16
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for c := range connections {
		all.Go(func() {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			reader := bufio.NewReader(conn)
			for range (b.N + connections - 1 - c) / connections {
				if err := exchange(conn, reader, request); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

var accepted202 = []byte("HTTP/1.1 202 ")

// exchange sends a request and reads the answer by its length.
func exchange(conn net.Conn, reader *bufio.Reader, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	length := 0
	for line := 0; ; line++ {
		text, err := reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line == 0 && !bytes.HasPrefix(text, accepted202) {
			return fmt.Errorf("answered %q", text)
		}
		if len(text) == 2 {
			_, err := reader.Discard(length)
			return err
		}
		if value, ok := bytes.CutPrefix(text, []byte("Content-Length: ")); ok {
			for _, digit := range value[:len(value)-2] {
				length = 10*length + int(digit-'0')
			}
		}
	}
}

var _ io.ReadCloser = (*body)(nil)
