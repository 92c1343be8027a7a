package aggregate_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// vandal is a type whose state is a list that broken code has already changed when it breaks.
type vandal struct {
	abacus
	entered, release chan struct{}
}

func (vandal) Initial() any { return []byte(nil) }
func (v vandal) Decide(state any, command string, _ []byte) ([]commands.Event, error) {
	switch list := state.([]byte); command {
	case "break":
		clear(list)
		panic("on purpose")
	case "hang":
		v.entered <- struct{}{}
		<-v.release
	}
	return []commands.Event{{Type: "added", Schema: 1, Data: []byte("1")}}, nil
}
func (vandal) Evolve(state any, _ commands.Event) (any, error) {
	return append(state.([]byte), 'x'), nil
}
func (vandal) EncodeState(state any) ([]byte, error) {
	return append([]byte(nil), state.([]byte)...), nil
}
func (vandal) DecodeState(data []byte) (any, error) { return append([]byte(nil), data...), nil }

func (s *stage) command(t *testing.T, id, ticket, what string) *commands.Envelope {
	env := commands.Seal(commands.Command{ID: name(t, id), Stream: streamOf("a"), Type: what, Ticket: name(t, ticket)}, now)
	return &env
}

func TestBrokenCodeLeavesTheStateAsItWas(t *testing.T) {
	t.Parallel()
	s := newStage()
	inst := aggregate.NewInstance(vandal{}, streamOf("a"))
	r := s.round()
	r.Take(inst, s.command(t, "A1", "genesis", "add"))
	r.Take(inst, s.command(t, "A2", "A1", "break"))
	r.Take(inst, s.command(t, "A3", "A1", "add"))
	require.Equal(t, commands.Failed, r.Result.Outcomes[1].Reason)
	require.Equal(t, "xx", string(inst.State()))
}

func TestAnAbandonedGoroutineTouchesNothingMore(t *testing.T) {
	t.Parallel()
	s := newStage()
	kind := vandal{entered: make(chan struct{}), release: make(chan struct{})}
	inst := aggregate.NewInstance(kind, streamOf("a"))
	r := s.round()
	r.Guard = &aggregate.Guard{}
	running, step := r.Guard.Running()
	require.Nil(t, running)
	require.False(t, r.Guard.Abandon(step), "nothing runs")

	env := s.command(t, "A1", "genesis", "hang")
	ended, returned := make(chan struct{}), false
	go func() {
		defer close(ended)
		r.Take(inst, env)
		returned = true
	}()
	<-kind.entered
	running, step = r.Guard.Running()
	require.Same(t, env, running)
	require.False(t, r.Guard.Abandon(step+1), "another run of the same command")
	require.True(t, r.Guard.Abandon(step))
	require.False(t, r.Guard.Abandon(step), "it was abandoned already")
	close(kind.release)
	select {
	case <-ended:
	case <-time.After(time.Minute):
		require.Fail(t, "the goroutine did not end")
	}
	require.False(t, returned)
	require.Empty(t, r.Result.Outcomes)
}

// DESIGN section 2: endless work ends as failed. A process that is frozen, or gets no processor, does no work.
func TestAFreezeIsNoWorkOfTheCodeThatRan(t *testing.T) {
	t.Parallel()
	const every = 250 * time.Millisecond
	now := time.Now()
	var seen aggregate.Stopwatch
	look := func(step uint64, after time.Duration) time.Duration {
		now = now.Add(after)
		return seen.Look(step, now, every)
	}
	require.Zero(t, look(7, 0))
	require.Equal(t, every, look(7, every))
	require.Equal(t, 2*every, look(7, time.Hour), "frozen for an hour")
	require.Equal(t, 2*every+time.Millisecond, look(7, time.Millisecond), "the tick that came after it lay there")
	require.Zero(t, look(8, every), "another run")
	require.Zero(t, look(0, every), "none")
	require.Zero(t, look(9, every))
}

// What has to be folded may be long; each event is a run of its own, so that its length is no endless work.
func TestEachEventOfAHistoryIsARunOfItsOwn(t *testing.T) {
	t.Parallel()
	guard := &aggregate.Guard{}
	var steps []uint64
	kind := watched{abacus{parkFor: time.Second}, func() {
		running, step := guard.Running()
		require.Equal(t, commands.None, running.ID)
		steps = append(steps, step)
	}}
	tail := make([]commands.Event, 40)
	for i := range tail {
		tail[i] = commands.Event{Type: "added", Schema: 1, Data: []byte("1")}
	}
	head := aggregate.Head{Version: 40, Action: name(t, "A1")}
	inst := aggregate.Restore(kind, streamOf("a"), head, nil, tail, nil, nil, guard)
	require.Equal(t, "40", string(inst.State()))
	require.Len(t, steps, 40)
	require.Len(t, slices.Compact(steps), 40)

	steps = nil
	state, err := aggregate.Fold(kind, []byte("2"), tail, guard)
	require.NoError(t, err)
	require.Equal(t, "42", string(state))
	require.Len(t, slices.Compact(steps), 40)
	running, _ := guard.Running()
	require.Nil(t, running)
}

// watched is an abacus of whose events somebody hears while they are applied.
type watched struct {
	abacus
	evolving func()
}

func (w watched) Evolve(state any, event commands.Event) (any, error) {
	w.evolving()
	return w.abacus.Evolve(state, event)
}
