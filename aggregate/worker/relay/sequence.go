package relay

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

const (
	// page is how many outcomes are read from the log at a time.
	page = 1024
	// storeTime is how long the store may take to answer.
	storeTime = 10 * time.Second
	// goodbyeTime is how long it may when the relay has to end.
	goodbyeTime = time.Second
	// The pauses after something failed.
	minPause, maxPause = 50 * time.Millisecond, 2 * time.Second
)

// holding is lanes that were taken, with the how-manieth time that was.
type holding struct {
	claims []store.Claim
	turn   uint64 // from 1
}

// least is the lowest checkpoint.
func (h *holding) least() uint64 {
	at := h.claims[0].Relayed
	for _, claim := range h.claims {
		at = min(at, claim.Relayed)
	}
	return at
}

// sequence goes through the outcomes of the lanes, in the order of the log and without leaving any out, with what it
// is told or else with the log. There are two, so that what holds up the one does not hold up the other.
type sequence struct {
	cfg   *Config
	life  context.Context // until it is to end at once
	lanes int             // of the store
	doing string          // for people to read

	// emit does what is to be done about some outcomes, and returns once it is.
	emit func(ctx context.Context, batch []*commands.Outcome) error
	// wants tells which outcomes that is; nil: all.
	wants func(*commands.Outcome) bool
	// moved is told when it has got on, begun, when it is set, of lanes before anything of them is emitted.
	moved func()
	begun func(holding)
	// unheard, when it is set, tells whether nobody wanted anything of what was emitted last.
	unheard func() bool

	mu       sync.Mutex
	backlog  backlog
	taken    holding // to be begun with; of turn 0 when there is nothing new
	turn     uint64  // of what it is at
	stopping bool

	wake  chan struct{} // holds a token when there is something to look at
	hurry chan struct{} // closed when it is to end

	at   atomic.Uint64 // everything of the lanes up to here is done
	told atomic.Uint64 // the newest position that is known to be there

	// What follows belongs to the goroutine that goes through.
	from  map[int]uint64 // where each lane is taken up
	rest  time.Time      // since when there was nothing to do; zero: there is
	batch []*commands.Outcome
}

func newSequence(life context.Context, cfg *Config, lanes int, doing string, moved func()) *sequence {
	s := &sequence{cfg: cfg, life: life, lanes: lanes, doing: doing, moved: moved, wake: make(chan struct{}, 1),
		hurry: make(chan struct{})}
	s.backlog = backlog{mostOutcomes: cfg.KeepOutcomes, mostBytes: cfg.KeepBytes}
	return s
}

// acquired tells that lanes were taken. It does not block.
func (s *sequence) acquired(taken holding) {
	s.mu.Lock()
	s.taken = taken
	s.backlog.unsure()
	s.mu.Unlock()
	signal(s.wake)
}

// observe tells of a commit. It does not block, and keeps the outcomes, which must not change any more.
func (s *sequence) observe(covered store.Range, outcomes []*commands.Outcome) {
	s.mu.Lock()
	idle := len(outcomes) == 0 && s.backlog.skip(covered)
	if idle {
		s.at.Store(s.backlog.at)
	} else {
		s.backlog.put(covered, outcomes, time.Now())
	}
	s.mu.Unlock()
	s.known(covered.Last)
	if idle {
		s.moved()
	} else {
		signal(s.wake)
	}
}

// reached tells up to where everything is done, of the lanes of which turn; 0 while there are none.
func (s *sequence) reached() (at, turn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at.Load(), s.turn
}

// stop has it end once nothing is left.
func (s *sequence) stop() {
	s.mu.Lock()
	if !s.stopping {
		close(s.hurry)
	}
	s.stopping = true
	s.mu.Unlock()
	signal(s.wake)
}

// run goes through, one batch after the other.
func (s *sequence) run() {
	for failed := 0; s.life.Err() == nil; {
		began := time.Now()
		worked, err := s.step()
		switch {
		case s.life.Err() != nil:
			return
		case err != nil:
			if failed == 0 {
				s.cfg.Log.Warn("what was committed cannot be "+s.doing+"; trying again", "err", err)
			}
			sleep(s.life, min(minPause<<min(failed, 6), maxPause))
			failed++
			continue
		case failed > 0 && worked:
			s.cfg.Log.Info("what was committed is " + s.doing + " again")
		}
		if worked {
			failed, s.rest = 0, time.Time{}
			s.moved()
			s.gather(began)
			continue
		}
		if !s.await() {
			return
		}
	}
}

