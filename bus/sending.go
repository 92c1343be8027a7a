package bus

import (
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

// sendingLane is one lane's way out: a frame being filled, full ones behind which it queues, and those
// under way.
type sendingLane struct {
	config    *SenderConfig
	publisher Publisher
	window    *window
	topic     string

	called bool // the window has room for its next frame; guarded by the window's lock

	mu       sync.Mutex
	closed   bool
	filling  *outgoing
	full     []*outgoing // oldest first
	underWay []*outgoing // at most InFlight
	handing  bool        // a goroutine is handing frames over
	pending  int         // commands in all of these
	bytes    int         // of these commands
	telling  int         // goroutines calling dones
	lastSize int         // of the frames that left last, falling slowly: the best guess for the next one
	spare    [][]waiter
	settled  chan struct{} // closed once the lane is closed and all is told
	isOver   bool          // settled is closed
}

// outgoing is one frame and who waits for it. Its payload belongs to whoever receives it, so only the
// list of waiters is used again.
type outgoing struct {
	id       commands.ID // of its first command
	payload  []byte
	waiting  []waiter
	size     int  // of the commands in the payload
	order    bool // it is there for an order alone
	answered bool
	left     time.Time // guarded by the window's lock
}

// waiter is the done of Send, or that of SendAll with an index.
type waiter struct {
	one  func(error)
	each func(int, error)
	at   int
	env  *commands.Envelope // only its address, by which the command is taken back
	id   commands.ID
	size int // of the command in the payload
}

func (w *waiter) tell(err error) {
	if w.one != nil {
		w.one(err)
	} else {
		w.each(w.at, err)
	}
}

func (l *sendingLane) send(env *commands.Envelope, done func(error)) error {
	l.mu.Lock()
	err := l.add(env, waiter{one: done}, 0)
	if err == nil {
		l.handOver()
	}
	l.mu.Unlock()
	return err
}

// sendAll adds the commands with these indexes up to the first that is refused, and tells how many it
// took.
func (l *sendingLane) sendAll(envs []*commands.Envelope, own []int, done func(int, error)) (taken int, err error) {
	l.mu.Lock()
	for _, i := range own {
		if err = l.add(envs[i], waiter{each: done, at: i}, len(own)-taken-1); err != nil {
			break
		}
		taken++
	}
	l.handOver()
	l.mu.Unlock()
	return taken, err
}

// add puts a command into the frame being filled; as many more are about to follow. The caller holds mu.
func (l *sendingLane) add(env *commands.Envelope, w waiter, more int) error {
	size := frame.Size(env)
	w.env, w.id, w.size = env, env.ID, size
	switch {
	case l.closed:
		return ErrClosed
	case l.pending >= l.config.MaxPending, l.pending > 0 && l.bytes+size > l.config.MaxPendingBytes:
		return ErrFull
	}
	// An order has a frame of its own: a worker that cannot read it, as that of an older release, loses nothing
	// else with it.
	order := env.Order != commands.NoOrder
	if o := l.filling; o != nil && (order || o.order ||
		len(o.waiting) >= l.config.MaxFrame || len(o.payload)+size > l.config.MaxFrameBytes) {
		l.full = append(l.full, o)
		l.filling = nil
	}
	if l.filling == nil {
		l.filling = l.begin(env.ID, size, more, order)
	}
	l.filling.payload = frame.Append(l.filling.payload, env)
	l.filling.waiting = append(l.filling.waiting, w)
	l.filling.size += size
	l.pending++
	l.bytes += size
	return nil
}

// begin makes an empty frame with room for what will probably go into it.
func (l *sendingLane) begin(id commands.ID, size, more int, order bool) *outgoing {
	room := 1 + size*(1+more)
	if order {
		room = 1 + size
	} else if l.handing || len(l.underWay) >= l.config.InFlight || l.window.full() {
		room = max(room, l.lastSize)
	}
	o := &outgoing{id: id, order: order, payload: make([]byte, 0, max(1+size, min(room, l.config.MaxFrameBytes)))}
	if last := len(l.spare) - 1; last >= 0 {
		o.waiting, l.spare = l.spare[last], l.spare[:last]
	}
	return o
}

// handOver publishes frames while there are any and fewer than InFlight are under way. One goroutine at a
// time does it, which keeps them in order; whoever comes in between leaves its command to that one. The
// caller holds mu, which is released while a frame is handed over.
func (l *sendingLane) handOver() {
	if l.handing {
		return
	}
	l.handing = true
	for o := l.next(); o != nil && l.window.enter(l, o); o = l.next() {
		l.take()
		l.underWay = append(l.underWay, o)
		l.lastSize = max(len(o.payload), l.lastSize-l.lastSize/8)
		l.mu.Unlock()
		m := message.NewMessage(o.id.String(), o.payload)
		if l.config.Via != "" {
			m.Metadata.Set(ViaKey, l.config.Via)
		}
		l.publisher.PublishAsync(l.topic, m, func(err error) { l.answer(o, err) })
		l.mu.Lock()
	}
	l.handing = false
}

// next is the frame whose turn it is; nil when there is none or enough are under way.
func (l *sendingLane) next() *outgoing {
	if len(l.underWay) >= l.config.InFlight {
		return nil
	}
	if len(l.full) > 0 {
		return l.full[0]
	}
	return l.filling
}

// take takes the frame whose turn it is.
func (l *sendingLane) take() {
	if len(l.full) > 0 {
		l.full = slices.Delete(l.full, 0, 1)
	} else {
		l.filling = nil
	}
}

// resume goes on once the window has room.
func (l *sendingLane) resume() {
	l.mu.Lock()
	l.handOver()
	l.mu.Unlock()
}

// answer tells the commands of a frame what became of it, after the next frame has left.
func (l *sendingLane) answer(o *outgoing, err error) {
	if err == nil {
		l.window.confirmed(o)
	}
	l.window.leave(o)
	l.mu.Lock()
	if !o.answered { // else Close has given up on it
		l.underWay = slices.DeleteFunc(l.underWay, func(other *outgoing) bool { return other == o })
		l.release(o)
		l.handOver()
		l.tell(o, err)
	}
	l.mu.Unlock()
}

// release takes a frame that will be told out of the accounts. The caller holds mu.
func (l *sendingLane) release(o *outgoing) {
	o.answered = true
	l.pending -= len(o.waiting)
	l.bytes -= o.size
	l.telling++
}

// tell calls the dones of a released frame. The caller holds mu, which is released meanwhile.
func (l *sendingLane) tell(o *outgoing, err error) {
	l.mu.Unlock()
	for i := range o.waiting {
		o.waiting[i].tell(err)
	}
	l.mu.Lock()
	l.telling--
	if len(l.spare) < l.config.InFlight {
		clear(o.waiting)
		l.spare = append(l.spare, o.waiting[:0])
	}
	o.waiting = nil
	l.endIfSettled()
}

// withdraw takes commands back out of the frames that have not left.
func (l *sendingLane) withdraw(which map[*commands.Envelope]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	back := &outgoing{}
	for _, o := range l.full {
		o.takeOut(which, back)
	}
	l.full = slices.DeleteFunc(l.full, func(o *outgoing) bool { return len(o.waiting) == 0 })
	if l.filling != nil {
		if l.filling.takeOut(which, back); len(l.filling.waiting) == 0 {
			l.filling = nil
		}
	}
	if len(back.waiting) > 0 {
		l.release(back)
		l.tell(back, ErrUnavailable)
	}
}

// takeOut moves commands over to the frame of those that are taken back.
func (o *outgoing) takeOut(which map[*commands.Envelope]bool, back *outgoing) {
	kept, end, at := o.waiting[:0], 1, 1
	for _, w := range o.waiting {
		text := o.payload[at : at+w.size]
		at += w.size
		if which[w.env] {
			back.waiting, back.size = append(back.waiting, w), back.size+w.size
			continue
		}
		end += copy(o.payload[end:], text)
		kept = append(kept, w)
	}
	clear(o.waiting[len(kept):])
	o.waiting, o.payload, o.size = kept, o.payload[:end], end-1
	if len(kept) > 0 {
		o.id = kept[0].id
	}
}

func (l *sendingLane) close() {
	l.mu.Lock()
	l.closed = true
	l.endIfSettled()
	l.mu.Unlock()
}

// endIfSettled closes settled once. The caller holds mu.
func (l *sendingLane) endIfSettled() {
	if l.closed && !l.isOver && l.pending == 0 && l.telling == 0 {
		l.isOver = true
		close(l.settled)
	}
}

// abandon tells what has not been answered that it will not be.
func (l *sendingLane) abandon() {
	l.mu.Lock()
	left, kept := l.underWay, l.full
	if l.filling != nil {
		kept = append(kept, l.filling)
	}
	l.underWay, l.full, l.filling = nil, nil, nil
	for _, o := range append(slices.Clone(left), kept...) {
		l.release(o)
	}
	for _, o := range left {
		l.tell(o, ErrFateUnknown)
	}
	for _, o := range kept {
		l.tell(o, ErrClosed)
	}
	l.mu.Unlock()
	l.window.leave(left...)
}
