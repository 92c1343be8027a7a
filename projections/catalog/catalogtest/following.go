package catalogtest

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
)

// scroll is a log in memory.
type scroll struct {
	mu       sync.Mutex
	outcomes []*commands.Outcome
	grown    chan struct{}
}

func newScroll() *scroll { return &scroll{grown: make(chan struct{})} }

// grow lands one more command, on a stream of a hundred, or has it rejected.
func (s *scroll) grow(random *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := random.IntN(100)
	o := &commands.Outcome{Position: uint64(len(s.outcomes)) + 1, ID: commands.NewID(), Stream: stream([]string{"order", "document"}[n%2], n)}
	o.At = epochOfTime.Add(time.Duration(o.Position) * time.Microsecond)
	o.Version = o.Position / 50 // the first ones land without events
	if random.IntN(4) == 0 {
		o.Reason = commands.Refused
	}
	s.outcomes = append(s.outcomes, o)
	close(s.grown)
	s.grown = make(chan struct{})
}

func (s *scroll) Read(_ context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.outcomes[min(after, uint64(len(s.outcomes))):]
	return rest[:min(len(rest), limit, 7)], nil
}

func (s *scroll) Await(ctx context.Context, after uint64) error {
	for {
		s.mu.Lock()
		grown, beyond := s.grown, uint64(len(s.outcomes)) > after
		s.mu.Unlock()
		if beyond {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *scroll) End(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.outcomes)), nil
}

// want is what the catalog is to hold in the end.
func (s *scroll) want() []catalog.Row {
	rows := catalog.Fold(s.outcomes)
	slices.Reverse(rows)
	return rows
}

// told tells when it has changed.
type told struct {
	catalog.Backend
	changed chan<- struct{}
}

func (b told) Apply(ctx context.Context, rows []catalog.Row, from, to runner.Checkpoint) error {
	err := b.Backend.Apply(ctx, rows, from, to)
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return err
}

// follow runs a catalog over a log.
func (d *data) follow(s *scroll, backend catalog.Backend) *runner.Runner {
	d.Helper()
	r, err := runner.New(runner.Config{Log: s, Epoch: d.epoch, End: s.End, Projection: catalog.New(told{backend, d.changed}),
		MaxOutcomes: 16, Every: time.Nanosecond, Standby: time.Millisecond})
	require.NoError(d, err)
	require.NoError(d, r.Start(context.Background()))
	d.Cleanup(func() { require.NoError(d, r.Stop()) })
	return r
}

// reached waits until the catalog stands where it should.
func (d *data) reached(should func(runner.Checkpoint) bool) {
	d.Helper()
	patience := time.After(20 * time.Second)
	for {
		at, err := d.Checkpoint(context.Background())
		require.NoError(d, err)
		if should(at) {
			return
		}
		select {
		case <-d.changed:
		case <-patience:
			require.Fail(d, "the catalog got stuck", "it stands at %d of %q", at.Position, at.Epoch)
		}
	}
}

func (d *data) requireFollowed(s *scroll) {
	d.Helper()
	end, _ := s.End(context.Background())
	d.reached(func(at runner.Checkpoint) bool { return at == runner.Checkpoint{Epoch: d.epoch, Position: end} })
	require.Equal(d, s.want(), d.all(catalog.Ask{Limit: 1000}))
}

// runner.Projection: rows and checkpoint survive whatever is killed.
var following = []test{
	{"a catalog whose store is torn away again and again comes to what the log comes to", func(d *data) {
		seed := uint64(time.Now().UnixNano())
		d.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
		s := newScroll()
		for range 12 {
			for range 20 + random.IntN(60) {
				s.grow(random)
			}
			victim := d.another()
			d.follow(s, victim) // stopped at the end only
			far := uint64(random.IntN(len(s.outcomes)))
			d.reached(func(at runner.Checkpoint) bool { return at.Position >= far })
			require.NoError(d, victim.Close(), "in the middle of whatever it does")
		}
		d.follow(s, d.another())
		d.requireFollowed(s)
	}},
	{"several runners share the work and nothing is applied twice", func(d *data) {
		random := rand.New(rand.NewPCG(1, 0)) //nolint:gosec // a test's
		s := newScroll()
		for range 3 {
			d.follow(s, d.another())
		}
		for range 500 {
			s.grow(random)
		}
		d.requireFollowed(s)
	}},
	{"a catalog of another history, or of more than there is, is made anew", func(d *data) {
		random := rand.New(rand.NewPCG(2, 0)) //nolint:gosec // a test's
		d.begin()
		d.apply(row(stream("order", 7), 5000))
		d.epoch = "e2"
		for range 2 {
			s := newScroll()
			for range 100 {
				s.grow(random)
			}
			r := d.follow(s, d.another())
			d.requireFollowed(s)
			require.NoError(d, r.Stop())
			d.at = 100
			d.apply(row(stream("order", 1000), 200)) // beyond the end of the next log
		}
	}},
}
