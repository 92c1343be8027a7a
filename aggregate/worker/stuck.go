package worker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// stuck knows which aggregate code did not end and is still running in a goroutine left behind. Each
// costs a processor, so beyond a few of one kind that kind is not run at all until some have ended.
type stuck struct {
	total  atomic.Int64
	mu     sync.Mutex
	byKind map[string]int
}

const mostStuckOfOneKind = 4

func kindOf(env *commands.Envelope) string { return env.Stream.Type + " " + env.Type }

func (s *stuck) add(kind string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKind == nil {
		s.byKind = map[string]int{}
	}
	s.byKind[kind] += n
	s.total.Add(int64(n))
}

func (s *stuck) any() bool { return s.total.Load() > 0 }

func (s *stuck) barred(env *commands.Envelope) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.byKind[kindOf(env)]; n >= mostStuckOfOneKind {
		return fmt.Sprintf("not run: %d earlier commands of this kind have not ended", n), true
	}
	return "", false
}

// watch finds aggregate code that does not end, leaves its goroutine behind, and has a new desk go on.
// The command ends as failed.
func (w *Worker) watch() {
	every := w.cfg.CodeTimeout / 8
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var seen aggregate.Stopwatch
	for {
		select {
		case <-w.stopped:
			return
		case <-ticker.C:
		}
		guard := w.desk.guard
		running, step := guard.Running()
		lasted := seen.Look(step, time.Now(), every)
		if running != nil && lasted >= w.cfg.CodeTimeout && guard.Abandon(step) {
			w.replace(running)
			seen = aggregate.Stopwatch{}
		}
	}
}

// replace has a new desk take over from one whose goroutine is caught in the code of a type.
func (w *Worker) replace(running *commands.Envelope) {
	old := w.desk
	next := newDesk(w)
	next.number, next.done = old.number, old.done
	next.lanes, next.inflight, next.open = old.lanes, old.inflight, old.open
	next.parked, next.cache, next.facts = old.parked, old.cache, old.facts
	next.blame, next.faulty, next.caution = old.blame, old.faulty, old.caution
	next.backlog = append(old.pass.rest(), old.backlog...)
	cause := fmt.Sprintf("the code of the type did not end within %s", w.cfg.CodeTimeout)
	if running.ID == commands.None {
		next.faulty[running.Stream] = cause
	} else {
		next.blame.neverEnds(running, cause)
	}
	w.cfg.Log.Error("aggregate code does not end; its command ends as failed", "command_id", running.ID,
		"stream", running.Stream.String(), "type", running.Type)
	w.cfg.Metrics.CodeAbandoned()
	kind := kindOf(running)
	w.stuck.add(kind, 1)
	ended := old.ended
	w.running.Go(func() {
		select {
		case <-ended:
			w.stuck.add(kind, -1)
		case <-w.stopping:
		}
	})
	w.desk = next
	w.start(next)
}
