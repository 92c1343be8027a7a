package sqlite

import (
	"context"
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
	closed    bool     // nothing more is published
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
func (v *view) await(ctx context.Context, position uint64) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.end >= position {
		return nil
	}
	defer context.AfterFunc(ctx, v.wake)()
	for v.end < position {
		switch {
		case v.closed:
			return errClosed
		case ctx.Err() != nil:
			return failed("await what was committed", ctx.Err())
		}
		v.published.Wait()
	}
	return nil
}

// wake has everybody who waits look again. Taking the lock, it misses nobody who is about to wait.
func (v *view) wake() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.published.Broadcast()
}

// close says that nothing more will be published.
func (v *view) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.wake()
}
