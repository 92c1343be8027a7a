//go:build unix

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/contracttest"
)

// silence is for how long a reader hears nothing before it takes its connection for dead: marks come every
// second, heartbeats every 15 s.
const readerSilence = 20 * time.Second

// reader follows streams and a session over SSE, by whichever gateway takes it, and goes on from its mark by
// another when that one goes. It holds each message against what was told before (promise 8).
type reader struct {
	name     string
	gateways []*process
	random   *rand.Rand
	deliver  string // events or state
	streams  []commands.Stream
	session  string
	found    *complaints
	rejected func(*commands.CommandView)
	http     *http.Client
	stop     context.CancelFunc
	done     chan struct{}

	mu     sync.Mutex
	moved  chan struct{} // closed when the mark is another
	begun  bool          // it has had its first mark
	mark   commands.Position
	known  map[commands.Stream]*known
	own    map[commands.ID]settled
	opened int    // connections
	from   uint64 // the mark with which this one was opened
	ends   []string
	heard  map[commands.ID][]string // of the session's commands
}

// known is what a reader has of a stream.
type known struct {
	version   uint64
	position  uint64
	ticket    commands.ID
	count     int      // the ledger's state
	positions []uint64 // of the landings told, in order
}

// fate is what a session was told of a command.
type fate struct {
	status   commands.Status
	position uint64
}

// settled is a fate and the connection on which it was told last.
type settled struct {
	fate
	connection int
}

// newReaders are two for each session: one is told each landing on all streams, the other the newest states.
func newReaders(l *load, random *rand.Rand) (all []*reader) {
	for i, session := range l.sessions {
		for _, deliver := range []string{"events", "state"} {
			r := &reader{
				name: fmt.Sprintf("reader %d of %s", i, deliver), gateways: l.gateways, deliver: deliver, streams: l.watched(),
				session: session, found: l.found, rejected: l.told, random: rand.New(rand.NewPCG(random.Uint64(), 0)),
				moved: make(chan struct{}), known: map[commands.Stream]*known{}, own: map[commands.ID]settled{},
				heard: map[commands.ID][]string{}, done: make(chan struct{}),
				http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
			}
			for _, s := range r.streams {
				r.known[s] = &known{}
			}
			ctx, cancel := context.WithCancel(context.Background())
			r.stop = func() {
				cancel()
				<-r.done
			}
			go r.run(ctx)
			all = append(all, r)
		}
	}
	return all
}

// run connects until the context ends.
func (r *reader) run(ctx context.Context) {
	defer close(r.done)
	for ctx.Err() == nil {
		err := r.follow(ctx, r.gateways[r.random.IntN(len(r.gateways))])
		if ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		if r.ends = append(r.ends, err.Error()); len(r.ends) > 20 {
			r.ends = r.ends[1:]
		}
		r.mu.Unlock()
		time.Sleep(50*time.Millisecond + time.Duration(r.random.IntN(200))*time.Millisecond) // a client does not insist
	}
}

// follow is one connection. The error says how it ended.
func (r *reader) follow(ctx context.Context, gateway *process) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(readerSilence, cancel)
	defer silence.Stop()
	response, err := r.http.Do(r.request(ctx, gateway))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusServiceUnavailable {
			r.found.add("%s: %d %s", r.name, response.StatusCode, text)
		}
		return fmt.Errorf("%s: %d %s", gateway.name, response.StatusCode, text)
	}
	r.mu.Lock()
	r.opened++
	r.from = r.mark.N
	r.mu.Unlock()
	blocks := contracttest.NewBlocks(response.Body, 4<<10)
	for {
		b, err := blocks.Next()
		if err != nil {
			return fmt.Errorf("%s: %w", gateway.name, err)
		}
		silence.Reset(readerSilence)
		r.take(b)
	}
}

func (r *reader) request(ctx context.Context, gateway *process) *http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	query := url.Values{"deliver": {r.deliver}, "session": {r.session}}
	for _, s := range r.streams {
		query.Add("stream", s.String())
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway.url()+"/v1/notifications?"+query.Encode(), http.NoBody)
	if err != nil {
		panic(err) // it is of this package's making
	}
	request.Header.Set("Accept", "text/event-stream")
	if r.begun {
		request.Header.Set("Last-Event-ID", r.mark.String())
	}
	return request
}

func (r *reader) take(b *contracttest.Block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch b.Event {
	case commands.PushState:
		r.takeState(b.Data)
	case commands.PushLanded, commands.PushRejected:
		r.takeOutcome(b)
	case commands.PushParked:
		var told commands.ParkedView
		r.decode(b.Data, &told)
		r.hear(told.ID, b)
		// What came after the mark may be repeated on the next connection, in its order: that a command waited, and
		// then what it came to (DESIGN section 3).
		if at, is := r.own[told.ID]; is && (at.connection == r.opened || at.position <= r.from) {
			r.found.add("%s: %s is told to be parked after it was %s at %d, on a connection from the mark %d",
				r.name, told.ID, at.status, at.position, r.from)
		}
	case commands.PushReset, commands.PushRefused:
		r.found.add("%s: %s %s after the mark %s", r.name, b.Event, b.Data, r.mark)
	}
	if b.ID == "" {
		return
	}
	mark, err := commands.ParsePosition(b.ID)
	if err != nil || r.begun && (mark.Epoch != r.mark.Epoch || mark.N < r.mark.N) {
		r.found.add("%s: the mark %s after %s", r.name, b.ID, r.mark)
	}
	r.mark, r.begun = mark, true
	close(r.moved)
	r.moved = make(chan struct{})
}

