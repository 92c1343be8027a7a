package relay_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker/relay"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
)

const lanes = 4

var errAway = errors.New("away")

// world is a log with its lanes and checkpoints, as simple as can be, and a broker with its queues.
type world struct {
	mu       sync.Mutex
	log      []*commands.Outcome
	epochs   [lanes]uint64
	relayed  [lanes]uint64
	versions map[commands.Stream]uint64
	heads    map[commands.Stream]commands.ID
	away     bool // the store
	reads    int  // of the log

	requesters map[string]*requester
	asks       []store.Ask
	numbers    uint64 // of asks
	parked     map[commands.ID]bool

	queues []*queue
	broken int           // messages until the broker fails; below 0: it does not
	slow   time.Duration // per message
	sent   int           // messages that travelled
}

// queue is one that another service has bound.
type queue struct {
	exchange string
	wants    func(key string) bool
	since    uint64 // the end of the log when it was bound
	got      []bus.Notice
}

func newWorld() *world {
	return &world{broken: -1, requesters: map[string]*requester{}, parked: map[commands.ID]bool{}, versions: map[commands.Stream]uint64{}, heads: map[commands.Stream]commands.ID{}}
}

func (w *world) Identity() store.Identity { return store.Identity{Epoch: "e1", Lanes: lanes} }

func (w *world) Log(_ context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, errAway
	}
	w.reads++
	page := w.log[after:min(int(after)+limit, len(w.log))]
	return append([]*commands.Outcome(nil), page...), nil
}

func (w *world) End(context.Context) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return 0, errAway
	}
	return uint64(len(w.log)), nil
}

func (w *world) Head(_ context.Context, s commands.Stream) (*store.Record, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return nil, false, errAway
	}
	head, known := w.heads[s]
	return &store.Record{Stream: s, Head: aggregate.Head{Version: w.versions[s], Action: head}}, known, nil
}

func (w *world) SaveRelayed(_ context.Context, claims []store.Claim) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return errAway
	}
	var err error
	for _, c := range claims {
		if w.epochs[c.Lane] != c.Epoch {
			err = store.ErrFenced
			continue
		}
		w.relayed[c.Lane] = max(w.relayed[c.Lane], c.Relayed)
	}
	return err
}

func (w *world) acquire(wanted ...int) []store.Claim {
	w.mu.Lock()
	defer w.mu.Unlock()
	var claims []store.Claim
	for _, lane := range wanted {
		w.epochs[lane]++
		claims = append(claims, store.Claim{Lane: lane, Epoch: w.epochs[lane], Relayed: w.relayed[lane]})
	}
	return claims
}

// commit appends what is decided, unless a lane was taken over.
func (w *world) commit(claims []store.Claim, outcomes ...*commands.Outcome) (store.Range, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range claims {
		if w.epochs[c.Lane] != c.Epoch {
			return store.Range{}, false
		}
	}
	first := uint64(len(w.log)) + 1
	for _, o := range outcomes {
		if o.Landed() {
			w.versions[o.Stream] += uint64(len(o.Events))
			w.heads[o.Stream] = o.ID
		}
		o.Version = w.versions[o.Stream]
		w.log = append(w.log, o)
		o.Position = uint64(len(w.log))
	}
	return store.Range{First: first, Last: uint64(len(w.log))}, true
}

// streamOn is the n-th stream of a lane.
func streamOn(lane, n int) commands.Stream {
	for i := 0; ; i++ {
		if s := (commands.Stream{Type: []string{"order", "document"}[i%2], ID: strconv.Itoa(i)}); s.Lane(lanes) == lane {
			if n--; n < 0 {
				return s
			}
		}
	}
}

// landing is one on a stream with so many events.
func landing(s commands.Stream, events int) *commands.Outcome {
	o := &commands.Outcome{ID: commands.NewID(), Stream: s, Type: "change", At: time.Now(), Session: "secret"}
	for i := range events {
		o.Events = append(o.Events, commands.Event{Type: []string{"changed", "noted"}[i%2], Data: []byte(`{"n":1}`)})
	}
	return o
}

