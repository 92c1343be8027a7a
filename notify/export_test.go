package notify

// Left counts who is still registered.
func (w *Waiters) Left() (forCommands, forStreams int) {
	for i := range w.shards {
		w.shards[i].Lock()
		forCommands += len(w.shards[i].byID)
		w.shards[i].Unlock()
	}
	w.streams.Lock()
	defer w.streams.Unlock()
	return forCommands + int(w.waiting.Load()), len(w.streams.byStream) + int(w.streams.waiting.Load())
}

// Woken takes the signal, if there is one.
func (x *Waiter) Woken() bool { return taken(x.wake) }

// Woken takes the signal, if there is one.
func (x *StreamWaiter) Woken() bool { return taken(x.wake) }

func taken(wake chan struct{}) bool {
	select {
	case <-wake:
		return true
	default:
		return false
	}
}