func (r *reader) takeState(data []byte) {
	var told commands.PushView
	r.decode(data, &told)
	k := r.known[told.Stream]
	if k == nil {
		r.found.add("%s: was told of %s, which it does not watch", r.name, told.Stream)
		return
	}
	if told.Position.N <= k.position {
		return // DESIGN section 3: drop states that are not newer, by position
	}
	if r.deliver == "events" && (told.Merged > 1 || told.Version != k.version+uint64(len(told.Events)) ||
		len(told.Events) > 0 && told.Events[0].Version != k.version+1) {
		r.found.add("%s: a hole: version %d of %s was followed by %s", r.name, k.version, told.Stream, data)
	}
	if told.Version < k.version {
		r.found.add("%s: %s went back from version %d to %d", r.name, told.Stream, k.version, told.Version)
	}
	r.fold(k, &told)
	k.version, k.position, k.ticket = told.Version, told.Position.N, told.Ticket
	k.positions = append(k.positions, told.Position.N)
}

// fold: where each landing is told, a state is the one before with the events (promise 10).
func (r *reader) fold(k *known, told *commands.PushView) {
	var state tally
	if string(told.State) != "null" {
		r.decode(told.State, &state)
	}
	count := k.count
	for i := range told.Events {
		var event added
		r.decode(told.Events[i].Data, &event)
		count += event.N
	}
	if k.count = state.Count; r.deliver == "events" && count != state.Count {
		r.found.add("%s: the state of %s at version %d is %d, by its events %d", r.name, told.Stream, told.Version, state.Count, count)
	}
}

func (r *reader) takeOutcome(b *contracttest.Block) {
	var told commands.CommandView
	r.decode(b.Data, &told)
	r.hear(told.ID, b)
	now := fate{commands.StatusLanded, told.Position.N}
	if b.Event == commands.PushRejected {
		now.status = commands.StatusRejected
		r.rejected(&told)
	}
	if before, again := r.own[told.ID]; again && before.fate != now {
		r.found.add("%s: %s is told as %v and as %v", r.name, told.ID, before.fate, now)
	}
	r.own[told.ID] = settled{now, r.opened}
}

// hear keeps for the history what was told of a command.
func (r *reader) hear(id commands.ID, b *contracttest.Block) {
	r.heard[id] = append(r.heard[id], fmt.Sprintf("%s connection %d, mark %d: %s %s",
		time.Now().UTC().Format(time.StampMicro), r.opened, r.mark.N, b.Event, b.ID))
}

func (r *reader) decode(text []byte, into any) {
	if err := json.Unmarshal(text, into); err != nil {
		r.found.add("%s: %v: %s", r.name, err, text)
	}
}

// caughtUp waits until the reader has been told everything up to a position.
func (r *reader) caughtUp(position uint64, late <-chan time.Time) bool {
	for {
		r.mu.Lock()
		caughtUp, moved := r.begun && r.mark.N >= position, r.moved
		r.mu.Unlock()
		if caughtUp {
			return true
		}
		select {
		case <-moved:
		case <-late:
			return false
		}
	}
}

// check holds what the reader was told against what is in the log.
func (r *reader) check(all []*sent, rows []row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	outcomes, landings := map[commands.ID]row{}, map[commands.Stream][]row{}
	for _, o := range rows {
		outcomes[o.id] = o
		if o.landed {
			landings[o.stream] = append(landings[o.stream], o)
		}
	}
	mine := map[commands.ID]bool{}
	for _, s := range all {
		if s.Session != r.session {
			continue
		}
		mine[s.ID] = true
		o := outcomes[s.ID]
		want := fate{commands.StatusRejected, o.position}
		if o.landed {
			want.status = commands.StatusLanded
		}
		if told, is := r.own[s.ID]; !is {
			r.found.add("%s: was not told that %s on %s %s at %d", r.name, s.ID, s.Stream, want.status, want.position)
		} else if told.fate != want {
			r.found.add("%s: was told %v of %s on %s, the log says %v", r.name, told, s.ID, s.Stream, want)
		}
	}
	for id := range r.own {
		if !mine[id] {
			r.found.add("%s: was told of %s, which is not its session's", r.name, id)
		}
	}
	for _, s := range r.streams {
		r.checkStream(s, landings[s])
	}
}

func (r *reader) checkStream(s commands.Stream, landings []row) {
	k := r.known[s]
	if len(landings) == 0 {
		return
	}
	if last := landings[len(landings)-1]; k.version != last.version || k.ticket != last.id {
		r.found.add("%s: has %s at version %d with the ticket %s, the log has %d and %s", r.name, s, k.version, k.ticket, last.version, last.id)
	}
	if r.deliver != "events" {
		return
	}
	var want []uint64
	for _, o := range landings {
		want = append(want, o.position)
	}
	if !slices.Equal(want, k.positions) {
		r.found.add("%s: was told the landings %v of %s, the log has %v", r.name, k.positions, s, want)
	}
}
