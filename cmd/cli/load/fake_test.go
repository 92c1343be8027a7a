package load

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ticketed/doorman/commands"
)

// fake is the smallest server that keeps the contract as far as a load generator can see it. Its lies are
// what the generator must find out.
type fake struct {
	mu      sync.Mutex
	streams map[string]*fakeStream
	known   map[string]*fakeCommand
	order   []string // ids by position
	lie     lies

	posts, repeats, parked, stale int
	waits                         int
}

// lies are the ways in which a server can be wrong; each is done once, to the command whose place in the
// log it names (from 1), or always.
type lies struct {
	lose        int             // accepted, and then nothing is known of it
	neverSettle int             // accepted, and parked for ever
	twice       int             // has two effects: the first that lands, from that place on
	position    int             // is told at the position before its own
	reason      commands.Reason // instead of stale_ticket
	landStale   bool
	flip        int // tells another outcome than the waiting client was told
	swap        int // answers the lookup with another command's id
	short       int // leaves a command out of the answer
	refuse      int // refuses that POST (counted from 1) once, with a second to wait
	refuseAll   commands.Reason
	hangUp      int // closes the connection on that POST, after taking the command
	chunked     bool
	mixed       bool // refuses every third item of an array, the first time
	head        bool // tells another version of each stream than its last command's
}

type fakeStream struct {
	version int
	head    string
	actions map[string]int
	waiting map[string][]*fakeCommand
}

type fakeCommand struct {
	ID, Stream, Type, Ticket string
	Data                     json.RawMessage

	status   string
	reason   commands.Reason
	version  int
	position int
	refused  bool
	done     chan struct{}
}

func startFake(t *testing.T, lie lies) (*fake, string) {
	t.Helper()
	f := newFake(lie)
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

func newFake(lie lies) *fake {
	return &fake{streams: map[string]*fakeStream{}, known: map[string]*fakeCommand{}, lie: lie}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/v1/commands":
		f.post(w, r)
	case r.URL.Path == "/v1/commands":
		f.lookup(w, r.URL.Query()["id"])
	case strings.HasPrefix(r.URL.Path, "/v1/streams/"):
		f.mu.Lock()
		defer f.mu.Unlock()
		s := f.streams[strings.TrimPrefix(r.URL.Path, "/v1/streams/")]
		version := s.version
		if f.lie.head {
			version++
		}
		f.answer(w, 200, fmt.Sprintf(`{"stream":"x/y","version":%d,"ticket":%q}`, version, s.head))
	default:
		http.NotFound(w, r)
	}
}

func (f *fake) answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	if !f.lie.chunked {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return
	}
	w.WriteHeader(status)
	for len(body) > 0 {
		part := body[:min(len(body), 100)]
		_, _ = io.WriteString(w, part)
		_ = http.NewResponseController(w).Flush()
		body = body[len(part):]
	}
}

func (f *fake) problem(w http.ResponseWriter, code commands.Reason) {
	f.answer(w, code.Status(), fmt.Sprintf(`{"status":%d,"code":%q,"detail":"no"}`, code.Status(), code))
}

func (f *fake) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Content-Type") != "application/json" {
		f.problem(w, commands.Malformed)
		return
	}
	array := body[0] == '['
	if !array {
		body = append(append([]byte{'['}, body...), ']')
	}
	var list []*fakeCommand
	if err := json.Unmarshal(body, &list); err != nil {
		f.problem(w, commands.Malformed)
		return
	}
	f.mu.Lock()
	f.posts++
	posts := f.posts
	f.mu.Unlock()
	switch {
	case f.lie.refuseAll != "":
		f.problem(w, f.lie.refuseAll)
		return
	case posts == f.lie.refuse:
		w.Header().Set("Retry-After", "0")
		f.problem(w, commands.Unavailable)
		return
	}
	wait := r.Header.Get("Prefer") == "wait=30"
	status, items := http.StatusAccepted, make([]string, len(list))
	if wait {
		status = http.StatusOK
	}
	for i, c := range list {
		taken := f.take(c, i)
		if taken == nil {
			items[i] = `{"status":503,"code":"unavailable"}`
			status = http.StatusAccepted
			continue
		}
		if !wait {
			items[i] = fmt.Sprintf(`{"id":%q,"stream":%q,"status":"accepted"}`, taken.ID, taken.Stream)
		}
		list[i] = taken
	}
	for i, c := range list {
		if items[i] == "" {
			<-c.done
			f.mu.Lock()
			f.waits++
			items[i] = f.outcome(c, !array, c.position == f.lie.flip)
			f.mu.Unlock()
			if !array && c.reason != "" {
				status = c.reason.Status()
			}
		}
	}
	if posts == f.lie.hangUp {
		panic(http.ErrAbortHandler)
	}
	if array {
		f.answer(w, status, "["+strings.Join(items, ",")+"]")
	} else {
		f.answer(w, status, items[0])
	}
}

