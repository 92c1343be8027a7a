package sqlite

import (
	"sync"

	"github.com/ticketed/doorman/commands"
)

// view is what readers are to see beyond the rows of the table streams: the heads that lag behind there, and
// the end of the log. What one commit changes becomes visible in one step, after SQLite has it on disk.
type view struct {
	mu        sync.RWMutex
	published *sync.Cond // on mu, for reading
	end       uint64
	unsettled map[commands.Stream]*stream
	clocks    clocks
	epochs    []uint64 // of the lanes
	parked    int      // commands
}

func newView() *view {
	v := &view{unsettled: map[commands.Stream]*stream{}}
	v.published = sync.NewCond(v.mu.RLocker())
	return v
}

// lookup finds a stream whose row lags behind, with its newest published head; both are nil when the row is
// current. The epoch is that of the stream's lane.
func (v *view) lookup(name commands.Stream, lane int) (s *stream, h *head, epoch uint64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if s = v.unsettled[name]; s != nil {
		h = s.head
	}
	return s, h, v.epochs[lane]
}

func (v *view) anyParked() bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.parked > 0
}

func (v *view) endOfLog() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.end
}

// await returns once everything up to the position is published. A reader may find an outcome in the log in
// the moment between the end of its transaction and its publication, which takes no more than the time to
// change some pointers; telling of it before would let the next read find less.
func (v *view) await(position uint64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for v.end < position {
		v.published.Wait()
	}
}
