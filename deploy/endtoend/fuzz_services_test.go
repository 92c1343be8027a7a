//go:build unix

package endtoend

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands/problem"
)

var fuzzedMessages = flag.Int("services.messages", 20_000, "messages and requests that are made up for a server to bear")

// Whatever comes over RabbitMQ and HTTP, half and half: the server does not end, every message whose sender can be
// answered is, every request too, and in the end it takes no more memory than it did.
func TestMadeUpMessagesAndRequestsAreAllAnswered(t *testing.T) {
	t.Parallel()
	value := seed(t).Uint64()
	p := overRabbitMQ(t)
	server := p.start(t)
	defer func() {
		if t.Failed() { // the log of a million is long
			t.Logf("what the server complained of:\n%s", complaints(server.log.String()))
		}
	}()
	s := newFuzzService(t, p, newFuzzer(value, 0))
	began := time.Now()
	var before memory
	const parts = 5
	for part := range parts {
		n := *fuzzedMessages / 2 / parts
		var clients sync.WaitGroup
		const connections = 8
		for c := range connections {
			f := newFuzzer(value, 1+part*connections+c)
			clients.Go(func() { requestAll(t, p, f, n/connections) })
		}
		s.send(n)
		clients.Wait()
		if part == 0 { // it has kept by now what it keeps of streams
			before = memoryOf(t, p)
		}
	}
	s.awaitAnswers()
	after := memoryOf(t, p)
	t.Logf("%d messages and as many requests in %s: %d answers, %d of them refusals; memory before %s, after %s",
		s.sent, time.Since(began).Round(time.Second), s.answers.Load(), s.refusals.Load(), before, after)
	require.Less(t, after.heap, before.heap+before.heap/2+(48<<20), "memory is back where it was")
	require.Less(t, after.goroutines, before.goroutines+50)
	status, text := answer(t, p, "/readyz")
	require.Equal(t, http.StatusOK, status, text)
	require.Zero(t, metric(t, p, "doorman_ingress_messages"))
	require.Zero(t, metric(t, p, "doorman_ingress_bytes"))
	require.Positive(t, metric(t, p, "doorman_ingress_accepted_total"))
	require.Zero(t, metric(t, p, `doorman_ingress_refused_total{reason="internal"}`), "nothing broke")
	require.NotContains(t, server.log.String(), "panic:")
	server.stop()
}

// complaints are the first of the lines that a server logs as errors and warnings.
func complaints(log string) string {
	const most = 64 << 10
	var b strings.Builder
	for line := range strings.Lines(log) {
		if (strings.Contains(line, "ERROR") || strings.Contains(line, "WARN")) && b.Len() < most {
			b.WriteString(line)
		}
	}
	return b.String()
}

// memory is what a server takes after its garbage was collected.
type memory struct{ heap, resident, goroutines int }

func (m memory) String() string {
	return fmt.Sprintf("%d MB of heap, %d MB resident, %d goroutines", m.heap>>20, m.resident>>20, m.goroutines)
}

func memoryOf(t *testing.T, p *place) memory {
	t.Helper()
	for range 2 { // what has finalizers goes with the second
		response, err := p.operator.Get("http://" + p.admin + "/debug/pprof/heap?gc=1") //nolint:noctx // the client has its time
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
	}
	return memory{
		heap: metric(t, p, "go_memstats_heap_alloc_bytes"), resident: metric(t, p, "process_resident_memory_bytes"),
		goroutines: metric(t, p, "go_goroutines"),
	}
}

// fuzzService is another service that knows what it is owed.
type fuzzService struct {
	*fuzzer
	t       *testing.T
	channel *amqp.Channel
	prefix  string
	queue   string
	sent    int

	answers, refusals atomic.Int64

	mu   sync.Mutex
	owed map[string]string // the beginnings of bodies whose senders wait, by correlation id
}

func newFuzzService(t *testing.T, p *place, f *fuzzer) *fuzzService {
	t.Helper()
	s := &fuzzService{fuzzer: f, t: t, channel: newPublisher(t, p).channel, prefix: p.argument("--rabbitmq-prefix"), owed: map[string]string{}}
	queue, err := s.channel.QueueDeclare("", false, true, true, false, nil)
	require.NoError(t, err)
	s.queue = queue.Name
	for _, name := range []string{s.queue, "amq.rabbitmq.reply-to"} {
		deliveries, err := s.channel.Consume(name, "", true, false, false, false, nil)
		require.NoError(t, err)
		go s.hear(deliveries) // until the connection ends
	}
	return s
}

