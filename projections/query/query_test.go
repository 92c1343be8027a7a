package query_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/query"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The contract as a whole is held against these endpoints in deploy/contracttest. Here is what takes a
// store that fails, or one that holds what no client can bring about.

var stream42 = commands.Stream{Type: "tally", ID: "42"}

// shelf is a store's reading half with what a test puts there.
type shelf struct {
	store.Reader // what is not asked here

	heads    map[commands.Stream]*store.Record
	kept     store.Snapshot
	changes  []store.Change // of any stream
	facts    map[commands.ID]aggregate.Fact
	status   map[commands.ID]store.CommandStatus
	err      error
	headErr  bool  // of reading a head too; as it is at first
	after    int   // reads of changes that still succeed, when not 0
	asked    []int // how many changes, at each read
	headed   atomic.Int64
	lookedUp int
}

func newShelf() *shelf {
	return &shelf{heads: map[commands.Stream]*store.Record{}, facts: map[commands.ID]aggregate.Fact{},
		status: map[commands.ID]store.CommandStatus{}, headErr: true}
}

func (s *shelf) Head(_ context.Context, stream commands.Stream) (*store.Record, bool, error) {
	s.headed.Add(1)
	record := s.heads[stream]
	if !s.headErr {
		return record, record != nil, nil
	}
	return record, record != nil, s.err
}

func (s *shelf) StateBefore(context.Context, commands.Stream, uint64) (store.Snapshot, error) {
	return s.kept, s.err
}