// take judges a command by the ticket rules, in the order of the calls; nil refuses it.
func (f *fake) take(c *fakeCommand, place int) *fakeCommand {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.known[c.ID]
	if known != nil && !known.refused {
		f.repeats++
		return known
	}
	if f.lie.mixed && place%3 == 2 && known == nil {
		c.refused = true
		f.known[c.ID] = c
		return nil
	}
	c.refused, c.done = false, make(chan struct{})
	f.known[c.ID] = c
	s := f.streams[c.Stream]
	if s == nil {
		s = &fakeStream{head: "genesis", actions: map[string]int{"genesis": 0}, waiting: map[string][]*fakeCommand{}}
		f.streams[c.Stream] = s
	}
	f.judge(s, c)
	return c
}

func (f *fake) judge(s *fakeStream, c *fakeCommand) {
	version, landed := s.actions[c.Ticket]
	switch {
	case !landed || len(f.order)+1 == f.lie.neverSettle:
		if f.lie.neverSettle > 0 && landed {
			f.lie.neverSettle = -1
		}
		f.parked++
		s.waiting[c.Ticket] = append(s.waiting[c.Ticket], c)
		return
	case version == s.version, f.lie.landStale:
		f.order = append(f.order, c.ID)
		s.version++
		if f.lie.twice > 0 && len(f.order) >= f.lie.twice {
			f.lie.twice = 0
			s.version++
		}
		c.status = "landed"
		s.head, s.actions[c.ID] = c.ID, s.version
	default:
		f.order = append(f.order, c.ID)
		f.stale++
		c.status, c.reason = "rejected", commands.StaleTicket
		if f.lie.reason != "" {
			c.reason = f.lie.reason
		}
	}
	c.version, c.position = s.version, len(f.order)
	close(c.done)
	next := s.waiting[c.ID]
	delete(s.waiting, c.ID)
	for _, waiting := range next {
		f.judge(s, waiting)
	}
}

// outcome is how a command is told; as a problem when it was posted by itself and rejected.
func (f *fake) outcome(c *fakeCommand, alone, flipped bool) string {
	position, version := c.position, c.version
	if position == f.lie.position {
		position--
	}
	if flipped {
		position += 1_000_000
	}
	rejection := fmt.Sprintf(`,"reason":%q`, c.reason)
	switch {
	case c.reason == "":
		rejection = ""
	case alone:
		return fmt.Sprintf(`{"id":%q,"status":%d,"code":%q,"reason":%q,"position":"e-%d","version":%d}`,
			c.ID, c.reason.Status(), c.reason, c.reason, position, version)
	}
	return fmt.Sprintf(`{"id":%q,"stream":%q,"status":%q,"position":"e-%d","version":%d%s}`,
		c.ID, c.Stream, c.status, position, version, rejection)
}

func (f *fake) lookup(w http.ResponseWriter, ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	items := make([]string, 0, len(ids))
	for _, id := range ids {
		c := f.known[id]
		switch {
		case c == nil, c.position > 0 && c.position == f.lie.lose:
			items = append(items, fmt.Sprintf(`{"id":%q,"status":"unknown"}`, id))
		case c.position > 0 && c.position == f.lie.short:
		case c.position > 0 && c.position == f.lie.swap:
			items = append(items, strings.Replace(f.outcome(c, false, false), id, f.order[0], 1))
		case c.status == "":
			items = append(items, fmt.Sprintf(`{"id":%q,"status":"parked"}`, id))
		default:
			items = append(items, f.outcome(c, false, false))
		}
	}
	f.answer(w, 200, "["+strings.Join(items, ",")+"]")
}

// StartHonest and StartLying let a test outside of this package run whole command lines.
func StartHonest(t *testing.T) string {
	t.Helper()
	_, url := startFake(t, lies{})
	return url
}

// StartLying starts a server that loses one outcome.
func StartLying(t *testing.T) string {
	t.Helper()
	_, url := startFake(t, lies{lose: 300})
	return url
}
