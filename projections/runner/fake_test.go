package runner_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/runner"
)

// ledger is a log in memory. Reads give at most page outcomes.
type ledger struct {
	mu       sync.Mutex
	outcomes []*commands.Outcome
	grown    chan struct{}
	page     int
	reads    int
	away     error // what reading fails with
}

func newLedger(outcomes int) *ledger {
	l := &ledger{grown: make(chan struct{}), page: 100}
	l.grow(outcomes)
	return l
}

func (l *ledger) grow(by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range by {
		l.outcomes = append(l.outcomes, &commands.Outcome{Position: uint64(len(l.outcomes)) + 1,
			Events: []commands.Event{{Data: []byte("0123456789")}}})
	}
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *ledger) fail(with error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = with
}

// shift moves the positions of what comes after the first ones.
func (l *ledger) shift(after, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.outcomes[after:] {
		o.Position += uint64(by) //nolint:gosec // it wraps around
	}
}

// read is how often it was.
func (l *ledger) read() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

func (l *ledger) Read(_ context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	rest := l.outcomes[min(after, uint64(len(l.outcomes))):]
	return rest[:min(len(rest), limit, l.page)], l.away
}

func (l *ledger) Await(ctx context.Context, after uint64) error {
	for {
		l.mu.Lock()
		grown, beyond := l.grown, uint64(len(l.outcomes)) > after
		l.mu.Unlock()
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

func (l *ledger) End(context.Context) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.outcomes)), nil
}

// sum is a projection that shows whether anything was applied twice or not at all: the sum of all positions.
type sum struct {
	mu      sync.Mutex
	at      runner.Checkpoint
	total   uint64
	batches []int
	resets  int
	whole   []uint64 // where it was said to be whole again, and how much it held then
	// trouble, when set, is asked before a batch is applied: what it fails with, and whether it is applied
	// all the same, as when the answer to a commit is lost.
	trouble func() (err error, applied bool)
}

func (s *sum) Name() string { return "sum" }

func (s *sum) Checkpoint(context.Context) (runner.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, nil
}

func (s *sum) Apply(ctx context.Context, outcomes []*commands.Outcome, at runner.Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
	if at != s.at {
		return runner.ErrMoved
	}
	if s.trouble != nil {
		if err, applied := s.trouble(); err != nil {
			if applied {
				s.apply(outcomes)
			}
			return err
		}
	}
	s.apply(outcomes)
	return nil
}

func (s *sum) apply(outcomes []*commands.Outcome) {
	s.at = s.at.After(outcomes)
	s.batches = append(s.batches, len(outcomes))
	for _, o := range outcomes {
		s.total += o.Position
	}
}

func (s *sum) WholeAt(position uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole = append(s.whole, position, s.at.Position)
}

// stand has it stand somewhere, as if somebody else had put it there.
func (s *sum) stand(at runner.Checkpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.total = at, at.Position*(at.Position+1)/2
}

func (s *sum) Reset(_ context.Context, epoch string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resets++
	s.at, s.total, s.batches = runner.Checkpoint{Epoch: epoch}, 0, nil
	return nil
}

// told is what has been applied, and in which batches.
func (s *sum) told() (at runner.Checkpoint, total uint64, batches []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, s.total, s.batches
}
