//go:build unix

package endtoend

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/contracttest"
)

// follower is a reader of notifications that is cut again and again, and goes on from where it was.
type follower struct {
	t       *testing.T
	name    string
	base    string // of the addresses it asks
	streams []commands.Stream
	session string // empty: none
	deliver string
	// byVersion: it resumes with the versions that it has, as a program does; else with Last-Event-ID, as a
	// browser does.
	byVersion bool
	slow      bool          // it has next to no buffers, and reads slowly
	cuts      bool          // it cuts itself off
	patience  time.Duration // it hangs up when nothing comes for so long; 0: never
	random    *rand.Rand
	http      *http.Client

	mu     sync.Mutex
	moved  *sync.Cond
	over   bool
	begun  bool // it has had its first mark
	mark   commands.Position
	known  map[commands.Stream]*known
	own    map[commands.ID]fate
	parked map[commands.ID]bool
	resets []string
	opened int // connections
	said   []string
}

// known is what a follower has of a stream.
type known struct {
	version   uint64
	position  uint64
	ticket    commands.ID
	count     int      // the ledger's state
	positions []uint64 // of the landings told, in order
	changing  []uint64 // of those with events
}

// fate is what a session was told of a command.
type fate struct {
	status   commands.Status
	position uint64
}

func newFollower(t *testing.T, base string, f *follower) *follower {
	t.Helper()
	f.t, f.base = t, base
	f.moved = sync.NewCond(&f.mu)
	f.known, f.own, f.parked = map[commands.Stream]*known{}, map[commands.ID]fate{}, map[commands.ID]bool{}
	for _, s := range f.streams {
		f.known[s] = &known{}
	}
	dialer := &net.Dialer{}
	if f.slow {
		dialer.Control = func(_, _ string, c syscall.RawConn) (err error) {
			failed := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
			if failed != nil {
				return failed
			}
			return err
		}
	}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, ReadBufferSize: 1024}
	f.http = &http.Client{Transport: transport}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.run(ctx)
	}()
	t.Cleanup(func() {
		f.change(func() { f.over = true })
		cancel()
		<-done
		transport.CloseIdleConnections()
		if t.Failed() {
			t.Logf("%s: %d connections, the newest mark %s; %q", f.name, f.opened, f.mark, f.said)
		}
	})
	return f
}

func (f *follower) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	f.moved.Broadcast()
}

// await waits until the condition holds.
func (f *follower) await(what string, condition func() bool) {
	f.t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() { f.change(func() { late = true }) })
	defer timer.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for !condition() && !late {
		f.moved.Wait()
	}
	if late {
		require.FailNow(f.t, "in vain: "+what, "%s has the mark %s", f.name, f.mark)
	}
}

// run connects until the follower is over.
func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := f.follow(ctx); err != nil && ctx.Err() == nil {
			f.mu.Lock()
			if f.said = append(f.said, shortly(err)); len(f.said) > 10 {
				f.said = f.said[1:]
			}
			f.mu.Unlock()
			time.Sleep(20 * time.Millisecond) // nobody is there; a client does not insist
		}
	}
}

// follow is one connection. The error says that it could not be opened.
func (f *follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request := f.request(ctx)
	response, err := f.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusServiceUnavailable {
			f.t.Errorf("%s: %d %s", f.name, response.StatusCode, text)
		}
		return fmt.Errorf("%d %s", response.StatusCode, text)
	}
	f.change(func() { f.opened++ })
	// Where not all is told from the log, what it is owed when it comes is marked at the end alone: it is cut off
	// before that at times only.
	left, early := 1+f.random.IntN(300), f.deliver == "events" || f.random.IntN(4) == 0
	blocks := contracttest.NewBlocks(response.Body, 512)
	silence := time.AfterFunc(cmp.Or(f.patience, time.Hour), cancel)
	defer silence.Stop()
	for {
		b, err := blocks.Next()
		if err != nil {
			f.mu.Lock()
			f.said = append(f.said, shortly(err))
			f.mu.Unlock()
			return nil
		}
		silence.Reset(cmp.Or(f.patience, time.Hour))
		f.take(b)
		early = early || b.ID != ""
		if early && f.hasBegun() && f.cuts {
			left--
		}
		if left == 0 {
			return nil
		}
		if f.slow && f.random.IntN(8) == 0 {
			time.Sleep(time.Duration(f.random.IntN(10)) * time.Millisecond)
		}
	}
}

