package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker"
	"github.com/ticketed/doorman/commands"
)

// heavy is a tally whose states are large.
type heavy struct{ tally }

const heavySize = 128 << 10

func (heavy) EncodeState(state any) ([]byte, error) {
	return fmt.Appendf(nil, "%*d", heavySize, state), nil
}
func (heavy) DecodeState(data []byte) (any, error) {
	return strconv.Atoi(string(bytes.TrimSpace(data)))
}

// scale weighs what a worker loads at once, and what it commits at once.
type scale struct {
	*memory

	mu             sync.Mutex
	loads, batches []int
}

func (s *scale) Load(ctx context.Context, streams []commands.Stream) ([]*store.Record, error) {
	records, err := s.memory.Load(ctx, streams)
	size := 0
	for _, r := range records {
		size += len(r.State)
	}
	s.mu.Lock()
	s.loads = append(s.loads, size)
	s.mu.Unlock()
	return records, err
}

func (s *scale) Commit(ctx context.Context, b *store.Batch) (store.Range, error) {
	size := 0
	for _, h := range b.Heads {
		size += heavySize
		h.State, h.StateVersion = []byte(strings.Repeat(" ", heavySize-1)+"1"), h.Head.Version
	}
	s.mu.Lock()
	s.batches = append(s.batches, size)
	s.mu.Unlock()
	return s.memory.Commit(ctx, b)
}

// DESIGN section 5, promise 12: what is in memory at once is bounded by its size, not by a number of commands alone.
func TestRoundsAndLoadsAreBoundedBySize(t *testing.T) {
	t.Parallel()
	const streams, most = 200, 4 << 20
	m := &scale{memory: newMemory(1)}
	types, err := aggregate.NewRegistry(heavy{})
	require.NoError(t, err)
	r := start(t, m.memory, func(c *worker.Config) {
		c.Store, c.Types, c.CacheBytes = m, types, 1
		c.Limits = aggregate.DefaultLimits
		c.Limits.RoundBytes = most
	})
	all := func(round int) (envelopes []commands.Envelope) {
		for n := range streams {
			envelopes = append(envelopes, command(round*streams+n, strconv.Itoa(n), "add", commands.Genesis))
			envelopes[n].Policy = commands.PolicyAny
		}
		return envelopes
	}
	r.send(all(0)...)
	m.loads, m.batches = nil, nil // it is idle
	r.send(all(1)...)
	landed := 0
	for _, size := range m.batches {
		require.LessOrEqual(t, size, most+heavySize)
		landed += size / heavySize
	}
	require.Equal(t, streams, landed)
	require.LessOrEqual(t, m.loads[0], 512*heavySize, "it does not know yet how large they are")
	for _, size := range m.loads[1:] {
		require.LessOrEqual(t, size, 16<<20)
	}
}
