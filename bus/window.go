package bus

import (
	"slices"
	"sync"
	"time"
)

// stuckAfter is after what time a frame without an answer no longer keeps other lanes waiting: its queue may be out
// of order, which is no reason for the others to stand still. A broker that is well answers in some milliseconds.
const stuckAfter = 100 * time.Millisecond

// window bounds the frames that all lanes of a sender have under way together. A lane that finds it full waits in
// line, while its next frame fills. Its lock may be taken with a lane's held, not the other way round. A nil window
// has no bound.
type window struct {
	most      int
	frameTime time.Duration
	stuck     time.Duration // stuckAfter

	mu    sync.Mutex
	out   []*outgoing    // those that count, oldest first
	line  []*sendingLane // that wait, each once
	timer *time.Timer    // set while some wait
	usual time.Duration  // that a confirmation takes, the last ones weighing most; 0 before the first
}

func newWindow(config *SenderConfig) *window {
	if config.Window <= 0 {
		return nil
	}
	return &window{most: config.Window, frameTime: config.FrameTime, stuck: stuckAfter}
}

// least is how far FrameTime may narrow a window: with one frame alone neither end works while the other does.
const least = 2

// room tells whether another frame may leave. The caller holds mu. The bound changes where lanes that wait are called in
// right after, as nobody else would when it widens.
func (w *window) room() bool {
	most := w.most
	if w.frameTime > 0 && w.usual > 0 {
		most = min(most, max(least, int(w.usual/w.frameTime)))
	}
	return len(w.out) < most
}

// confirmed takes note of how long the bus took for a frame, which leaves now.
func (w *window) confirmed(o *outgoing) {
	if w == nil {
		return
	}
	const weight = 16 // of one in the average
	w.mu.Lock()
	if took := min(time.Since(o.left), w.stuck); w.usual == 0 {
		w.usual = took
	} else {
		w.usual += (took - w.usual) / weight
	}
	w.mu.Unlock()
}

// enter counts a frame in, or reports false: its lane is resumed when there is room. The caller holds the lane's mu.
func (w *window) enter(l *sendingLane, o *outgoing) bool {
	if w == nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	called := l.called
	l.called = false
	if w.room() {
		o.left = time.Now()
		w.out = append(w.out, o)
		return true
	}
	if !slices.Contains(w.line, l) {
		if called { // another one took the room that it was called for
			w.line = slices.Insert(w.line, 0, l)
		} else {
			w.line = append(w.line, l)
		}
		w.watch()
	}
	return false
}

// full tells whether a frame would have to wait at the moment.
func (w *window) full() bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.room()
}

// leave counts frames out and has those go on that wait. The caller holds no lane's mu.
func (w *window) leave(frames ...*outgoing) {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.out = slices.DeleteFunc(w.out, func(o *outgoing) bool { return slices.Contains(frames, o) })
	w.mu.Unlock()
	w.callIn()
}

// callIn resumes lanes while there is room.
func (w *window) callIn() {
	for {
		w.mu.Lock()
		if !w.room() || len(w.line) == 0 {
			if len(w.line) > 0 {
				w.watch()
			}
			w.mu.Unlock()
			return
		}
		l := w.line[0]
		w.line = slices.Delete(w.line, 0, 1)
		l.called = true
		w.mu.Unlock()
		l.resume()
	}
}

// watch sees to it that nobody waits long for frames that are stuck. The caller holds mu.
func (w *window) watch() {
	if w.timer == nil {
		w.timer = time.AfterFunc(w.stuck-time.Since(w.out[0].left), w.passStuck)
	}
}

// passStuck counts those out that are stuck. As more queues may be out of order, the window is wide then.
func (w *window) passStuck() {
	w.mu.Lock()
	w.timer = nil
	before := len(w.out)
	w.out = slices.DeleteFunc(w.out, func(o *outgoing) bool { return time.Since(o.left) >= w.stuck })
	if len(w.out) < before {
		w.usual = w.stuck
	}
	w.mu.Unlock()
	w.callIn()
}