// gather lets time pass after a batch that nobody wanted: what is committed meanwhile is asked for together. What is
// in the log already is not waited for, nor is anything when another batch is full.
func (s *sequence) gather(began time.Time) {
	if s.unheard == nil || !s.unheard() {
		return
	}
	s.mu.Lock()
	behind := s.backlog.unsettled || s.backlog.gap || s.backlog.let > s.backlog.at ||
		s.backlog.outcomes >= s.cfg.Batch || s.backlog.bytes >= s.cfg.BatchBytes
	s.mu.Unlock()
	if behind {
		return
	}
	timer := time.NewTimer(time.Until(began.Add(s.cfg.Gather)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.hurry:
	case <-s.life.Done():
	}
}

// step does what is next, and reports whether there was something.
func (s *sequence) step() (worked bool, err error) {
	s.begin()
	s.mu.Lock()
	switch {
	case s.turn == 0:
		s.mu.Unlock()
		return false, nil
	case s.backlog.unsettled:
		s.mu.Unlock()
		return true, s.settle()
	case s.backlog.reading():
		at := s.backlog.at
		s.mu.Unlock()
		return true, s.read(at)
	}
	batch, to := s.backlog.next(s.cfg.Batch, s.cfg.BatchBytes, s.batch[:0])
	at := s.backlog.at
	s.mu.Unlock()
	if to == at {
		return false, nil
	}
	s.batch = batch
	defer clear(batch)
	return true, s.pass(batch, to)
}

// begin takes up lanes that were taken. It goes on from their checkpoints, though it may have got further.
func (s *sequence) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken.turn == 0 {
		return
	}
	taken := s.taken
	s.taken = holding{}
	s.from = make(map[int]uint64, len(taken.claims))
	for _, claim := range taken.claims {
		s.from[claim.Lane] = claim.Relayed
	}
	s.turn, s.backlog.at = taken.turn, taken.least()
	s.at.Store(s.backlog.at)
	if s.begun != nil {
		s.begun(taken)
	}
}

// settle finds out how far the log goes that nobody tells of here. What was committed with earlier claims is in it.
func (s *sequence) settle() error {
	ctx, cancel := context.WithTimeout(s.life, storeTime)
	defer cancel()
	end, err := s.cfg.Store.End(ctx)
	if err != nil {
		return fmt.Errorf("relay: read the end of the log: %w", err)
	}
	s.known(end)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken.turn == 0 { // otherwise it may have grown since
		s.backlog.settle(end)
	}
	return nil
}

// known takes note that there are outcomes up to a position.
func (s *sequence) known(end uint64) {
	for told := s.told.Load(); told < end && !s.told.CompareAndSwap(told, end); told = s.told.Load() {
	}
}

// read goes through one page of the log: what is on the lanes and after their checkpoints.
func (s *sequence) read(at uint64) error {
	ctx, cancel := context.WithTimeout(s.life, storeTime)
	defer cancel()
	outcomes, err := s.cfg.Store.Log(ctx, at, page)
	if err != nil {
		return fmt.Errorf("relay: read the log after %d: %w", at, err)
	}
	if len(outcomes) == 0 {
		return fmt.Errorf("relay: the log ends at %d, and more was told of", at)
	}
	to := outcomes[len(outcomes)-1].Position
	mine := outcomes[:0]
	for _, o := range outcomes {
		from, held := s.from[o.Stream.Lane(s.lanes)]
		if held && o.Position > from && (s.wants == nil || s.wants(o)) {
			mine = append(mine, o)
		}
	}
	return s.pass(mine, to)
}

// pass does what is to be done about outcomes and takes note that everything up to a position is done.
func (s *sequence) pass(batch []*commands.Outcome, to uint64) error {
	if err := s.emit(s.life, batch); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at.Store(to)
	s.backlog.passed(to, func(told time.Time) {
		if s.wants == nil {
			s.cfg.Metrics.Took(time.Since(told))
		}
	})
	return nil
}

// await waits until there may be something to do. It reports false when nothing is left and nothing will come.
func (s *sequence) await() bool {
	s.mu.Lock()
	over := s.stopping && s.taken.turn == 0
	s.mu.Unlock()
	if over {
		return false
	}
	now := time.Now()
	if s.rest.IsZero() {
		s.rest = now
	}
	timer := time.NewTimer(max(s.rest.Add(s.cfg.IdleAfter).Sub(now), 0))
	defer timer.Stop()
	select {
	case <-s.wake:
	case <-timer.C:
		if time.Since(s.rest) >= s.cfg.IdleAfter {
			s.rest = time.Time{}
			s.catchUp()
		}
	case <-s.life.Done():
	}
	return true
}

// catchUp reads on in a log that others have made much longer, so that who takes the lanes over need not.
func (s *sequence) catchUp() {
	if _, turn := s.reached(); turn == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(s.life, storeTime)
	defer cancel()
	end, err := s.cfg.Store.End(ctx)
	if err != nil || end < s.at.Load()+uint64(s.cfg.IdleLag) { //nolint:gosec // a setting above 0
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := &s.backlog; !b.unsettled && !b.gap && len(b.kept) == 0 {
		b.let = max(b.let, end)
	}
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// sleep waits, unless the context is over before.
func sleep(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
