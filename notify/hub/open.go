package hub

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

type commandStatus = store.CommandStatus

// opened is a connection on its way from its request to the live tail.
type opened struct {
	*Conn
	ctx     context.Context //nolint:containedctx // it is that of one call of Open
	request *Request

	watched  []Watch                    // those that can be
	points   []point                    // of each of them
	byStream map[commands.Stream]*point // those that are told from the log
	fresh    bool                       // it has no mark that counts
	after    uint64                     // its mark
	own      map[string]bool            // the sessions
	ownAfter uint64                     // what their commands came to after this is owed
	at       uint64                     // the log has been told up to here
	told     map[commands.ID]bool       // of the sessions' commands, since it was registered

	registered bool
	start      uint64 // what is above is noted for it since it was registered
	// Told since the last mark.
	unmarked, unmarkedBytes int
	outside                 bool      // it lost its slot
	entered                 time.Time // when it got it
	held                    int64     // bytes of states
	pending                 []Message
	bytes                   int
}

// point is what a reader has of one stream, and how it is told.
type point struct {
	snapshot  bool          // it is told as it is now
	byVersion bool          // what is above the version is owed
	version   uint64        // that the reader has
	position  uint64        // what is above this is owed
	record    *store.Record // as read; nil when it is told from the log
	unheld    bool          // the record is without its state
	refused   bool

	// The state after the newest landing told from the log.
	state   []byte
	stateAt uint64
	folded  bool
}

// owes tells whether the reader does not have what landed at a position and left a version.
func (p *point) owes(version, position uint64) bool {
	return (!p.byVersion || version > p.version) && position > p.position
}

// lacksHead tells whether the reader does not have the stream as its record has it.
func (p *point) lacksHead() bool {
	return p.snapshot || p.owes(p.record.Head.Version, p.record.Head.Position)
}

// Open begins to tell a sink what is asked for: the opening before it returns, and then whatever is
// committed, until Close or until the hub ends the connection. The context bounds the opening.
//
// An error that comes before anything was put into the sink is a *RequestError, ErrFull, ErrBusy,
// ErrStopped, or that of the store; later ones are the store's and the sink's. The sink is closed then.
func (h *Hub) Open(ctx context.Context, r *Request, sink Sink) (*Conn, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	c := &Conn{hub: h, sink: sink, deliver: r.Deliver, sessions: r.Sessions}
	if err := h.admit(c); err != nil {
		return nil, err
	}
	defer h.opened(c)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	if err := h.enter(ctx); err != nil {
		return nil, err
	}
	o := &opened{Conn: c, ctx: ctx, request: r, fresh: true, ownAfter: math.MaxUint64, entered: time.Now(),
		own: make(map[string]bool, len(r.Sessions)), told: map[commands.ID]bool{}}
	for _, s := range r.Sessions {
		o.own[s] = true
	}
	defer func() {
		h.held.Add(-o.held)
		if !o.outside {
			<-h.slots
		}
	}()
	if err := o.run(); err != nil {
		c.end("")
		return nil, err
	}
	return c, nil
}

func (o *opened) run() error {
	if err := o.begin(); err != nil {
		return err
	}
	if err := o.catchUp(); err != nil {
		return err
	}
	start, err := o.register()
	if err != nil {
		return err
	}
	if err := o.tellParked(); err != nil {
		return err
	}
	until, err := o.readHeads(max(start, o.after))
	if err != nil {
		return err
	}
	if err := o.tellLog(until); err != nil {
		return err
	}
	if err := o.tellHeads(); err != nil {
		return err
	}
	if err := o.flush(max(start, o.after)); err != nil {
		return err
	}
	o.live(until)
	return nil
}

