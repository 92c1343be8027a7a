package aggregate_test

import (
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// framed is a command whose texts are pieces of one large string, as they are in a frame.
func framed(t testing.TB, id, ticket commands.ID, frame string) *commands.Envelope {
	t.Helper()
	at := 0
	piece := func(size int) string {
		at += size
		return frame[at-size : at]
	}
	c := commands.Command{ID: id, Ticket: ticket, Stream: commands.Stream{Type: piece(5), ID: piece(1)},
		Type: piece(3), Session: piece(3), Actor: piece(3)}
	env := commands.Seal(c, now)
	env.ReplyTo, env.CorrelationID, env.TraceParent = piece(3), piece(3), piece(3)
	return &env
}

func frameOf(size int) string {
	return "tallya" + "add" + "tab" + "Ann" + "rep" + "cor" + "tra" + strings.Repeat(".", size)
}

// DESIGN section 5, promise 12: what keeps an outcome or an answer, as those who follow the log do, keeps
// nothing of the frame that the command came in.
func TestWhatARoundComesToKeepsNothingOfTheFrame(t *testing.T) {
	t.Parallel()
	s := newStage()
	inst := aggregate.NewInstance(s.kind, streamOf("a"))
	frame := frameOf(100)
	r := s.round()
	first := framed(t, name(t, "A1"), commands.Genesis, frame)
	r.Take(inst, first)
	r.Take(inst, framed(t, name(t, "A2"), commands.Genesis, frame)) // stale
	r.Take(inst, framed(t, name(t, "A4"), name(t, "A3"), frame))    // parked
	r.Take(inst, framed(t, name(t, "A3"), name(t, "A1"), frame))    // releases it
	r.Take(inst, first)                                             // a repeat
	require.Len(t, r.Result.Outcomes, 4)
	require.Len(t, r.Result.Answers, 1)
	from := uintptr(unsafe.Pointer(unsafe.StringData(frame)))
	apart := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			at := uintptr(unsafe.Pointer(unsafe.StringData(text)))
			require.False(t, at >= from && at < from+uintptr(len(frame)), "%q is a piece of the frame", text)
		}
	}
	for _, o := range r.Result.Outcomes {
		require.Equal(t, []string{"add", "tab", "Ann", "rep", "cor", "tra"},
			[]string{o.Type, o.Session, o.Actor, o.ReplyTo, o.CorrelationID, o.TraceParent})
		apart(o.Stream.Tenant, o.Stream.Type, o.Stream.ID, o.Type, o.Session, o.Actor, o.ReplyTo, o.CorrelationID, o.TraceParent)
	}
	a := r.Result.Answers[0]
	require.Equal(t, []string{"tab", "rep", "cor"}, []string{a.Session, a.ReplyTo, a.CorrelationID})
	apart(a.Stream.Type, a.Stream.ID, a.Session, a.ReplyTo, a.CorrelationID)
}

// The same by the heap: what is kept of large commands that were turned away is small. It is not parallel,
// so that nothing else is on the heap.
func TestRejectionsOfLargeCommandsAreSmall(t *testing.T) {
	s := newStage()
	inst := aggregate.NewInstance(s.kind, streamOf("a"))
	s.round().Take(inst, framed(t, commands.NewID(), commands.Genesis, frameOf(0)))
	const many, large = 200, 256 << 10
	var kept []*commands.Outcome
	before := heapInUse()
	for range many {
		r := s.round()
		r.Take(inst, framed(t, commands.NewID(), commands.Genesis, frameOf(large)))
		require.Equal(t, commands.StaleTicket, r.Result.Outcomes[0].Reason)
		kept = append(kept, r.Result.Outcomes...)
	}
	require.Less(t, heapInUse()-before, int64(many*large/10))
	require.Len(t, kept, many)
}

func heapInUse() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc) //nolint:gosec // no heap is that large
}

// What one rejection costs, the outcome's own memory included.
func BenchmarkReject(b *testing.B) {
	s := newStage()
	inst := aggregate.NewInstance(s.kind, streamOf("a"))
	s.round().Take(inst, framed(b, commands.NewID(), commands.Genesis, frameOf(0)))
	env := framed(b, commands.NewID(), commands.Genesis, frameOf(0))
	env.Policy = commands.PolicyStrict
	limits := s.limits
	b.ReportAllocs()
	for b.Loop() {
		r := &aggregate.Round{Now: now, Limits: &limits, Facts: noFacts{}, Lot: s.lot,
			Clock: func(commands.Stream) time.Duration { return 0 }}
		r.Take(inst, env)
	}
}

// noFacts knows of nothing, and learns nothing.
type noFacts struct{}

func (noFacts) Fact(commands.ID) (aggregate.Fact, bool) { return aggregate.Fact{}, true }
func (noFacts) Learn(commands.ID, aggregate.Fact)       {}
