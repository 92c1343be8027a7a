package bus

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Guarded is a publisher that asks before each message whether it may still be handed over: one whose process
// froze must not go on, when it wakes up, with what has meanwhile changed around it. Publish is not guarded:
// a Sender does not use it.
func Guarded(publisher Publisher, allowed func() error) Publisher {
	return &guarded{publisher, allowed}
}

type guarded struct {
	Publisher
	allowed func() error
}

// PublishAsync answers with ErrUnavailable and the reason when the message may not be handed over.
func (g *guarded) PublishAsync(topic string, m *message.Message, done func(error)) {
	if err := g.allowed(); err != nil {
		done(fmt.Errorf("%w: %w", ErrUnavailable, err))
		return
	}
	g.Publisher.PublishAsync(topic, m, done)
}
