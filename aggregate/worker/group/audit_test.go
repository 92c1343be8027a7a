package group_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/aggregate/worker/group"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/inproc"
	"github.com/ticketed/doorman/commands"
)

// process is a runner with real workers. It can be killed: from then on it reaches neither the database nor
// the bus, which gives what it had not acknowledged to the others. It can freeze: what it asks of the database
// is asked when it thaws.
type process struct {
	store.Store
	group.Members
	frames message.Subscriber
	life   context.Context
	kill   context.CancelFunc
	runner *group.Runner

	mu      sync.Mutex
	frozen  chan struct{} // closed when it thaws
	holding chan struct{} // gets a token when a commit waits for that
	fenced  atomic.Int32  // commits
}

func startProcess(t *testing.T, name string, config postgres.Config, frames message.Subscriber) *process {
	s := openPostgres(t, config)
	p := &process{Store: s, Members: s.Members(), frames: frames, frozen: make(chan struct{}), holding: make(chan struct{}, 1)}
	close(p.frozen)
	p.life, p.kill = context.WithCancel(context.Background())
	types, err := aggregate.NewRegistry(document.Type())
	require.NoError(t, err)
	log := slog.New(slog.NewTextHandler(t.Output(), nil)).With("who", name)
	p.runner, err = group.New(group.Config{Members: p, Name: name, Lanes: s.Identity().Lanes, Log: log,
		Make: func(lanes []int, fenced func()) (group.Worker, error) {
			return worker.New(worker.Config{Store: p, Types: types, Subscriber: p, Lanes: lanes, Owner: name,
				Fenced: fenced, Log: log, QueueBound: inproc.DefaultMaxMessages})
		}})
	require.NoError(t, err)
	require.NoError(t, p.runner.Start(t.Context()))
	t.Cleanup(func() {
		require.NoError(t, p.runner.Stop())
		p.kill()
	})
	return p
}

// freeze returns the function by which it thaws.
func (p *process) freeze() (thaw func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	frozen := make(chan struct{})
	p.frozen = frozen
	return func() { close(frozen) }
}

func (p *process) waitFrozen() {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	<-frozen
}

func (p *process) dead() error {
	p.waitFrozen()
	if p.life.Err() != nil {
		return fmt.Errorf("%w: the process was killed", store.ErrUnavailable)
	}
	return nil
}

func (p *process) Acquire(ctx context.Context, lanes []int, owner string) ([]store.Claim, error) {
	if err := p.dead(); err != nil {
		return nil, err
	}
	return p.Store.Acquire(ctx, lanes, owner)
}

// Commit may be under way when the process is killed: it is committed, and the process never learns of it.
func (p *process) Commit(ctx context.Context, batch *store.Batch) (store.Range, error) {
	p.mu.Lock()
	select {
	case <-p.frozen:
	default:
		p.holding <- struct{}{}
	}
	p.mu.Unlock()
	if err := p.dead(); err != nil {
		return store.Range{}, err
	}
	covered, err := p.Store.Commit(ctx, batch)
	if errors.Is(err, store.ErrFenced) {
		p.fenced.Add(1)
	}
	if p.life.Err() != nil {
		return store.Range{}, store.ErrFateUnknown
	}
	return covered, err
}

func (p *process) Renew(ctx context.Context, self group.Member) ([]group.Member, error) {
	if err := p.dead(); err != nil {
		return nil, err
	}
	return p.Members.Renew(ctx, self)
}

func (p *process) Leave(ctx context.Context, id string) error {
	if err := p.dead(); err != nil {
		return err
	}
	return p.Members.Leave(ctx, id)
}

func (p *process) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(p.life, cancel)
	return p.frames.Subscribe(ctx, topic)
}

func (p *process) Close() error { return nil } // the store and the bus are closed by who made them

// load is clients, each on a stream of its own, that send one command after another, several ahead.
type load struct {
	t         *testing.T
	sender    *bus.Sender
	confirmed atomic.Int64
	over      chan struct{}
	clients   sync.WaitGroup
	sent      [][]commands.ID // of each client, in order
}

const (
	clients = 24
	ahead   = 4
)

func startLoad(t *testing.T, sender *bus.Sender) *load {
	l := &load{t: t, sender: sender, over: make(chan struct{}), sent: make([][]commands.ID, clients)}
	for n := range clients {
		l.clients.Go(func() { l.client(n) })
	}
	return l
}

func (l *load) stream(client int) commands.Stream {
	return commands.Stream{Type: "document", ID: fmt.Sprint("d", client)}
}

func (l *load) client(n int) {
	var answers []chan error // the oldest is waited for: where its frame is late, the others are parked
	ticket, kind := commands.Genesis, "create"
	for version := 1; ; version++ {
		select {
		case <-l.over:
			for _, answer := range answers {
				l.answered(<-answer)
			}
			return
		default:
		}
		if len(answers) == ahead {
			l.answered(<-answers[0])
			answers = answers[1:]
		}
		id := commands.NewID()
		env := commands.Seal(commands.Command{ID: id, Stream: l.stream(n), Type: kind, Ticket: ticket,
			Data: fmt.Appendf(nil, `{"n":%d}`, version)}, time.Now())
		l.sent[n] = append(l.sent[n], id)
		answer := make(chan error, 1)
		answers = append(answers, answer)
		l.sender.Send(&env, func(err error) { answer <- err })
		ticket, kind = id, "patch"
	}
}

