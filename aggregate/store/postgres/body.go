package postgres

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/record"
	"github.com/ticketed/doorman/commands"
)

// The parameters of commit_batch, in its order.
const (
	claimLane = iota
	claimEpoch
	claimWorked
	streamNumber
	streamName
	streamStateVersion
	streamState
	snapshotStream
	snapshotVersion
	snapshotState
	outcomeVersion
	outcomeStream
	outcomeQuiet
	outcomeID
	outcomeName
	outcomeBody
	unparkID
	extendID
	extendDeadline
	parkID
	parkSeq
	parkDeadline
	parkAt
	parkLane
	parkName
	parkSession
	parkBody
	deadAt
	deadID
	deadName
	deadReason
	deadCause
	deadBody
	parameters
)

// The parameters that commit_asking has after those.
const (
	askLane = parameters + iota
	askID
	askName
	askConflict
	askReplyTo
	askCorrelation
	allParameters
)

// handle is what this backend remembers with a stream.
type handle struct {
	number int64 // of the stream
	stored bool  // the stream has a row
}

// body is a batch in the form in which it is sent. It is used again for later batches.
type body struct {
	columns [allParameters]column
	values  [allParameters][]byte
	claims  []store.Claim
	heads   map[commands.Stream]int // index in batch.Heads
	headOf  []int                   // of each outcome that landed
}

// bodies keeps bodies for later batches, except those that grew too large to be kept for nothing.
type bodies struct{ sync.Pool }

func newBodies() *bodies {
	return &bodies{sync.Pool{New: func() any { return &body{heads: map[commands.Stream]int{}} }}}
}

// maxKept is the size above which one parameter's buffer is given back, in bytes.
const maxKept = 4 << 20

func (p *bodies) put(b *body) {
	for i := range b.columns {
		if cap(b.columns[i].b) > maxKept {
			return
		}
	}
	p.Put(b)
}

// params are the first n of the parameters.
func (b *body) params(n int) [][]byte {
	for i := range b.columns[:n] {
		b.values[i] = b.columns[i].b
	}
	return b.values[:n]
}

func (b *body) encode(batch *store.Batch, lanes int) error {
	b.encodeClaims(batch.Claims)
	if err := b.encodeStreams(batch.Heads); err != nil {
		return err
	}
	b.encodeSnapshots(batch.Heads)
	if err := b.encodeOutcomes(batch); err != nil {
		return err
	}
	b.encodeParking(batch, lanes)
	b.encodeDead(batch.Dead)
	if len(batch.Asks) > 0 {
		b.encodeAsks(batch.Asks, lanes)
	}
	return nil
}

// encodeClaims sorts: two committers that need the same lanes lock them in the same order.
func (b *body) encodeClaims(claims []store.Claim) {
	b.claims = append(b.claims[:0], claims...)
	slices.SortFunc(b.claims, func(x, y store.Claim) int { return x.Lane - y.Lane })
	lane, epoch, worked := &b.columns[claimLane], &b.columns[claimEpoch], &b.columns[claimWorked]
	lane.start(pgtype.Int4OID, len(claims))
	epoch.start(pgtype.Int8OID, len(claims))
	worked.start(pgtype.Int8OID, len(claims))
	for i := range b.claims {
		lane.int32(int32(b.claims[i].Lane))
		epoch.int64(int64(b.claims[i].Epoch))
		worked.int64(int64(b.claims[i].Worked))
	}
}

// encodeStreams writes the streams that are new or given a state; where the others stand the log says.
func (b *body) encodeStreams(heads []*store.HeadChange) error {
	clear(b.heads)
	n, fresh := 0, false
	for i, h := range heads {
		known, err := handleOf(h)
		if err != nil {
			return err
		}
		b.heads[h.Stream] = i
		fresh = fresh || !known.stored
		if !known.stored || h.State != nil {
			n++
		}
	}
	if len(b.heads) != len(heads) {
		return errors.New("a batch changes the head of one stream twice")
	}
	number, name := &b.columns[streamNumber], &b.columns[streamName]
	version, state := &b.columns[streamStateVersion], &b.columns[streamState]
	number.start(pgtype.Int8OID, n)
	version.start(pgtype.Int8OID, n)
	state.start(pgtype.ByteaOID, n)
	if fresh {
		name.start(pgtype.TextOID, n)
	} else {
		name.start(pgtype.TextOID, 0)
	}
	for _, h := range heads {
		known := h.Handle.Value.(*handle)
		if known.stored && h.State == nil {
			continue
		}
		number.int64(known.number)
		switch {
		case !known.stored:
			name.name(h.Stream)
		case fresh:
			name.null()
		}
		if h.State == nil {
			version.int64(0)
			state.null()
		} else {
			version.int64(int64(h.StateVersion))
			state.bytes(h.State)
		}
	}
	return nil
}

func handleOf(h *store.HeadChange) (*handle, error) {
	if h.Handle != nil {
		if known, ok := h.Handle.Value.(*handle); ok {
			return known, nil
		}
	}
	return nil, fmt.Errorf("the head of %s comes without the handle that Load gave", h.Stream)
}

func (b *body) encodeSnapshots(heads []*store.HeadChange) {
	n := 0
	for _, h := range heads {
		if h.Snapshot && h.State != nil {
			n++
		}
	}
	stream, version, state := &b.columns[snapshotStream], &b.columns[snapshotVersion], &b.columns[snapshotState]
	stream.start(pgtype.Int8OID, n)
	version.start(pgtype.Int8OID, n)
	state.start(pgtype.ByteaOID, n)
	for _, h := range heads {
		if h.Snapshot && h.State != nil {
			stream.int64(h.Handle.Value.(*handle).number)
			version.int64(int64(h.StateVersion))
			state.bytes(h.State)
		}
	}
}

