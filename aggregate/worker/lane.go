package worker

import (
	"container/heap"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// lane is one lane that the worker holds: the claim to it, its clock, and what waits on its streams.
type lane struct {
	claim  store.Claim // Worked is the lane's clock
	parked int
	saved  time.Duration // the clock as it was handed to the last commit

	frames uint64    // messages taken from the bus, in all
	came   time.Time // the newest of them
	unread int       // messages taken, not judged in full

	deadlines deadlineHeap
	// While something is due: since which message count and time on the clock, and for how many ticks the
	// lane has been found empty.
	due        bool
	dueFrames  uint64
	dueUntil   time.Duration
	emptyTicks int
	expiring   bool // what is due up to then is being rejected: everything before it has been judged
}

// deadline is a parked command as the sweeper sees it.
type deadline struct {
	id      commands.ID
	stream  commands.Stream
	session string
	at      time.Duration // on the lane's clock
	lane    *lane
	since   time.Time
	place   int // in the lane's heap
}

type deadlineHeap []*deadline

var _ heap.Interface = (*deadlineHeap)(nil)

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push is heap.Interface's.
func (h *deadlineHeap) Push(x any) {
	entry := x.(*deadline)
	entry.place = len(*h)
	*h = append(*h, entry)
}

// Pop is heap.Interface's.
func (h *deadlineHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}

// settled tells whether everything that was queued when the lane's first deadline passed has been
// judged: the lane was found empty twice, a tick apart, or as many messages as can be queued have been
// judged since.
func (l *lane) settled(queueBound int) bool {
	if !l.due {
		l.due, l.dueFrames, l.dueUntil, l.emptyTicks = true, l.frames, l.claim.Worked, 0
	}
	if l.unread == 0 {
		l.emptyTicks++
	} else {
		l.emptyTicks = 0
	}
	judged := l.frames - uint64(l.unread)
	return l.emptyTicks >= 2 || judged >= l.dueFrames+uint64(queueBound)
}
