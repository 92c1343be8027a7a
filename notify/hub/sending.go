package hub

import "fmt"

// markOnTheWay marks how far the log has been told, now and then: a reader that is always cut before the end of
// a long opening would not get any further otherwise. It can where nothing is told but from the log, and up to
// where the opening's own mark will be.
func (o *opened) markOnTheWay() error {
	const enough, enoughBytes = 32, 64 << 10
	if o.unmarked < enough && o.unmarkedBytes < enoughBytes {
		return nil
	}
	if len(o.byStream) < len(o.points) || o.registered && o.at > o.start {
		return nil
	}
	return o.flush(o.at)
}

// tell adds a message, and sends what has come together.
func (o *opened) tell(event string, data []byte) error {
	const most, mostBytes = 64, 64 << 10
	o.pending = append(o.pending, Message{event, data})
	o.unmarked++
	o.unmarkedBytes += len(data)
	if o.bytes += len(data); len(o.pending) >= most || o.bytes >= mostBytes {
		return o.put()
	}
	return nil
}

// put sends what has come together.
func (o *opened) put() error { return o.send(&Delivery{Messages: o.pending}) }

// flush sends it with a mark: everything up to there has been told.
func (o *opened) flush(mark uint64) error {
	o.marked, o.unmarked, o.unmarkedBytes = mark, 0, 0
	return o.send(&Delivery{Messages: o.pending, Mark: o.hub.position(mark)})
}

func (o *opened) send(d *Delivery) error {
	told := len(d.Messages)
	left, err := o.sink.Put(d)
	// The sink has it all: nothing is kept twice while a slow reader is waited for.
	o.pending, o.bytes = nil, 0
	if err == nil && left {
		err = o.flushSlowly()
	}
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if told > 0 {
		o.hub.config.Metrics.Told(told)
	}
	return o.giveWay()
}