func (b *body) encodeOutcomes(batch *store.Batch) error {
	n := len(batch.Outcomes)
	version, stream, id := &b.columns[outcomeVersion], &b.columns[outcomeStream], &b.columns[outcomeID]
	quiet, name, text := &b.columns[outcomeQuiet], &b.columns[outcomeName], &b.columns[outcomeBody]
	version.start(pgtype.Int8OID, n)
	stream.start(pgtype.Int8OID, n)
	quiet.start(pgtype.BoolOID, n)
	id.start(pgtype.UUIDOID, n)
	name.start(pgtype.TextOID, n)
	text.start(pgtype.ByteaOID, n)
	b.headOf = slices.Grow(b.headOf[:0], n)[:n]
	for i, o := range batch.Outcomes {
		version.int64(int64(o.Version))
		id.id(o.ID)
		name.name(o.Stream)
		text.built(func(into []byte) []byte { return record.AppendOutcome(into, o) })
		if !o.Landed() {
			b.headOf[i] = -1
			stream.null()
			quiet.bool(false)
			continue
		}
		head, ok := b.heads[o.Stream]
		if !ok {
			return fmt.Errorf("%s landed on %s, whose head the batch does not change", o.ID, o.Stream)
		}
		b.headOf[i] = head
		stream.int64(batch.Heads[head].Handle.Value.(*handle).number)
		quiet.bool(len(o.Events) == 0)
	}
	return nil
}

func (b *body) encodeParking(batch *store.Batch, lanes int) {
	unpark := &b.columns[unparkID]
	unpark.start(pgtype.UUIDOID, len(batch.Unpark))
	for _, id := range batch.Unpark {
		unpark.id(id)
	}

	id, deadline := &b.columns[extendID], &b.columns[extendDeadline]
	id.start(pgtype.UUIDOID, len(batch.Extend))
	deadline.start(pgtype.Int8OID, len(batch.Extend))
	for _, w := range batch.Extend {
		id.id(w.ID)
		deadline.int64(int64(w.Deadline))
	}

	n := len(batch.Park)
	id, deadline = &b.columns[parkID], &b.columns[parkDeadline]
	seq, at, lane := &b.columns[parkSeq], &b.columns[parkAt], &b.columns[parkLane]
	name, session, text := &b.columns[parkName], &b.columns[parkSession], &b.columns[parkBody]
	id.start(pgtype.UUIDOID, n)
	seq.start(pgtype.Int8OID, n)
	deadline.start(pgtype.Int8OID, n)
	at.start(pgtype.TimestamptzOID, n)
	lane.start(pgtype.Int4OID, n)
	name.start(pgtype.TextOID, n)
	session.start(pgtype.ByteaOID, n)
	text.start(pgtype.ByteaOID, n)
	for _, w := range batch.Park {
		id.id(w.ID)
		seq.int64(int64(w.Seq))
		deadline.int64(int64(w.Deadline))
		at.time(w.ParkedAt)
		lane.int32(int32(w.Stream.Lane(lanes)))
		name.name(w.Stream)
		session.text(w.Session)
		text.built(func(into []byte) []byte { return record.AppendEnvelope(into, &w.Envelope) })
	}
}

func (b *body) encodeDead(letters []store.DeadLetter) {
	n := len(letters)
	at, id, name := &b.columns[deadAt], &b.columns[deadID], &b.columns[deadName]
	reason, cause, text := &b.columns[deadReason], &b.columns[deadCause], &b.columns[deadBody]
	at.start(pgtype.TimestamptzOID, n)
	id.start(pgtype.UUIDOID, n)
	name.start(pgtype.TextOID, n)
	reason.start(pgtype.TextOID, n)
	cause.start(pgtype.ByteaOID, n)
	text.start(pgtype.ByteaOID, n)
	for i := range letters {
		letter := &letters[i]
		at.time(letter.At)
		id.id(letter.Envelope.ID)
		name.name(letter.Envelope.Stream)
		reason.text(string(letter.Reason))
		cause.text(letter.Cause)
		text.built(func(into []byte) []byte { return record.AppendEnvelope(into, letter.Envelope) })
	}
}

func (b *body) encodeAsks(asks []store.Ask, lanes int) {
	n := len(asks)
	lane, id, name, conflict := &b.columns[askLane], &b.columns[askID], &b.columns[askName], &b.columns[askConflict]
	replyTo, correlation := &b.columns[askReplyTo], &b.columns[askCorrelation]
	lane.start(pgtype.Int4OID, n)
	id.start(pgtype.UUIDOID, n)
	name.start(pgtype.TextOID, n)
	conflict.start(pgtype.BoolOID, n)
	replyTo.start(pgtype.ByteaOID, n)
	correlation.start(pgtype.ByteaOID, n)
	for i := range asks {
		ask := &asks[i]
		lane.int32(int32(ask.Stream.Lane(lanes)))
		id.id(ask.ID)
		name.name(ask.Stream)
		conflict.bool(ask.Conflict)
		replyTo.text(ask.ReplyTo)
		correlation.text(ask.CorrelationID)
	}
}

// settle tells outcomes, heads and handles what the commit made of them.
func (b *body) settle(batch *store.Batch, first uint64) {
	for i, o := range batch.Outcomes {
		o.Position = first + uint64(i)
		if b.headOf[i] < 0 {
			continue
		}
		if head := &batch.Heads[b.headOf[i]].Head; head.Action == o.ID {
			head.Position = o.Position
		}
	}
	for _, h := range batch.Heads {
		h.Handle.Value.(*handle).stored = true
	}
}
