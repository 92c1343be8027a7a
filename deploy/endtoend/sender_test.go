//go:build unix

package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// sender posts commands over several connections, each until it is accepted, and keeps account of which
// were. What was accepted is not sent again, unless it is in the queue twice.
type sender struct {
	t      *testing.T
	url    string
	http   *http.Client
	polite bool // comes again no earlier than it is told to

	mu       sync.Mutex
	moved    *sync.Cond // anything below changed
	open     bool       // requests may be made
	over     bool
	queue    [][]*commands.Command // each is one request
	busy     int                   // requests under way
	accepted map[commands.ID]*commands.Command
	refused  map[string]int // answers that told to come again, by status and code
	cut      int            // requests that were sent and got no answer
	torn     int            // answers that ended before their end
	unheard  int            // requests that were never sent: nobody took the connection
	said     []string       // the newest errors of those without an answer
}

// newSender begins with its door closed; see resume.
func newSender(t *testing.T, url string, connections int) *sender {
	t.Helper()
	s := &sender{t: t, url: url, http: newHTTP(t, connections), accepted: map[commands.ID]*commands.Command{}, refused: map[string]int{}}
	s.moved = sync.NewCond(&s.mu)
	var workers sync.WaitGroup
	for range connections {
		workers.Go(s.work)
	}
	t.Cleanup(func() { // what is under way ends with the test's context
		s.change(func() { s.over = true })
		workers.Wait()
	})
	return s
}

func newHTTP(t *testing.T, connections int) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * patience}
}

func newClient(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: url, HTTP: newHTTP(t, 16)})
	require.NoError(t, err)
	return c
}

// soon is a context for what is bound to happen.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (s *sender) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	s.moved.Broadcast()
}

// await waits until the condition holds.
func (s *sender) await(what string, condition func() bool) {
	s.t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() { s.change(func() { late = true }) })
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !condition() && !late {
		s.moved.Wait()
	}
	if late {
		require.FailNow(s.t, "in vain: "+what, "%d accepted, %d queued, %d under way, refused %v, %d cut, %d unheard",
			len(s.accepted), len(s.queue), s.busy, s.refused, s.cut, s.unheard)
	}
}

func (s *sender) add(requests [][]*commands.Command) {
	s.change(func() { s.queue = append(s.queue, requests...) })
}

func (s *sender) resume() { s.change(func() { s.open = true }) }

// pause makes no more requests, and returns once those under way have come to an end.
func (s *sender) pause() {
	s.t.Helper()
	s.change(func() { s.open = false })
	s.await("requests come to an end", func() bool { return s.busy == 0 })
}

// sendAll returns once everything queued has been accepted.
func (s *sender) sendAll() {
	s.t.Helper()
	s.resume()
	s.await("everything is accepted", func() bool { return len(s.queue) == 0 && s.busy == 0 })
}

// commands are those that were accepted.
func (s *sender) commands() []*commands.Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.accepted))
}

// among are those of the list that were accepted.
func (s *sender) among(list []*commands.Command) []*commands.Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(list), func(c *commands.Command) bool { return s.accepted[c.ID] == nil })
}

func (s *sender) work() {
	for {
		s.mu.Lock()
		for !s.over && (!s.open || len(s.queue) == 0) {
			s.moved.Wait()
		}
		if s.over {
			s.mu.Unlock()
			return
		}
		request := s.queue[0]
		s.queue = s.queue[1:]
		s.busy++
		s.mu.Unlock()
		again := s.post(request)
		s.change(func() {
			s.busy--
			if len(again) > 0 {
				s.queue = append(s.queue, again)
			}
		})
	}
}

// post makes one request, and returns the commands that are to be sent again.
func (s *sender) post(request []*commands.Command) (again []*commands.Command) {
	ask, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/v1/commands", bytes.NewReader(body(request)))
	if err != nil {
		panic(err) // it is of this package's making
	}
	ask.Header.Set("Content-Type", "application/json")
	response, err := s.http.Do(ask)
	if err != nil {
		s.change(func() {
			if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
				s.unheard++
			} else {
				s.cut++
			}
			if s.said = append(s.said, shortly(err)); len(s.said) > 10 {
				s.said = s.said[1:]
			}
		})
		s.breathe("")
		return request
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.change(func() { s.torn++ })
		return request
	}
	answers := []json.RawMessage{text}
	if len(request) > 1 && bytes.HasPrefix(text, []byte("[")) {
		if err := json.Unmarshal(text, &answers); err != nil {
			s.t.Errorf("%d: %s", response.StatusCode, text)
			return nil
		}
	}
	for i, command := range request {
		if s.answered(command, answers[min(i, len(answers)-1)], response.Header.Get("Retry-After")) {
			again = append(again, command)
		}
	}
	if len(again) > 0 {
		s.breathe(response.Header.Get("Retry-After"))
	}
	return again
}

// breathe is a pause before trying again.
func (s *sender) breathe(retryAfter string) {
	pause := 20 * time.Millisecond
	if seconds, err := strconv.Atoi(retryAfter); err == nil && s.polite {
		pause = time.Duration(seconds) * time.Second
	}
	time.Sleep(pause)
}

func body(request []*commands.Command) []byte {
	if len(request) == 1 {
		return request[0].AppendTo(nil)
	}
	text := []byte{'['}
	for i, command := range request {
		if i > 0 {
			text = append(text, ',')
		}
		text = command.AppendTo(text)
	}
	return append(text, ']')
}

// answered takes the answer to one command; true when it is to be sent again.
func (s *sender) answered(command *commands.Command, text []byte, retryAfter string) bool {
	var answer struct {
		ID     commands.ID
		Status any
		Code   string
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		s.t.Errorf("%s: %s", err, text)
		return false
	}
	switch {
	case answer.Status == string(commands.StatusAccepted) && answer.ID == command.ID:
		s.change(func() { s.accepted[command.ID] = command })
		return false
	case (answer.Status == 429.0 || answer.Status == 503.0) && retryAfter != "":
		s.change(func() { s.refused[fmt.Sprintf("%v %s", answer.Status, answer.Code)]++ })
		return true
	case answer.Code == string(commands.PredecessorRefused):
		return true // the one before it in the array was told to come again
	}
	s.t.Errorf("command %s was answered %s (Retry-After: %q)", command.ID, text, retryAfter)
	return false
}