func (s *shelf) Changes(_ context.Context, _ commands.Stream, after uint64, limit int) ([]store.Change, error) {
	s.asked = append(s.asked, limit)
	if s.after > 0 {
		if s.after--; s.after == 0 {
			return nil, store.ErrUnavailable
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	rest := s.changes[min(after, uint64(len(s.changes))):]
	return rest[:min(limit, len(rest))], nil
}

func (s *shelf) Status(_ context.Context, ids []commands.ID) ([]store.CommandStatus, error) {
	all := make([]store.CommandStatus, len(ids))
	for i, id := range ids {
		all[i] = s.status[id]
		all[i].ID = id
	}
	return all, s.err
}

func (s *shelf) Lookup(_ context.Context, ids []commands.ID) ([]aggregate.Fact, error) {
	s.lookedUp += len(ids)
	all := make([]aggregate.Fact, len(ids))
	for i, id := range ids {
		all[i] = s.facts[id]
	}
	return all, s.err
}

// fill makes a stream of n events that each add one, with a state kept at the version given.
func (s *shelf) fill(n, kept int) *store.Record {
	record := &store.Record{Stream: stream42, Head: aggregate.Head{Version: uint64(n), Action: commands.NewID(), Position: uint64(n),
		At: time.UnixMicro(1).UTC()}, StateVersion: uint64(kept)}
	if kept > 0 {
		record.State = fmt.Appendf(nil, "%d", kept)
	}
	s.kept = store.Snapshot{Version: uint64(kept), State: record.State}
	for i := range n {
		event := commands.Event{Type: "added", Schema: 1, Data: []byte("{}")}
		s.changes = append(s.changes, store.Change{Version: uint64(i) + 1, Position: uint64(i) + 1, Event: event, Command: commands.NewID()})
		if i >= kept {
			record.Tail = append(record.Tail, event)
		}
	}
	s.heads[stream42] = record
	return record
}

// enlarge gives every change that many bytes of data.
func (s *shelf) enlarge(size int) {
	for i := range s.changes {
		s.changes[i].Event.Data = fmt.Appendf(nil, `{"pad":"%0*d"}`, size, i)
	}
}

type added struct{}

func (added) event() {}

// tally counts its events; a state of 13 cannot be told.
func tally() aggregate.Type {
	t := aggregate.Define[interface{ event() }]("tally", luck(0), aggregate.Settings{})
	aggregate.Handle(t, "add", func(luck, struct{}) ([]interface{ event() }, error) {
		return []interface{ event() }{added{}}, nil
	})
	aggregate.On(t, "added", func(n luck, _ added) luck { return n + 1 })
	return t.MustBuild()
}

type luck int

func (n luck) MarshalJSON() ([]byte, error) {
	if n == 13 {
		return nil, errors.New("no luck")
	}
	return json.Marshal(int(n))
}

type setting struct {
	query.Config

	lines bytes.Buffer
}

func over(s *shelf) *setting {
	t := tally()
	x := &setting{}
	x.Config = query.Config{
		Reader: s, Epoch: "e1",
		Type:     func(name string) (aggregate.Type, bool) { return t, name == "tally" },
		Register: func(commands.ID) (query.Waiter, bool) { return nil, false },
		Watch:    func(commands.Stream) (query.StreamWaiter, bool) { return nil, false },
		Log:      slog.New(slog.NewTextHandler(&x.lines, nil)),
	}
	return x
}

func (x *setting) query(t *testing.T) *query.Query {
	t.Helper()
	q, err := query.New(x.Config)
	require.NoError(t, err)
	return q
}

func (x *setting) mux(t *testing.T) *http.ServeMux {
	t.Helper()
	mux := http.NewServeMux()
	x.query(t).Mount(mux)
	return mux
}

func (x *setting) get(t *testing.T, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	mux := x.mux(t)
	r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

// everywhere are addresses of which each reads the store.
func everywhere() []string {
	id := commands.NewID().String()
	return []string{
		"/v1/commands/" + id, "/v1/commands?id=" + id, "/v1/streams/tally/42", "/v1/streams/tally/42?version=1", "/v1/streams/tally/42/events",
	}
}

func TestAStoreThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, path := range everywhere() {
		s := newShelf()
		s.fill(3, 3)
		s.err = fmt.Errorf("dial: %w", store.ErrUnavailable)
		x := over(s)
		w := x.get(t, path)
		require.Equal(t, 503, w.Code, path)
		require.Regexp(t, "^[123]$", w.Header().Get("Retry-After"))
		require.Contains(t, w.Body.String(), `"code":"unavailable"`)
		require.Empty(t, x.lines.String(), "an outage is told of once, by what watches over the store")
	}
}

func TestAnErrorIsLoggedAndNotTold(t *testing.T) {
	t.Parallel()
	for _, path := range everywhere() {
		s := newShelf()
		s.fill(3, 3)
		s.err = errors.New("row 7 is no outcome")
		x := over(s)
		w := x.get(t, path)
		require.Equal(t, 500, w.Code, path)
		require.Contains(t, w.Body.String(), `"code":"internal"`)
		require.NotContains(t, w.Body.String(), "row 7")
		require.Contains(t, x.lines.String(), "row 7 is no outcome")
	}
}

func TestWhoHasGoneIsNotAnswered(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.err = context.Canceled
	x := over(s)
	mux := http.NewServeMux()
	x.query(t).Mount(mux)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/v1/streams/tally/42", nil))
	require.Empty(t, w.Body.String())
	require.Empty(t, x.lines.String())
}

func TestEventsAfterTheStoredStateAreFolded(t *testing.T) {
	t.Parallel()
	s := newShelf()
	record := s.fill(7, 4)
	require.Contains(t, over(s).get(t, "/v1/streams/tally/42").Body.String(), `"version":7,"ticket":"`+record.Head.Action.String()+`","state":7,`)
	require.Contains(t, over(s).get(t, "/v1/streams/tally/42?version=6").Body.String(), `"version":6,"ticket":"`+record.Head.Action.String()+`","state":6,`)

	view, err := over(s).query(t).Tell(t.Context(), stale(commands.Genesis))
	require.NoError(t, err)
	require.Equal(t, "7", string(view.State))
}

func TestALongWayFromAKeptStateIsFoldedInBatches(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.fill(1300, 0)
	require.Contains(t, over(s).get(t, "/v1/streams/tally/42?version=1201").Body.String(), `"version":1201,`)
	require.Contains(t, over(s).get(t, "/v1/streams/tally/42?version=1201").Body.String(), `"state":1201,"at":`)
}

func TestAHistoryWithHolesIsNotFolded(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.fill(10, 2)
	s.changes = s.changes[:5]
	x := over(s)
	require.Equal(t, 500, x.get(t, "/v1/streams/tally/42?version=8").Code)
	require.Contains(t, x.lines.String(), "events are missing")
	require.Equal(t, 500, x.get(t, "/v1/streams/tally/42/events").Code)
}

// DESIGN section 2: a command on a history that cannot be folded ends as failed, and is told so.
func TestARejectionIsToldThoughTheStateCannotBe(t *testing.T) {
	t.Parallel()
	s := newShelf()
	record := s.fill(13, 4)
	x := over(s)
	require.Equal(t, 500, x.get(t, "/v1/streams/tally/42").Code)
	o := stale(commands.Genesis)
	o.Reason = commands.Failed
	view, err := x.query(t).Tell(t.Context(), o)
	require.NoError(t, err)
	require.Nil(t, view.State)
	require.Len(t, view.Missed, 13)
	require.EqualValues(t, 13, view.Version)
	require.Equal(t, record.Head.Action, view.Ticket)
	require.Contains(t, x.lines.String(), "no luck")
}

func TestARejectionOfATypeNoLongerServedIsTold(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.fill(5, 4)
	x := over(s)
	x.Type = func(string) (aggregate.Type, bool) { return nil, false }
	view, err := x.query(t).Tell(t.Context(), stale(commands.Genesis))
	require.NoError(t, err)
	require.Nil(t, view.State)
	require.EqualValues(t, 5, view.Version)
}

// stale is a rejection with a ticket.
func stale(ticket commands.ID) *commands.Outcome {
	id := commands.NewID()
	return &commands.Outcome{ID: id, Stream: stream42, Type: "add", Ticket: ticket, Reason: commands.StaleTicket, Root: id,
		RootReason: commands.StaleTicket, Position: 9}
}

// DESIGN section 2: missed are the changes since the nearest landed ancestor of the rejected ticket.
func TestMissedBeginsAtTheNearestLandedAncestor(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.fill(10, 10)
	landed, elsewhere, parked, unheard := commands.NewID(), commands.NewID(), commands.NewID(), commands.NewID()
	s.facts[landed] = aggregate.Fact{Standing: aggregate.Landed, Stream: stream42, Version: 6}
	s.facts[elsewhere] = aggregate.Fact{Standing: aggregate.Landed, Stream: commands.Stream{Type: "tally", ID: "7"}, Version: 6}
	s.facts[parked] = aggregate.Fact{Standing: aggregate.Parked, Stream: stream42}
	reject := func(ticket, root commands.ID) commands.ID {
		id := commands.NewID()
		if root == commands.None {
			root = id
		}
		s.facts[id] = aggregate.Fact{Standing: aggregate.Rejected, Stream: stream42, Ticket: ticket, Root: root}
		return id
	}
	root := reject(landed, commands.None)
	chain := landed
	for range 50 {
		chain = reject(chain, commands.None)
	}
	endless := landed
	for range 100 {
		endless = reject(endless, commands.None)
	}
	circle := commands.NewID()
	other := reject(circle, circle)
	s.facts[circle] = aggregate.Fact{Standing: aggregate.Rejected, Stream: stream42, Ticket: other, Root: circle}

	for name, c := range map[string]struct {
		ticket commands.ID
		missed int
	}{
		"genesis":                                  {commands.Genesis, 10},
		"no ticket":                                {commands.None, 0},
		"an action":                                {landed, 4},
		"an action of another stream":              {elsewhere, 0},
		"a parked command":                         {parked, 0},
		"a command nobody knows":                   {unheard, 0},
		"a rejected command":                       {root, 4},
		"one rejected with its root":               {reject(unheard, root), 4},
		"many rejected one after another":          {chain, 4},
		"more than are gone back over":             {endless, 0},
		"one rejected after a command nobody knew": {reject(unheard, commands.None), 0},
		"one after genesis":                        {reject(commands.Genesis, commands.None), 10},
		"a circle":                                 {circle, 0},
	} {
		view, err := over(s).query(t).Tell(t.Context(), stale(c.ticket))
		require.NoError(t, err, name)
		require.Len(t, view.Missed, c.missed, name)
		require.NotNil(t, view.Missed, name)
		for i := range view.Missed {
			require.EqualValues(t, 10-c.missed+i+1, view.Missed[i].Version, name)
		}
	}

	// The ticket of a command that a cascade took along is passed over: its root is known.
	s.lookedUp = 0
	o := stale(unheard)
	o.Root = root
	view, err := over(s).query(t).Tell(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, view.Missed, 4)
	require.Equal(t, 2, s.lookedUp)
}

func TestOneAnswerTellsTheSameOfEachStream(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.fill(3, 3)
	ids := "/v1/commands?"
	for range 20 {
		o := stale(commands.Genesis)
		s.status[o.ID] = store.CommandStatus{Outcome: o}
		ids += "id=" + o.ID.String() + "&"
	}
	w := over(s).get(t, strings.TrimSuffix(ids, "&"))
	require.Equal(t, 200, w.Code)
	require.Equal(t, 20, strings.Count(w.Body.String(), `"state":3`))
	require.EqualValues(t, 1, s.headed.Load())
}

// scripted is a waiter that does as told.
type scripted struct {
	wait   func(context.Context) (*commands.Outcome, error)
	closed int
}

func (x *scripted) Wait(ctx context.Context) (*commands.Outcome, bool, error) {
	o, err := x.wait(ctx)
	return o, false, err
}
func (x *scripted) Changed(ctx context.Context) error {
	_, err := x.wait(ctx)
	return err
}
func (x *scripted) Close() { x.closed++ }

func TestAGETWaitsForTheOutcome(t *testing.T) {
	t.Parallel()
	s := newShelf()
	x := over(s)
	id := commands.NewID()
	wait := &scripted{wait: func(context.Context) (*commands.Outcome, error) {
		return &commands.Outcome{ID: id, Stream: stream42, Type: "add", Position: 3, Version: 1}, nil
	}}
	x.Register = func(asked commands.ID) (query.Waiter, bool) { return wait, asked == id }
	w := x.get(t, "/v1/commands/"+id.String(), "Prefer: wait=5")
	require.Equal(t, 200, w.Code)
	require.Equal(t, "wait=5", w.Header().Get("Preference-Applied"))
	require.Contains(t, w.Body.String(), `"status":"landed"`)
	require.Equal(t, 1, wait.closed)
}

func TestAGETThatWaitedInVainReadsAgain(t *testing.T) {
	t.Parallel()
	s := newShelf()
	x := over(s)
	id := commands.NewID()
	wait := &scripted{wait: func(context.Context) (*commands.Outcome, error) {
		s.status[id] = store.CommandStatus{Outcome: &commands.Outcome{ID: id, Stream: stream42, Position: 3}}
		return nil, context.DeadlineExceeded
	}}
	x.Register = func(commands.ID) (query.Waiter, bool) { return wait, true }
	require.Contains(t, x.get(t, "/v1/commands/"+id.String(), "Prefer: wait=5").Body.String(), `"status":"landed"`)
}

func TestTooManyWaitersAreAnsweredWithoutWaiting(t *testing.T) {
	t.Parallel()
	s := newShelf()
	record := s.fill(3, 3)
	w := over(s).get(t, "/v1/commands/"+commands.NewID().String(), "Prefer: wait=5")
	require.Equal(t, 404, w.Code)
	require.Empty(t, w.Header().Get("Preference-Applied"))
	w = over(s).get(t, "/v1/streams/tally/42", "Prefer: wait=5", `If-None-Match: "`+record.Head.Action.String()+`"`)
	require.Equal(t, 304, w.Code)
	require.Empty(t, w.Header().Get("Preference-Applied"))
}

func TestALongPollGoesOnUntilTheTicketIsAnother(t *testing.T) {
	t.Parallel()
	s := newShelf()
	record := s.fill(3, 3)
	before := record.Head.Action
	wakes := 0
	watch := &scripted{wait: func(context.Context) (*commands.Outcome, error) {
		if wakes++; wakes == 3 {
			record.Head.Action = commands.NewID()
		}
		return nil, nil
	}}
	x := over(s)
	x.Watch = func(stream commands.Stream) (query.StreamWaiter, bool) { return watch, stream == stream42 }
	w := x.get(t, "/v1/streams/tally/42", "Prefer: wait=5", `If-None-Match: "`+before.String()+`"`)
	require.Equal(t, 200, w.Code)
	require.Equal(t, `"`+record.Head.Action.String()+`"`, w.Header().Get("ETag"))
	require.Equal(t, 3, wakes, "being woken is no change yet")
	require.Equal(t, 1, watch.closed)
}

func TestAPageThatBreaksOffBreaksTheConnection(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.fill(500, 500)
	s.enlarge(2 << 10)
	s.after = 3
	mux := http.NewServeMux()
	over(s).query(t).Mount(mux)
	w := httptest.NewRecorder()
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		mux.ServeHTTP(w, httptest.NewRequest("GET", "/v1/streams/tally/42/events?limit=500", nil))
	})
	require.True(t, strings.HasPrefix(w.Body.String(), `[{"version":1,`))
	require.False(t, json.Valid(w.Body.Bytes()), "nobody takes it for a whole page")
}

