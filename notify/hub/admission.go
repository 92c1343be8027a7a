package hub

import (
	"context"
	"errors"
	"time"
)

// admit counts a connection from its first moment on.
func (h *Hub) admit(c *Conn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return ErrStopped
	}
	if len(h.conns)+len(h.openings) >= h.config.MaxConnections {
		return ErrFull
	}
	h.openings[c] = struct{}{}
	h.running.Add(1)
	return nil
}

// opened is the end of an opening, however it went.
func (h *Hub) opened(c *Conn) {
	h.mu.Lock()
	delete(h.openings, c)
	h.mu.Unlock()
	h.running.Done()
}

// giveWay lets others be opened too while one takes long.
func (o *opened) giveWay() error {
	const turn = 50 * time.Millisecond
	if o.hub.entering.Load() == 0 || time.Since(o.entered) < turn {
		return nil
	}
	<-o.hub.slots
	return o.reenter()
}

// reenter waits for a slot again.
func (o *opened) reenter() error {
	err := o.hub.enter(o.ctx)
	o.outside, o.entered = err != nil, time.Now()
	return err
}

// enter waits for a slot to open a connection in.
func (h *Hub) enter(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	h.entering.Add(1)
	defer h.entering.Add(-1)
	wait := time.NewTimer(h.config.OpenWait)
	defer wait.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-wait.C:
		return ErrBusy
	case <-h.ctx.Done():
		return ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// flushSlowly waits for the reader, who must not keep others from being opened meanwhile.
func (o *opened) flushSlowly() error {
	o.letGoSome()
	<-o.hub.slots
	err := o.sink.Flush()
	return errors.Join(err, o.reenter())
}
