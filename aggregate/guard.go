package aggregate

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/ticketed/doorman/commands"
)

// Guard shows which command's aggregate code is being run, so that a watcher can find code that never
// ends and take the work away from the goroutine that is caught in it. A nil Guard guards nothing.
type Guard struct {
	running atomic.Pointer[commands.Envelope]
	step    atomic.Uint64 // the number of the run under way; 0 between runs, and for good once abandoned
	runs    uint64        // how many there were, for the judging goroutine alone
}

// Running tells what is being run, nil for nothing, and the number of that run, which is never 0 nor
// that of another one. An envelope without an id stands for the code that folds or encodes the state of
// its stream.
func (g *Guard) Running() (*commands.Envelope, uint64) {
	for {
		step := g.step.Load()
		if step == 0 {
			return nil, 0
		}
		if env := g.running.Load(); g.step.Load() == step {
			return env, step
		}
	}
}

// Abandon takes the work away from the goroutine that is caught in the run of that number. It reports
// false when that has ended meanwhile. A goroutine that was abandoned ends (runtime.Goexit) as soon as
// the aggregate's code returns, without touching anything.
func (g *Guard) Abandon(step uint64) bool {
	return step != 0 && g.step.CompareAndSwap(step, 0)
}

// Stopwatch tells how long the run that a guard shows has been seen to last, by who looks at it at regular times.
type Stopwatch struct {
	step   uint64 // its number, 0 for none
	lasted time.Duration
	at     time.Time // when it was looked at last
}

// Look takes note of the number of the run that is under way and tells how long that one has lasted. A look counts
// for no more than the time that should be between two: while the process was frozen, or did not get a processor,
// neither did the code.
func (s *Stopwatch) Look(step uint64, now time.Time, every time.Duration) time.Duration {
	if step != s.step {
		*s = Stopwatch{step: step}
	} else {
		s.lasted += min(now.Sub(s.at), every)
	}
	s.at = now
	return s.lasted
}

// run calls code of a type, and makes an error of a panic. When the code ends its goroutine, the run
// stays under way until the watcher comes across it.
func (g *Guard) run(env *commands.Envelope, code func() error) (err error) {
	if g != nil {
		g.runs++
		g.running.Store(env)
		g.step.Store(g.runs)
	}
	returned := false
	defer func() {
		if p := recover(); p != nil {
			returned, err = true, fmt.Errorf("panic: %v\n\n%s", p, debug.Stack())
		}
		if g != nil && returned && !g.step.CompareAndSwap(g.runs, 0) {
			runtime.Goexit()
		}
	}()
	err = code()
	returned = true
	return err
}

// probe stands for an instance's state in Running.
func (g *Guard) probe(inst *Instance) *commands.Envelope {
	if g == nil {
		return nil
	}
	if inst.probe == nil {
		inst.probe = &commands.Envelope{Command: commands.Command{Stream: inst.Stream}}
	}
	return inst.probe
}
