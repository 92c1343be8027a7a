package aggregate

import (
	"runtime"
	"sync/atomic"

	"github.com/ticketed/doorman/commands"
)

// Guard shows which command's aggregate code is being run, so that a watcher can find code that never
// ends and take the work away from the goroutine that is caught in it. A nil Guard guards nothing.
type Guard struct {
	running atomic.Pointer[commands.Envelope]
	steps   atomic.Uint64
}

// abandoned marks a goroutine whose work was taken away.
var abandoned = new(commands.Envelope)

// Running tells what is being run, nil for nothing, and a number that is another one with every run. An
// envelope without an id stands for the code that folds or encodes the state of its stream.
func (g *Guard) Running() (*commands.Envelope, uint64) {
	return g.running.Load(), g.steps.Load()
}

// Abandon takes the work away from the goroutine that still runs what Running told. It reports false
// when that has ended meanwhile. A goroutine that was abandoned ends (runtime.Goexit) as soon as the
// aggregate's code returns, without touching anything.
func (g *Guard) Abandon(running *commands.Envelope, step uint64) bool {
	return g.steps.Load() == step && g.running.CompareAndSwap(running, abandoned)
}

func (g *Guard) enter(env *commands.Envelope) {
	if g != nil {
		g.steps.Add(1)
		g.running.Store(env)
	}
}

// leave is deferred, so it runs on panics too.
func (g *Guard) leave(env *commands.Envelope) {
	if g != nil && !g.running.CompareAndSwap(env, nil) {
		runtime.Goexit()
	}
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