// connections is how many there were so far.
func (f *follower) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened
}

func (f *follower) hasBegun() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun
}

func (f *follower) request(ctx context.Context) *http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	query := url.Values{"deliver": {f.deliver}}
	for _, s := range f.streams {
		name := s.String()
		if f.byVersion && f.begun {
			name += fmt.Sprintf("@%d", f.known[s].version)
		}
		query.Add("stream", name)
	}
	if f.session != "" {
		query.Set("session", f.session)
	}
	if f.byVersion && f.begun {
		query.Set("after", f.mark.String())
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.base+"/v1/notifications?"+query.Encode(), http.NoBody)
	if err != nil {
		panic(err) // it is of this package's making
	}
	request.Header.Set("Accept", "text/event-stream")
	if !f.byVersion && f.begun {
		request.Header.Set("Last-Event-ID", f.mark.String())
	}
	return request
}

// take holds a message against what was told before: promise 8.
func (f *follower) take(b *contracttest.Block) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.moved.Broadcast()
	switch b.Event {
	case commands.PushState:
		f.takeState(b.Data)
	case commands.PushLanded, commands.PushRejected:
		f.takeOutcome(b)
	case commands.PushParked:
		var told commands.ParkedView
		f.decode(b.Data, &told)
		if at, settled := f.own[told.ID]; settled {
			f.t.Errorf("%s: %s is told to be parked after it was %s", f.name, told.ID, at.status)
		}
		f.parked[told.ID] = true
	case commands.PushReset, commands.PushRefused:
		f.resets = append(f.resets, string(b.Data))
	}
	if b.ID == "" {
		return
	}
	mark, err := commands.ParsePosition(b.ID)
	if err != nil || f.begun && (mark.Epoch != f.mark.Epoch || mark.N < f.mark.N) {
		f.t.Errorf("%s: the mark %s after %s", f.name, b.ID, f.mark)
	}
	f.mark, f.begun = mark, true
}

func (f *follower) takeState(data []byte) {
	var told commands.PushView
	f.decode(data, &told)
	k := f.known[told.Stream]
	if k == nil {
		f.t.Errorf("%s: was told of %s, which it does not watch", f.name, told.Stream)
		return
	}
	if told.Position.N <= k.position {
		return // DESIGN section 3: drop states that are not newer, by position
	}
	for i := range told.Events {
		id := told.Events[i].Command.ID
		if _, settled := f.own[id]; sessionOf(id, f) && !settled {
			f.t.Errorf("%s: the state of %s contains %s, which its session was not told of", f.name, told.Stream, id)
		}
	}
	if f.deliver == "events" && (told.Merged > 1 || told.Version != k.version+uint64(len(told.Events)) ||
		len(told.Events) > 0 && told.Events[0].Version != k.version+1) {
		f.t.Errorf("%s: version %d of %s was followed by %s", f.name, k.version, told.Stream, data)
	}
	if told.Version < k.version {
		f.t.Errorf("%s: %s went back from version %d to %d", f.name, told.Stream, k.version, told.Version)
	}
	f.fold(k, &told)
	k.version, k.position, k.ticket = told.Version, told.Position.N, told.Ticket
	k.positions = append(k.positions, told.Position.N)
	if len(told.Events) > 0 {
		k.changing = append(k.changing, told.Position.N)
	}
}

