package load

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/commands"
)

func TestAnIDSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMicro(rapid.Int64Range(0, 1<<50).Draw(t, "at"))
		stream := rapid.IntRange(0, maxStreams).Draw(t, "stream")
		k := kind(rapid.IntRange(0, 1).Draw(t, "kind"))
		id := newID(at, rapid.Uint64().Draw(t, "random"), stream, k)
		require.Equal(t, stream, streamOf(id))
		require.Equal(t, k, kindOf(id))
		text := id.String()
		require.Equal(t, byte('7'), text[14], "version 7")
		require.Contains(t, "89ab", string(text[19]), "variant of RFC 9562")
		again, ok := commands.ParseID(text)
		require.True(t, ok)
		require.Equal(t, id, again)
		require.Positive(t, compare(newID(at.Add(time.Microsecond), 0, 0, 0), newID(at, ^uint64(0), maxStreams, 1)))
	})
}

func compare(a, b commands.ID) int {
	for i := range a {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}

// Whatever the shares: each chain names its predecessors one after another, nothing is kept back in the
// end, and a stale ticket is one that was followed by something which is known to have landed.
func TestChainsAreWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0, 0.5)
		cfg := &Config{
			Streams: rapid.IntRange(1, 5).Draw(t, "streams"), OutOfOrder: share.Draw(t, "early"),
			Stale: share.Draw(t, "stale"), WaitShare: share.Draw(t, "wait"), Seed: rapid.Uint64().Draw(t, "seed"),
		}
		cfg.setDefaults()
		p := newPlan(cfg)
		var sent []item
		superseded := map[commands.ID]bool{}
		send := func(stream int, wait bool) {
			it := p.next(stream, time.Now(), wait)
			require.Equal(t, stream, streamOf(it.id))
			if kindOf(it.id) == stale {
				require.True(t, superseded[it.ticket], "a ticket that may still be valid")
			}
			sent = append(sent, it)
			if wait && !p.chains[stream].holds {
				p.landed(it)
				if kindOf(it.id) == chained {
					superseded[it.ticket] = true
				}
			}
		}
		for range rapid.IntRange(1, 200).Draw(t, "turns") {
			stream := rapid.IntRange(0, cfg.Streams-1).Draw(t, "stream")
			send(stream, p.wantsWait(stream))
		}
		for _, stream := range p.holding() {
			send(stream, false)
		}
		require.Zero(t, p.held)
		requireChains(t, p, sent)
	})
}

func requireChains(t *rapid.T, p *plan, sent []item) {
	tickets := map[commands.ID]commands.ID{}
	for _, it := range sent {
		require.NotContains(t, tickets, it.id, "made twice")
		tickets[it.id] = it.ticket
	}
	require.Len(t, tickets, p.log.n)
	last := make([]commands.ID, len(p.chains))
	for at := range p.log.n {
		id := p.log.slice(at, 1)[0]
		if kindOf(id) == stale {
			continue
		}
		before := last[streamOf(id)]
		if before == commands.None {
			before = commands.Genesis
		}
		require.Equal(t, before, tickets[id], "a chain is logged in its own order")
		last[streamOf(id)] = id
	}
}

func TestTheLogKeepsIDsInOrder(t *testing.T) {
	t.Parallel()
	var l idLog
	var want []commands.ID
	for i := range idBlock*2 + 100 {
		id := newID(time.Unix(1, 0), uint64(i), i%7, chained)
		l.add(id)
		want = append(want, id)
	}
	var got []commands.ID
	for at := 0; at < l.n; {
		part := l.slice(at, 1000)
		got = append(got, part...)
		at += len(part)
	}
	require.Equal(t, want, got)
}