// DESIGN section 5, promise 12: how much of a history is read at once hangs on how large it is.
func TestLargeChangesAreReadAFewAtATime(t *testing.T) {
	t.Parallel()
	for size, want := range map[int][]int{10: {32, 38}, 100 << 10: {32, 8, 8, 8, 8, 6}} {
		for _, path := range []string{"/v1/streams/tally/42/events?limit=70", "/v1/streams/tally/42?version=70"} {
			s := newShelf()
			s.fill(70, 0)
			s.enlarge(size)
			require.Equal(t, 200, over(s).get(t, path).Code)
			require.Equal(t, want, s.asked[:len(want)], "%s with %d bytes each", path, size)
		}
	}
}

// largest remembers the largest piece in which an answer was written, and how much it was in all.
type largest struct {
	*httptest.ResponseRecorder
	piece, all int
}

func (l *largest) Write(b []byte) (int, error) {
	l.piece, l.all = max(l.piece, len(b)), l.all+len(b)
	return l.ResponseRecorder.Write(b)
}

// DESIGN section 5, promise 12: each rejection tells what its sender missed, which may be large; an answer about many
// of them is not held as a whole.
func TestWhatManyRejectionsTellIsSentInParts(t *testing.T) {
	t.Parallel()
	s := newShelf()
	s.fill(100, 100)
	s.enlarge(10 << 10)
	path := "/v1/commands?"
	for range 20 {
		o := stale(commands.Genesis)
		s.status[o.ID] = store.CommandStatus{ID: o.ID, Outcome: o}
		path += "id=" + o.ID.String() + "&"
	}
	mux := http.NewServeMux()
	over(s).query(t).Mount(mux)
	w := &largest{ResponseRecorder: httptest.NewRecorder()}
	mux.ServeHTTP(w, httptest.NewRequest("GET", strings.TrimSuffix(path, "&"), nil))
	require.Equal(t, 200, w.Code)
	require.Greater(t, w.all, 20_000_000)
	require.Less(t, w.piece, 2<<20)
	var views []commands.CommandView
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &views))
	require.Len(t, views, 20)
	require.Len(t, views[19].Missed, 100)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
}

func TestEverythingMissingIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := query.New(query.Config{})
	for _, name := range []string{"Reader", "Epoch", "Type", "Register", "Watch"} {
		require.ErrorContains(t, err, "query: "+name+" is not given")
	}
}

func benchGet(b *testing.B, path string) {
	s := newShelf()
	s.fill(100, 100)
	id := commands.NewID()
	s.status[id] = store.CommandStatus{Outcome: &commands.Outcome{ID: id, Stream: stream42, Type: "add", Position: 3, Version: 1}}
	x := over(s)
	q, err := query.New(x.Config)
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	q.Mount(mux)
	r := httptest.NewRequest("GET", strings.ReplaceAll(path, "ID", id.String()), nil)
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for range b.N {
		clear(w.header)
		mux.ServeHTTP(w, r)
	}
	if w.status != 200 {
		b.Fatal(w.status)
	}
}

type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// What the endpoints cost besides the store.
func BenchmarkGetStream(b *testing.B)  { benchGet(b, "/v1/streams/tally/42") }
func BenchmarkGetCommand(b *testing.B) { benchGet(b, "/v1/commands/ID") }
func BenchmarkGetChanges(b *testing.B) { benchGet(b, "/v1/streams/tally/42/events") }