func (l *load) answered(err error) {
	if err != nil {
		l.t.Errorf("a command was not accepted: %v", err)
	}
	l.confirmed.Add(1)
}

// goesOn waits until many more commands have been accepted: more than were under way.
func (l *load) goesOn() {
	l.t.Helper()
	want := l.confirmed.Load() + 1000
	require.Eventually(l.t, func() bool { return l.confirmed.Load() >= want }, patience, 5*time.Millisecond)
}

// stop returns when everything that was sent is accepted.
func (l *load) stop() {
	close(l.over)
	l.clients.Wait()
}

// audit holds the log against what was sent: promises 1, 2, 3 and 6 of DESIGN section 5.
func (l *load) audit(log store.Reader) {
	at, landed := map[commands.Stream]int{}, 0
	for after := uint64(0); ; {
		page, err := log.Log(l.t.Context(), after, 1000)
		require.NoError(l.t, err)
		if len(page) == 0 {
			break
		}
		for _, o := range page {
			after++
			require.Equal(l.t, after, o.Position, "positions are dense")
			require.True(l.t, o.Landed(), "%s of %s: %s %s", o.ID, o.Stream, o.Reason, o.Detail)
			var client int
			_, err := fmt.Sscanf(o.Stream.ID, "d%d", &client)
			require.NoError(l.t, err)
			n := at[o.Stream]
			require.Less(l.t, n, len(l.sent[client]))
			require.Equal(l.t, l.sent[client][n], o.ID, "each once, in the order of its tickets")
			require.EqualValues(l.t, n+1, o.Version)
			at[o.Stream], landed = n+1, landed+1
		}
	}
	for client, ids := range l.sent {
		require.Equal(l.t, len(ids), at[l.stream(client)], "nothing is lost of client %d", client)
	}
	l.t.Logf("%d commands landed", landed)
}

// held waits until these processes, and they alone, work all lanes. Within what time they must is tested where the clock is
// not the machine's.
func held(t *testing.T, lanes int, processes ...*process) {
	t.Helper()
	began := time.Now()
	require.Eventually(t, func() bool {
		var all []int
		for _, p := range processes {
			own := p.runner.Lanes()
			if p.runner.Ready() != nil || len(own) < lanes/len(processes) {
				return false
			}
			all = append(all, own...)
		}
		slices.Sort(all)
		return len(all) == lanes && len(slices.Compact(all)) == lanes
	}, patience, time.Millisecond)
	t.Logf("%d processes have all lanes after %s", len(processes), time.Since(began))
}

// DESIGN section 7 over a real database: workers join, are killed and leave while commands come in.
func TestNothingIsLostOrDoubledWhenLanesMove(t *testing.T) {
	t.Parallel()
	config := postgresConfig(t)
	log := openPostgres(t, config)
	lanes := log.Identity().Lanes
	frames := inproc.New(inproc.Config{})
	t.Cleanup(func() { require.NoError(t, frames.Close()) })
	a, b := startProcess(t, "a", config, frames), startProcess(t, "b", config, frames)
	c := startProcess(t, "c", config, frames)
	held(t, lanes, a, b, c)

	sender, err := bus.NewSender(frames, bus.SenderConfig{Lanes: lanes})
	require.NoError(t, err)
	l := startLoad(t, sender)
	l.goesOn()
	b.kill()
	held(t, lanes, a, c)
	l.goesOn()
	d := startProcess(t, "d", config, frames)
	held(t, lanes, a, c, d)
	l.goesOn()
	require.NoError(t, a.runner.Stop())
	held(t, lanes, c, d)
	l.goesOn()
	l.stop()
	l.audit(log)
}

// DESIGN section 7: a worker that froze and wakes up commits nothing of what it was about to.
func TestAWorkerThatFrozeInACommitIsFenced(t *testing.T) {
	t.Parallel()
	config := postgresConfig(t)
	log := openPostgres(t, config)
	lanes := log.Identity().Lanes
	frames := inproc.New(inproc.Config{})
	t.Cleanup(func() { require.NoError(t, frames.Close()) })
	a, b := startProcess(t, "a", config, frames), startProcess(t, "b", config, frames)
	held(t, lanes, a, b)
	sender, err := bus.NewSender(frames, bus.SenderConfig{Lanes: lanes})
	require.NoError(t, err)
	l := startLoad(t, sender)
	l.goesOn()

	fenced := b.fenced.Load()
	thaw := b.freeze()
	<-b.holding
	held(t, lanes, a)
	thaw()
	held(t, lanes, a, b)
	require.Greater(t, b.fenced.Load(), fenced)
	l.goesOn()
	l.stop()
	l.audit(log)
}