// begin finds out where the reader is, and puts the first of the sink's bytes through.
func (o *opened) begin() error {
	end, err := o.hub.config.Reader.End(o.ctx)
	if err != nil {
		return fmt.Errorf("read the end of the log: %w", err)
	}
	for _, w := range o.request.Streams {
		if !o.hub.config.Serves(w.Stream.Type) {
			view := commands.RefusedView{Stream: w.Stream, Code: commands.UnknownType}
			o.pending = append(o.pending, Message{commands.PushRefused, view.AppendTo(nil)})
			continue
		}
		o.watched = append(o.watched, w)
	}
	o.points = make([]point, len(o.watched))
	if mark := o.request.After; mark != nil {
		switch far := end - mark.N; {
		case mark.Epoch == "":
			return o.reset(commands.ResetMalformed)
		case mark.Epoch != o.hub.config.Epoch:
			return o.reset(commands.ResetEpoch)
		case mark.N > end:
			return o.reset(commands.ResetAhead)
		case len(o.sessions) > 0 && far > uint64(o.hub.config.MaxBehind): //nolint:gosec // it is positive
			return o.reset(commands.ResetTooFar)
		}
		o.fresh, o.after, o.ownAfter = false, mark.N, mark.N
	}
	for i, w := range o.watched {
		p := &o.points[i]
		switch {
		case w.Since == SinceSnapshot, w.Since == SinceMark && o.fresh:
			p.snapshot = true
		case w.Since == SinceMark:
			p.position = o.after
		default:
			if p.byVersion, p.version = true, w.Version; o.request.Reopened {
				p.position = o.after
			}
		}
	}
	return o.put()
}

// reset has everything told anew.
func (o *opened) reset(reason commands.ResetReason) error {
	view := commands.ResetView{Reason: reason}
	o.pending = append(o.pending, Message{commands.PushReset, view.AppendTo(nil)})
	o.fresh, o.after = true, 0
	for i := range o.points {
		o.letGo(&o.points[i])
		o.points[i] = point{snapshot: true}
	}
	clear(o.byStream)
	return o.put()
}

// register makes the connection known; from now on it is noted what it is owed.
func (o *opened) register() (start uint64, err error) {
	h := o.hub
	o.want()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return 0, ErrStopped
	}
	delete(h.openings, o.Conn)
	h.enlist(o.Conn, o.watched)
	if o.ownAfter == math.MaxUint64 {
		o.ownAfter = h.end
	}
	if len(o.byStream) == 0 {
		o.at = max(o.at, o.ownAfter)
	}
	o.registered, o.start = true, h.end
	return h.end, nil
}

// mostParked bounds how many parked commands are told when a connection opens.
const mostParked = 10_000

func (o *opened) tellParked() error {
	if len(o.sessions) == 0 {
		return nil
	}
	waiting, err := o.hub.config.Reader.WaitingOf(o.ctx, o.sessions, mostParked)
	if err != nil {
		return fmt.Errorf("read what is parked: %w", err)
	}
	for i := range waiting {
		if err := o.tell(commands.PushParked, viewParked(&waiting[i]).AppendTo(nil)); err != nil {
			return err
		}
	}
	return nil
}

// readHeads reads the streams that are told as they are now, and returns the position up to which the log
// must be told before them: what they contain of the session's own commands is told first.
func (o *opened) readHeads(until uint64) (uint64, error) {
	for i := range o.points {
		p := &o.points[i]
		if !p.snapshot && o.deliver == DeliverEvents {
			continue
		}
		record, known, err := o.hub.config.Reader.Head(o.ctx, o.watched[i].Stream)
		if err != nil {
			return 0, fmt.Errorf("read the head of %s: %w", o.watched[i].Stream, err)
		}
		if !known {
			record = &store.Record{Stream: o.watched[i].Stream}
		}
		if p.byVersion && p.version > record.Head.Version {
			if err := o.reset(commands.ResetAhead); err != nil {
				return 0, err
			}
			return o.readHeads(until)
		}
		if p.version == record.Head.Version && p.position < record.Head.Position {
			if err := o.later(p, o.watched[i].Stream); err != nil {
				return 0, fmt.Errorf("read the changes of %s: %w", o.watched[i].Stream, err)
			}
		}
		o.hold(p, record)
		until = max(until, record.Head.Position)
	}
	return until, nil
}

