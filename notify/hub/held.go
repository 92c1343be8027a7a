package hub

import (
	"fmt"
	"strings"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// maxHeld bounds, in bytes, the states that all connections being opened have read and not told yet: their
// readers may be slow, and many. What is beyond is read again when its turn comes.
const maxHeld = 64 << 20

// hold keeps a record until its stream is told, without its state when too much is held already.
func (o *opened) hold(p *point, record *store.Record) {
	p.record = record
	if o.deliver == DeliverTicket || !p.lacksHead() { // it is told without, or not at all
		p.strip()
		return
	}
	size := sizeOf(record)
	if o.hub.held.Add(size) > maxHeld {
		o.hub.held.Add(-size)
		p.strip()
		return
	}
	o.held += size
}

// letGo keeps no state of a stream any more.
func (o *opened) letGo(p *point) {
	if p.record == nil || p.unheld {
		return
	}
	size := sizeOf(p.record)
	o.hub.held.Add(-size)
	o.held -= size
	p.strip()
}

// letGoSome leaves what may be held to others while this one's reader is waited for, unless there is plenty.
func (o *opened) letGoSome() {
	const plenty = maxHeld / 4
	for i := 0; i < len(o.points) && o.held > 0 && o.hub.held.Load() > plenty; i++ {
		o.letGo(&o.points[i])
	}
}

func sizeOf(record *store.Record) int64 {
	size := int64(len(record.State))
	for i := range record.Tail {
		size += int64(len(record.Tail[i].Data))
	}
	return size
}

// strip leaves of the record what is not its state.
func (p *point) strip() {
	p.unheld = true
	head := p.record.Head
	head.Session = "" // texts may be parts of a whole row
	p.record = &store.Record{Stream: p.record.Stream.Clone(), Head: head}
}

// readActors reads who did what, and keeps nothing else of it in memory; nil where nothing was done.
func (o *opened) readActors(actions []commands.ID) ([]*commands.ActorView, error) {
	found, err := o.hub.config.Reader.Status(o.ctx, actions)
	if err != nil {
		return nil, fmt.Errorf("read the newest actions: %w", err)
	}
	actors := make([]*commands.ActorView, len(found))
	for i := range found {
		if newest := found[i].Outcome; newest != nil {
			actor := viewActor(newest)
			actor.Type, actor.Actor = strings.Clone(actor.Type), strings.Clone(actor.Actor)
			actors[i] = &actor
		}
	}
	return actors, nil
}

// stateOf is the state of a stream as its record was read.
func (o *opened) stateOf(p *point) ([]byte, error) {
	if p.unheld {
		return o.hub.config.States.StateAt(o.ctx, p.record.Stream, p.record.Head.Version)
	}
	return o.hub.config.States.StateOf(o.ctx, p.record)
}
