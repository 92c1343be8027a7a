package aggregate_test

import (
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
	case <-time.After(10 * time.Second):
		require.Fail(t, "the goroutine did not end")
	}
	require.False(t, returned)
	require.Empty(t, r.Result.Outcomes)
}