func rejection(s commands.Stream) *commands.Outcome {
	o := landing(s, 0)
	o.Reason, o.Root, o.RootReason = commands.StaleTicket, o.ID, commands.StaleTicket
	return o
}

// bind makes a queue.
func (w *world) bind(exchange string, wants func(key string) bool) *queue {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := &queue{exchange: exchange, wants: wants, since: uint64(len(w.log))}
	w.queues = append(w.queues, q)
	return q
}

func everything(string) bool { return true }

// send is what the broker does with one message.
func (w *world) send(n bus.Notice) (wanted bool, err error) {
	w.mu.Lock()
	slow := w.slow
	w.mu.Unlock()
	if slow > 0 {
		time.Sleep(slow)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken == 0 {
		return false, errAway
	}
	w.broken--
	w.sent++
	for _, q := range w.queues {
		if q.exchange == n.Exchange && q.wants(n.RoutingKey) {
			q.got = append(q.got, n)
			wanted = true
		}
	}
	return wanted, nil
}

// line is one relay's connection to the broker, which can be frozen.
type line struct {
	*world
	mu     sync.Mutex
	thawed chan struct{} // nil: not frozen
}

var _ relay.Publisher = (*line)(nil)

func (l *line) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.thawed == nil {
		l.thawed = make(chan struct{})
	}
}

func (l *line) thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.thawed != nil {
		close(l.thawed)
		l.thawed = nil
	}
}

// await waits while the line is frozen.
func (l *line) await(ctx context.Context) error {
	l.mu.Lock()
	thawed := l.thawed
	l.mu.Unlock()
	if thawed != nil {
		<-thawed // whatever the context says
	}
	return ctx.Err()
}

func (l *line) Offer(ctx context.Context, n bus.Notice) (bool, error) {
	if err := l.await(ctx); err != nil {
		return false, err
	}
	return l.send(n)
}

func (l *line) Publish(ctx context.Context, notices []bus.Notice) error {
	for _, n := range notices {
		if _, err := l.Offer(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// check holds what a queue got of the events against the log: all that was committed after the queue was bound, first
// deliveries of a stream in order, and nothing that was not committed. What was committed before, and published to
// nobody then, may come as somebody's late repeat, in part and in any order.
func (w *world) check(q *queue) error {
	type place struct {
		stream  string
		version uint64
	}
	ids, owed := map[place]string{}, map[place]bool{}
	next := map[string][]uint64{} // versions that are owed, by stream
	for _, o := range w.log {
		for i := range o.Events {
			at := place{o.Stream.String(), o.FirstVersion() + uint64(i)}
			ids[at] = fmt.Sprintf("e1-%d.%d", o.Position, i)
			if o.Position > q.since && q.wants(commands.EventKey(o.Stream.Type, o.Events[i].Type)) {
				owed[at] = true
				next[at.stream] = append(next[at.stream], at.version)
			}
		}
	}
	for _, n := range q.got {
		version, err := strconv.ParseUint(n.Headers["cloudEvents_sequence"].(string), 10, 64)
		if err != nil {
			return err
		}
		at := place{n.Headers["cloudEvents_subject"].(string), version}
		if ids[at] != n.MessageID || strings.Contains(fmt.Sprint(n), "secret") {
			return fmt.Errorf("%v came as %v and was committed as %q", at, n, ids[at])
		}
		if !owed[at] {
			continue
		}
		if first := next[at.stream][0]; version != first {
			return fmt.Errorf("%v came first before version %d", at, first)
		}
		next[at.stream] = next[at.stream][1:]
		delete(owed, at)
	}
	if len(owed) > 0 {
		return fmt.Errorf("%d of %d events were not delivered, such as %v", len(owed), len(ids), firstOf(owed))
	}
	return nil
}

func firstOf[K comparable](m map[K]bool) (first K) {
	for k := range m {
		return k
	}
	return first
}