// tellHeads tells the streams that are told as they are now, as far as the reader does not have that.
func (o *opened) tellHeads() error {
	var actions []commands.ID
	var owed []int
	for i := range o.points {
		p := &o.points[i]
		if p.record == nil || !p.lacksHead() {
			continue
		}
		owed = append(owed, i)
		actions = append(actions, p.record.Head.Action)
	}
	const some = 16 // outcomes may be large, and are not to be in memory all at once
	for len(owed) > 0 {
		n := min(some, len(owed))
		actors, err := o.readActors(actions[:n])
		if err != nil {
			return err
		}
		for k, i := range owed[:n] {
			if err := o.tellHead(&o.points[i], actors[k]); err != nil {
				return err
			}
			o.letGo(&o.points[i])
		}
		owed, actions = owed[n:], actions[n:]
	}
	return nil
}

func (o *opened) tellHead(p *point, by *commands.ActorView) error {
	head := &p.record.Head
	view := commands.PushView{Stream: p.record.Stream, Version: head.Version, Ticket: head.Ticket(),
		Position: o.hub.position(head.Position), Command: by, At: head.At}
	if o.deliver != DeliverTicket {
		state, err := o.stateOf(p)
		if err != nil {
			return o.untellable(p, p.record.Stream, err)
		}
		if view.State = state; state == nil {
			view.State = null
		}
		view.Events = []commands.ChangeView{}
	}
	if !p.snapshot {
		if err := o.addMissed(p, &view); err != nil {
			return err
		}
	}
	return o.tell(commands.PushState, oneLine(view.AppendTo(nil)))
}

// untellable: the type's code cannot tell the state. The stream is not watched; the others are.
func (o *opened) untellable(p *point, stream commands.Stream, err error) error {
	if errors.Is(err, store.ErrUnavailable) || o.ctx.Err() != nil {
		return fmt.Errorf("tell the state of %s: %w", stream, err)
	}
	o.hub.config.Log.Error("cannot tell a state", "stream", stream.String(), "err", err)
	p.refused = true
	view := commands.RefusedView{Stream: stream, Code: commands.Failed}
	return o.tell(commands.PushRefused, view.AppendTo(nil))
}

// addMissed adds the events since the reader was here, the newest hundred, and how many landings brought
// them; with more events than that, at least so many.
func (o *opened) addMissed(p *point, view *commands.PushView) error {
	after := max(p.version, view.Version-min(view.Version, commands.MaxMissed))
	if after == view.Version {
		return nil
	}
	changes, err := o.hub.config.Reader.Changes(o.ctx, view.Stream, after, commands.MaxMissed)
	if err != nil {
		return fmt.Errorf("read the changes of %s: %w", view.Stream, err)
	}
	var last commands.ID
	for i := range changes {
		c := &changes[i]
		if c.Position <= p.position || c.Version > view.Version {
			continue
		}
		if c.Command != last {
			last = c.Command
			view.Merged++
		}
		if o.deliver == DeliverTicket {
			continue
		}
		view.Events = append(view.Events, c.View(o.hub.config.Epoch))
	}
	if last != view.Ticket {
		view.Merged++ // the newest landing had no events
	}
	return nil
}

// live hands the connection over to the hub. What was told of before is not owed any more.
func (o *opened) live(until uint64) {
	h := o.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.phase == ended {
		return
	}
	for i := range o.watches {
		w, p := &o.watches[i], &o.points[i]
		if p.refused {
			h.drop(w)
			continue
		}
		if w.after = until; p.record != nil {
			w.after = p.record.Head.Position
		}
		for _, l := range w.topic.landings {
			if l.outcome.Position <= w.after {
				w.seen = max(w.seen, l.number)
			}
		}
	}
	o.privateAfter, o.settled = max(o.privateAfter, until), o.told
	owed := o.private[:0]
	for _, p := range o.private {
		if p.outcome != nil && p.position <= until || p.waiting != nil && o.told[p.waiting.ID] {
			continue
		}
		owed = append(owed, p)
	}
	o.private = owed
	h.release(o.Conn)
}
