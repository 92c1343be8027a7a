package worker

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

func streamOf(id string) commands.Stream { return commands.Stream{Type: "tally", ID: id} }

// DESIGN section 2: the culprit ends as failed; and nobody else, be it a command with the same id.
func TestBlameGoesByWhatACommandCameTo(t *testing.T) {
	t.Parallel()
	env := commands.Envelope{Command: commands.Command{ID: commands.ID{1}}, Hash: commands.Hash{1}}
	other := env
	other.Hash = commands.Hash{2}
	broken := func(b *blame, env *commands.Envelope, ruling aggregate.Ruling) bool {
		_, is := b.broken(env, ruling)
		return is
	}
	for _, ruling := range []aggregate.Ruling{aggregate.Admit, aggregate.Park} {
		b := newBlame()
		b.notStored(culprit{env.ID, env.Hash, ruling}, "cause")
		require.Equal(t, ruling == aggregate.Admit, broken(b, &env, aggregate.Admit))
		require.Equal(t, ruling == aggregate.Park, broken(b, &env, aggregate.Park))
		require.False(t, broken(b, &other, ruling), "another command")
		b.rebuilt()
		require.Empty(t, b.faults, "what is judged anew may come to something else")
	}
	b := newBlame()
	b.notStored(culprit{env.ID, env.Hash, aggregate.Park}, "cause")
	b.neverEnds(&env, "cause")
	b.rebuilt()
	require.True(t, broken(b, &env, aggregate.Admit), "its code is not run once more")
	require.False(t, broken(b, &env, aggregate.Park))
}

// DESIGN promise 12: every queue is bounded.
func TestBlameEndsWithItsCommand(t *testing.T) {
	t.Parallel()
	one, two := commands.ID{1}, commands.ID{2}
	for name, c := range map[string]struct {
		result aggregate.Result
		waits  bool
		left   int
	}{
		"an outcome, whatever it is":      {aggregate.Result{Outcomes: []*commands.Outcome{{ID: one, Reason: commands.StaleTicket}}}, false, 0},
		"another command's outcome":       {aggregate.Result{Outcomes: []*commands.Outcome{{ID: two}}}, false, 1},
		"a repeat":                        {aggregate.Result{Answers: []aggregate.Answer{{ID: one, Hash: commands.Hash{1}}}}, false, 0},
		"a repeat of what waits":          {aggregate.Result{Answers: []aggregate.Answer{{ID: one, Hash: commands.Hash{1}}}}, true, 1},
		"a conflict of another with it":   {aggregate.Result{Answers: []aggregate.Answer{{ID: one, Hash: commands.Hash{2}}}}, false, 1},
		"a conflict of it with another":   {aggregate.Result{Answers: []aggregate.Answer{{ID: one, Hash: commands.Hash{1}, Ruling: aggregate.Conflict}}}, false, 0},
		"its parking, which is no ending": {aggregate.Result{Park: []*aggregate.Waiting{{}}}, true, 1},
	} {
		b := newBlame()
		b.notStored(culprit{one, commands.Hash{1}, aggregate.Admit}, "cause")
		b.settled(&c.result, func(commands.ID) bool { return c.waits })
		require.Len(t, b.faults, c.left, name)
	}
}

// A round of one verdict that turns a command away proves nothing against it.
func TestOnlyWhatWasToLandOrToBeParkedIsACulprit(t *testing.T) {
	t.Parallel()
	landed, stale := &commands.Outcome{ID: commands.ID{1}}, &commands.Outcome{ID: commands.ID{2}, Reason: commands.StaleTicket}
	waiting := &aggregate.Waiting{}
	for name, c := range map[string]struct {
		result aggregate.Result
		broken []*arrival
		found  bool
	}{
		"a landing":                       {aggregate.Result{Outcomes: []*commands.Outcome{landed}}, nil, true},
		"a parking":                       {aggregate.Result{Park: []*aggregate.Waiting{waiting}}, nil, true},
		"a rejection":                     {aggregate.Result{Outcomes: []*commands.Outcome{stale}}, nil, false},
		"a loop":                          {aggregate.Result{Outcomes: []*commands.Outcome{stale, stale}}, nil, false},
		"a landing beside a broken frame": {aggregate.Result{Outcomes: []*commands.Outcome{landed}}, []*arrival{{}}, false},
		"nothing":                         {aggregate.Result{}, nil, false},
	} {
		s := sitting{broken: c.broken, items: []item{{env: &commands.Envelope{}}}}
		s.round.Result = c.result
		_, found := s.culprit()
		require.Equal(t, c.found, found, name)
	}
}