// fold: where each landing is told, a state is the one before with the events (promise 10).
func (f *follower) fold(k *known, told *commands.PushView) {
	if told.Stream.Type != "ledger" && told.Stream.Type != "brief" || f.deliver == "ticket" {
		return
	}
	var state tally
	if string(told.State) != "null" {
		f.decode(told.State, &state)
	}
	count := k.count
	for i := range told.Events {
		var event added
		f.decode(told.Events[i].Data, &event)
		count += event.N
	}
	if k.count = state.Count; f.deliver == "events" && count != state.Count {
		f.t.Errorf("%s: the state of %s at version %d is %d, by its events %d", f.name, told.Stream, told.Version, state.Count, count)
	}
}

func (f *follower) takeOutcome(b *contracttest.Block) {
	var told struct {
		ID       commands.ID
		Position commands.Position
	}
	f.decode(b.Data, &told)
	now := fate{commands.StatusLanded, told.Position.N}
	if b.Event == commands.PushRejected {
		now.status = commands.StatusRejected
	}
	if before, again := f.own[told.ID]; again && before != now {
		f.t.Errorf("%s: %s is told as %v and as %v", f.name, told.ID, before, now)
	}
	f.own[told.ID] = now
	delete(f.parked, told.ID)
}

func (f *follower) decode(text []byte, into any) {
	if err := json.Unmarshal(text, into); err != nil {
		f.t.Errorf("%s: %s: %s", f.name, err, text)
	}
}

// sessionOf tells whether a command is of the follower's session.
func sessionOf(id commands.ID, f *follower) bool {
	if f.session == "" {
		return false
	}
	sessions.Lock()
	defer sessions.Unlock()
	return sessions.of[id] == f.session
}

// sessions are those of the commands that followers may be told of.
var sessions = struct {
	sync.Mutex
	of map[commands.ID]string
}{of: map[commands.ID]string{}}

// ofSession makes a command one of a session.
func ofSession(c *commands.Command, session string) {
	sessions.Lock()
	defer sessions.Unlock()
	c.Session, sessions.of[c.ID] = session, session
}

// check holds what a follower was told against what became of all commands, once it has the last mark.
func (f *follower) check(found *report) {
	f.t.Helper()
	f.await("the follower is caught up", func() bool { return f.mark.N >= uint64(len(found.views)) })
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Empty(f.t, f.resets, "%s: nothing was lost", f.name)
	byStream := map[commands.Stream][]commands.CommandView{}
	for id, view := range found.views {
		byStream[view.Stream] = append(byStream[view.Stream], view)
		if sessionOf(id, f) {
			require.Equal(f.t, fate{view.Status, view.Position.N}, f.own[id], "%s: command %s", f.name, id)
		}
	}
	for id := range f.own {
		require.True(f.t, sessionOf(id, f), "%s was told of a command that is not its session's", f.name)
	}
	require.Empty(f.t, f.parked)
	for _, s := range f.streams {
		f.checkStream(s, byStream[s])
	}
}

func (f *follower) checkStream(s commands.Stream, views []commands.CommandView) {
	f.t.Helper()
	slices.SortFunc(views, func(a, b commands.CommandView) int { return int(a.Position.N) - int(b.Position.N) })
	var positions, changing []uint64
	var version uint64
	ticket := commands.Genesis
	for i := range views {
		if views[i].Status != commands.StatusLanded {
			continue
		}
		positions = append(positions, views[i].Position.N)
		if views[i].Version > version {
			changing = append(changing, views[i].Position.N)
		}
		version, ticket = views[i].Version, views[i].ID
	}
	k := f.known[s]
	require.Equal(f.t, version, k.version, "%s: the newest version of %s", f.name, s)
	if !f.byVersion { // who resumes by versions is not told of landings without events at just that version
		require.True(f.t, version == 0 && k.ticket == commands.None || ticket == k.ticket, "%s: the newest ticket of %s", f.name, s)
	}
	if f.deliver != "events" {
		return
	}
	require.Equal(f.t, changing, k.changing, "%s: the changes of %s", f.name, s)
	if !f.byVersion {
		require.Equal(f.t, positions, k.positions, "%s: the landings on %s", f.name, s)
	}
}

func shortly(err error) string {
	text := err.Error()
	return text[max(0, len(text)-100):]
}