func (s *fuzzService) hear(deliveries <-chan amqp.Delivery) {
	for d := range deliveries {
		s.answers.Add(1)
		if d.ContentType == problem.ContentType {
			s.refusals.Add(1)
		}
		s.mu.Lock()
		delete(s.owed, d.CorrelationId)
		s.mu.Unlock()
	}
}

// send publishes messages, some hundred of them unconfirmed at a time.
func (s *fuzzService) send(n int) {
	s.t.Helper()
	var confirms []*amqp.DeferredConfirmation
	for range n {
		m := s.message()
		s.sent++
		m.CorrelationId = strconv.Itoa(s.sent)
		switch choice := s.IntN(20); {
		case choice < 14:
			m.ReplyTo = s.queue
		case choice < 16:
			m.ReplyTo = "amq.rabbitmq.reply-to"
		case choice < 17:
			m.ReplyTo = s.prefix + ".lane." + strconv.Itoa(s.IntN(16))
		case choice < 18:
			m.ReplyTo, m.CorrelationId = string(s.noise(s.IntN(100))), string(s.noise(s.IntN(100)))
		}
		if m.ReplyTo == s.queue || m.ReplyTo == "amq.rabbitmq.reply-to" {
			s.mu.Lock()
			s.owed[m.CorrelationId] = string(m.Body[:min(len(m.Body), 300)])
			s.mu.Unlock()
		}
		confirm, err := s.channel.PublishWithDeferredConfirm(s.prefix+".commands", string(s.noise(s.IntN(30))), false, false, m)
		require.NoError(s.t, err)
		if confirms = append(confirms, confirm); len(confirms) == 500 {
			require.True(s.t, confirms[0].Wait(), "the queue takes it")
			confirms = confirms[1:]
		}
	}
	for _, confirm := range confirms {
		require.True(s.t, confirm.Wait(), "the queue takes it")
	}
}

// awaitAnswers waits until nobody waits for an answer any more: those whose predecessors never come wait longest.
func (s *fuzzService) awaitAnswers() {
	s.t.Helper()
	waiting := func() (n int, some string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, body := range s.owed {
			some = id + ": " + body
		}
		return len(s.owed), some
	}
	last, _ := waiting()
	for quiet := time.Now(); last > 0; {
		pass(50 * time.Millisecond)
		n, some := waiting()
		if n < last {
			last, quiet = n, time.Now()
		}
		if time.Since(quiet) > 2*patience {
			require.FailNow(s.t, "senders are not answered", "%d, e.g. %s", n, some)
		}
	}
}

// requestAll makes requests one after another; each is answered.
func requestAll(t *testing.T, p *place, f *fuzzer, n int) {
	ask := &http.Client{Transport: &http.Transport{}, Timeout: 2 * patience}
	defer ask.CloseIdleConnections()
	for range n {
		if f.oneIn(500) {
			babble(t, p, f)
			continue
		}
		request := f.request(p.url())
		response, err := ask.Do(request)
		if err != nil {
			if strings.Contains(err.Error(), "invalid") || strings.Contains(err.Error(), "malformed") { // it is not sent
				continue
			}
			t.Errorf("%s %s is not answered: %v", request.Method, request.URL, err)
			return
		}
		text, err := io.ReadAll(response.Body)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s %s: %v", request.Method, request.URL, err)
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusInternalServerError && !strings.Contains(string(text), `"code":"failed"`) {
			t.Errorf("%s %s: %s", request.Method, request.URL, text)
		}
	}
}

// babble says something that is no HTTP.
func babble(t *testing.T, p *place, f *fuzzer) {
	conn, err := net.Dial("tcp", p.listen) //nolint:noctx // it ends at once
	if err != nil {
		t.Errorf("nobody listens: %v", err)
		return
	}
	_, _ = conn.Write(f.noise(f.IntN(2000)))
	_ = conn.Close()
}
