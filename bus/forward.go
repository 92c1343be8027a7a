package bus

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ticketed/doorman/bus/frame"
	"github.com/ticketed/doorman/commands"
)

// Forwarder sends on what comes on topics that nobody works any more, as when the number of lanes was changed
// while a gateway was frozen: each command goes to the lane that its stream is on now. A frame is acknowledged
// once all of it is durable there; what fails is tried again for as long as it takes. A frame that cannot be
// read goes to the first lane as it is, where it is dealt with as any other of its kind.
type Forwarder struct {
	From message.Subscriber
	To   *Sender
	Raw  Publisher // for frames that cannot be read
	Log  *slog.Logger
}

// The pauses between attempts.
const (
	minForwardPause = 50 * time.Millisecond
	maxForwardPause = 2 * time.Second
)

// Forward returns when the context ends.
func (f *Forwarder) Forward(ctx context.Context, topic string) error {
	messages, err := f.From.Subscribe(ctx, topic)
	if err != nil {
		return fmt.Errorf("forward from %s: %w", topic, err)
	}
	for m := range messages {
		if err := f.message(ctx, m); err != nil {
			break // it comes again to whoever is next
		}
		m.Ack()
		f.Log.Info("sent a frame on that came late", "topic", topic)
	}
	for range messages { //nolint:revive // until the subscription has ended
	}
	return nil
}

// message sends a frame on, and fails only with the context.
func (f *Forwarder) message(ctx context.Context, m *message.Message) error {
	envelopes, err := frame.Decode(m.Payload)
	if err != nil {
		return f.untilDone(ctx, func() error {
			return f.Raw.Publish(LaneTopic(0), message.NewMessage(m.UUID, m.Payload))
		})
	}
	left := make([]*commands.Envelope, len(envelopes))
	for i := range envelopes {
		left[i] = &envelopes[i]
	}
	return f.untilDone(ctx, func() error {
		left, err = f.sendAll(ctx, left)
		return err
	})
}

// sendAll sends commands and returns those that have to be sent again, with a reason.
func (f *Forwarder) sendAll(ctx context.Context, all []*commands.Envelope) (again []*commands.Envelope, err error) {
	type answer struct {
		i   int
		err error
	}
	answers := make(chan answer, len(all))
	f.To.SendAll(all, func(i int, err error) { answers <- answer{i, err} })
	for range all {
		select {
		case a := <-answers:
			if a.err != nil {
				again, err = append(again, all[a.i]), a.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return again, err
}

func (f *Forwarder) untilDone(ctx context.Context, do func() error) error {
	for pause := minForwardPause; ; pause = min(2*pause, maxForwardPause) {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		f.Log.Warn("cannot send a frame on that came late; trying again", "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
