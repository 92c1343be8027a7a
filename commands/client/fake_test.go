package client_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/commands/problem"
)

var order42 = commands.Stream{Type: "order", ID: "42"}

// step answers one request, or breaks it off with an error.
type step func(w http.ResponseWriter, r *http.Request) error

// script is a server that answers each request with the next step, without a network: nothing but time
// passes, so that it works in a synctest bubble. A request beyond the last step fails the test.
type script struct {
	t     *testing.T
	mu    sync.Mutex
	steps []step
	seen  []seen
}

type seen struct {
	method, uri, prefer string
	header              http.Header
	body                string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	s.seen = append(s.seen, seen{r.Method, r.URL.RequestURI(), r.Header.Get("Prefer"), r.Header, string(body)})
	if len(s.seen) > len(s.steps) {
		s.t.Errorf("unexpected request %d: %s %s", len(s.seen), r.Method, r.URL)
		return nil, errors.New("the script has ended")
	}
	w := httptest.NewRecorder()
	if err := s.steps[len(s.seen)-1](w, r); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// scripted makes a client of a server that follows the steps; every step must be used.
func scripted(t *testing.T, steps ...step) (*client.Client, *script) {
	t.Helper()
	return scriptedWith(t, client.Config{}, steps...)
}

func scriptedWith(t *testing.T, config client.Config, steps ...step) (*client.Client, *script) {
	t.Helper()
	s := &script{t: t, steps: steps}
	config.BaseURL, config.HTTP = "http://doorman.test", &http.Client{Transport: s}
	c, err := client.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.Len(t, s.seen, len(steps), "requests") })
	return c, s
}

// body answers with a status and a JSON body.
func body(status int, text string) step {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if text == "" {
			return nil // some statuses allow no body, not even an empty one
		}
		_, err := io.WriteString(w, text)
		return err
	}
}

func ok(text string) step { return body(http.StatusOK, text) }

// busy says that nothing was accepted and when to come back.
func busy(wait time.Duration) step { return refuse(after(commands.Unavailable, wait)) }

func after(code commands.Reason, wait time.Duration) *problem.Problem {
	p := problem.New(code, "")
	p.RetryAfter = wait
	return p
}

func refuse(p *problem.Problem) step {
	return func(w http.ResponseWriter, _ *http.Request) error {
		problem.Write(w, p)
		return nil
	}
}

// broken breaks the connection off after the request was sent.
func broken(http.ResponseWriter, *http.Request) error { return io.ErrUnexpectedEOF }

// unreachable does not let the connection come about.
func unreachable(http.ResponseWriter, *http.Request) error {
	return &net.OpError{Op: "dial", Err: errors.New("connection refused")}
}

// hang answers nothing for as long as the request may take.
func hang(_ http.ResponseWriter, r *http.Request) error {
	<-r.Context().Done()
	return r.Context().Err()
}

func view(t *testing.T, v commands.CommandView) string {
	t.Helper()
	return string(v.AppendTo(nil))
}

func accepted(id commands.ID) string { return string(commands.AppendAccepted(nil, id, order42)) }

func landed(id commands.ID) commands.CommandView {
	return commands.CommandView{ID: id, Stream: order42, Type: "add_line", Status: commands.StatusLanded,
		Position: commands.Position{Epoch: "e1", N: 7}, Version: 3, Ticket: id}
}

func rejected(id commands.ID, reason commands.Reason) commands.CommandView {
	return commands.CommandView{ID: id, Stream: order42, Type: "add_line", Status: commands.StatusRejected,
		Position: commands.Position{Epoch: "e1", N: 8}, Version: 3, Ticket: commands.NewID(), Reason: reason,
		Detail: "Somebody was faster.", Root: id, RootReason: reason,
		State: json.RawMessage(`{"lines":2}`), Missed: []commands.ChangeView{}}
}

func addLine() commands.Command {
	return commands.Command{ID: commands.NewID(), Stream: order42, Type: "add_line", Ticket: commands.Genesis,
		Data: []byte(`{"qty":2}`)}
}
