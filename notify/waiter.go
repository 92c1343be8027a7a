package notify

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/ticketed/doorman/commands"
)

// AnyPayload is given to [Waiters.Register] by who asks about an id without having sent it.
var AnyPayload commands.Hash

// Waiter waits for one command. It is used by one goroutine, until Close.
type Waiter struct {
	home *Waiters
	id   commands.ID
	hash commands.Hash
	wake chan struct{} // one signal at most

	// The rest is guarded by the lock of the id's shard.
	next     *Waiter // an older one for the same id
	outcome  *commands.Outcome
	conflict bool
	look     bool // what became of the command earlier is in the store
	blocked  bool // it was not there at once, so that the poll has to look for it too
	polled   bool // the poll has looked at least once since
	expected bool // Interest expects its outcome
	watched  bool // Interest watches for it
}

// Register begins to wait for a command. Call it before the command is sent, so that nothing is missed,
// and Close the waiter in the end. It reports false when too many wait already: then do without.
func (w *Waiters) Register(id commands.ID, hash commands.Hash) (*Waiter, bool) {
	if w.waiting.Add(1) > int64(w.config.Max) {
		w.waiting.Add(-1)
		return nil, false
	}
	x := w.pool.Get().(*Waiter)
	x.id, x.hash = id, hash
	if hash == AnyPayload {
		x.watched = true
		w.config.Interest.WatchCommand(id)
	} else {
		x.expected = true
		w.config.Interest.Expect(1)
	}
	s := w.shard(id)
	s.Lock()
	x.next = s.byID[id]
	s.byID[id] = x
	s.Unlock()
	return x, true
}

// Told is what is known by now, without waiting: the outcome, that the id belongs to another command, or
// neither.
func (x *Waiter) Told() (outcome *commands.Outcome, conflict bool) {
	s := x.home.shard(x.id)
	s.Lock()
	outcome, conflict = x.outcome, x.conflict
	s.Unlock()
	return outcome, conflict
}

// Wait waits for the outcome, or for the word that the id belongs to another command. It ends without
// either with the context's error, with ErrStopped, or with the store's when that could not be read. A
// parked command is waited for until it is settled.
func (x *Waiter) Wait(ctx context.Context) (outcome *commands.Outcome, conflict bool, err error) {
	for {
		look, outcome, conflict := x.block()
		if outcome != nil || conflict {
			return outcome, conflict, nil
		}
		if look {
			if err := x.home.lookup(ctx, []commands.ID{x.id}); err != nil {
				return nil, false, err
			}
			if outcome, conflict = x.Told(); outcome != nil || conflict {
				return outcome, conflict, nil
			}
		}
		select {
		case <-x.wake:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-x.home.stopped:
			return nil, false, ErrStopped
		}
	}
}

func (x *Waiter) block() (look bool, outcome *commands.Outcome, conflict bool) {
	s := x.home.shard(x.id)
	s.Lock()
	look, x.look, x.blocked = x.look, false, true
	outcome, conflict = x.outcome, x.conflict
	s.Unlock()
	return look, outcome, conflict
}

// Close ends the waiting and leaves nothing behind. The waiter must not be used any more.
func (x *Waiter) Close() {
	s := x.home.shard(x.id)
	s.Lock()
	if first := s.byID[x.id]; first != x {
		for first.next != x {
			first = first.next
		}
		first.next = x.next
	} else if x.next != nil {
		s.byID[x.id] = x.next
	} else {
		delete(s.byID, x.id)
	}
	expected, watched := x.expected, x.watched
	s.Unlock()
	if expected {
		x.home.config.Interest.Expect(-1)
	}
	if watched {
		x.home.config.Interest.UnwatchCommand(x.id)
	}
	x.home.waiting.Add(-1)
	select {
	case <-x.wake:
	default:
	}
	*x = Waiter{home: x.home, wake: x.wake}
	x.home.pool.Put(x)
}

func (x *Waiter) signal() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// StreamWaiter waits for one stream to change. It is used by one goroutine, until Close.
type StreamWaiter struct {
	home   *Waiters
	stream commands.Stream
	wake   chan struct{}
	next   *StreamWaiter
}

type streamWaiters struct {
	sync.Mutex
	waiting  atomic.Int64
	byStream map[commands.Stream]*StreamWaiter
}

// Watch begins to wait for landings on a stream. Call it before reading the stream, so that nothing is
// missed, and Close the waiter in the end. It reports false when too many wait already.
func (w *Waiters) Watch(stream commands.Stream) (*StreamWaiter, bool) {
	r := &w.streams
	if r.waiting.Add(1) > int64(w.config.Max) {
		r.waiting.Add(-1)
		return nil, false
	}
	x := &StreamWaiter{home: w, stream: stream, wake: make(chan struct{}, 1)}
	r.Lock()
	x.next = r.byStream[stream]
	r.byStream[stream] = x
	r.Unlock()
	w.config.Interest.WatchStream(stream)
	return x, true
}

// Changed waits until something may have landed on the stream since Watch or since it returned last:
// read the stream and see. Its error is the context's or ErrStopped.
func (x *StreamWaiter) Changed(ctx context.Context) error {
	select {
	case <-x.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-x.home.stopped:
		return ErrStopped
	}
}

// Close ends the waiting and leaves nothing behind.
func (x *StreamWaiter) Close() {
	r := &x.home.streams
	r.Lock()
	if first := r.byStream[x.stream]; first != x {
		for first.next != x {
			first = first.next
		}
		first.next = x.next
	} else if x.next != nil {
		r.byStream[x.stream] = x.next
	} else {
		delete(r.byStream, x.stream)
	}
	r.Unlock()
	x.home.config.Interest.UnwatchStream(x.stream)
	r.waiting.Add(-1)
}

func (r *streamWaiters) wake(stream commands.Stream) {
	r.Lock()
	for x := r.byStream[stream]; x != nil; x = x.next {
		x.signal()
	}
	r.Unlock()
}

func (r *streamWaiters) wakeAll() {
	r.Lock()
	for _, first := range r.byStream {
		for x := first; x != nil; x = x.next {
			x.signal()
		}
	}
	r.Unlock()
}

func (x *StreamWaiter) signal() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}
