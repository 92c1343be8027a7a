package hub

import (
	"context"
	"errors"
	"fmt"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// catchUp tells what a connection that resumes missed, read from the log: what its sessions' commands came
// to, and, if it wants each landing by itself, those of its streams. It comes close to the end of the log;
// the rest is told once the connection is registered, so that little gathers for it meanwhile.
func (o *opened) catchUp() error {
	far, err := o.findPoints()
	if err != nil {
		return err
	}
	if len(o.byStream) > 0 || !o.fresh && len(o.sessions) > 0 {
		if err := o.readLog(); err != nil {
			return err
		}
	}
	for _, i := range far {
		p, stream := &o.points[i], o.watched[i].Stream
		if err := o.tellChanges(p, stream); err != nil {
			return err
		}
		p.byVersion, p.position = false, o.at
		o.byStream[stream] = p
	}
	return nil
}

// readLog tells the log until it is close to the end.
func (o *opened) readLog() error {
	const page, near = 512, 256
	for end := o.hub.ended(); o.at+near < end; end = o.hub.ended() {
		outcomes, err := o.hub.config.Feed.Read(o.ctx, o.at, int(min(end-o.at, page))) //nolint:gosec // page is small
		if err != nil {
			return fmt.Errorf("catch up after %d: %w", o.at, err)
		}
		if len(outcomes) == 0 {
			return fmt.Errorf("catch up after %d: %w", o.at, errHole)
		}
		if err := o.tellOutcomes(outcomes); err != nil {
			return err
		}
		if err := o.giveWay(); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) ended() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.end
}

// tellLog tells the rest, up to a position that is in the log.
func (o *opened) tellLog(until uint64) error {
	if len(o.byStream)+len(o.sessions) == 0 {
		return nil
	}
	const page = 512
	for o.at < until {
		n := int(min(until-o.at, page)) //nolint:gosec // page is small
		outcomes, err := o.hub.config.Feed.Read(o.ctx, o.at, n)
		if err == nil && len(outcomes) == 0 { // the store is ahead of the feed
			outcomes, err = o.hub.config.Reader.Log(o.ctx, o.at, n)
		}
		if err != nil {
			return fmt.Errorf("read the log after %d: %w", o.at, err)
		}
		if len(outcomes) == 0 {
			return fmt.Errorf("read the log after %d: %w", o.at, errHole)
		}
		if err := o.tellOutcomes(outcomes); err != nil {
			return err
		}
	}
	return nil
}

var errHole = errors.New("it ends before a position that was told")

func (o *opened) tellOutcomes(outcomes []*commands.Outcome) error {
	for _, out := range outcomes {
		o.at = out.Position
		if err := o.tellOutcome(out); err != nil {
			return err
		}
		if err := o.markOnTheWay(); err != nil {
			return err
		}
	}
	return nil
}

func (o *opened) tellOutcome(out *commands.Outcome) error {
	if out.Position > o.ownAfter && o.own[out.Session] {
		m, err := o.hub.renderOutcome(o.ctx, out)
		if err != nil {
			return err
		}
		if err := o.tell(m.Event, m.Data); err != nil {
			return err
		}
		if o.registered {
			o.told[out.ID] = true
		}
	}
	if len(o.byStream) == 0 || !out.Landed() {
		return nil
	}
	if p := o.byStream[out.Stream]; p != nil && !p.refused && p.owes(out.Version, out.Position) {
		return o.tellLogged(p, out)
	}
	return nil
}

// tellLogged tells a landing as the log has it; what was told so lately need not be folded again.
func (o *opened) tellLogged(p *point, out *commands.Outcome) error {
	l, kept := o.hub.replay.get(out.Position)
	if !kept {
		var err error
		if l, err = o.landing(p, out); err != nil {
			return o.untellable(p, out.Stream, err)
		}
		o.hub.replay.add(l)
	}
	return o.tellLanding(p, l)
}

// tellRebuilt tells a landing that was put together from the changelog: as much of it as the reader lacks.
func (o *opened) tellRebuilt(p *point, out *commands.Outcome) error {
	l, err := o.landing(p, out)
	if err != nil {
		return o.untellable(p, out.Stream, err)
	}
	return o.tellLanding(p, l)
}

// landing finds the state after what landed.
func (o *opened) landing(p *point, out *commands.Outcome) (*landing, error) {
	state, err := o.hub.stateAfter(o.ctx, p, out)
	if err != nil {
		return nil, err
	}
	return &landing{outcome: out, state: state, told: true}, nil
}

func (o *opened) tellLanding(p *point, l *landing) error {
	out := l.outcome
	p.state, p.stateAt, p.folded = l.state, out.Version, true
	text, err := o.hub.renderLanding(l, false)
	if err != nil {
		return err
	}
	return o.tell(commands.PushState, text)
}

// stateAfter is a stream's state after a landing, from that before it when it is at hand.
func (h *Hub) stateAfter(ctx context.Context, p *point, out *commands.Outcome) ([]byte, error) {
	before := out.FirstVersion() - 1
	if !p.folded || p.stateAt != before {
		return h.config.States.StateAt(ctx, out.Stream, out.Version)
	}
	if len(out.Events) == 0 {
		return p.state, nil
	}
	return h.config.States.Fold(ctx, out.Stream, p.state, out.Events)
}

// findPoints finds where in the log to begin for the streams of which each landing is told. Those for
// which it is too far back come by their changelogs.
func (o *opened) findPoints() (far []int, err error) {
	end := o.hub.ended()
	o.byStream = map[commands.Stream]*point{}
	o.at = end
	if len(o.sessions) > 0 && !o.fresh {
		o.at = min(o.at, o.after)
	}
	for i := range o.points {
		p := &o.points[i]
		if p.snapshot || o.deliver != DeliverEvents {
			continue
		}
		stream := o.watched[i].Stream
		from, err := o.missedFrom(p, stream)
		switch {
		case errors.Is(err, store.ErrNotKept):
			return nil, o.reset(commands.ResetAhead)
		case err != nil:
			return nil, fmt.Errorf("read the changes of %s: %w", stream, err)
		case end > from && end-from > uint64(o.hub.config.MaxBehind): //nolint:gosec // it is positive
			far = append(far, i)
		default:
			o.byStream[stream] = p
			o.at = min(o.at, from)
		}
	}
	return far, nil
}

// later decides what counts for a stream of which the reader has a version, and by the mark of the same
// request everything up to a position: the later of the two (DESIGN section 3). Where that is the mark, the
// landings without events after it are owed too, at that version.
func (o *opened) later(p *point, stream commands.Stream) error {
	if !p.byVersion || !o.request.Reopened {
		return nil
	}
	if p.version > 0 {
		last, err := o.hub.config.Reader.Changes(o.ctx, stream, p.version-1, 1)
		if err != nil {
			return err
		}
		if len(last) == 0 {
			return store.ErrNotKept
		}
		if last[0].Position > p.position {
			return nil
		}
	}
	p.byVersion = false
	return nil
}

// missedFrom is the position after which the reader may lack landings of a stream.
func (o *opened) missedFrom(p *point, stream commands.Stream) (uint64, error) {
	if err := o.later(p, stream); err != nil {
		return 0, err
	}
	if !p.byVersion {
		return p.position, nil
	}
	next, err := o.hub.config.Reader.Changes(o.ctx, stream, p.version, 1)
	if err != nil {
		return 0, err
	}
	if len(next) == 0 {
		return max(p.position, o.hub.ended()), nil
	}
	return max(p.position, next[0].Position-1), nil
}

// tellChanges tells the landings of one stream, up to where the log has been told, from its changelog: for
// a reader that is so far behind that reading the whole log would take long. Landings without events that
// were followed by others are not in it: they changed nothing, and their tickets are no longer the newest.
func (o *opened) tellChanges(p *point, stream commands.Stream) error {
	after := p.version
	if !p.byVersion {
		var err error
		if after, err = o.versionAt(stream, p.position); err != nil {
			return err
		}
	}
	var out *commands.Outcome // whose events are being put together
	tell := func() error {
		if out == nil || p.refused || !p.owes(out.Version, out.Position) {
			return nil
		}
		return o.tellRebuilt(p, out)
	}
	const page = 500
	for more := true; more; {
		changes, err := o.hub.config.Reader.Changes(o.ctx, stream, after, page)
		if err != nil {
			return fmt.Errorf("read the changes of %s: %w", stream, err)
		}
		more = len(changes) == page
		for i := range changes {
			c := &changes[i]
			if c.Position > o.at {
				more = false
				break
			}
			if out == nil || out.ID != c.Command {
				if err := tell(); err != nil {
					return err
				}
				out = changed(stream, c)
			}
			out.Events = append(out.Events, c.Event)
			out.Version, after = c.Version, c.Version
		}
	}
	if err := tell(); err != nil {
		return err
	}
	if out != nil {
		p.position = max(p.position, out.Position)
	}
	return o.tellQuietHead(p, stream, after)
}

// changed is the landing that a change is of, without its events.
func changed(stream commands.Stream, c *store.Change) *commands.Outcome {
	out := &commands.Outcome{ID: c.Command, Stream: stream, Type: c.Type, Actor: c.Actor, Position: c.Position, At: c.At}
	if c.ByAny {
		out.Policy = commands.PolicyAny
	}
	return out
}

// tellQuietHead tells a newest landing that had no events, for its ticket.
func (o *opened) tellQuietHead(p *point, stream commands.Stream, version uint64) error {
	record, known, err := o.hub.config.Reader.Head(o.ctx, stream)
	if err != nil || !known || record.Head.Position <= p.position || record.Head.Position > o.at {
		return err
	}
	newest, err := o.hub.config.Reader.Status(o.ctx, []commands.ID{record.Head.Action})
	if err != nil {
		return fmt.Errorf("read the newest action of %s: %w", stream, err)
	}
	out := newest[0].Outcome
	if out == nil || len(out.Events) > 0 || out.Version != version {
		return nil
	}
	return o.tellRebuilt(p, out)
}

// versionAt is a stream's version as of a position.
func (o *opened) versionAt(stream commands.Stream, position uint64) (uint64, error) {
	record, known, err := o.hub.config.Reader.Head(o.ctx, stream)
	if err != nil || !known {
		return 0, err
	}
	low, high := uint64(0), record.Head.Version // the answer lies between, both included
	for low < high {
		middle := low + (high-low+1)/2
		change, err := o.hub.config.Reader.Changes(o.ctx, stream, middle-1, 1)
		if err == nil && len(change) == 0 {
			err = errHole
		}
		if err != nil {
			return 0, fmt.Errorf("read the changes of %s: %w", stream, err)
		}
		if change[0].Position <= position {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low, nil
}