// DESIGN promise 12: a stream that is in use for long does not keep the others in memory.
func TestTheCacheShrinksAroundAStreamInUse(t *testing.T) {
	t.Parallel()
	c := newCache(2, 1<<20)
	for n, name := range []string{"in use", "a", "b", "c"} {
		h := &held{Instance: aggregate.NewInstance(missingType("tally"), streamOf(name))}
		if n == 0 {
			h.sitting = 2 // which is not committed
		}
		c.put(h)
	}
	c.trim(1)
	require.Equal(t, 2, c.streams.Len())
	for _, name := range []string{"in use", "c"} {
		_, held := c.get(streamOf(name))
		require.True(t, held, name)
	}
	for h := range 3 {
		inUse, _ := c.get(streamOf([]string{"in use", "c", "in use"}[h]))
		inUse.sitting = 2
	}
	c.maxCount = 1
	c.trim(1) // all are in use: it ends
	require.Equal(t, 2, c.streams.Len())
}

// DESIGN section 2: a worker judges what was queued before it expires anything. What becomes due while it
// does so for an earlier one is not expired along with that.
func TestWhatBecomesDueMeanwhileIsNotExpiredAlong(t *testing.T) {
	t.Parallel()
	l := &lane{}
	d := &desk{w: &Worker{}, lanes: map[int]*lane{0: l}, parked: newParkedIndex(map[int]*lane{0: l}, 1)}
	d.w.cfg.setDefaults()
	for n := range 2 {
		d.parked.set(commands.ID{byte(n)}, &deadline{id: commands.ID{byte(n)}, at: time.Duration(1+n) * time.Second, lane: l})
	}
	l.claim.Worked = time.Second
	d.sweep(l)
	require.False(t, l.expiring, "found empty once")
	l.claim.Worked = 2 * time.Second
	l.frames, l.unread = 1, 1
	d.sweep(l)
	l.unread = 0
	d.sweep(l)
	require.False(t, l.expiring, "something was there in between")
	d.sweep(l)
	require.True(t, l.expiring)
	due := d.parked.due(l, l.dueUntil, 10)
	require.Len(t, due, 1)
	require.Equal(t, commands.ID{0}, due[0].id)
}

func TestWhatWasLearnedOfAnIDLastIsKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 5).Draw(t, "most")
		f := newFacts(most)
		var order []commands.ID // in order, forgotten ones aside
		versions := map[commands.ID]uint64{}
		for version := range uint64(60) {
			id := commands.ID{byte(rapid.IntRange(1, 9).Draw(t, "id"))}
			order = slices.DeleteFunc(order, func(other commands.ID) bool { return other == id })
			if rapid.IntRange(0, 4).Draw(t, "forget") == 0 {
				f.forget(id)
			} else {
				f.Learn(id, aggregate.Fact{Version: version})
				order, versions[id] = append(order, id), version
			}
			for n := range 9 {
				other := commands.ID{byte(n + 1)}
				fact, ok := f.Fact(other)
				if ok && (fact.Version != versions[other] || !slices.Contains(order, other)) {
					t.Fatalf("of %v, learned of as %d or forgotten, it tells %d", other, versions[other], fact.Version)
				}
				if recent := version-versions[other] < uint64(most); !ok && recent && slices.Contains(order, other) {
					t.Fatalf("of %v, learned of %d steps ago, it tells nothing", other, version-versions[other])
				}
			}
			if len(f.places) > most || len(f.recent) > most {
				t.Fatalf("%d facts are kept in %d places of %d", len(f.places), len(f.recent), most)
			}
		}
	})
}

func TestAStateIsStoredOnceInAWhile(t *testing.T) {
	t.Parallel()
	const small, medium = 2 << 10, 64 << 10
	for _, c := range []struct {
		size          int
		before, after uint64
		stored, kept  bool
	}{
		{size: small, before: 0, after: 1, stored: true},
		{size: small, before: 1, after: 7},
		{size: small, before: 7, after: 8, stored: true},
		{size: small, before: 8, after: 15},
		{size: small, before: 15, after: 30, stored: true},
		{size: small, before: 63, after: 64, stored: true, kept: true},
		{size: small, before: 60, after: 70, stored: true, kept: true},
		{size: small + 1, before: 0, after: 3, stored: true},
		{size: small + 1, before: 7, after: 15},
		{size: small + 1, before: 15, after: 16, stored: true},
		{size: small + 1, before: 63, after: 64, stored: true},
		{size: small + 1, before: 255, after: 256, stored: true, kept: true},
		{size: medium + 1, before: 31, after: 63},
		{size: medium + 1, before: 63, after: 64, stored: true},
		{size: medium + 1, before: 1023, after: 1024, stored: true, kept: true},
	} {
		state := make([]byte, c.size)
		head := aggregate.Head{Version: c.before}
		h := &held{Instance: aggregate.Restore(watched{}, streamOf("a"), head, state, nil, nil, nil, nil), stored: head}
		h.Head.Version = c.after
		change := h.change()
		require.Equal(t, c.kept, change.Snapshot, "%+v", c)
		require.Equal(t, c.stored, change.State != nil, "%+v", c)
		if c.stored {
			require.Equal(t, c.after, change.StateVersion, "%+v", c)
		}
		require.Equal(t, c.after, h.stored.Version)
	}
}
