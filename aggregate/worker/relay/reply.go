package relay

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// reply is what one requester is to be told.
type reply struct {
	// to is whom: one who asked besides the first requester, with a number, or the first one himself.
	to store.Ask
	// outcome is what is told; without one, refusal is.
	outcome *commands.Outcome
	refusal commands.Reason
	// mark is that of the outcome in the log, for the first requester; nil for others.
	mark *mark

	notice bus.Notice // once it is made
	weight int        // bytes in memory, about, without those of the notice
	turn   uint64     // of the lanes
	since  time.Time  // since when its queue does not take it; zero while that is not known
}

// size is its bytes in memory, about.
func (r *reply) size() int { return r.weight + len(r.notice.Body) }

// ofOutcome is the reply to whoever sent the command first.
func ofOutcome(o *commands.Outcome) *reply {
	return &reply{to: store.Ask{Stream: o.Stream, ID: o.ID, ReplyTo: o.ReplyTo, CorrelationID: o.CorrelationID}, outcome: o,
		mark: &mark{position: o.Position}, weight: weight(o)}
}

// toAsk is a reply to somebody else.
func toAsk(ask store.Ask, o *commands.Outcome, refusal commands.Reason) *reply {
	r := &reply{to: ask, outcome: o, refusal: refusal, weight: 300}
	if o != nil {
		r.weight += weight(o)
	}
	return r
}

// write makes the notice. A store that is away has the error told, for another try; an outcome that cannot be told in
// full for another reason is told as far as it goes.
func (r *reply) write(ctx context.Context, cfg *Config, epoch string) error {
	r.notice = bus.Notice{RoutingKey: r.to.ReplyTo, CorrelationID: r.to.CorrelationID, MessageID: r.messageID(epoch), Persistent: true}
	if r.outcome == nil {
		p := problem.New(r.refusal, refusalDetails[r.refusal])
		p.ID, p.Stream = r.to.ID, r.to.Stream
		r.notice.ContentType, r.notice.Body = problem.ContentType, p.AppendTo(nil)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	view, err := cfg.Tell(ctx, r.outcome)
	if err != nil {
		if errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		cfg.Log.Error("an outcome is told without what its sender missed",
			"command_id", r.to.ID, "stream", r.to.Stream.String(), "err", err)
		view = commands.ViewOutcome(epoch, r.outcome)
	}
	r.notice.ContentType, r.notice.Body = contentType, view.AppendTo(make([]byte, 0, 384))
	if r.outcome.TraceParent != "" && r.mark != nil {
		r.notice.Headers = map[string]any{"traceparent": r.outcome.TraceParent}
	}
	return nil
}

var refusalDetails = map[commands.Reason]string{
	commands.IDConflict:  "Another command was sent under this id. It is untouched, and this one is not taken.",
	commands.RateLimited: "Too many wait for what becomes of this command. It goes on all the same: ask again later.",
}

// messageID is the same whenever a requester is told the same, and nobody else's: he may go by it to tell repeats.
func (r *reply) messageID(epoch string) string {
	hash := sha256.New()
	for _, part := range []string{epoch, r.to.ID.String(), string(r.refusal), r.to.ReplyTo, r.to.CorrelationID} {
		hash.Write(binary.AppendUvarint(nil, uint64(len(part))))
		hash.Write([]byte(part))
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// mark is where in the log a reply belongs that is not out yet.
type mark struct {
	position uint64
	done     bool
}
